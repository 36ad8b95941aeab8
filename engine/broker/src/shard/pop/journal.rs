//! The log of what is in flight, in the shard's own log: topic `rmq_sys_REVIVE_LOG_<cluster>`, in a queue that this shard owns.
//!
//! **Offsets follow.** How far a group has popped is also its consumer offset, which the metadata store keeps elsewhere. It is given away
//! only when the record that covers it is on stable media ([`Journal::commits`]): an offset that survived a power cut which took
//! the record would skip messages that nobody has.
//!
//! **Rounds.** The log would have to be read from its beginning. So what is known is written again from time to time, a few records a turn
//! ([`Plane::keep_pops`]); when the last of a round is on stable media, reading may begin at its first. That position is kept as the offset
//! of the group `CID_RMQ_SYS_REVIVE_GROUP`. If it is lost, everything is read: longer, with the same result.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use ringmq_reactor::ShardId;
use ringmq_remoting::record::RecordDraft;
use ringmq_store::LogOffset;
use tracing::warn;

use super::super::offsets::Position;
use super::super::plane::Plane;
use super::super::send::Refusal;
use super::super::wire::Wire;
use super::limits::{
    DELIVERIES_PER_RECORD, FORGET_AFTER_MS, KEPT_RECORDS_PER_TURN, POP_QUEUES_MAX, RECORDS_PER_ROUND_MIN,
    ROUND_MS_MAX,
};
use super::op::{Delivery, Op};
use super::start::now_ms;
use super::table::{PopQueueId, QueueKey};
use crate::message::QueueOwner;

/// Keeps the position.
const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";

/// An offset to be given away when the log is durable up to `end`.
#[derive(Debug)]
struct Commit {
    end: LogOffset,
    key: QueueKey,
    offset: i64,
}

/// What is known is being written again.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Queue offset of its first record.
    start: Option<i64>,
    /// How far it has come: this queue, messages from this offset on.
    at: (PopQueueId, i64),
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The first queue of the revive topic that this shard owns, and the group whose offset there is the position. Fixed for the life
    /// of the process: the cluster's name is set at the start.
    pub(super) place: QueueKey,
    /// The table was made again. Before, it knows pops whose acknowledgements are still to be read: nothing may be revived by it, and it
    /// must not be written down as all that there is.
    is_read: bool,
    /// In log order.
    commits: VecDeque<Commit>,
    round: Option<Round>,
    /// Since the last round began.
    records: u64,
    round_began_ms: i64,
    round_log: LogOffset,
    /// Start of the log when that was last looked at.
    log_min: LogOffset,
    body: Vec<u8>,
}

impl Journal {
    /// Nothing was read yet.
    pub(super) fn new(owner: QueueOwner, me: ShardId, cluster: &str) -> Self {
        let topic: Arc<str> = Arc::from(format!("rmq_sys_REVIVE_LOG_{cluster}"));
        let owns = |queue: &i32| owner.of(&topic, *queue) == me;
        let queue_id =
            (0..i32::from(owner.shards())).find(owns).expect("each shard owns one of so many queues");
        Self {
            place: QueueKey { group: Arc::from(REVIVE_GROUP), topic, queue_id },
            is_read: false,
            commits: VecDeque::new(),
            round: None,
            records: 0,
            round_began_ms: 0,
            round_log: LogOffset::default(),
            log_min: LogOffset::default(),
            body: Vec::new(),
        }
    }

    /// Whether the next turn has something to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.round.is_some()
    }

    /// Whether the table says how things are.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// The table was made again, of so many records; the log reaches from `log_min` to `log_end`.
    pub(super) fn all_is_read(&mut self, records: u64, now_ms: i64, log_min: LogOffset, log_end: LogOffset) {
        (self.records, self.round_began_ms) = (records, now_ms);
        (self.log_min, self.round_log) = (log_min, log_end);
        self.is_read = true;
    }

    /// When a round is due although nothing happens, wall clock ms.
    fn round_due_ms(&self) -> i64 {
        self.round_began_ms + ROUND_MS_MAX
    }
}

impl Plane {
    /// Writes an operation into the log, then applies it. It counts when `Store::acknowledged` has reached the returned offset.
    pub(super) fn log_pop(&mut self, wire: &mut Wire<'_>, op: &Op<'_>) -> Result<LogOffset, Refusal> {
        let (_, end) = self.append_op(wire, op)?;
        self.pops.table.apply(op, now_ms(wire));
        Ok(end)
    }

    /// Gives its queue offset and its end.
    fn append_op(&mut self, wire: &mut Wire<'_>, op: &Op<'_>) -> Result<(i64, LogOffset), Refusal> {
        let journal = &mut self.pops.journal;
        let (topic, queue_id) = (Arc::clone(&journal.place.topic), journal.place.queue_id);
        let mut body = std::mem::take(&mut journal.body);
        op.encode(&mut body);
        let draft = RecordDraft {
            topic: &topic,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now_ms(wire),
            born_host: self.address,
            store_host: self.address,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            properties: "",
        };
        let appended = self.append(wire.io, &draft, 0, 0);
        self.pops.journal.body = body;
        let appended = appended?;
        self.pops.journal.records += 1;
        Ok((appended.queue_offset, appended.end))
    }

    /// The group stands there as soon as the log is durable up to `end`.
    pub(super) fn commit_pop(&mut self, end: LogOffset, key: &QueueKey, offset: i64) {
        self.pops.journal.commits.push_back(Commit { end, key: key.clone(), offset });
    }

    /// Gives away the offsets whose records are durable.
    pub(crate) fn commit_durable_pops(&mut self, wire: &Wire<'_>) {
        let durable = self.store.durable();
        while let Some(commit) = self.pops.journal.commits.pop_front_if(|commit| commit.end <= durable) {
            let QueueKey { group, topic, queue_id } = &commit.key;
            self.offsets.commit(group, topic, *queue_id, commit.offset);
            self.report_soon(wire.io.now());
        }
    }

    /// The group's offset was set from outside (by an operator, or by members that pull): pops go on from there, and what is in flight is
    /// not waited for.
    pub(crate) fn adopt_offset(&mut self, wire: &mut Wire<'_>, group: &str, topic: &str, queue_id: i32) {
        let Some(queue) = self.pops.table.find(group, topic, queue_id) else { return };
        let Some(offset) = self.offsets.get(group, topic, queue_id).and_then(|place| place.committed) else {
            return;
        };
        if queue.next != offset {
            let key = queue.key.clone();
            self.reset_pop(wire, &key, offset);
        }
    }

    /// As [`Plane::adopt_offset`], for the queues in which a group got the offsets of another.
    pub(crate) fn adopt_cloned(&mut self, wire: &mut Wire<'_>, from: &str, to: &str, topic: Option<&str>) {
        let has_offset = |place: &Position| place.committed.is_some();
        let cloned = self.offsets.of_group(from, topic).filter(|(_, _, place)| has_offset(place));
        let cloned: Vec<_> = cloned.map(|(topic, queue_id, _)| (Arc::clone(topic), queue_id)).collect();
        for (topic, queue_id) in cloned {
            self.adopt_offset(wire, to, &topic, queue_id);
        }
    }

    /// The group pops from there on.
    pub(super) fn reset_pop(&mut self, wire: &mut Wire<'_>, key: &QueueKey, next: i64) {
        self.pops.journal.commits.retain(|commit| commit.key != *key);
        let op = Op::Reset { key: Cow::Borrowed(key), next };
        match self.log_pop(wire, &op) {
            Ok(end) => self.commit_pop(end, key, next),
            Err(refusal) => {
                warn!(
                    ?key,
                    next,
                    why = refusal.remark,
                    "a group's new offset is not in the log of pops: a crash may undo it"
                );
                self.pops.table.apply(&op, now_ms(wire));
                self.offsets.commit(&key.group, &key.topic, key.queue_id, next);
            }
        }
    }

    /// Forgets what is known of a topic or a group that is gone.
    pub(crate) fn forget_pops(&mut self, wire: &mut Wire<'_>, matches: impl Fn(&QueueKey) -> bool) {
        self.pops.journal.commits.retain(|commit| !matches(&commit.key));
        for key in self.pops.table.keys(&matches) {
            let op = Op::Forgotten { key: Cow::Borrowed(&key) };
            if let Err(refusal) = self.log_pop(wire, &op) {
                warn!(
                    ?key,
                    why = refusal.remark,
                    "the log of pops does not say that a topic or group is gone"
                );
                self.pops.table.apply(&op, now_ms(wire));
            }
        }
    }

    /// Forgets a deleted topic, and answers who waits for it.
    pub(crate) fn forget_popped_topic(&mut self, wire: &mut Wire<'_>, topic: &str) {
        self.forget_pops(wire, |key| *key.topic == *topic);
        self.answer_held_pops(wire, topic);
    }

    /// Writes what is known again, a part of it: see the module's text. At the end of every turn.
    pub(crate) fn keep_pops(&mut self, wire: &mut Wire<'_>) {
        if self.draining || !self.pops.journal.is_read() || !self.begin_round(wire) {
            return;
        }
        for _ in 0..KEPT_RECORDS_PER_TURN {
            let Some(Round { start, at }) = self.pops.journal.round else { return };
            let Some((op, next)) = self.op_at(at, now_ms(wire)) else { return self.end_round(wire, start) };
            match self.append_op(wire, &op) {
                Ok((offset, _)) => {
                    if let Op::Forgotten { .. } = op {
                        self.pops.table.apply(&op, now_ms(wire));
                    }
                    self.pops.journal.round = Some(Round { start: start.or(Some(offset)), at: next });
                }
                Err(refusal) => {
                    warn!(why = refusal.remark, "what is in flight cannot be written again; later");
                    self.pops.journal.round = None;
                    return;
                }
            }
        }
    }

    /// Whether a round is under way.
    fn begin_round(&mut self, wire: &Wire<'_>) -> bool {
        let journal = &self.pops.journal;
        if journal.round.is_some() {
            return true;
        }
        let known = self.pops.table.len();
        if known == 0 && journal.records == 0 {
            return false;
        }
        let now_ms = now_ms(wire);
        let enough = RECORDS_PER_ROUND_MIN.max(2 * self.pops.table.in_flight() as u64);
        let log_grew = self.store.appended().since(journal.round_log);
        let is_crowded = known >= POP_QUEUES_MAX && now_ms - journal.round_began_ms > FORGET_AFTER_MS;
        let is_due = journal.records >= enough
            || is_crowded
            || known > 0
                && (now_ms >= journal.round_due_ms()
                    || log_grew > self.config.mapped_file_size_commit_log / 2
                    || self.store.log_min() != journal.log_min);
        if !is_due {
            return false;
        }
        let (log_min, appended) = (self.store.log_min(), self.store.appended());
        let journal = &mut self.pops.journal;
        journal.round = Some(Round { start: None, at: (0, i64::MIN) });
        (journal.records, journal.round_began_ms, journal.round_log) = (0, now_ms, appended);
        journal.log_min = log_min;
        true
    }

    /// What has to be written for the queue at the cursor, and where to go on.
    fn op_at(&self, at: (PopQueueId, i64), now_ms: i64) -> Option<(Op<'static>, (PopQueueId, i64))> {
        let (id, queue) = self.pops.table.from(at.0).next()?;
        let from = if id == at.0 { at.1 } else { i64::MIN };
        let key = Cow::Owned(queue.key.clone());
        let behind = (id + 1, i64::MIN);
        let is_idle = queue.is_idle() && queue.touched_ms < now_ms - FORGET_AFTER_MS;
        if is_idle && self.pops.journal.commits.is_empty() {
            return Some((Op::Forgotten { key }, behind));
        }
        let mut messages = queue.in_flight.range(from..);
        let delivery = |(&offset, message): (&i64, &super::table::InFlight)| Delivery {
            offset,
            pop_time: message.pop_time,
            visible_at: message.visible_at,
        };
        let deliveries: Vec<_> = messages.by_ref().take(DELIVERIES_PER_RECORD).map(delivery).collect();
        if let (true, Some(batch)) = (deliveries.is_empty(), &queue.order) {
            return Some((Op::Ordered { key, next: queue.next, batch: Cow::Owned(batch.clone()) }, behind));
        }
        let next_at = match (messages.next(), &queue.order, deliveries.last()) {
            (Some((&offset, _)), ..) => (id, offset),
            // Once more, for its ordered batch.
            (None, Some(_), Some(last)) => (id, last.offset + 1),
            _ => behind,
        };
        Some((Op::Taken { key, next: queue.next, deliveries: Cow::Owned(deliveries) }, next_at))
    }

    fn end_round(&mut self, wire: &Wire<'_>, start: Option<i64>) {
        self.pops.journal.round = None;
        let key = self.pops.journal.place.clone();
        // Nothing was known: nothing that is in the log matters.
        let start = start.or_else(|| self.store.max_offset(&key.topic, key.queue_id)).unwrap_or(0);
        self.commit_pop(self.store.appended(), &key, start);
        self.commit_durable_pops(wire);
    }
}
