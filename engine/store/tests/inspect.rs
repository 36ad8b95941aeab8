//! Looking at stores without opening them: what is said agrees with what recovery then does, and nothing is changed by looking.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_store::inspect::{Inspection, Piece, Severity};
use ringmq_store::{Flush, LogOffset, OpenError, StoreConfig, TailState};
use support::bench::*;
use support::look::*;
use support::*;

const SEGMENT: &str = "/s/log/00000000000000000000";

/// A store with `batches` batches of one message, killed (or ended in order), and the log offset after each.
fn store(seed: u64, flush: Flush, batches: u64, body_bytes: usize, kill: bool) -> (Bench, Vec<LogOffset>) {
    let mut bench = Bench::new(seed, StoreConfig { flush, ..small_config("/s") });
    let mut ends = vec![LogOffset(0)];
    for id in 0..batches {
        bench.append(&message(id, body_bytes));
        let remote = bench.remote.clone();
        assert!(bench.world.run_until(SECOND, |_| remote.answers(|a| a.acknowledged.contains(&id))));
        ends.push(bench.remote.watermarks().acknowledged);
    }
    if kill {
        let process = bench.process;
        bench.world.kill(process);
    } else {
        bench.stop();
    }
    (bench, ends)
}

const LAZY: Flush = Flush::Async { interval: Duration::from_secs(3600) };

#[test]
fn a_sound_store_of_several_segments_is_read_whole() {
    for kill in [true, false] {
        let (mut bench, ends) = store(1, Flush::Sync, 70, 4000, kill);
        let verification = verify(&mut bench).expect("readable");
        assert_eq!(verification.severity(), None, "{:?}", verification.findings);
        assert_eq!(verification.records, 70);
        let forecast = verification.recovery.expect("sound");
        assert_eq!(forecast.report.tail, if kill { TailState::Killed } else { TailState::Clean });
        assert_eq!((forecast.queues[0].min_offset, forecast.queues[0].max_offset), (0, 70));
        let (blanks, offsets) = look(&mut bench, async |io| {
            let inspection = Inspection::open(io, "/s", None).await.expect("opens");
            let (mut walk, mut blanks, mut offsets) = (inspection.walk(LogOffset(0)), 0, Vec::new());
            while let Some(piece) = walk.next().await.expect("readable") {
                blanks += u32::from(matches!(piece, Piece::Blank { .. }));
                offsets.extend(piece.records().map(|(_, record)| record.expect("whole").queue_offset()));
            }
            drop(walk);
            inspection.close().await;
            (blanks, offsets)
        });
        assert_eq!(offsets, (0..70).collect::<Vec<_>>());
        assert!(blanks >= 2, "the log rolls at 128 KiB");
        assert_eq!(bench.open().expect("sound").log_max, ends[70]);
    }
}

#[test]
fn a_store_in_use_is_refused() {
    let mut bench = Bench::new(2, small_config("/s"));
    assert!(matches!(verify(&mut bench), Err(OpenError::Locked { .. })));
}

#[test]
fn looking_agrees_with_recovery_and_changes_nothing() {
    // A bit is flipped somewhere in the log; under each flush level, ended in order or not.
    for (flush, kill) in [(LAZY, true), (LAZY, false), (Flush::Sync, true), (Flush::Sync, false)] {
        let (_, ends) = store(3, flush, 4, 300, kill);
        for place in (0..(ends[4].0 as usize + 200) * 8).step_by(bit_step(37 * 8 + 1)) {
            let at = place / 8;
            let (mut bench, _) = store(3, flush, 4, 300, kill);
            let byte = bench.file(SEGMENT)[at];
            bench.put(SEGMENT, at, &[byte ^ 1 << (place % 8)]);
            let before = (bench.file(SEGMENT), bench.file("/s/checkpoint"));
            let verification = verify(&mut bench).expect("readable");
            assert_eq!((bench.file(SEGMENT), bench.file("/s/checkpoint")), before, "looking writes nothing");
            let expected = match bench.open() {
                Ok(report) if report.tail == TailState::Torn => Some(Severity::TornTail),
                Ok(_) => None,
                Err(OpenError::Corrupt { .. }) => Some(Severity::Corruption),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(verification.severity(), expected, "byte {at}: {:?}", verification.findings);
            if let Some(first) = verification.findings.first() {
                let bad = first.bytes.clone();
                assert!(first.file.ends_with("log/00000000000000000000"));
                assert!(
                    bad.contains(&(at as u64)) || first.severity == Severity::TornTail,
                    "byte {at}: {bad:?}"
                );
            }
        }
    }
}

#[test]
fn damage_in_the_middle_is_named_and_passed() {
    let (mut bench, ends) = store(4, Flush::Sync, 60, 4000, false);
    for batch in [5, 40] {
        let at = ends[batch].0 as usize + 70;
        let path = format!("/s/log/{:020}", at / (128 << 10) * (128 << 10));
        let byte = bench.file(&path)[at % (128 << 10)];
        bench.put(&path, at % (128 << 10), &[!byte]);
    }
    let verification = verify(&mut bench).expect("readable");
    let ranges: Vec<_> = verification.findings.iter().map(|f| (f.at, f.bytes.end - f.bytes.start)).collect();
    let bytes = |batch: usize| ends[batch + 1].since(ends[batch]);
    assert_eq!(ranges, [(ends[5], bytes(5)), (ends[40], bytes(40))]);
    assert_eq!(verification.records, 58, "all others are read");
    assert!(verification.recovery.is_err());
}
