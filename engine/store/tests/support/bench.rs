//! A world with one host that runs one store.

use std::time::Duration;

use ringmq_reactor::sim::{HostId, ProcessId, ProcessState, SimOptions, World};
use ringmq_store::{OpenError, ReadLimits, ReadResult, ReadStatus, RecoveryReport, StoreConfig, TailState};

use super::*;

pub const SECOND: Duration = Duration::from_secs(1);

pub struct Bench {
    pub world: World,
    pub host: HostId,
    pub process: ProcessId,
    pub remote: Remote,
    pub config: StoreConfig,
}

impl Bench {
    /// A new store.
    pub fn new(seed: u64, config: StoreConfig) -> Self {
        let mut world = World::new(seed, SimOptions { trace_events: 100, ..SimOptions::default() });
        let host = world.add_host([10, 0, 0, 9].into());
        let remote = Remote::default();
        let process = world.start(host, spec(&remote, config.clone()));
        let mut bench = Self { world, host, process, remote, config };
        bench.opened().expect("a new store");
        bench
    }

    fn opened(&mut self) -> Result<RecoveryReport, OpenError> {
        let remote = self.remote.clone();
        assert!(self.world.run_until(10 * SECOND, |_| remote.is_open()), "open");
        self.remote.take_opened().expect("open")
    }

    /// Starts a process that must not be running.
    pub fn open(&mut self) -> Result<RecoveryReport, OpenError> {
        self.remote = Remote::default();
        self.process = self.world.start(self.host, spec(&self.remote, self.config.clone()));
        self.opened()
    }

    pub fn start(&mut self) -> TailState {
        self.open().expect("a good store").tail
    }

    /// Ends in order.
    pub fn stop(&mut self) {
        self.remote.stop();
        let process = self.process;
        let ended = self.world.run_until(10 * SECOND, |w| w.state(process) == ProcessState::Exited);
        assert!(ended, "the store does not close");
    }

    /// Ends in order, starts again.
    pub fn restart(&mut self) -> TailState {
        self.stop();
        self.start()
    }

    pub fn append(&mut self, message: &Message) {
        let message = message.clone();
        self.remote.call(move |store, io, answers| {
            let (body, properties) = (message.body(), message.properties());
            let draft = draft(&message, &body, &properties);
            let appended = store.append(io, &draft, message.tags_code()).expect("room");
            answers.await_acknowledgement(appended.end, message.id);
        });
    }

    pub fn settle(&mut self) {
        self.world.run_for(SECOND);
        assert!(self.remote.is_idle());
    }

    pub fn try_read(&mut self, ask: ReadAsk) -> Result<ReadResult, ReadError> {
        let id = self.remote.read(ask);
        let remote = self.remote.clone();
        let answered = self.world.run_until(10 * SECOND, |_| remote.answers(|a| a.reads.contains_key(&id)));
        assert!(answered, "a read hangs");
        self.remote.answers(|a| a.reads.remove(&id)).expect("answered")
    }

    pub fn read(&mut self, ask: ReadAsk) -> ReadResult {
        self.try_read(ask).expect("readable")
    }

    /// Asks the index, waiting for the disk as long as it takes.
    pub fn look_up<T: Send + 'static>(
        &mut self,
        ask: impl FnMut(&mut Store, &mut dyn Io) -> Lookup<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let answer = self.remote.ask(ask);
        let mut found = None;
        self.world.run_until(10 * SECOND, |_| {
            found = found.take().or_else(|| answer.try_recv().ok());
            found.is_some()
        });
        found.expect("a question hangs")
    }

    /// All of a queue, following next offsets.
    pub fn read_all(&mut self, topic: &str, queue_id: i32) -> Vec<(i64, i32, Vec<u8>, String)> {
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let result = self.read(ask(topic, queue_id, offset));
            if result.status != ReadStatus::Found {
                return all;
            }
            all.extend(records(&result));
            offset = result.next_begin_offset;
        }
    }

    /// Puts bytes on the media.
    pub fn put(&mut self, path: &str, offset: usize, bytes: &[u8]) {
        let old = self.world.read_file(self.host, path).expect("a file");
        for (place, (old, new)) in old[offset..].iter().zip(bytes).enumerate() {
            if old != new {
                assert!(
                    self.world.flip_bits(self.host, path, (offset + place) as u64, old ^ new),
                    "{path} {place}"
                );
            }
        }
    }

    pub fn file(&self, path: &str) -> Vec<u8> {
        self.world.read_file(self.host, path).expect("a file")
    }
}

pub fn ask(topic: &str, queue_id: i32, offset: i64) -> ReadAsk {
    ReadAsk { topic: topic.into(), queue_id, offset, limits: ReadLimits::default(), tags_code: None }
}

pub fn message(id: u64, body_bytes: usize) -> Message {
    Message { id, topic: "t".into(), queue_id: 3, body_bytes }
}

pub fn expected(messages: &[Message]) -> Vec<(i64, i32, Vec<u8>, String)> {
    messages.iter().zip(0..).map(|(m, at)| (at, m.id as i32, m.body(), m.properties())).collect()
}
