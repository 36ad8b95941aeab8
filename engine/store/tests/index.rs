//! The queue index on disk: what is in runs reads as what is in memory, whatever happens to the files.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_reactor::sim::FaultKind;
use ringmq_store::{
    Boundary, Flush, IndexEntry, LogOffset, Lookup, ReadError, ReadStatus, RecoveryReport, StoreConfig,
    StoreStats, TailState,
};
use support::bench::*;
use support::*;

const FIRST: &str = "/s/index/00000000000000000000";

fn config() -> StoreConfig {
    StoreConfig { flush: Flush::Async { interval: Duration::from_millis(5) }, ..small_config("/s") }
}

/// Messages of `queues` queues of as many topics, one after the other; queue 0 gets every second one.
fn messages(from: u64, count: u64, queues: u64) -> Vec<Message> {
    let message = |id: u64| {
        let queue = if id.is_multiple_of(2) { 0 } else { id / 2 % queues };
        Message {
            id,
            topic: format!("t{queue}"),
            queue_id: queue as i32 % 3,
            body_bytes: 100 + (id as usize * 677) % 900,
        }
    };
    (from..from + count).map(message).collect()
}

fn fill(bench: &mut Bench, messages: &[Message]) {
    for some in messages.chunks(8) {
        some.iter().for_each(|m| bench.append(m));
        bench.world.run_for(Duration::from_millis(7));
    }
    bench.settle();
}

fn of_queue<'a>(messages: &'a [Message], topic: &str) -> Vec<&'a Message> {
    messages.iter().filter(|m| m.topic == topic).collect()
}

fn stats(bench: &mut Bench) -> StoreStats {
    let (sender, receiver) = std::sync::mpsc::channel();
    bench.remote.call(move |store, _, _| sender.send(store.stats()).expect("heard"));
    bench.settle();
    receiver.recv().expect("answered")
}

fn entry(
    bench: &mut Bench,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> Result<Option<IndexEntry>, ReadError> {
    let topic = topic.to_string();
    bench.look_up(move |store, io| store.entry(io, &topic, queue_id, offset))
}

/// Everything that the store says of its queues against the messages that were sent: bodies, entries, and searches by time.
fn check(bench: &mut Bench, messages: &[Message]) {
    let mut topics: Vec<_> = messages.iter().map(|m| (m.topic.clone(), m.queue_id)).collect();
    topics.sort();
    topics.dedup();
    for (topic, queue_id) in topics {
        let sent = of_queue(messages, &topic);
        let found = bench.read_all(&topic, queue_id);
        let expected: Vec<_> = sent.iter().map(|m| (m.id as i32, m.body(), m.properties())).collect();
        assert!(found.iter().map(|r| r.0).eq(0..sent.len() as i64), "{topic}");
        assert!(found.into_iter().map(|r| (r.1, r.2, r.3)).eq(expected), "{topic}");
        let entries: Vec<_> = (0..sent.len() as i64)
            .map(|offset| entry(bench, &topic, queue_id, offset).expect("readable").expect("there"))
            .collect();
        assert_eq!(entry(bench, &topic, queue_id, sent.len() as i64).expect("readable"), None);
        for (entry, message) in entries.iter().zip(&sent) {
            assert_eq!(entry.tags_code, message.tags_code());
        }
        check_times(bench, &topic, queue_id, &entries.iter().map(|e| e.store_timestamp).collect::<Vec<_>>());
    }
}

/// Search by time against a scan of all times.
fn check_times(bench: &mut Bench, topic: &str, queue_id: i32, times: &[i64]) {
    assert!(times.is_sorted());
    let mut asked: Vec<_> = times.iter().flat_map(|time| [time - 1, *time, time + 1]).collect();
    asked.dedup();
    for time in asked.into_iter().step_by(7).chain([i64::MIN, i64::MAX]) {
        let lower = times.iter().position(|t| *t >= time).unwrap_or(times.len()) as i64;
        let upper = times.iter().rposition(|t| *t <= time).unwrap_or(0) as i64;
        for (boundary, expected) in [(Boundary::Lower, lower), (Boundary::Upper, upper)] {
            let topic = topic.to_string();
            let found = bench
                .look_up(move |store, io| store.offset_by_time(io, &topic, queue_id, time, boundary))
                .expect("readable");
            assert_eq!(found, Some(expected), "{boundary:?} {time} in {times:?}");
        }
    }
}

fn kill_and_open(bench: &mut Bench) -> RecoveryReport {
    let process = bench.process;
    bench.world.kill(process);
    bench.open().expect("no corruption")
}

#[test]
fn entries_leave_memory_and_are_found_in_runs() {
    let mut bench = Bench::new(1, config());
    let sent = messages(0, 900, 7);
    fill(&mut bench, &sent);
    let before = stats(&mut bench);
    assert!(before.segments >= 4 && before.index_runs > 5, "{before:?}");
    assert_eq!((before.index_entries, before.queues, before.index_failures), (900, 7, 0));
    assert!(before.index_memory_entries < 350, "the tail cache and a run or two: {before:?}");
    check(&mut bench, &sent);
    let after = stats(&mut bench);
    assert!(after.index_reads > 0 && bench.remote.answers(|a| a.waits) > 0, "{after:?}");

    // The start reads the newest run, not the log.
    let report = kill_and_open(&mut bench);
    assert!(!report.index_damaged && report.scanned_from.0 == after.index_end, "{report:?}");
    assert!(report.records < 200, "{report:?}");
    let opened = stats(&mut bench);
    assert_eq!((opened.index_entries, opened.queues), (900, 7));
    check(&mut bench, &sent);
    let more = messages(900, 300, 9);
    fill(&mut bench, &more);
    check(&mut bench, &[sent, more].concat());
    assert_eq!(bench.restart(), TailState::Clean);
    bench.read(ask("t0", 0, 5));
}

#[test]
fn a_deleted_topic_starts_anew_behind_its_runs() {
    let mut bench = Bench::new(2, config());
    let first = messages(0, 300, 4);
    fill(&mut bench, &first);
    bench.remote.call(|store, io, _| {
        store.delete_topic(io, "t0").expect("room");
    });
    bench.settle();
    assert_eq!(bench.read(ask("t0", 0, 0)).status, ReadStatus::NoMatchedLogicQueue);
    let mut kept: Vec<_> = first.into_iter().filter(|m| m.topic != "t0").collect();
    for restarted in [false, true, true] {
        if restarted {
            kill_and_open(&mut bench);
        }
        check(&mut bench, &kept);
        let next = kept.last().map_or(0, |m| m.id) + 1;
        let more = messages(next, 100, 4);
        fill(&mut bench, &more);
        kept.extend(more);
        check(&mut bench, &kept);
    }
}

#[test]
fn a_run_that_cannot_be_written_loses_nothing_and_is_written_later() {
    let mut bench = Bench::new(3, config());
    let sent = messages(0, 400, 5);
    let kinds = [FaultKind::Write, FaultKind::Sync, FaultKind::Open, FaultKind::SyncDir];
    for (kind, some) in kinds.iter().zip(sent.chunks(100)) {
        bench.world.fail_next(bench.host, *kind, "/index", 2);
        fill(&mut bench, some);
    }
    check(&mut bench, &sent);
    bench.world.run_for(5 * SECOND);
    let stats = stats(&mut bench);
    assert!(stats.index_failures >= 4, "{stats:?}");
    assert!(stats.index_runs > 0 && stats.index_memory_entries < 400, "{stats:?}");
    check(&mut bench, &sent);
    kill_and_open(&mut bench);
    check(&mut bench, &sent);
}

#[test]
fn a_block_that_cannot_be_read_is_told_and_read_again() {
    let mut bench = Bench::new(4, config());
    let sent = messages(0, 500, 3);
    fill(&mut bench, &sent);
    bench.world.fail_next(bench.host, FaultKind::Read, "/index", 1);
    assert!(matches!(entry(&mut bench, "t0", 0, 1), Err(ReadError::Io { .. })));
    check(&mut bench, &sent);
}

/// Turns over a bit of a page's content, another one for each page.
fn flip_bit(bench: &mut Bench, path: &str, page: usize) {
    let at = page * 4096 + 4 + (page * 37) % 100;
    let byte = bench.file(path)[at];
    bench.put(path, at, &[byte ^ (1 << (page % 8))]);
}

/// Walks the log for a queue from `offset` on; the queue's offsets and ids that were met, and how many records in all.
fn walk(bench: &mut Bench, topic: &str, queue_id: i32, offset: i64) -> (Vec<(i64, u64)>, usize) {
    let topic = topic.to_string();
    let (mut walk, mut met, mut all) = (None, Vec::new(), 0);
    let ended = bench.look_up(move |store, io| {
        let walk = walk.get_or_insert_with(|| store.walk_from(&topic, queue_id, offset));
        loop {
            let bytes = match store.walk(io, walk) {
                Lookup::Ready(Some(bytes)) => bytes,
                Lookup::Ready(None) => return Lookup::Ready((std::mem::take(&mut met), all)),
                Lookup::Wait(ticket) => return Lookup::Wait(ticket),
                Lookup::Failed(error) => return Lookup::Failed(error),
            };
            for record in ringmq_remoting::record::records(&bytes) {
                let record = record.expect("a whole batch");
                all += 1;
                if record.topic() == topic && record.queue_offset() >= offset {
                    met.push((record.queue_offset(), u64::from(record.flag().cast_unsigned())));
                }
            }
        }
    });
    ended.expect("the log is whole")
}

#[test]
fn a_walk_along_the_log_meets_every_record_whatever_page_of_the_index_is_damaged() {
    let mut bench = Bench::new(6, config());
    let sent = messages(0, 900, 5);
    fill(&mut bench, &sent);
    bench.stop();
    let (mut told, mut files) = (0, 0);
    let segment_bytes = bench.config.segment_bytes;
    for start in (0..).map(|n| n * segment_bytes) {
        let path = format!("/s/index/{start:020}");
        let Some(index) = bench.world.read_file(bench.host, &path) else { break };
        files += 1;
        for page in 0..index.len() / 4096 {
            flip_bit(&mut bench, &path, page);
            bench.open().expect("the index cannot fail an opening");
            for queue in 0..5_u64 {
                let (topic, queue_id) = (format!("t{queue}"), queue as i32 % 3);
                let expected: Vec<_> = (0..).zip(of_queue(&sent, &topic).iter().map(|m| m.id)).collect();
                let from = (page * 7) % expected.len();
                let (met, _) = walk(&mut bench, &topic, queue_id, from as i64);
                assert_eq!(met, expected[from..], "{topic} from {from} with page {page} of {path} damaged");
                let told_so = entry(&mut bench, &topic, queue_id, from as i64);
                told += u32::from(matches!(told_so, Err(ReadError::Index { .. })));
            }
            bench.stop();
            // Makes the run again.
            bench.open().expect("good");
            bench.stop();
        }
    }
    assert!(files > 3 && told > 0, "{files} {told}");
}

#[test]
fn a_walk_along_the_log_begins_no_earlier_than_it_must() {
    let mut bench = Bench::new(7, config());
    let sent = messages(0, 900, 5);
    fill(&mut bench, &sent);
    let count = of_queue(&sent, "t0").len() as i64;
    let (met, all) = walk(&mut bench, "t0", 0, count - 1);
    assert_eq!(met.len(), 1);
    assert!(all < sent.len() / 2, "{all} of {} records", sent.len());
    let (met, all) = walk(&mut bench, "nowhere", 0, 0);
    assert_eq!((met.len(), all), (0, sent.len()), "of a queue that nobody knows");
    // What was damaged is told, not passed over.
    let segment = "/s/log/00000000000000000000";
    bench.stop();
    bench.put(segment, 1_000, &[!bench.file(segment)[1_000]]);
    bench.open().expect("the start does not read so far back");
    let mut walk = None;
    let answer = bench
        .look_up(move |store, io| store.walk(io, walk.get_or_insert_with(|| store.walk_from("t0", 0, 0))));
    assert!(matches!(answer, Err(ReadError::Batch { at: LogOffset(0), .. })), "{answer:?}");
}

#[test]
fn every_damaged_page_is_noticed_and_the_log_makes_the_index_again() {
    let mut bench = Bench::new(5, config());
    let sent = messages(0, 250, 5);
    fill(&mut bench, &sent);
    bench.stop();
    let pages = bench.file(FIRST).len() / 4096;
    assert!(pages > 8, "{pages}");
    let (mut damaged_at_start, mut told) = (0, 0);
    for page in 0..pages {
        flip_bit(&mut bench, FIRST, page);
        let report = bench.open().expect("the index cannot fail an opening");
        damaged_at_start += u32::from(report.index_damaged);
        for message in &sent {
            let offset =
                of_queue(&sent, &message.topic).iter().position(|m| m.id == message.id).expect("sent");
            match entry(&mut bench, &message.topic, message.queue_id, offset as i64) {
                Ok(found) => assert_eq!(found.expect("there").tags_code, message.tags_code()),
                Err(ReadError::Index { .. }) => told += 1,
                Err(other) => panic!("{other}"),
            }
        }
        bench.stop();
        // What was told, or met at the start, is whole after the next one.
        bench.open().expect("good");
        check(&mut bench, &sent);
        bench.stop();
    }
    assert!(damaged_at_start > 0 && told > 0, "{damaged_at_start} {told}");
}
