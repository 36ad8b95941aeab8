//! CONSUMER_SEND_MSG_BACK (36): a consumer could not process a message and wants it again later, or never.
//!
//! Served by the shard whose log holds the message. The copy goes to the owner of the retry (or dead-letter) queue, by mail if
//! that is another shard; whoever appends it answers the client, once the copy is on stable media, also under ASYNC_FLUSH: the client
//! then commits the message's offset, and a power cut that kept the offset and took the copy would have taken a message that had been
//! safe for long.

use ringmq_reactor::Monotonic;
use ringmq_remoting::Command;
use ringmq_remoting::code::response;
use ringmq_remoting::record::properties::{self, name};
use ringmq_remoting::record::{RecordDraft, RecordView, message_id, tags_code};
use ringmq_remoting::request::SendBackHeader;
use ringmq_store::{PhysicalOffset, ReadError, RecordRead};

use super::acks::{Copied, Stored, Waiting};
use super::incoming::Incoming;
use super::plane::{Cold, Plane, Served};
use super::properties::{copy_without, push};
use super::reserved::SCHEDULE_TOPIC;
use super::send::{Destination, Detour, Refusal, VERSION_WITH_MAX_RECONSUME_TIMES, missing_group};
use super::wire::{Answer, Caller, OVERLOAD, Wire};
use crate::coordination::names::retry_topic;
use crate::message::{
    AppendReply, CrossShardAppend, Ensure, ForwardedRequest, OwnedRecord, ReplyTo, ShardMessage,
};

/// Level of the first retry: 10 s. Each further one is a level higher.
const FIRST_RETRY_LEVEL: i32 = 3;

/// A message being sent back, while its record is read.
#[derive(Debug)]
pub(crate) struct SendBack {
    caller: Caller,
    offset: PhysicalOffset,
    group: String,
    delay_level: i32,
    /// How often it may be consumed in vain.
    limit: i32,
    /// Drawn once, so that a repeated read does not change its mind.
    random: u64,
    request: ForwardedRequest,
}

impl Plane {
    pub(crate) fn send_back(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = SendBackHeader::from_command(incoming.command)?;
        let offset = PhysicalOffset::from_signed(header.offset).filter(|o| o.shard().0 < self.owner.shards());
        let Some(offset) = offset else {
            let remark = format!("look message by offset failed, {}", header.offset);
            wire.refuse(&incoming.caller, response::SYSTEM_ERROR, &remark);
            return Ok(());
        };
        if offset.shard() != self.me {
            self.forward(wire, offset.shard(), incoming);
            return Ok(());
        }
        match self.check_send_back(&header, incoming.command) {
            Ok(Some(limit)) => {
                let mut caller = incoming.caller;
                self.admit(wire, &mut caller, incoming);
                let mut request = incoming.keep(wire.post);
                request.origin = caller.origin;
                let work = SendBack {
                    caller,
                    offset,
                    group: header.group.into_owned(),
                    delay_level: header.delay_level,
                    limit,
                    random: wire.io.random(),
                    request,
                };
                self.run_send_back(wire, work);
            }
            // The group keeps no retry queue: the message is not wanted again.
            Ok(None) => wire.answer(&incoming.caller, Answer::success(&[])),
            Err(detour) => self.take_detour(wire, incoming, detour),
        }
        Ok(())
    }

    /// The limit of attempts, or `None` if the group has no retry queues.
    fn check_send_back(
        &self,
        header: &SendBackHeader<'_>,
        command: &Command<'_>,
    ) -> Result<Option<i32>, Detour> {
        self.check_service()?;
        let Some(group) = self.tables.group(&header.group) else { return Err(missing_group(&header.group)) };
        if !self.broker_writable() {
            let remark = format!("the broker[{}] sending message is forbidden", self.address.ip());
            return Err(Refusal::new(response::NO_PERMISSION, remark).into());
        }
        let queues = group.config.retry_queues;
        if queues <= 0 {
            return Ok(None);
        }
        let name = retry_topic(&header.group);
        let Some(topic) = self.tables.topic(&name) else {
            let refusal = Refusal::new(response::SYSTEM_ERROR, format!("topic[{name}] not exist"));
            return Err(Detour::Missing(Ensure::GroupTopic { topic: name, queues }, refusal));
        };
        if !topic.config.perm.writable() {
            let remark = format!("the topic[{name}] sending message is forbidden");
            return Err(Refusal::new(response::NO_PERMISSION, remark).into());
        }
        let by_request =
            header.max_reconsume_times.filter(|_| command.version >= VERSION_WITH_MAX_RECONSUME_TIMES);
        Ok(Some(by_request.unwrap_or(group.config.retry_max_times)))
    }

    /// Reads the record, and goes on when it is there.
    pub(crate) fn run_send_back(&mut self, wire: &mut Wire<'_>, work: SendBack) {
        let failed = |why: &dyn std::fmt::Display| {
            let offset = work.offset.signed();
            Refusal::new(response::SYSTEM_ERROR, format!("look message by offset failed, {offset}{why}"))
        };
        let refusal = match self.store.record_at(wire.io, work.offset) {
            RecordRead::Ready(record) => match RecordView::parse(&record) {
                Ok(view) if view.topic() != SCHEDULE_TOPIC => return self.store_again(wire, &work, &view),
                Ok(_) => failed(&": the message has not been delivered yet"),
                Err(error) => failed(&format_args!(": {error}")),
            },
            RecordRead::Missing => failed(&""),
            RecordRead::Failed(ReadError::Busy) => Refusal::new(response::SYSTEM_BUSY, OVERLOAD),
            RecordRead::Failed(error) => failed(&format_args!(": {error}")),
            RecordRead::Wait(ticket) => {
                self.cold.insert(ticket, Cold::SendBack(Box::new(work)));
                return;
            }
        };
        wire.refuse(&work.caller, refusal.code, &refusal.remark);
    }

    fn store_again(&mut self, wire: &mut Wire<'_>, work: &SendBack, original: &RecordView<'_>) {
        let given_up = original.reconsume_times() >= work.limit || work.delay_level < 0;
        let destination = if given_up { self.dead_letter_queue(&work.group) } else { self.retry_queue(work) };
        let destination = match destination {
            Ok(destination) => destination,
            Err(detour) => return self.repeat_after(wire, work, detour),
        };
        let level = match work.delay_level {
            _ if given_up => 0,
            0 => FIRST_RETRY_LEVEL + original.reconsume_times(),
            level => level,
        };
        let record = OwnedRecord {
            topic: destination.topic.to_string(),
            queue_id: destination.queue_id,
            flag: original.flag(),
            sys_flag: original.sys_flag(),
            born_timestamp: original.born_timestamp(),
            born_host: original.born_host(),
            reconsume_times: original.reconsume_times() + 1,
            body: wire.post.keep(original.body()),
            properties: retried_text(original, (!given_up).then_some(level)),
            delay_level: level,
        };
        self.stats.sent_back(wire.io.now(), &work.group, original.topic());
        let owner = self.owner.of(&record.topic, record.queue_id);
        let caller = work.caller;
        let reply_to = if caller.oneway {
            ReplyTo::Nobody
        } else {
            ReplyTo::Client(AppendReply { origin: caller.origin, to: caller.to })
        };
        let append = CrossShardAppend { record, reply_to };
        if caller.oneway {
            wire.give_up(&caller);
        }
        if owner == self.me {
            self.append_for_another(wire, append);
        } else if wire.post.has_room(wire.io, owner) {
            wire.post.mail(wire.io, owner, ShardMessage::Append(Box::new(append)));
        } else {
            wire.refuse(&caller, response::SYSTEM_BUSY, OVERLOAD);
        }
    }

    fn retry_queue(&self, work: &SendBack) -> Result<Destination, Detour> {
        let name = retry_topic(&work.group);
        let (Some(topic), Some(group)) = (self.tables.topic(&name), self.tables.group(&work.group)) else {
            // Deleted while the record was read.
            return Err(Refusal::new(response::SYSTEM_ERROR, format!("topic[{name}] not exist")).into());
        };
        let queues = u64::from(group.config.retry_queues.max(1).unsigned_abs());
        let queue_id = i32::try_from(work.random % queues).expect("below an i32");
        Ok(Destination { topic: std::sync::Arc::clone(&topic.name), queue_id, dead_letter: false })
    }

    /// The dead-letter topic has to be created: the request starts again afterwards.
    fn repeat_after(&mut self, wire: &mut Wire<'_>, work: &SendBack, detour: Detour) {
        match Command::parse(&work.request.frame) {
            Ok(command) => {
                let again = Incoming::forwarded(&command, &work.request, work.caller.received);
                self.take_detour(wire, &again, detour);
            }
            Err(error) => wire.refuse(&work.caller, response::SYSTEM_ERROR, &error.to_string()),
        }
    }

    /// Appends a record that another shard made (or this one) for a queue of ours.
    pub(crate) fn append_for_another(&mut self, wire: &mut Wire<'_>, append: CrossShardAppend) {
        let CrossShardAppend { record, reply_to } = append;
        let received = wire.io.now();
        let tags = properties::get(&record.properties, name::TAGS).map_or(0, tags_code);
        let draft = RecordDraft {
            topic: &record.topic,
            queue_id: record.queue_id,
            flag: record.flag,
            sys_flag: record.sys_flag,
            born_timestamp: record.born_timestamp,
            born_host: record.born_host,
            store_host: self.address,
            reconsume_times: record.reconsume_times,
            prepared_transaction_offset: 0,
            body: &record.body,
            properties: &record.properties,
        };
        match self.append(wire.io, &draft, record.delay_level, tags) {
            Ok(appended) => {
                let end = appended.end;
                match reply_to {
                    ReplyTo::Client(reply) => {
                        self.answer_copied(wire, end, reply.caller(received), Stored::Done);
                    }
                    ReplyTo::Shard { shard, id } if shard == self.me => {
                        self.acks.push(end, received, Waiting::Confirm { id });
                    }
                    ReplyTo::Shard { shard, id } => {
                        self.acks.push_copy(end, Copied::Shard { shard, id });
                    }
                    ReplyTo::Nobody => self.acks.push(end, received, Waiting::Nobody),
                }
            }
            Err(refusal) => match reply_to {
                ReplyTo::Client(reply) => {
                    wire.refuse(&reply.caller(received), refusal.code, &refusal.remark);
                }
                ReplyTo::Shard { shard, id } => self.confirm_append(wire, shard, id, false),
                ReplyTo::Nobody => {}
            },
        }
    }
}

impl AppendReply {
    fn caller(self, received: Monotonic) -> Caller {
        Caller { origin: self.origin, to: self.to, oneway: false, received }
    }
}

/// Property text of the copy. `level`: of its delay; `None` for a dead letter.
fn retried_text(original: &RecordView<'_>, level: Option<i32>) -> String {
    let text = original.properties();
    let mut out = String::with_capacity(text.len() + 128);
    copy_without(&text, &[name::DELAY, name::WAIT], &mut out);
    if properties::get(&text, name::RETRY_TOPIC).is_none() {
        push(&mut out, name::RETRY_TOPIC, original.topic());
    }
    if properties::get(&text, name::ORIGIN_MESSAGE_ID).is_none_or(|id| id.trim().is_empty()) {
        let id = message_id::encode(original.store_host(), original.physical_offset());
        push(&mut out, name::ORIGIN_MESSAGE_ID, id.as_str());
    }
    push(&mut out, name::DELAY, &level.unwrap_or(0).to_string());
    // Nobody waits for the disk: the consumer has what it asked for when the message is in the log.
    push(&mut out, name::WAIT, "false");
    out
}

/// END_TRANSACTION (37): half messages are refused, so there is nothing to end.
impl Plane {
    pub(crate) fn end_transaction(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let remark = "transactions are not supported by this version of RingMQ";
        wire.refuse(&incoming.caller, response::SYSTEM_ERROR, remark);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the log holds it.
    fn stored(properties: &str) -> Vec<u8> {
        let host = "192.0.2.9:10911".parse().expect("address");
        let draft = RecordDraft {
            topic: "T",
            queue_id: 1,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties,
        };
        let mut bytes = vec![0; draft.encoded_bytes()];
        draft.encode(&mut bytes, 5, 4096, 2);
        bytes
    }

    #[test]
    fn a_first_retry_remembers_where_it_came_from() {
        let bytes = stored("TAGS\u{1}A\u{2}");
        let text = retried_text(&RecordView::parse(&bytes).expect("record"), Some(3));
        assert_eq!(properties::get(&text, "RETRY_TOPIC"), Some("T"));
        assert_eq!(properties::get(&text, "DELAY"), Some("3"));
        assert_eq!(properties::get(&text, "TAGS"), Some("A"));
        let id = properties::get(&text, "ORIGIN_MESSAGE_ID").expect("id");
        assert_eq!(message_id::decode(id).expect("an id").1, 4096);
    }

    #[test]
    fn later_retries_keep_the_first_origin() {
        let bytes = stored("RETRY_TOPIC\u{1}Real\u{2}ORIGIN_MESSAGE_ID\u{1}ID\u{2}DELAY\u{1}3\u{2}");
        let text = retried_text(&RecordView::parse(&bytes).expect("record"), None);
        assert_eq!(
            text,
            "RETRY_TOPIC\u{1}Real\u{2}ORIGIN_MESSAGE_ID\u{1}ID\u{2}DELAY\u{1}0\u{2}WAIT\u{1}false\u{2}"
        );
    }
}
