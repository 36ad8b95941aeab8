//! The end of a walk: a pop comes home, and is answered, held, or walks again. And what wakes the held ones.

use std::time::Duration;

use ringmq_reactor::{ConnectionId, Monotonic, ShardId};
use ringmq_remoting::FieldValue;
use ringmq_remoting::code::response;

use super::super::plane::Plane;
use super::super::wire::{Answer, Wire};
use super::held::PopArrival;
use super::{Found, Pop, Purpose, Stage};
use crate::message::ShardMessage;

/// Why a pop without messages is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// Its time is over, or it does not wait.
    TimedOut,
    /// As many wait as may.
    Full,
}

impl Plane {
    /// A pop is at home and has nowhere else to go.
    pub(super) fn finish_pop(&mut self, wire: &mut Wire<'_>, pop: Box<Pop>) {
        if pop.found.count > 0 || pop.found.has_message {
            self.pops.running.end(&pop);
            // A full pop has not seen every queue.
            if pop.found.rest > 0 || pop.is_full() {
                self.pops.held.wake_next(&pop.topic, &pop.group, &mut self.pops.woken);
            }
            return self.answer_pop(wire, *pop);
        }
        if let Some((code, remark)) = &pop.refusal {
            self.pops.running.end(&pop);
            return wire.refuse(&pop.caller, *code, remark);
        }
        let now = wire.io.now();
        let deadline = pop.hold_until.filter(|&until| until > now && !self.draining);
        let Some(deadline) = deadline else { return self.answer_empty(wire, &pop, Empty::TimedOut) };
        if self.pops.running.count(&pop) != pop.arrivals {
            return self.walk_pop(wire, pop);
        }
        if pop.found.scanned_in_vain {
            // Goes on with the next turn: others want to be served, too.
            return self.pops.held.hold(pop, now);
        }
        let held = &self.pops.held;
        let config = &self.config;
        let of_key = held.count(&pop.topic, &pop.group, pop.queue_id);
        let is_full = |count: usize, limit: u64| u64::try_from(count).is_ok_and(|count| count >= limit);
        if is_full(held.len(), config.max_pop_polling_size)
            || is_full(of_key, config.pop_polling_size)
            || of_key == 0 && is_full(held.keys(), config.pop_polling_map_size)
        {
            return self.answer_empty(wire, &pop, Empty::Full);
        }
        self.pops.held.hold(pop, deadline);
    }

    /// The log that a pop wrote to has failed.
    pub(crate) fn fail_pop(&mut self, wire: &mut Wire<'_>, mut pop: Box<Pop>, code: i32, remark: &str) {
        // What it has taken here is not in the log: nobody must hear of it.
        pop.found = Found::default();
        pop.refusal = Some((code, remark.to_owned()));
        pop.stage = Stage::Home;
        self.advance_pop(wire, pop);
    }

    /// When pops next have something to do, in reactor time.
    pub(crate) fn next_pop_work(&self, now: Monotonic, wall_ms: u64) -> Option<Monotonic> {
        if self.pops.journal.is_busy() || !self.pops.woken.is_empty() {
            return Some(now);
        }
        let due = self.next_revival_ms().filter(|_| !self.draining).map(|due_ms| {
            let due_ms = u64::try_from(due_ms).unwrap_or(0);
            now + Duration::from_millis(due_ms.saturating_sub(wall_ms))
        });
        [due, self.pops.held.next_deadline()].into_iter().flatten().min()
    }

    fn answer_empty(&mut self, wire: &mut Wire<'_>, pop: &Pop, why: Empty) {
        self.pops.running.end(pop);
        if pop.purpose == Purpose::Notify {
            return answer_notification(wire, pop, false, why == Empty::Full);
        }
        let code = match why {
            _ if pop.purpose == Purpose::Peek => response::PULL_NOT_FOUND,
            Empty::TimedOut => response::POLLING_TIMEOUT,
            Empty::Full => response::POLLING_FULL,
        };
        self.answer_with(wire, pop, code, "NO_MESSAGE_IN_QUEUE", Vec::new());
    }

    fn answer_pop(&mut self, wire: &mut Wire<'_>, mut pop: Pop) {
        if pop.purpose == Purpose::Notify {
            return answer_notification(wire, &pop, true, false);
        }
        let body = std::mem::take(&mut pop.found.records);
        self.answer_with(wire, &pop, response::SUCCESS, "FOUND", body);
    }

    /// The header is whole whatever the code: clients read it before they look at the code.
    fn answer_with(&self, wire: &mut Wire<'_>, pop: &Pop, code: i32, remark: &str, body: Vec<bytes::Bytes>) {
        let info = &pop.found.info;
        let fields = [
            ("invisibleTime", FieldValue::Int(pop.invisible_time)),
            ("msgOffsetInfo", FieldValue::Str(&info.offsets)),
            ("popTime", FieldValue::Int(pop.pop_time)),
            ("restNum", FieldValue::Int(pop.found.rest)),
            ("reviveQid", FieldValue::Int(self.revive_queue_id(pop.order).into())),
            ("startOffsetInfo", FieldValue::Str(&info.start_offsets)),
            ("orderCountInfo", FieldValue::Str(&info.order_counts)),
        ];
        let fields = if pop.order { &fields[..] } else { &fields[..fields.len() - 1] };
        wire.answer(&pop.caller, Answer { code, remark: Some(remark), fields, body });
    }

    /// Mail from the owner of a queue: something can be popped.
    pub(crate) fn pop_arrivals(&mut self, arrivals: &[PopArrival]) {
        for arrival in arrivals {
            self.pop_arrived(arrival);
        }
    }

    /// Something can be popped: wakes who waits for it, at the end of the turn.
    pub(crate) fn pop_arrived(&mut self, arrival: &PopArrival) {
        if self.pops.running.arrived(&arrival.topic) {
            self.pops.held.wake(arrival, &mut self.pops.woken);
        }
    }

    /// A message became visible in a queue of this shard.
    pub(crate) fn message_arrived(&mut self, arrival: &ringmq_store::Arrival, now: Monotonic) {
        let ringmq_store::Arrival { topic, queue_id, tags_code, .. } = arrival;
        if !self.pops.watches.is_empty() {
            self.pops.watches.arrived(topic, *queue_id, *tags_code, now);
        }
        if !self.pops.running.is_empty() {
            let (topic, tags_code) = (std::sync::Arc::clone(topic), Some(*tags_code));
            self.pop_arrived(&PopArrival { topic, group: None, queue_id: *queue_id, tags_code });
        }
    }

    /// A queue that a group consumes in order can be popped again.
    pub(super) fn order_unlocked(
        &mut self,
        group: &std::sync::Arc<str>,
        topic: &std::sync::Arc<str>,
        queue_id: i32,
    ) {
        let arrival = PopArrival {
            topic: std::sync::Arc::clone(topic),
            group: Some(std::sync::Arc::clone(group)),
            queue_id,
            tags_code: None,
        };
        let home = self.owner.of(&self.pop_retry_topic(group, topic), 0);
        if home == self.me {
            self.pop_arrived(&arrival);
        } else {
            self.pops.watches.tell(home, arrival);
        }
    }

    /// End of a turn: pops that were woken or whose time is over walk again, and other homes hear of arrivals.
    pub(crate) fn wake_pops(&mut self, wire: &mut Wire<'_>) {
        let now = wire.io.now();
        let mut woken = std::mem::take(&mut self.pops.woken);
        let limit = if self.draining { Monotonic(u64::MAX) } else { now };
        self.pops.held.take_due(limit, &mut woken);
        for mut pop in woken.drain(..) {
            if pop.hold_until.is_some_and(|until| until <= now) {
                pop.hold_until = None;
            }
            self.walk_pop(wire, pop);
        }
        // What was woken meanwhile waits for the next turn.
        woken.append(&mut self.pops.woken);
        self.pops.woken = woken;
        for (home, arrivals) in self.pops.watches.take_pending() {
            wire.post.mail(wire.io, home, ShardMessage::PopArrivals(arrivals));
        }
    }

    /// A topic is gone: nobody waits for it any more.
    pub(super) fn answer_held_pops(&mut self, wire: &mut Wire<'_>, topic: &str) {
        let mut held = Vec::new();
        self.pops.held.take_topic(topic, &mut held);
        for pop in held {
            self.answer_empty(wire, &pop, Empty::TimedOut);
        }
    }

    /// A connection has ended: its pops would take messages for nobody.
    pub(crate) fn drop_pops(&mut self, shard: ShardId, connection: ConnectionId) {
        for pop in self.pops.held.drop_connection(shard, connection) {
            self.pops.running.end(&pop);
        }
    }
}

fn answer_notification(wire: &mut Wire<'_>, pop: &Pop, has_message: bool, is_full: bool) {
    let fields = [("hasMsg", FieldValue::Bool(has_message)), ("pollingFull", FieldValue::Bool(is_full))];
    wire.answer(&pop.caller, Answer::success(&fields));
}
