//! What tasks, their futures and the executor share. Never borrowed while a task is polled.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::connection::Link;
use crate::{
    Block, CloseCause, CloseMode, ConnectionId, FileOp, FileValue, Io, Mapping, Monotonic, ShardId, TimerId,
    Token,
};

pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A task's slot: `future` is out while it is being polled.
struct Task {
    future: Option<TaskFuture>,
    waker: Arc<TaskWaker>,
}

/// Names a task for ever: slots are reused, serial numbers are not, so a late wake-up of an ended task hits nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskKey {
    slot: usize,
    serial: u64,
}

type ReadyQueue = Mutex<VecDeque<TaskKey>>;

/// `Wake` asks for `Send + Sync`; the lock is never contended, since wakers stay on the shard's thread.
struct TaskWaker {
    key: TaskKey,
    /// In the ready queue already: a task woken ten times is polled once.
    queued: std::sync::atomic::AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.key);
        }
    }
}

/// Where an operation stands.
pub(super) enum Operation {
    /// Its future waits, or has not been polled yet.
    Waiting(Option<Waker>),
    /// Timer only: handed to the reactor.
    Timer {
        id: TimerId,
        waker: Option<Waker>,
    },
    /// Completed; the future has not looked yet.
    File(io::Result<FileValue>),
    Connected(io::Result<ConnectionId>),
    Blocks(io::Result<(Mapping, Vec<Block>)>),
    Fired,
    /// The future is gone: what the completion brings is given back to the system.
    Abandoned,
}

/// What the next [`State::issue`] hands to the reactor, in order.
pub(super) enum Request {
    File(u64, FileOp),
    Timer(u64, Monotonic),
    CancelTimer(TimerId),
    Connect(u64, SocketAddr),
    Blocks(u64, Mapping, Vec<(usize, usize)>),
    Send(ConnectionId, Bytes),
    Receiving(ConnectionId, bool),
    Close(ConnectionId, CloseMode),
}

pub(super) struct State {
    pub(super) now: Monotonic,
    pub(super) wall_ms: u64,
    pub(super) shard: ShardId,
    random: u64,
    tasks: Slab<Task>,
    serial: u64,
    ready: Arc<ReadyQueue>,
    operations: FxHashMap<u64, Operation>,
    next_operation: u64,
    requests: VecDeque<Request>,
    pub(super) links: FxHashMap<ConnectionId, Link>,
    seeded: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Monotonic::default(),
            wall_ms: 0,
            shard: ShardId(0),
            random: 0,
            tasks: Slab::new(),
            serial: 0,
            ready: Arc::default(),
            operations: FxHashMap::default(),
            next_operation: 0,
            requests: VecDeque::new(),
            links: FxHashMap::default(),
            seeded: false,
        }
    }
}

impl State {
    pub(super) fn refresh(&mut self, io: &mut dyn Io) {
        self.now = io.now();
        self.wall_ms = io.wall_ms();
        self.shard = io.shard();
        if !self.seeded {
            self.seeded = true;
            self.random ^= io.random();
        }
    }

    /// SplitMix64: every seed is good, and no state is shared with the reactor's own generator.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn task_count(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn spawn(&mut self, future: TaskFuture) {
        let entry = self.tasks.vacant_entry();
        let key = TaskKey { slot: entry.key(), serial: self.serial };
        self.serial += 1;
        let waker = Arc::new(TaskWaker { key, queued: false.into(), ready: Arc::clone(&self.ready) });
        waker.wake_by_ref();
        entry.insert(Task { future: Some(future), waker });
    }

    pub(super) fn next_ready(&mut self) -> Option<(TaskKey, TaskFuture, Waker)> {
        loop {
            let key = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
            let Some(task) = self.tasks.get_mut(key.slot) else { continue };
            if task.waker.key != key {
                continue;
            }
            task.waker.queued.store(false, std::sync::atomic::Ordering::Release);
            let future = task.future.take().expect("a task is polled by one run at a time");
            return Some((key, future, Waker::from(Arc::clone(&task.waker))));
        }
    }

    pub(super) fn put_back(&mut self, key: TaskKey, future: TaskFuture) {
        self.tasks[key.slot].future = Some(future);
    }

    pub(super) fn finish(&mut self, key: TaskKey) {
        self.tasks.remove(key.slot);
    }

    /// All futures, for the executor's end: they hold this state, so they must be dropped while it is not borrowed.
    pub(super) fn take_futures(&mut self) -> Vec<TaskFuture> {
        std::mem::take(&mut self.tasks).into_iter().filter_map(|(_, task)| task.future).collect()
    }

    /// Hands what was asked for to the reactor.
    pub(super) fn issue(&mut self, io: &mut dyn Io) {
        while let Some(request) = self.requests.pop_front() {
            match request {
                Request::File(id, op) => io.file(Token::new(Token::OWNER_TASKS, id), op),
                Request::Timer(id, at) => {
                    // Gone if the future was dropped before the timer was ever asked for.
                    if let Some(operation) = self.operations.get_mut(&id) {
                        let Operation::Waiting(waker) = operation else {
                            unreachable!("timer {id} issued twice")
                        };
                        let timer = io.timer(at, Token::new(Token::OWNER_TASKS, id));
                        *operation = Operation::Timer { id: timer, waker: waker.take() };
                    }
                }
                Request::CancelTimer(timer) => io.cancel_timer(timer),
                Request::Connect(id, to) => io.connect(to, Token::new(Token::OWNER_TASKS, id)),
                Request::Blocks(id, mapping, ranges) => {
                    let lent = blocks_in(io, mapping, &ranges);
                    self.complete(id, Operation::Blocks(lent));
                }
                Request::Send(connection, bytes) => {
                    if let Some(outbox) = io.outbox(connection) {
                        outbox.push(bytes);
                    }
                }
                Request::Receiving(connection, receiving) => io.set_receiving(connection, receiving),
                Request::Close(connection, mode) => io.close(connection, mode),
            }
        }
        for (connection, link) in &mut self.links {
            link.set_unsent(io.unsent_bytes(*connection));
        }
        if !self.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            // Wakes the next turn; no operation has this number, so the completion itself is dropped.
            io.timer(self.now, Token::new(Token::OWNER_TASKS, TURN_WAKER));
        }
    }

    pub(super) fn request(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// A new operation that waits; its number goes into the token.
    pub(super) fn operation(&mut self) -> u64 {
        let id = self.next_operation;
        self.next_operation += 1;
        self.operations.insert(id, Operation::Waiting(None));
        id
    }

    /// The operation's outcome, if it is there; otherwise remembers whom to wake.
    pub(super) fn poll_operation(&mut self, id: u64, waker: &Waker) -> Option<Operation> {
        match self.operations.get_mut(&id).expect("polled after completion") {
            Operation::Waiting(slot) | Operation::Timer { waker: slot, .. } => {
                match slot {
                    Some(known) => known.clone_from(waker),
                    None => *slot = Some(waker.clone()),
                }
                None
            }
            _ => self.operations.remove(&id),
        }
    }

    /// The future of an operation was dropped before it saw the outcome.
    pub(super) fn abandon(&mut self, id: u64) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        match std::mem::replace(operation, Operation::Abandoned) {
            Operation::Waiting(_) | Operation::Abandoned => {}
            Operation::Timer { id: timer, .. } => {
                self.operations.remove(&id);
                self.requests.push_back(Request::CancelTimer(timer));
            }
            Operation::Fired | Operation::Blocks(_) => {
                self.operations.remove(&id);
            }
            Operation::File(result) => {
                self.operations.remove(&id);
                self.discard_file(result);
            }
            Operation::Connected(result) => {
                self.operations.remove(&id);
                if let Ok(connection) = result {
                    self.abandon_link(connection, CloseMode::Now);
                }
            }
        }
    }

    /// A sleeper was dropped: one whose timer was never asked for leaves no trace.
    pub(super) fn abandon_timer(&mut self, id: u64) {
        if matches!(self.operations.get(&id), Some(Operation::Waiting(_))) {
            self.operations.remove(&id);
        } else {
            self.abandon(id);
        }
    }

    fn discard_file(&mut self, result: io::Result<FileValue>) {
        if let Ok(FileValue::Opened { file, .. }) = result {
            self.close_file(file);
        }
    }

    /// Closes a file that nobody waits for.
    pub(super) fn close_file(&mut self, file: crate::FileId) {
        let id = self.operation();
        self.operations.insert(id, Operation::Abandoned);
        self.requests.push_back(Request::File(id, FileOp::Close(file)));
    }

    fn complete(&mut self, id: u64, outcome: Operation) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        match std::mem::replace(operation, outcome) {
            Operation::Waiting(waker) | Operation::Timer { waker, .. } => {
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Operation::Abandoned => match self.operations.remove(&id) {
                Some(Operation::File(result)) => self.discard_file(result),
                Some(Operation::Connected(Ok(connection))) => self.abandon_link(connection, CloseMode::Now),
                _ => {}
            },
            Operation::File(_) | Operation::Connected(_) | Operation::Blocks(_) | Operation::Fired => {
                unreachable!("operation {id} completed twice")
            }
        }
    }

    pub(super) fn file_completed(&mut self, id: u64, result: io::Result<FileValue>) {
        self.complete(id, Operation::File(result));
    }

    pub(super) fn timer_fired(&mut self, id: u64) {
        self.complete(id, Operation::Fired);
    }

    pub(super) fn connected(&mut self, id: u64, result: io::Result<ConnectionId>) {
        if let Ok(connection) = &result {
            // From here on its events are ours, even before the task has looked.
            self.links.insert(*connection, Link::default());
        }
        self.complete(id, Operation::Connected(result));
    }

    pub(super) fn received(&mut self, connection: ConnectionId, bytes: &[u8]) -> bool {
        let Some(link) = self.links.get_mut(&connection) else { return false };
        if link.received(bytes) {
            self.requests.push_back(Request::Receiving(connection, false));
        }
        true
    }

    pub(super) fn drained(&mut self, connection: ConnectionId) -> bool {
        let Some(link) = self.links.get_mut(&connection) else { return false };
        link.drained();
        true
    }

    pub(super) fn closed(&mut self, connection: ConnectionId, cause: CloseCause) -> Result<(), CloseCause> {
        let Some(link) = self.links.get_mut(&connection) else { return Err(cause) };
        if link.closed(cause) {
            self.links.remove(&connection);
        }
        Ok(())
    }

    /// The handle of a connection was dropped: events go on to be ours until the last.
    pub(super) fn abandon_link(&mut self, connection: ConnectionId, mode: CloseMode) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        if link.abandon() {
            self.links.remove(&connection);
        } else {
            self.requests.push_back(Request::Close(connection, mode));
        }
    }
}

fn blocks_in(
    io: &mut dyn Io,
    mut mapping: Mapping,
    ranges: &[(usize, usize)],
) -> io::Result<(Mapping, Vec<Block>)> {
    let blocks = ranges
        .iter()
        .map(|(from, bytes)| io.block_in(&mut mapping, *from, *bytes))
        .collect::<Result<_, _>>()?;
    Ok((mapping, blocks))
}

/// Token value of the timer that only starts another turn.
const TURN_WAKER: u64 = (1 << 56) - 1;
