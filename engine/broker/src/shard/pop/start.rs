//! Requests for messages: the checks, in the reference's order, and the begin of a pop at its home.

use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::Monotonic;
use ringmq_remoting::FieldValue;
use ringmq_remoting::body::{EXPRESSION_SQL92, EXPRESSION_TAG};
use ringmq_remoting::code::response;
use ringmq_remoting::pop::Origin;
use ringmq_remoting::request::{NotificationHeader, PeekHeader, PollingInfoHeader, PopHeader};

use super::super::incoming::Incoming;
use super::super::plane::{Plane, Served};
use super::super::send::Refusal;
use super::super::wire::{Answer, OVERLOAD, Wire};
use super::limits::{INVISIBLE_MS_MAX, POP_MESSAGES_MAX, TOO_LATE_MS};
use super::{Found, Pop, Purpose, Stage};
use crate::filter::{MessageFilter, TagFilter};
use crate::message::Ensure;
use crate::remarks;

/// What a request asks for, whatever its kind.
struct Wanted<'a> {
    purpose: Purpose,
    group: &'a str,
    topic: &'a str,
    queue_id: i32,
    max_messages: i32,
    invisible_time: i64,
    /// pollTime and bornTime, ms.
    poll: Option<(i64, i64)>,
    from_end: bool,
    expression: Option<(&'a str, Option<&'a str>)>,
    order: bool,
    attempt_id: Option<&'a str>,
}

impl Plane {
    /// 200050
    pub(crate) fn pop(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = PopHeader::from_command(incoming.command)?;
        let wanted = Wanted {
            purpose: Purpose::Take,
            group: &header.consumer_group,
            topic: &header.topic,
            queue_id: header.queue_id,
            max_messages: header.max_msg_nums,
            invisible_time: header.invisible_time,
            poll: Some((header.poll_time, header.born_time.unwrap_or(0))),
            from_end: header.init_mode == 1,
            expression: header.exp.as_deref().map(|text| (text, header.exp_type.as_deref())),
            order: header.order == Some(true),
            attempt_id: header.attempt_id.as_deref(),
        };
        self.begin_pop(wire, incoming, &wanted);
        Ok(())
    }

    /// 200052
    pub(crate) fn peek(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = PeekHeader::from_command(incoming.command)?;
        let wanted = Wanted {
            purpose: Purpose::Peek,
            group: &header.consumer_group,
            topic: &header.topic,
            queue_id: header.queue_id,
            max_messages: header.max_msg_nums,
            invisible_time: 0,
            poll: None,
            from_end: false,
            expression: None,
            order: false,
            attempt_id: None,
        };
        self.begin_pop(wire, incoming, &wanted);
        Ok(())
    }

    /// 200054
    pub(crate) fn notification(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = NotificationHeader::from_command(incoming.command)?;
        let wanted = Wanted {
            purpose: Purpose::Notify,
            group: &header.consumer_group,
            topic: &header.topic,
            queue_id: header.queue_id,
            max_messages: 1,
            invisible_time: 0,
            poll: Some((header.poll_time, header.born_time)),
            from_end: false,
            expression: header.exp.as_deref().map(|text| (text, header.exp_type.as_deref())),
            order: header.order == Some(true),
            attempt_id: header.attempt_id.as_deref(),
        };
        self.begin_pop(wire, incoming, &wanted);
        Ok(())
    }

    /// 200055
    pub(crate) fn polling_info(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = PollingInfoHeader::from_command(incoming.command)?;
        if self.pass_to_home(wire, incoming, &header.consumer_group, &header.topic) {
            return Ok(());
        }
        let (group, topic) = (Arc::from(&*header.consumer_group), Arc::from(&*header.topic));
        let queue_id = (header.queue_id >= 0).then_some(header.queue_id);
        let count = self.pops.held.count(&topic, &group, queue_id);
        let count = FieldValue::Int(i64::try_from(count).unwrap_or(i64::MAX));
        wire.answer(&incoming.caller, Answer::success(&[("pollingNum", count)]));
        Ok(())
    }

    /// The kind of retries that are written, as configured.
    pub(super) fn retry_origin(&self) -> Origin {
        if self.config.enable_retry_topic_v2 { Origin::RetryV2 } else { Origin::RetryV1 }
    }

    /// Name of the topic for a group's retries of a topic, as configured.
    pub(crate) fn pop_retry_topic(&self, group: &str, topic: &str) -> String {
        self.retry_origin().topic(topic, group)
    }

    fn pass_to_home(
        &mut self,
        wire: &mut Wire<'_>,
        incoming: &Incoming<'_>,
        group: &str,
        topic: &str,
    ) -> bool {
        let home = self.owner.of(&self.pop_retry_topic(group, topic), 0);
        if home == self.me {
            return false;
        }
        self.forward(wire, home, incoming);
        true
    }

    fn begin_pop(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>, wanted: &Wanted<'_>) {
        if self.pass_to_home(wire, incoming, wanted.group, wanted.topic) {
            return;
        }
        if self.tables.group(wanted.group).is_none() {
            let group = wanted.group.to_owned();
            if self.broker_readable() && self.ensure(wire, incoming, Ensure::Group { group }) {
                return;
            }
        }
        let mut pop = match self.check_pop(wire, incoming, wanted) {
            Ok(pop) => pop,
            Err(refusal) => return wire.refuse(&incoming.caller, refusal.code, &refusal.remark),
        };
        let takes_retries = wanted.purpose == Purpose::Take && !wanted.order;
        if takes_retries && self.tables.topic(&pop.retry_topic).is_none() {
            // Made with the first pop: acknowledgements of retried messages name it.
            let what = Ensure::GroupTopic { topic: pop.retry_topic.to_string(), queues: 1 };
            if self.ensure(wire, incoming, what) {
                return;
            }
        }
        if let Some((poll_time, born_time)) = wanted.poll {
            pop.hold_until = hold_until(wire.io.now(), now_ms(wire), poll_time, born_time);
        }
        wire.note_known_to(&pop.caller, self.me);
        self.pops.running.begin(&pop);
        self.walk_pop(wire, Box::new(pop));
    }

    fn check_pop(
        &mut self,
        wire: &Wire<'_>,
        incoming: &Incoming<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Pop, Refusal> {
        let broker = self.address.ip();
        let no_permission = |remark: String| Err(Refusal::new(response::NO_PERMISSION, remark));
        if let Some((poll_time, born_time)) = wanted.poll
            && born_time > 0
            && now_ms(wire).saturating_sub(born_time).saturating_sub(poll_time) > TOO_LATE_MS
        {
            let remark = format!("the broker[{broker}] pop message is timeout too much");
            return Err(Refusal::new(response::POLLING_TIMEOUT, remark));
        }
        if !self.broker_readable() {
            return no_permission(format!("the broker[{broker}] pop message is forbidden"));
        }
        if wanted.max_messages > POP_MESSAGES_MAX {
            let remark = format!("the broker[{broker}] pop message's num is greater than {POP_MESSAGES_MAX}");
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        if wanted.purpose == Purpose::Take && !self.config.timer_wheel_enable {
            let remark =
                format!("the broker[{broker}] pop message is forbidden because timerWheelEnable is false");
            return Err(Refusal::new(response::SYSTEM_ERROR, remark));
        }
        let name = wanted.topic;
        let Some(topic) = self.tables.topic(name) else {
            return Err(Refusal::new(response::TOPIC_NOT_EXIST, remarks::no_topic(name)));
        };
        if !topic.config.perm.readable() {
            return no_permission(format!("the topic[{name}] peeking message is forbidden"));
        }
        let (queue_id, queues) = (wanted.queue_id, topic.config.read_queues);
        if queue_id >= queues {
            let remark = remarks::illegal_queue(queue_id, name, queues, incoming.caller.origin.peer);
            return Err(Refusal::new(response::INVALID_PARAMETER, remark));
        }
        let Some(group) = self.tables.group(wanted.group) else {
            let remark = remarks::no_group(wanted.group);
            return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        };
        if !group.config.consume_enable {
            return no_permission(remarks::group_forbidden(wanted.group));
        }
        if self.acks.is_full() {
            return Err(Refusal::new(response::SYSTEM_BUSY, OVERLOAD));
        }
        let (group, topic) = (Arc::clone(&group.name), Arc::clone(&topic.name));
        let filter = match wanted.expression {
            Some((expression, kind)) => self.filter_of_pop(expression, kind)?,
            None => MessageFilter::default(),
        };
        Ok(Pop {
            caller: incoming.caller,
            purpose: wanted.purpose,
            group,
            topic,
            retry_topic: Arc::from(self.pop_retry_topic(wanted.group, name)),
            queue_id: (queue_id >= 0).then_some(queue_id),
            filter,
            max_messages: usize::try_from(wanted.max_messages).unwrap_or(0).max(1),
            invisible_time: wanted.invisible_time.clamp(0, INVISIBLE_MS_MAX),
            pop_time: 0,
            from_end: wanted.from_end,
            order: wanted.order,
            attempt_id: wanted.attempt_id.filter(|id| !id.is_empty()).map(Box::from),
            hold_until: None,
            random: 0,
            stage: Stage::Home,
            retry_first: false,
            arrivals: 0,
            found: Found::default(),
            unacknowledged: false,
            refusal: None,
        })
    }

    /// The filter of a request; nothing is every message.
    fn filter_of_pop(&mut self, text: &str, kind: Option<&str>) -> Result<MessageFilter, Refusal> {
        let failed = |why: String| {
            let remark = format!("parse the consumer's subscription failed{why}");
            Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, remark)
        };
        let Some(kind) = kind.filter(|kind| !matches!(*kind, "" | EXPRESSION_TAG)) else {
            return TagFilter::parse(text).map(MessageFilter::Tags).ok_or_else(|| failed(String::new()));
        };
        if text.is_empty() {
            return Ok(MessageFilter::default());
        }
        self.check_property_filter(kind)?;
        if kind != EXPRESSION_SQL92 {
            return Err(failed(format!(": {kind} is no language of filters")));
        }
        let compiled = self.expressions.compile(text);
        compiled.map(MessageFilter::Properties).map_err(|error| failed(format!(": {error}")))
    }

    /// Begins a walk, the first or a further one.
    pub(super) fn walk_pop(&mut self, wire: &mut Wire<'_>, mut pop: Box<Pop>) {
        pop.random = wire.io.random();
        pop.pop_time = now_ms(wire);
        pop.arrivals = self.pops.running.count(&pop);
        pop.found = Found::default();
        // The high half chooses where to start, the low one whether retries come first.
        let dice = pop.random & 0xFFFF_FFFF;
        pop.retry_first = dice % 100 < u64::from(self.config.pop_from_retry_probability);
        pop.stage = match (self.draining, pop.order, pop.retry_first) {
            (true, ..) => Stage::Home,
            (false, false, true) => Stage::RetryFirst,
            _ => Stage::Queues { shard: 0, queue: 0 },
        };
        self.advance_pop(wire, pop);
    }
}

/// Wall clock in the form of header fields.
pub(super) fn now_ms(wire: &Wire<'_>) -> i64 {
    super::super::put::wall_ms(wire.io)
}

/// Until when a request may be held. The client's clock counts, as in the reference; 0: it made the request now.
fn hold_until(now: Monotonic, now_ms: i64, poll_time: i64, born_time: i64) -> Option<Monotonic> {
    let since = if born_time > 0 { born_time } else { now_ms };
    let left = since.saturating_add(poll_time).saturating_sub(now_ms);
    let left = u64::try_from(left).ok().filter(|&left| left > 0 && poll_time > 0)?;
    Some(now + Duration::from_millis(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pop_waits_from_the_time_when_it_was_made() {
        let second = 1_000_000_000;
        assert_eq!(hold_until(Monotonic(0), 10_000, 15_000, 0), Some(Monotonic(15 * second)));
        assert_eq!(hold_until(Monotonic(0), 10_000, 15_000, 8_000), Some(Monotonic(13 * second)));
        assert_eq!(hold_until(Monotonic(0), 10_000, 1_000, 8_000), None);
        assert_eq!(hold_until(Monotonic(0), 10_000, 0, 12_000), None);
        assert_eq!(hold_until(Monotonic(0), 10_000, -5, 0), None);
    }
}
