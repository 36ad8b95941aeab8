//! What this shard knows of popped messages: where each group stands in each queue, and what is in flight.
//!
//! A state machine without I/O. It changes by [`Op`]s only, and each of them is in the log before it is applied here
//! ([`super::journal`]): reading the same operations again gives the same state, which is how it comes back after a crash.
//!
//! A message is in flight from its pop until it is acknowledged, or until a copy of it is safe in the group's pop retry topic. A delivery
//! is named by the message's offset and the pop time, which is in its receipt handle: of two deliveries of one message only the
//! newer one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::op::{Delivery, Op};
use super::order::OrderBatch;

/// A queue as a group pops it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
}

/// Number of a queue in the table; never used twice in a life of the process.
pub(crate) type PopQueueId = u64;

/// A message in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
    /// Of the newest delivery, wall clock ms.
    pub(crate) pop_time: i64,
    /// End of its invisible time, wall clock ms.
    pub(crate) visible_at: i64,
    /// Its invisible time is over, and a copy is on its way to the retry topic: acknowledgements come too late.
    pub(crate) reviving: bool,
}

/// A group in a queue.
#[derive(Debug)]
pub(crate) struct PopQueue {
    pub(crate) key: QueueKey,
    /// Next offset to pop; of an ordered group the first one that is not acknowledged.
    pub(crate) next: i64,
    pub(crate) in_flight: BTreeMap<i64, InFlight>,
    /// What was popped in order last.
    pub(crate) order: Option<OrderBatch>,
    /// Its place in the due list, if the ordered batch has one.
    unlock_at: Option<i64>,
    /// When it last changed, wall clock ms.
    pub(crate) touched_ms: i64,
}

impl PopQueue {
    /// Nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.order.as_ref().is_none_or(OrderBatch::is_done)
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A message's invisible time is over.
    Message { queue: PopQueueId, offset: i64, pop_time: i64 },
    /// An ordered batch no longer blocks its queue.
    Unlocked { queue: PopQueueId },
}

/// Stands for the ordered batch among the offsets of the due list.
const BATCH: i64 = -1;

/// topic → queue.
type Topics = FxHashMap<Arc<str>, FxHashMap<i32, PopQueueId>>;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct PopTable {
    /// Sorted, so that a walk can be interrupted.
    queues: BTreeMap<PopQueueId, PopQueue>,
    next_id: PopQueueId,
    /// group → topic → queue.
    by_key: FxHashMap<Arc<str>, Topics>,
    due: BTreeSet<(i64, PopQueueId, i64)>,
    in_flight: usize,
}

impl PopTable {
    /// Messages in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Queues that are known.
    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(crate) fn find(&self, group: &str, topic: &str, queue_id: i32) -> Option<&PopQueue> {
        let id = self.by_key.get(group)?.get(topic)?.get(&queue_id)?;
        self.queues.get(id)
    }

    pub(crate) fn get(&self, queue: PopQueueId) -> Option<&PopQueue> {
        self.queues.get(&queue)
    }

    /// Queues from this one on, in order of their numbers.
    pub(crate) fn from(&self, queue: PopQueueId) -> impl Iterator<Item = (PopQueueId, &PopQueue)> {
        self.queues.range(queue..).map(|(id, queue)| (*id, queue))
    }

    /// The keys of all queues of a topic or of a group.
    pub(crate) fn keys(&self, matches: impl Fn(&QueueKey) -> bool) -> Vec<QueueKey> {
        self.queues.values().map(|queue| &queue.key).filter(|key| matches(key)).cloned().collect()
    }

    /// The delivery that a receipt handle names, if it is still in flight and not being revived.
    pub(crate) fn delivery(&self, key: &QueueKey, offset: i64, pop_time: i64) -> Option<InFlight> {
        let queue = self.find(&key.group, &key.topic, key.queue_id)?;
        let found = queue.in_flight.get(&offset)?;
        (found.pop_time == pop_time && !found.reviving).then_some(*found)
    }

    /// Applies an operation that is in the log.
    pub(crate) fn apply(&mut self, op: &Op<'_>, now_ms: i64) {
        match op {
            Op::Taken { key, next, deliveries } => {
                let id = self.find_or_insert(key);
                let queue = self.queues.get_mut(&id).expect("found or inserted");
                (queue.next, queue.touched_ms) = (*next, now_ms);
                for Delivery { offset, pop_time, visible_at } in deliveries.iter().copied() {
                    let taken = InFlight { pop_time, visible_at, reviving: false };
                    match queue.in_flight.insert(offset, taken) {
                        Some(before) => {
                            self.due.remove(&(before.visible_at, id, offset));
                        }
                        None => self.in_flight += 1,
                    }
                    self.due.insert((visible_at, id, offset));
                }
            }
            Op::Done { key, deliveries } => {
                let Some(id) = self.id(key) else { return };
                let queue = self.queues.get_mut(&id).expect("listed");
                queue.touched_ms = now_ms;
                for (offset, pop_time) in deliveries.iter().copied() {
                    if queue.in_flight.get(&offset).is_some_and(|found| found.pop_time == pop_time) {
                        let gone = queue.in_flight.remove(&offset).expect("looked at");
                        self.due.remove(&(gone.visible_at, id, offset));
                        self.in_flight -= 1;
                    }
                }
            }
            Op::Ordered { key, next, batch } => {
                let id = self.find_or_insert(key);
                let queue = self.queues.get_mut(&id).expect("found or inserted");
                (queue.next, queue.touched_ms) = (*next, now_ms);
                if let Some(before) = queue.unlock_at.take() {
                    self.due.remove(&(before, id, BATCH));
                }
                queue.unlock_at = batch.unlock_at();
                if let Some(at) = queue.unlock_at {
                    self.due.insert((at, id, BATCH));
                }
                queue.order = Some((**batch).clone());
            }
            Op::Reset { key, next } => {
                let id = self.find_or_insert(key);
                self.clear(id);
                let queue = self.queues.get_mut(&id).expect("found or inserted");
                (queue.next, queue.touched_ms) = (*next, now_ms);
            }
            Op::Forgotten { key } => {
                if let Some(id) = self.id(key) {
                    self.remove(id);
                }
            }
        }
    }

    /// Raises the next offset of a queue that nothing is known of being in flight beyond: what was skipped, or committed elsewhere.
    pub(crate) fn skip_to(&mut self, key: &QueueKey, next: i64, now_ms: i64) {
        if let Some(id) = self.id(key) {
            let queue = self.queues.get_mut(&id).expect("listed");
            if queue.next < next {
                (queue.next, queue.touched_ms) = (next, now_ms);
            }
        }
    }

    /// When the first thing is due, wall clock ms.
    pub(crate) fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|&(at, ..)| at)
    }

    /// The next thing that is due, once: a message counts as being revived from then on.
    pub(crate) fn take_due(&mut self, now_ms: i64) -> Option<Due> {
        let &(at, id, offset) = self.due.first().filter(|&&(at, ..)| at <= now_ms)?;
        self.due.remove(&(at, id, offset));
        let queue = self.queues.get_mut(&id).expect("what is due is of a queue");
        if offset == BATCH {
            queue.unlock_at = None;
            return Some(Due::Unlocked { queue: id });
        }
        let found = queue.in_flight.get_mut(&offset).expect("what is due is in flight");
        found.reviving = true;
        Some(Due::Message { queue: id, offset, pop_time: found.pop_time })
    }

    /// The revival of a message has to be tried again later.
    pub(crate) fn postpone(&mut self, id: PopQueueId, offset: i64, pop_time: i64, until_ms: i64) {
        let Some(found) = self.queues.get_mut(&id).and_then(|queue| queue.in_flight.get_mut(&offset)) else {
            return;
        };
        if found.reviving && found.pop_time == pop_time {
            // Not visible again: only the next attempt is listed. The time in the log is the true one.
            (found.visible_at, found.reviving) = (until_ms, false);
            self.due.insert((until_ms, id, offset));
        }
    }

    fn id(&self, key: &QueueKey) -> Option<PopQueueId> {
        self.by_key.get(&key.group)?.get(&key.topic)?.get(&key.queue_id).copied()
    }

    fn find_or_insert(&mut self, key: &QueueKey) -> PopQueueId {
        if let Some(id) = self.id(key) {
            return id;
        }
        let id = self.next_id;
        self.next_id += 1;
        let queue = PopQueue {
            key: key.clone(),
            next: 0,
            in_flight: BTreeMap::new(),
            order: None,
            unlock_at: None,
            touched_ms: 0,
        };
        self.queues.insert(id, queue);
        let topics = self.by_key.entry(Arc::clone(&key.group)).or_default();
        topics.entry(Arc::clone(&key.topic)).or_default().insert(key.queue_id, id);
        id
    }

    /// Nothing of the queue is in flight any more.
    fn clear(&mut self, id: PopQueueId) {
        let queue = self.queues.get_mut(&id).expect("known");
        self.in_flight -= queue.in_flight.len();
        for (offset, message) in std::mem::take(&mut queue.in_flight) {
            self.due.remove(&(message.visible_at, id, offset));
        }
        if let Some(at) = queue.unlock_at.take() {
            self.due.remove(&(at, id, BATCH));
        }
        queue.order = None;
    }

    fn remove(&mut self, id: PopQueueId) {
        self.clear(id);
        let QueueKey { group, topic, queue_id } = self.queues.remove(&id).expect("known").key;
        let topics = self.by_key.get_mut(&group).expect("listed");
        let queues = topics.get_mut(&topic).expect("listed");
        queues.remove(&queue_id);
        if queues.is_empty() {
            topics.remove(&topic);
        }
        if topics.is_empty() {
            self.by_key.remove(&group);
        }
    }
}
