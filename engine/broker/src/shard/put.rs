//! Records on their way into this shard's log, and the answers that wait for it.

use ringmq_reactor::Io;
use ringmq_remoting::FieldValue;
use ringmq_remoting::code::response;
use ringmq_remoting::record::properties::name;
use ringmq_remoting::record::{PROPERTIES_BYTES_MAX, RecordDraft, batch, message_id, sys_flag, tags_code};
use ringmq_remoting::request::SendHeader;
use ringmq_store::{AppendError, Appended, LogOffset};

use super::acks::{Copied, Key, Stored, Waiting};
use super::incoming::Incoming;
use super::plane::Plane;
use super::properties::{Found, close, copy_without, push};
use super::reserved::{SCHEDULE_TOPIC, retry_group};
use super::send::{Destination, Refusal, without_delay};
use super::wire::{Answer, Caller, Wire};
use crate::config::DelayLevels;

impl Plane {
    /// One message for a queue of this shard.
    pub(crate) fn store_message(
        &mut self,
        wire: &mut Wire<'_>,
        incoming: &Incoming<'_>,
        header: &SendHeader<'_>,
        destination: &Destination,
    ) {
        self.store.expect_append(&destination.topic, destination.queue_id);
        let mut caller = incoming.caller;
        let now_ms = wall_ms(wire.io);
        let rewritten;
        let client_text: &str = if destination.dead_letter {
            rewritten = without_delay(&header.properties);
            &rewritten
        } else {
            &header.properties
        };
        let found = Found::scan(client_text);
        let body = incoming.command.body;
        if let Err(refusal) = self.check_message(header, &found, body, now_ms) {
            return wire.refuse(&caller, refusal.code, &refusal.remark);
        }
        let made = found.unique_key.is_none().then(|| self.keys.next(now_ms));
        let mut text = std::mem::take(&mut self.text);
        self.stamp.apply(client_text, &found, made.as_deref(), &mut text);
        let draft = RecordDraft {
            topic: &destination.topic,
            queue_id: destination.queue_id,
            flag: header.flag,
            sys_flag: header.sys_flag & !sys_flag::TRANSACTION_MASK,
            born_timestamp: header.born_timestamp,
            born_host: caller.origin.peer,
            store_host: self.address,
            reconsume_times: header.reconsume_times,
            prepared_transaction_offset: 0,
            body,
            properties: &text,
        };
        let appended = self.append(wire.io, &draft, found.delay_level, tag_hash(&found));
        self.text = text;
        match appended {
            Ok(appended) => {
                self.stats.put(wire.io.now(), &destination.topic, 1, body.len());
                let key = Key::new(made.as_deref().or(found.unique_key).unwrap_or_default());
                let stored = Stored::Message {
                    queue_id: destination.queue_id,
                    queue_offset: appended.queue_offset,
                    physical_offset: appended.physical_offset.signed(),
                    key,
                };
                if found.no_wait {
                    self.answer_stored(wire, &caller, &stored, response::SUCCESS);
                } else {
                    self.admit(wire, &mut caller, incoming);
                    if retry_group(&header.topic).is_some() && self.flush_limit().is_none() {
                        // What clients do where CONSUMER_SEND_MSG_BACK does not get through, and consumers in order always.
                        self.answer_copied(wire, appended.end, caller, stored);
                    } else {
                        self.acks.push(appended.end, caller.received, Waiting::Client { caller, stored });
                    }
                }
            }
            Err(refusal) => wire.refuse(&caller, refusal.code, &refusal.remark),
        }
    }

    /// Answers a client that has a copy of a message stored in the message's place, when the copy is on stable media. That
    /// is not left to the flush interval: until then the consumer's thread waits.
    pub(crate) fn answer_copied(
        &mut self,
        wire: &mut Wire<'_>,
        end: LogOffset,
        caller: Caller,
        stored: Stored,
    ) {
        self.acks.push_copy(end, Copied::Client { caller, stored });
        self.store.flush_soon(wire.io, end);
    }

    /// A batch for a queue of this shard: consecutive offsets, all or nothing.
    pub(crate) fn store_batch(
        &mut self,
        wire: &mut Wire<'_>,
        incoming: &Incoming<'_>,
        header: &SendHeader<'_>,
        destination: &Destination,
    ) {
        let mut caller = incoming.caller;
        let body = incoming.command.body;
        let found = Found::scan(&header.properties);
        let checked = self.check_batch(header, &found, body, wall_ms(wire.io));
        let entries = match checked.and_then(|()| read_batch(body)) {
            Ok(entries) => entries,
            Err(refusal) => return wire.refuse(&caller, refusal.code, &refusal.remark),
        };
        let drafts: Vec<(RecordDraft<'_>, i64)> = entries
            .iter()
            .map(|entry| {
                let draft = RecordDraft {
                    topic: &destination.topic,
                    queue_id: destination.queue_id,
                    flag: entry.flag,
                    sys_flag: header.sys_flag & !sys_flag::TRANSACTION_MASK,
                    born_timestamp: header.born_timestamp,
                    born_host: caller.origin.peer,
                    store_host: self.address,
                    reconsume_times: header.reconsume_times,
                    prepared_transaction_offset: 0,
                    body: entry.body,
                    properties: &entry.properties,
                };
                (draft, tag_hash(&Found::scan(&entry.properties)))
            })
            .collect();
        let mut appended = Vec::with_capacity(drafts.len());
        if let Err(error) = self.store.append_batch(wire.io, &drafts, &mut appended) {
            let refusal = self.refusal_of(&error);
            return wire.refuse(&caller, refusal.code, &refusal.remark);
        }
        let (Some(first), Some(last)) = (appended.first(), appended.last()) else {
            unreachable!("a batch that was appended has records")
        };
        self.stats.put(wire.io.now(), &destination.topic, appended.len(), body.len());
        let stored = Stored::Batch {
            queue_id: destination.queue_id,
            queue_offset: first.queue_offset,
            physical_offsets: appended.iter().map(|a| a.physical_offset.signed()).collect(),
            key: found.unique_key.map(Key::new),
        };
        if found.no_wait {
            self.answer_stored(wire, &caller, &stored, response::SUCCESS);
        } else {
            self.admit(wire, &mut caller, incoming);
            self.acks.push(last.end, caller.received, Waiting::Client { caller, stored });
        }
    }

    fn check_batch(
        &self,
        header: &SendHeader<'_>,
        found: &Found<'_>,
        body: &[u8],
        now_ms: i64,
    ) -> Result<(), Refusal> {
        if retry_group(&header.topic).is_some() {
            let remark = "batch request does not support retry group";
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
        }
        if found.delay_level > 0 || found.half || header.sys_flag & sys_flag::TRANSACTION_MASK != 0 {
            return Err(self.illegal());
        }
        self.check_message(header, found, body, now_ms)
    }

    /// Appends a record, or parks it if it is to be delayed. `draft` names its real queue, which this shard owns.
    pub(crate) fn append(
        &mut self,
        io: &mut dyn Io,
        draft: &RecordDraft<'_>,
        delay_level: i32,
        tags_code: i64,
    ) -> Result<Appended, Refusal> {
        assert_eq!(
            self.owner.of(draft.topic, draft.queue_id),
            self.me,
            "a record for a queue of another shard"
        );
        let (text, parked);
        let draft = if delay_level > 0 {
            text = parked_text(draft);
            let queue_id = parking_queue(&self.config.message_delay_level, delay_level);
            parked = RecordDraft { topic: SCHEDULE_TOPIC, queue_id, properties: &text, ..*draft };
            &parked
        } else {
            draft
        };
        if draft.properties.len() > PROPERTIES_BYTES_MAX {
            self.stats.put_failed();
            return Err(self.illegal());
        }
        self.store.append(io, draft, tags_code).map_err(|error| self.refusal_of(&error))
    }

    /// Answers everything that the log has acknowledged since the last turn, and what has waited too long for it.
    pub(crate) fn answer_acknowledged(&mut self, wire: &mut Wire<'_>) {
        let now = wire.io.now();
        let upto = self.store.acknowledged();
        while let Some((waiting, waited)) = self.acks.pop_acknowledged(upto, now) {
            match waiting {
                Waiting::Client { caller, stored } => {
                    self.stats.put_took(waited);
                    self.answer_stored(wire, &caller, &stored, response::SUCCESS);
                }
                Waiting::Delivery { level, offset } => {
                    self.delay.delivered(level, offset);
                    self.report_soon(now);
                }
                Waiting::Question { id } => self.answer_done(wire, id),
                Waiting::Confirm { id } => self.confirm_append(wire, self.me, id, true),
                Waiting::Pop(pop) => self.advance_pop(wire, pop),
                Waiting::BatchAcks(acks) => self.pass_batch_acks_on(wire, acks),
                Waiting::Nobody => {}
            }
        }
        while let Some(copied) = self.acks.pop_durable_copy(self.store.durable()) {
            match copied {
                Copied::Shard { shard, id } => self.confirm_append(wire, shard, id, true),
                Copied::Client { caller, stored } => {
                    self.answer_stored(wire, &caller, &stored, response::SUCCESS);
                }
            }
        }
        if let Some(limit) = self.flush_limit() {
            for (caller, stored) in self.acks.take_late(limit, now) {
                self.answer_stored(wire, &caller, &stored, response::FLUSH_DISK_TIMEOUT);
            }
        }
        if self.store.poisoned().is_some() && !self.acks.is_empty() {
            self.fail_pending(wire);
        }
    }

    /// The log has failed for good: whatever waits for it will not be acknowledged.
    fn fail_pending(&mut self, wire: &mut Wire<'_>) {
        let Some(error) = self.store.poisoned().cloned() else { return };
        let refusal = self.refusal_of(&AppendError::Poisoned(error));
        let (waiting, copies) = self.acks.take_all();
        for copied in copies {
            match copied {
                Copied::Shard { shard, id } => self.confirm_append(wire, shard, id, false),
                Copied::Client { caller, .. } => wire.refuse(&caller, refusal.code, &refusal.remark),
            }
        }
        for waiting in waiting {
            match waiting {
                Waiting::Client { caller, .. } => wire.refuse(&caller, refusal.code, &refusal.remark),
                // The topic is gone from this shard's memory, which is all that can be done now.
                Waiting::Question { id } => self.answer_done(wire, id),
                Waiting::Confirm { id } => self.confirm_append(wire, self.me, id, false),
                Waiting::Pop(pop) => self.fail_pop(wire, pop, refusal.code, &refusal.remark),
                Waiting::BatchAcks(acks) => wire.refuse(&acks.caller, refusal.code, &refusal.remark),
                Waiting::Delivery { .. } | Waiting::Nobody => {}
            }
        }
    }

    /// The answer to a send whose message is in the log.
    pub(crate) fn answer_stored(&mut self, wire: &mut Wire<'_>, caller: &Caller, stored: &Stored, code: i32) {
        let config = &self.config;
        let field = |id, queue: i32, offset, key| {
            [
                ("MSG_REGION", FieldValue::Str(&config.region_id)),
                ("TRACE_ON", FieldValue::Bool(config.trace_on)),
                ("msgId", FieldValue::Str(id)),
                ("queueId", FieldValue::Int(queue.into())),
                ("queueOffset", FieldValue::Int(offset)),
                ("transactionId", FieldValue::Str(key)),
            ]
        };
        match stored {
            Stored::Message { queue_id, queue_offset, physical_offset, key } => {
                let id = message_id::encode(self.address, *physical_offset);
                let fields = field(id.as_str(), *queue_id, *queue_offset, key.as_str());
                wire.answer(caller, Answer { code, fields: &fields, ..Answer::default() });
            }
            Stored::Batch { queue_id, queue_offset, physical_offsets, key } => {
                let mut ids = String::new();
                for (index, &offset) in physical_offsets.iter().enumerate() {
                    if index > 0 {
                        ids.push(',');
                    }
                    ids.push_str(message_id::encode(self.address, offset).as_str());
                }
                let fields = field(&ids, *queue_id, *queue_offset, key.as_ref().map_or("", Key::as_str));
                let fields = if key.is_some() { &fields[..] } else { &fields[..fields.len() - 1] };
                wire.answer(caller, Answer { code, fields, ..Answer::default() });
            }
            // No flush time limit is known to these requests: they are done, or not.
            Stored::Done => wire.answer(caller, Answer { code: response::SUCCESS, ..Answer::default() }),
            Stored::Invisible { pop_time, invisible_time, revive_queue_id } => {
                let fields = [
                    ("invisibleTime", FieldValue::Int(*invisible_time)),
                    ("popTime", FieldValue::Int(*pop_time)),
                    ("reviveQid", FieldValue::Int((*revive_queue_id).into())),
                ];
                wire.answer(caller, Answer::success(&fields));
            }
        }
    }
}

fn read_batch(body: &[u8]) -> Result<Vec<batch::BatchEntry<'_>>, Refusal> {
    let entries: Result<Vec<_>, _> = batch::entries(body).collect();
    let illegal = |remark: String| Refusal::new(response::MESSAGE_ILLEGAL, remark);
    let entries = entries.map_err(|error| illegal(error.to_string()))?;
    if entries.is_empty() {
        return Err(illegal("the batch holds no message".to_owned()));
    }
    if entries.iter().any(|entry| entry.properties.len() > PROPERTIES_BYTES_MAX) {
        return Err(illegal("msg properties length limit 32KB".to_owned()));
    }
    Ok(entries)
}

fn tag_hash(found: &Found<'_>) -> i64 {
    found.tags.map_or(0, tags_code)
}

/// Wall clock in the form of record fields.
pub(crate) fn wall_ms(io: &dyn Io) -> i64 {
    i64::try_from(io.wall_ms()).expect("a time before the year 292 million")
}

/// Parking queue of a level; levels above the highest count as the highest.
fn parking_queue(levels: &DelayLevels, level: i32) -> i32 {
    level.min(i32::from(levels.count())) - 1
}

/// The text of a parked record: it remembers where it belongs. A message that was parked before carries old values.
fn parked_text(draft: &RecordDraft<'_>) -> String {
    let ours = [name::REAL_TOPIC, name::REAL_QUEUE_ID];
    let mut out = String::with_capacity(draft.properties.len() + draft.topic.len() + 40);
    if draft.properties.contains("REAL_") {
        copy_without(draft.properties, &ours, &mut out);
    } else {
        out.push_str(draft.properties);
        close(&mut out);
    }
    push(&mut out, name::REAL_TOPIC, draft.topic);
    push(&mut out, name::REAL_QUEUE_ID, &draft.queue_id.to_string());
    out
}
