//! Answers that wait for the log to keep its promise.
//!
//! The log acknowledges in order, so the answers wait in a queue and leave from its front; nothing is searched for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{Monotonic, ShardId};
use ringmq_store::LogOffset;

use super::pop::{BatchAcks, Pop};
use super::wire::Caller;

/// Sends that one shard keeps waiting for the disk; above it new ones are refused with SYSTEM_BUSY, as RocketMQ's send
/// queue does above `sendThreadPoolQueueCapacity` (10 000).
pub(crate) const PENDING_SENDS_MAX: usize = 10_000;

/// `UNIQ_KEY`s up to this length are answered as `transactionId` without an allocation: clients make 32 or 56 characters.
const KEY_BYTES_INLINE: usize = 56;

/// A unique key that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    Inline([u8; KEY_BYTES_INLINE], u8),
    Shared(Arc<str>),
}

impl Key {
    pub(crate) fn new(text: &str) -> Self {
        let Some(length) = u8::try_from(text.len()).ok().filter(|&n| usize::from(n) <= KEY_BYTES_INLINE)
        else {
            return Self::Shared(text.into());
        };
        let mut bytes = [0; KEY_BYTES_INLINE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self::Inline(bytes, length)
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Inline(bytes, length) => {
                std::str::from_utf8(&bytes[..usize::from(*length)]).expect("made from a str")
            }
            Self::Shared(text) => text,
        }
    }
}

/// What a stored message is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    /// A send: msgId, queueId, queueOffset, transactionId.
    Message { queue_id: i32, queue_offset: i64, physical_offset: i64, key: Key },
    /// A batch: as above, with the physical offsets of all its messages.
    Batch { queue_id: i32, queue_offset: i64, physical_offsets: Box<[i64]>, key: Option<Key> },
    /// A message sent back, or consumed: nothing but the code.
    Done,
    /// A popped message that stays invisible: what its new receipt handle is made of.
    Invisible { pop_time: i64, invisible_time: i64, revive_queue_id: i32 },
}

/// What waits.
#[derive(Clone, Debug)]
pub(crate) enum Waiting {
    /// A client.
    Client { caller: Caller, stored: Stored },
    /// The delay service: the parked message at `offset` of a level was delivered.
    Delivery { level: i32, offset: i64 },
    /// A question whose answer waits for the log: the topic was deleted.
    Question { id: u64 },
    /// This shard, which had a copy of a record of its own stored here.
    Confirm { id: u64 },
    /// A pop that has taken messages.
    Pop(Box<Pop>),
    /// Acknowledgements, some of them of other shards' messages.
    BatchAcks(Box<BatchAcks>),
    /// Nobody; keeps a place so that stopping waits for it.
    Nobody,
}

#[derive(Debug)]
struct Entry {
    end: LogOffset,
    since: Monotonic,
    waiting: Waiting,
}

/// Who is told that a message has a copy in this log, and then notes somewhere else that the message itself is done.
#[derive(Clone, Debug)]
pub(crate) enum Copied {
    /// A shard that revives a popped message: it notes that in its own log.
    Shard { shard: ShardId, id: u64 },
    /// A client that sent a message back: it commits the message's offset, which goes to the metadata store.
    Client { caller: Caller, stored: Stored },
}

/// The queue of one shard.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    entries: VecDeque<Entry>,
    /// In log order. They wait for stable media, also under ASYNC_FLUSH: a power cut must not keep the note that a message is done, and
    /// take its copy. A note in the same log lies behind the copy, and needs no such care.
    copies: VecDeque<(LogOffset, Copied)>,
}

impl Acks {
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= PENDING_SENDS_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.copies.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.copies.is_empty()
    }

    /// Told when everything up to `end`, the end of the copy just appended, is on stable media.
    ///
    /// # Panics
    /// As [`Acks::push`].
    pub(crate) fn push_copy(&mut self, end: LogOffset, copied: Copied) {
        assert!(self.copies.back().is_none_or(|(last, _)| *last <= end), "copies go in log order");
        self.copies.push_back((end, copied));
    }

    /// The next copy that is on stable media, which is up to `durable`.
    pub(crate) fn pop_durable_copy(&mut self, durable: LogOffset) -> Option<Copied> {
        self.copies.pop_front_if(|(end, _)| *end <= durable).map(|(_, copied)| copied)
    }

    /// How long the oldest has waited.
    pub(crate) fn oldest(&self, now: Monotonic) -> Duration {
        self.entries.front().map_or(Duration::ZERO, |entry| now.since(entry.since))
    }

    /// Waits for everything up to `end`, the end of the record just appended.
    ///
    /// # Panics
    /// If `end` lies before one that was added earlier: the log is one sequence.
    pub(crate) fn push(&mut self, end: LogOffset, since: Monotonic, waiting: Waiting) {
        assert!(self.entries.back().is_none_or(|last| last.end <= end), "acknowledgements go in log order");
        self.entries.push_back(Entry { end, since, waiting });
    }

    /// The next one whose record is acknowledged, and how long it waited.
    pub(crate) fn pop_acknowledged(
        &mut self,
        upto: LogOffset,
        now: Monotonic,
    ) -> Option<(Waiting, Duration)> {
        let entry = self.entries.pop_front_if(|entry| entry.end <= upto)?;
        Some((entry.waiting, now.since(entry.since)))
    }

    /// Clients that have waited for `limit` or longer: they are answered now, their records still have to become acknowledged.
    pub(crate) fn take_late(&mut self, limit: Duration, now: Monotonic) -> Vec<(Caller, Stored)> {
        let late = self.entries.iter_mut().take_while(|entry| now.since(entry.since) >= limit);
        late.filter_map(|entry| match std::mem::replace(&mut entry.waiting, Waiting::Nobody) {
            Waiting::Client { caller, stored } => Some((caller, stored)),
            other => {
                entry.waiting = other;
                None
            }
        })
        .collect()
    }

    /// When the client that has waited longest began to; `None`: no client waits.
    pub(crate) fn oldest_client_since(&self) -> Option<Monotonic> {
        let is_client = |entry: &&Entry| matches!(entry.waiting, Waiting::Client { .. });
        self.entries.iter().find(is_client).map(|entry| entry.since)
    }

    /// Everything, because the log will acknowledge nothing more.
    pub(crate) fn take_all(&mut self) -> (Vec<Waiting>, Vec<Copied>) {
        let waiting = std::mem::take(&mut self.entries).into_iter().map(|entry| entry.waiting).collect();
        (waiting, std::mem::take(&mut self.copies).into_iter().map(|(_, copied)| copied).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(offset: i64) -> Waiting {
        Waiting::Delivery { level: 1, offset }
    }

    fn offset_of(waiting: Option<Waiting>) -> Option<i64> {
        match waiting? {
            Waiting::Delivery { offset, .. } => Some(offset),
            _ => None,
        }
    }

    #[test]
    fn answers_leave_in_log_order_and_not_before_the_acknowledgement() {
        let mut acks = Acks::default();
        for (end, offset) in [(100, 0), (200, 1), (200, 2), (300, 3)] {
            acks.push(LogOffset(end), Monotonic(end), delivery(offset));
        }
        let mut pop =
            |upto| offset_of(acks.pop_acknowledged(LogOffset(upto), Monotonic(1_000)).map(|(w, _)| w));
        assert_eq!(pop(99), None);
        assert_eq!([pop(250), pop(250), pop(250), pop(250)], [Some(0), Some(1), Some(2), None]);
        assert_eq!(pop(300), Some(3));
    }

    #[test]
    fn copies_wait_for_stable_media() {
        let mut acks = Acks::default();
        let id = |copied: Copied| match copied {
            Copied::Shard { id, .. } => id,
            Copied::Client { .. } => unreachable!("none was added"),
        };
        let copied = |id| Copied::Shard { shard: ShardId(1), id };
        acks.push_copy(LogOffset(100), copied(0));
        acks.push_copy(LogOffset(200), copied(1));
        assert_eq!(acks.pop_durable_copy(LogOffset(99)).map(id), None);
        assert_eq!(acks.pop_durable_copy(LogOffset(100)).map(id), Some(0));
        assert_eq!((acks.pop_durable_copy(LogOffset(100)).map(id), acks.is_empty()), (None, false));
        assert_eq!(acks.take_all().1.into_iter().map(id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn late_clients_are_answered_once_and_late_deliveries_keep_their_place() {
        let client = |connection| {
            let origin = crate::message::Origin {
                shard: ringmq_reactor::ShardId(0),
                connection: ringmq_reactor::ConnectionId { index: connection, generation: 0 },
                peer: "192.0.2.1:1".parse().expect("address"),
                admitted: 0,
            };
            let to = ringmq_remoting::ResponseTo { opaque: 0, serialize: Default::default() };
            let caller = Caller { origin, to, oneway: false, received: Monotonic(0) };
            Waiting::Client { caller, stored: Stored::Done }
        };
        let mut acks = Acks::default();
        acks.push(LogOffset(1), Monotonic(0), delivery(7));
        acks.push(LogOffset(2), Monotonic(10), client(1));
        acks.push(LogOffset(3), Monotonic(50), client(2));
        let limit = Duration::from_nanos(100);
        let late = |acks: &mut Acks, now| -> Vec<u32> {
            let late = acks.take_late(limit, Monotonic(now));
            late.iter().map(|(caller, _)| caller.origin.connection.index).collect()
        };
        assert_eq!(late(&mut acks, 120), [1]);
        assert_eq!(late(&mut acks, 120), [0; 0]);
        assert_eq!(acks.oldest_client_since(), Some(Monotonic(50)));
        assert_eq!(offset_of(acks.pop_acknowledged(LogOffset(2), Monotonic(130)).map(|(w, _)| w)), Some(7));
        assert_eq!(acks.len(), 2);
    }

    #[test]
    fn keys_of_any_length_survive() {
        for text in ["", "AC11000100002A9F0000000000000042", &"long".repeat(40)] {
            assert_eq!(Key::new(text).as_str(), text);
        }
    }
}
