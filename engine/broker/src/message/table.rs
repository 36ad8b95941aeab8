//! Topics, groups and online consumers as data shards see them: immutable, shared by reference, one writer (coordination).

use std::sync::Arc;

use ringmq_reactor::ShardId;
use rustc_hash::FxHashMap;

use crate::filter::Expression;

/// Which data shard owns a queue.
///
/// Depends on nothing but names and the number of shards, which is fixed when a store is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueOwner {
    shards: u16,
}

impl QueueOwner {
    /// For a broker of `shards` data shards.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        assert!(shards > 0, "a broker has at least one data shard");
        Self { shards }
    }

    /// Number of data shards; the coordination shard's id.
    #[must_use]
    pub fn shards(self) -> u16 {
        self.shards
    }

    /// The coordination shard.
    #[must_use]
    pub fn coordination(self) -> ShardId {
        ShardId(self.shards)
    }

    /// Owner of a queue: `(crc32(topic) + queueId) mod shards`. A negative queue id counts as 0.
    #[must_use]
    pub fn of(self, topic: &str, queue_id: i32) -> ShardId {
        let shards = u64::from(self.shards);
        if shards == 1 {
            return ShardId(0);
        }
        let sum = u64::from(crc32fast::hash(topic.as_bytes())) + u64::try_from(queue_id).unwrap_or(0);
        ShardId(u16::try_from(sum % shards).expect("below a u16"))
    }
}

/// `perm` bits of a topic, group of queues or broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Perm(pub i32);

impl Perm {
    const READ: i32 = 4;
    const WRITE: i32 = 2;

    /// Consumers may read.
    #[must_use]
    pub fn readable(self) -> bool {
        self.0 & Self::READ != 0
    }

    /// Producers may write.
    #[must_use]
    pub fn writable(self) -> bool {
        self.0 & Self::WRITE != 0
    }
}

/// What the data plane needs of a topic's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Queues that consumers see.
    pub read_queues: i32,
    /// Queues that producers see.
    pub write_queues: i32,
    /// Permissions.
    pub perm: Perm,
    /// `topicSysFlag`.
    pub sys_flag: i32,
    /// Declared ordered.
    pub order: bool,
    /// `cleanup.policy=COMPACTION`: every message needs a key.
    pub compaction: bool,
}

/// A topic's new state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicChange {
    /// The topic.
    pub name: Arc<str>,
    /// `None`: deleted.
    pub topic: Option<Arc<Topic>>,
}

/// What the data plane needs of a consumer group's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// `consumeEnable`.
    pub consume_enable: bool,
    /// `consumeBroadcastEnable`.
    pub consume_broadcast_enable: bool,
    /// `retryQueueNums`.
    pub retry_queues: i32,
    /// `retryMaxTimes`.
    pub retry_max_times: i32,
    /// `brokerId` suggested to consumers (`slaveReadEnable`).
    pub broker_id: i64,
    /// `whichBrokerWhenConsumeSlowly` (`slaveReadEnable`).
    pub broker_id_when_slow: i64,
    /// `groupSysFlag`.
    pub sys_flag: i32,
    /// Topics that the group must not read (`forbiddenTable`).
    pub forbidden_topics: Box<[Box<str>]>,
}

/// A group's new state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupChange {
    /// The group.
    pub name: Arc<str>,
    /// `None`: deleted.
    pub group: Option<Arc<Group>>,
}

/// How a group's members share messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsumeModel {
    /// Each message to one member.
    Clustering,
    /// Each message to every member.
    Broadcasting,
}

/// The online consumers of a group, as far as pulls without a subscription of their own need to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnlineGroup {
    /// How they share messages.
    pub model: ConsumeModel,
    /// By topic.
    pub subscriptions: FxHashMap<Arc<str>, Arc<Subscription>>,
}

/// What a group wants of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Version given by the client, ms.
    pub version: i64,
    /// Language of the expression.
    pub expression: ExpressionKind,
    /// Java hash codes of the wanted tags; empty: all messages.
    pub tag_codes: Box<[i32]>,
    /// What was made of an expression on properties. It has a version of its own; `None`: it could not be compiled.
    pub filter: Option<PropertyFilter>,
}

/// A compiled expression of a group for a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PropertyFilter {
    /// Version of the newest subscription with this expression, ms.
    pub version: i64,
    /// Compiled once, for all shards.
    pub expression: Arc<Expression>,
}

/// Language of a subscription's expression.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpressionKind {
    /// Tags joined by `||`, or `*`.
    Tag,
    /// SQL92 or another language that needs message properties.
    Properties,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_topic_spread_evenly_and_stay_where_they_are() {
        let owner = QueueOwner::new(3);
        let first = owner.of("TopicTest", 0).0;
        let owners: Vec<u16> = (0..6).map(|queue| owner.of("TopicTest", queue).0).collect();
        let expected: Vec<u16> = (0..6).map(|queue| (first + queue) % 3).collect();
        assert_eq!(owners, expected);
        assert_eq!(owner.of("TopicTest", -1), owner.of("TopicTest", 0));
        assert_eq!(owner.coordination(), ShardId(3));
    }
}
