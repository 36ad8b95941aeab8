//! `rmq-store queues`.

use std::io::Write;

use clap::Args;
use ringmq_reactor::TaskIo;

use super::{OfTopic, Out, StoreDir, StoreToolError, place};
use crate::admin::format::local_time;

/// Which queues.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    store: StoreDir,
    #[command(flatten)]
    topic: OfTopic,
}

pub(super) async fn run(io: &TaskIo, options: &Options, out: &mut Out) -> Result<(), StoreToolError> {
    let write = StoreToolError::Output;
    let mut all = Vec::new();
    for place in place::shards(io, &options.store.dir).await? {
        let inspection = place.open(io).await?;
        let forecast = inspection.forecast().await;
        let shard = inspection.shard();
        inspection.close().await;
        all.extend(forecast?.queues.into_iter().map(|queue| (queue, shard)));
    }
    all.sort_by(|(a, _), (b, _)| (&a.topic, a.queue_id).cmp(&(&b.topic, b.queue_id)));
    writeln!(out, "{:<40} {:>6} {:>5} {:>14} {:>14}  Last stored", "#Topic", "#Queue", "Shard", "Min", "Max")
        .map_err(write)?;
    for (queue, shard) in all {
        if !options.topic.takes(&queue.topic) {
            continue;
        }
        let newest = match queue.newest_store_time {
            0 => "-".to_owned(),
            time => local_time(time, true),
        };
        let (topic, id, min, max) = (&queue.topic, queue.queue_id, queue.min_offset, queue.max_offset);
        writeln!(out, "{topic:<40} {id:>6} {:>5} {min:>14} {max:>14}  {newest}", shard.0).map_err(write)?;
    }
    Ok(())
}
