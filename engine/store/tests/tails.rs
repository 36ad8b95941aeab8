//! Ends of a log, made byte by byte: what is a torn tail, what is corruption, and that nothing comes back from the dead.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_store::{Corruption, Flush, LogOffset, OpenError, RecoveryReport, StoreConfig, TailState};
use support::bench::*;
use support::*;

const SEGMENT: &str = "/s/log/00000000000000000000";
const CHECKPOINT: &str = "/s/checkpoint";

fn config(flush: Flush) -> StoreConfig {
    StoreConfig { flush, ..small_config("/s") }
}

/// Checkpoints only where the volume asks for them: the tests want a long stretch that no checkpoint vouches for.
const LAZY: Flush = Flush::Async { interval: Duration::from_secs(3600) };

/// A store that was killed with `batches` acknowledged batches of one message, and the log offset after each.
fn killed(seed: u64, flush: Flush, batches: u64) -> (Bench, Vec<LogOffset>) {
    killed_with(seed, config(flush), batches)
}

fn killed_with(seed: u64, config: StoreConfig, batches: u64) -> (Bench, Vec<LogOffset>) {
    let mut bench = Bench::new(seed, config);
    let mut ends = vec![LogOffset(0)];
    for id in 0..batches {
        bench.append(&message(id, 300));
        let remote = bench.remote.clone();
        assert!(bench.world.run_until(SECOND, |_| remote.answers(|a| a.acknowledged.contains(&id))));
        ends.push(bench.remote.watermarks().acknowledged);
    }
    let process = bench.process;
    bench.world.kill(process);
    (bench, ends)
}

#[track_caller]
fn opens(bench: &mut Bench, tail: TailState, end: LogOffset) -> RecoveryReport {
    let report = bench.open().expect("no corruption");
    assert_eq!((report.tail, report.log_max), (tail, end), "{report:?}");
    report
}

#[track_caller]
fn is_corrupt(bench: &mut Bench) -> Corruption {
    match bench.open() {
        Err(OpenError::Corrupt { corruption, .. }) => corruption,
        other => panic!("corruption goes unnoticed: {other:?}"),
    }
}

fn ids(bench: &mut Bench) -> Vec<i32> {
    bench.read_all("t", 3).iter().map(|record| record.1).collect()
}

#[test]
fn a_kill_between_batches_leaves_nothing_to_cut() {
    let (mut bench, ends) = killed(1, LAZY, 5);
    let report = opens(&mut bench, TailState::Killed, ends[5]);
    assert_eq!((report.records, report.truncated_bytes, report.queues), (5, 0, 1));
    assert_eq!(ids(&mut bench), [0, 1, 2, 3, 4]);
}

#[test]
fn a_damaged_last_batch_is_cut_wherever_the_damage_is() {
    let (_, ends) = killed(2, LAZY, 3);
    let (from, to) = (ends[2].0 as usize, ends[3].0 as usize);
    // Every 13th byte, and all of the seal.
    for at in (from..to).step_by(13).chain(to - 32..to) {
        let (mut bench, _) = killed(2, LAZY, 3);
        let byte = bench.file(SEGMENT)[at];
        bench.put(SEGMENT, at, &[byte ^ 0x40]);
        let report = opens(&mut bench, TailState::Torn, ends[2]);
        assert_eq!((report.records, report.discarded_records), (2, 0));
        assert_eq!(ids(&mut bench), [0, 1]);
        assert!(bench.file(SEGMENT)[from..].iter().all(|b| *b == 0), "the rest is zeroed");
    }
}

#[test]
fn what_was_cut_never_comes_back() {
    // Batch 1 of 0..4 is damaged: 2 and 3 are whole behind it. New batches of the same sizes then end exactly where they began.
    let (mut bench, ends) = killed(3, LAZY, 4);
    let at = ends[1].0 as usize + 50;
    let byte = bench.file(SEGMENT)[at];
    bench.put(SEGMENT, at, &[!byte]);
    let report = opens(&mut bench, TailState::Torn, ends[1]);
    assert_eq!(report.discarded_records, 2);
    bench.append(&message(77, 300));
    bench.settle();
    assert_eq!(bench.remote.watermarks().appended, ends[2], "the next batch starts where a cut one did");
    let process = bench.process;
    bench.world.kill(process);
    opens(&mut bench, TailState::Killed, ends[2]);
    assert_eq!(ids(&mut bench), [0, 77]);
}

#[test]
fn a_crash_while_cutting_is_cut_again() {
    for micros in (0..6000).step_by(150) {
        let (mut bench, ends) = killed(4, LAZY, 4);
        let at = ends[1].0 as usize + 50;
        let byte = bench.file(SEGMENT)[at];
        bench.put(SEGMENT, at, &[!byte]);
        bench.remote = Remote::default();
        bench.process = bench.world.start(bench.host, spec(&bench.remote, bench.config.clone()));
        bench.world.run_for(Duration::from_micros(micros));
        let process = bench.process;
        bench.world.kill(process);
        let report = bench.open().expect("no corruption");
        assert_eq!((report.log_max, report.records), (ends[1], 1), "{report:?}");
        assert!(bench.file(SEGMENT)[ends[1].0 as usize..].iter().all(|b| *b == 0));
    }
}

#[test]
fn under_sync_flush_whole_batches_far_behind_damage_are_corruption() {
    // One write is 16 KiB at most: batches beyond the window of a torn write were acknowledged. No checkpoint vouches for any.
    let config = StoreConfig { checkpoint_bytes: 1 << 20, ..config(Flush::Sync) };
    let (mut bench, ends) = killed_with(5, config, 120);
    let window = (bench.config.write_bytes_max * 2 + bench.config.record_bytes_max + 4096) as u64;
    let near =
        ends.iter().rposition(|end| end.0 + window < ends[119].0).expect("the log is longer than the window");
    let byte = bench.file(SEGMENT)[ends[near].0 as usize + 60];
    bench.put(SEGMENT, ends[near].0 as usize + 60, &[!byte]);
    match is_corrupt(&mut bench) {
        Corruption::Inside { at, next, .. } => {
            assert_eq!(at, ends[near]);
            assert!(next.since(at) >= window, "{at} {next}");
        }
        other => panic!("{other}"),
    }
    // Nothing was touched: repaired, it opens with all it had.
    bench.put(SEGMENT, ends[near].0 as usize + 60, &[byte]);
    bench.world.kill(bench.process);
    let report = bench.open().expect("repaired");
    assert_eq!(report.records, 120);
}

#[test]
fn under_sync_flush_a_torn_last_write_is_cut() {
    let (mut bench, ends) = killed(6, Flush::Sync, 10);
    let at = ends[8].0 as usize + 60;
    let byte = bench.file(SEGMENT)[at];
    bench.put(SEGMENT, at, &[!byte]);
    let report = opens(&mut bench, TailState::Torn, ends[8]);
    assert_eq!(report.discarded_records, 1);
}

#[test]
fn damage_below_the_checkpoint_is_corruption() {
    for flush in [Flush::Sync, Flush::Async { interval: Duration::from_millis(1) }] {
        let (mut bench, ends) = killed(7, flush, 5);
        // A second life makes a checkpoint at the end of what it found.
        opens(&mut bench, TailState::Killed, ends[5]);
        let process = bench.process;
        bench.world.kill(process);
        let at = ends[4].0 as usize + 60;
        let byte = bench.file(SEGMENT)[at];
        bench.put(SEGMENT, at, &[!byte]);
        let corruption = is_corrupt(&mut bench);
        assert!(
            matches!(corruption, Corruption::Durable { at, durable, .. } if at == ends[4] && durable == ends[5]),
            "{corruption}"
        );
    }
}

#[test]
fn after_an_orderly_end_anything_missing_is_corruption() {
    let mut bench = Bench::new(8, config(LAZY));
    for id in 0..3 {
        bench.append(&message(id, 300));
        bench.settle();
    }
    let end = bench.remote.watermarks().appended;
    bench.stop();
    bench.put(SEGMENT, end.0 as usize - 5, &[1, 2, 3]);
    assert!(matches!(is_corrupt(&mut bench), Corruption::Durable { .. }));
}

#[test]
fn one_damaged_checkpoint_page_costs_nothing_and_two_only_leniency() {
    let (mut bench, ends) = killed(9, LAZY, 4);
    bench.put(CHECKPOINT, 20, &[0xFF]);
    opens(&mut bench, TailState::Killed, ends[4]);
    let process = bench.process;
    bench.world.kill(process);
    for page in [0, 4096] {
        let byte = bench.file(CHECKPOINT)[page];
        bench.put(CHECKPOINT, page, &[!byte]);
    }
    opens(&mut bench, TailState::Killed, ends[4]);
    assert_eq!(ids(&mut bench), [0, 1, 2, 3]);
}

#[test]
fn a_store_of_another_shard_is_refused() {
    let (mut bench, _) = killed(10, LAZY, 1);
    // The shard is in the checkpoint; claim another by writing a valid one is not possible, so damage is not the way: ask.
    let remote = Remote::default();
    let config = bench.config.clone();
    bench.world.start(bench.host, spec_of_shard(&remote, config, ringmq_reactor::ShardId(5)));
    let heard = remote.clone();
    assert!(bench.world.run_until(SECOND, |_| heard.is_open()));
    let error = remote.take_opened().expect("open").expect_err("refused");
    assert!(matches!(error, OpenError::WrongShard { found: 0, expected: 5, .. }), "{error}");
}

#[test]
fn a_store_in_use_is_refused() {
    let mut bench = Bench::new(11, config(LAZY));
    let first = bench.process;
    let error = bench.open().expect_err("refused");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    bench.world.kill(first);
    let second = bench.process;
    bench.world.kill(second);
    bench.start();
}

#[test]
fn kills_around_a_roll_lose_nothing() {
    // Segments of 128 KiB: kill at many moments around the first roll.
    for seed in 0..40 {
        // Room for all, should a flush be very slow.
        let config = StoreConfig { tail_cache_bytes: 256 << 10, ..config(Flush::Sync) };
        let mut bench = Bench::new(seed, config);
        for id in 0..30 {
            bench.append(&message(id, 4000));
            bench.world.run_for(Duration::from_millis(2));
        }
        for id in 30..36 {
            bench.append(&message(id, 4000));
        }
        bench.world.run_for(Duration::from_micros(100 + 37 * seed));
        let acknowledged = bench.remote.answers(|a| a.acknowledged.len());
        if seed % 2 == 0 {
            let process = bench.process;
            bench.world.kill(process);
        } else {
            let host = bench.host;
            bench.world.power_cut(host);
        }
        bench.open().expect("no corruption");
        let found = ids(&mut bench);
        assert!(
            found.len() >= acknowledged,
            "seed {seed}: {acknowledged} acknowledged, {} found",
            found.len()
        );
        assert_eq!(found, (0..found.len() as i32).collect::<Vec<_>>());
        bench.append(&message(100, 4000));
        bench.settle();
        assert_eq!(ids(&mut bench).last(), Some(&100));
    }
}

#[test]
fn a_missing_segment_is_corruption() {
    let mut bench = Bench::new(12, config(Flush::Sync));
    for id in 0..80 {
        bench.append(&message(id, 4000));
        bench.world.run_for(Duration::from_millis(3));
    }
    bench.settle();
    bench.stop();
    let third = "/s/log/00000000000000262144";
    // The first record of the last segment loses its head: as if the file had been replaced by an empty one. (The index knows the
    // segments before it: the start does not read them, and whoever reads a record there is told.)
    let zeros = vec![0; bench.file(third).len().min(128 << 10)];
    bench.put(third, 0, &zeros);
    assert!(matches!(is_corrupt(&mut bench), Corruption::Durable { .. }));
}
