//! The store on the kernel driver: a real file system, real direct I/O.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the test waits for a real process of the kernel driver")]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringmq_reactor::uring;
use ringmq_store::{
    Flush, ReadStatus, RecoveryReport, StoreConfig, StoreStats, TailCacheFound, TailCacheUse, TailState,
};
use support::bench::{ask, expected, message};
use support::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder under the target folder: the temporary one may be a tmpfs, which has no direct I/O.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder")
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what} takes for ever");
        std::thread::sleep(Duration::from_micros(200));
    }
}

struct Running {
    remote: Remote,
    process: uring::Process,
}

impl Running {
    fn start(config: &StoreConfig) -> (Self, RecoveryReport) {
        let remote = Remote::default();
        let process =
            uring::launch(spec(&remote, config.clone()), uring::Options::default()).expect("io_uring");
        wait_until("opening", || remote.is_open());
        let report = remote.take_opened().expect("open").expect("a good store");
        (Self { remote, process }, report)
    }

    fn append(&self, messages: &[Message]) {
        let messages = messages.to_vec();
        self.remote.call(move |store, io, answers| {
            for message in &messages {
                let (body, properties) = (message.body(), message.properties());
                let draft = draft(message, &body, &properties);
                let appended = store.append(io, &draft, message.tags_code()).expect("room");
                answers.await_acknowledgement(appended.end, message.id);
            }
        });
    }

    fn wait_acknowledged(&self, count: usize) {
        wait_until("acknowledgement", || self.remote.answers(|a| a.acknowledged.len()) >= count);
    }

    fn read_all(&self) -> Vec<(i64, i32, Vec<u8>, String)> {
        let mut all = Vec::new();
        loop {
            let id = self.remote.read(ask("t", 3, all.len() as i64));
            wait_until("reading", || self.remote.answers(|a| a.reads.contains_key(&id)));
            let result = self.remote.answers(|a| a.reads.remove(&id)).expect("answered").expect("readable");
            if result.status != ReadStatus::Found {
                return all;
            }
            all.extend(records(&result));
        }
    }

    fn stats(&self) -> StoreStats {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.remote.call(move |store, _, _| sender.send(store.stats()).expect("heard"));
        receiver.recv_timeout(PATIENCE).expect("answered")
    }

    fn stop(self) {
        self.remote.stop();
        self.process.wait().expect("an orderly end");
    }
}

fn roundtrip(config: StoreConfig, messages: &[Message], at_once: usize) {
    let (running, report) = Running::start(&config);
    assert_eq!(report.tail, TailState::Fresh);
    let mut sent = 0;
    for some in messages.chunks(at_once) {
        running.append(some);
        sent += some.len();
        running.wait_acknowledged(sent);
    }
    assert_eq!(running.read_all(), expected(messages));
    running.stop();
    let (running, report) = Running::start(&config);
    assert_eq!(report.tail, TailState::Clean);
    assert!(report.records <= messages.len() as u64, "{report:?}");
    assert_eq!(running.read_all(), expected(messages), "cold");
    running.append(&[message(messages.len() as u64, 5)]);
    running.wait_acknowledged(1);
    running.stop();
}

#[test]
fn small_segments_roll_and_come_back() {
    for flush in [Flush::Sync, Flush::Async { interval: Duration::from_millis(20) }] {
        let folder = folder();
        let config = StoreConfig { flush, ..small_config(folder.path().join("store/shard-00")) };
        let messages: Vec<_> = (0..300).map(|id| message(id, 100 + (id as usize * 677) % 3000)).collect();
        roundtrip(config, &messages, 10);
    }
}

#[test]
fn default_sizes_work_and_large_records_too() {
    let folder = folder();
    let config = StoreConfig { flush: Flush::Sync, ..StoreConfig::new(folder.path().join("s"), OWNER) };
    let messages: Vec<_> = [10, 4 << 20, 1000, 3 << 20, (4 << 20) - 1, 70_000, 1]
        .iter()
        .zip(0..)
        .map(|(b, id)| message(id, *b))
        .collect();
    roundtrip(config, &messages, 2);
}

/// Removes what a failed test leaves in memory.
struct MemoryFile(PathBuf);

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_process_that_ends_without_closing_leaves_its_tail_in_memory() {
    let folder = folder();
    let config = mapped(StoreConfig {
        flush: Flush::Async { interval: Duration::from_secs(3600) },
        // Nothing is written by itself.
        lazy_write_bytes: 32 << 10,
        lazy_write_delay: Duration::from_secs(3600),
        ..small_config(folder.path().join("s"))
    });
    let (running, report) = Running::start(&config);
    let path = match report.tail_cache_use {
        TailCacheUse::Mapped { path } => MemoryFile(path),
        TailCacheUse::Memory { reason } => return println!("skipped: {reason}"),
    };
    let messages: Vec<_> = (0..40).map(|id| message(id, 300)).collect();
    running.append(&messages);
    running.wait_acknowledged(40);
    assert_eq!(running.stats().writes, 0, "acknowledged without a write");
    drop(running);
    assert!(path.0.exists());
    let (running, report) = Running::start(&config);
    assert!(
        matches!(report.tail_cache, TailCacheFound::Used { records: 40, lost: None, .. }),
        "{:?}",
        report.tail_cache
    );
    assert_eq!(running.read_all(), expected(&messages));
    running.append(&[message(40, 5000)]);
    running.wait_acknowledged(1);
    running.stop();
    assert!(!path.0.exists(), "an orderly end leaves nothing");
}

/// Not a limit, figures: `cargo test --release -p ringmq-store --test kernel -- --ignored --nocapture figures`.
/// `STORE_DIR` names another folder than the target's.
#[test]
#[ignore = "a measurement"]
fn figures() {
    for (flush, name) in
        [(Flush::Sync, "SYNC"), (Flush::Async { interval: Duration::from_millis(500) }, "ASYNC")]
    {
        let scratch = folder();
        let dir = std::env::var_os("STORE_DIR").map_or(scratch.path().to_owned(), PathBuf::from).join(name);
        let config = StoreConfig { flush, ..StoreConfig::new(&dir, OWNER) };
        let (running, _) = Running::start(&config);
        let total = 300_000u64;
        let started = Instant::now();
        let mut from = 0;
        while from < total {
            let batch: Vec<_> = (from..from + 1000).map(|id| message(id, 1024)).collect();
            running.append(&batch);
            from += 1000;
            // At most 16,000 in flight.
            running.wait_acknowledged(from.saturating_sub(16_000) as usize);
        }
        running.wait_acknowledged(total as usize);
        let took = started.elapsed();
        let stats = running.stats();
        println!(
            "{name}: {:.0} messages/s, {} writes of {:.0} KiB, write p50 {:?} p99 {:?}, {} flushes, {} MiB zeroed",
            total as f64 / took.as_secs_f64(),
            stats.writes,
            stats.written_bytes as f64 / 1024.0 / stats.writes as f64,
            stats.write_latency.quantile(0.5),
            stats.write_latency.quantile(0.99),
            stats.flushes,
            stats.zeroed_bytes >> 20,
        );
        running.stop();
        let (running, report) = Running::start(&config);
        println!(
            "{name}: recovery of {} MiB, {} records in {:?}",
            report.bytes >> 20,
            report.records,
            report.elapsed
        );
        running.stop();
    }
}

/// Bytes of memory that this process holds.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line on resident memory");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// Appends `per_call` messages at a time, at most 16,000 in flight.
fn fill(running: &Running, total: u64, per_call: u64, message: impl Fn(u64) -> Message) {
    let mut sent = 0;
    while sent < total {
        let batch: Vec<_> = (sent..total.min(sent + per_call)).map(&message).collect();
        sent += batch.len() as u64;
        running.append(&batch);
        running.wait_acknowledged(sent.saturating_sub(16_000) as usize);
    }
    running.wait_acknowledged(total as usize);
}

/// Not a limit, figures: memory of a million queues that were written once each, and how long a start takes after a kill (here: a
/// start from a copy of what a kill leaves, since the process is the test itself).
/// `QUEUES` is how many (1,000,000), `TOPICS` how many topics they belong to (as many).
/// `cargo test --release -p ringmq-store --test kernel -- --ignored --nocapture --exact many_queues`
#[test]
#[ignore = "a measurement"]
fn many_queues() {
    let number =
        |name: &str, default: u64| std::env::var(name).map_or(default, |n| n.parse().expect("a number"));
    let queues = number("QUEUES", 1_000_000);
    let topics = number("TOPICS", queues);
    let scratch = folder();
    let dir = std::env::var_os("STORE_DIR").map_or(scratch.path().to_owned(), PathBuf::from).join("many");
    let config = StoreConfig::new(&dir, OWNER);
    let (running, _) = Running::start(&config);
    let to = |topic: u64, queue: u64, id| Message {
        id,
        topic: format!("topic-of-many-{topic:07}"),
        queue_id: queue as i32,
        body_bytes: 200,
    };
    // The tail cache and all buffers are in use before the count begins.
    fill(&running, 400_000, 1000, |id| to(0, 0, id));
    let before = resident_bytes();
    let started = Instant::now();
    running.remote.answers(|a| a.acknowledged = Vec::new());
    fill(&running, queues, 1000, |id| to(1 + id % topics, id / topics, id));
    let took = started.elapsed();
    running.remote.answers(|a| (a.acknowledged, a.arrivals) = (Vec::new(), Vec::new()));
    let filled = resident_bytes();
    let stats = running.stats();
    println!(
        "{queues} queues of {topics} topics in {took:.1?}: {} bytes of memory each ({} entries in memory, {} runs, {} MB of runs written)",
        (filled - before) / queues,
        stats.index_memory_entries,
        stats.index_runs,
        stats.index_written_bytes >> 20,
    );
    // More of the log goes by without them: their entries leave memory.
    fill(&running, 900_000, 1000, |id| to(0, 0, id));
    running.remote.answers(|a| (a.acknowledged, a.arrivals) = (Vec::new(), Vec::new()));
    let stats = running.stats();
    println!(
        "at rest: {} bytes of memory each ({} entries in memory, {} runs, {} MB of runs written)",
        resident_bytes().saturating_sub(before) / queues,
        stats.index_memory_entries,
        stats.index_runs,
        stats.index_written_bytes >> 20,
    );
    running.stop();
    let (running, report) = Running::start(&config);
    println!(
        "start: {:?}, {} queues, {} MB of the log scanned",
        report.elapsed,
        report.queues,
        report.bytes >> 20
    );
    running.stop();
}

/// Not a limit, figures: `GIGABYTES` (5) of log, then a start. A store that was closed in order and one that was killed differ by the
/// rewriting of what the last checkpoint does not cover: `tests/tests/crash.rs` and the benches kill.
/// `cargo test --release -p ringmq-store --test kernel -- --ignored --nocapture --exact start_of_a_large_store`
#[test]
#[ignore = "a measurement"]
fn start_of_a_large_store() {
    let gigabytes: u64 = std::env::var("GIGABYTES").map_or(5, |n| n.parse().expect("a number"));
    let scratch = folder();
    let dir = std::env::var_os("STORE_DIR").map_or(scratch.path().to_owned(), PathBuf::from).join("large");
    let config = StoreConfig::new(&dir, OWNER);
    let (running, _) = Running::start(&config);
    let mut from = 0;
    while running.remote.watermarks().appended.0 < gigabytes << 30 {
        let batch: Vec<_> = (from..from + 256)
            .map(|id| Message { id, topic: format!("t{}", id % 64), queue_id: 0, body_bytes: 4000 })
            .collect();
        running.append(&batch);
        from += 256;
        running.wait_acknowledged((from / 256 * 256).saturating_sub(4096) as usize);
        if from % (1 << 16) == 0 {
            running.remote.answers(|a| a.arrivals = Vec::new());
        }
    }
    running.wait_acknowledged(from as usize);
    println!("{:?}", running.stats());
    running.stop();
    for _ in 0..3 {
        let (running, report) = Running::start(&config);
        println!(
            "start of {} GB: {:?}, {} MB scanned",
            report.log_max.0 >> 30,
            report.elapsed,
            report.bytes >> 20
        );
        running.stop();
    }
}
