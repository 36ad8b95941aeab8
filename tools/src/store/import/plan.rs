//! What becomes of each record of an Apache log.

use std::collections::BTreeMap;

use ringmq_broker::message::QueueOwner;
use ringmq_reactor::ShardId;
use ringmq_remoting::record::properties::{self, name};
use ringmq_remoting::record::{RecordView, sys_flag};
use ringmq_store::inspect::is_indexed;
use rustc_hash::{FxHashMap, FxHashSet};

use super::consume_queue::ConsumeQueues;

/// Where delayed messages are parked.
pub(super) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Topics in which Apache keeps state of its own (timer wheel, pop check points, …).
const OWN_PREFIX: &str = "rmq_sys_";
/// Half messages and what became of them: 4.x has no entry for these topics in topics.json.
const TRANSACTION_PREFIX: &str = "RMQ_SYS_TRANS_";

/// Why a record is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skip {
    TopicDeleted,
    QueueDeleted,
    EarlierLife,
    BeforeGap,
    Delivered,
    NoQueue,
    InnerBatch,
    OwnState,
}

impl Skip {
    pub fn text(self) -> &'static str {
        match self {
            Self::TopicDeleted => "of topics that topics.json does not have: they were deleted",
            Self::QueueDeleted => "of queues that have no consume queue: they were deleted",
            Self::EarlierLife => "of topics that were deleted and made again, from before that",
            Self::BeforeGap => "before a gap in their queue (--allow-gaps)",
            Self::Delivered => "delayed messages that were delivered: the delivered copy is imported",
            Self::NoQueue => {
                "prepared or rolled-back halves of transactions without a place in a queue (4.2 and older)"
            }
            Self::InnerBatch => "inner batches of BatchCQ topics, which RingMQ does not have",
            Self::OwnState => {
                "in Apache's own rmq_sys_ topics (timed messages still waiting, pop check points, traces): not carried over"
            }
        }
    }
}

/// What is known beforehand.
pub(super) struct Facts {
    /// Names in topics.json; `None`: there is no such file.
    pub topics: Option<FxHashSet<String>>,
    pub consume_queues: ConsumeQueues,
    /// The broker was stopped in order: consume queues are as far as the log.
    pub orderly: bool,
    /// Delay level → next offset to deliver.
    pub delay_offsets: BTreeMap<i32, i64>,
    pub owner: QueueOwner,
}

/// The part of a queue that is imported: the newest stretch without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Physical offset of its first message in Apache's log.
    from: u64,
    pub first: i64,
    pub next: i64,
    /// Why what lies before is left out.
    before: Skip,
}

/// A queue whose offsets jump forward: messages are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub topic: String,
    pub queue_id: i32,
    pub expected: i64,
    pub found: i64,
}

/// Where a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub shard: ShardId,
    pub queue_offset: i64,
}

/// Made by the first pass over the log, asked by the second.
pub(super) struct Plan {
    facts: Facts,
    queues: FxHashMap<String, BTreeMap<i32, Stretch>>,
    pub gaps: Vec<Gap>,
    /// Parked messages are numbered anew, for each shard and level from Apache's progress on: RingMQ parks them beside
    /// their real queue.
    parked: FxHashMap<(u16, i32), i64>,
}

impl Plan {
    pub fn new(facts: Facts) -> Self {
        Self { facts, queues: FxHashMap::default(), gaps: Vec::new(), parked: FxHashMap::default() }
    }

    /// First pass.
    pub fn note(&mut self, record: &RecordView<'_>, physical: u64) {
        if self.skip(record, physical).is_some() || record.topic() == SCHEDULE_TOPIC {
            return;
        }
        let (topic, queue_id, found) = (record.topic(), record.queue_id(), record.queue_offset());
        if !self.queues.contains_key(topic) {
            self.queues.insert(topic.to_owned(), BTreeMap::new());
        }
        let queues = self.queues.get_mut(topic).expect("just made");
        let fresh = |before| Stretch { from: physical, first: found, next: found + 1, before };
        match queues.get_mut(&queue_id) {
            None => {
                queues.insert(queue_id, fresh(Skip::EarlierLife));
            }
            Some(stretch) if stretch.next == found => stretch.next += 1,
            // Back to a smaller offset: the topic was deleted and made again.
            Some(stretch) if found < stretch.next => *stretch = fresh(Skip::EarlierLife),
            Some(stretch) => {
                let topic = topic.to_owned();
                self.gaps.push(Gap { topic, queue_id, expected: stretch.next, found });
                *stretch = fresh(Skip::BeforeGap);
            }
        }
    }

    /// Second pass.
    pub fn place(&mut self, record: &RecordView<'_>, physical: u64) -> Result<Place, Skip> {
        if let Some(skip) = self.skip(record, physical) {
            return Err(skip);
        }
        let (topic, queue_id) = (record.topic(), record.queue_id());
        if topic == SCHEDULE_TOPIC {
            return Ok(self.park(record));
        }
        let stretch = self.queues[topic][&queue_id];
        if physical < stretch.from {
            return Err(stretch.before);
        }
        Ok(Place { shard: self.facts.owner.of(topic, queue_id), queue_offset: record.queue_offset() })
    }

    /// Queues that exist and have no message left: (topic, queue, next offset).
    pub fn empty_queues(&self) -> Vec<(String, i32, i64)> {
        let known = |topic: &str, queue: i32| self.queues.get(topic).is_some_and(|q| q.contains_key(&queue));
        let mut empty: Vec<_> = self
            .facts
            .consume_queues
            .iter()
            .flatten()
            .filter(|((topic, queue), consume)| {
                consume.max_offset > 0
                    && topic != SCHEDULE_TOPIC
                    && !self.is_left_out(topic)
                    && !known(topic, *queue)
            })
            .map(|((topic, queue), consume)| (topic.clone(), *queue, consume.max_offset))
            .collect();
        empty.sort();
        empty
    }

    pub fn shard_of(&self, topic: &str, queue_id: i32) -> ShardId {
        self.facts.owner.of(topic, queue_id)
    }

    pub fn queue_count(&self) -> usize {
        self.queues.values().map(BTreeMap::len).sum()
    }

    fn is_left_out(&self, topic: &str) -> bool {
        let is_unknown = self.facts.topics.as_ref().is_some_and(|topics| !topics.contains(topic));
        topic.starts_with(OWN_PREFIX) || (is_unknown && !topic.starts_with(TRANSACTION_PREFIX))
    }

    /// What can be said without the rest of the queue.
    fn skip(&self, record: &RecordView<'_>, physical: u64) -> Option<Skip> {
        let topic = record.topic();
        if topic.starts_with(OWN_PREFIX) {
            return Some(Skip::OwnState);
        }
        if !is_indexed(record.sys_flag()) {
            return Some(Skip::NoQueue);
        }
        if record.sys_flag() & sys_flag::INNER_BATCH != 0 {
            return Some(Skip::InnerBatch);
        }
        if topic == SCHEDULE_TOPIC {
            let done = self.facts.delay_offsets.get(&(record.queue_id() + 1)).copied().unwrap_or(0);
            return (record.queue_offset() < done).then_some(Skip::Delivered);
        }
        if self.is_left_out(topic) {
            return Some(Skip::TopicDeleted);
        }
        let Some(queues) = &self.facts.consume_queues else { return None };
        match queues.get(&(topic.to_owned(), record.queue_id())) {
            // After a crash the consume queue of a new queue may be missing still.
            None => self.facts.orderly.then_some(Skip::QueueDeleted),
            Some(queue) => (physical < queue.first_physical).then_some(Skip::EarlierLife),
        }
    }

    fn park(&mut self, record: &RecordView<'_>) -> Place {
        let text = record.properties();
        let topic = properties::get(&text, name::REAL_TOPIC).unwrap_or(SCHEDULE_TOPIC);
        let queue = properties::get(&text, name::REAL_QUEUE_ID).and_then(|id| id.parse().ok()).unwrap_or(0);
        let shard = self.facts.owner.of(topic, queue);
        let level = record.queue_id() + 1;
        let first = self.facts.delay_offsets.get(&level).copied().unwrap_or(0);
        let next = self.parked.entry((shard.0, level)).or_insert(first);
        *next += 1;
        Place { shard, queue_offset: *next - 1 }
    }
}
