//! The tail cache in a file that outlives the process: what a killed process leaves there is found, and nothing else is believed.

#![forbid(unsafe_code)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use ringmq_reactor::sim::{DiskFaults, FaultKind};
use ringmq_store::{
    Corruption, Flush, OpenError, ReadStatus, RecoveryReport, StoreConfig, TailCacheFound, TailCacheRefusal,
    TailCacheUse, TailState,
};
use support::bench::*;
use support::*;

const SEGMENT: &str = "/s/log/00000000000000000000";
const HOUR: Duration = Duration::from_secs(3_600);

fn config() -> StoreConfig {
    mapped(StoreConfig { flush: Flush::Async { interval: HOUR }, ..small_config("/s") })
}

/// A disk that does not move: what is acknowledged is so without it.
fn stop_disk(bench: &mut Bench) {
    bench.world.set_disk_faults(bench.host, DiskFaults { slowness: 1e9, ..DiskFaults::default() });
}

fn start_disk(bench: &mut Bench) {
    bench.world.set_disk_faults(bench.host, DiskFaults::default());
}

/// Appends one message after the other, each acknowledged before the next.
fn append(bench: &mut Bench, ids: std::ops::Range<u64>, body_bytes: usize) {
    for id in ids {
        bench.append(&message(id, body_bytes));
        let remote = bench.remote.clone();
        let acknowledged = |_: &mut _| remote.answers(|a| a.acknowledged.contains(&id));
        assert!(bench.world.run_until(SECOND, acknowledged), "{id} is not acknowledged");
    }
}

/// A store killed with messages 0..`count` acknowledged, the last `unwritten` of them while the disk stood still.
fn killed(seed: u64, count: u64, unwritten: u64) -> Bench {
    let mut bench = Bench::new(seed, config());
    append(&mut bench, 0..count - unwritten, 300);
    bench.settle();
    stop_disk(&mut bench);
    append(&mut bench, count - unwritten..count, 300);
    kill(&mut bench);
    bench
}

fn kill(bench: &mut Bench) {
    bench.world.kill(bench.process);
    start_disk(bench);
}

fn memory_file(bench: &Bench) -> PathBuf {
    let files = bench.world.memory_files(bench.host);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

fn ids(bench: &mut Bench) -> Vec<u64> {
    bench.read_all("t", 3).iter().map(|record| record.1 as u64).collect()
}

#[track_caller]
fn opens_with(bench: &mut Bench, count: u64) -> RecoveryReport {
    let report = bench.open().expect("a good store");
    // A message that was on its way when the process was killed may be there or not.
    let found = ids(bench);
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    assert_eq!(found.len() as u64, count, "{report:?}");
    report
}

fn used(report: &RecoveryReport) -> u64 {
    match &report.tail_cache {
        TailCacheFound::Used { records, lost: None, .. } => *records,
        other => panic!("{other:?}"),
    }
}

#[test]
fn acknowledged_messages_survive_a_kill_although_no_write_has_ended() {
    for seed in 0..30 {
        let mut bench = killed(seed, 40, 30);
        let report = opens_with(&mut bench, 40);
        assert!(used(&report) > 0, "the disk had not moved: {report:?}");
        assert!(matches!(report.tail_cache_use, TailCacheUse::Mapped { .. }));
        // They are durable now.
        bench.world.power_cut(bench.host);
        let report = opens_with(&mut bench, 40);
        assert_eq!(report.tail_cache, TailCacheFound::Nothing, "gone with the power");
    }
}

#[test]
fn rolls_and_several_lives_lose_nothing() {
    // 128 KiB segments, 32 KiB blocks, three of them: windows and segments change all the time.
    let mut bench = Bench::new(7, config());
    let mut count = 0;
    for life in 0..25 {
        append(&mut bench, count..count + 9, 3000);
        count += 9;
        if life % 3 == 0 {
            stop_disk(&mut bench);
            append(&mut bench, count..count + 8, 3000);
            count += 8;
        }
        kill(&mut bench);
        used(&opens_with(&mut bench, count));
    }
    bench.remote.call(|store, _, _| assert!(store.stats().segments >= 6));
    bench.settle();
}

#[test]
fn the_cache_is_warm_after_a_kill() {
    let mut bench = killed(3, 60, 10);
    let report = opens_with(&mut bench, 60);
    assert!(
        matches!(report.tail_cache, TailCacheFound::Used { warm_bytes, .. } if warm_bytes > 10_000),
        "{report:?}"
    );
    assert_eq!(bench.remote.answers(|a| a.waits), 0, "no read needed the disk");
    append(&mut bench, 60..200, 300);
    kill(&mut bench);
    opens_with(&mut bench, 200);
}

#[test]
fn a_window_that_was_taken_over_outlives_the_next_kill_too() {
    // Batches of 8 KiB lie across the borders of 32 KiB blocks, so the oldest window begins inside one.
    let mut taken_over = 0;
    for seed in 0..20 {
        let mut bench = Bench::new(seed, config());
        let mut count = 0;
        for _ in 0..6 {
            for _ in 0..4 + seed % 3 {
                for id in count..count + 11 {
                    bench.append(&message(id, 700));
                }
                count += 11;
                bench.world.run_for(Duration::from_millis(4));
            }
            stop_disk(&mut bench);
            append(&mut bench, count..count + 6, 200);
            count += 6;
            kill(&mut bench);
            taken_over += used(&opens_with(&mut bench, count));
        }
    }
    assert!(taken_over > 300, "{taken_over} of 720: writes in flight at a kill may still arrive");
}

#[test]
fn the_beginning_of_a_batch_stays_until_its_end_is_written() {
    // One turn's batch of more than a block, and more waiting for blocks: what is written of it is no use without its seal.
    for seed in 0..20 {
        let mut bench = Bench::new(seed, config());
        let mut acknowledged = 0;
        bench.remote.call(|store, io, answers| {
            for id in 0..40 {
                let message = message(id, 6_000);
                let (body, properties) = (message.body(), message.properties());
                if let Ok(appended) =
                    store.append(io, &draft(&message, &body, &properties), message.tags_code())
                {
                    answers.await_acknowledgement(appended.end, id);
                }
            }
        });
        for id in 100..140 {
            let message = message(id, 6_000);
            bench.remote.call(move |store, io, _| {
                let (body, properties) = (message.body(), message.properties());
                // Refused while the cache is full.
                drop(store.append(io, &draft(&message, &body, &properties), message.tags_code()));
            });
            bench.world.run_for(Duration::from_micros(10 + seed));
            acknowledged = bench.remote.answers(|a| a.acknowledged.len());
        }
        kill(&mut bench);
        bench.open().expect("a killed process corrupts nothing");
        assert!(bench.read_all("t", 3).len() >= acknowledged, "seed {seed}");
    }
}

#[test]
fn an_orderly_end_leaves_nothing_in_memory() {
    let mut bench = Bench::new(4, config());
    append(&mut bench, 0..5, 300);
    memory_file(&bench);
    bench.stop();
    assert_eq!(bench.world.memory_files(bench.host), Vec::<PathBuf>::new());
    let report = opens_with(&mut bench, 5);
    assert_eq!((report.tail, report.tail_cache), (TailState::Clean, TailCacheFound::Nothing));
}

#[test]
fn a_poisoned_log_leaves_what_it_could_not_write() {
    for orderly in [false, true] {
        let mut bench = Bench::new(5, config());
        append(&mut bench, 0..3, 300);
        bench.settle();
        bench.world.fail_next(bench.host, FaultKind::Write, "/log/", 1);
        append(&mut bench, 3..4, 300);
        bench.settle();
        assert!(bench.remote.watermarks().poisoned);
        if orderly {
            bench.stop();
        } else {
            kill(&mut bench);
        }
        assert!(used(&opens_with(&mut bench, 4)) <= 1);
        append(&mut bench, 4..5, 300);
    }
}

#[test]
fn a_kill_at_any_moment_of_recovery_loses_nothing() {
    for micros in (0..9_000).step_by(230) {
        let mut bench = killed(6, 40, 30);
        bench.remote = Remote::default();
        bench.process = bench.world.start(bench.host, spec(&bench.remote, bench.config.clone()));
        bench.world.run_for(Duration::from_micros(micros));
        kill(&mut bench);
        opens_with(&mut bench, 40);
    }
}

#[test]
fn without_the_setting_what_was_left_is_still_taken_over() {
    let mut bench = killed(8, 40, 30);
    bench.config.tail_cache_path = None;
    let report = opens_with(&mut bench, 40);
    assert!(used(&report) > 0);
    assert!(matches!(report.tail_cache_use, TailCacheUse::Memory { .. }));
    assert!(bench.world.memory_files(bench.host).is_empty(), "nothing is left behind");
    // And the other way round, with another layout.
    bench.config = StoreConfig { tail_cache_bytes: 192 << 10, ..config() };
    bench.stop();
    opens_with(&mut bench, 40);
    append(&mut bench, 40..50, 300);
    kill(&mut bench);
    bench.config = config();
    used(&opens_with(&mut bench, 50));
}

#[test]
fn no_memory_to_map_means_acknowledgement_after_the_write() {
    let mut bench = Bench::new(9, StoreConfig { tail_cache_path: Some("/elsewhere".into()), ..config() });
    bench.restart();
    let report = {
        bench.stop();
        bench.open().expect("a good store")
    };
    let TailCacheUse::Memory { reason } = &report.tail_cache_use else { panic!("{report:?}") };
    assert!(reason.contains("/elsewhere"), "{reason}");
    stop_disk(&mut bench);
    bench.append(&message(0, 10));
    bench.world.run_for(SECOND);
    assert_eq!(bench.remote.answers(|a| a.acknowledged.len()), 0, "not before the write");
}

/// The refusal that a changed file meets; the log on disk is all there is then.
#[track_caller]
fn refused(bench: &mut Bench, bytes: &[u8]) -> TailCacheRefusal {
    let path = memory_file(bench);
    bench.world.put_memory_file(bench.host, path, bytes);
    let report = bench.open().expect("a good store");
    assert!(matches!(report.tail_cache_use, TailCacheUse::Mapped { .. }), "a new one is made: {report:?}");
    match report.tail_cache {
        TailCacheFound::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_this_stores_newest_life_on_this_boot_is_refused() {
    // Another store's: of a world with another seed.
    let mut bench = killed(10, 20, 10);
    let other = killed(11, 20, 10);
    let foreign = other.world.read_memory_file(other.host, memory_file(&other)).expect("there");
    assert_eq!(refused(&mut bench, &foreign), TailCacheRefusal::OtherStore);

    // An earlier life's.
    let mut bench = killed(12, 20, 10);
    let old = bench.world.read_memory_file(bench.host, memory_file(&bench)).expect("there");
    opens_with(&mut bench, 20);
    append(&mut bench, 20..25, 300);
    kill(&mut bench);
    assert_eq!(refused(&mut bench, &old), TailCacheRefusal::OtherLife);

    // From before a restart of the machine.
    let mut bench = killed(13, 20, 10);
    let path = memory_file(&bench);
    let old = bench.world.read_memory_file(bench.host, &path).expect("there");
    bench.world.power_cut(bench.host);
    bench.world.put_memory_file(bench.host, path, &old);
    assert_eq!(refused(&mut bench, &old), TailCacheRefusal::OtherBoot);

    // Cut off; not one at all; another version's.
    let mut bench = killed(14, 20, 10);
    let good = bench.world.read_memory_file(bench.host, memory_file(&bench)).expect("there");
    assert_eq!(refused(&mut bench, &good[..8192]), TailCacheRefusal::Layout);
    kill(&mut bench);
    assert_eq!(refused(&mut bench, &[0; 8192]), TailCacheRefusal::Damaged);
}

#[test]
fn a_log_on_disk_that_ends_before_the_tail_cache_begins_is_corrupt() {
    let mut bench = Bench::new(15, config());
    // More than the three blocks of 32 KiB hold: the oldest windows are given up.
    for id in 0..60 {
        append(&mut bench, id..id + 1, 2000);
        bench.world.run_for(Duration::from_millis(5));
    }
    kill(&mut bench);
    // Above the newest run of the queue index, or recovery would not read it; below what the blocks still hold.
    const AT: usize = 50_000;
    let byte = bench.file(SEGMENT)[AT];
    bench.put(SEGMENT, AT, &[!byte]);
    match bench.open() {
        Err(OpenError::Corrupt { corruption: Corruption::BeforeTailCache { at, oldest }, .. }) => {
            assert!(at.0 <= AT as u64 && oldest.0 > AT as u64, "{at} {oldest}");
        }
        // The segment's checkpoint may vouch for that place itself.
        Err(OpenError::Corrupt { corruption: Corruption::Durable { .. }, .. }) => {}
        other => panic!("corruption goes unnoticed: {other:?}"),
    }
}

#[test]
fn writes_wait_for_more_but_not_for_long() {
    let mut bench = Bench::new(16, StoreConfig { lazy_write_delay: Duration::from_millis(20), ..config() });
    append(&mut bench, 0..10, 100);
    bench.remote.call(|store, _, _| assert_eq!(store.stats().writes, 0, "nothing is due"));
    bench.world.run_for(Duration::from_millis(40));
    bench.remote.call(|store, _, _| {
        let stats = store.stats();
        assert_eq!((stats.writes, stats.unwritten_bytes), (1, 0), "{stats:?}");
    });
    // Enough at once does not wait.
    for id in 10..20 {
        bench.append(&message(id, 2000));
    }
    bench.world.run_for(Duration::from_millis(5));
    bench.remote.call(|store, _, _| assert!(store.stats().writes > 1));
    bench.settle();
}

#[test]
fn the_flush_interval_counts_from_the_append() {
    let interval = Duration::from_millis(50);
    for timed in [true, false] {
        let config = StoreConfig { flush: Flush::Async { interval }, flush_timed: timed, ..config() };
        let mut bench = Bench::new(17, config);
        bench.settle();
        append(&mut bench, 0..1, 10_000 / 2);
        let end = bench.remote.watermarks().acknowledged;
        // The interval, and what the flush itself takes (30 ms at most here).
        let remote = bench.remote.clone();
        let durable = bench
            .world
            .run_until(interval + Duration::from_millis(35), |_| remote.watermarks().durable >= end);
        assert!(durable, "timed {timed}: {:?}", bench.remote.watermarks());
    }
}

/// Whatever bit turns over in the file: all that was acknowledged is there, or it is said that something is missing; what is read
/// is always right.
#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    const COUNT: usize = 9;
    // Header, both marks, the slots of the blocks, and all that is written of the only block in use.
    let areas = [0..84, 4096..4096 + 84, 8192..8192 + 36, 12_288..12_288 + 4_400];
    let places = areas.into_iter().flat_map(|area| area.start * 8..area.end * 8);
    for place in places.step_by(bit_step(101)) {
        let mut bench = killed(20, COUNT as u64, 6);
        let path = memory_file(&bench);
        let mut bytes = bench.world.read_memory_file(bench.host, &path).expect("there");
        bytes[place / 8] ^= 1 << (place % 8);
        bench.world.put_memory_file(bench.host, path, &bytes);
        let report = bench.open().expect("nothing on disk is damaged");
        let found = bench.read_all("t", 3);
        let messages: Vec<_> = (0..found.len() as u64).map(|id| message(id, 300)).collect();
        assert_eq!(&found, &expected(&messages), "bit {place}");
        assert!(found.len() <= COUNT);
        let told = !matches!(report.tail_cache, TailCacheFound::Used { lost: None, .. });
        assert!(found.len() == COUNT || told, "bit {place}: {} of {COUNT}: {report:?}", found.len());
        // And the store goes on.
        bench.append(&message(900, 10));
        bench.settle();
        let offset = found.len() as i64;
        assert_eq!(bench.read(ask("t", 3, offset)).status, ReadStatus::Found, "bit {place}");
    }
}
