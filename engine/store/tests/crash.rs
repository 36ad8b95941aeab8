//! The store against a plain model, with crashes, restarts and disk faults as commands.
//!
//! The model is the list of everything that was appended, in log order. After a crash the store must hold a prefix of it that contains
//! at least what the flush level promised, and every queue must read back exactly as that prefix says.
//! `PROPTEST_CASES=5000 cargo test -p ringmq-store --test crash` for a long run.

#![forbid(unsafe_code)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use ringmq_reactor::sim::{FaultKind, HostId, ProcessId, SimOptions, World};
use ringmq_store::{
    AppendError, Flush, LogOffset, OpenError, ReadLimits, ReadStatus, RecoveryReport, StoreConfig, TailState,
};
use support::*;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    /// Messages to one queue, each by itself.
    Append {
        queue: u8,
        body_bytes: u16,
        count: u8,
    },
    Batch {
        queue: u8,
        body_bytes: u16,
        count: u8,
    },
    DeleteTopic {
        topic: u8,
    },
    /// Lets this many microseconds pass.
    Run(u32),
    /// Reads a queue from somewhere.
    Read {
        queue: u8,
        offset: u8,
    },
    Kill,
    PowerCut,
    /// An orderly end and a new start.
    Restart,
    /// The next so many operations of a kind on the log fail.
    Fail(Fault),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Write,
    Sync,
    Read,
    Allocate,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = prop_oneof![8 => 0u16..300, 3 => 300u16..3000, 1 => 3000u16..7500];
    prop_oneof![
        12 => (0u8..6, sizes.clone(), 1u8..20).prop_map(|(queue, body_bytes, count)| Step::Append { queue, body_bytes, count }),
        3 => (0u8..6, 0u16..600, 1u8..12).prop_map(|(queue, body_bytes, count)| Step::Batch { queue, body_bytes, count }),
        1 => (0u8..3).prop_map(|topic| Step::DeleteTopic { topic }),
        10 => prop_oneof![0u32..500, 500u32..20_000].prop_map(Step::Run),
        3 => (0u8..6, 0u8..40).prop_map(|(queue, offset)| Step::Read { queue, offset }),
        2 => Just(Step::Kill),
        2 => Just(Step::PowerCut),
        1 => Just(Step::Restart),
        1 => prop_oneof![Just(Fault::Write), Just(Fault::Sync), Just(Fault::Read), Just(Fault::Allocate)].prop_map(Step::Fail),
    ]
}

/// Something that is in the log, or was on its way there.
#[derive(Clone, Debug)]
enum Logged {
    Message(Message),
    Deleted(String),
}

type Log = Arc<Mutex<Vec<(LogOffset, Logged)>>>;

struct Run {
    world: World,
    host: HostId,
    process: ProcessId,
    remote: Remote,
    config: StoreConfig,
    log: Log,
    next_id: u64,
    /// End of what an earlier life of the process promised.
    promised: LogOffset,
    crashes: u32,
}

fn queue(number: u8) -> (String, i32) {
    (format!("topic{}", number / 2), i32::from(number % 2) * 5)
}

impl Run {
    fn new(seed: u64, config: StoreConfig) -> Self {
        let options =
            SimOptions { trace_events: 60, clock_skew: Duration::from_secs(5), ..SimOptions::default() };
        let mut world = World::new(seed, options);
        let host = world.add_host([10, 0, 0, 9].into());
        let remote = Remote::default();
        let process = world.start(host, spec(&remote, config.clone()));
        let mut run = Self {
            world,
            host,
            process,
            remote,
            config,
            log: Log::default(),
            next_id: 0,
            promised: LogOffset(0),
            crashes: 0,
        };
        let report = run.opened();
        assert_eq!(report.tail, TailState::Fresh);
        run
    }

    /// Waits for recovery; if a fault that was set before hits it, tries again, as an operator would.
    fn opened(&mut self) -> RecoveryReport {
        for _ in 0..10 {
            let remote = self.remote.clone();
            assert!(self.world.run_until(MINUTE, |_| remote.is_open()), "recovery takes for ever");
            match self.remote.take_opened().expect("open") {
                Ok(report) => return report,
                Err(OpenError::Io { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            self.world.kill(self.process);
            self.remote = Remote::default();
            self.process = self.world.start(self.host, spec(&self.remote, self.config.clone()));
        }
        panic!("ten recoveries in a row failed");
    }

    fn message(&mut self, number: u8, body_bytes: u16) -> Message {
        self.next_id += 1;
        let (topic, queue_id) = queue(number);
        Message { id: self.next_id, topic, queue_id, body_bytes: usize::from(body_bytes) }
    }

    fn append(&mut self, message: Message) {
        let log = Arc::clone(&self.log);
        self.remote.call(move |store, io, answers| {
            let (body, properties) = (message.body(), message.properties());
            match store.append(io, &draft(&message, &body, &properties), message.tags_code()) {
                Ok(appended) => {
                    answers.await_acknowledgement(appended.end, message.id);
                    log.lock().expect("log").push((appended.end, Logged::Message(message)));
                }
                Err(AppendError::Poisoned(_)) => assert!(store.poisoned().is_some()),
                Err(
                    AppendError::TailCacheFull { .. } | AppendError::NoSegment { .. } | AppendError::Closing,
                ) => {}
                Err(other) => panic!("{other}"),
            }
        });
    }

    fn batch(&mut self, messages: Vec<Message>) {
        let log = Arc::clone(&self.log);
        self.remote.call(move |store, io, answers| {
            let texts: Vec<_> = messages.iter().map(|m| (m.body(), m.properties())).collect();
            let drafts: Vec<_> =
                messages.iter().zip(&texts).map(|(m, (b, p))| (draft(m, b, p), m.tags_code())).collect();
            let mut appended = Vec::new();
            if store.append_batch(io, &drafts, &mut appended).is_ok() {
                for (message, appended) in messages.iter().zip(&appended) {
                    answers.await_acknowledgement(appended.end, message.id);
                    log.lock().expect("log").push((appended.end, Logged::Message(message.clone())));
                }
            }
        });
    }

    fn delete(&mut self, topic: String) {
        let log = Arc::clone(&self.log);
        self.remote.call(move |store, io, _| {
            let before = store.appended();
            if let Ok(end) = store.delete_topic(io, &topic)
                && end > before
            {
                log.lock().expect("log").push((end, Logged::Deleted(topic)));
            }
        });
    }

    /// What must be there whatever happens now.
    fn promise(&self, power: bool) -> LogOffset {
        let marks = self.remote.watermarks();
        let level = match (self.config.flush, power) {
            (Flush::Async { .. }, true) => marks.durable,
            _ => marks.acknowledged,
        };
        self.promised.max(level)
    }

    /// Starts again after the process has ended, and checks what recovery found.
    fn start_again(&mut self, promise: LogOffset) {
        self.crashes += 1;
        self.remote = Remote::default();
        self.process = self.world.start(self.host, spec(&self.remote, self.config.clone()));
        let report = self.opened();
        let mut log = self.log.lock().expect("log");
        let appended = log.last().map_or(LogOffset(0), |(end, _)| *end);
        assert!(report.log_max >= promise, "promised {promise}, found {report:?}");
        let survivors = log.partition_point(|(end, _)| *end <= report.log_max);
        if survivors == log.len() {
            let rest = report.log_max.since(appended);
            assert!(rest <= 128 << 10, "at most a seal and a blank follow the last record: {report:?}");
        }
        log.truncate(survivors);
        let indexed = log.partition_point(|(end, _)| *end <= report.scanned_from);
        assert_eq!(report.records, (log.len() - indexed) as u64, "{report:?}");
        assert!(!report.index_damaged, "{report:?}");
        // Recovery has made durable what it found.
        self.promised = report.log_max;
        drop(log);
        self.check();
    }

    /// What each queue should hold.
    fn expected(&self) -> BTreeMap<(String, i32), Vec<Message>> {
        let mut queues: BTreeMap<_, Vec<Message>> = BTreeMap::new();
        for (_, logged) in self.log.lock().expect("log").iter() {
            match logged {
                Logged::Message(m) => {
                    queues.entry((m.topic.clone(), m.queue_id)).or_default().push(m.clone())
                }
                Logged::Deleted(topic) => queues.retain(|(t, _), _| t != topic),
            }
        }
        queues
    }

    /// Reads everything and compares; everything appended must be acknowledged.
    fn check(&mut self) {
        let expected = self.expected();
        for number in 0..6 {
            let name = queue(number);
            let empty = Vec::new();
            let messages = expected.get(&name).unwrap_or(&empty);
            let mut offset = 0;
            loop {
                let result = self.read(number, offset).expect("no fault is set");
                if result.status != ReadStatus::Found {
                    break;
                }
                assert_eq!(result.max_offset, messages.len() as i64);
                for (place, flag, body, properties) in records(&result) {
                    assert_eq!(place, offset, "{name:?}");
                    let message = &messages[place as usize];
                    assert_eq!(
                        (flag, &body, &properties),
                        (message.id as i32, &message.body(), &message.properties())
                    );
                    offset += 1;
                }
                assert_eq!(offset, result.next_begin_offset);
            }
            assert_eq!(offset, messages.len() as i64, "{name:?}");
        }
        let names: Vec<_> = expected.into_keys().collect();
        self.remote.call(move |store, _, _| {
            let queues: Vec<_> = store.queues().map(|q| (q.topic.to_string(), q.queue_id)).collect();
            assert_eq!(queues, names);
        });
        self.world.run_for(Duration::from_millis(1));
    }

    fn read(&mut self, number: u8, offset: i64) -> Result<ringmq_store::ReadResult, ringmq_store::ReadError> {
        let (topic, queue_id) = queue(number);
        let ask = ReadAsk { topic, queue_id, offset, limits: ReadLimits::default(), tags_code: None };
        let id = self.remote.read(ask);
        let remote = self.remote.clone();
        assert!(
            self.world.run_until(MINUTE, |_| remote.answers(|a| a.reads.contains_key(&id))),
            "a read hangs"
        );
        self.remote.answers(|a| a.reads.remove(&id)).expect("answered")
    }

    /// A read at any time gives visible messages of the model, in order and unchanged, or a typed error.
    fn read_any(&mut self, number: u8, offset: i64) {
        let Ok(result) = self.read(number, offset) else { return };
        let expected = self.expected();
        let messages = expected.get(&queue(number)).cloned().unwrap_or_default();
        for (place, flag, body, properties) in records(&result) {
            let message = &messages[place as usize];
            assert_eq!((flag, body, properties), (message.id as i32, message.body(), message.properties()));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { queue, body_bytes, count } => {
                for _ in 0..count {
                    let message = self.message(queue, body_bytes);
                    self.append(message);
                }
            }
            Step::Batch { queue, body_bytes, count } => {
                let messages = (0..count).map(|_| self.message(queue, body_bytes)).collect();
                self.batch(messages);
            }
            Step::DeleteTopic { topic } => self.delete(format!("topic{topic}")),
            Step::Run(micros) => self.world.run_for(Duration::from_micros(u64::from(micros))),
            Step::Read { queue, offset } => self.read_any(queue, i64::from(offset)),
            Step::Kill => {
                let promise = self.promise(false);
                self.world.kill(self.process);
                self.start_again(promise);
            }
            Step::PowerCut => {
                let promise = self.promise(true);
                self.world.power_cut(self.host);
                self.start_again(promise);
            }
            Step::Restart => {
                let poisoned = self.remote.watermarks().poisoned;
                // What a poisoned log could not write is in memory, if that outlives the process.
                let promise = self.promise(poisoned && self.config.tail_cache_path.is_none());
                self.remote.stop();
                let process = self.process;
                let ended = self
                    .world
                    .run_until(MINUTE, |w| w.state(process) != ringmq_reactor::sim::ProcessState::Running);
                assert!(ended, "the store does not close");
                self.start_again(promise);
            }
            Step::Fail(fault) => {
                let kind = match fault {
                    Fault::Write => FaultKind::Write,
                    Fault::Sync => FaultKind::Sync,
                    Fault::Read => FaultKind::Read,
                    Fault::Allocate => FaultKind::Allocate,
                };
                self.world.fail_next(self.host, kind, "/log/", 1);
                // Mostly it hits this life; else the next recovery.
                let message = self.message(0, 100);
                self.append(message);
                self.world.run_for(Duration::from_millis(300));
                self.read_any(0, 0);
            }
        }
    }
}

fn config(sync: bool) -> StoreConfig {
    let flush = if sync { Flush::Sync } else { Flush::Async { interval: Duration::from_millis(5) } };
    StoreConfig { flush, ..small_config("/store/shard-00") }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_keep_every_promise(
        sync: bool,
        in_memory: bool,
        seed: u64,
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let config = if in_memory { mapped(config(sync)) } else { config(sync) };
        let mut run = Run::new(seed, config);
        for step in &steps {
            run.step(step);
        }
        run.step(&Step::Kill);
    }
}

#[test]
fn a_broken_promise_is_noticed() {
    // The model must bite: with acknowledgements that come before the write, crashes lose what was promised.
    let broken = (0..20).filter(|seed| {
        let config = StoreConfig { fault_acknowledge_early: true, ..config(true) };
        std::panic::catch_unwind(|| {
            let mut run = Run::new(*seed, config);
            for _ in 0..10 {
                run.step(&Step::Append { queue: 0, body_bytes: 100, count: 5 });
                run.step(&Step::Run(150));
                run.step(&Step::PowerCut);
            }
        })
        .is_err()
    });
    assert!(broken.count() > 10, "the model does not see broken promises");
}
