//! Disks that fail, are slow or full.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_reactor::sim::{DiskFaults, FaultKind};
use ringmq_store::{AppendError, Flush, LogOffset, ReadError, ReadStatus, Stage, StoreConfig};
use support::bench::*;
use support::*;

/// Appends until the store refuses, at most `count` times; gives the refusal.
fn append_until_refused(bench: &mut Bench, from: u64, count: u64, body_bytes: usize) -> Option<AppendError> {
    let (sender, receiver) = std::sync::mpsc::channel();
    bench.remote.call(move |store, io, answers| {
        for id in from..from + count {
            let message = message(id, body_bytes);
            let (body, properties) = (message.body(), message.properties());
            match store.append(io, &draft(&message, &body, &properties), message.tags_code()) {
                Ok(appended) => answers.await_acknowledgement(appended.end, id),
                Err(error) => return sender.send(Some(error)).expect("heard"),
            }
        }
        sender.send(None).expect("heard");
    });
    let mut answer = None;
    let answered = bench.world.run_until(10 * SECOND, |_| {
        answer = receiver.try_recv().ok();
        answer.is_some()
    });
    assert!(answered, "the call was not made");
    bench.world.run_for(Duration::from_micros(300));
    answer.expect("answered")
}

/// Without zeros ahead, so that the next write on the log is a log write.
fn config(flush: Flush) -> StoreConfig {
    StoreConfig { flush, zero_ahead_bytes: 0, ..small_config("/s") }
}

#[track_caller]
fn check_poisoned(bench: &mut Bench, stage: Stage) {
    let error = append_until_refused(bench, 900, 1, 10).expect("refused");
    let AppendError::Poisoned(poison) = &error else { panic!("{error}") };
    assert_eq!(poison.stage, stage);
    assert!(error.to_string().contains("reopened"), "the text names the remedy: {error}");
}

#[test]
fn a_failed_write_ends_the_log_until_it_is_reopened() {
    for flush in [Flush::Sync, Flush::Async { interval: Duration::from_millis(5) }] {
        let mut bench = Bench::new(1, config(flush));
        bench.append(&message(0, 100));
        bench.settle();
        bench.world.fail_next(bench.host, FaultKind::Write, "/log/", 1);
        bench.append(&message(1, 100));
        bench.settle();
        assert_eq!(
            bench.remote.answers(|a| a.acknowledged.clone()),
            [0],
            "the failed one is never acknowledged"
        );
        check_poisoned(&mut bench, Stage::Write);
        // Later writes would succeed: it does not try.
        bench.world.run_for(5 * SECOND);
        check_poisoned(&mut bench, Stage::Write);
        assert_eq!(bench.read_all("t", 3), expected(&[message(0, 100)]), "reads go on");
        bench.restart();
        let found = bench.read_all("t", 3).len();
        assert!((1..=2).contains(&found));
        bench.append(&message(2, 100));
        bench.settle();
        assert_eq!(bench.remote.answers(|a| a.acknowledged.clone()), [2]);
    }
}

#[test]
fn a_failed_flush_ends_the_log_and_is_not_tried_again() {
    let mut bench = Bench::new(2, config(Flush::Async { interval: Duration::from_millis(5) }));
    bench.append(&message(0, 100));
    bench.world.fail_next(bench.host, FaultKind::Sync, "/log/", 1);
    bench.settle();
    let marks = bench.remote.watermarks();
    assert!(marks.poisoned && marks.durable < marks.acknowledged, "{marks:?}");
    check_poisoned(&mut bench, Stage::Flush);
    bench.restart();
    // Recovery writes again what no flush vouched for.
    bench.world.power_cut(bench.host);
    bench.start();
    assert_eq!(bench.read_all("t", 3), expected(&[message(0, 100)]));
}

#[test]
fn a_failed_checkpoint_ends_the_log() {
    let mut bench = Bench::new(3, config(Flush::Sync));
    bench.world.fail_next(bench.host, FaultKind::Write, "checkpoint", 1);
    bench.append(&message(0, 100));
    bench.settle();
    assert_eq!(bench.remote.answers(|a| a.acknowledged.clone()), [0], "the message itself is safe");
    check_poisoned(&mut bench, Stage::Checkpoint);
    bench.restart();
    assert_eq!(bench.read_all("t", 3).len(), 1);
}

#[test]
fn a_failed_cold_read_is_an_error_once_and_never_wrong_bytes() {
    let mut bench = Bench::new(4, config(Flush::Sync));
    let messages: Vec<_> = (0..60).map(|id| message(id, 4000)).collect();
    for some in messages.chunks(5) {
        some.iter().for_each(|m| bench.append(m));
        bench.settle();
    }
    bench.world.fail_next(bench.host, FaultKind::Read, "/log/", 1);
    let error = bench.try_read(ask("t", 3, 0)).expect_err("the disk failed");
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    assert_eq!(bench.read_all("t", 3), expected(&messages), "the next reader asks the disk again");

    // Bit rot in a record's properties, which RocketMQ's own checksum does not cover.
    let mut bench = Bench::new(4, config(Flush::Sync));
    for some in messages.chunks(5) {
        some.iter().for_each(|m| bench.append(m));
        bench.settle();
    }
    let segment = "/s/log/00000000000000000000";
    let file = bench.file(segment);
    let place = file.windows(8).position(|w| w == b"UNIQ_KEY").expect("there");
    assert!(bench.world.flip_bits(bench.host, segment, place as u64 + 2, 0x10));
    let error = bench.try_read(ask("t", 3, 0)).expect_err("bit rot");
    assert!(matches!(error, ReadError::Checksum { .. }), "{error}");
    assert_eq!(bench.read(ask("t", 3, 1)).status, ReadStatus::Found, "its neighbours are unharmed");
}

#[test]
fn a_slow_disk_fills_the_tail_cache_and_nothing_is_lost() {
    let mut bench = Bench::new(5, config(Flush::Sync));
    bench.world.set_disk_faults(bench.host, DiskFaults { slowness: 300.0, ..DiskFaults::default() });
    let error = append_until_refused(&mut bench, 0, 200, 1000).expect("96 KiB of cache hold no 200 KiB");
    assert!(
        matches!(error, AppendError::TailCacheFull { unwritten_bytes } if unwritten_bytes > 60_000),
        "{error}"
    );
    bench.world.set_disk_faults(bench.host, DiskFaults::default());
    bench.world.run_for(20 * SECOND);
    let acknowledged = bench.remote.answers(|a| a.acknowledged.len());
    assert!(acknowledged > 50);
    assert_eq!(bench.read_all("t", 3).len(), acknowledged, "all that was accepted");
    assert!(append_until_refused(&mut bench, 500, 10, 1000).is_none(), "room again");
}

#[test]
fn a_reader_that_keeps_slices_does_not_stop_the_log() {
    let mut bench = Bench::new(6, config(Flush::Sync));
    bench.append(&message(0, 1000));
    bench.settle();
    // Kept, as by a connection whose peer does not read.
    let kept = bench.read(ask("t", 3, 0));
    for id in 1..200 {
        bench.append(&message(id, 1000));
        bench.world.run_for(Duration::from_millis(3));
    }
    bench.settle();
    assert_eq!(bench.remote.answers(|a| a.acknowledged.len()), 200);
    assert_eq!(records(&kept), expected(&[message(0, 1000)]), "and its bytes stay what they were");
    drop(kept);
    assert_eq!(bench.read_all("t", 3).len(), 200);
}

#[test]
fn a_full_disk_refuses_and_keeps_what_it_has() {
    let mut bench = Bench::new(7, config(Flush::Sync));
    // Room for the first segment and little more.
    bench.world.set_disk_capacity(bench.host, 200 << 10);
    let mut refused = None;
    for from in (0..400).step_by(10) {
        if let Some(error) = append_until_refused(&mut bench, from, 10, 1000) {
            refused = Some(error);
            break;
        }
        bench.world.run_for(Duration::from_millis(100));
    }
    let error = refused.expect("128 KiB hold no 400 KiB");
    assert!(matches!(error, AppendError::NoSegment { .. }), "{error}");
    bench.settle();
    let acknowledged = bench.remote.answers(|a| a.acknowledged.len());
    assert!(acknowledged >= 100, "{acknowledged}");
    assert_eq!(bench.read_all("t", 3).len(), acknowledged);
    // Space returns: it goes on by itself.
    bench.world.set_disk_capacity(bench.host, 1 << 30);
    bench.world.run_for(3 * SECOND);
    assert!(append_until_refused(&mut bench, 900, 10, 1000).is_none(), "room again");
    bench.settle();
    assert_eq!(bench.remote.answers(|a| a.acknowledged.len()), acknowledged + 10);
    bench.restart();
    assert_eq!(bench.read_all("t", 3).len(), acknowledged + 10);
}

#[test]
fn a_store_on_a_full_disk_can_be_closed() {
    let mut bench = Bench::new(8, config(Flush::Sync));
    bench.world.set_disk_capacity(bench.host, 130 << 10);
    for from in (0..200).step_by(10) {
        if append_until_refused(&mut bench, from, 10, 1000).is_some() {
            break;
        }
        bench.world.run_for(Duration::from_millis(50));
    }
    bench.settle();
    let acknowledged = bench.remote.answers(|a| a.acknowledged.len());
    bench.stop();
    bench.world.set_disk_capacity(bench.host, 1 << 30);
    bench.start();
    assert_eq!(bench.read_all("t", 3).len(), acknowledged);
}

#[test]
fn zeros_run_ahead_and_never_over_records() {
    // Fast appends on a disk whose writes take anything from 20 µs to 20 ms: the log runs into zero writes in flight.
    let config = StoreConfig { flush: Flush::Sync, zero_ahead_bytes: 64 << 10, ..small_config("/s") };
    for seed in 0..12 {
        let mut bench = Bench::new(seed, config.clone());
        let mut accepted = 0;
        for from in (0..300).step_by(5) {
            if append_until_refused(&mut bench, from, 5, 1500).is_none() {
                accepted += 5;
            }
        }
        bench.world.run_for(2 * SECOND);
        let acknowledged = bench.remote.answers(|a| a.acknowledged.len());
        assert!(acknowledged >= accepted, "seed {seed}: {acknowledged} of {accepted}");
        let process = bench.process;
        bench.world.kill(process);
        bench.open().expect("no corruption");
        assert_eq!(bench.read_all("t", 3).len(), acknowledged, "seed {seed}");
        bench.remote.call(|store, _, _| assert!(store.stats().segments >= 2));
        bench.settle();
    }
    let mut bench = Bench::new(99, config);
    bench.append(&message(0, 10));
    bench.settle();
    bench.remote.call(|store, _, _| {
        let stats = store.stats();
        assert!(stats.zeroed_bytes >= 60 << 10, "{stats:?}");
        assert!(stats.write_latency.quantile(1.0) > Duration::ZERO && stats.writes >= 1);
    });
    bench.settle();
    assert!(bench.remote.watermarks().appended > LogOffset(0));
}
