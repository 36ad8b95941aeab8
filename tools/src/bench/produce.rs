//! The producing side of a load thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmq_reactor::{ConnectionId, Io, Monotonic, Token};
use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;

use super::clock::Clock;
use super::connections::{Connections, feed};
use super::measure::{Progress, Tally};
use super::options::Order;
use super::template::{OPAQUE_FIRST, Template};

/// Token owner of producing connections and timers.
pub const OWNER: u8 = 1;
const TIMER_PACE: u64 = 1 << 40;
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
    /// Which queue is next.
    pub order: Order,
    /// Before this nothing is counted.
    pub warmup: Duration,
    /// After warm-up, how long requests are made.
    pub duration: Duration,
}

/// A broker's queues, and how they take turns. Places count the queues of all its topics in order.
struct Broker {
    /// First place behind each topic's queues, and the topic's template.
    topics: Vec<(u64, usize)>,
    queues: u64,
    next: u64,
}

impl Broker {
    /// Template and queue id at a place.
    fn queue_at(&self, place: u64) -> (usize, u32) {
        let index = self.topics.partition_point(|(end, _)| *end <= place);
        let first = if index == 0 { 0 } else { self.topics[index - 1].0 };
        (self.topics[index].1, u32::try_from(place - first).expect("a topic has fewer queues"))
    }
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
    brokers: Vec<Broker>,
    connections: Connections,
    /// `in_flight` slots per connection; a slot's opaque is its index.
    slots: Vec<Slot>,
    /// State of the choice of queues.
    random: u64,
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
        let mut brokers: Vec<Broker> = Vec::new();
        brokers.resize_with(plan.brokers.len(), || Broker { topics: Vec::new(), queues: 0, next: 0 });
        for (index, template) in templates.iter().enumerate() {
            let broker = &mut brokers[template.broker];
            broker.queues += u64::from(template.queues);
            broker.topics.push((broker.queues, index));
        }
        assert!(brokers.iter().all(|broker| broker.queues > 0), "every broker has a queue to send to");
        let broker_of = (0..plan.connections).map(|index| index % plan.brokers.len());
        let connections = Connections::new(OWNER, plan.brokers.clone(), broker_of);
        let slots = vec![Slot { due: None, messages: 0 }; plan.connections * plan.in_flight];
        Self {
            clock,
            templates,
            brokers,
            connections,
            random: plan.first_number,
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
        for index in 0..self.connections.count() {
            self.connections.open(io, index);
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
        if let Some(index) = self.connections.on_connected(io, token, result) {
            let first = (index * self.plan.in_flight) as u32;
            self.free.extend(first..first + self.plan.in_flight as u32);
            // The clock of a closed or open loop starts with the first connection.
            self.started.get_or_insert(io.now());
            self.fill(io);
        }
    }

    /// A timer with our owner byte.
    pub fn on_timer(&mut self, io: &mut dyn Io, token: Token) {
        if self.connections.on_timer(io, token) == Some(TIMER_PACE) {
            self.pace_armed = false;
            self.fill(io);
        }
    }

    /// Whether `connection` is one of ours; its index if so.
    #[must_use]
    pub fn index_of(&self, connection: ConnectionId) -> Option<usize> {
        self.connections.index_of(connection)
    }

    /// Bytes for the connection with that index.
    pub fn on_received(&mut self, io: &mut dyn Io, index: usize, bytes: &[u8]) {
        let now = io.now();
        feed(
            self,
            io,
            |side| &mut side.connections,
            index,
            bytes,
            |side, _, frame| side.on_frame(now, frame),
        );
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
        self.connections.on_closed(io, index);
    }

    fn on_frame(&mut self, now: Monotonic, frame: &[u8]) {
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
        let Some(outbox) = self.connections.outbox(io, index) else { return };
        let broker = &mut self.brokers[self.connections.broker(index)];
        let place = match self.plan.order {
            Order::Turn => {
                broker.next += 1;
                (broker.next - 1) % broker.queues
            }
            Order::Random => random_below(&mut self.random, broker.queues),
        };
        let (template, queue_id) = broker.queue_at(place);
        let template = &mut self.templates[template];
        let number = self.plan.first_number + self.messages_started;
        let opaque = OPAQUE_FIRST + slot as i32;
        template.write(outbox.tail(), opaque, queue_id, self.clock.wall_us(due), number);
        self.messages_started += template.messages as u64;
        self.slots[slot as usize] = Slot { due: Some(due), messages: template.messages as u32 };
        self.outstanding += 1;
    }
}

/// A number below `bound`, from a splitmix sequence: evenly enough, the same in every run.
fn random_below(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((u128::from(mixed ^ (mixed >> 31)) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_cover_every_queue_of_every_topic() {
        let broker = Broker { topics: vec![(2, 5), (3, 1), (7, 9)], queues: 7, next: 0 };
        let all: Vec<_> = (0..7).map(|place| broker.queue_at(place)).collect();
        assert_eq!(all, [(5, 0), (5, 1), (1, 0), (9, 0), (9, 1), (9, 2), (9, 3)]);
    }

    #[test]
    fn random_places_reach_every_queue() {
        let (mut state, mut hits) = (1, [0; 10]);
        for _ in 0..10_000 {
            hits[usize::try_from(random_below(&mut state, 10)).expect("below ten")] += 1;
        }
        assert!(hits.iter().all(|n| (800..1_200).contains(n)), "{hits:?}");
    }
}
