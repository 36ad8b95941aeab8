//! The store's behaviour on a simulated disk that does what it is told.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_store::{
    AppendError, Boundary, Flush, LogOffset, Lookup, ReadLimits, ReadStatus, StoreConfig, TailState,
};
use support::bench::*;
use support::*;

#[test]
fn what_is_sent_is_acknowledged_and_read_back_fresh_cold_and_after_restart() {
    for flush in [Flush::Sync, Flush::Async { interval: Duration::from_millis(5) }] {
        let mut bench = Bench::new(1, StoreConfig { flush, ..small_config("/s") });
        // 600 KiB: five segments, many blocks; most of it is cold in the end.
        let messages: Vec<_> = (0..400).map(|id| message(id, 200 + (id as usize * 977) % 3000)).collect();
        for some in messages.chunks(20) {
            some.iter().for_each(|m| bench.append(m));
            bench.settle();
        }
        let acknowledged = bench.remote.answers(|a| a.acknowledged.clone());
        assert_eq!(acknowledged, (0..400).collect::<Vec<u64>>());
        let arrivals = bench.remote.answers(|a| std::mem::take(&mut a.arrivals));
        let offsets: Vec<_> = arrivals.iter().map(|a| a.queue_offset).collect();
        assert_eq!(offsets, (0..400).collect::<Vec<i64>>());
        assert_eq!(arrivals[5].tags_code, messages[5].tags_code());

        assert_eq!(bench.read_all("t", 3), expected(&messages));
        assert!(bench.remote.answers(|a| a.waits) > 0, "the tail cache cannot have held all of it");
        assert_eq!(bench.restart(), TailState::Clean);
        assert_eq!(bench.read_all("t", 3), expected(&messages));
        // And it goes on where it was.
        bench.append(&message(400, 10));
        bench.settle();
        let last = bench.read(ask("t", 3, 400));
        assert_eq!((records(&last)[0].1, last.max_offset), (400, 401));
    }
}

#[test]
fn read_statuses_are_rocketmqs() {
    let mut bench = Bench::new(2, small_config("/s"));
    #[track_caller]
    fn check(bench: &mut Bench, ask: ReadAsk, status: ReadStatus, next: i64) {
        let result = bench.read(ask);
        assert_eq!((result.status, result.next_begin_offset), (status, next));
    }
    check(&mut bench, ask("t", 3, 0), ReadStatus::NoMatchedLogicQueue, 0);
    check(&mut bench, ask("t", 3, 9), ReadStatus::NoMatchedLogicQueue, 0);
    for id in 0..10 {
        bench.append(&message(id, 100));
    }
    bench.settle();
    check(&mut bench, ask("t", 4, 0), ReadStatus::NoMatchedLogicQueue, 0);
    check(&mut bench, ask("t", 3, -1), ReadStatus::OffsetTooSmall, 0);
    check(&mut bench, ask("t", 3, 0), ReadStatus::Found, 10);
    check(&mut bench, ask("t", 3, 10), ReadStatus::OffsetOverflowOne, 10);
    check(&mut bench, ask("t", 3, 11), ReadStatus::OffsetOverflowBadly, 10);
    let tagged = |offset, code| ReadAsk { tags_code: Some(code), ..ask("t", 3, offset) };
    check(&mut bench, tagged(0, 12345), ReadStatus::NoMatchedMessage, 10);
    let one_tag = bench.read(tagged(0, message(1, 0).tags_code()));
    let ids: Vec<_> = records(&one_tag).iter().map(|r| r.1).collect();
    assert_eq!((ids, one_tag.next_begin_offset), (vec![1, 4, 7], 10));
}

#[test]
fn batches_end_where_rocketmqs_limits_say() {
    let config = StoreConfig { in_memory_bytes: 4000, ..small_config("/s") };
    let mut bench = Bench::new(3, config);
    for id in 0..40 {
        bench.append(&message(id, 500));
    }
    bench.settle();
    let mut count = |offset, limits| {
        let result = bench.read(ReadAsk { limits, ..ask("t", 3, offset) });
        assert_eq!(result.next_begin_offset, offset + result.count as i64);
        result.count
    };
    let limits = ReadLimits { disk_messages_max: 4, memory_messages_max: 6, ..ReadLimits::default() };
    assert_eq!(count(0, limits), 4, "far from the end: the disk's count");
    assert_eq!(count(34, limits), 6, "near the end: the memory's count");
    assert_eq!(count(0, ReadLimits { messages_max: 2, ..limits }), 2);
    assert_eq!(count(0, ReadLimits { messages_max: 0, ..limits }), 1, "the first one always");
    assert_eq!(count(0, ReadLimits { disk_bytes_max: 10, ..limits }), 1, "the first one always");
    let bytes = ReadLimits { disk_messages_max: 99, disk_bytes_max: 1800, ..limits };
    assert_eq!(count(0, bytes), 2, "record of some 660 bytes");
}

#[test]
fn a_scan_stops_after_its_window() {
    let mut bench = Bench::new(4, small_config("/s"));
    for id in 0..900 {
        bench.append(&message(id, 10));
        if id % 50 == 0 {
            bench.settle();
        }
    }
    bench.settle();
    let nothing = bench.read(ReadAsk { tags_code: Some(1), ..ask("t", 3, 0) });
    assert_eq!((nothing.status, nothing.next_begin_offset), (ReadStatus::NoMatchedMessage, 800));
    let limits = ReadLimits { messages_max: 850, ..ReadLimits::default() };
    let nothing = bench.read(ReadAsk { tags_code: Some(1), limits, ..ask("t", 3, 0) });
    assert_eq!(nothing.next_begin_offset, 850);
}

#[test]
fn times_offsets_and_single_records_are_found() {
    let mut bench = Bench::new(5, small_config("/s"));
    for id in 0..5 {
        bench.append(&message(id, 2000));
        bench.settle();
    }
    let entries: Vec<_> = (0..5)
        .map(|o| {
            bench.look_up(move |store, io| store.entry(io, "t", 3, o)).expect("readable").expect("there")
        })
        .collect();
    let time = entries[2].store_timestamp;
    let mut by_time = |topic, time, boundary| {
        bench.look_up(move |store, io| store.offset_by_time(io, topic, 3, time, boundary)).expect("readable")
    };
    let (lower, upper) = (by_time("t", time, Boundary::Lower), by_time("t", time - 1, Boundary::Upper));
    assert_eq!((lower, upper), (Some(2), Some(1)));
    assert_eq!(by_time("u", time, Boundary::Lower), None);
    let earliest = bench.look_up(|store, io| store.earliest_store_time(io, "t", 3)).expect("readable");
    assert_eq!(earliest, Some(entries[0].store_timestamp));
    assert_eq!(bench.look_up(|store, io| store.entry(io, "t", 3, 5)).expect("readable"), None);
    let (first, newest) = (entries[0], entries[4].store_timestamp);
    bench.remote.call(move |store, _, _| {
        assert_eq!(store.log_earliest_store_time(), Some(first.store_timestamp));
        assert_eq!((store.min_offset("t", 3), store.max_offset("t", 3)), (Some(0), Some(5)));
        assert_eq!((store.min_offset("t", 4), store.newest_store_time("t", 3)), (None, Some(newest)));
        assert_eq!(store.queue_start("t", 3), Some(first.physical_offset.log_offset()));
        let queues: Vec<_> = store.queues().collect();
        assert_eq!((queues.len(), queues[0].newest_store_time), (1, newest));
    });
    bench.settle();
    for restarted in [false, true] {
        if restarted {
            bench.restart();
        }
        for (id, entry) in entries.iter().enumerate() {
            let ask = bench.remote.record_at(entry.physical_offset);
            bench.settle();
            let bytes =
                bench.remote.answers(|a| a.records.remove(&ask)).expect("answered").expect("readable");
            let bytes = bytes.expect("there");
            let record = ringmq_remoting::record::RecordView::parse(&bytes).expect("a record");
            assert_eq!((record.flag(), record.total_bytes() as u32), (id as i32, entry.bytes));
        }
        let ask = bench.remote.record_at(ringmq_store::PhysicalOffset(entries[1].physical_offset.0 + 1));
        let beyond = bench.remote.record_at(ringmq_store::PhysicalOffset(1 << 40));
        bench.settle();
        for ask in [ask, beyond] {
            let answer =
                bench.remote.answers(|a| a.records.remove(&ask)).expect("answered").expect("readable");
            assert_eq!(answer, None, "no record starts there");
        }
    }
}

#[test]
fn a_batch_is_consecutive_and_whole() {
    let mut bench = Bench::new(6, small_config("/s"));
    bench.remote.call(|store, io, answers| {
        let messages: Vec<_> = (0..10).map(|id| message(id, 300)).collect();
        let texts: Vec<_> = messages.iter().map(|m| (m.body(), m.properties())).collect();
        let drafts: Vec<_> =
            messages.iter().zip(&texts).map(|(m, (b, p))| (draft(m, b, p), m.tags_code())).collect();
        let mut appended = Vec::new();
        store.append_batch(io, &drafts, &mut appended).expect("room");
        let offsets: Vec<_> = appended.iter().map(|a| a.queue_offset).collect();
        assert_eq!(offsets, (0..10).collect::<Vec<i64>>());
        answers.await_acknowledgement(appended[9].end, 9);
        let mut mixed = drafts.clone();
        mixed[3].0.queue_id = 4;
        assert!(matches!(store.append_batch(io, &mixed, &mut appended), Err(AppendError::MixedBatch)));
        let many: Vec<_> = drafts.iter().cycle().take(30).copied().collect();
        let too_large = store.append_batch(io, &many, &mut appended);
        assert!(matches!(too_large, Err(AppendError::TooLarge { .. })), "{too_large:?}");
        assert_eq!(store.stats().refused_appends, 2);
    });
    bench.settle();
    assert_eq!(bench.remote.answers(|a| a.acknowledged.clone()), [9]);
    assert_eq!(bench.read_all("t", 3).len(), 10);
}

#[test]
fn half_messages_are_in_the_log_and_in_no_queue() {
    let mut bench = Bench::new(7, small_config("/s"));
    bench.remote.call(|store, io, answers| {
        let message = message(1, 10);
        let (body, properties) = (message.body(), message.properties());
        let mut draft = draft(&message, &body, &properties);
        for sys_flag in [0x4, 0xC] {
            draft.sys_flag = sys_flag;
            assert_eq!(store.append(io, &draft, 0).expect("room").queue_offset, 0);
        }
        draft.sys_flag = 0x8;
        let appended = store.append(io, &draft, 0).expect("room");
        answers.await_acknowledgement(appended.end, 1);
    });
    bench.settle();
    assert_eq!(bench.read_all("t", 3).len(), 1);
    bench.restart();
    assert_eq!(bench.read_all("t", 3).len(), 1);
}

#[test]
fn a_deleted_topic_stays_deleted_and_starts_anew() {
    let mut bench = Bench::new(8, small_config("/s"));
    bench.append(&message(1, 10));
    bench.append(&Message { topic: "other".into(), ..message(2, 10) });
    bench.settle();
    // Deleted with a message still on its way.
    bench.append(&message(3, 10));
    bench.remote.call(|store, io, answers| {
        let end = store.delete_topic(io, "t").expect("room");
        answers.await_acknowledgement(end, 99);
        let again = store.delete_topic(io, "t").expect("nothing to do");
        assert_eq!((again, store.appended()), (end, end), "answered together with the first");
        let mine = Message { topic: "rmq_sys_RINGMQ_DELETED_TOPIC".into(), ..message(1, 1) };
        let refused = store.append(io, &draft(&mine, b"x", ""), 0);
        assert!(matches!(refused, Err(AppendError::ReservedTopic)));
    });
    bench.settle();
    assert!(bench.remote.answers(|a| a.acknowledged.contains(&99)));
    assert_eq!(bench.read(ask("t", 3, 0)).status, ReadStatus::NoMatchedLogicQueue);
    bench.restart();
    assert_eq!(bench.read(ask("t", 3, 0)).status, ReadStatus::NoMatchedLogicQueue);
    assert_eq!(bench.read_all("other", 3).len(), 1);
    bench.append(&message(4, 10));
    bench.settle();
    assert_eq!(bench.read_all("t", 3)[0].1, 4);
    bench.restart();
    assert_eq!(bench.read_all("t", 3), [(0, 4, message(4, 10).body(), message(4, 10).properties())]);
}

#[test]
fn the_tags_code_that_is_not_a_tag_survives_a_restart() {
    let config = StoreConfig { tags_code_of: |record| record.born_timestamp() + 77, ..small_config("/s") };
    let mut bench = Bench::new(9, config);
    bench.remote.call(|store, io, _| {
        let message = message(1, 10);
        store.append(io, &draft(&message, b"x", ""), 78).expect("room");
    });
    bench.settle();
    for _ in 0..2 {
        let entry = bench.look_up(|store, io| store.entry(io, "t", 3, 0)).expect("readable");
        assert_eq!(entry.expect("there").tags_code, 78);
        bench.restart();
    }
}

#[test]
fn nothing_is_visible_before_it_is_acknowledged() {
    let mut bench = Bench::new(10, small_config("/s"));
    bench.append(&message(0, 10));
    bench.settle();
    bench.remote.call(|store, io, answers| {
        let message = message(1, 10);
        let appended = store.append(io, &draft(&message, b"x", ""), 0).expect("room");
        answers.await_acknowledgement(appended.end, 1);
        assert_eq!(store.max_offset("t", 3), Some(1));
        assert!(matches!(store.entry(io, "t", 3, 1), Lookup::Ready(None)));
        assert!(store.acknowledged() < appended.end);
        let stats = store.stats();
        assert!(stats.unwritten_bytes > 0);
    });
    bench.settle();
    bench.remote.call(|store, _, _| {
        assert_eq!(store.max_offset("t", 3), Some(2));
        assert_eq!(store.stats().unwritten_bytes, 0);
    });
    bench.settle();
}

#[test]
fn under_async_flush_the_media_follow_after_the_interval() {
    let flush = Flush::Async { interval: Duration::from_millis(200) };
    let mut bench = Bench::new(11, StoreConfig { flush, ..small_config("/s") });
    bench.append(&message(0, 10));
    let remote = bench.remote.clone();
    assert!(bench.world.run_until(SECOND, |_| remote.answers(|a| a.acknowledged == [0])));
    let marks = bench.remote.watermarks();
    assert!(marks.durable < marks.acknowledged, "acknowledged before the flush: {marks:?}");
    bench.world.run_for(Duration::from_millis(100));
    assert!(bench.remote.watermarks().durable < marks.acknowledged, "not before the interval");
    bench.world.run_for(SECOND);
    assert_eq!(bench.remote.watermarks().durable, bench.remote.watermarks().appended);
    assert!(bench.remote.watermarks().appended > LogOffset(0));
}

#[test]
fn who_cannot_wait_for_the_interval_does_not_have_to() {
    let flush = Flush::Async { interval: Duration::from_secs(3_600) };
    let mut bench = Bench::new(13, StoreConfig { flush, ..small_config("/s") });
    // Asked for before the write has begun, and once more during the flush.
    for id in 0..2 {
        bench.append(&message(id, 10));
        bench.remote.call(|store, io, _| {
            let end = store.appended();
            store.flush_soon(io, end);
        });
        bench.world.run_for(Duration::from_millis(1));
    }
    bench.world.run_for(SECOND);
    let marks = bench.remote.watermarks();
    assert!(marks.appended > LogOffset(0) && marks.durable == marks.appended, "{marks:?}");
    let (sender, receiver) = std::sync::mpsc::channel();
    bench.remote.call(move |store, _, _| sender.send(store.stats().flushes).expect("heard"));
    bench.settle();
    let flushes = receiver.recv().expect("answered");
    assert!((1..=2).contains(&flushes), "{flushes} flushes");
    bench.append(&message(2, 10));
    bench.world.run_for(SECOND);
    assert_eq!(bench.remote.watermarks().durable, marks.durable, "others wait");
}

#[test]
fn an_idle_store_asks_for_nothing() {
    let mut bench = Bench::new(12, small_config("/s"));
    bench.append(&message(0, 10));
    bench.world.run_for(10 * SECOND);
    // Nothing but the test's own poll timer: two events every 100 µs or so.
    let before = bench.world.events();
    bench.world.run_for(SECOND);
    let idle = bench.world.events() - before;
    assert!(idle <= 10_000, "{idle} events in a second of idleness");
}
