//! `clusterList`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use ringmq_remoting::body::KvTable;
use ringmq_remoting::code::request;
use ringmq_transport::Request;

use crate::control::{Cluster, ControlError, parse};

/// Options.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) common: super::Common,
    /// Message totals of yesterday and today instead of rates.
    #[arg(short = 'm', long = "moreStats")]
    more: bool,
    /// Only this cluster.
    #[arg(short = 'c', long = "clusterName")]
    cluster: Option<String>,
}

pub(super) async fn run(cluster: &Cluster, options: &Options) -> Result<String, ControlError> {
    let info = cluster.cluster_info().await?;
    let mut out = String::new();
    if options.more {
        let _ = writeln!(
            out,
            "{:<16}  {:<32} {:>14} {:>14} {:>14} {:>14}",
            "#Cluster Name",
            "#Broker Name",
            "#InTotalYest",
            "#OutTotalYest",
            "#InTotalToday",
            "#OutTotalToday"
        );
    } else {
        let _ = writeln!(
            out,
            "{:<22}  {:<22}  {:<4}  {:<22} {:<16}  {:>16}  {:>30}  {:<22}  {:<11}  {:<12}  {:<8}  {:<10}",
            "#Cluster Name",
            "#Broker Name",
            "#BID",
            "#Addr",
            "#Version",
            "#InTPS(LOAD)",
            "#OutTPS(LOAD)",
            "#Timer(Progress)",
            "#PCWait(ms)",
            "#Hour",
            "#SPACE",
            "#ACTIVATED"
        );
    }
    let wanted = |name: &&String| options.cluster.as_ref().is_none_or(|only| only == *name);
    for name in info.cluster_addr_table.keys().filter(wanted) {
        let mut brokers: Vec<&String> = info.cluster_addr_table[name].iter().collect();
        brokers.sort();
        for broker in brokers {
            let Some(data) = info.broker_addr_table.get(broker) else { continue };
            for (id, address) in &data.broker_addrs {
                // a broker that does not answer is a row without figures, as in the reference
                let table = runtime_info(cluster, address).await.unwrap_or_default();
                if options.more {
                    totals_row(&mut out, name, broker, &table);
                } else {
                    load_row(&mut out, cluster, name, broker, *id, address, &table);
                }
            }
        }
    }
    Ok(out)
}

async fn runtime_info(cluster: &Cluster, address: &str) -> Result<BTreeMap<String, String>, ControlError> {
    let what = "broker runtime info";
    let address: SocketAddr = address
        .parse()
        .map_err(|_| ControlError::Missing(format!("broker address {address} is not ip:port")))?;
    let answer = cluster.get(what, address, Request::new(request::GET_BROKER_RUNTIME_INFO)).await?;
    Ok(parse(what, address, KvTable::from_json(&answer.body()))?.table.into_iter().collect())
}

fn number(table: &BTreeMap<String, String>, key: &str) -> i64 {
    table.get(key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn totals_row(out: &mut String, cluster: &str, broker: &str, table: &BTreeMap<String, String>) {
    let difference = |a: &str, b: &str| number(table, a) - number(table, b);
    let _ = writeln!(
        out,
        "{cluster:<16}  {broker:<32} {:>14} {:>14} {:>14} {:>14}",
        difference("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
        difference("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
        difference("msgPutTotalTodayNow", "msgPutTotalTodayMorning"),
        difference("msgGetTotalTodayNow", "msgGetTotalTodayMorning"),
    );
}

fn load_row(
    out: &mut String,
    context: &Cluster,
    cluster: &str,
    broker: &str,
    id: i64,
    address: &str,
    table: &BTreeMap<String, String>,
) {
    let text = |key: &str| table.get(key).map_or("", String::as_str);
    let or_n = |key: &str| table.get(key).map_or("N", String::as_str);
    let first = |key: &str| text(key).split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    let float = |key: &str| text(key).parse::<f64>().unwrap_or(0.0);
    let sent = format!(
        "{:9.2}({},{}ms)",
        first("putTps"),
        text("sendThreadPoolQueueSize"),
        text("sendThreadPoolQueueHeadWaitTimeMills")
    );
    let fetched = format!(
        "{:9.2}({},{}ms|{},{}ms)",
        first("getTransferredTps"),
        text("pullThreadPoolQueueSize"),
        text("pullThreadPoolQueueHeadWaitTimeMills"),
        or_n("ackThreadPoolQueueSize"),
        or_n("ackThreadPoolQueueHeadWaitTimeMills")
    );
    let timer = format!(
        "{}-{}({:.1}w, {:.1}, {:.1})",
        number(table, "timerReadBehind"),
        number(table, "timerOffsetBehind"),
        number(table, "timerCongestNum") as f64 / 10_000.0,
        float("timerEnqueueTps"),
        float("timerDequeueTps")
    );
    let hours = match text("earliestMessageTimeStamp").parse::<i64>() {
        Ok(earliest) => (context.io.wall_ms() as i64 - earliest) as f64 / 3_600_000.0,
        Err(_) => 0.0,
    };
    let _ = writeln!(
        out,
        "{cluster:<22}  {broker:<22}  {id:<4}  {address:<22} {:<16}  {sent:>16}  {fetched:>30}  {timer:<22}  {:>11}  {:<12}  {:<8}  {:>10}",
        text("brokerVersionDesc"),
        text("pageCacheLockTimeMills"),
        format!("{hours:.2}"),
        format!("{:.4}", float("commitLogDiskRatio")),
        text("brokerActive") == "true",
    );
}
