//! Puts the shards of a broker together.

use std::sync::Arc;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use ringmq_reactor::{ProcessSpec, ShardSpec};

use crate::config::BrokerConfig;
use crate::coordination::{CoordinationShard, OnBrokerEvent};
use crate::message::ShardMessage;
use crate::shard::DataShard;

/// A broker as a set of shards, to be launched on the kernel or in the simulator.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// The data shards and, last, the coordination shard.
    ///
    /// Data shards are pinned, in turn, to the processors that this process may use, if there is more than one and `pinShards`
    /// is on; the coordination shard goes where there is room.
    #[must_use]
    pub fn process(config: BrokerConfig) -> ProcessSpec<ShardMessage> {
        Self::process_with_events(config, Box::new(|_| {}))
    }

    /// As [`Broker::process`]; `on_event` hears when clients are served, and why the broker cannot start. It is called on the
    /// coordination shard's thread and must not block.
    #[must_use]
    pub fn process_with_events(config: BrokerConfig, on_event: OnBrokerEvent) -> ProcessSpec<ShardMessage> {
        let config = Arc::new(config);
        let processors = if config.pin_shards { allowed_processors() } else { Vec::new() };
        let mut shards: Vec<ShardSpec<ShardMessage>> = (0..config.shards)
            .map(|number| {
                let config = Arc::clone(&config);
                ShardSpec {
                    name: format!("shard-{number}"),
                    cpu: place(&processors, number),
                    service: Box::new(move |me| Box::new(DataShard::new(me, config))),
                }
            })
            .collect();
        let name = format!("broker {}", config.broker_name);
        shards.push(ShardSpec {
            name: "coordination".to_owned(),
            cpu: None,
            service: Box::new(move |me| Box::new(CoordinationShard::new(me, config, on_event))),
        });
        ProcessSpec { name, shards }
    }
}

/// The processor of a data shard; `None`: wherever the scheduler likes.
fn place(processors: &[usize], shard: u16) -> Option<usize> {
    (processors.len() > 1).then(|| processors[usize::from(shard) % processors.len()])
}

/// Processors in this process's affinity mask; none if it cannot be read.
fn allowed_processors() -> Vec<usize> {
    let Ok(mask) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&cpu| mask.is_set(cpu).unwrap_or(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_dealt_out_to_the_processors() {
        let places: Vec<_> = (0..4).map(|shard| place(&[2, 5, 7], shard)).collect();
        assert_eq!(places, [Some(2), Some(5), Some(7), Some(2)]);
        assert_eq!(place(&[3], 0), None, "one processor: nothing to choose");
        assert_eq!(place(&[], 0), None);
    }
}
