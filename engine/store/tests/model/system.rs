//! The store on a simulated host: carries commands out, and holds recovery to what was promised.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_reactor::sim::{FaultKind, HostId, ProcessId, ProcessState, SimOptions, World};
use ringmq_remoting::record::{RecordDraft, sys_flag};
use ringmq_store::{
    AppendError, Appended, DeleteWhen, Flush, LogOffset, OpenError, RecoveryReport, Retention, StoreConfig,
    TailState,
};

use crate::list::{Entry, List, Logged, queue_name, topic_name, words};
use crate::script::{Command, Derived, Fault};
use crate::support::*;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const DIR: &str = "/store/shard-00";
/// What a round of retention needs, all of its segments included.
const RETENTION_ENDS_WITHIN: Duration = Duration::from_secs(3);

pub struct System {
    pub world: World,
    pub host: HostId,
    pub process: ProcessId,
    pub remote: Remote,
    pub config: StoreConfig,
    pub list: Arc<Mutex<List>>,
    next_id: u64,
    /// End of what an earlier life of the process promised.
    promised: LogOffset,
    /// Files of the queue index were damaged, or could not be read: the store may say so.
    pub index_harmed: bool,
    /// A read was made to fail: what waited for it may say so.
    pub read_failed: bool,
    /// Retention may be under way.
    retiring: bool,
}

/// A small store; what is above the newest segment goes when it is asked for, and only then.
pub fn config(sync: bool) -> StoreConfig {
    let flush = if sync { Flush::Sync } else { Flush::Async { interval: Duration::from_millis(5) } };
    let retention = Retention {
        reserved: Duration::ZERO,
        delete_when: DeleteWhen::new(|_| false),
        used_max: 2.0,
        clean_forcibly: 2.0,
        warning: 2.0,
        clean_forcibly_enable: false,
        check_every: Duration::from_millis(20),
        pause: Duration::from_millis(2),
        batch_max: 10,
    };
    StoreConfig { flush, retention: Some(retention), ..small_config(DIR) }
}

impl System {
    pub fn new(seed: u64, config: StoreConfig) -> Self {
        let options =
            SimOptions { trace_events: 60, clock_skew: Duration::from_secs(5), ..SimOptions::default() };
        let mut world = World::new(seed, options);
        let host = world.add_host([10, 0, 0, 9].into());
        let remote = Remote::default();
        let process = world.start(host, spec(&remote, config.clone()));
        let mut system = Self {
            world,
            host,
            process,
            remote,
            config,
            list: Arc::default(),
            next_id: 0,
            promised: LogOffset(0),
            index_harmed: false,
            read_failed: false,
            retiring: false,
        };
        assert_eq!(system.opened().tail, TailState::Fresh);
        system
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
            self.start();
        }
        panic!("ten recoveries in a row failed");
    }

    fn start(&mut self) {
        self.remote = Remote::default();
        self.process = self.world.start(self.host, spec(&self.remote, self.config.clone()));
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
    pub fn start_again(&mut self, promise: LogOffset) {
        self.start();
        let report = self.opened();
        assert_eq!(report.log_min, self.oldest_segment());
        let mut list = self.list.lock().expect("list");
        list.log_min = report.log_min;
        assert!(report.log_max >= promise, "promised {promise}, found {report:?}");
        list.cut(report.log_max);
        let indexed = list.count_to(report.scanned_from);
        assert_eq!(report.records, (list.len() - indexed) as u64, "{report:?}");
        assert!(self.index_harmed || !report.index_damaged, "{report:?}");
        // Recovery has made durable what it found.
        self.promised = report.log_max;
        drop(list);
        if std::mem::take(&mut self.retiring) {
            self.learn_what_is_hidden();
        }
        self.check_queues();
    }

    /// See [`List::hide`].
    fn learn_what_is_hidden(&mut self) {
        let (list, segment_bytes) = (Arc::clone(&self.list), self.config.segment_bytes);
        self.remote.call(move |store, _, _| {
            let mut list = list.lock().expect("list");
            for queue in store.queues() {
                list.hide(&(queue.topic.to_string(), queue.queue_id), queue.min_offset, segment_bytes);
            }
        });
        self.world.run_for(Duration::from_millis(5));
    }

    pub fn stop(&mut self) {
        self.remote.stop();
        let process = self.process;
        let ended = self.world.run_until(MINUTE, |w| w.state(process) != ProcessState::Running);
        assert!(ended, "the store does not close");
    }

    pub fn restart(&mut self) {
        let poisoned = self.remote.watermarks().poisoned;
        // What a poisoned log could not write is in memory, if that outlives the process.
        let promise = self.promise(poisoned && self.config.tail_cache_path.is_none());
        self.stop();
        self.start_again(promise);
    }

    /// Lets everything that was begun come to its end: faults, appends, retention. A log that has failed is opened again.
    pub fn settle(&mut self) {
        self.world.forget_faults(self.host);
        let remote = self.remote.clone();
        let at_rest = self.world.run_until(MINUTE, |_| {
            let marks = remote.watermarks();
            remote.is_idle() && (marks.acknowledged == marks.appended || marks.poisoned)
        });
        assert!(at_rest, "appends are never acknowledged");
        if self.remote.watermarks().poisoned {
            return self.restart();
        }
        if std::mem::take(&mut self.retiring) {
            self.world.run_for(RETENTION_ENDS_WITHIN);
        }
        self.list.lock().expect("list").log_min = self.oldest_segment();
    }

    fn oldest_segment(&self) -> LogOffset {
        let names = self.world.list(self.host, format!("{DIR}/log")).into_iter();
        let starts = names.filter_map(|entry| entry.name.parse().ok());
        LogOffset(starts.min().expect("a segment"))
    }

    pub fn derived_files(&self, what: Derived) -> Vec<(String, u64)> {
        let dir = match what {
            Derived::QueueIndex => format!("{DIR}/index"),
            Derived::Keys => format!("{DIR}/keys"),
        };
        let files = self.world.list(self.host, &dir).into_iter().filter(|f| f.bytes > 0);
        files.map(|f| (format!("{dir}/{}", f.name), f.bytes)).collect()
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

    fn message(&mut self, queue: u8, body_bytes: u16) -> Message {
        self.next_id += 1;
        let (topic, queue_id) = queue_name(queue);
        Message { id: self.next_id, topic, queue_id, body_bytes: usize::from(body_bytes) }
    }

    /// Messages of an ordinary kind to the first queue.
    pub fn append_some(&mut self, count: u8, body_bytes: u16) {
        self.carry_out(&Command::Append { queue: 0, keys: 0, body_bytes, count, rolled_back: false });
    }

    pub fn append(&mut self, queue: u8, keys: u8, body_bytes: u16, rolled_back: bool) {
        let (message, words) = (self.message(queue, body_bytes), words(keys));
        let list = Arc::clone(&self.list);
        self.remote.call(move |store, io, answers| {
            let (body, properties) = (message.body(), properties(&message, &words));
            let sys_flag = if rolled_back { sys_flag::TRANSACTION_ROLLBACK } else { 0 };
            let draft = RecordDraft { sys_flag, ..draft(&message, &body, &properties) };
            match store.append(io, &draft, message.tags_code()) {
                Ok(appended) => {
                    answers.await_acknowledgement(appended.end, message.id);
                    list.lock().expect("list").push(logged(message, words, rolled_back, &appended));
                }
                Err(AppendError::Poisoned(_)) => assert!(store.poisoned().is_some()),
                Err(
                    AppendError::TailCacheFull { .. } | AppendError::NoSegment { .. } | AppendError::Closing,
                ) => {}
                Err(other) => panic!("{other}"),
            }
        });
    }

    fn batch(&mut self, messages: Vec<Message>, keys: u8) {
        let list = Arc::clone(&self.list);
        self.remote.call(move |store, io, answers| {
            let words = words(keys);
            let texts: Vec<_> = messages.iter().map(|m| (m.body(), properties(m, &words))).collect();
            let drafts: Vec<_> =
                messages.iter().zip(&texts).map(|(m, (b, p))| (draft(m, b, p), m.tags_code())).collect();
            let mut appended = Vec::new();
            if store.append_batch(io, &drafts, &mut appended).is_ok() {
                for (message, appended) in messages.iter().zip(&appended) {
                    answers.await_acknowledgement(appended.end, message.id);
                    let entry = logged(message.clone(), words.clone(), false, appended);
                    list.lock().expect("list").push(entry);
                }
            }
        });
    }

    fn delete(&mut self, topic: String) {
        let list = Arc::clone(&self.list);
        self.remote.call(move |store, io, _| {
            let known = store.queues().any(|queue| *queue.topic == topic);
            if let Ok(end) = store.delete_topic(io, &topic)
                && known
            {
                list.lock().expect("list").push(Entry::Deleted { topic, end });
            }
        });
    }

    pub fn carry_out(&mut self, command: &Command) {
        match *command {
            Command::Append { queue, keys, body_bytes, count, rolled_back } => {
                for _ in 0..count {
                    self.append(queue, keys, body_bytes, rolled_back);
                }
            }
            Command::Batch { queue, keys, body_bytes, count } => {
                let messages = (0..count).map(|_| self.message(queue, body_bytes)).collect();
                self.batch(messages, keys);
            }
            Command::DeleteTopic(topic) => self.delete(topic_name(topic)),
            Command::Run(micros) => self.world.run_for(Duration::from_micros(u64::from(micros))),
            Command::Read { queue, offset } => self.read_any(queue, i64::from(offset)),
            Command::Query { topic, key, messages_max, first, last } => {
                self.query(topic, key, messages_max, (first, last));
            }
            Command::Look(number) => self.look(number),
            Command::Kill => {
                let promise = self.promise(false);
                self.world.kill(self.process);
                self.start_again(promise);
            }
            Command::PowerCut => {
                let promise = self.promise(true);
                self.world.power_cut(self.host);
                self.start_again(promise);
            }
            Command::Restart => self.restart(),
            Command::Retire(micros) => {
                self.retiring = true;
                self.remote.call(|store, _, _| store.clean_expired());
                self.world.run_for(Duration::from_micros(u64::from(micros)));
            }
            Command::Fail(fault, what) => self.fail(fault, what),
            Command::Flip { what, file, place } => {
                let files = self.derived_files(what);
                if files.is_empty() {
                    return;
                }
                self.index_harmed |= what == Derived::QueueIndex;
                let (path, bytes) = &files[usize::from(file) % files.len()];
                self.world.flip_bits(self.host, path, u64::from(place / 8) % bytes, 1 << (place % 8));
            }
            Command::Lose { what, file } => {
                let promise = self.promise(self.remote.watermarks().poisoned);
                self.stop();
                let files = self.derived_files(what);
                if !files.is_empty() {
                    self.index_harmed |= what == Derived::QueueIndex;
                    self.remove(files[usize::from(file) % files.len()].0.clone());
                }
                self.start_again(promise);
            }
        }
    }

    fn fail(&mut self, fault: Fault, what: Option<Derived>) {
        let kind = match fault {
            Fault::Write => FaultKind::Write,
            Fault::Sync => FaultKind::Sync,
            Fault::Read => FaultKind::Read,
            Fault::Allocate => FaultKind::Allocate,
        };
        let part = match what {
            None => "/log/",
            Some(Derived::QueueIndex) => "/index/",
            Some(Derived::Keys) => "/keys/",
        };
        self.index_harmed |= what == Some(Derived::QueueIndex);
        self.read_failed |= matches!(fault, Fault::Read);
        self.world.fail_next(self.host, kind, part, 1);
        // Mostly it hits this life; else the next recovery.
        self.append_some(1, 100);
        self.world.run_for(Duration::from_millis(300));
        self.read_any(0, 0);
    }

    pub fn check_marks(&self) {
        let marks = self.remote.watermarks();
        assert!(marks.acknowledged <= marks.appended, "{marks:?}");
        assert!(marks.durable <= marks.appended, "{marks:?}");
    }
}

pub fn properties(message: &Message, words: &str) -> String {
    format!("{}KEYS\u{1}{words}\u{2}", message.properties())
}

fn logged(message: Message, words: String, rolled_back: bool, appended: &Appended) -> Entry {
    Entry::Message(Logged {
        message,
        words,
        rolled_back,
        at: appended.physical_offset,
        end: appended.end,
        queue_offset: appended.queue_offset,
        time: appended.store_timestamp,
    })
}
