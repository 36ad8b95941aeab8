//! Queries by key, by time and by offset against a plain list of everything that was appended, with crashes, restarts, lost and
//! damaged key files and the loss of the oldest segments as commands.
//!
//! What the list says must be what the store says: always for offsets and times, and for keys unless the store says itself that it is
//! building the index again; which must end.
//! `PROPTEST_CASES=2000 cargo test -p ringmq-store --test keys` for a long run.

#![forbid(unsafe_code)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use ringmq_reactor::sim::{HostId, ProcessId, ProcessState, SimOptions, World};
use ringmq_remoting::record::{RecordDraft, RecordView, sys_flag};
use ringmq_store::{
    Boundary, Flush, KeyError, KeyKind, KeyMatch, KeyQuery, LogOffset, PhysicalOffset, StoreConfig,
};
use support::*;

const MINUTE: Duration = Duration::from_secs(60);
const DIR: &str = "/store/shard-00";

#[derive(Clone, Debug)]
enum Step {
    Append {
        topic: u8,
        keys: u8,
        body_bytes: u16,
        count: u8,
        rolled_back: bool,
    },
    /// Lets this many microseconds pass.
    Run(u32),
    Query {
        topic: u8,
        key: u8,
        messages_max: u8,
        first: u8,
        last: u8,
    },
    /// One message by its unique key, by its offset, and by its time.
    Look(u8),
    Kill,
    PowerCut,
    Restart,
    /// Ends in order, loses the oldest segments but for this many, starts again.
    Retire(u8),
    /// A bit of a key file flips.
    Flip {
        file: u8,
        place: u32,
    },
    /// A key file is gone at the next start.
    Lose(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0u8..2, any::<u8>(), 0u16..1500, 1u8..25, prop::bool::weighted(0.1))
            .prop_map(|(topic, keys, body_bytes, count, rolled_back)| Step::Append { topic, keys, body_bytes, count, rolled_back }),
        8 => prop_oneof![0u32..500, 500u32..50_000].prop_map(Step::Run),
        6 => (0u8..2, 0u8..9, 1u8..80, any::<u8>(), any::<u8>())
            .prop_map(|(topic, key, messages_max, first, last)| Step::Query { topic, key, messages_max, first, last }),
        4 => any::<u8>().prop_map(Step::Look),
        2 => Just(Step::Kill),
        2 => Just(Step::PowerCut),
        1 => Just(Step::Restart),
        1 => (1u8..4).prop_map(Step::Retire),
        2 => (any::<u8>(), any::<u32>()).prop_map(|(file, place)| Step::Flip { file, place }),
        1 => any::<u8>().prop_map(Step::Lose),
    ]
}

/// A record that is in the log, or was on its way there.
#[derive(Clone, Debug)]
struct Logged {
    id: u64,
    topic: String,
    words: String,
    rolled_back: bool,
    at: PhysicalOffset,
    end: LogOffset,
    queue_offset: i64,
    time: i64,
}

impl Logged {
    fn unique(&self) -> String {
        unique(self.id)
    }

    fn matches(&self, query: &KeyQuery) -> bool {
        let by_word = query.kind == KeyKind::Any && self.words.split(' ').any(|word| word == query.key);
        self.topic == query.topic
            && !self.rolled_back
            && (query.begin_ms..=query.end_ms).contains(&self.time)
            && (by_word || self.unique() == query.key)
    }
}

fn unique(id: u64) -> String {
    format!("{id:032X}")
}

fn topic(number: u8) -> String {
    format!("topic{number}")
}

/// The words of a mask: `all` for every record, `twice` twice.
fn words(mask: u8) -> String {
    let mut words = String::from("all");
    for bit in 0..7 {
        if mask & (1 << bit) != 0 {
            words.push_str(&format!(" k{bit}"));
        }
    }
    words.push_str(" twice  twice ");
    words
}

fn query_key(number: u8) -> String {
    match number {
        7 => "all".to_string(),
        8 => "twice".to_string(),
        _ => format!("k{number}"),
    }
}

struct Run {
    world: World,
    host: HostId,
    process: ProcessId,
    remote: Remote,
    config: StoreConfig,
    log: Arc<Mutex<Vec<Logged>>>,
    next_id: u64,
}

impl Run {
    fn new(seed: u64, config: StoreConfig) -> Self {
        let mut world = World::new(seed, SimOptions { trace_events: 60, ..SimOptions::default() });
        let host = world.add_host([10, 0, 0, 9].into());
        let remote = Remote::default();
        let process = world.start(host, spec(&remote, config.clone()));
        let mut run = Self { world, host, process, remote, config, log: Arc::default(), next_id: 0 };
        run.opened();
        run
    }

    fn opened(&mut self) {
        let remote = self.remote.clone();
        assert!(self.world.run_until(MINUTE, |_| remote.is_open()), "recovery takes for ever");
        let report = self.remote.take_opened().expect("open").expect("no corruption of the log");
        let mut log = self.log.lock().expect("log");
        log.retain(|record| record.end <= report.log_max && record.at.log_offset() >= report.log_min);
    }

    fn start_again(&mut self) {
        self.remote = Remote::default();
        self.process = self.world.start(self.host, spec(&self.remote, self.config.clone()));
        self.opened();
    }

    fn stop(&mut self) {
        self.remote.stop();
        let process = self.process;
        assert!(
            self.world.run_until(MINUTE, |w| w.state(process) != ProcessState::Running),
            "the store does not close"
        );
    }

    /// Removes a file of a store that is not running.
    fn remove(&mut self, path: String) {
        let program = |io: ringmq_reactor::TaskIo| async move {
            io.remove(&path).await.expect("there");
            let dir = std::path::Path::new(&path).parent().expect("in a folder");
            io.sync_dir(dir).await.expect("durable");
        };
        let process = self.world.start(self.host, ringmq_reactor::task::process("remover", program));
        assert!(self.world.run_until(MINUTE, |w| w.state(process) != ProcessState::Running));
    }

    fn key_files(&self) -> Vec<(String, u64)> {
        let files = self.world.list(self.host, format!("{DIR}/keys")).into_iter();
        files.filter(|f| f.bytes > 0).map(|f| (format!("{DIR}/keys/{}", f.name), f.bytes)).collect()
    }

    fn append(&mut self, topic_number: u8, keys: u8, body_bytes: u16, rolled_back: bool) {
        self.next_id += 1;
        let (id, log) = (self.next_id, Arc::clone(&self.log));
        self.remote.call(move |store, io, answers| {
            let (topic, words) = (topic(topic_number), words(keys));
            let properties = format!("UNIQ_KEY\u{1}{}\u{2}KEYS\u{1}{words}\u{2}", unique(id));
            let body = vec![id as u8; usize::from(body_bytes)];
            let draft = RecordDraft {
                topic: &topic,
                queue_id: 0,
                flag: id as i32,
                sys_flag: if rolled_back { sys_flag::TRANSACTION_ROLLBACK } else { 0 },
                born_timestamp: 1,
                born_host: address(),
                store_host: address(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body: &body,
                properties: &properties,
            };
            let Ok(appended) = store.append(io, &draft, 0) else { return };
            answers.await_acknowledgement(appended.end, id);
            log.lock().expect("log").push(Logged {
                id,
                topic,
                words,
                rolled_back,
                at: appended.physical_offset,
                end: appended.end,
                queue_offset: appended.queue_offset,
                time: appended.store_timestamp,
            });
        });
    }

    /// Lets every append be acknowledged.
    fn settle(&mut self) {
        let remote = self.remote.clone();
        assert!(
            self.world.run_until(MINUTE, |_| {
                let marks = remote.watermarks();
                remote.is_idle() && marks.acknowledged == marks.appended
            }),
            "appends are never acknowledged"
        );
    }

    fn ask(&mut self, query: &KeyQuery) -> Result<Vec<KeyMatch>, KeyError> {
        let id = self.remote.find(query.clone());
        let remote = self.remote.clone();
        assert!(
            self.world.run_until(MINUTE, |_| remote.answers(|a| a.found.contains_key(&id))),
            "a query hangs: {query:?}"
        );
        self.remote.answers(|a| a.found.remove(&id)).expect("answered")
    }

    /// Asks until the index is complete, compares with the list.
    fn check(&mut self, query: &KeyQuery) {
        self.settle();
        let mut refusals = 0;
        let found = loop {
            match self.ask(query) {
                Ok(found) => break found,
                Err(KeyError::Record(error)) => panic!("the log is whole: {error}"),
                Err(error) => {
                    refusals += 1;
                    assert!(refusals < 1000, "the index is never complete again: {error}");
                    self.world.run_for(Duration::from_millis(20));
                }
            }
        };
        let log = self.log.lock().expect("log");
        let expected: Vec<_> =
            log.iter().rev().filter(|r| r.matches(query)).take(query.messages_max).collect();
        let ids = |found: &[KeyMatch]| -> Vec<u64> {
            found.iter().map(|m| RecordView::parse(&m.record).expect("a record").flag() as u64).collect()
        };
        assert_eq!(ids(&found), expected.iter().map(|r| r.id).collect::<Vec<_>>(), "{query:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!((found.physical_offset, found.store_timestamp), (expected.at, expected.time));
        }
    }

    /// A time near that of a record of the list.
    fn time(&self, number: u8) -> i64 {
        let log = self.log.lock().expect("log");
        let Some(newest) = log.last() else { return 0 };
        let place = usize::from(number) * log.len() / 256;
        log.get(place).map_or(newest.time, |r| r.time) + i64::from(number % 3) - 1
    }

    fn look(&mut self, number: u8) {
        self.settle();
        let (record, next, queue) = {
            let log = self.log.lock().expect("log");
            if log.is_empty() {
                return;
            }
            let place = usize::from(number) * log.len() / 256;
            let record = log[place].clone();
            let queue: Vec<_> = log
                .iter()
                .filter(|r| r.topic == record.topic && !r.rolled_back)
                .map(|r| (r.queue_offset, r.time))
                .collect();
            (record, log.get(place + 1).cloned(), queue)
        };
        let query = KeyQuery {
            topic: record.topic.clone(),
            key: record.unique(),
            kind: KeyKind::Unique,
            messages_max: 32,
            begin_ms: i64::MIN,
            end_ms: i64::MAX,
        };
        self.check(&query);
        let id = self.remote.record_at(record.at);
        let beside = self.remote.record_at(PhysicalOffset(record.at.0 + 1));
        let remote = self.remote.clone();
        assert!(self.world.run_until(MINUTE, |_| {
            remote.answers(|a| a.records.contains_key(&id) && a.records.contains_key(&beside))
        }));
        let bytes = self
            .remote
            .answers(|a| a.records.remove(&id))
            .expect("answered")
            .expect("readable")
            .expect("there");
        let view = RecordView::parse(&bytes).expect("a record");
        assert_eq!((view.flag() as u64, view.store_timestamp()), (record.id, record.time));
        assert!(next.is_none_or(|next| next.at.0 > record.at.0 + 1));
        let nothing = self.remote.answers(|a| a.records.remove(&beside)).expect("answered");
        assert!(matches!(nothing, Ok(None)), "no record starts there: {nothing:?}");
        self.look_by_time(record.topic, record.time + i64::from(number % 3) - 1, queue);
    }

    fn look_by_time(&mut self, topic: String, time: i64, queue: Vec<(i64, i64)>) {
        let Some((min, max)) = queue.first().zip(queue.last()).map(|(first, last)| (first.0, last.0 + 1))
        else {
            return;
        };
        let lower = queue.iter().find(|(_, t)| *t >= time).map_or(max, |(offset, _)| *offset);
        let upper = queue.iter().rev().find(|(_, t)| *t <= time).map_or(min, |(offset, _)| *offset);
        for (boundary, expected) in [(Boundary::Lower, lower), (Boundary::Upper, upper)] {
            let topic = topic.clone();
            let answer =
                self.remote.ask(move |store, io| store.offset_by_time(io, &topic, 0, time, boundary));
            let mut found = None;
            self.world.run_until(MINUTE, |_| {
                found = found.take().or_else(|| answer.try_recv().ok());
                found.is_some()
            });
            let found = found.expect("a question hangs").expect("readable");
            assert_eq!(found, Some(expected), "{boundary:?} {time}");
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { topic, keys, body_bytes, count, rolled_back } => {
                for _ in 0..count {
                    self.append(topic, keys, body_bytes, rolled_back);
                }
            }
            Step::Run(micros) => self.world.run_for(Duration::from_micros(u64::from(micros))),
            Step::Query { topic: number, key, messages_max, first, last } => {
                let (first, last) = (first.min(last), first.max(last));
                let query = KeyQuery {
                    topic: topic(number),
                    key: query_key(key),
                    kind: KeyKind::Any,
                    messages_max: usize::from(messages_max),
                    begin_ms: if first < 40 { i64::MIN } else { self.time(first) },
                    end_ms: if last > 200 { i64::MAX } else { self.time(last) },
                };
                self.check(&query);
            }
            Step::Look(number) => self.look(number),
            Step::Kill => {
                self.world.kill(self.process);
                self.start_again();
            }
            Step::PowerCut => {
                self.world.power_cut(self.host);
                self.start_again();
            }
            Step::Restart => {
                self.stop();
                self.start_again();
            }
            Step::Retire(keep) => {
                self.settle();
                self.stop();
                let segments = self.world.list(self.host, format!("{DIR}/log"));
                let head = self.log.lock().expect("log").last().map_or(0, |r| r.at.log_offset().0);
                let below = |name: &str| name.parse::<u64>().is_ok_and(|start| start <= head);
                let names: Vec<_> = segments.into_iter().map(|s| s.name).filter(|name| below(name)).collect();
                for name in &names[..names.len().saturating_sub(usize::from(keep))] {
                    self.remove(format!("{DIR}/log/{name}"));
                }
                self.start_again();
            }
            Step::Flip { file, place } => {
                let files = self.key_files();
                if files.is_empty() {
                    return;
                }
                let (path, bytes) = &files[usize::from(file) % files.len()];
                self.world.flip_bits(self.host, path, u64::from(place / 8) % bytes, 1 << (place % 8));
            }
            Step::Lose(file) => {
                self.settle();
                self.stop();
                let files = self.key_files();
                if !files.is_empty() {
                    self.remove(files[usize::from(file) % files.len()].0.clone());
                }
                self.start_again();
            }
        }
    }

    /// Everything, at the end.
    fn check_all(&mut self) {
        for (number, key) in (0..2).flat_map(|topic| (0..9).map(move |key| (topic, key))) {
            self.step(&Step::Query { topic: number, key, messages_max: 255, first: 0, last: 255 });
        }
    }
}

fn config(sync: bool) -> StoreConfig {
    let flush = if sync { Flush::Sync } else { Flush::Async { interval: Duration::from_millis(5) } };
    StoreConfig { flush, ..small_config(DIR) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queries_say_what_the_log_says(sync: bool, seed: u64, steps in proptest::collection::vec(step(), 1..60)) {
        let mut run = Run::new(seed, config(sync));
        for step in &steps {
            run.step(step);
        }
        run.check_all();
    }
}

/// A store with runs, a merged one among them, closed in order.
fn filled() -> Run {
    let mut run = Run::new(1, config(true));
    for number in 0..400 {
        run.append(0, number as u8, 600, false);
        if number % 20 == 0 {
            run.settle();
            run.world.run_for(Duration::from_millis(2));
        }
    }
    run.settle();
    run.world.run_for(Duration::from_secs(1));
    run
}

fn stats(run: &mut Run) -> ringmq_store::StoreStats {
    let taken = Arc::new(Mutex::new(None));
    let into = Arc::clone(&taken);
    run.remote.call(move |store, _, _| *into.lock().expect("stats") = Some(store.stats()));
    run.settle();
    run.world.run_for(Duration::from_millis(1));
    taken.lock().expect("stats").take().expect("called")
}

#[test]
fn runs_of_a_finished_segment_become_one() {
    let mut run = filled();
    let segments = stats(&mut run).segments;
    let names: Vec<_> = run.key_files().into_iter().map(|(path, _)| path).collect();
    assert!(segments >= 3, "{segments}");
    let first = format!("{DIR}/keys/{:020}-{:020}", 0, 128 << 10);
    assert_eq!(names.first(), Some(&first), "{names:?}");
    let figures = stats(&mut run);
    assert_eq!(figures.key_gap_bytes, 0);
    assert!(figures.key_filter_bytes > 0 && figures.key_filter_bytes <= 2 << 10, "{figures:?}");
    run.check_all();
    assert!(stats(&mut run).key_pages_read > 0, "old keys are on disk");
}

#[test]
fn an_orderly_end_leaves_nothing_to_read_again() {
    let mut run = filled();
    run.stop();
    run.start_again();
    assert_eq!(stats(&mut run).key_gap_bytes, 0);
    run.check_all();
}

#[test]
fn a_store_that_had_no_key_files_gets_them() {
    let off = StoreConfig { key_index: false, ..config(true) };
    let mut run = Run::new(2, off);
    for number in 0..=255 {
        run.append(1, number, 600, false);
    }
    run.settle();
    let all = KeyQuery {
        topic: topic(1),
        key: "all".to_string(),
        kind: KeyKind::Any,
        messages_max: 64,
        begin_ms: 0,
        end_ms: i64::MAX,
    };
    assert_eq!(run.ask(&all).expect("no index, no answer"), []);
    assert!(run.key_files().is_empty());
    run.stop();
    run.config.key_index = true;
    run.start_again();
    run.check_all();
}

#[test]
fn every_flipped_bit_of_a_key_file_is_noticed_or_harmless() {
    // One byte in eleven of every file, each with another bit, in a fresh process each: what is read into memory at the start and
    // what queries read later are both met.
    let mut run = filled();
    run.stop();
    let files = run.key_files();
    assert!(files.len() >= 2, "{files:?}");
    let unique = run.log.lock().expect("log")[3].unique();
    let query = |key: &str| KeyQuery {
        topic: topic(0),
        key: key.to_string(),
        kind: KeyKind::Any,
        messages_max: 1000,
        begin_ms: 0,
        end_ms: i64::MAX,
    };
    let mut step = 0_u64;
    for (path, bytes) in files {
        for place in (0..bytes).step_by(397) {
            step += 1;
            let mask = 1 << (step % 8);
            if !run.world.flip_bits(run.host, &path, place, mask) {
                continue;
            }
            run.start_again();
            run.check(&query(&unique));
            run.check(&query("k3"));
            run.stop();
        }
    }
}
