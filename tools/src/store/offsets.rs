//! `rmq-store offsets`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use clap::Args;
use ringmq_reactor::TaskIo;
use ringmq_remoting::json::{Style, ToJson, Writer};

use super::metadata::Root;
use super::{Format, OfTopic, Out, StoreDir, StoreToolError, place};

/// Whose offsets.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    store: StoreDir,
    /// Of this consumer group only.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    #[command(flatten)]
    topic: OfTopic,
    /// How they are printed. JSON: one object a line with group, topic, queueId, offset (the next one to consume), minOffset, maxOffset and
    /// lag; the last three are left out where the log has no such queue.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Where a group stands in a queue.
struct Standing<'a> {
    group: &'a str,
    topic: &'a str,
    queue_id: i32,
    offset: i64,
    /// What the log has of the queue: min and max offset.
    queue: Option<(i64, i64)>,
}

impl Standing<'_> {
    /// Messages behind the offset.
    fn lag(&self) -> Option<i64> {
        self.queue.map(|(_, max)| max - self.offset)
    }
}

impl ToJson for Standing<'_> {
    fn write(&self, out: &mut Writer) {
        out.object(|members| {
            members.member("group", self.group);
            members.member("topic", self.topic);
            members.member("queueId", &self.queue_id);
            members.member("offset", &self.offset);
            members.member("minOffset", &self.queue.map(|(min, _)| min));
            members.member("maxOffset", &self.queue.map(|(_, max)| max));
            members.member("lag", &self.lag());
        });
    }
}

pub(super) async fn run(io: &TaskIo, options: &Options, out: &mut Out) -> Result<(), StoreToolError> {
    let places = place::shards(io, &options.store.dir).await?;
    let root = Root::of_broker(io, &places, &options.store.dir).await?;
    let metadata = root.metadata_or_missing().await;
    let queues = queues(io, &places).await;
    root.close().await;
    let (metadata, queues) = (metadata?, queues?);
    if options.format == Format::Text {
        writeln!(
            out,
            "{:<32} {:<40} {:>6} {:>14} {:>14} {:>10}",
            "#Group", "#Topic", "#Queue", "Offset", "Max", "Lag"
        )
        .map_err(StoreToolError::Output)?;
    }
    for (group, topics) in &metadata.tables.offsets {
        for (topic, offsets) in topics {
            let is_wanted = options.group.as_ref().is_none_or(|wanted| **wanted == **group);
            if !is_wanted || !options.topic.takes(topic) {
                continue;
            }
            for (&queue_id, &offset) in offsets {
                let queue = queues.get(&(Arc::clone(topic), queue_id)).copied();
                print(&Standing { group, topic, queue_id, offset, queue }, options.format, out)
                    .map_err(StoreToolError::Output)?;
            }
        }
    }
    Ok(())
}

fn print(standing: &Standing<'_>, format: Format, out: &mut Out) -> std::io::Result<()> {
    if format == Format::Json {
        return writeln!(out, "{}", Writer::text_of(standing, Style::Standard));
    }
    let Standing { group, topic, queue_id, offset, queue } = standing;
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let (max, lag) = (number(queue.map(|(_, max)| max)), number(standing.lag()));
    writeln!(out, "{group:<32} {topic:<40} {queue_id:>6} {offset:>14} {max:>14} {lag:>10}")
}

/// Min and max offsets of all queues of all shards.
async fn queues(
    io: &TaskIo,
    places: &[place::Place],
) -> Result<BTreeMap<(Arc<str>, i32), (i64, i64)>, StoreToolError> {
    let mut all = BTreeMap::new();
    for place in places {
        let inspection = place.open(io).await?;
        let forecast = inspection.forecast().await;
        inspection.close().await;
        let queues = forecast?.queues.into_iter();
        all.extend(queues.map(|q| ((q.topic, q.queue_id), (q.min_offset, q.max_offset))));
    }
    Ok(all)
}
