//! Removing old segments: by age, by room, through crashes; and what consumers see of it.

#![forbid(unsafe_code)]

mod support;

use std::time::Duration;

use ringmq_reactor::sim::FaultKind;
use ringmq_store::{
    AppendError, DeleteWhen, Flush, LogOffset, ReadStatus, RecordRead, Retention, StoreConfig, TailState,
};
use support::bench::*;
use support::*;

const SEGMENT: u64 = 128 << 10;
/// Index file of a segment that one run covers: header, entries, table.
const INDEX: u64 = 3 * 4096;
const KEPT: Duration = Duration::from_secs(4);

fn retention() -> Retention {
    Retention {
        reserved: KEPT,
        delete_when: DeleteWhen::always(),
        used_max: 0.75,
        clean_forcibly: 0.85,
        warning: 0.90,
        clean_forcibly_enable: true,
        check_every: Duration::from_millis(100),
        pause: Duration::from_millis(10),
        batch_max: 10,
    }
}

fn config_of(retention: Retention) -> StoreConfig {
    StoreConfig { flush: Flush::Sync, retention: Some(retention), ..small_config("/s") }
}

fn config() -> StoreConfig {
    config_of(retention())
}

/// A message to the queue that is written once and then never again.
fn idle(id: u64) -> Message {
    Message { id, topic: "idle".into(), queue_id: 1, body_bytes: 50 }
}

impl Bench {
    /// Appends `count` messages of 4,000 bytes, some at a time.
    fn fill(&mut self, from: u64, count: u64) {
        (from..from + count).for_each(|id| self.append_patiently(&message(id, 4000)));
        self.settle();
    }

    fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut ringmq_store::Store) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.remote.call(move |store, _, _| sender.send(question(store)).expect("heard"));
        let mut answer = None;
        assert!(self.world.run_until(10 * SECOND, |_| {
            answer = receiver.try_recv().ok();
            answer.is_some()
        }));
        answer.expect("answered")
    }

    fn segment_files(&self) -> Vec<String> {
        let names = self.world.list(self.host, "/s/log").into_iter().map(|entry| entry.name);
        names.filter(|name| !name.starts_with("spare-")).collect()
    }

    fn spares(&self) -> usize {
        self.world.list(self.host, "/s/log").iter().filter(|entry| entry.name.starts_with("spare-")).count()
    }

    /// (min, max) offsets of a queue.
    fn bounds(&mut self, topic: &'static str, queue_id: i32) -> Option<(i64, i64)> {
        self.ask(move |store| Some((store.min_offset(topic, queue_id)?, store.max_offset(topic, queue_id)?)))
    }

    fn try_append(&mut self, message: &Message) -> Option<AppendError> {
        let message = message.clone();
        let (sender, receiver) = std::sync::mpsc::channel();
        self.remote.call(move |store, io, answers| {
            let (body, properties) = (message.body(), message.properties());
            let result = store.append(io, &draft(&message, &body, &properties), message.tags_code());
            let result = result.map(|appended| answers.await_acknowledgement(appended.end, message.id));
            sender.send(result.err()).expect("heard");
        });
        let mut answer = None;
        assert!(self.world.run_until(SECOND, |_| {
            answer = receiver.try_recv().ok();
            answer.is_some()
        }));
        answer.expect("answered")
    }

    /// Waits where the tail cache is full.
    fn append_patiently(&mut self, message: &Message) {
        while let Some(error) = self.try_append(message) {
            assert!(matches!(error, AppendError::TailCacheFull { .. }), "{error}");
            self.world.run_for(Duration::from_millis(1));
        }
    }

    /// The log is one sequence of files, and every message that the index names is what it was.
    fn check_whole(&mut self, messages: &[Message]) {
        let (min, max) = self.bounds("t", 3).expect("known");
        assert!(max as usize <= messages.len());
        let mut offset = min;
        while offset < max {
            let result = self.read(ask("t", 3, offset));
            if result.status == ReadStatus::OffsetTooSmall {
                // Removed since it was asked for.
                assert!(result.min_offset > offset && result.next_begin_offset == result.min_offset);
                offset = result.min_offset;
                continue;
            }
            assert_eq!(result.status, ReadStatus::Found, "at {offset} of {min}..{max}");
            for (place, flag, body, _) in records(&result) {
                assert_eq!(place, offset);
                assert_eq!((flag, body), (place as i32, messages[place as usize].body()));
                offset += 1;
            }
        }
    }
}

#[test]
fn segments_past_their_time_go_with_their_messages_and_min_offsets_move() {
    let mut bench = Bench::new(1, config());
    bench.fill(0, 100);
    let old = bench.read(ask("t", 3, 0));
    assert_eq!(bench.bounds("t", 3), Some((0, 100)));
    let before = bench.segment_files();
    assert!(before.len() >= 4, "{before:?}");
    let first_time = bench.ask(|store| store.log_earliest_store_time()).expect("messages");
    bench.world.run_for(KEPT / 4);
    assert_eq!(bench.segment_files(), before, "they are young");
    bench.fill(100, 1);
    bench.world.run_for(KEPT);
    let (min, max) = bench.bounds("t", 3).expect("known");
    assert!(min >= 60 && max == 101, "{min} {max}");
    let kept = bench.segment_files();
    assert!(kept.len() <= 2 && kept.iter().all(|name| before.contains(name)), "{kept:?}");
    assert_eq!(bench.read(ask("t", 3, 0)).status, ReadStatus::OffsetTooSmall);
    assert_eq!(bench.read(ask("t", 3, min - 1)).next_begin_offset, min);
    assert_eq!(bench.read(ask("t", 3, min)).status, ReadStatus::Found);
    let min_of_log = bench.ask(|store| store.log_min());
    assert!(min_of_log.0 >= 2 * SEGMENT && min_of_log.0.is_multiple_of(SEGMENT));
    assert!(bench.ask(|store| store.log_earliest_store_time()).expect("messages") > first_time);
    bench.remote.call(|store, io, _| {
        let gone = ringmq_store::PhysicalOffset::new(SHARD, LogOffset(0));
        assert!(matches!(store.record_at(io, gone), RecordRead::Missing));
        let stats = store.stats();
        assert!(stats.removed_segments >= 3 && stats.index_entries <= 41, "{stats:?}");
    });
    bench.settle();
    assert_eq!(records(&old)[0].2, message(0, 4000).body(), "a reader keeps what it was given");
    let all: Vec<_> = (0..100).map(|id| message(id, 4000)).chain([message(100, 4000)]).collect();
    for crash in ["stop", "kill", "power"] {
        match crash {
            "stop" => assert_eq!(bench.restart(), TailState::Clean),
            "kill" => {
                bench.world.kill(bench.process);
                bench.start();
            }
            _ => {
                bench.world.power_cut(bench.host);
                bench.start();
            }
        }
        assert_eq!(bench.bounds("t", 3), Some((min, max)), "after {crash}");
        bench.check_whole(&all);
    }
}

#[test]
fn nothing_goes_before_its_hour_unless_an_operator_asks() {
    let never = Retention { delete_when: DeleteWhen::new(|_| false), ..retention() };
    let mut bench = Bench::new(2, config_of(never));
    bench.fill(0, 100);
    bench.world.run_for(2 * KEPT);
    assert_eq!(bench.bounds("t", 3), Some((0, 100)));
    bench.ask(ringmq_store::Store::clean_expired);
    bench.world.run_for(3 * SECOND);
    let (min, _) = bench.bounds("t", 3).expect("known");
    assert!(min > 60, "{min}");
    let files = bench.segment_files();
    bench.world.run_for(2 * KEPT);
    assert_eq!(bench.segment_files(), files, "the segment that is being written stays, however old");
    // A longer time, set while it runs.
    bench.fill(100, 60);
    bench.ask(|store| {
        store.set_retention(Some(Retention { reserved: 1000 * KEPT, ..retention() }));
    });
    let (min, _) = bench.bounds("t", 3).expect("known");
    bench.world.run_for(5 * KEPT);
    assert_eq!(bench.bounds("t", 3), Some((min, 160)));
}

#[test]
fn a_queue_goes_on_where_it_was_when_all_its_messages_are_gone() {
    for seed in 0..8 {
        let mut bench = Bench::new(seed, config());
        (0..3).for_each(|id| bench.append(&idle(id)));
        let mut next = 0;
        // Several generations of segments: what was written down grows old, too.
        for round in 0..4 {
            bench.fill(next, 100);
            next += 100;
            bench.world.run_for(KEPT + SECOND);
            match (seed + round) % 4 {
                0 => assert_eq!(bench.restart(), TailState::Clean),
                1 => {
                    bench.world.kill(bench.process);
                    bench.start();
                }
                2 => {
                    bench.world.power_cut(bench.host);
                    bench.start();
                }
                _ => {}
            }
            assert_eq!(bench.bounds("idle", 1), Some((3, 3)), "seed {seed} round {round}");
        }
        let (min, max) = bench.bounds("t", 3).expect("known");
        assert!(min > 300 && max == 400, "{min} {max}");
        assert_eq!(bench.read(ask("idle", 1, 0)).status, ReadStatus::OffsetTooSmall);
        assert_eq!(bench.read(ask("idle", 1, 3)).status, ReadStatus::OffsetOverflowOne);
        bench.append(&idle(1000));
        bench.settle();
        let result = bench.read(ask("idle", 1, 3));
        assert_eq!(records(&result)[0].0, 3);
        // A topic that is deleted begins anew, whatever was written down of it.
        bench.remote.call(|store, io, _| assert!(store.delete_topic(io, "idle").is_ok()));
        bench.settle();
        bench.restart();
        assert_eq!(bench.bounds("idle", 1), None);
        bench.append(&idle(1001));
        bench.settle();
        assert_eq!(bench.bounds("idle", 1), Some((0, 1)));
        bench.restart();
        assert_eq!(bench.bounds("idle", 1), Some((0, 1)));
    }
}

#[test]
fn a_crash_at_any_moment_of_a_removal_leaves_a_whole_log() {
    let messages: Vec<_> = (0..140).map(|id| message(id, 4000)).collect();
    let mut moved = 0;
    for seed in 0..50 {
        let mut bench = Bench::new(seed, config());
        bench.append(&idle(0));
        bench.fill(0, 100);
        // Past its time while nobody looks: removals begin when it is started again.
        bench.world.kill(bench.process);
        bench.world.run_for(KEPT + SECOND);
        bench.start();
        bench.world.run_for(Duration::from_micros(seed * 900));
        if seed % 2 == 0 {
            bench.world.power_cut(bench.host);
        } else {
            bench.world.kill(bench.process);
        }
        bench.start();
        let (min, max) = bench.bounds("t", 3).expect("known");
        assert_eq!(max, 100, "seed {seed}");
        moved += usize::from(min > 0);
        assert_eq!(bench.bounds("idle", 1).map(|(_, max)| max), Some(1), "seed {seed}");
        bench.check_whole(&messages);
        bench.fill(100, 40);
        bench.check_whole(&messages);
        bench.world.run_for(KEPT + SECOND);
        assert!(bench.bounds("t", 3).expect("known").0 > 60, "it goes on");
    }
    assert!(moved > 10, "{moved}");
}

#[test]
fn a_full_disk_is_cleaned_by_force_and_messages_are_refused_meanwhile() {
    let slowly = || Retention { reserved: 1000 * KEPT, pause: Duration::from_millis(500), ..retention() };
    let config = StoreConfig { index_run_bytes: 1 << 30, ..config_of(slowly()) };
    let mut bench = Bench::new(3, config);
    bench.world.set_disk_capacity(bench.host, 10 * (SEGMENT + INDEX));
    bench.fill(0, 190);
    bench.world.run_for(SECOND / 2);
    // Six full segments and the next one made ahead, of ten.
    let used = bench.segment_files().len();
    assert!((7..=8).contains(&used), "{used}");
    assert_eq!(bench.bounds("t", 3), Some((0, 190)), "above 0.75 only what is past its time goes");
    // Others fill the disk.
    bench.world.set_disk_capacity(bench.host, used as u64 * (SEGMENT + INDEX) + 4_000);
    bench.world.run_for(Duration::from_millis(110));
    let error = bench.try_append(&message(999, 10)).expect("refused");
    assert!(matches!(error, AppendError::DiskFull { used, .. } if used > 0.9), "{error}");
    bench.world.run_for(4 * SECOND);
    let (min, _) = bench.bounds("t", 3).expect("known");
    // One segment or two, and a third where key files take room, too.
    assert!((30..=100).contains(&min), "no more than needed: {min}");
    assert!(bench.try_append(&message(190, 4000)).is_none(), "room again");
    bench.settle();
    // Without force, only refusal is left.
    bench.ask(|store| {
        store.set_retention(Some(Retention {
            clean_forcibly_enable: false,
            reserved: 1000 * KEPT,
            ..retention()
        }));
    });
    let used = bench.segment_files().len() as u64;
    bench.world.set_disk_capacity(bench.host, used * SEGMENT + 16_000);
    bench.world.run_for(SECOND);
    assert_eq!(bench.bounds("t", 3), Some((min, 191)));
    assert!(matches!(bench.try_append(&message(999, 10)), Some(AppendError::DiskFull { .. })));
    assert_eq!(bench.read(ask("t", 3, min)).status, ReadStatus::Found, "reading goes on");
    bench.world.set_disk_capacity(bench.host, 1 << 30);
    bench.world.run_for(2 * SECOND);
    assert!(bench.try_append(&message(191, 10)).is_none());
}

#[test]
fn when_no_room_is_left_at_all_the_oldest_segment_makes_some() {
    // No look until the disk is full to the last byte.
    let mut bench =
        Bench::new(4, config_of(Retention { check_every: Duration::from_secs(8), ..retention() }));
    bench.append(&idle(0));
    bench.world.set_disk_capacity(bench.host, 5 * SEGMENT + 16_000);
    let mut next = 0;
    let refused = loop {
        match bench.try_append(&message(next, 4000)) {
            None => next += 1,
            Some(AppendError::TailCacheFull { .. }) => bench.world.run_for(Duration::from_millis(1)),
            Some(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::NoSegment { .. }), "{refused}");
    bench.world.run_for(12 * SECOND);
    assert!(bench.bounds("t", 3).expect("known").0 > 0, "the oldest went");
    bench.world.run_for(8 * SECOND);
    assert!(bench.try_append(&message(next, 4000)).is_none(), "and messages are taken again");
    bench.settle();
    bench.world.kill(bench.process);
    bench.start();
    assert_eq!(bench.bounds("t", 3).map(|(_, max)| max), Some(next as i64 + 1));
    assert_eq!(bench.bounds("idle", 1), Some((1, 1)));
}

#[test]
fn a_file_that_cannot_be_unlinked_is_tried_again_and_holds_the_next_ones() {
    let mut bench = Bench::new(5, StoreConfig { spare_segments_max: 0, ..config() });
    bench.fill(0, 100);
    bench.world.fail_next(bench.host, FaultKind::Remove, "/log/", 1);
    bench.world.run_for(KEPT + SECOND);
    let files = bench.segment_files();
    assert!(files.contains(&"00000000000000000000".to_string()) && files.len() >= 4, "{files:?}");
    assert!(bench.bounds("t", 3).expect("known").0 > 0, "its messages are gone");
    bench.world.kill(bench.process);
    bench.start();
    let messages: Vec<_> = (0..100).map(|id| message(id, 4000)).collect();
    bench.world.run_for(SECOND);
    bench.check_whole(&messages);
    assert!(bench.segment_files().len() <= 2);
}

#[test]
fn a_store_can_be_closed_while_segments_go() {
    for micros in (0..12_000).step_by(500) {
        let mut bench = Bench::new(micros, config_of(Retention { reserved: Duration::ZERO, ..retention() }));
        (0..100).for_each(|id| bench.append_patiently(&message(id, 4000)));
        bench.world.run_for(Duration::from_micros(micros));
        bench.restart();
        assert_eq!(bench.bounds("t", 3).map(|(_, max)| max), Some(100));
    }
}

/// Messages of one size, so that every segment is laid out like the one that it was made from: stale records, seals and blanks lie exactly
/// where new ones are to come.
#[test]
fn what_a_recycled_segment_held_never_passes_for_new() {
    let mut recycled = 0;
    for seed in 0..15 {
        let flush =
            if seed % 2 == 0 { Flush::Sync } else { Flush::Async { interval: Duration::from_millis(5) } };
        let quick = Retention { reserved: Duration::from_millis(300), ..retention() };
        let config = StoreConfig { flush, spare_segments_max: 2, ..config_of(quick) };
        let mut bench = Bench::new(seed, config);
        let mut next = 0;
        for round in 0..6 {
            for _ in 0..60 {
                bench.append_patiently(&message(next, 4000));
                bench.world.run_for(Duration::from_millis(20));
                next += 1;
            }
            recycled += bench.ask(|store| store.stats().recycled_segments);
            // Some are on their way.
            let sent = bench.world.random().below(4);
            (0..sent).for_each(|id| drop(bench.try_append(&message(next + id, 4000))));
            let micros = bench.world.random().below(1_500);
            bench.world.run_for(Duration::from_micros(micros));
            let promised = bench.remote.watermarks();
            let report = match (seed + round) % 3 {
                0 => {
                    bench.world.kill(bench.process);
                    bench.open().expect("no corruption")
                }
                1 => {
                    bench.world.power_cut(bench.host);
                    bench.open().expect("no corruption")
                }
                _ => {
                    bench.stop();
                    let report = bench.open().expect("no corruption");
                    assert_eq!(report.tail, TailState::Clean);
                    report
                }
            };
            assert!(report.log_max >= promised.durable, "seed {seed}");
            assert_eq!(report.discarded_records.min(4), report.discarded_records, "only what was in flight");
            let (_, max) = bench.bounds("t", 3).expect("known");
            let messages: Vec<_> = (0..max as u64).map(|id| message(id, 4000)).collect();
            assert!(
                max as u64 <= next + sent,
                "seed {seed}: {max} of {next}: an old message passed for a new one"
            );
            if flush == Flush::Sync {
                assert!(max as u64 >= next, "seed {seed}: {max} of {next}");
            }
            bench.check_whole(&messages);
            next = max as u64;
        }
    }
    assert!(recycled > 60, "{recycled}");
}

#[test]
fn spares_are_few_not_zeroed_again_and_given_back_when_room_is_short() {
    let config = StoreConfig { spare_segments_max: 2, ..config() };
    let mut bench = Bench::new(1, config.clone());
    bench.fill(0, 200);
    bench.world.run_for(KEPT + SECOND);
    assert_eq!((bench.spares(), bench.segment_files().len() <= 2), (2, true));
    let zeroed = bench.ask(|store| store.stats().zeroed_bytes);
    bench.fill(200, 60);
    assert_eq!(bench.spares(), 0);
    let stats = bench.ask(|store| store.stats());
    assert_eq!(stats.recycled_segments, 2);
    assert!(stats.zeroed_bytes - zeroed < SEGMENT, "{} bytes of zeros", stats.zeroed_bytes - zeroed);
    bench.world.run_for(KEPT + SECOND);
    assert!(bench.spares() > 0);
    let files = (bench.segment_files().len() + bench.spares()) as u64;
    bench.world.set_disk_capacity(bench.host, (files + 1) * SEGMENT);
    bench.world.run_for(SECOND);
    assert!(bench.segment_files().len() + bench.spares() < files as usize, "room is short");
    // Spares of an earlier life, of which somebody has left only them.
    bench.world.set_disk_capacity(bench.host, 1 << 40);
    bench.fill(260, 120);
    bench.world.run_for(KEPT + SECOND);
    assert!(bench.spares() > 0);
    bench.stop();
    let path = "/s/checkpoint";
    let damaged: Vec<u8> = bench.file(path).iter().map(|byte| !byte).collect();
    bench.put(path, 0, &damaged);
    bench.start();
    assert_eq!(bench.spares(), 0, "nothing vouches for them");
    bench.fill(380, 10);
    assert_eq!(bench.bounds("t", 3).map(|(_, max)| max), Some(390));
}

/// Nothing acknowledged is lost, nothing is poisoned and nobody has to do anything when the disk is full for a while, wherever that begins.
#[test]
fn a_disk_that_is_full_for_a_while_at_any_step_only_refuses() {
    for flush in [Flush::Sync, Flush::Async { interval: Duration::from_millis(5) }] {
        let config = StoreConfig {
            flush,
            ..config_of(Retention { reserved: 1000 * KEPT, clean_forcibly_enable: false, ..retention() })
        };
        let mut refused = 0;
        let mut steps = 0;
        loop {
            let mut bench = Bench::new(steps, config.clone());
            bench.world.refuse_room(bench.host, steps..steps + 3);
            let mut stored = Vec::new();
            let mut id = 0;
            while stored.len() < 100 {
                match bench.try_append(&message(id, 4000)) {
                    None => stored.push(id),
                    Some(AppendError::NoSegment { .. }) => refused += 1,
                    Some(AppendError::TailCacheFull { .. }) => {}
                    Some(other) => panic!("step {steps}: {other}"),
                }
                id += 1;
                bench.world.run_for(Duration::from_millis(4));
                assert!(id < 10_000, "step {steps}: it does not go on");
            }
            bench.settle();
            let marks = bench.remote.watermarks();
            assert!(!marks.poisoned && marks.appended == marks.acknowledged, "step {steps}: {marks:?}");
            assert_eq!(bench.remote.answers(|a| a.acknowledged.clone()), stored);
            let read = bench.read_all("t", 3);
            assert_eq!(read.iter().map(|r| r.1 as u64).collect::<Vec<_>>(), stored);
            let asked = bench.world.room_requests(bench.host);
            // To start, a store needs room.
            bench.world.refuse_room(bench.host, 0..0);
            bench.world.kill(bench.process);
            bench.start();
            assert_eq!(bench.read_all("t", 3), read);
            steps += 1;
            if asked < steps {
                break;
            }
        }
        assert!(steps > 5 && refused > 0, "{steps} {refused}");
    }
}

#[test]
fn a_segment_that_goes_as_soon_as_its_index_is_written_takes_nothing_else_along() {
    // Hundreds of queues: their entries leave memory over several turns, and the keeper looks in between.
    let hasty = Retention {
        reserved: Duration::ZERO,
        check_every: Duration::from_micros(20),
        pause: Duration::from_micros(20),
        ..retention()
    };
    for seed in 0..10 {
        let mut bench =
            Bench::new(seed, StoreConfig { index_run_bytes: SEGMENT, ..config_of(hasty.clone()) });
        for id in 0..600 {
            bench.append_patiently(&Message {
                id,
                topic: "t".into(),
                queue_id: id as i32 % 300,
                body_bytes: 300,
            });
        }
        bench.settle();
        let ends = bench
            .ask(|store| store.queues().map(|queue| (queue.queue_id, queue.max_offset)).collect::<Vec<_>>());
        assert_eq!(ends, (0..300).map(|id| (id, 2)).collect::<Vec<_>>(), "seed {seed}");
    }
}
