//! The consuming side of a load thread: one pull in flight per queue, continued as soon as it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmq_reactor::{ConnectionId, Io, Monotonic, Token};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::command::{Command, SerializeType};
use ringmq_remoting::encode::{FieldValue, write_request};
use ringmq_remoting::record::RecordView;

use super::clock::Clock;
use super::connections::{Connections, feed};
use super::measure::{Progress, Tally};
use super::options::From;
use super::template::{OPAQUE_FIRST, STAMP_BYTES, STAMP_MARK};

/// Token owner of consuming connections and timers.
pub const OWNER: u8 = 2;
/// Timer value of a queue's retry, above all queue indexes.
const TIMER_RETRY: u64 = 1 << 42;
/// Pause after an answer that is neither messages nor "nothing new".
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long the broker may hold a pull, as the Java push consumer asks.
const SUSPEND_MS: i64 = 15_000;
/// Pull flags: long polling allowed, subscription in the request.
const PULL_SYS_FLAG: i64 = 2 | 4;

/// One queue to read.
#[derive(Debug, Clone)]
pub struct QueueToRead {
    /// Index into [`ConsumePlan::brokers`].
    pub broker: usize,
    /// Topic.
    pub topic: String,
    /// Queue of that topic.
    pub queue_id: u32,
}

/// What one load thread consumes.
#[derive(Debug, Clone)]
pub struct ConsumePlan {
    /// Broker addresses.
    pub brokers: Vec<SocketAddr>,
    /// Connections of this thread.
    pub connections: usize,
    /// Queues of this thread.
    pub queues: Vec<QueueToRead>,
    /// Consumer group.
    pub group: String,
    /// Where to begin.
    pub from: From,
    /// Messages per pull.
    pub pull_batch: u32,
    /// Header encoding.
    pub serialize: SerializeType,
    /// Stop after this many messages; 0 for no limit.
    pub messages_max: u64,
    /// Before this nothing is counted.
    pub warmup: Duration,
    /// After warm-up, how long pulls are made.
    pub duration: Duration,
}

struct Queue {
    spec: QueueToRead,
    connection: usize,
    /// `None` until the broker has told the bound asked for.
    offset: Option<i64>,
}

/// See the module.
pub struct Consumer {
    plan: ConsumePlan,
    clock: Clock,
    connections: Connections,
    /// Queues of each connection.
    queues_of: Vec<Vec<usize>>,
    queues: Vec<Queue>,
    started: Option<Monotonic>,
    messages_all: u64,
    first_counted: Option<Monotonic>,
    last_counted: Monotonic,
    tally: Tally,
    progress: Arc<Progress>,
}

impl Consumer {
    /// Queues are dealt out over the connections of their broker.
    #[must_use]
    pub fn new(plan: ConsumePlan, clock: Clock, progress: Arc<Progress>) -> Self {
        // a connection per broker at least, and none without a queue
        let per_broker = plan.connections.div_ceil(plan.brokers.len()).max(1);
        let count = plan.brokers.len() * per_broker;
        let connections =
            Connections::new(OWNER, plan.brokers.clone(), (0..count).map(|index| index / per_broker));
        let mut queues_of = vec![Vec::new(); count];
        let mut dealt = vec![0_usize; plan.brokers.len()];
        let queues = plan
            .queues
            .iter()
            .enumerate()
            .map(|(index, spec)| {
                let connection = spec.broker * per_broker + dealt[spec.broker] % per_broker;
                dealt[spec.broker] += 1;
                queues_of[connection].push(index);
                Queue { spec: spec.clone(), connection, offset: None }
            })
            .collect();
        Self {
            clock,
            connections,
            queues_of,
            queues,
            started: None,
            messages_all: 0,
            first_counted: None,
            last_counted: Monotonic(0),
            tally: Tally::default(),
            progress,
            plan,
        }
    }

    /// Opens the connections.
    pub fn start(&mut self, io: &mut dyn Io) {
        for (index, queues) in self.queues_of.iter().enumerate() {
            if !queues.is_empty() {
                self.connections.open(io, index);
            }
        }
    }

    /// Whether time or count is over. Held pulls need not be waited for.
    #[must_use]
    pub fn is_finished(&self, now: Monotonic) -> bool {
        let timed_out = self.started.is_some_and(|at| now >= at + self.plan.warmup + self.plan.duration);
        timed_out || (self.plan.messages_max > 0 && self.messages_all >= self.plan.messages_max)
    }

    /// The result so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.elapsed_ns = self
            .first_counted
            .map_or(0, |first| u64::try_from(self.last_counted.since(first).as_nanos()).unwrap_or(u64::MAX));
        tally
    }

    /// Answer to `connect`.
    pub fn on_connected(&mut self, io: &mut dyn Io, token: Token, result: std::io::Result<ConnectionId>) {
        if let Some(index) = self.connections.on_connected(io, token, result) {
            self.started.get_or_insert(io.now());
            for place in 0..self.queues_of[index].len() {
                self.ask(io, self.queues_of[index][place]);
            }
        }
    }

    /// A timer with our owner byte.
    pub fn on_timer(&mut self, io: &mut dyn Io, token: Token) {
        if let Some(value) = self.connections.on_timer(io, token) {
            self.ask(io, usize::try_from(value & !TIMER_RETRY).expect("own token"));
        }
    }

    /// Whether `connection` is one of ours; its index if so.
    #[must_use]
    pub fn index_of(&self, connection: ConnectionId) -> Option<usize> {
        self.connections.index_of(connection)
    }

    /// Bytes for the connection with that index.
    pub fn on_received(&mut self, io: &mut dyn Io, index: usize, bytes: &[u8]) {
        feed(self, io, |side| &mut side.connections, index, bytes, Self::on_frame);
    }

    /// The connection with that index is gone.
    pub fn on_closed(&mut self, io: &mut dyn Io, index: usize) {
        self.connections.on_closed(io, index);
    }

    fn on_frame(&mut self, io: &mut dyn Io, frame: &[u8]) {
        let Ok(command) = Command::parse(frame) else { return };
        let index = command.opaque.wrapping_sub(OPAQUE_FIRST) as usize;
        if !command.is_response() || index >= self.queues.len() {
            return;
        }
        if self.queues[index].offset.is_none() {
            self.queues[index].offset = command.long("offset").ok().flatten();
        } else {
            match command.code {
                response::SUCCESS => self.take(io.now(), command.body),
                response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED => {
                }
                code => {
                    self.tally.error(code, 1);
                    Progress::add(&self.progress.failed, 1);
                    io.timer(io.now() + RETRY_PAUSE, Token::new(OWNER, TIMER_RETRY | index as u64));
                    return;
                }
            }
            if let Some(next) = command.long("nextBeginOffset").ok().flatten() {
                self.queues[index].offset = Some(next);
            }
        }
        self.ask(io, index);
    }

    fn take(&mut self, now: Monotonic, mut body: &[u8]) {
        let from = self.started.expect("connected") + self.plan.warmup;
        let counted = now >= from;
        let now_us = self.clock.wall_us(now);
        if counted {
            // a drain has no idle time before it: it counts from the first answer
            self.first_counted.get_or_insert(if self.plan.warmup.is_zero() { now } else { from });
            self.last_counted = now;
            self.tally.requests += 1;
        }
        while let Ok(record) = RecordView::parse(body) {
            self.messages_all += 1;
            self.progress.received.fetch_add(1, Ordering::Relaxed);
            if counted {
                let message = record.body();
                self.tally.messages += 1;
                self.tally.body_bytes += message.len() as u64;
                if let Some(due_us) = stamp(message) {
                    self.tally.record(now_us.saturating_sub(due_us));
                }
            }
            let bytes = record.total_bytes();
            body = &body[bytes..];
            if body.is_empty() {
                break;
            }
        }
    }

    /// The next request for a queue: its bound first, then pulls.
    fn ask(&mut self, io: &mut dyn Io, index: usize) {
        if self.is_finished(io.now()) {
            return;
        }
        let queue = &self.queues[index];
        let Some(outbox) = self.connections.outbox(io, queue.connection) else { return };
        let opaque = OPAQUE_FIRST + index as i32;
        let topic = FieldValue::Str(&queue.spec.topic);
        let queue_id = FieldValue::Int(i64::from(queue.spec.queue_id));
        match queue.offset {
            None => {
                let code = match self.plan.from {
                    From::First => request::GET_MIN_OFFSET,
                    From::Last => request::GET_MAX_OFFSET,
                };
                let fields = [("queueId", queue_id), ("topic", topic)];
                write_request(outbox.tail(), self.plan.serialize, code, opaque, false, &fields, &[]);
            }
            Some(offset) => {
                let fields = [
                    ("commitOffset", FieldValue::Int(offset)),
                    ("consumerGroup", FieldValue::Str(&self.plan.group)),
                    ("expressionType", FieldValue::Str("TAG")),
                    ("maxMsgNums", FieldValue::Int(i64::from(self.plan.pull_batch))),
                    ("queueId", queue_id),
                    ("queueOffset", FieldValue::Int(offset)),
                    ("subVersion", FieldValue::Int(0)),
                    ("subscription", FieldValue::Str("*")),
                    ("suspendTimeoutMillis", FieldValue::Int(SUSPEND_MS)),
                    ("sysFlag", FieldValue::Int(PULL_SYS_FLAG)),
                    ("topic", topic),
                ];
                let code = request::PULL_MESSAGE;
                write_request(outbox.tail(), self.plan.serialize, code, opaque, false, &fields, &[]);
            }
        }
    }
}

/// When the message was due, if a producer of ours made it.
fn stamp(body: &[u8]) -> Option<u64> {
    let head: &[u8; STAMP_BYTES] = body.first_chunk()?;
    let (due, mark) = head.split_at(8);
    (mark == STAMP_MARK.to_be_bytes()).then(|| u64::from_be_bytes(due.try_into().expect("eight bytes")))
}
