//! The walk of a pop: from shard to shard, and what it takes from a queue.

use std::borrow::Cow;
use std::sync::Arc;

use ringmq_reactor::ShardId;
use ringmq_remoting::code::response;
use ringmq_remoting::pop::{ORDERLY_REVIVE_QUEUE, Origin};
use ringmq_store::{Read, ReadError, ReadLimits, ReadResult, ReadStatus, ReadTicket};

use super::super::acks::Waiting;
use super::super::plane::{Cold, Plane};
use super::super::send::Refusal;
use super::super::wire::{OVERLOAD, Wire};
use super::limits::{IN_FLIGHT_MAX, POP_BYTES_MAX, POP_QUEUES_MAX};
use super::op::{Delivery, Op};
use super::order::OrderBatch;
use super::record::{Batch, offsets, under_topic};
use super::start::now_ms;
use super::table::QueueKey;
use super::{Pop, Purpose, Stage};
use crate::message::ShardMessage;
use crate::remarks;

/// Scans of one queue in one visit that find nothing but messages the filter does not want.
const FRUITLESS_SCANS_MAX: usize = 4;

impl Plane {
    /// Goes on with a walk until it has to wait, leaves this shard, or is over.
    pub(crate) fn advance_pop(&mut self, wire: &mut Wire<'_>, mut pop: Box<Pop>) {
        loop {
            if pop.is_full() {
                pop.stage = Stage::Home;
            }
            let at = self.place_of(&pop);
            if pop.unacknowledged && (at != self.me || pop.stage == Stage::Home) {
                // Nobody hears of it before the log has it.
                pop.unacknowledged = false;
                return self.acks.push(self.store.appended(), wire.io.now(), Waiting::Pop(pop));
            }
            if at != self.me {
                return self.pass_pop_on(wire, at, pop);
            }
            let visited = match pop.stage {
                Stage::Home => return self.finish_pop(wire, pop),
                Stage::RetryFirst | Stage::RetryLast => {
                    let topic = Arc::clone(&pop.retry_topic);
                    self.visit_queue(wire, &mut pop, &topic, 0, self.retry_origin())
                }
                Stage::OldRetry => {
                    let topic = Arc::from(Origin::RetryV1.topic(&pop.topic, &pop.group));
                    self.visit_queue(wire, &mut pop, &topic, 0, Origin::RetryV1)
                }
                Stage::Queues { queue, .. } => self.visit_own_queues(wire, &mut pop, queue),
            };
            match visited {
                Ok(()) => pop.stage = self.next_stage(&pop),
                Err(ticket) => {
                    self.cold.insert(ticket, Cold::Pop(pop));
                    return;
                }
            }
        }
    }

    fn home_of(&self, pop: &Pop) -> ShardId {
        self.owner.of(&pop.retry_topic, 0)
    }

    fn place_of(&self, pop: &Pop) -> ShardId {
        match (pop.stage, pop.queue_id) {
            (Stage::RetryFirst | Stage::RetryLast | Stage::Home, _) => self.home_of(pop),
            (Stage::OldRetry, _) => self.owner.of(&Origin::RetryV1.topic(&pop.topic, &pop.group), 0),
            (Stage::Queues { .. }, Some(queue_id)) => self.owner.of(&pop.topic, queue_id),
            (Stage::Queues { shard, .. }, None) => {
                // The first queues lie on different shards: as many as there are shards, or queues.
                let shards = self.shards_of(pop);
                let start = u16::try_from(pop.random >> 32 & 0x7FFF).expect("15 bits") % shards;
                self.owner.of(&pop.topic, i32::from((start + shard) % shards))
            }
        }
    }

    /// Shards that own queues of the topic.
    fn shards_of(&self, pop: &Pop) -> u16 {
        let queues = self.tables.topic(&pop.topic).map_or(1, |topic| topic.config.read_queues);
        u16::try_from(queues).unwrap_or(u16::MAX).clamp(1, self.owner.shards())
    }

    fn next_stage(&self, pop: &Pop) -> Stage {
        let is_old_retry_read = !pop.order
            && self.config.enable_retry_topic_v2
            && self.config.retrieve_message_from_pop_retry_topic_v1;
        let behind_retries = if is_old_retry_read { Stage::OldRetry } else { Stage::Home };
        match pop.stage {
            Stage::RetryFirst => Stage::Queues { shard: 0, queue: 0 },
            Stage::Queues { shard, .. } if pop.queue_id.is_none() && shard + 1 < self.shards_of(pop) => {
                Stage::Queues { shard: shard + 1, queue: 0 }
            }
            Stage::Queues { .. } if pop.order => Stage::Home,
            Stage::Queues { .. } if pop.retry_first => behind_retries,
            Stage::Queues { .. } => Stage::RetryLast,
            Stage::RetryLast => behind_retries,
            Stage::OldRetry | Stage::Home => Stage::Home,
        }
    }

    fn pass_pop_on(&mut self, wire: &mut Wire<'_>, to: ShardId, mut pop: Box<Pop>) {
        // On its way home it always goes: it had its place.
        if pop.stage != Stage::Home && !wire.post.has_room(wire.io, to) {
            pop.refuse(Refusal::new(response::SYSTEM_BUSY, OVERLOAD));
            pop.stage = Stage::Home;
            return self.advance_pop(wire, pop);
        }
        wire.post.mail(wire.io, to, ShardMessage::Pop(super::TravelingPop(pop)));
    }

    /// The topic's queues on this shard, from the `from`th in the walk's order on. The error: what has to be waited for; the pop then
    /// knows where to go on.
    fn visit_own_queues(&mut self, wire: &mut Wire<'_>, pop: &mut Pop, from: i32) -> Result<(), ReadTicket> {
        let topic = Arc::clone(&pop.topic);
        self.watch_for(wire, pop);
        if let Some(queue_id) = pop.queue_id {
            return self.visit_queue(wire, pop, &topic, queue_id, Origin::Topic);
        }
        let queues = self.tables.topic(&topic).map_or(0, |topic| topic.config.read_queues);
        let shards = i32::from(self.owner.shards());
        // Owners follow each other: the first queue of ours, and every `shards`th from there.
        let first = (i32::from(self.me.0) - i32::from(self.owner.of(&topic, 0).0)).rem_euclid(shards);
        let ours = (queues - first + shards - 1) / shards;
        if ours <= 0 {
            return Ok(());
        }
        let start = i32::try_from(pop.random >> 32 & 0x7FFF_FFFF).expect("31 bits") % ours;
        for index in from..ours {
            if pop.is_full() {
                break;
            }
            let queue_id = first + (start + index) % ours * shards;
            if let Stage::Queues { queue, .. } = &mut pop.stage {
                *queue = index;
            }
            self.visit_queue(wire, pop, &topic, queue_id, Origin::Topic)?;
        }
        Ok(())
    }

    /// From now on the pop's home hears of what arrives here.
    fn watch_for(&mut self, wire: &Wire<'_>, pop: &mut Pop) {
        let home = self.home_of(pop);
        if home == self.me {
            return;
        }
        if let Some(until) = pop.hold_until {
            let watched = self.pops.watches.watch(&pop.topic, home, until, wire.io.now());
            if watched.is_err() {
                pop.hold_until = None;
            }
        }
    }

    /// One queue.
    fn visit_queue(
        &mut self,
        wire: &mut Wire<'_>,
        pop: &mut Pop,
        topic: &Arc<str>,
        queue_id: i32,
        origin: Origin,
    ) -> Result<(), ReadTicket> {
        let key = QueueKey { group: Arc::clone(&pop.group), topic: Arc::clone(topic), queue_id };
        for _ in 0..FRUITLESS_SCANS_MAX {
            let position = self.pop_position(wire, pop, &key, origin);
            let max = self.store.max_offset(topic, queue_id).unwrap_or(0);
            if position == max {
                return Ok(());
            }
            let order =
                self.pops.table.find(&key.group, topic, queue_id).and_then(|queue| queue.order.as_ref());
            let is_blocked =
                pop.order && order.is_some_and(|batch| batch.blocks(pop.attempt_id.as_deref(), pop.pop_time));
            if is_blocked || pop.purpose == Purpose::Take && self.is_crowded(&key) {
                pop.found.rest += (max - position).max(0);
                return Ok(());
            }
            let messages_max = pop.max_messages - pop.found.count;
            let limits = ReadLimits {
                messages_max,
                memory_messages_max: messages_max,
                memory_bytes_max: POP_BYTES_MAX,
                disk_messages_max: messages_max,
                disk_bytes_max: POP_BYTES_MAX,
            };
            let result = match self.store.read(wire.io, topic, queue_id, position, limits, &pop.filter) {
                Read::Ready(result) => result,
                Read::Wait(ticket) => return Err(ticket),
                Read::Failed(ReadError::Busy) => {
                    pop.refuse(Refusal::new(response::SYSTEM_BUSY, OVERLOAD));
                    return Ok(());
                }
                Read::Failed(error) => {
                    tracing::error!(%topic, queue_id, position, %error, "pop failed");
                    pop.refuse(Refusal::new(response::SYSTEM_ERROR, remarks::read_failed(&error)));
                    return Ok(());
                }
            };
            match result.status {
                ReadStatus::Found => {
                    self.found(wire, pop, &key, position, origin, result);
                    return Ok(());
                }
                ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue => return Ok(()),
                _ if pop.purpose != Purpose::Take => return Ok(()),
                _ => self.move_pop_position(wire, &key, position, result.next_begin_offset),
            }
        }
        let position = self.pop_position(wire, pop, &key, origin);
        let left = (self.store.max_offset(topic, queue_id).unwrap_or(0) - position).max(0);
        pop.found.rest += left;
        pop.found.scanned_in_vain |= left > 0;
        Ok(())
    }

    fn found(
        &mut self,
        wire: &mut Wire<'_>,
        pop: &mut Pop,
        key: &QueueKey,
        position: i64,
        origin: Origin,
        result: ReadResult,
    ) {
        if pop.purpose == Purpose::Notify {
            pop.found.has_message = true;
            return;
        }
        let offsets = offsets(&result.records);
        let Some(&start_offset) = offsets.first() else { return };
        let delivery = |&offset: &i64| Delivery {
            offset,
            pop_time: pop.pop_time,
            visible_at: pop.pop_time + pop.invisible_time,
        };
        let deliveries: Vec<Delivery> = offsets.iter().map(delivery).collect();
        let next = result.next_begin_offset;
        if pop.purpose == Purpose::Take {
            let logged = if pop.order {
                self.take_in_order(wire, pop, key, position, &deliveries)
            } else {
                let deliveries = Cow::Borrowed(&deliveries[..]);
                let op = Op::Taken { key: Cow::Borrowed(key), next, deliveries };
                self.log_pop(wire, &op).map(|end| self.commit_pop(end, key, next))
            };
            if let Err(refusal) = logged {
                return pop.refuse(refusal);
            }
            pop.unacknowledged = true;
        }
        let now = wire.io.now();
        self.stats.got(
            now,
            &pop.group,
            &pop.topic,
            result.count,
            result.bytes,
            now.since(pop.caller.received),
        );
        if origin == Origin::Topic {
            pop.found.records.extend(result.records);
        } else {
            let batch = Batch {
                start_offset,
                pop_time: pop.pop_time,
                invisible_time: pop.invisible_time,
                revive_queue_id: self.revive_queue_id(pop.order),
                origin,
                broker_name: &self.config.broker_name,
                topic: &pop.topic,
            };
            pop.found.records.extend(under_topic(&result.records, &batch));
        }
        pop.found.count += offsets.len();
        pop.found.info.add(origin, key.queue_id, start_offset, offsets.into_iter());
        pop.found.rest += (result.max_offset - next).max(0);
    }

    fn take_in_order(
        &mut self,
        wire: &mut Wire<'_>,
        pop: &mut Pop,
        key: &QueueKey,
        position: i64,
        deliveries: &[Delivery],
    ) -> Result<(), Refusal> {
        let queue = self.pops.table.find(&key.group, &key.topic, key.queue_id);
        let before = queue.and_then(|queue| queue.order.as_ref());
        let batch = OrderBatch::new(deliveries, pop.attempt_id.as_deref(), before);
        let op = Op::Ordered { key: Cow::Borrowed(key), next: position, batch: Cow::Borrowed(&batch) };
        let end = self.log_pop(wire, &op)?;
        self.commit_pop(end, key, position);
        let count = |consumed: u32| i32::try_from(consumed).unwrap_or(i32::MAX);
        for entry in batch.entries.iter().filter(|entry| entry.consumed > 0) {
            pop.found.info.add_order_count(key.queue_id, entry.offset, count(entry.consumed));
        }
        let least = batch.entries.iter().map(|entry| entry.consumed).min().unwrap_or(0);
        pop.found.info.add_queue_order_count(key.queue_id, count(least));
        Ok(())
    }

    /// `reviveQid` of this shard's batches. Nothing here depends on it, but for 999.
    pub(super) fn revive_queue_id(&self, order: bool) -> i32 {
        let queues = i32::try_from(self.config.revive_queue_num).unwrap_or(i32::MAX).max(1);
        if order { ORDERLY_REVIVE_QUEUE } else { i32::from(self.me.0) % queues }
    }

    /// Whether nothing more may be taken from the queue before something is acknowledged.
    fn is_crowded(&self, key: &QueueKey) -> bool {
        let table = &self.pops.table;
        let queue = table.find(&key.group, &key.topic, key.queue_id);
        let threshold = usize::try_from(self.config.pop_inflight_message_threshold).unwrap_or(usize::MAX);
        table.in_flight() >= IN_FLIGHT_MAX
            || queue.is_none() && table.len() >= POP_QUEUES_MAX
            || self.config.enable_pop_message_threshold
                && queue.is_some_and(|queue| queue.in_flight.len() >= threshold)
    }

    /// Where the group's next pop of a queue begins. A group that is new there gets its place.
    fn pop_position(&mut self, wire: &Wire<'_>, pop: &Pop, key: &QueueKey, origin: Origin) -> i64 {
        let QueueKey { group, topic, queue_id } = key;
        // The reset itself took effect when it was made (`adopt_offset`).
        self.offsets.take_reset(group, topic, *queue_id);
        if let Some(queue) = self.pops.table.find(group, topic, *queue_id) {
            return queue.next;
        }
        if let Some(offset) = self.offsets.get(group, topic, *queue_id).and_then(|place| place.committed) {
            return offset;
        }
        let (min, max) = self.bounds(topic, *queue_id);
        let from_end = pop.from_end && origin == Origin::Topic;
        let is_young = || self.config.init_pop_offset_by_check_msg_in_mem && self.is_young(topic, *queue_id);
        let begin = match from_end {
            true if min <= 0 && is_young() => 0,
            true => (max - 1).max(0),
            false => min,
        };
        if pop.purpose == Purpose::Take {
            self.offsets.commit(group, topic, *queue_id, begin);
            self.report_soon(wire.io.now());
        }
        begin
    }

    /// A group goes on elsewhere: behind messages that it does not want, or inside of what the queue holds.
    fn move_pop_position(&mut self, wire: &mut Wire<'_>, key: &QueueKey, from: i64, to: i64) {
        if self.pops.table.find(&key.group, &key.topic, key.queue_id).is_none() {
            self.offsets.commit(&key.group, &key.topic, key.queue_id, to);
            self.report_soon(wire.io.now());
        } else if from < to {
            self.pops.table.skip_to(key, to, now_ms(wire));
            self.commit_pop(self.store.appended(), key, to);
        } else {
            self.reset_pop(wire, key, to);
        }
    }
}
