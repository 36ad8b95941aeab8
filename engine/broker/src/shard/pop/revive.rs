//! Messages whose invisible time is over: a copy goes to the group's pop retry topic, which may be another shard's.
//!
//! A message is in flight until the copy is acknowledged by the log that holds it; a crash in between makes another copy (at least once).

use std::borrow::Cow;
use std::sync::Arc;

use ringmq_reactor::ShardId;
use ringmq_remoting::record::RecordView;
use ringmq_remoting::record::properties::{self, name};
use ringmq_store::{Lookup, RecordRead};
use rustc_hash::FxHashMap;
use tracing::{error, warn};

use super::super::plane::{Cold, Plane};
use super::super::properties::{copy_without, push};
use super::super::reserved::retry_group;
use super::super::wire::Wire;
use super::limits::{REVIVALS_MAX, REVIVE_AGAIN_MS};
use super::op::Op;
use super::start::now_ms;
use super::table::{Due, PopQueueId};
use crate::message::{CrossShardAppend, OwnedRecord, ReplyTo, ShardMessage};

/// A message on its way to the retry topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revival {
    queue: PopQueueId,
    offset: i64,
    /// Of the delivery that was not acknowledged.
    pop_time: i64,
}

/// Copies under way.
#[derive(Debug, Default)]
pub(crate) struct Revivals {
    /// By number; all of them, wherever they are.
    under_way: FxHashMap<u64, Revival>,
    next: u64,
}

impl Revivals {
    fn begin(&mut self, revival: Revival) -> u64 {
        let id = self.next;
        self.next += 1;
        self.under_way.insert(id, revival);
        id
    }
}

/// What became of an attempt to copy a message.
enum Attempt {
    /// There is nothing to copy any more.
    Gone,
    /// It waits for the disk, or for the log that takes the copy.
    UnderWay,
    /// Later.
    Failed,
}

impl Plane {
    /// Begins the revivals that are due.
    pub(crate) fn revive_due(&mut self, wire: &mut Wire<'_>) {
        if self.draining || !self.may_revive() {
            return;
        }
        let now_ms = now_ms(wire);
        while self.pops.revivals.under_way.len() < REVIVALS_MAX {
            match self.pops.table.take_due(now_ms) {
                Some(Due::Message { queue, offset, pop_time }) => {
                    let id = self.pops.revivals.begin(Revival { queue, offset, pop_time });
                    self.run_revival(wire, id);
                }
                Some(Due::Unlocked { queue }) => {
                    if let Some(queue) = self.pops.table.get(queue) {
                        let key = queue.key.clone();
                        self.order_unlocked(&key.group, &key.topic, key.queue_id);
                    }
                }
                None => return,
            }
        }
    }

    /// Whether more could be begun at once.
    pub(crate) fn next_revival_ms(&self) -> Option<i64> {
        let is_possible = self.pops.revivals.under_way.len() < REVIVALS_MAX && self.may_revive();
        self.pops.table.next_due_ms().filter(|_| is_possible)
    }

    /// Without a log of its own the shard could not note that a copy was made, and would make another and another.
    fn may_revive(&self) -> bool {
        self.pops.journal.is_read() && self.store.poisoned().is_none()
    }

    /// Reads the message, and copies it.
    pub(crate) fn run_revival(&mut self, wire: &mut Wire<'_>, id: u64) {
        match self.attempt(wire, id) {
            Attempt::Gone => self.revived(wire, id, true),
            Attempt::UnderWay => {}
            Attempt::Failed => self.revived(wire, id, false),
        }
    }

    fn attempt(&mut self, wire: &mut Wire<'_>, id: u64) -> Attempt {
        let Some(Revival { queue, offset, .. }) = self.pops.revivals.under_way.get(&id).copied() else {
            return Attempt::Gone;
        };
        let Some(key) = self.pops.table.get(queue).map(|queue| queue.key.clone()) else {
            return Attempt::Gone;
        };
        let (group, topic, queue_id) = (&key.group, &key.topic, key.queue_id);
        let entry = match self.store.entry(wire.io, topic, queue_id, offset) {
            Lookup::Ready(Some(entry)) => entry,
            Lookup::Ready(None) => {
                warn!(%group, %topic, queue_id, offset, "a message was removed before it was acknowledged");
                return Attempt::Gone;
            }
            Lookup::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Revival(id));
                return Attempt::UnderWay;
            }
            Lookup::Failed(error) => {
                warn!(%group, %topic, queue_id, offset, %error, "a message has to wait longer for its next delivery");
                return Attempt::Failed;
            }
        };
        let record = match self.store.record_at(wire.io, entry.physical_offset) {
            RecordRead::Ready(record) => record,
            RecordRead::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Revival(id));
                return Attempt::UnderWay;
            }
            RecordRead::Missing => {
                warn!(%group, %topic, queue_id, offset, "a message was removed before it was acknowledged");
                return Attempt::Gone;
            }
            RecordRead::Failed(error) => {
                error!(%group, %topic, queue_id, offset, %error, "a message that was not acknowledged cannot be read");
                return Attempt::Failed;
            }
        };
        let view = match RecordView::parse(&record) {
            Ok(view) => view,
            Err(error) => {
                error!(%group, %topic, queue_id, offset, %error, "a message that was not acknowledged is damaged");
                return Attempt::Failed;
            }
        };
        let revival = self.pops.revivals.under_way[&id];
        let copy = self.copy(wire, &view, group, topic, revival.pop_time);
        let owner = self.owner.of(&copy.topic, copy.queue_id);
        let append = CrossShardAppend { record: copy, reply_to: ReplyTo::Shard { shard: self.me, id } };
        if owner == self.me {
            self.append_for_another(wire, append);
        } else if wire.post.has_room(wire.io, owner) {
            wire.post.mail(wire.io, owner, ShardMessage::Append(Box::new(append)));
        } else {
            return Attempt::Failed;
        }
        Attempt::UnderWay
    }

    fn copy(
        &self,
        wire: &mut Wire<'_>,
        view: &RecordView<'_>,
        group: &Arc<str>,
        topic: &Arc<str>,
        pop_time: i64,
    ) -> OwnedRecord {
        // Of a message that was retried before, and of the older kind of retries, the topic stays what it is.
        let retry_topic =
            if retry_group(topic).is_some() { topic.to_string() } else { self.pop_retry_topic(group, topic) };
        OwnedRecord {
            topic: retry_topic,
            queue_id: 0,
            flag: view.flag(),
            sys_flag: view.sys_flag(),
            born_timestamp: view.born_timestamp(),
            born_host: self.address,
            reconsume_times: view.reconsume_times() + 1,
            body: wire.post.keep(view.body()),
            properties: retried_text(view, pop_time),
            delay_level: 0,
        }
    }

    /// What became of a copy; `Ok`: the log that holds it has acknowledged it, or it is not needed.
    pub(crate) fn revived(&mut self, wire: &mut Wire<'_>, id: u64, is_safe: bool) {
        let Some(Revival { queue, offset, pop_time }) = self.pops.revivals.under_way.remove(&id) else {
            return;
        };
        let Some(key) = self.pops.table.get(queue).map(|queue| queue.key.clone()) else { return };
        let again_ms = now_ms(wire) + REVIVE_AGAIN_MS;
        if !is_safe {
            return self.pops.table.postpone(queue, offset, pop_time, again_ms);
        }
        let op = Op::Done { key: Cow::Owned(key), deliveries: Cow::Owned(vec![(offset, pop_time)]) };
        if let Err(refusal) = self.log_pop(wire, &op) {
            // The copy is safe, and no other is made: the message keeps its place among those in flight until the next start.
            warn!(
                offset,
                why = refusal.remark,
                "a message's next delivery is not in the log of pops; the next start makes it again"
            );
        }
    }

    /// The log has taken, or refused, a copy that a shard asked for.
    pub(crate) fn confirm_append(&mut self, wire: &mut Wire<'_>, shard: ShardId, id: u64, is_safe: bool) {
        if shard == self.me {
            self.revived(wire, id, is_safe);
        } else {
            wire.post.mail(wire.io, shard, ShardMessage::Appended { id, is_safe });
        }
    }
}

/// Property text of the copy.
fn retried_text(view: &RecordView<'_>, pop_time: i64) -> String {
    let text = view.properties();
    let mut out = String::with_capacity(text.len() + 32);
    let has_first = view.reconsume_times() > 0 && properties::get(&text, name::FIRST_POP_TIME).is_some();
    if has_first {
        copy_without(&text, &[name::POP_CK], &mut out);
    } else {
        copy_without(&text, &[name::POP_CK, name::FIRST_POP_TIME], &mut out);
        push(&mut out, name::FIRST_POP_TIME, &pop_time.to_string());
    }
    out
}
