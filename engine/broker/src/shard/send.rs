//! SEND_MESSAGE (10, 310) and SEND_BATCH_MESSAGE (320): the checks, in the reference's order, and the way to the queue's owner.
//!
//! The shard that holds the connection checks first; the owner of the queue checks again, against its own copy of the tables, which
//! may be newer. Both decide by the same function, so a request that was passed on is at home where it arrives.

use std::sync::Arc;

use ringmq_remoting::code::response;
use ringmq_remoting::record::properties::name;
use ringmq_remoting::record::sys_flag;
use ringmq_remoting::request::SendHeader;
use ringmq_store::AppendError;

use super::acks::PENDING_SENDS_MAX;
use super::incoming::Incoming;
use super::plane::{Plane, Served};
use super::properties::{Found, copy_without, push};
use super::reserved::{is_not_for_clients, retry_group};
use super::wire::{OVERLOAD, REJECT_REQUEST, Wire};
use crate::coordination::names::{self, DEAD_LETTER_PREFIX};
use crate::message::{Ensure, Perm};
use crate::remarks;

/// Client version from which the limit of attempts in a request counts (V3_4_9).
pub(crate) const VERSION_WITH_MAX_RECONSUME_TIMES: i32 = 121;

/// Where a message goes.
pub(crate) struct Destination {
    pub(crate) topic: Arc<str>,
    pub(crate) queue_id: i32,
    /// Its group has given up on it: no delay any more.
    pub(crate) dead_letter: bool,
}

/// Why a request is not served here and now.
pub(crate) enum Detour {
    /// Not at all.
    Refused(Refusal),
    /// Something has to be created first; without it the request is refused.
    Missing(Ensure, Refusal),
}

/// A response code and its remark.
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) remark: String,
}

impl Refusal {
    pub(crate) fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }
}

impl From<Refusal> for Detour {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Plane {
    pub(crate) fn send(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = SendHeader::from_command(incoming.command)?;
        if let Err(refusal) = self.check_service() {
            wire.refuse(&incoming.caller, refusal.code, &refusal.remark);
            return Ok(());
        }
        let random = if header.queue_id < 0 { wire.io.random() } else { 0 };
        let destination = match self.destination(&header, incoming, wire.io.wall_ms(), random) {
            Ok(destination) => destination,
            Err(detour) => {
                self.take_detour(wire, incoming, detour);
                return Ok(());
            }
        };
        let owner = self.owner.of(&destination.topic, destination.queue_id);
        if owner != self.me {
            self.forward(wire, owner, incoming);
        } else if header.batch {
            self.store_batch(wire, incoming, &header, &destination);
        } else {
            self.store_message(wire, incoming, &header, &destination);
        }
        Ok(())
    }

    /// Refuses, or has the missing thing created.
    pub(crate) fn take_detour(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>, detour: Detour) {
        let refusal = match detour {
            Detour::Refused(refusal) => refusal,
            Detour::Missing(what, refusal) => {
                if self.ensure(wire, incoming, what) {
                    return;
                }
                refusal
            }
        };
        wire.refuse(&incoming.caller, refusal.code, &refusal.remark);
    }

    /// Whether this shard takes messages at all.
    pub(crate) fn check_service(&self) -> Result<(), Refusal> {
        if self.draining {
            let remark = "service not available now. The broker is shutting down";
            return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
        }
        if self.acks.is_full() {
            tracing::debug!(limit = PENDING_SENDS_MAX, "refusing sends: as many wait for the disk as may");
            return Err(Refusal::new(response::SYSTEM_BUSY, OVERLOAD));
        }
        Ok(())
    }

    pub(crate) fn broker_writable(&self) -> bool {
        Perm(i32::try_from(self.config.broker_permission).unwrap_or(0)).writable()
    }

    fn destination(
        &self,
        header: &SendHeader<'_>,
        incoming: &Incoming<'_>,
        wall_ms: u64,
        random: u64,
    ) -> Result<Destination, Detour> {
        let name: &str = &header.topic;
        let entry = self.tables.topic(name);
        if !self.broker_writable() && entry.is_some_and(|topic| topic.config.order) {
            let remark = format!("the broker[{}] sending message is forbidden", self.address.ip());
            return Err(Refusal::new(response::NO_PERMISSION, remark).into());
        }
        let Some(topic) = entry else {
            names::check_topic(name)
                .map_err(|error| Refusal::new(response::INVALID_PARAMETER, error.to_string()))?;
            check_for_clients(name)?;
            return Err(missing_topic(header));
        };
        check_for_clients(name)?;
        let queues = topic.config.read_queues.max(topic.config.write_queues);
        if header.queue_id >= queues {
            let peer = incoming.caller.origin.peer;
            let remark = format!(
                "request queueId[{}] is illegal, topic[{name}] has {queues} queues, producer: {peer}",
                header.queue_id
            );
            return Err(Refusal::new(response::INVALID_PARAMETER, remark).into());
        }
        if let Some(group) = retry_group(name)
            && self.is_given_up(group, header, incoming, wall_ms)?
        {
            return self.dead_letter_queue(group);
        }
        let queue_id = match header.queue_id {
            chosen @ 0.. => chosen,
            _ => self.any_queue(name, topic.config.write_queues, incoming, random),
        };
        Ok(Destination { topic: Arc::clone(&topic.name), queue_id, dead_letter: false })
    }

    /// A queue for a request that leaves the choice to the broker. The connection's shard draws among all queues; the owner of the
    /// drawn queue, which is only told that it owns it, draws among its own.
    fn any_queue(&self, topic: &str, queues: i32, incoming: &Incoming<'_>, random: u64) -> i32 {
        let queues = queues.max(1);
        let below =
            |count: i32| i32::try_from(random % u64::from(count.unsigned_abs())).expect("below an i32");
        let was_forwarded = incoming.caller.origin.shard != self.me;
        if !was_forwarded {
            return below(queues);
        }
        let ours = || (0..queues).filter(|&queue| self.owner.of(topic, queue) == self.me);
        match i32::try_from(ours().count()) {
            Ok(count @ 1..) => {
                ours().nth(usize::try_from(below(count)).expect("not negative")).expect("counted")
            }
            // The topic has changed on the way: another shard owns what is drawn now.
            _ => below(queues),
        }
    }

    /// Whether a message for a retry topic is a dead letter instead.
    fn is_given_up(
        &self,
        group: &str,
        header: &SendHeader<'_>,
        incoming: &Incoming<'_>,
        wall_ms: u64,
    ) -> Result<bool, Detour> {
        let Some(entry) = self.tables.group(group) else { return Err(missing_group(group)) };
        let limit = header
            .max_reconsume_times
            .filter(|_| incoming.command.version >= VERSION_WITH_MAX_RECONSUME_TIMES)
            .unwrap_or(entry.config.retry_max_times);
        Ok(header.reconsume_times > limit || self.tables.is_locked(group, wall_ms))
    }

    /// Queue 0 of a group's dead-letter topic.
    pub(crate) fn dead_letter_queue(&self, group: &str) -> Result<Destination, Detour> {
        let name = format!("{DEAD_LETTER_PREFIX}{group}");
        let Some(topic) = self.tables.topic(&name) else {
            let refusal = Refusal::new(response::SYSTEM_ERROR, format!("topic[{name}] not exist"));
            return Err(Detour::Missing(Ensure::GroupTopic { topic: name, queues: 1 }, refusal));
        };
        Ok(Destination { topic: Arc::clone(&topic.name), queue_id: 0, dead_letter: true })
    }

    /// What a message must not be, whoever owns its queue.
    pub(crate) fn check_message(
        &self,
        header: &SendHeader<'_>,
        found: &Found<'_>,
        body: &[u8],
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let needs_key = self.tables.topic(&header.topic).is_some_and(|topic| topic.config.compaction);
        if needs_key && found.keys.is_none_or(str::is_empty) {
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, "Required message key is missing"));
        }
        let is_delayed_retry = header.reconsume_times > 0 && found.delay_level > 0;
        let is_half = matches!(
            header.sys_flag & sys_flag::TRANSACTION_MASK,
            sys_flag::TRANSACTION_PREPARED | sys_flag::TRANSACTION_ROLLBACK
        );
        if (found.half || is_half) && !is_delayed_retry {
            let remark = format!(
                "the broker[{}] sending transaction message is forbidden: this version of RingMQ does not have transactions",
                self.address.ip()
            );
            return Err(Refusal::new(response::NO_PERMISSION, remark));
        }
        if body.len() > self.config.max_message_size as usize {
            return Err(self.illegal());
        }
        if found.delay_level > 0 {
            return Ok(());
        }
        match found.deliver_at(now_ms) {
            None => Ok(()),
            Some(Ok(due)) if due <= now_ms => Ok(()),
            Some(Ok(_)) => {
                let remark = "messages for a given time (TIMER_DELAY_SEC, TIMER_DELAY_MS, TIMER_DELIVER_MS) are not \
                              supported by this version of RingMQ: use a delay level";
                Err(Refusal::new(response::SYSTEM_ERROR, remark))
            }
            Some(Err(_)) => Err(self.illegal()),
        }
    }

    /// Code 13 in the reference's words.
    pub(crate) fn illegal(&self) -> Refusal {
        let limit = self.config.max_message_size;
        let remark = format!(
            "the message is illegal, maybe msg body or properties length not matched. msg body length limit {limit}B, \
             msg properties length limit 32KB."
        );
        Refusal::new(response::MESSAGE_ILLEGAL, remark)
    }

    /// In the reference's words, with the cause behind them. There is one file system for everything.
    fn disk_is_full(&self, error: &AppendError) -> String {
        let used = self.store.used_space();
        format!(
            "service not available now. It may be caused by one of the following reasons: the broker's disk is full \
             [CL: {used:5.2} CQ: {used:5.2} INDEX: {used:5.2}], messages are put to the slave, message store has been \
             shut down, etc. ({error})"
        )
    }

    /// The answer for a record that the store did not take.
    pub(crate) fn refusal_of(&mut self, error: &AppendError) -> Refusal {
        self.stats.put_failed();
        match error {
            AppendError::TailCacheFull { .. } | AppendError::Memory { .. } => {
                Refusal::new(response::SYSTEM_BUSY, REJECT_REQUEST)
            }
            AppendError::TooLarge { .. } => self.illegal(),
            AppendError::NoSegment { .. } | AppendError::DiskFull { .. } => {
                Refusal::new(response::SERVICE_NOT_AVAILABLE, self.disk_is_full(error))
            }
            AppendError::Poisoned(_) | AppendError::Closing => {
                Refusal::new(response::SERVICE_NOT_AVAILABLE, format!("service not available now. {error}"))
            }
            AppendError::ReservedTopic => Refusal::new(response::NO_PERMISSION, error.to_string()),
            AppendError::MixedBatch => Refusal::new(response::SYSTEM_ERROR, error.to_string()),
        }
    }
}

/// The text of a dead letter: it is not delayed any more.
pub(crate) fn without_delay(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    copy_without(text, &[name::DELAY], &mut out);
    push(&mut out, name::DELAY, "-1");
    out
}

fn check_for_clients(topic: &str) -> Result<(), Refusal> {
    if is_not_for_clients(topic) {
        let remark = format!("Sending message to topic[{topic}] is forbidden.");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    Ok(())
}

fn missing_topic(header: &SendHeader<'_>) -> Detour {
    let what = Ensure::SendTopic {
        topic: header.topic.to_string(),
        template: header.default_topic.to_string(),
        queues: header.default_topic_queue_nums,
        unit: header.unit_mode,
    };
    Detour::Missing(what, Refusal::new(response::TOPIC_NOT_EXIST, remarks::no_topic(&header.topic)))
}

/// A group that may be created on demand.
pub(crate) fn missing_group(group: &str) -> Detour {
    let what = Ensure::Group { group: group.to_owned() };
    let remark = format!("subscription group not exist, {group}");
    Detour::Missing(what, Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark))
}
