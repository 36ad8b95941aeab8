//! `topicRoute`.

use std::fmt::Write as _;

use clap::Args;

use super::format::pretty_json;
use crate::control::{Cluster, ControlError};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// Topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// As a table instead of JSON.
    #[arg(short = 'l', long = "list")]
    list: bool,
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    let topic = options.topic.trim();
    let Some(mut route) = cluster.route(topic).await? else {
        return Err(ControlError::Missing(format!(
            "No topic route info in name server for the topic: {topic}"
        )));
    };
    if !options.list {
        return Ok(pretty_json(&route.to_json()) + "\n");
    }
    let mut out = String::new();
    let mut row = |cells: [&str; 6]| {
        let _ = writeln!(
            out,
            "{:<45} {:<32} {:<50} {:<10} {:<11} {:<5}",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
        );
    };
    row(["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"]);
    route.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
    let (mut read, mut write, mut brokers) = (0, 0, 0);
    for broker in &route.broker_datas {
        let Some(queues) = route.queue_datas.iter().find(|q| q.broker_name == broker.broker_name) else {
            continue;
        };
        read += queues.read_queue_nums;
        write += queues.write_queue_nums;
        brokers += 1;
        let addresses: Vec<String> = broker.broker_addrs.iter().map(|(id, a)| format!("{id}={a}")).collect();
        row([
            &broker.cluster,
            &broker.broker_name,
            &format!("{{{}}}", addresses.join(", ")),
            &queues.read_queue_nums.to_string(),
            &queues.write_queue_nums.to_string(),
            &queues.perm.to_string(),
        ]);
    }
    let total = ["Total:", &brokers.to_string(), "", &read.to_string(), &write.to_string(), ""];
    row([&"-".repeat(158), "", "", "", "", ""]);
    row(total);
    Ok(out)
}
