//! `topicStatus`.

use std::fmt::Write as _;

use clap::Args;
use ringmq_remoting::body::{TopicOffset, TopicStatsTable};
use ringmq_remoting::code::request;
use ringmq_transport::Request;

use super::format::{front, local_time};
use crate::control::{Cluster, ControlError, parse};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// Topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    let what = "topic status";
    let topic = options.topic.trim();
    let Some(route) = cluster.route(topic).await? else {
        return Err(ControlError::Missing(format!(
            "No topic route info in name server for the topic: {topic}"
        )));
    };
    let mut rows: Vec<(String, i32, TopicOffset)> = Vec::new();
    let mut tps = 0.0;
    for broker in &route.broker_datas {
        let Some(address) = broker.broker_addrs.values().next().and_then(|a| a.parse().ok()) else {
            continue;
        };
        let request = Request::new(request::GET_TOPIC_STATS_INFO).str("topic", topic);
        let answer = cluster.get(what, address, request).await?;
        let table = parse(what, address, TopicStatsTable::from_json(&answer.body()))?;
        tps += table.topic_put_tps;
        rows.extend(table.offset_table.into_iter().map(|(q, offset)| (q.broker_name, q.queue_id, offset)));
    }
    rows.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<32}  {:<4}  {:<20}  {:<20}    #Last Updated",
        "#Broker Name", "#QID", "#Min Offset", "#Max Offset"
    );
    for (broker, queue, offset) in rows {
        let updated = match offset.last_update_timestamp {
            ms if ms > 0 => local_time(ms, true),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "{:<32}  {queue:<4}  {:<20}  {:<20}    {updated}",
            front(&broker, 32),
            offset.min_offset,
            offset.max_offset
        );
    }
    let _ = writeln!(out, "\nTopic Put TPS: {tps:?}");
    Ok(out)
}
