//! `updateTopic` and `deleteTopic`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use ringmq_remoting::code::request;
use ringmq_transport::Request;

use super::format::perm;
use crate::control::{Cluster, ControlError};

const ORDER_NAMESPACE: &str = "ORDER_TOPIC_CONFIG";

/// Options of `updateTopic`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// On this broker (ip:port).
    #[arg(short = 'b', long = "brokerAddr", required_unless_present = "cluster", conflicts_with = "cluster")]
    broker: Option<SocketAddr>,
    /// On all masters of this cluster.
    #[arg(short = 'c', long = "clusterName")]
    cluster: Option<String>,
    /// Topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
    /// Queues that consumers see.
    #[arg(short = 'r', long = "readQueueNums", default_value_t = 8)]
    read_queues: i32,
    /// Queues that producers see.
    #[arg(short = 'w', long = "writeQueueNums", default_value_t = 8)]
    write_queues: i32,
    /// 2: write, 4: read, 6: both.
    #[arg(short = 'p', long = "perm", default_value_t = 6)]
    perm: i32,
    /// Declares the topic ordered: true or false.
    #[arg(short = 'o', long = "order", default_value_t = false, action = clap::ArgAction::Set)]
    order: bool,
    /// Unit topic: true or false.
    #[arg(short = 'u', long = "unit", default_value_t = false, action = clap::ArgAction::Set)]
    unit: bool,
    /// Has unit subscriptions: true or false.
    #[arg(short = 's', long = "hasUnitSub", default_value_t = false, action = clap::ArgAction::Set)]
    unit_subscription: bool,
    /// Attributes: `+a=b,+c=d,-e`.
    #[arg(short = 'a', long = "attributes", default_value = "", allow_hyphen_values = true)]
    attributes: String,
}

/// Options of `deleteTopic`.
#[derive(Debug, Clone, Args)]
pub struct DeleteOptions {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// From all masters of this cluster, and from the name server.
    #[arg(short = 'c', long = "clusterName")]
    cluster: String,
    /// Topic.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

/// Names and addresses of a cluster's masters.
async fn masters_of(cluster: &Cluster, name: &str) -> Result<Vec<(String, SocketAddr)>, ControlError> {
    let info = cluster.cluster_info().await?;
    let Some(names) = info.cluster_addr_table.get(name) else {
        return Err(ControlError::Missing(format!(
            "[error] make sure the specified clusterName exists: {name}"
        )));
    };
    let mut masters: Vec<(String, SocketAddr)> = names
        .iter()
        .filter_map(|broker| {
            let address = info.broker_addr_table.get(broker)?.broker_addrs.get(&0)?.parse().ok()?;
            Some((broker.clone(), address))
        })
        .collect();
    masters.sort();
    Ok(masters)
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    let topic = options.topic.trim();
    let brokers = match (&options.cluster, options.broker) {
        (Some(name), _) => masters_of(cluster, name.trim()).await?,
        (None, Some(address)) => vec![(broker_name(cluster, address, options.order).await?, address)],
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let sys_flag = i32::from(options.unit) | i32::from(options.unit_subscription) << 1;
    let mut out = String::new();
    for (_, address) in &brokers {
        let mut request = Request::new(request::UPDATE_AND_CREATE_TOPIC)
            .str("topic", topic)
            .str("defaultTopic", "TBW102")
            .int("readQueueNums", i64::from(options.read_queues))
            .int("writeQueueNums", i64::from(options.write_queues))
            .int("perm", i64::from(options.perm))
            .str("topicFilterType", "SINGLE_TAG")
            .int("topicSysFlag", i64::from(sys_flag))
            .bool("order", options.order);
        if !options.attributes.is_empty() {
            request = request.str("attributes", options.attributes.as_str());
        }
        cluster.get("create topic", *address, request).await?;
        let _ = writeln!(out, "create topic to {address} success.");
    }
    if options.order {
        let conf: Vec<String> =
            brokers.iter().map(|(name, _)| format!("{name}:{}", options.write_queues)).collect();
        let conf = conf.join(";");
        let request = Request::new(request::PUT_KV_CONFIG)
            .str("namespace", ORDER_NAMESPACE)
            .str("key", topic)
            .str("value", conf.as_str());
        cluster.get("order configuration", cluster.namesrv(), request).await?;
        let what = if options.cluster.is_some() { "cluster" } else { "broker" };
        let _ = writeln!(out, "set {what} orderConf. isOrder=true, orderConf=[{conf}]");
    }
    let _ = writeln!(
        out,
        "TopicConfig [topicName={topic}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType=SINGLE_TAG, \
         topicSysFlag={sys_flag}, order={}, attributes={{{}}}]",
        options.read_queues,
        options.write_queues,
        perm(options.perm),
        options.order,
        options.attributes.split(',').filter(|a| !a.is_empty()).collect::<Vec<_>>().join(", ")
    );
    Ok(out)
}

/// Only asked for when it is needed.
async fn broker_name(cluster: &Cluster, address: SocketAddr, needed: bool) -> Result<String, ControlError> {
    if !needed {
        return Ok(String::new());
    }
    let info = cluster.cluster_info().await?;
    let wanted = address.to_string();
    info.broker_addr_table
        .iter()
        .find(|(_, data)| data.broker_addrs.values().any(|a| *a == wanted))
        .map(|(name, _)| name.clone())
        .ok_or_else(|| ControlError::Missing(format!("the name server knows no broker at {address}")))
}

pub(super) async fn delete(cluster: &Cluster, options: &DeleteOptions) -> Result<String, ControlError> {
    let (topic, name) = (options.topic.trim(), options.cluster.trim());
    let mut out = String::new();
    for (_, address) in masters_of(cluster, name).await? {
        let request = Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", topic);
        cluster.get("delete topic", address, request).await?;
    }
    let _ = writeln!(out, "delete topic [{topic}] from cluster [{name}] success.");
    let request = Request::new(request::DELETE_TOPIC_IN_NAMESRV).str("topic", topic).str("clusterName", name);
    cluster.get("delete topic", cluster.namesrv(), request).await?;
    let _ = writeln!(out, "delete topic [{topic}] from NameServer success.");
    Ok(out)
}
