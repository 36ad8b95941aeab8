//! The producing side of a load thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmq_reactor::{CloseMode, ConnectionId, Io, Monotonic, Token};
use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;
use ringmq_remoting::frame::{FRAME_BYTES_MAX, FrameAssembler};

use rustc_hash::FxHashMap;

use super::clock::Clock;
use super::measure::{Progress, Tally};
use super::template::{OPAQUE_FIRST, Template};

/// Token owner of producing connections and timers.
pub const OWNER: u8 = 1;
/// Timer values above all connection indexes.
const TIMER_PACE: u64 = 1 << 40;
const TIMER_RECONNECT: u64 = 1 << 41;
/// Pause before a lost connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);
/// How far an open-loop schedule is served in one turn, so that answers are read in between.
const SENDS_PER_TURN_MAX: usize = 4096;

/// What one load thread produces.
#[derive(Debug, Clone)]
pub struct ProducePlan {
    /// Broker addresses; templates refer to them by index.
    pub brokers: Vec<SocketAddr>,
    /// Connections of this thread.
    pub connections: usize,
    /// Requests in flight per connection.
    pub in_flight: usize,
    /// Requests per second of this thread; `None` for a closed loop.
    pub requests_per_second: Option<f64>,
    /// First message number of this thread.
    pub first_number: u64,
    /// Stop after this many messages; 0 for no limit.
    pub messages_max: u64,
    /// Body bytes per message.
    pub body_bytes: usize,
    /// Before this nothing is counted.
    pub warmup: Duration,
    /// After warm-up, how long requests are made.
    pub duration: Duration,
}

struct Connection {
    broker: usize,
    id: Option<ConnectionId>,
    assembler: FrameAssembler,
    /// Templates of this connection's broker, next to use.
    next_template: usize,
    in_flight: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    /// When the request was due; `None` while the slot is free.
    due: Option<Monotonic>,
    messages: u32,
}

/// See the module.
pub struct Producer {
    plan: ProducePlan,
    clock: Clock,
    templates: Vec<Template>,
    /// Indexes of templates by broker.
    by_broker: Vec<Vec<usize>>,
    connections: Vec<Connection>,
    by_id: FxHashMap<ConnectionId, usize>,
    /// `in_flight` slots per connection; a slot's opaque is its index.
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    started: Option<Monotonic>,
    /// Requests scheduled so far (open loop).
    scheduled: u64,
    pace_armed: bool,
    outstanding: usize,
    messages_started: u64,
    first_counted: Option<Monotonic>,
    last_counted: Monotonic,
    tally: Tally,
    progress: Arc<Progress>,
}

impl Producer {
    /// Connections are dealt out over the brokers in turn.
    ///
    /// # Panics
    /// If a broker has no template.
    #[must_use]
    pub fn new(plan: ProducePlan, templates: Vec<Template>, clock: Clock, progress: Arc<Progress>) -> Self {
        let mut by_broker = vec![Vec::new(); plan.brokers.len()];
        for (index, template) in templates.iter().enumerate() {
            by_broker[template.broker].push(index);
        }
        assert!(by_broker.iter().all(|t| !t.is_empty()), "every broker has a queue to send to");
        let connections: Vec<Connection> = (0..plan.connections)
            .map(|index| {
                let broker = index % plan.brokers.len();
                Connection {
                    broker,
                    id: None,
                    assembler: FrameAssembler::new(FRAME_BYTES_MAX),
                    // connections start at different queues, so that a few in flight already spread
                    next_template: index / plan.brokers.len() * by_broker[broker].len()
                        / plan.connections.max(1)
                        + index,
                    in_flight: 0,
                }
            })
            .collect();
        let slots = vec![Slot { due: None, messages: 0 }; plan.connections * plan.in_flight];
        Self {
            clock,
            templates,
            by_broker,
            connections,
            by_id: FxHashMap::default(),
            slots,
            free: VecDeque::new(),
            started: None,
            scheduled: 0,
            pace_armed: false,
            outstanding: 0,
            messages_started: 0,
            first_counted: None,
            last_counted: Monotonic(0),
            tally: Tally::default(),
            progress,
            plan,
        }
    }

    /// Opens the connections.
    pub fn start(&mut self, io: &mut dyn Io) {
        for (index, connection) in self.connections.iter().enumerate() {
            io.connect(self.plan.brokers[connection.broker], Token::new(OWNER, index as u64));
        }
    }

    /// Whether all requests are made and answered.
    #[must_use]
    pub fn is_finished(&self, now: Monotonic) -> bool {
        self.is_over(now) && self.outstanding == 0
    }

    /// No new requests after this.
    fn is_over(&self, now: Monotonic) -> bool {
        let timed_out = self.started.is_some_and(|at| now >= at + self.plan.warmup + self.plan.duration);
        timed_out || (self.plan.messages_max > 0 && self.messages_started >= self.plan.messages_max)
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
        let index = usize::try_from(token.value()).expect("own token");
        match result {
            Ok(id) => {
                self.connections[index].id = Some(id);
                self.by_id.insert(id, index);
                self.connections[index].assembler = FrameAssembler::new(FRAME_BYTES_MAX);
                let first = (index * self.plan.in_flight) as u32;
                self.free.extend(first..first + self.plan.in_flight as u32);
                // The clock of a closed or open loop starts with the first connection.
                self.started.get_or_insert(io.now());
                self.fill(io);
            }
            Err(error) => {
                tracing::warn!(broker = %self.plan.brokers[self.connections[index].broker], %error, "cannot connect");
                io.timer(io.now() + RECONNECT_PAUSE, Token::new(OWNER, TIMER_RECONNECT | index as u64));
            }
        }
    }

    /// A timer with our owner byte.
    pub fn on_timer(&mut self, io: &mut dyn Io, token: Token) {
        if token.value() == TIMER_PACE {
            self.pace_armed = false;
            self.fill(io);
        } else {
            let index = token.value() & !TIMER_RECONNECT;
            let broker = self.connections[usize::try_from(index).expect("own token")].broker;
            io.connect(self.plan.brokers[broker], Token::new(OWNER, index));
        }
    }

    /// Whether `connection` is one of ours; its index if so.
    #[must_use]
    pub fn index_of(&self, connection: ConnectionId) -> Option<usize> {
        self.by_id.get(&connection).copied()
    }

    /// Bytes for the connection with that index.
    pub fn on_received(&mut self, io: &mut dyn Io, index: usize, bytes: &[u8]) {
        let now = io.now();
        let mut assembler =
            std::mem::replace(&mut self.connections[index].assembler, FrameAssembler::new(FRAME_BYTES_MAX));
        let outcome = assembler.feed(bytes, |frame| {
            self.on_frame(now, index, frame);
            ControlFlow::Continue(())
        });
        self.connections[index].assembler = assembler;
        if let Err(error) = outcome {
            tracing::error!(%error, "the broker sent what is not a frame");
            if let Some(id) = self.connections[index].id {
                io.close(id, CloseMode::Now);
            }
        }
        self.fill(io);
    }

    /// The connection with that index is gone: what was in flight on it counts as failed.
    pub fn on_closed(&mut self, io: &mut dyn Io, index: usize) {
        let slots = index * self.plan.in_flight..(index + 1) * self.plan.in_flight;
        self.free.retain(|slot| !slots.contains(&(*slot as usize)));
        for slot in slots {
            let taken = std::mem::replace(&mut self.slots[slot], Slot { due: None, messages: 0 });
            if taken.due.is_some() {
                self.outstanding -= 1;
                self.tally.error(-1, u64::from(taken.messages));
                Progress::add(&self.progress.failed, u64::from(taken.messages));
            }
        }
        let connection = &mut self.connections[index];
        if let Some(id) = connection.id.take() {
            self.by_id.remove(&id);
        }
        connection.in_flight = 0;
        io.timer(io.now() + RECONNECT_PAUSE, Token::new(OWNER, TIMER_RECONNECT | index as u64));
    }

    fn on_frame(&mut self, now: Monotonic, index: usize, frame: &[u8]) {
        let Ok(command) = Command::parse(frame) else { return };
        if !command.is_response() {
            return; // a notice from the broker
        }
        let slot = command.opaque.wrapping_sub(OPAQUE_FIRST) as usize;
        let Some(entry) = self.slots.get_mut(slot) else { return };
        let Some(due) = entry.due.take() else { return };
        let messages = u64::from(entry.messages);
        self.free.push_back(slot as u32);
        self.outstanding -= 1;
        self.connections[index].in_flight -= 1;
        if command.code != response::SUCCESS {
            self.tally.error(command.code, messages);
            Progress::add(&self.progress.failed, messages);
            return;
        }
        self.progress.sent.fetch_add(messages, Ordering::Relaxed);
        let from = self.started.expect("a request was made") + self.plan.warmup;
        if due >= from {
            self.first_counted.get_or_insert(from);
            self.last_counted = now;
            self.tally.messages += messages;
            self.tally.requests += 1;
            self.tally.body_bytes += messages * self.plan.body_bytes as u64;
            self.tally.record(u64::try_from(now.since(due).as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Makes the requests that are due, as far as slots are free.
    fn fill(&mut self, io: &mut dyn Io) {
        let now = io.now();
        let Some(started) = self.started else { return };
        for _ in 0..SENDS_PER_TURN_MAX {
            if self.is_over(now) {
                return;
            }
            let due = match self.plan.requests_per_second {
                None => now,
                Some(rate) => {
                    let due = started + Duration::from_secs_f64(self.scheduled as f64 / rate);
                    if due > now {
                        self.arm_pace(io, due);
                        return;
                    }
                    due
                }
            };
            let Some(slot) = self.free.pop_front() else { return };
            self.scheduled += 1;
            self.send(io, slot, due);
        }
        if !self.free.is_empty() {
            self.arm_pace(io, now);
        }
    }

    fn arm_pace(&mut self, io: &mut dyn Io, at: Monotonic) {
        if !self.pace_armed {
            self.pace_armed = true;
            io.timer(at, Token::new(OWNER, TIMER_PACE));
        }
    }

    fn send(&mut self, io: &mut dyn Io, slot: u32, due: Monotonic) {
        let index = slot as usize / self.plan.in_flight;
        let connection = &mut self.connections[index];
        let Some(outbox) = connection.id.and_then(|id| io.outbox(id)) else { return };
        let choice = &self.by_broker[connection.broker];
        let template = &mut self.templates[choice[connection.next_template % choice.len()]];
        connection.next_template += 1;
        connection.in_flight += 1;
        let number = self.plan.first_number + self.messages_started;
        template.write(outbox.tail(), OPAQUE_FIRST + slot as i32, self.clock.wall_us(due), number);
        self.messages_started += template.messages as u64;
        self.slots[slot as usize] = Slot { due: Some(due), messages: template.messages as u32 };
        self.outstanding += 1;
    }
}
