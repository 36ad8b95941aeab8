//! `topicList`.

use std::fmt::Write as _;

use clap::Args;
use ringmq_remoting::body::{GroupList, TopicList};
use ringmq_remoting::code::request;
use ringmq_transport::Request;

use super::format::front;
use crate::control::{Cluster, ControlError, parse};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// With cluster and consumer groups of each topic.
    #[arg(short = 'c', long = "clusterModel")]
    cluster_model: bool,
}

/// Every topic that the name server knows.
pub(super) async fn all_topics(cluster: &Cluster) -> Result<Vec<String>, ControlError> {
    let what = "topic list";
    let request = Request::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER);
    let answer = cluster.get(what, cluster.namesrv(), request).await?;
    Ok(parse(what, cluster.namesrv(), TopicList::from_json(&answer.body()))?.topic_list)
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    let topics = all_topics(cluster).await?;
    let mut out = String::new();
    if !options.cluster_model {
        for topic in topics {
            let _ = writeln!(out, "{topic}");
        }
        return Ok(out);
    }
    let _ = writeln!(out, "{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group");
    let info = cluster.cluster_info().await?;
    for topic in topics.iter().filter(|t| !t.starts_with("%RETRY%") && !t.starts_with("%DLQ%")) {
        let route = cluster.route(topic).await.ok().flatten();
        let broker = route.as_ref().and_then(|r| r.broker_datas.first());
        let name = broker
            .and_then(|b| info.cluster_addr_table.iter().find(|(_, names)| names.contains(&b.broker_name)))
            .map_or("", |(name, _)| name.as_str());
        let mut groups = match broker.and_then(|b| b.broker_addrs.get(&0)?.parse().ok()) {
            Some(address) => {
                let request = Request::new(request::QUERY_TOPIC_CONSUME_BY_WHO).str("topic", topic.as_str());
                match cluster.get("groups of a topic", address, request).await {
                    Ok(answer) => {
                        GroupList::from_json(&answer.body()).map(|l| l.group_list).unwrap_or_default()
                    }
                    Err(_) => Vec::new(),
                }
            }
            None => Vec::new(),
        };
        if groups.is_empty() {
            groups.push(String::new());
        }
        for group in &groups {
            let _ =
                writeln!(out, "{:<20}  {:<64}  {:<64}", front(name, 20), front(topic, 64), front(group, 64));
        }
    }
    Ok(out)
}
