//! 222: an operator moves a group's offsets.
//!
//! The new way (`useServerSideResetOffset`, on by default) works without clients: the next pull of each queue is told to go on from the
//! new offset, and commits do not count till then. The old way, of servers up to 5.1, tells the members that are online (220); they stop
//! pulling, commit the new offsets and go on from there.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{MessageQueue, ResetOffsetBody, ResetOffsetBodyForC, ResetOffsetEntryForC};
use ringmq_remoting::code::{Language, request as code, response, version};
use ringmq_remoting::request::ResetOffsetHeader;
use ringmq_transport::Request as Outgoing;
use tracing::info;

use super::offsets::offsets_in;
use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::message::{self, Question, QueueOffset, ResetTarget};

struct Reset {
    group: Arc<str>,
    topic: Arc<str>,
    queue_id: Option<i32>,
    timestamp: i64,
    target: ResetTarget,
    force: bool,
    /// Clients in C++ read another form of the notice; so does the tool that asks for it.
    is_for_c: bool,
}

/// 222
pub(super) fn reset(core: &Rc<Core>, request: &Request) -> Outcome {
    let reset = match read(request) {
        Ok(reset) => reset,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    let Reset { group, topic, queue_id, target, force, .. } = &reset;
    info!(peer = %request.origin.peer, %group, %topic, ?queue_id, ?target, force, "offset reset asked for");
    let core = Rc::clone(core);
    if core.config().use_server_side_reset_offset {
        Outcome::later(async move { on_broker(&core, reset).await })
    } else {
        Outcome::later(async move { on_clients(&core, reset).await })
    }
}

fn read(request: &Request) -> Result<Reset, Refusal> {
    let command = request.command();
    let header = ResetOffsetHeader::from_command(&command)?;
    let queue_id = header.queue_id.filter(|&queue_id| queue_id >= 0);
    let target = match (queue_id, header.offset) {
        (Some(_), Some(offset)) if offset != -1 => ResetTarget::Offset(offset),
        _ if header.timestamp < 0 => ResetTarget::Max,
        _ => ResetTarget::Time(header.timestamp),
    };
    Ok(Reset {
        group: Arc::from(&*header.group),
        topic: Arc::from(&*header.topic),
        queue_id,
        timestamp: header.timestamp,
        target,
        force: header.is_force,
        is_for_c: command.language == Language::Cpp,
    })
}

async fn on_broker(core: &Core, reset: Reset) -> Answer {
    let Reset { group, topic, queue_id, target, force, .. } = reset;
    if core.topics.borrow().get(&topic).is_none() {
        return Err(Refusal::new(response::TOPIC_NOT_EXIST, format!("Topic {topic} does not exist")));
    }
    if core.groups.borrow().get(&group).is_none() {
        let text = format!("Group {group} does not exist");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, text));
    }
    let question = Question::ResetOffsets {
        group: Arc::clone(&group),
        topic: Arc::clone(&topic),
        queue_id,
        target,
        force,
    };
    let offsets = offsets_in(core.ask_all(question).await?);
    if offsets.is_empty() {
        return Err(nothing_reset(core, topic, queue_id, target).await?);
    }
    Ok(Response::body(ResetOffsetBody { offset_table: by_queue(core, &offsets) }.to_json()))
}

/// Why no queue was reset.
async fn nothing_reset(
    core: &Core,
    topic: Arc<str>,
    queue_id: Option<i32>,
    target: ResetTarget,
) -> Result<Refusal, Refusal> {
    let (Some(queue_id), ResetTarget::Offset(offset)) = (queue_id, target) else {
        return Ok(Refusal::new(response::SYSTEM_ERROR, "No queues to reset."));
    };
    let answers = core.ask_all(Question::TopicStats { topic: Arc::clone(&topic) }).await?;
    let queue = answers.into_iter().find_map(|answer| match answer {
        message::Answer::TopicStats(queues) => queues.into_iter().find(|queue| queue.queue_id == queue_id),
        _ => None,
    });
    let text = match queue {
        Some(queue) => format!(
            "Target offset {offset} not in consume queue range [{}-{}]",
            queue.min_offset, queue.max_offset
        ),
        None => format!("topic[{topic}] has no queue {queue_id}"),
    };
    Ok(Refusal::new(response::SYSTEM_ERROR, text))
}

async fn on_clients(core: &Core, reset: Reset) -> Answer {
    let Reset { group, topic, target, force, .. } = &reset;
    let Some(queues) = core.topics.borrow().get(topic).map(|topic| topic.write_queue_nums) else {
        let text = format!("[reset-offset] reset offset failed, no topic in this broker. topic={topic}");
        return Err(Refusal::new(response::TOPIC_NOT_EXIST, text));
    };
    let question = Question::GroupOffsets { group: Arc::clone(group), topic: Some(Arc::clone(topic)) };
    let committed: BTreeMap<i32, i64> =
        offsets_in(core.ask_all(question).await?).into_iter().map(|o| (o.queue_id, o.offset)).collect();
    if (0..queues).any(|queue_id| !committed.contains_key(&queue_id)) {
        // The reference's text, misprint included.
        let text = format!("THe consumer group <{group}> not exist");
        return Err(Refusal::new(response::SYSTEM_ERROR, text));
    }
    let question = Question::ResetTargets {
        group: Arc::clone(group),
        topic: Arc::clone(topic),
        target: if *target == ResetTarget::Max { *target } else { ResetTarget::Time(reset.timestamp) },
    };
    let mut offsets = offsets_in(core.ask_all(question).await?);
    for offset in &mut offsets {
        let before = committed.get(&offset.queue_id).copied().unwrap_or(offset.offset);
        if !force && offset.offset >= before {
            offset.offset = before;
        }
    }
    tell_members(core, &reset, &offsets)?;
    Ok(Response::body(ResetOffsetBody { offset_table: by_queue(core, &offsets) }.to_json()))
}

/// Sends 220 to every member.
fn tell_members(core: &Core, reset: &Reset, offsets: &[QueueOffset]) -> Result<(), Refusal> {
    let Reset { group, topic, timestamp, .. } = reset;
    let clients = core.clients.borrow();
    let Some(online) = clients.consumers.get(group) else {
        let text = format!(
            "Consumer not online, so can not reset offset, Group: {group} Topic: {topic} Timestamp: {timestamp}"
        );
        return Err(Refusal::new(response::CONSUMER_NOT_ONLINE, text));
    };
    if let Some(old) = online.members.values().find(|member| member.version < version::V3_0_7_SNAPSHOT) {
        let shown = version::name(old.version).unwrap_or_else(|| old.version.to_string());
        let text = format!("the client does not support this feature. version={shown}");
        return Err(Refusal::new(response::SYSTEM_ERROR, text));
    }
    let table = by_queue(core, offsets);
    let body = if reset.is_for_c {
        let entry = |(queue, offset): (MessageQueue, i64)| ResetOffsetEntryForC {
            broker_name: queue.broker_name,
            offset,
            queue_id: queue.queue_id,
            topic: queue.topic,
        };
        ResetOffsetBodyForC { offset_table: table.into_iter().map(entry).collect() }.to_json()
    } else {
        ResetOffsetBody { offset_table: table }.to_json()
    };
    let notice = Outgoing::new(code::RESET_CONSUMER_CLIENT_OFFSET)
        .str("topic", &**topic)
        .str("group", &**group)
        .int("timestamp", *timestamp)
        // Members take the table as it is: what `isForce` asks for has been decided here.
        .bool("isForce", false)
        .int("queueId", -1)
        .body(body);
    for member in online.members.values() {
        core.relay.notify(core, member.channel, &notice);
    }
    Ok(())
}

fn by_queue(core: &Core, offsets: &[QueueOffset]) -> BTreeMap<MessageQueue, i64> {
    let broker_name = core.config().broker_name.clone();
    let queue = |offset: &QueueOffset| {
        let queue = MessageQueue {
            broker_name: broker_name.clone(),
            queue_id: offset.queue_id,
            topic: offset.topic.to_string(),
        };
        (queue, offset.offset)
    };
    offsets.iter().map(queue).collect()
}
