//! How a pop that waits at its home hears of messages that arrive at other shards.
//!
//! A shard that finds nothing for a pop that may wait *watches* the topic for the pop's home until the pop's time is over. From then on
//! arrivals go to the home by mail, in batches of a turn. The home counts them for topics that pops are under way for: a pop that comes
//! home empty-handed and finds the count changed since its start walks again instead of waiting.

use std::sync::Arc;

use ringmq_reactor::{Monotonic, ShardId};
use rustc_hash::FxHashMap;

use super::Pop;
use super::held::PopArrival;
use super::limits::WATCHED_TOPICS_MAX;

/// On the home: topics and retry topics of pops that walk or wait, and what arrived there.
#[derive(Debug, Default)]
pub(crate) struct Running {
    topics: FxHashMap<Arc<str>, Arrivals>,
}

#[derive(Debug, Default)]
struct Arrivals {
    pops: usize,
    count: u64,
}

impl Running {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// A pop's life at its home begins.
    pub(crate) fn begin(&mut self, pop: &Pop) {
        for topic in [&pop.topic, &pop.retry_topic] {
            self.topics.entry(Arc::clone(topic)).or_default().pops += 1;
        }
    }

    /// It ends.
    pub(crate) fn end(&mut self, pop: &Pop) {
        for topic in [&pop.topic, &pop.retry_topic] {
            let Some(arrivals) = self.topics.get_mut(topic) else { continue };
            arrivals.pops -= 1;
            if arrivals.pops == 0 {
                self.topics.remove(topic);
            }
        }
    }

    /// Something arrived in a topic. False: nobody cares.
    pub(crate) fn arrived(&mut self, topic: &str) -> bool {
        let Some(arrivals) = self.topics.get_mut(topic) else { return false };
        arrivals.count += 1;
        true
    }

    /// What has arrived for a pop; grows.
    pub(crate) fn count(&self, pop: &Pop) -> u64 {
        let of = |topic| self.topics.get(topic).map_or(0, |arrivals: &Arrivals| arrivals.count);
        of(&pop.topic) + of(&pop.retry_topic)
    }
}

/// On the owners of queues: for whom they watch.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    topics: FxHashMap<Arc<str>, Vec<(ShardId, Monotonic)>>,
    /// Arrivals of this turn, by home.
    pending: Vec<(ShardId, Vec<PopArrival>)>,
}

/// [`WATCHED_TOPICS_MAX`] is reached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Watches {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Tells `home` of arrivals in a topic until then.
    ///
    /// # Errors
    /// [`TooMany`]: nothing will be told.
    pub(crate) fn watch(
        &mut self,
        topic: &Arc<str>,
        home: ShardId,
        until: Monotonic,
        now: Monotonic,
    ) -> Result<(), TooMany> {
        if self.topics.len() >= WATCHED_TOPICS_MAX && !self.topics.contains_key(topic) {
            self.topics.retain(|_, homes| {
                homes.retain(|&(_, until)| until > now);
                !homes.is_empty()
            });
            if self.topics.len() >= WATCHED_TOPICS_MAX {
                return Err(TooMany);
            }
        }
        let homes = self.topics.entry(Arc::clone(topic)).or_default();
        match homes.iter_mut().find(|(known, _)| *known == home) {
            Some((_, known)) => *known = until.max(*known),
            None => homes.push((home, until)),
        }
        Ok(())
    }

    /// A message arrived.
    pub(crate) fn arrived(&mut self, topic: &Arc<str>, queue_id: i32, tags_code: i64, now: Monotonic) {
        let Some(homes) = self.topics.get_mut(topic) else { return };
        homes.retain(|&(_, until)| until > now);
        let homes =
            if homes.is_empty() { self.topics.remove(topic).unwrap_or_default() } else { homes.clone() };
        for (home, _) in homes {
            let arrival =
                PopArrival { topic: Arc::clone(topic), group: None, queue_id, tags_code: Some(tags_code) };
            self.tell(home, arrival);
        }
    }

    /// Mails something to a home at the end of the turn. Equal neighbours count once: a pop that leaves messages behind wakes the next.
    pub(crate) fn tell(&mut self, home: ShardId, arrival: PopArrival) {
        let at = self.pending.iter().position(|(known, _)| *known == home).unwrap_or_else(|| {
            self.pending.push((home, Vec::new()));
            self.pending.len() - 1
        });
        let arrivals = &mut self.pending[at].1;
        if arrivals.last() != Some(&arrival) {
            arrivals.push(arrival);
        }
    }

    /// Everything to be mailed.
    pub(crate) fn take_pending(&mut self) -> Vec<(ShardId, Vec<PopArrival>)> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_count_while_somebody_walks_or_waits() {
        let mut running = Running::default();
        let pop = Pop::for_tests(1);
        assert!(!running.arrived("T"));
        running.begin(&pop);
        running.begin(&pop);
        let before = running.count(&pop);
        assert!(running.arrived("T") && running.arrived("%RETRY%g_T") && !running.arrived("U"));
        assert_eq!(running.count(&pop), before + 2);
        running.end(&pop);
        assert!(running.arrived("T"));
        running.end(&pop);
        assert!(running.is_empty());
    }

    #[test]
    fn a_home_is_told_until_its_time_is_over() {
        let mut watches = Watches::default();
        let topic = Arc::from("T");
        watches.watch(&topic, ShardId(1), Monotonic(10), Monotonic(0)).expect("room");
        watches.watch(&topic, ShardId(2), Monotonic(20), Monotonic(0)).expect("room");
        for _ in 0..2 {
            watches.arrived(&topic, 4, 77, Monotonic(5));
        }
        let told = watches.take_pending();
        assert_eq!(told.iter().map(|(home, all)| (home.0, all.len())).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
        assert_eq!((told[0].1[0].queue_id, told[0].1[0].tags_code), (4, Some(77)));
        watches.arrived(&topic, 4, 77, Monotonic(15));
        assert_eq!(watches.take_pending().len(), 1);
        watches.arrived(&topic, 4, 77, Monotonic(25));
        assert!(watches.take_pending().is_empty() && watches.is_empty());
    }
}
