//! `consumerProgress`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use ringmq_remoting::body::{ConsumeOffset, ConsumeStats, ConsumerConnection, MessageQueue};
use ringmq_remoting::code::{request, response, version};
use ringmq_transport::Request;

use super::format::{front, local_time};
use super::topic_list::all_topics;
use crate::control::{Cluster, ControlError, parse};

const RETRY_PREFIX: &str = "%RETRY%";

/// Options.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// Consumer group; without it all groups are listed.
    #[arg(short = 'g', long = "groupName")]
    group: Option<String>,
    /// Only this topic.
    #[arg(short = 't', long = "topicName", requires = "group")]
    topic: Option<String>,
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    match &options.group {
        Some(group) => one_group(cluster, group.trim(), options.topic.as_deref().map(str::trim)).await,
        None => all_groups(cluster).await,
    }
}

/// What all brokers of the group's retry topic (of the given topic, if there is one) say of the group.
async fn stats(cluster: &Cluster, group: &str, topic: Option<&str>) -> Result<ConsumeStats, ControlError> {
    let what = "consume stats";
    let retry = format!("{RETRY_PREFIX}{group}");
    let Some(route) = cluster.route(topic.unwrap_or(&retry)).await? else {
        return Err(ControlError::Missing(format!(
            "Consumer group {group} has no route: it has never been online"
        )));
    };
    let mut all = ConsumeStats::default();
    for address in masters(&route.broker_datas) {
        let mut request = Request::new(request::GET_CONSUME_STATS).str("consumerGroup", group);
        if let Some(topic) = topic {
            request = request.str("topic", topic);
        }
        let answer = cluster.get(what, address, request).await?;
        let part = parse(what, address, ConsumeStats::from_json(&answer.body()))?;
        all.consume_tps += part.consume_tps;
        all.offset_table.extend(part.offset_table);
    }
    Ok(all)
}

fn masters(brokers: &[ringmq_remoting::body::BrokerData]) -> impl Iterator<Item = SocketAddr> + '_ {
    brokers.iter().filter_map(|b| b.broker_addrs.values().next()?.parse().ok())
}

fn total_difference(table: &BTreeMap<MessageQueue, ConsumeOffset>) -> i64 {
    table.values().map(|o| o.broker_offset - o.consumer_offset).sum()
}

async fn one_group(cluster: &Cluster, group: &str, topic: Option<&str>) -> Result<String, ControlError> {
    let stats = stats(cluster, group, topic).await?;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20} {:<20}#LastTime",
        "#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight"
    );
    let mut inflight_total = 0;
    for (queue, offset) in &stats.offset_table {
        let inflight = offset.pull_offset - offset.consumer_offset;
        inflight_total += inflight;
        let time = match offset.last_timestamp {
            0 => "N/A".to_owned(),
            ms => local_time(ms, false),
        };
        let _ = writeln!(
            out,
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {:<20} {inflight:<20} {time}",
            front(&queue.topic, 64),
            front(&queue.broker_name, 32),
            queue.queue_id,
            offset.broker_offset,
            offset.consumer_offset,
            offset.broker_offset - offset.consumer_offset
        );
    }
    let _ = writeln!(out, "\nConsume TPS: {:.2}", stats.consume_tps);
    let _ = writeln!(out, "Consume Diff Total: {}", total_difference(&stats.offset_table));
    let _ = writeln!(out, "Consume Inflight Total: {inflight_total}");
    Ok(out)
}

async fn all_groups(cluster: &Cluster) -> Result<String, ControlError> {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  #Diff Total",
        "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS"
    );
    for topic in all_topics(cluster).await? {
        let Some(group) = topic.strip_prefix(RETRY_PREFIX) else { continue };
        // a group of which a broker knows nothing is a row of zeros, as in the reference
        let stats = stats(cluster, group, None).await.unwrap_or_default();
        let online = connections(cluster, &topic, group).await?;
        let (mut version, mut kind, mut model) = ("OFFLINE".to_owned(), "", "");
        if let Some(online) = online.as_ref().filter(|o| !o.connection_set.is_empty()) {
            let lowest = online.connection_set.iter().map(|c| c.version).min().unwrap_or(0);
            version = version::name(lowest).unwrap_or_else(|| lowest.to_string());
            kind = if online.consume_type.as_deref() == Some("CONSUME_ACTIVELY") { "PULL" } else { "PUSH" };
            if online.consume_type.as_deref() == Some("CONSUME_PASSIVELY") {
                model = online.message_model.as_deref().unwrap_or("");
            }
        }
        let _ = writeln!(
            out,
            "{:<64}  {:<6}  {version:<24} {kind:<5}  {model:<14}  {:<7}  {}",
            front(group, 64),
            online.as_ref().map_or(0, |o| o.connection_set.len()),
            stats.consume_tps as i64,
            total_difference(&stats.offset_table)
        );
    }
    Ok(out)
}

/// Online members, as the first broker that has the group's retry topic tells; `None` when it is offline.
async fn connections(
    cluster: &Cluster,
    retry_topic: &str,
    group: &str,
) -> Result<Option<ConsumerConnection>, ControlError> {
    let what = "consumer connections";
    let Some(route) = cluster.route(retry_topic).await? else { return Ok(None) };
    let Some(address) = masters(&route.broker_datas).next() else { return Ok(None) };
    let request = Request::new(request::GET_CONSUMER_CONNECTION_LIST).str("consumerGroup", group);
    let answer = cluster.ask(what, address, request).await?;
    if answer.code() != response::SUCCESS {
        return Ok(None); // 206: nobody is online
    }
    parse(what, address, ConsumerConnection::from_json(&answer.body())).map(Some)
}
