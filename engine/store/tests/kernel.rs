//! The store on the kernel driver: a real file system, real direct I/O.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the test waits for a real process of the kernel driver")]

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringmq_reactor::uring;
use ringmq_store::{Flush, ReadStatus, RecoveryReport, StoreConfig, StoreStats, TailState};
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
    assert_eq!((report.tail, report.records), (TailState::Clean, messages.len() as u64));
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
