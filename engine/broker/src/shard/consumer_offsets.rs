//! UPDATE_CONSUMER_OFFSET (15) and QUERY_CONSUMER_OFFSET (14).

use std::sync::Arc;

use ringmq_remoting::code::response;
use ringmq_remoting::request::{QueryConsumerOffsetHeader, UpdateConsumerOffsetHeader};

use super::incoming::Incoming;
use super::offsets::Commit;
use super::plane::{Plane, Served};
use super::query::answer_offset;
use super::wire::{Answer, Wire};

/// A new group starts at the beginning of a queue whose first message is at most this far from the log's end: the topic is
/// young, and "from last" would skip what was sent while the group was being started. RocketMQ compares with 40 % of the
/// machine's memory; clients only see where a new group starts.
const YOUNG_BYTES: u64 = 1 << 30;

impl Plane {
    pub(crate) fn update_consumer_offset(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = UpdateConsumerOffsetHeader::from_command(incoming.command)?;
        let caller = incoming.caller;
        if let Some(queue_id) = header.queue_id
            && self.pass_on(wire, incoming, &header.topic, queue_id)
        {
            return Ok(());
        }
        if self.draining {
            // The last report to the coordination shard may have gone: what is confirmed now would be lost.
            wire.refuse(&caller, response::SERVICE_NOT_AVAILABLE, "the broker is stopping");
            return Ok(());
        }
        let Some(group) = self.tables.group(&header.consumer_group) else {
            let remark = format!("Group {} not exist!", header.consumer_group);
            wire.refuse(&caller, response::SUBSCRIPTION_GROUP_NOT_EXIST, &remark);
            return Ok(());
        };
        let Some(topic) = self.tables.topic(&header.topic) else {
            wire.refuse(&caller, response::TOPIC_NOT_EXIST, &format!("Topic {} not exist!", header.topic));
            return Ok(());
        };
        let Some(queue_id) = header.queue_id else {
            let remark = format!("QueueId is null, topic is {}", header.topic);
            wire.refuse(&caller, response::INVALID_PARAMETER, &remark);
            return Ok(());
        };
        let Some(offset) = header.commit_offset else {
            let remark = format!("Offset is null, topic is {}", header.topic);
            wire.refuse(&caller, response::INVALID_PARAMETER, &remark);
            return Ok(());
        };
        let (group, topic) = (Arc::clone(&group.name), Arc::clone(&topic.name));
        match self.offsets.commit(&group, &topic, queue_id, offset) {
            Commit::Stored => {
                self.adopt_offset(wire, &group, &topic, queue_id);
                self.report_soon(wire.io.now());
                wire.answer(&caller, Answer::success(&[]));
            }
            Commit::ResetPending => {
                wire.refuse(&caller, response::SUCCESS, "Offset has been previously reset")
            }
        }
        Ok(())
    }

    pub(crate) fn query_consumer_offset(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = QueryConsumerOffsetHeader::from_command(incoming.command)?;
        let (topic, queue_id) = (&header.topic, header.queue_id);
        if self.pass_on(wire, incoming, topic, queue_id) {
            return Ok(());
        }
        let caller = incoming.caller;
        let position = self.offsets.get(&header.consumer_group, topic, queue_id);
        // Any number can be committed; below 0 it means none.
        let committed = position.and_then(|position| position.committed).filter(|&offset| offset >= 0);
        if let Some(offset) = committed {
            answer_offset(wire, &caller, offset);
        } else if header.set_zero_if_not_found == Some(false) {
            let remark = "Not found, do not set to zero, maybe this group boot first";
            wire.refuse(&caller, response::QUERY_NOT_FOUND, remark);
        } else if self.is_young(topic, queue_id) {
            answer_offset(wire, &caller, 0);
        } else {
            let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
            wire.refuse(&caller, response::QUERY_NOT_FOUND, remark);
        }
        Ok(())
    }

    /// Whether the queue still has its first message, and that is fresh.
    pub(crate) fn is_young(&self, topic: &str, queue_id: i32) -> bool {
        if self.store.min_offset(topic, queue_id).is_some_and(|min| min > 0) {
            return false;
        }
        let first = self.store.queue_start(topic, queue_id);
        first.is_some_and(|first| self.store.log_max().since(first) <= YOUNG_BYTES)
    }
}
