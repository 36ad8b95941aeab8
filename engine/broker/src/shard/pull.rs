//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).

use std::sync::Arc;
use std::time::Duration;

use ringmq_remoting::FieldValue;
use ringmq_remoting::body::{EXPRESSION_SQL92, EXPRESSION_TAG};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::request::{PullHeader, pull_flag};
use ringmq_store::{Read, ReadError, ReadLimits, ReadResult, ReadStatus};
use rustc_hash::FxHashMap;

use super::incoming::Incoming;
use super::plane::{Cold, Plane, Served};
use super::send;
use super::tables::{GroupEntry, TopicEntry};
use super::wire::{Answer, Caller, OVERLOAD, Wire};
use crate::coordination::names::{RETRY_PREFIX, may_always_pull};
use crate::filter::{MessageFilter, TagFilter};
use crate::message::{ConsumeModel, Ensure, ExpressionKind, OnlineGroup, Perm};
use crate::remarks;

/// A pull that passed all checks: to be read, now or later.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) caller: Caller,
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    pub(crate) offset: i64,
    pub(crate) filter: MessageFilter,
    max_messages: usize,
    /// How long it may wait at the end of the queue; `None`: it has waited, or must not.
    hold: Option<Duration>,
    group_sys_flag: i32,
    topic_sys_flag: i32,
    suggest_broker: i64,
}

/// Why a pull is refused: a code, its remark, and for code 16 what it is that forbids.
struct Refusal {
    code: i32,
    remark: String,
    forbidden: Option<ForbiddenBy>,
}

/// `forbiddenType` of a refused pull.
#[derive(Clone, Copy)]
enum ForbiddenBy {
    Broker = 1,
    Group = 2,
    Topic = 3,
    Broadcasting = 4,
    Subscription = 5,
}

impl Refusal {
    fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into(), forbidden: None }
    }

    fn forbidden(by: ForbiddenBy, remark: String) -> Self {
        Self { code: response::NO_PERMISSION, remark, forbidden: Some(by) }
    }
}

impl From<send::Refusal> for Refusal {
    fn from(send::Refusal { code, remark }: send::Refusal) -> Self {
        Self::new(code, remark)
    }
}

impl Plane {
    pub(crate) fn pull(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = PullHeader::from_command(incoming.command)?;
        let owner = self.owner.of(&header.topic, header.queue_id);
        if owner != self.me {
            self.forward(wire, owner, incoming);
            return Ok(());
        }
        if self.tables.group(&header.consumer_group).is_none() {
            let group = header.consumer_group.to_string();
            if self.broker_readable() && self.ensure(wire, incoming, Ensure::Group { group }) {
                return Ok(());
            }
        }
        let caller = incoming.caller;
        match self.check_pull(&header, incoming) {
            Ok(pull) => {
                if header.sys_flag & pull_flag::COMMIT_OFFSET != 0 {
                    let offset = header.commit_offset.unwrap_or(0);
                    self.offsets.commit(&pull.group, &pull.topic, pull.queue_id, offset);
                    self.adopt_offset(wire, &pull.group, &pull.topic, pull.queue_id);
                    self.report_soon(wire.io.now());
                }
                self.run_pull(wire, pull);
            }
            Err(refusal) => {
                let kind = refusal.forbidden.map(|by| ("forbiddenType", FieldValue::Int(by as i64)));
                let fields = kind.as_slice();
                let answer =
                    Answer { code: refusal.code, remark: Some(&refusal.remark), fields, body: Vec::new() };
                wire.answer(&caller, answer);
            }
        }
        Ok(())
    }

    pub(crate) fn broker_readable(&self) -> bool {
        Perm(i32::try_from(self.config.broker_permission).unwrap_or(0)).readable()
    }

    fn check_pull(&mut self, header: &PullHeader<'_>, incoming: &Incoming<'_>) -> Result<Pull, Refusal> {
        let has_subscription = header.sys_flag & pull_flag::SUBSCRIPTION != 0;
        let asked_for = has_subscription.then(|| self.filter_of_request(header));
        let config = &self.config;
        let broker = self.address.ip();
        if !self.broker_readable() {
            let remark = format!("the broker[{broker}] pulling message is forbidden");
            return Err(Refusal::forbidden(ForbiddenBy::Broker, remark));
        }
        let is_lite = incoming.command.code == request::LITE_PULL_MESSAGE;
        if is_lite && !config.lite_pull_message_enable {
            let remark = format!("the broker[{broker}] for lite pull consumer is forbidden");
            return Err(Refusal::forbidden(ForbiddenBy::Broker, remark));
        }
        let group = self.readable_group(&header.consumer_group)?;
        let topic = self.readable_topic(header, incoming)?;
        let filter = match asked_for {
            Some(filter) => filter?,
            None => self.filter_of_heartbeats(header, group)?,
        };
        if config.reject_pull_consumer_enable
            && self.tables.online(&header.consumer_group).is_none()
            && !may_always_pull(&header.consumer_group)
        {
            return Err(Refusal::new(
                response::SUBSCRIPTION_NOT_EXIST,
                "the consumer's group info not exist, or the pull consumer is rejected by server.",
            ));
        }
        Ok(Pull {
            caller: incoming.caller,
            group: Arc::clone(&group.name),
            topic: Arc::clone(&topic.name),
            queue_id: header.queue_id,
            offset: header.queue_offset,
            filter,
            max_messages: usize::try_from(header.max_msg_nums).unwrap_or(0).max(1),
            hold: self.hold_time(header),
            group_sys_flag: group.config.sys_flag,
            topic_sys_flag: topic.config.sys_flag,
            // `slaveReadEnable` needs slaves; without it the answer is always the master.
            suggest_broker: 0,
        })
    }

    fn readable_group(&self, name: &str) -> Result<&GroupEntry, Refusal> {
        let Some(group) = self.tables.group(name) else {
            return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remarks::no_group(name)));
        };
        if !group.config.consume_enable {
            return Err(Refusal::forbidden(ForbiddenBy::Group, remarks::group_forbidden(name)));
        }
        Ok(group)
    }

    fn readable_topic(
        &self,
        header: &PullHeader<'_>,
        incoming: &Incoming<'_>,
    ) -> Result<&TopicEntry, Refusal> {
        let name = &header.topic;
        let Some(topic) = self.tables.topic(name) else {
            return Err(Refusal::new(response::TOPIC_NOT_EXIST, remarks::no_topic(name)));
        };
        if !topic.config.perm.readable() {
            let remark = format!("the topic[{name}] pulling message is forbidden");
            return Err(Refusal::forbidden(ForbiddenBy::Topic, remark));
        }
        let (queue_id, queues) = (header.queue_id, topic.config.read_queues);
        if !(0..queues).contains(&queue_id) {
            let remark = remarks::illegal_queue(queue_id, name, queues, incoming.caller.origin.peer);
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        Ok(topic)
    }

    /// The subscription that the group's members told in their heartbeats.
    fn filter_of_heartbeats(
        &self,
        header: &PullHeader<'_>,
        group: &GroupEntry,
    ) -> Result<MessageFilter, Refusal> {
        let (name, topic) = (&header.consumer_group, &header.topic);
        let not_exist =
            || Refusal::new(response::SUBSCRIPTION_NOT_EXIST, "the consumer's subscription not exist");
        let online = self.tables.online(name).ok_or_else(|| {
            Refusal::new(response::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist")
        })?;
        if !group.config.consume_broadcast_enable && online.model == ConsumeModel::Broadcasting {
            let remark = format!("the consumer group[{name}] can not consume by broadcast way");
            return Err(Refusal::forbidden(ForbiddenBy::Broadcasting, remark));
        }
        if group.config.forbidden_topics.iter().any(|forbidden| **forbidden == **topic) {
            let remark = format!("the consumer group[{name}] is forbidden for topic[{topic}]");
            return Err(Refusal::forbidden(ForbiddenBy::Subscription, remark));
        }
        let subscription = online.subscriptions.get(&**topic).ok_or_else(not_exist)?;
        if subscription.version < header.sub_version.unwrap_or(0) {
            return Err(Refusal::new(
                response::SUBSCRIPTION_NOT_LATEST,
                "the consumer's subscription not latest",
            ));
        }
        if subscription.expression == ExpressionKind::Tag {
            return Ok(MessageFilter::Tags(TagFilter::new(subscription.tag_codes.clone())));
        }
        let filter = subscription.filter.as_ref().ok_or_else(|| {
            let remark = "The broker's consumer filter data is not exist!Your expression may be wrong!";
            Refusal::new(response::FILTER_DATA_NOT_EXIST, remark)
        })?;
        if filter.version < header.sub_version.unwrap_or(0) {
            let remark = "the consumer's consumer filter data not latest";
            return Err(Refusal::new(response::FILTER_DATA_NOT_LATEST, remark));
        }
        self.check_property_filter(EXPRESSION_SQL92)?;
        Ok(self
            .filter_of_origin(header)
            .unwrap_or_else(|| MessageFilter::Properties(Arc::clone(&filter.expression))))
    }

    /// The subscription that came with the request. Unlike the reference, which then gives out every message, an expression that
    /// does not compile is refused.
    fn filter_of_request(&mut self, header: &PullHeader<'_>) -> Result<MessageFilter, Refusal> {
        let failed =
            || Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, "parse the consumer's subscription failed");
        let text = header.subscription.as_deref().unwrap_or_default();
        let kind = header.expression_type.as_deref().filter(|kind| !matches!(*kind, "" | EXPRESSION_TAG));
        let Some(kind) = kind else {
            return TagFilter::parse(text).map(MessageFilter::Tags).ok_or_else(failed);
        };
        if text.is_empty() {
            return Err(failed());
        }
        self.check_property_filter(kind)?;
        if kind != EXPRESSION_SQL92 {
            return Err(failed());
        }
        let expression = self.expressions.compile(text).map_err(|error| {
            let remark = format!("parse the consumer's subscription failed: {error}");
            Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, remark)
        })?;
        Ok(self.filter_of_origin(header).unwrap_or(MessageFilter::Properties(expression)))
    }

    /// Whether expressions of that kind are switched on.
    pub(super) fn check_property_filter(&self, kind: &str) -> Result<(), send::Refusal> {
        if self.config.enable_property_filter {
            return Ok(());
        }
        Err(send::Refusal::new(response::SYSTEM_ERROR, remarks::no_property_filter(kind)))
    }

    /// What takes the place of an expression for a retry topic.
    fn filter_of_origin(&self, header: &PullHeader<'_>) -> Option<MessageFilter> {
        if !self.config.filter_support_retry || !header.topic.starts_with(RETRY_PREFIX) {
            return None;
        }
        let nothing = || OnlineGroup { model: ConsumeModel::Clustering, subscriptions: FxHashMap::default() };
        let group = self.tables.online(&header.consumer_group).cloned();
        Some(MessageFilter::ByOrigin(group.unwrap_or_else(|| Arc::new(nothing()))))
    }

    fn hold_time(&self, header: &PullHeader<'_>) -> Option<Duration> {
        if header.sys_flag & pull_flag::SUSPEND == 0 {
            return None;
        }
        let asked = u64::try_from(header.suspend_timeout_millis?).ok().filter(|&millis| millis > 0)?;
        let short = self.config.short_polling_time_mills;
        Some(Duration::from_millis(if self.config.long_polling_enable { asked } else { short }))
    }

    /// Reads, then answers, holds, or waits for the disk.
    pub(crate) fn run_pull(&mut self, wire: &mut Wire<'_>, mut pull: Pull) {
        if let Some(target) = self.offsets.take_reset(&pull.group, &pull.topic, pull.queue_id) {
            return self.answer_reset(wire, &pull, target);
        }
        let config = &self.config;
        let limits = ReadLimits {
            messages_max: pull.max_messages,
            memory_messages_max: config.max_transfer_count_in_memory as usize,
            memory_bytes_max: config.max_transfer_bytes_in_memory as usize,
            disk_messages_max: config.max_transfer_count_in_disk as usize,
            disk_bytes_max: config.max_transfer_bytes_in_disk as usize,
        };
        match self.store.read(wire.io, &pull.topic, pull.queue_id, pull.offset, limits, &pull.filter) {
            Read::Ready(result) => {
                let code = code_of(result.status, pull.offset);
                if code == response::PULL_NOT_FOUND
                    && let Some(hold) = pull.hold.take()
                    && !self.draining
                    && !self.held.is_full()
                {
                    let deadline = wire.io.now() + hold;
                    wire.note_known_to(&pull.caller, self.me);
                    return self.held.hold(pull, deadline);
                }
                self.answer_pull(wire, &pull, code, result);
            }
            Read::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Pull(pull));
            }
            Read::Failed(ReadError::Busy) => wire.refuse(&pull.caller, response::SYSTEM_BUSY, OVERLOAD),
            Read::Failed(error) => {
                tracing::error!(topic = %pull.topic, queue = pull.queue_id, offset = pull.offset, %error, "pull failed");
                wire.refuse(&pull.caller, response::SYSTEM_ERROR, &remarks::read_failed(&error));
            }
        }
    }

    fn answer_pull(&mut self, wire: &mut Wire<'_>, pull: &Pull, code: i32, result: ReadResult) {
        let now = wire.io.now();
        self.offsets.pulled(&pull.group, &pull.topic, pull.queue_id, result.next_begin_offset);
        self.stats.got(
            now,
            &pull.group,
            &pull.topic,
            result.count,
            result.bytes,
            now.since(pull.caller.received),
        );
        let fields = [
            ("groupSysFlag", FieldValue::Int(pull.group_sys_flag.into())),
            ("maxOffset", FieldValue::Int(result.max_offset)),
            ("minOffset", FieldValue::Int(result.min_offset)),
            ("nextBeginOffset", FieldValue::Int(result.next_begin_offset)),
            ("suggestWhichBrokerId", FieldValue::Int(pull.suggest_broker)),
            ("topicSysFlag", FieldValue::Int(pull.topic_sys_flag.into())),
        ];
        let remark = Some(remark_of(result.status));
        wire.answer(&pull.caller, Answer { code, remark, fields: &fields, body: result.records });
    }

    /// An operator moved the group: it is told where to, once.
    fn answer_reset(&mut self, wire: &mut Wire<'_>, pull: &Pull, target: i64) {
        let (min, max) = self.bounds(&pull.topic, pull.queue_id);
        self.offsets.pulled(&pull.group, &pull.topic, pull.queue_id, target);
        let fields = [
            ("groupSysFlag", FieldValue::Int(pull.group_sys_flag.into())),
            ("maxOffset", FieldValue::Int(max)),
            ("minOffset", FieldValue::Int(min)),
            ("nextBeginOffset", FieldValue::Int(target)),
            ("suggestWhichBrokerId", FieldValue::Int(pull.suggest_broker)),
            ("topicSysFlag", FieldValue::Int(pull.topic_sys_flag.into())),
        ];
        let (code, remark) = (response::PULL_OFFSET_MOVED, Some("OFFSET_RESET"));
        wire.answer(&pull.caller, Answer { code, remark, fields: &fields, body: Vec::new() });
    }
}

/// The response code for a read status at `offset`.
fn code_of(status: ReadStatus, offset: i64) -> i32 {
    match status {
        ReadStatus::Found => response::SUCCESS,
        ReadStatus::MessageWasRemoving | ReadStatus::NoMatchedMessage => response::PULL_RETRY_IMMEDIATELY,
        ReadStatus::OffsetOverflowOne => response::PULL_NOT_FOUND,
        ReadStatus::NoMatchedLogicQueue | ReadStatus::NoMessageInQueue if offset == 0 => {
            response::PULL_NOT_FOUND
        }
        ReadStatus::NoMatchedLogicQueue
        | ReadStatus::NoMessageInQueue
        | ReadStatus::OffsetOverflowBadly
        | ReadStatus::OffsetTooSmall => response::PULL_OFFSET_MOVED,
    }
}

/// The reference's name of a status. Queues of a topic exist there as soon as they are pulled; the store knows none without messages.
fn remark_of(status: ReadStatus) -> &'static str {
    match status {
        ReadStatus::NoMatchedLogicQueue => ReadStatus::NoMessageInQueue.name(),
        status => status.name(),
    }
}

#[cfg(test)]
impl Pull {
    /// A pull of queue 0 of topic `T` from offset 0, from that connection of shard 0.
    pub(crate) fn for_tests(connection: u32) -> Self {
        let origin = crate::message::Origin {
            shard: ringmq_reactor::ShardId(0),
            connection: ringmq_reactor::ConnectionId { index: connection, generation: 0 },
            peer: "192.0.2.1:1".parse().expect("address"),
            admitted: 0,
        };
        let to = ringmq_remoting::ResponseTo { opaque: 0, serialize: Default::default() };
        Self {
            caller: Caller { origin, to, oneway: false, received: ringmq_reactor::Monotonic(0) },
            group: Arc::from("g"),
            topic: Arc::from("T"),
            queue_id: 0,
            offset: 0,
            filter: MessageFilter::default(),
            max_messages: 32,
            hold: None,
            group_sys_flag: 0,
            topic_sys_flag: 0,
            suggest_broker: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_is_waited_for_only_from_its_beginning() {
        for status in [ReadStatus::NoMatchedLogicQueue, ReadStatus::NoMessageInQueue] {
            assert_eq!(code_of(status, 0), response::PULL_NOT_FOUND);
            assert_eq!(code_of(status, 7), response::PULL_OFFSET_MOVED);
        }
        assert_eq!(code_of(ReadStatus::OffsetOverflowOne, 7), response::PULL_NOT_FOUND);
        assert_eq!(code_of(ReadStatus::NoMatchedMessage, 7), response::PULL_RETRY_IMMEDIATELY);
        assert_eq!(code_of(ReadStatus::OffsetTooSmall, 0), response::PULL_OFFSET_MOVED);
    }
}
