//! Limits of what pops may take up on one shard.

/// Messages in flight; about 150 bytes each. Above it queues give nothing until some are acknowledged, as with
/// `popInflightMessageThreshold`, which counts for one group in one queue.
pub(crate) const IN_FLIGHT_MAX: usize = 400_000;
/// Groups in queues that are known, about 400 bytes each: those with something in flight, and those that popped within
/// [`FORGET_AFTER_MS`]. Above it queues that are not known give nothing.
pub(crate) const POP_QUEUES_MAX: usize = 100_000;
/// A group's queue with nothing in flight is forgotten when nothing was popped for so long: much longer than the way of a
/// committed offset to the metadata store, from which it starts again.
pub(crate) const FORGET_AFTER_MS: i64 = 120_000;
/// Most messages of a pop, as in RocketMQ.
pub(crate) const POP_MESSAGES_MAX: i32 = 32;
/// Bytes of the messages of one pop.
pub(crate) const POP_BYTES_MAX: usize = 4 << 20;
/// A pop that reaches the broker so much later than its poll time allows is not served any more, ms; RocketMQ's figure.
pub(crate) const TOO_LATE_MS: i64 = 500;
/// Longest invisible time, ms: 10 years. Only keeps sums from overflowing.
pub(crate) const INVISIBLE_MS_MAX: i64 = 315_360_000_000;
/// Topics that a shard watches for pops held elsewhere.
pub(crate) const WATCHED_TOPICS_MAX: usize = 100_000;
/// Copies for retry topics under way at a time, and begun in one turn.
pub(crate) const REVIVALS_MAX: usize = 256;
/// A revival that failed is tried again after this, ms.
pub(crate) const REVIVE_AGAIN_MS: i64 = 1_000;
/// Messages of one batch acknowledgement's entry; clients make at most [`POP_MESSAGES_MAX`].
pub(crate) const BATCH_ACK_BITS_MAX: usize = 1_024;
/// Deliveries in one record when what is in flight is written again.
pub(crate) const DELIVERIES_PER_RECORD: usize = 1_000;
/// Such records in one turn.
pub(crate) const KEPT_RECORDS_PER_TURN: usize = 8;
/// What is in flight is written again when so many records were written since, or twice as many as messages are in flight.
pub(crate) const RECORDS_PER_ROUND_MIN: u64 = 10_000;
/// And at least this often while anything is in flight, ms: well before retention takes the records.
pub(crate) const ROUND_MS_MAX: i64 = 3_600_000;
