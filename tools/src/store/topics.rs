//! `rmq-store topics`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use ringmq_reactor::TaskIo;
use ringmq_remoting::body::TopicConfig;
use ringmq_remoting::json::{Style, Writer};

use super::metadata::Root;
use super::{Format, OfTopic, Out, StoreDir, StoreToolError, place};
use crate::admin::format::perm;

/// Which topics.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    store: StoreDir,
    #[command(flatten)]
    topic: OfTopic,
    /// How they are printed. JSON: one object a line, members as in topics.json.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) async fn run(io: &TaskIo, options: &Options, out: &mut Out) -> Result<(), StoreToolError> {
    let places = place::shards(io, &options.store.dir).await?;
    let root = Root::of_broker(io, &places, &options.store.dir).await?;
    let metadata = root.metadata_or_missing().await;
    root.close().await;
    let topics = metadata?.tables.topics;
    let mut shown = topics.iter().filter(|(name, _)| options.topic.takes(name)).map(|(_, config)| &**config);
    let printed = match options.format {
        Format::Json => {
            shown.try_for_each(|config| writeln!(out, "{}", Writer::text_of(config, Style::Standard)))
        }
        Format::Text => text(shown, out),
    };
    printed.map_err(StoreToolError::Output)
}

fn text<'a>(topics: impl Iterator<Item = &'a TopicConfig>, out: &mut Out) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<40} {:>5} {:>6} {:>5} {:>6} {:>8}  Attributes",
        "#Topic", "#Read", "#Write", "Perm", "Order", "SysFlag"
    )?;
    for topic in topics {
        writeln!(
            out,
            "{:<40} {:>5} {:>6} {:>5} {:>6} {:>8}  {}",
            topic.topic_name,
            topic.read_queue_nums,
            topic.write_queue_nums,
            perm(topic.perm),
            topic.order,
            topic.topic_sys_flag,
            attributes(&topic.attributes)
        )?;
    }
    Ok(())
}

fn attributes(attributes: &BTreeMap<String, String>) -> String {
    if attributes.is_empty() {
        return "-".to_owned();
    }
    attributes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
