//! Verifying what is derived from the log: sound files pass, every damaged page is named, and nobody calls that lost data.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_reactor::sim::DiskFaults;
use ringmq_store::inspect::{Severity, Verification};
use ringmq_store::{Flush, LogOffset, OpenError, StoreConfig, TailCacheFound, TailCacheRefusal, TailState};
use support::bench::*;
use support::look::*;
use support::*;

const PAGE: usize = 4096;

fn config() -> StoreConfig {
    StoreConfig { flush: Flush::Async { interval: Duration::from_millis(5) }, ..small_config("/s") }
}

fn append(bench: &mut Bench, ids: std::ops::Range<u64>) {
    let messages: Vec<_> = ids
        .map(|id| Message {
            id,
            topic: format!("t{}", id % 5),
            queue_id: (id % 3) as i32,
            body_bytes: 100 + (id as usize * 677) % 900,
        })
        .collect();
    for some in messages.chunks(8) {
        some.iter().for_each(|m| bench.append(m));
        bench.world.run_for(Duration::from_millis(7));
    }
    bench.settle();
}

/// A store of several segments with messages in 15 queues, ended in order.
fn store(seed: u64) -> Bench {
    store_of(seed, 0..700)
}

fn store_of(seed: u64, ids: std::ops::Range<u64>) -> Bench {
    let mut bench = Bench::new(seed, config());
    append(&mut bench, ids);
    bench.stop();
    bench
}

/// The files in a folder of the store, by name.
fn files(bench: &Bench, folder: &str) -> Vec<String> {
    let path = format!("/s/{folder}");
    let entries = bench.world.list(bench.host, &path);
    let mut names: Vec<_> = entries.into_iter().map(|entry| format!("{path}/{}", entry.name)).collect();
    names.sort();
    names
}

fn remove(bench: &mut Bench, paths: Vec<String>) {
    look(bench, async move |io| {
        for path in paths {
            io.remove(&path).await.expect("there");
        }
    });
}

fn sound(bench: &mut Bench) -> Verification {
    let verification = verify(bench).expect("readable");
    assert_eq!(verification.severity(), None, "{:?}", verification.findings);
    verification
}

#[test]
fn sound_runs_are_compared_with_the_log_whole() {
    let mut bench = store(1);
    let verification = sound(&mut bench);
    let end = verification.recovery.as_ref().expect("sound").report.log_max;
    assert!(verification.index.runs > 5 && verification.index.end > LogOffset(end.0 / 2), "{verification:?}");
    // Killed, begun anew, with a deleted topic and with the loss of the oldest segments.
    bench.start();
    bench.remote.call(|store, io, _| {
        store.delete_topic(io, "t1").expect("room");
    });
    append(&mut bench, 700..800);
    let process = bench.process;
    bench.world.kill(process);
    let before = sound(&mut bench).index;
    let oldest: Vec<_> = files(&bench, "log").into_iter().take(2).collect();
    remove(&mut bench, oldest);
    sound(&mut bench);
    bench.start();
    append(&mut bench, 800..1000);
    bench.stop();
    let after = sound(&mut bench).index;
    assert!(after.end > before.end && after.entries < before.entries, "{before:?} {after:?}");
}

/// Flips one bit in every page of every file of a folder, one at a time, in stores that are all the same; `check` looks at those in
/// which something was found. Gives how many they were.
fn damage_every_page(seed: u64, folder: &str, mut check: impl FnMut(&Verification)) -> u64 {
    let (mut damaged, whole) = (0, sound(&mut store(seed)));
    for name in files(&store(seed), folder) {
        for page in 0..store(seed).file(&name).len() / PAGE {
            let mut bench = store(seed);
            let at = page * PAGE + (page * 977 + 5) % PAGE;
            let byte = bench.file(&name)[at];
            bench.put(&name, at, &[byte ^ (1 << (page % 8))]);
            let verification = verify(&mut bench).expect("readable");
            assert_eq!(verification.records, 700, "the log is whole");
            if verification.severity().is_none() {
                // Behind the last run there is nothing that could be damaged.
                assert_eq!(
                    (verification.index, &verification.keys),
                    (whole.index, &whole.keys),
                    "{name} {at}"
                );
                continue;
            }
            damaged += 1;
            assert_eq!(verification.severity(), Some(Severity::Derived), "{:?}", verification.findings);
            let [finding] = &verification.findings[..] else { panic!("{:?}", verification.findings) };
            assert!(finding.file.ends_with(&name[1..]), "{finding:?}");
            assert!(finding.bytes.start <= at as u64, "{name} byte {at}: {finding:?}");
            check(&verification);
            // Without the file it is as good as new.
            remove(&mut bench, vec![name.clone()]);
            bench.start();
            bench.settle();
            bench.stop();
            sound(&mut bench);
        }
    }
    damaged
}

#[test]
fn every_damaged_page_of_the_index_is_named_and_made_again() {
    let whole = sound(&mut store(2)).index;
    let damaged = damage_every_page(2, "index", |verification| {
        assert!(verification.index.runs < whole.runs);
    });
    assert!(damaged >= whole.runs * 3, "a header, an entry page and a table page each: {damaged}");
}

#[test]
fn every_damaged_page_of_a_key_file_is_named_and_made_again() {
    let whole = sound(&mut store(4)).keys;
    assert!(whole.runs > 3 && whole.entries > 600, "{whole:?}");
    let damaged = damage_every_page(4, "keys", |verification| {
        assert!(verification.keys.runs < whole.runs);
        assert!(verification.keys.gaps.len() > whole.gaps.len() || verification.keys.gaps != whole.gaps);
    });
    assert!(damaged >= whole.runs * 4, "a header, entries, fences and a filter each: {damaged}");
}

#[test]
fn whole_pages_that_say_something_else_than_the_log_are_noticed() {
    // The same topics and sizes, other bodies.
    let (mut bench, other) = (store(3), store_of(3, 900..1600));
    for name in files(&bench, "index") {
        let bytes = other.file(&name);
        assert_eq!(bytes.len(), bench.file(&name).len());
        bench.put(&name, 0, &bytes);
    }
    let verification = verify(&mut bench).expect("readable");
    assert_eq!((verification.severity(), verification.index.runs), (Some(Severity::Derived), 0));
    assert!(verification.findings.iter().all(|f| f.text.contains("the entry of t")), "{verification:?}");
    assert_eq!(verification.records, 700);
}

#[test]
fn whole_key_files_that_say_something_else_than_the_log_are_noticed() {
    // Same sizes, other keys.
    let (mut bench, other) = (store(5), store_of(5, 900..1600));
    let names = files(&bench, "keys");
    assert_eq!(names, files(&other, "keys"));
    for name in names {
        let bytes = other.file(&name);
        assert_eq!(bytes.len(), bench.file(&name).len());
        bench.put(&name, 0, &bytes);
    }
    let verification = verify(&mut bench).expect("readable");
    assert_eq!((verification.severity(), verification.keys.runs), (Some(Severity::Derived), 0));
    assert_eq!(verification.keys.gaps.len(), 1, "the whole log: {verification:?}");
}

/// A store killed with 30 acknowledged messages, of which the disk did not see the last 25.
fn killed(seed: u64, flush: Flush) -> (Bench, std::path::PathBuf) {
    let mut bench = Bench::new(seed, mapped(StoreConfig { flush, ..small_config("/s") }));
    for id in 0..30 {
        if id == 5 {
            bench.settle();
            let faults = DiskFaults { slowness: 1e9, ..DiskFaults::default() };
            bench.world.set_disk_faults(bench.host, faults);
        }
        bench.append(&message(id, 300));
        bench.world.run_for(Duration::from_millis(5));
    }
    bench.world.kill(bench.process);
    bench.world.set_disk_faults(bench.host, DiskFaults::default());
    let file = bench.world.memory_files(bench.host).remove(0);
    (bench, file)
}

const LAZY: Flush = Flush::Async { interval: Duration::from_secs(3600) };

#[test]
fn what_only_memory_has_is_counted_and_left_there() {
    let (mut bench, file) = killed(6, LAZY);
    let before = bench.world.read_memory_file(bench.host, &file).expect("there");
    let verification = verify(&mut bench).expect("readable");
    // The write that stood still may have left a piece.
    assert!(verification.severity() <= Some(Severity::TornTail), "{:?}", verification.findings);
    assert_eq!(
        bench.world.read_memory_file(bench.host, &file).expect("there"),
        before,
        "looking writes nothing"
    );
    let forecast = verification.recovery.expect("sound");
    assert_eq!(forecast.tail_file, Some(file));
    let TailCacheFound::Used { records, lost: None, .. } = forecast.report.tail_cache else {
        panic!("{:?}", forecast.report.tail_cache)
    };
    assert!(records > 20 && verification.records >= 5, "{records} in memory only");
    assert_eq!(records + verification.records, 30);
    assert_eq!(forecast.queues[0].max_offset, 30);
    let report = bench.open().expect("sound");
    assert_eq!((report.log_max, report.tail_cache), (forecast.report.log_max, forecast.report.tail_cache));
    bench.stop();
    let forecast = sound(&mut bench).recovery.expect("sound");
    assert_eq!(forecast.report.tail_cache, TailCacheFound::Nothing, "closed in order");
}

#[test]
fn damage_in_memory_is_told_as_recovery_tells_it() {
    let before = {
        let (bench, file) = killed(7, LAZY);
        bench.world.read_memory_file(bench.host, &file).expect("there")
    };
    // Header, marks, slots, and the first block, where the messages are.
    let places = (0..84).step_by(7).chain((4096..4200).step_by(5)).chain((8192..8228).step_by(5));
    let mut told = 0;
    for at in places.chain((12_288..28_000).step_by(701)) {
        let (mut bench, file) = killed(7, LAZY);
        let mut bytes = before.clone();
        bytes[at] ^= 1 << (at % 8);
        bench.world.put_memory_file(bench.host, &file, &bytes);
        let verification = verify(&mut bench).expect("readable");
        let opened = bench.open();
        let expected = match &opened {
            Err(OpenError::Corrupt { .. }) => Some(Severity::Corruption),
            Err(other) => panic!("{other}"),
            Ok(report) => match (&report.tail_cache, report.tail) {
                (TailCacheFound::Used { lost: Some(_), .. }, _) => Some(Severity::Corruption),
                (TailCacheFound::Refused(TailCacheRefusal::Damaged), _) => Some(Severity::Corruption),
                (_, TailState::Torn) => Some(Severity::TornTail),
                _ => None,
            },
        };
        assert_eq!(verification.severity(), expected, "byte {at}: {:?} {opened:?}", verification.findings);
        told += u32::from(expected == Some(Severity::Corruption));
        if let (Ok(forecast), Ok(report)) = (&verification.recovery, &opened) {
            assert_eq!((forecast.report.log_max, forecast.report.records), (report.log_max, report.records));
        }
    }
    assert!(told > 30, "{told}");
    // Under SYNC_FLUSH nothing that was acknowledged is in memory only.
    let (mut bench, file) = killed(7, Flush::Sync);
    let mut bytes = bench.world.read_memory_file(bench.host, &file).expect("there");
    bytes[50] ^= 1;
    bench.world.put_memory_file(bench.host, &file, &bytes);
    assert_eq!(verify(&mut bench).expect("readable").severity(), Some(Severity::Derived));
}
