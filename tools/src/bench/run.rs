//! Puts a run together: finds the queues, starts the load threads, prints progress, makes the report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringmq_reactor::{ProcessSpec, ShardSpec, uring};
use ringmq_remoting::body::TopicRouteData;
use ringmq_remoting::command::SerializeType;

use super::consume::{ConsumePlan, QueueToRead};
use super::host::{self, Usage, Used};
use super::limits;
use super::load::{LoadPlan, LoadShard, TemplatePlan};
use super::measure::{Progress, Results};
use super::options::{Command, Common, Encoding, From};
use super::produce::ProducePlan;
use super::report::Report;
use crate::block_on::{BlockOnError, block_on};
use crate::control::{Cluster, ControlError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A thread could not be started, or failed.
    #[error(transparent)]
    Reactor(#[from] BlockOnError),
    /// The load process failed.
    #[error(transparent)]
    Start(#[from] uring::StartError),
    /// A load thread failed.
    #[error(transparent)]
    Process(#[from] uring::ProcessError),
    /// The cluster did not answer as needed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The result could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Where to.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Nothing got through.
    #[error("no message got through")]
    Nothing,
}

/// A topic's queues on one broker.
#[derive(Debug, Clone)]
struct FoundQueues {
    broker: SocketAddr,
    topic: String,
    queues: u32,
}

struct Found {
    write: Vec<FoundQueues>,
    read: Vec<FoundQueues>,
}

/// Runs `command` and returns the text for the terminal.
///
/// # Errors
/// See [`RunError`]; failed messages are counted in the report and are no error unless none succeeded.
pub fn run(command: &Command) -> Result<String, RunError> {
    let (name, options) = match command {
        Command::Produce(o) => ("produce", o),
        Command::Consume(o) => ("consume", o),
        Command::Run(o) => ("run", o),
        Command::Limits(o) => return limits::run(o),
    };
    let (produces, consumes) = (name != "consume", name != "produce");
    let setup = options.clone();
    let queues = block_on(move |io| async move {
        let cluster = Cluster::new(io, setup.namesrv);
        find_queues(&cluster, &setup, produces).await
    })??;

    let progress = Arc::new(Progress::default());
    let results = Arc::new(Results::default());
    let threads = usize::from(options.threads).min(options.connections as usize);
    let shards = (0..threads)
        .map(|thread| {
            let plan = LoadPlan {
                produce: produces.then(|| produce_plan(options, &queues.write, thread, threads)),
                batch: options.batch as usize,
                serialize: serialize(options),
                consume: consumes
                    .then(|| consume_plan(options, &queues.read, thread, threads, name == "run"))
                    .filter(|plan| !plan.queues.is_empty()),
            };
            let (progress, results) = (Arc::clone(&progress), Arc::clone(&results));
            ShardSpec {
                name: format!("load-{thread}"),
                cpu: options.cpus.get(thread).copied(),
                service: Box::new(move |_| Box::new(LoadShard::new(plan, progress, results)) as _),
            }
        })
        .collect();
    let spec = ProcessSpec { name: "rmq-bench".to_owned(), shards };
    let process = uring::launch(spec, uring::Options::default())?;
    let (own, broker) = watch(options, &progress, &process.handle());
    process.wait()?;

    let produced = results.produced.lock().expect("no thread panicked").clone();
    let consumed = results.consumed.lock().expect("no thread panicked").clone();
    let report = Report {
        command: name,
        options,
        produced: produces.then_some(produced),
        consumed: consumes.then_some(consumed),
        own,
        broker,
    };
    if let Some(path) = &options.json {
        write_file(path, &report.json())?;
    }
    let through = [&report.produced, &report.consumed].into_iter().flatten().any(|t| t.messages > 0);
    if !through {
        eprint!("{}", report.text());
        return Err(RunError::Nothing);
    }
    Ok(report.text())
}

#[allow(clippy::disallowed_methods, reason = "a command-line tool writing its result, outside any shard")]
pub(super) fn write_file(path: &std::path::Path, text: &str) -> Result<(), RunError> {
    std::fs::write(path, text).map_err(|source| RunError::Write { path: path.display().to_string(), source })
}

fn serialize(options: &Common) -> SerializeType {
    match options.encoding {
        Encoding::Json => SerializeType::Json,
        Encoding::Rocketmq => SerializeType::RocketMq,
    }
}

/// Samples CPU over the measured time and prints a line per second, until the load threads end.
#[allow(clippy::disallowed_methods, reason = "the main thread of a command-line tool, outside any shard")]
fn watch(options: &Common, progress: &Progress, handle: &uring::Handle) -> (Option<Used>, Option<Used>) {
    let begun = Instant::now();
    let from = begun + options.warmup();
    let until = from + options.duration();
    let own_pid = std::process::id();
    let mut first: Option<(Instant, Option<Usage>, Option<Usage>)> = None;
    let mut last = first;
    let mut rss_max = (0, 0);
    let mut printed = (begun, 0, 0);
    while handle.is_running() {
        std::thread::sleep(Duration::from_millis(10));
        let now = Instant::now();
        if now >= from && now <= until + Duration::from_millis(20) {
            let sample = || (now, host::usage(own_pid), options.broker_pid.and_then(host::usage));
            if first.is_none() {
                first = Some(sample());
            } else if now >= until || last.is_none_or(|(at, ..)| now - at > Duration::from_millis(200)) {
                last = Some(sample());
                let rss = |usage: Option<Usage>| usage.map_or(0, |usage| usage.rss_bytes);
                let (_, own, broker) = last.expect("sampled");
                rss_max = (rss_max.0.max(rss(own)), rss_max.1.max(rss(broker)));
            }
        }
        if now - printed.0 >= Duration::from_secs(1) && !options.quiet {
            let sent = progress.sent.load(Ordering::Relaxed);
            let received = progress.received.load(Ordering::Relaxed);
            let seconds = (now - printed.0).as_secs_f64();
            println!(
                "{:6.0} s  sent {:9.0}/s  received {:9.0}/s  failed {}",
                (now - begun).as_secs_f64(),
                (sent - printed.1) as f64 / seconds,
                (received - printed.2) as f64 / seconds,
                progress.failed.load(Ordering::Relaxed)
            );
            printed = (now, sent, received);
        }
    }
    let (Some(first), Some(last)) = (first, last) else { return (None, None) };
    let used = |a: Option<Usage>, b: Option<Usage>, rss_max_bytes: u64| {
        let (a, b) = (a?, b?);
        Some(Used {
            cpu_seconds: b.cpu_seconds - a.cpu_seconds,
            rss_bytes: b.rss_bytes,
            rss_max_bytes,
            seconds: (last.0 - first.0).as_secs_f64(),
        })
    };
    (used(first.1, last.1, rss_max.0), used(first.2, last.2, rss_max.1))
}

async fn find_queues(cluster: &Cluster, options: &Common, create: bool) -> Result<Found, ControlError> {
    let mut found = Found { write: Vec::new(), read: Vec::new() };
    let masters = cluster.wait_for_masters().await?;
    let topics = options.topic_names();
    if create && !options.no_create {
        for topic in &topics {
            for &broker in &masters {
                cluster.create_topic(broker, topic, options.queues).await?;
            }
        }
    }
    for topic in &topics {
        let brokers = if create && !options.no_create { masters.len() } else { 1 };
        let route = cluster.wait_for_route(topic, brokers).await?;
        add_queues(&mut found, topic, &route);
    }
    if found.write.is_empty() && create {
        return Err(ControlError::Missing("no queue can be written to".to_owned()));
    }
    Ok(found)
}

fn add_queues(found: &mut Found, topic: &str, route: &TopicRouteData) {
    let masters: BTreeMap<&str, SocketAddr> = route
        .broker_datas
        .iter()
        .filter_map(|b| Some((b.broker_name.as_str(), b.broker_addrs.get(&0)?.parse().ok()?)))
        .collect();
    for queues in &route.queue_datas {
        let Some(&broker) = masters.get(queues.broker_name.as_str()) else { continue };
        let some = |count: i32| {
            let queues = count.max(0).unsigned_abs();
            (queues > 0).then(|| FoundQueues { broker, topic: topic.to_owned(), queues })
        };
        if queues.perm & 2 != 0 {
            found.write.extend(some(queues.write_queue_nums));
        }
        if queues.perm & 4 != 0 {
            found.read.extend(some(queues.read_queue_nums));
        }
    }
}

/// Distinct brokers in order of appearance, and each queue's index among them.
fn brokers_of(queues: &[FoundQueues]) -> (Vec<SocketAddr>, Vec<usize>) {
    let mut brokers = Vec::new();
    let indexes = queues
        .iter()
        .map(|q| {
            brokers.iter().position(|b| *b == q.broker).unwrap_or_else(|| {
                brokers.push(q.broker);
                brokers.len() - 1
            })
        })
        .collect();
    (brokers, indexes)
}

/// The `index`-th of `parts` nearly equal shares of `whole`.
fn share(whole: u64, index: usize, parts: usize) -> u64 {
    let (index, parts) = (index as u64, parts as u64);
    whole * (index + 1) / parts - whole * index / parts
}

fn produce_plan(
    options: &Common,
    queues: &[FoundQueues],
    thread: usize,
    threads: usize,
) -> (ProducePlan, Vec<TemplatePlan>) {
    let (brokers, indexes) = brokers_of(queues);
    let templates = queues
        .iter()
        .zip(&indexes)
        .map(|(q, &broker)| TemplatePlan { broker, topic: q.topic.clone(), queues: q.queues })
        .collect();
    let requests = options.rate / f64::from(options.batch) / threads as f64;
    let plan = ProducePlan {
        brokers,
        connections: share(u64::from(options.connections), thread, threads) as usize,
        in_flight: options.in_flight as usize,
        requests_per_second: (options.rate > 0.0).then_some(requests),
        first_number: (thread as u64) << 48,
        messages_max: share(options.count, thread, threads),
        body_bytes: options.size as usize,
        order: options.order,
        warmup: options.warmup(),
        duration: options.duration(),
    };
    (plan, templates)
}

fn consume_plan(
    options: &Common,
    queues: &[FoundQueues],
    thread: usize,
    threads: usize,
    from_now_on: bool,
) -> ConsumePlan {
    let (brokers, indexes) = brokers_of(queues);
    let mine = queues
        .iter()
        .zip(&indexes)
        .flat_map(|(q, &broker)| (0..q.queues).map(move |queue_id| (q, broker, queue_id)))
        .enumerate()
        .filter(|(k, _)| k % threads == thread)
        .map(|(_, (q, broker, queue_id))| QueueToRead { broker, topic: q.topic.clone(), queue_id })
        .collect();
    ConsumePlan {
        brokers,
        connections: share(u64::from(options.connections), thread, threads) as usize,
        queues: mine,
        group: options.group.clone(),
        from: if from_now_on { From::Last } else { options.from },
        pull_batch: options.pull_batch,
        serialize: serialize(options),
        messages_max: share(options.count, thread, threads),
        warmup: options.warmup(),
        duration: options.duration(),
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up_to_the_whole() {
        for (whole, parts) in [(16, 3), (1, 4), (0, 2), (1_000_003, 7)] {
            assert_eq!((0..parts).map(|k| share(whole, k, parts)).sum::<u64>(), whole);
        }
    }
}
