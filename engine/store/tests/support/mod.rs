//! A service that drives one store as a test says, on the simulator or on the kernel.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod bench;
pub mod look;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::{Context, Event, Io, ProcessSpec, Service, ShardId, ShardSpec, Tasks, Token};
use ringmq_remoting::record::RecordDraft;
use ringmq_store::{
    Arrival, KeyError, KeyFind, KeyLookup, KeyMatch, KeyQuery, LogOffset, Lookup, OpenError, PhysicalOffset,
    Read, ReadError, ReadLimits, ReadResult, ReadTicket, RecordRead, RecoveryReport, Store, StoreConfig,
};

pub const OWNER: u8 = 7;
pub const SHARD: ShardId = ShardId(0);
const POLL: Token = Token::new(1, 0);

/// How far apart the bits are that a test flips: `sample` in the ordinary run, every one with `RINGMQ_LONG`.
pub fn bit_step(sample: usize) -> usize {
    if std::env::var_os("RINGMQ_LONG").is_some() { 1 } else { sample }
}

/// Something to do with the store, on its shard.
type Call = Box<dyn FnOnce(&mut Store, &mut dyn Io, &mut Answers) + Send>;

/// What a read asks for.
#[derive(Clone, Debug)]
pub struct ReadAsk {
    pub topic: String,
    pub queue_id: i32,
    pub offset: i64,
    pub limits: ReadLimits,
    /// Only this tags code; `None`: all.
    pub tags_code: Option<i64>,
}

/// A question about the index, to be asked again when what it needs was read. `None`: it waits.
type Ask = Box<dyn FnMut(&mut Store, &mut dyn Io) -> Result<(), ReadTicket> + Send>;

enum Command {
    Call(Call),
    Ask(Ask),
    Read(u64, ReadAsk),
    RecordAt(u64, PhysicalOffset),
    Find(u64, KeyQuery),
}

/// What a test has heard.
#[derive(Default)]
pub struct Answers {
    /// Acknowledgements that are awaited: (end, id).
    awaited: Vec<(LogOffset, u64)>,
    /// Acknowledged ids, in the order of acknowledgement.
    pub acknowledged: Vec<u64>,
    pub reads: BTreeMap<u64, Result<ReadResult, ReadError>>,
    pub records: BTreeMap<u64, Result<Option<Bytes>, ReadError>>,
    pub found: BTreeMap<u64, Result<Vec<KeyMatch>, KeyError>>,
    pub arrivals: Vec<Arrival>,
    pub waits: u64,
}

impl Answers {
    /// Notes `id` as acknowledged once the store has reached `end`.
    pub fn await_acknowledgement(&mut self, end: LogOffset, id: u64) {
        self.awaited.push((end, id));
    }
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    opened: Option<Result<RecoveryReport, OpenError>>,
    answers: Answers,
    watermarks: Watermarks,
    stop: bool,
    next: u64,
}

/// The store's watermarks at the end of its last turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watermarks {
    pub appended: LogOffset,
    pub acknowledged: LogOffset,
    pub durable: LogOffset,
    pub poisoned: bool,
}

/// The test's end of a driven store.
#[derive(Clone, Default)]
pub struct Remote(Arc<Mutex<State>>);

impl Remote {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }

    pub fn call(&self, call: impl FnOnce(&mut Store, &mut dyn Io, &mut Answers) + Send + 'static) {
        self.state().commands.push_back(Command::Call(Box::new(call)));
    }

    /// Asks until there is an answer, which goes into the returned channel.
    pub fn ask<T: Send + 'static>(
        &self,
        mut ask: impl FnMut(&mut Store, &mut dyn Io) -> Lookup<T> + Send + 'static,
    ) -> Receiver<Result<T, ReadError>> {
        let (sender, receiver) = channel();
        let ask = move |store: &mut Store, io: &mut dyn Io| {
            let answer = match ask(store, io) {
                Lookup::Ready(value) => Ok(value),
                Lookup::Failed(error) => Err(error),
                Lookup::Wait(ticket) => return Err(ticket),
            };
            // The test may have lost its interest.
            let _ = sender.send(answer);
            Ok(())
        };
        self.state().commands.push_back(Command::Ask(Box::new(ask)));
        receiver
    }

    pub fn read(&self, ask: ReadAsk) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.commands.push_back(Command::Read(id, ask));
        id
    }

    pub fn record_at(&self, at: PhysicalOffset) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.commands.push_back(Command::RecordAt(id, at));
        id
    }

    pub fn find(&self, query: KeyQuery) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.commands.push_back(Command::Find(id, query));
        id
    }

    pub fn is_open(&self) -> bool {
        self.state().opened.is_some()
    }

    pub fn take_opened(&self) -> Option<Result<RecoveryReport, OpenError>> {
        self.state().opened.take()
    }

    pub fn watermarks(&self) -> Watermarks {
        self.state().watermarks
    }

    pub fn answers<T>(&self, look: impl FnOnce(&mut Answers) -> T) -> T {
        look(&mut self.state().answers)
    }

    /// Asks for an orderly end.
    pub fn stop(&self) {
        self.state().stop = true;
    }

    /// All commands were carried out.
    pub fn is_idle(&self) -> bool {
        self.state().commands.is_empty()
    }
}

/// A process with one shard that drives a store.
pub fn spec(remote: &Remote, config: StoreConfig) -> ProcessSpec<()> {
    spec_of_shard(remote, config, SHARD)
}

/// A store that believes to be that shard's.
pub fn spec_of_shard(remote: &Remote, config: StoreConfig, shard_id: ShardId) -> ProcessSpec<()> {
    let remote = remote.clone();
    let service = Box::new(move |_| {
        let driver = Driver {
            remote,
            config,
            shard_id,
            tasks: Tasks::new(),
            store: Rc::default(),
            waiting: BTreeMap::new(),
            finding: BTreeMap::new(),
        };
        Box::new(driver) as Box<dyn Service<()>>
    });
    let shard = ShardSpec { name: "store".to_string(), cpu: None, service };
    ProcessSpec { name: "store".to_string(), shards: vec![shard] }
}

struct Driver {
    remote: Remote,
    config: StoreConfig,
    shard_id: ShardId,
    tasks: Tasks,
    store: Rc<RefCell<Option<Store>>>,
    waiting: BTreeMap<ReadTicket, Command>,
    finding: BTreeMap<ReadTicket, (u64, KeyLookup)>,
}

impl Driver {
    fn poll(&mut self, io: &mut dyn Io) {
        io.timer(io.now() + Duration::from_micros(100), POLL);
        let store = Rc::clone(&self.store);
        let mut store = store.borrow_mut();
        let Some(store) = store.as_mut() else { return };
        let (commands, stop) = {
            let mut state = self.remote.state();
            (std::mem::take(&mut state.commands), state.stop)
        };
        for command in commands {
            self.run(store, io, command);
        }
        if stop {
            store.begin_close(io);
        }
    }

    fn run(&mut self, store: &mut Store, io: &mut dyn Io, command: Command) {
        match command {
            Command::Call(call) => call(store, io, &mut self.remote.state().answers),
            Command::Find(id, query) => self.find(store, io, id, Store::key_lookup(query)),
            Command::Ask(mut ask) => {
                if let Err(ticket) = ask(store, io) {
                    self.remote.state().answers.waits += 1;
                    self.waiting.insert(ticket, Command::Ask(ask));
                }
            }
            Command::Read(id, ask) => {
                let filter = |code: i64| ask.tags_code.is_none_or(|wanted| wanted == code);
                let read = store.read(io, &ask.topic, ask.queue_id, ask.offset, ask.limits, &filter);
                let answer = match read {
                    Read::Ready(result) => Ok(result),
                    Read::Failed(error) => Err(error),
                    Read::Wait(ticket) => {
                        self.remote.state().answers.waits += 1;
                        self.waiting.insert(ticket, Command::Read(id, ask));
                        return;
                    }
                };
                self.remote.state().answers.reads.insert(id, answer);
            }
            Command::RecordAt(id, at) => {
                let answer = match store.record_at(io, at) {
                    RecordRead::Ready(bytes) => Ok(Some(bytes)),
                    RecordRead::Missing => Ok(None),
                    RecordRead::Failed(error) => Err(error),
                    RecordRead::Wait(ticket) => {
                        self.remote.state().answers.waits += 1;
                        self.waiting.insert(ticket, command);
                        return;
                    }
                };
                self.remote.state().answers.records.insert(id, answer);
            }
        }
    }

    fn find(&mut self, store: &mut Store, io: &mut dyn Io, id: u64, mut lookup: KeyLookup) {
        let answer = match store.find_by_key(io, &mut lookup) {
            KeyFind::Ready(found) => Ok(found),
            KeyFind::Failed(error) => Err(error),
            KeyFind::Wait(ticket) => {
                self.remote.state().answers.waits += 1;
                self.finding.insert(ticket, (id, lookup));
                return;
            }
        };
        self.remote.state().answers.found.insert(id, answer);
    }

    fn completed(&mut self, io: &mut dyn Io) {
        let store = Rc::clone(&self.store);
        let mut store = store.borrow_mut();
        let Some(store) = store.as_mut() else { return };
        let mut tickets = Vec::new();
        store.take_completed_reads(&mut tickets);
        for ticket in tickets {
            if let Some((id, lookup)) = self.finding.remove(&ticket) {
                self.find(store, io, id, lookup);
                continue;
            }
            let command = self.waiting.remove(&ticket).expect("a ticket that was given");
            self.run(store, io, command);
        }
        let mut state = self.remote.state();
        let state = &mut *state;
        store.take_arrivals(&mut state.answers.arrivals);
        let acknowledged = store.acknowledged();
        let answers = &mut state.answers;
        answers.awaited.retain(|(end, id)| {
            if *end <= acknowledged {
                answers.acknowledged.push(*id);
            }
            *end > acknowledged
        });
        state.watermarks = Watermarks {
            appended: store.appended(),
            acknowledged,
            durable: store.durable(),
            poisoned: store.poisoned().is_some(),
        };
    }
}

impl Service<()> for Driver {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let (handle, store, remote) = (self.tasks.handle(), Rc::clone(&self.store), self.remote.clone());
        let (config, shard) = (self.config.clone(), self.shard_id);
        self.tasks.spawn(async move {
            let opened = Store::open(handle, shard, config).await.map(|(opened, report)| {
                *store.borrow_mut() = Some(opened);
                report
            });
            remote.state().opened = Some(opened);
        });
        io.timer(io.now() + Duration::from_micros(100), POLL);
        self.tasks.run(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        let Some(event) = self.tasks.on_event(event) else { return };
        match event {
            Event::File { token, result } if token.owner() == OWNER => {
                let mut store = self.store.borrow_mut();
                store.as_mut().expect("open").on_file(io, token, result);
            }
            Event::Timer { token } if token.owner() == OWNER => {
                let mut store = self.store.borrow_mut();
                store.as_mut().expect("open").on_timer(io, token);
            }
            Event::Timer { token } if token == POLL => self.poll(io),
            Event::Stop => self.remote.stop(),
            other => panic!("unexpected {other:?}"),
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        if let Some(store) = self.store.borrow_mut().as_mut() {
            store.end_of_turn(io);
            if store.is_closed() {
                io.exit();
            }
        }
        self.completed(io);
        self.tasks.run(io);
    }
}

/// A small store: segments of 128 KiB, index runs of 24 KiB of log, blocks of 32 KiB, records up to 8 KiB, so that short tests meet every border.
pub fn small_config(dir: impl Into<std::path::PathBuf>) -> StoreConfig {
    StoreConfig {
        segment_bytes: 128 << 10,
        record_bytes_max: 8 << 10,
        write_bytes_max: 16 << 10,
        block_bytes: 32 << 10,
        tail_cache_bytes: 96 << 10,
        lazy_write_bytes: 8 << 10,
        cache_block_bytes: 8 << 10,
        cache_bytes: 64 << 10,
        zero_ahead_bytes: 32 << 10,
        checkpoint_bytes: 32 << 10,
        index_run_bytes: 24 << 10,
        index_cache_bytes: 64 << 10,
        in_memory_bytes: 96 << 10,
        key_table_entries: 60,
        key_run_log_bytes: 32 << 10,
        key_filter_bytes: 2 << 10,
        ..StoreConfig::new(dir, OWNER)
    }
}

/// The same with its tail cache in a file that outlives the process.
pub fn mapped(config: StoreConfig) -> StoreConfig {
    StoreConfig { tail_cache_path: Some("/dev/shm".into()), ..config }
}

/// One message of a test, made from its number alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub id: u64,
    pub topic: String,
    pub queue_id: i32,
    pub body_bytes: usize,
}

impl Message {
    pub fn body(&self) -> Vec<u8> {
        let mut body: Vec<u8> = (0..self.body_bytes).map(|i| (self.id as usize * 31 + i * 7) as u8).collect();
        let id = self.id.to_be_bytes();
        let n = body.len().min(8);
        body[..n].copy_from_slice(&id[8 - n..]);
        body
    }

    pub fn tag(&self) -> String {
        format!("tag{}", self.id % 3)
    }

    pub fn properties(&self) -> String {
        format!("TAGS\u{1}{}\u{2}UNIQ_KEY\u{1}{:016X}\u{2}", self.tag(), self.id)
    }

    pub fn tags_code(&self) -> i64 {
        ringmq_remoting::record::tags_code(&self.tag())
    }
}

pub fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 9], 10911))
}

pub fn draft<'a>(message: &'a Message, body: &'a [u8], properties: &'a str) -> RecordDraft<'a> {
    RecordDraft {
        topic: &message.topic,
        queue_id: message.queue_id,
        flag: message.id as i32,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: address(),
        store_host: address(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    }
}

/// Splits what a read gave into records: (queue offset, flag, body, properties).
pub fn records(result: &ReadResult) -> Vec<(i64, i32, Vec<u8>, String)> {
    let mut all = Vec::new();
    for run in &result.records {
        for record in ringmq_remoting::record::records(run) {
            let record = record.expect("whole records");
            record.check_crc().expect("right CRC");
            all.push((
                record.queue_offset(),
                record.flag(),
                record.body().to_vec(),
                record.properties().into_owned(),
            ));
        }
    }
    assert_eq!(all.len(), result.count);
    assert_eq!(result.records.iter().map(Bytes::len).sum::<usize>(), result.bytes);
    all
}
