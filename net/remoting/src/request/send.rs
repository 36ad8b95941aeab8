//! Sending, and what comes back.

use std::borrow::Cow;

use super::FieldList;
use super::headers::AsField;
use crate::code::request;
use crate::command::{Command, Field, FieldError};

/// Codes 10, 324 (long names) and 310, 320, 325 (single letters): a message, or a batch of them, in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// `producerGroup`, a
    pub producer_group: Cow<'a, str>,
    /// `topic`, b
    pub topic: Cow<'a, str>,
    /// `defaultTopic`, c: what to inherit from when the topic is made now, normally `TBW102`.
    pub default_topic: Cow<'a, str>,
    /// `defaultTopicQueueNums`, d
    pub default_topic_queue_nums: i32,
    /// `queueId`, e: negative lets the broker choose.
    pub queue_id: i32,
    /// `sysFlag`, f: see [`crate::record::sys_flag`].
    pub sys_flag: i32,
    /// `bornTimestamp`, g: ms.
    pub born_timestamp: i64,
    /// `flag`, h: the user's.
    pub flag: i32,
    /// `properties`, i: see [`crate::record::properties`]; empty when absent.
    pub properties: Cow<'a, str>,
    /// `reconsumeTimes`, j: 0 when absent.
    pub reconsume_times: i32,
    /// `unitMode`, k
    pub unit_mode: bool,
    /// `maxReconsumeTimes`, l
    pub max_reconsume_times: Option<i32>,
    /// `batch`, m: the body is a batch; this decides, not the code.
    pub batch: bool,
    /// `bname`, n: name of the broker that the client believes to talk to.
    pub broker_name: Option<Cow<'a, str>>,
}

/// The fields of a send while they are collected; names are the letters of code 310.
#[derive(Default)]
struct Collected<'a> {
    a: Option<Cow<'a, str>>,
    b: Option<Cow<'a, str>>,
    c: Option<Cow<'a, str>>,
    d: Option<i32>,
    e: Option<i32>,
    f: Option<i32>,
    g: Option<i64>,
    h: Option<i32>,
    i: Option<Cow<'a, str>>,
    j: Option<i32>,
    k: bool,
    l: Option<i32>,
    m: bool,
    n: Option<Cow<'a, str>>,
}

impl<'a> Collected<'a> {
    fn take(&mut self, letter: u8, field: &Field<'a>) -> Result<(), FieldError> {
        match letter {
            b'a' => self.a = Some(field.value()),
            b'b' => self.b = Some(field.value()),
            b'c' => self.c = Some(field.value()),
            b'd' => self.d = Some(field.int()?),
            b'e' => self.e = Some(field.int()?),
            b'f' => self.f = Some(field.int()?),
            b'g' => self.g = Some(field.long()?),
            b'h' => self.h = Some(field.int()?),
            b'i' => self.i = Some(field.value()),
            b'j' => self.j = Some(field.int()?),
            b'k' => self.k = field.boolean(),
            b'l' => self.l = Some(field.int()?),
            b'm' => self.m = field.boolean(),
            b'n' => self.n = Some(field.value()),
            _ => {}
        }
        Ok(())
    }
}

/// The long names in the order of the letters a, b, c …
const LONG_NAMES: [&str; 14] = [
    "producerGroup",
    "topic",
    "defaultTopic",
    "defaultTopicQueueNums",
    "queueId",
    "sysFlag",
    "bornTimestamp",
    "flag",
    "properties",
    "reconsumeTimes",
    "unitMode",
    "maxReconsumeTimes",
    "batch",
    "bname",
];

impl<'a> SendHeader<'a> {
    /// Reads the header of a send of any code.
    ///
    /// # Errors
    /// A field that must be there is missing, or one that must be a number is none.
    pub fn from_command(command: &Command<'a>) -> Result<Self, FieldError> {
        let long = has_long_names(command.code);
        let mut collected = Collected::default();
        for field in command.fields() {
            match field.raw_key() {
                &[letter] if !long => collected.take(letter, &field)?,
                name if long => {
                    if let Some(position) = LONG_NAMES.iter().position(|known| known.as_bytes() == name) {
                        collected.take(b'a' + position as u8, &field)?;
                    }
                }
                _ => {}
            }
        }
        let missing = |letter: u8| {
            let short = &"abcdefgh"[usize::from(letter - b'a')..usize::from(letter - b'a') + 1];
            FieldError::Missing { field: if long { LONG_NAMES[usize::from(letter - b'a')] } else { short } }
        };
        Ok(SendHeader {
            producer_group: collected.a.ok_or_else(|| missing(b'a'))?,
            topic: collected.b.ok_or_else(|| missing(b'b'))?,
            default_topic: collected.c.ok_or_else(|| missing(b'c'))?,
            default_topic_queue_nums: collected.d.ok_or_else(|| missing(b'd'))?,
            queue_id: collected.e.ok_or_else(|| missing(b'e'))?,
            sys_flag: collected.f.ok_or_else(|| missing(b'f'))?,
            born_timestamp: collected.g.ok_or_else(|| missing(b'g'))?,
            flag: collected.h.ok_or_else(|| missing(b'h'))?,
            properties: collected.i.unwrap_or_default(),
            reconsume_times: collected.j.unwrap_or(0),
            unit_mode: collected.k,
            max_reconsume_times: collected.l,
            batch: collected.m,
            broker_name: collected.n,
        })
    }

    /// Its fields for a request of `code`, which decides between long names and letters.
    pub fn fields(&self, code: i32) -> FieldList<'_> {
        const LETTERS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        let names = if has_long_names(code) { LONG_NAMES } else { LETTERS };
        let values: [&dyn AsField; 14] = [
            &self.producer_group,
            &self.topic,
            &self.default_topic,
            &self.default_topic_queue_nums,
            &self.queue_id,
            &self.sys_flag,
            &self.born_timestamp,
            &self.flag,
            &self.properties,
            &self.reconsume_times,
            &self.unit_mode,
            &self.max_reconsume_times,
            &self.batch,
            &self.broker_name,
        ];
        let mut list = FieldList::new();
        for (name, value) in names.into_iter().zip(values) {
            if let Some(value) = value.as_field() {
                list.push(name, value);
            }
        }
        list
    }
}

fn has_long_names(code: i32) -> bool {
    matches!(code, request::SEND_MESSAGE | request::SEND_REPLY_MESSAGE)
}

headers! {
    /// Answer to a send: always the long names.
    SendResponse {
        /// Offset message id; for a batch one per message, joined by commas.
        msg_id: required text "msgId",
        /// Queue that took the message.
        queue_id: required int "queueId",
        /// Queue offset of the (first) message.
        queue_offset: required long "queueOffset",
        /// The message's `UNIQ_KEY`.
        transaction_id: optional text "transactionId",
        /// Inner batches only.
        batch_uniq_id: optional text "batchUniqId",
        /// Timed messages only.
        recall_handle: optional text "recallHandle",
        /// Configured `regionId`. Java clients need at least one header field on success.
        region: optional text "MSG_REGION",
        /// Configured `traceOn`, `true` or `false`.
        trace_on: optional text "TRACE_ON",
    }

    /// Code 36: a consumer returns a message it could not consume.
    SendBackHeader {
        /// Physical offset of the message.
        offset: required long "offset",
        /// Consumer group.
        group: required text "group",
        /// -1 straight to the dead-letter queue, 0 the broker chooses, above 0 that level.
        delay_level: required int "delayLevel",
        /// Offset message id of the original.
        origin_msg_id: optional text "originMsgId",
        /// Topic of the original.
        origin_topic: optional text "originTopic",
        /// Unit mode.
        unit_mode: optional boolean "unitMode",
        /// Limit of attempts; honoured from version V3_4_9 on.
        max_reconsume_times: optional int "maxReconsumeTimes",
        /// Broker name the client believes to talk to.
        broker_name: optional text "bname",
    }

    /// Code 37: commit or roll back a half message.
    EndTransactionHeader {
        /// Newer clients only.
        topic: optional text "topic",
        /// Must equal the half message's PGROUP.
        producer_group: required text "producerGroup",
        /// Queue offset of the half message.
        tran_state_table_offset: required long "tranStateTableOffset",
        /// Physical offset of the half message.
        commit_log_offset: required long "commitLogOffset",
        /// 0 unknown, 8 commit, 12 rollback.
        commit_or_rollback: required int "commitOrRollback",
        /// Answer to a check-back.
        from_transaction_check: optional boolean "fromTransactionCheck",
        /// Message id.
        msg_id: required text "msgId",
        /// Transaction id.
        transaction_id: optional text "transactionId",
    }
}
