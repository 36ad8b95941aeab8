//! Questions to all data shards, and the parts of their answers.

use std::sync::Arc;

use bytes::Bytes;
use ringmq_store::{KeyIndexEnd, KeyMatch, KeyQuery, PhysicalOffset};

/// Asked of every data shard; each answers for the queues it owns.
#[derive(Clone, PartialEq, Debug)]
pub enum Question {
    /// Bounds of a topic's queues. → [`Answer::TopicStats`]
    TopicStats {
        /// The topic.
        topic: Arc<str>,
    },
    /// Progress of a group in the given topics. → [`Answer::ConsumeStats`]
    ConsumeStats {
        /// The group.
        group: Arc<str>,
        /// Topics to report; `None`: every topic for which the group has an offset.
        topics: Option<Vec<Arc<str>>>,
    },
    /// Where a group stands in time, per queue. → [`Answer::ConsumeSpans`]
    ConsumeSpans {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
    },
    /// Remove segments past their time, whatever the hour. → [`Answer::Done`], when that has begun.
    CleanExpired,
    /// The newest messages with a key. → [`Answer::Keyed`]
    Keyed(Arc<KeyQuery>),
    /// One record of the log. → [`Answer::Record`]
    Record(PhysicalOffset),
    /// Counters and gauges. → [`Answer::Runtime`]
    Runtime,
    /// One item of the broker statistics (code 315). → [`Answer::Stats`]
    Stats {
        /// `statsName`.
        name: String,
        /// `statsKey`.
        key: String,
    },
    /// Committed offsets of a group (in memory at the owner, hence newer than what is persisted). → [`Answer::Offsets`]
    GroupOffsets {
        /// The group.
        group: Arc<str>,
        /// Only of this topic.
        topic: Option<Arc<str>>,
    },
    /// Committed offsets of all groups in a topic. → [`Answer::Offsets`]
    TopicOffsets {
        /// The topic.
        topic: Arc<str>,
    },
    /// Where a reset would move a group in the topic's queues that can be written to; moves nothing. → [`Answer::Offsets`]
    ResetTargets {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// Where to.
        target: ResetTarget,
    },
    /// Groups that have offsets in a topic. → [`Answer::Groups`]
    TopicGroups {
        /// The topic.
        topic: Arc<str>,
    },
    /// Forget a topic: queues, offsets, held pulls. Sent after the deletion of the topic itself was mailed. → [`Answer::Done`].
    /// The answer follows every offset commit of that topic, so the persisted ones can be dropped when it is there.
    DeleteTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// Forget a group's offsets. → [`Answer::Done`], in the same order.
    DeleteGroupOffsets {
        /// The group.
        group: Arc<str>,
    },
    /// Move a group's offsets; until its next pull of a queue, commits to that queue are ignored. → [`Answer::Offsets`] with
    /// the new values.
    ResetOffsets {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// One queue, or all.
        queue_id: Option<i32>,
        /// Where to.
        target: ResetTarget,
        /// False: only backwards.
        force: bool,
    },
    /// Copy offsets of one group to another. → [`Answer::Done`]
    CloneOffsets {
        /// From.
        from: Arc<str>,
        /// To.
        to: Arc<str>,
        /// Only of this topic; `None`: all.
        topic: Option<Arc<str>>,
    },
}

/// Where to reset offsets to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetTarget {
    /// This offset; refused (left out of the answer) outside `[min, max + 1]`.
    Offset(i64),
    /// First message stored at or after this time, ms.
    Time(i64),
    /// The end of the queue.
    Max,
}

/// One shard's share of an answer. An empty list means that it owns nothing of what was asked for.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// See [`Question::TopicStats`].
    TopicStats(Vec<QueueStats>),
    /// See [`Question::ConsumeStats`]; and messages per second that the group got from this shard.
    ConsumeStats {
        /// Per queue.
        queues: Vec<ConsumeQueueStats>,
        /// Messages per second, average of the last minute.
        tps: f64,
    },
    /// See [`Question::ConsumeSpans`].
    ConsumeSpans(Vec<ConsumeSpan>),
    /// See [`Question::Keyed`].
    Keyed(Result<KeyedMessages, String>),
    /// See [`Question::Record`]; `None`: there is none in this shard's log. The error: why it cannot be read.
    Record(Result<Option<Bytes>, String>),
    /// See [`Question::Runtime`].
    Runtime(Box<ShardRuntime>),
    /// See [`Question::Stats`]; `None`: never counted here.
    Stats(Option<StatsItem>),
    /// See [`Question::GroupOffsets`], [`Question::TopicOffsets`], [`Question::ResetTargets`], [`Question::ResetOffsets`].
    Offsets(Vec<QueueOffset>),
    /// See [`Question::TopicGroups`].
    Groups(Vec<Arc<str>>),
    /// Done.
    Done,
}

/// Messages of one shard that have a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedMessages {
    /// Newest first.
    pub matches: Vec<KeyMatch>,
    /// How far this shard's keys are indexed.
    pub end: KeyIndexEnd,
}

/// A group's offset in a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueOffset {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The queue.
    pub queue_id: i32,
    /// Next offset to consume.
    pub offset: i64,
}

/// Bounds of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueStats {
    /// The queue.
    pub queue_id: i32,
    /// First offset.
    pub min_offset: i64,
    /// One past the last offset.
    pub max_offset: i64,
    /// Store time of the newest message, ms; 0 if there is none.
    pub last_update_ms: i64,
}

/// A group's progress in a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumeQueueStats {
    /// The topic.
    pub topic: Arc<str>,
    /// The queue.
    pub queue_id: i32,
    /// One past the queue's last offset.
    pub broker_offset: i64,
    /// Committed offset; 0 if there is none.
    pub consumer_offset: i64,
    /// Where the last pull ended, if that is behind `consumer_offset`; else that.
    pub pull_offset: i64,
    /// Store time of the message before `consumer_offset`, ms; 0 if there is none.
    pub last_timestamp_ms: i64,
}

/// A group's position in a queue, in time. All ms; -1 where there is no message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumeSpan {
    /// The queue.
    pub queue_id: i32,
    /// Store time of the oldest message.
    pub min_ms: i64,
    /// Store time of the newest message.
    pub max_ms: i64,
    /// Store time of the message before the committed offset (`min_ms` if none).
    pub consumed_ms: i64,
    /// Age of the first message that is not consumed; 0 if all are.
    pub delay_ms: i64,
}

/// Events per second, averages.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// Over the last 10 s.
    pub last_10s: f64,
    /// Over the last minute.
    pub last_1m: f64,
    /// Over the last 10 minutes.
    pub last_10m: f64,
}

/// Latencies of stored messages, request to acknowledgement.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PutLatency {
    /// Messages per bucket of [`PutLatency::BOUNDS_MS`]; the last counts all above.
    pub counts: [u64; 13],
    /// The longest, ms.
    pub max_ms: u64,
}

impl PutLatency {
    /// Inclusive upper bounds of all buckets but the last, ms: `<=0`, `0~10`, `10~50` … `5~10 s`.
    pub const BOUNDS_MS: [u64; 12] = [0, 10, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000];
}

/// One level's state on one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DelayLevelProgress {
    /// From 1.
    pub level: i32,
    /// Next parked message to deliver.
    pub offset: i64,
    /// End of the parking queue.
    pub max_offset: i64,
}

/// Counters (since start) and gauges of one data shard.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ShardRuntime {
    /// Messages stored.
    pub put_messages: u64,
    /// Bytes of records stored.
    pub put_bytes: u64,
    /// Messages refused by the store.
    pub put_failed: u64,
    /// Messages handed out.
    pub get_messages: u64,
    /// Stored messages per second.
    pub put_rates: Rates,
    /// Pulls that found messages, per second.
    pub get_found_rates: Rates,
    /// Pulls that found none, per second.
    pub get_miss_rates: Rates,
    /// Messages handed out, per second.
    pub get_transferred_rates: Rates,
    /// Latency of stored messages.
    pub put_latency: PutLatency,
    /// The slowest read, ms.
    pub get_max_ms: u64,
    /// Start of the log, bytes.
    pub log_min: u64,
    /// End of the log, bytes.
    pub log_max: u64,
    /// End of what is on stable media, bytes.
    pub log_durable: u64,
    /// Store time of the oldest message, ms.
    pub earliest_store_ms: Option<i64>,
    /// Client connections.
    pub connections: usize,
    /// Pulls that wait for a message.
    pub held_pulls: usize,
    /// Sends that wait for their acknowledgement.
    pub pending_sends: usize,
    /// How long the oldest of them has waited, ms.
    pub pending_send_oldest_ms: u64,
    /// Delay levels with anything ever parked.
    pub delay: Vec<DelayLevelProgress>,
    /// The tail cache outlives a killed broker.
    pub tail_outlives_process: bool,
    /// Appended and not yet written to disk, bytes.
    pub unwritten_bytes: u64,
    /// Why the log refuses to write, if it does.
    pub poisoned: Option<String>,
}

/// A statistics item (code 315).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct StatsItem {
    /// The last minute.
    pub minute: StatsPeriod,
    /// The last hour.
    pub hour: StatsPeriod,
    /// The last day.
    pub day: StatsPeriod,
}

/// Sums of a period.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct StatsPeriod {
    /// Sum of the values.
    pub sum: u64,
    /// Number of times a value was added.
    pub times: u64,
    /// Length of the period as far as it was observed, ms.
    pub millis: u64,
}
