//! ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151), CHANGE_MESSAGE_INVISIBLETIME (200053).
//!
//! Served by the owner of the message's queue. A receipt handle of an older delivery, or of one whose time is over, is answered with
//! success and does nothing: the message belongs to somebody else by now, or to nobody any more (the reference's
//! CHANGE_MESSAGE_INVISIBLETIME makes another delivery of it then). A batch of acknowledgements travels from owner to owner, like a pop.

use std::borrow::Cow;
use std::sync::Arc;

use ringmq_remoting::body::{BatchAck, BatchAckEntry};
use ringmq_remoting::code::response;
use ringmq_remoting::pop::{HandleError, ORDERLY_REVIVE_QUEUE, Origin, ReceiptHandle};
use ringmq_remoting::request::{AckHeader, ChangeInvisibleTimeHeader};
use ringmq_store::LogOffset;

use super::super::acks::{Stored, Waiting};
use super::super::incoming::Incoming;
use super::super::plane::{Plane, Served};
use super::super::send::Refusal;
use super::super::wire::{Answer, Caller, OVERLOAD, Wire};
use super::limits::{BATCH_ACK_BITS_MAX, INVISIBLE_MS_MAX};
use super::op::{Delivery, Op};
use super::order::OrderAck;
use super::start::now_ms;
use super::table::QueueKey;
use crate::message::ShardMessage;
use crate::remarks;

/// One message that a client speaks of.
struct Subject<'a> {
    key: QueueKey,
    handle: ReceiptHandle<'a>,
    offset: i64,
}

/// Messages of one queue in a batch of acknowledgements.
#[derive(Clone, Debug)]
struct Part {
    key: QueueKey,
    pop_time: i64,
    order: bool,
    offsets: Vec<i64>,
}

/// A batch of acknowledgements on its way through the shards.
#[derive(Clone, Debug)]
pub struct BatchAcks {
    pub(crate) caller: Caller,
    parts: Vec<Part>,
}

/// What an operation is answered with.
enum Outcome {
    /// Success, when the log is acknowledged up to there.
    Logged(LogOffset),
    /// Success, now: there was nothing to do.
    Nothing,
}

impl Plane {
    /// 200051
    pub(crate) fn ack(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = AckHeader::from_command(incoming.command)?;
        if self.pass_on(wire, incoming, &header.topic, header.queue_id) {
            return Ok(());
        }
        let caller = incoming.caller;
        let AckHeader { consumer_group, topic, queue_id, extra_info, offset } = &header;
        let done = self
            .subject(&caller, consumer_group, topic, *queue_id, extra_info, *offset)
            .and_then(|subject| self.check_offset(&subject, false).map(|()| subject))
            .and_then(|subject| {
                let pop_time = subject.handle.pop_time;
                if subject.handle.revive_queue_id == ORDERLY_REVIVE_QUEUE {
                    self.ack_in_order(wire, &subject.key, subject.offset, pop_time)
                } else {
                    self.ack_messages(wire, &subject.key, &[subject.offset], pop_time)
                }
            });
        self.answer_logged(wire, &caller, done, Stored::Done);
        Ok(())
    }

    /// 200053
    pub(crate) fn change_invisible_time(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = ChangeInvisibleTimeHeader::from_command(incoming.command)?;
        if self.pass_on(wire, incoming, &header.topic, header.queue_id) {
            return Ok(());
        }
        let caller = incoming.caller;
        let ChangeInvisibleTimeHeader { consumer_group, topic, queue_id, extra_info, offset, .. } = &header;
        let invisible_time = header.invisible_time.clamp(0, INVISIBLE_MS_MAX);
        let subject = self
            .subject(&caller, consumer_group, topic, *queue_id, extra_info, *offset)
            .and_then(|subject| self.check_offset(&subject, true).map(|()| subject));
        let subject = match subject {
            Ok(subject) => subject,
            Err(refusal) => {
                wire.refuse(&caller, refusal.code, &refusal.remark);
                return Ok(());
            }
        };
        let order = subject.handle.revive_queue_id == ORDERLY_REVIVE_QUEUE;
        if order && self.is_done_in_order(&subject) {
            // Without times, as in the reference.
            let stored = Stored::Invisible { pop_time: 0, invisible_time: 0, revive_queue_id: 0 };
            self.answer_stored(wire, &caller, &stored, response::SUCCESS);
            return Ok(());
        }
        let (pop_time, invisible_time, done) = if order {
            let (pop_time, now) = (subject.handle.pop_time, now_ms(wire));
            // The handle stays, so its time goes on counting from the pop.
            let since_pop = now.saturating_add(invisible_time).saturating_sub(pop_time);
            (pop_time, since_pop, self.change_in_order(wire, &subject, now + invisible_time))
        } else {
            // Handles of one message differ by their pop times.
            let pop_time = now_ms(wire).max(subject.handle.pop_time.saturating_add(1));
            (pop_time, invisible_time, self.change_message(wire, &subject, pop_time, invisible_time))
        };
        let revive_queue_id = self.revive_queue_id(order);
        let stored = Stored::Invisible { pop_time, invisible_time, revive_queue_id };
        self.answer_logged(wire, &caller, done, stored);
        Ok(())
    }

    /// 200151
    pub(crate) fn batch_ack(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let caller = incoming.caller;
        let acks = match BatchAck::from_json(incoming.command.body) {
            Ok(body) => body.acks,
            Err(error) => {
                wire.refuse(&caller, response::SYSTEM_ERROR, &error.to_string());
                return Ok(());
            }
        };
        if acks.is_empty() {
            wire.refuse(&caller, response::NO_MESSAGE, "the batch holds no acknowledgement");
            return Ok(());
        }
        let parts = acks.iter().map(Part::read).collect();
        let mut caller = caller;
        self.admit(wire, &mut caller, incoming);
        self.run_batch_acks(wire, Box::new(BatchAcks { caller, parts }));
        Ok(())
    }

    /// This shard's parts of a batch; then the next shard's.
    pub(crate) fn run_batch_acks(&mut self, wire: &mut Wire<'_>, mut acks: Box<BatchAcks>) {
        let (ours, others): (Vec<_>, Vec<_>) = std::mem::take(&mut acks.parts)
            .into_iter()
            .partition(|part| self.owner.of(&part.key.topic, part.key.queue_id) == self.me);
        acks.parts = others;
        let mut logged = None;
        for part in ours {
            // What is not there (any more) is passed over, as in the reference.
            match self.run_part(wire, &part) {
                Ok(Outcome::Logged(end)) => logged = Some(end),
                Ok(Outcome::Nothing) => {}
                Err(refusal) if refusal.code == response::MESSAGE_ILLEGAL => {}
                Err(refusal) => return wire.refuse(&acks.caller, refusal.code, &refusal.remark),
            }
        }
        match logged {
            Some(end) => self.acks.push(end, wire.io.now(), Waiting::BatchAcks(acks)),
            None => self.pass_batch_acks_on(wire, acks),
        }
    }

    /// This shard's parts of a batch are acknowledged by the log.
    pub(crate) fn pass_batch_acks_on(&mut self, wire: &mut Wire<'_>, acks: Box<BatchAcks>) {
        let Some(part) = acks.parts.first() else {
            return wire.answer(&acks.caller, Answer::success(&[]));
        };
        let owner = self.owner.of(&part.key.topic, part.key.queue_id);
        if wire.post.has_room(wire.io, owner) {
            wire.post.mail(wire.io, owner, ShardMessage::BatchAcks(acks));
        } else {
            wire.refuse(&acks.caller, response::SYSTEM_BUSY, OVERLOAD);
        }
    }

    fn run_part(&mut self, wire: &mut Wire<'_>, part: &Part) -> Result<Outcome, Refusal> {
        if !part.order {
            return self.ack_messages(wire, &part.key, &part.offsets, part.pop_time);
        }
        let mut outcome = Outcome::Nothing;
        for &offset in &part.offsets {
            if let Outcome::Logged(end) = self.ack_in_order(wire, &part.key, offset, part.pop_time)? {
                outcome = Outcome::Logged(end);
            }
        }
        Ok(outcome)
    }

    fn ack_messages(
        &mut self,
        wire: &mut Wire<'_>,
        key: &QueueKey,
        offsets: &[i64],
        pop_time: i64,
    ) -> Result<Outcome, Refusal> {
        let is_in_flight = |offset: &&i64| self.pops.table.delivery(key, **offset, pop_time).is_some();
        let done: Vec<_> = offsets.iter().filter(is_in_flight).map(|&offset| (offset, pop_time)).collect();
        if done.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let op = Op::Done { key: Cow::Borrowed(key), deliveries: Cow::Owned(done) };
        self.log_pop(wire, &op).map(Outcome::Logged)
    }

    fn ack_in_order(
        &mut self,
        wire: &mut Wire<'_>,
        key: &QueueKey,
        offset: i64,
        pop_time: i64,
    ) -> Result<Outcome, Refusal> {
        let queue = self.pops.table.find(&key.group, &key.topic, key.queue_id);
        let Some((queue, batch)) = queue.and_then(|queue| Some((queue, queue.order.as_ref()?))) else {
            return Ok(Outcome::Nothing);
        };
        if offset < queue.next {
            return Ok(Outcome::Nothing);
        }
        let mut batch = batch.clone();
        let next = match batch.ack(offset, pop_time) {
            OrderAck::Next(next) => next,
            OrderAck::Stale => return Ok(Outcome::Nothing),
            OrderAck::Unknown => {
                let remark = format!(
                    "offset is illegal, key:{}@{}@{}, old:{}, commit:{offset}",
                    key.topic, key.group, key.queue_id, queue.next
                );
                return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
            }
        };
        let op = Op::Ordered { key: Cow::Borrowed(key), next, batch: Cow::Borrowed(&batch) };
        let end = self.log_pop(wire, &op)?;
        self.commit_pop(end, key, next);
        if !batch.blocks(None, now_ms(wire)) {
            self.order_unlocked(&key.group, &key.topic, key.queue_id);
        }
        Ok(Outcome::Logged(end))
    }

    fn change_message(
        &mut self,
        wire: &mut Wire<'_>,
        subject: &Subject<'_>,
        pop_time: i64,
        invisible_time: i64,
    ) -> Result<Outcome, Refusal> {
        let Subject { key, handle, offset } = subject;
        if self.pops.table.delivery(key, *offset, handle.pop_time).is_none() {
            return Ok(Outcome::Nothing);
        }
        let queue = self.pops.table.find(&key.group, &key.topic, key.queue_id).expect("it has a delivery");
        let visible_at = now_ms(wire) + invisible_time;
        let deliveries = [Delivery { offset: *offset, pop_time, visible_at }];
        let next = queue.next;
        let op = Op::Taken { key: Cow::Borrowed(key), next, deliveries: Cow::Borrowed(&deliveries) };
        self.log_pop(wire, &op).map(Outcome::Logged)
    }

    /// The message and all before it are acknowledged.
    fn is_done_in_order(&self, subject: &Subject<'_>) -> bool {
        let QueueKey { group, topic, queue_id } = &subject.key;
        self.pops.table.find(group, topic, *queue_id).is_some_and(|queue| subject.offset < queue.next)
    }

    fn change_in_order(
        &mut self,
        wire: &mut Wire<'_>,
        subject: &Subject<'_>,
        visible_at: i64,
    ) -> Result<Outcome, Refusal> {
        let Subject { key, handle, offset } = subject;
        let queue = self.pops.table.find(&key.group, &key.topic, key.queue_id);
        let Some((queue, batch)) = queue.and_then(|queue| Some((queue, queue.order.as_ref()?))) else {
            return Ok(Outcome::Nothing);
        };
        let (mut batch, next) = (batch.clone(), queue.next);
        if !batch.set_visible_at(*offset, handle.pop_time, visible_at) {
            return Ok(Outcome::Nothing);
        }
        let op = Op::Ordered { key: Cow::Borrowed(key), next, batch: Cow::Borrowed(&batch) };
        let end = self.log_pop(wire, &op)?;
        if !batch.blocks(None, now_ms(wire)) {
            self.order_unlocked(&key.group, &key.topic, key.queue_id);
        }
        Ok(Outcome::Logged(end))
    }

    /// The message that a request speaks of.
    fn subject<'a>(
        &self,
        caller: &Caller,
        group: &str,
        name: &str,
        queue_id: i32,
        handle: &'a str,
        offset: i64,
    ) -> Result<Subject<'a>, Refusal> {
        if self.acks.is_full() {
            return Err(Refusal::new(response::SYSTEM_BUSY, OVERLOAD));
        }
        let Some(topic) = self.tables.topic(name) else {
            return Err(Refusal::new(response::TOPIC_NOT_EXIST, remarks::no_topic(name)));
        };
        let queues = topic.config.read_queues;
        if !(0..queues).contains(&queue_id) {
            let remark = remarks::illegal_queue(queue_id, name, queues, caller.origin.peer);
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
        }
        let handle = ReceiptHandle::parse(handle)
            .map_err(|error: HandleError| Refusal::new(response::SYSTEM_ERROR, error.to_string()))?;
        let key = QueueKey { group: Arc::from(group), topic: Arc::clone(&topic.name), queue_id };
        Ok(Subject { key, handle, offset })
    }

    /// An offset that the queue does not hold is no message.
    fn check_offset(&self, subject: &Subject<'_>, is_end_outside: bool) -> Result<(), Refusal> {
        let Subject { key, offset, .. } = subject;
        let (min, max) = self.bounds(&key.topic, key.queue_id);
        if *offset < min || *offset > max || is_end_outside && *offset == max {
            let (topic, queue_id) = (&key.topic, key.queue_id);
            let remark =
                format!("offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}");
            return Err(Refusal::new(response::NO_MESSAGE, remark));
        }
        Ok(())
    }

    fn answer_logged(
        &mut self,
        wire: &mut Wire<'_>,
        caller: &Caller,
        done: Result<Outcome, Refusal>,
        stored: Stored,
    ) {
        let caller = *caller;
        match done {
            Ok(Outcome::Logged(end)) => {
                self.acks.push(end, caller.received, Waiting::Client { caller, stored });
            }
            Ok(Outcome::Nothing) => self.answer_stored(wire, &caller, &stored, response::SUCCESS),
            Err(refusal) => wire.refuse(&caller, refusal.code, &refusal.remark),
        }
    }
}

impl Part {
    fn read(entry: &BatchAckEntry) -> Self {
        let origin = Origin::from_mark(&entry.retry).unwrap_or(Origin::Topic);
        let topic = Arc::from(origin.topic(&entry.topic, &entry.consumer_group));
        let group = Arc::from(&*entry.consumer_group);
        let offset = |bit| entry.start_offset.saturating_add(i64::try_from(bit).unwrap_or(i64::MAX));
        Self {
            key: QueueKey { group, topic, queue_id: entry.queue_id },
            pop_time: entry.pop_time,
            order: entry.revive_queue_id == ORDERLY_REVIVE_QUEUE,
            offsets: entry.bits.iter().take(BATCH_ACK_BITS_MAX).map(offset).collect(),
        }
    }
}
