//! Consumer offsets of whole groups and topics: 43, 45, 222, 300, 314, 343.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{GroupList, MessageQueue, ResetOffsetBody, TopicList};
use ringmq_remoting::code::response;
use ringmq_remoting::request::{GroupHeader, ResetOffsetHeader, TopicHeader};
use tracing::info;

use super::{Answer, Outcome, Refusal, Request, no_such_topic};
use crate::coordination::core::{Core, Response};
use crate::message::{self, Question, QueueOffset, ResetTarget};

/// 43
pub(super) fn all(core: &Core) -> Answer {
    Ok(Response::body(core.offsets.borrow().offsets_json()))
}

/// 45
pub(super) fn all_delay(core: &Core) -> Answer {
    Ok(Response::body(core.offsets.borrow().delay_json()))
}

struct Reset {
    group: String,
    topic: String,
    queue_id: Option<i32>,
    target: ResetTarget,
    force: bool,
}

/// 222: on the broker alone. The next pull of each queue is told to go on from the new offset; commits are ignored till then.
pub(super) fn reset(core: &Rc<Core>, request: &Request) -> Outcome {
    let reset = match read_reset(core, request) {
        Ok(reset) => reset,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    let Reset { group, topic, queue_id, target, force } = reset;
    info!(peer = %request.origin.peer, group, topic, ?queue_id, ?target, force, "offset reset asked for");
    let core = Rc::clone(core);
    Outcome::later(async move {
        let question = Question::ResetOffsets {
            group: Arc::from(group.as_str()),
            topic: Arc::from(topic.as_str()),
            queue_id,
            target,
            force,
        };
        let offsets = offsets_in(core.ask_all(question).await?);
        if offsets.is_empty() {
            let why =
                format!("no offset of group[{group}] in topic[{topic}] was reset: nothing fits the request");
            return Err(Refusal::new(response::SYSTEM_ERROR, why));
        }
        let broker_name = core.config().broker_name.clone();
        let queue = |offset: QueueOffset| {
            let queue = MessageQueue {
                broker_name: broker_name.clone(),
                queue_id: offset.queue_id,
                topic: offset.topic.to_string(),
            };
            (queue, offset.offset)
        };
        let offset_table = offsets.into_iter().map(queue).collect();
        Ok(Response::body(ResetOffsetBody { offset_table }.to_json()))
    })
}

fn read_reset(core: &Core, request: &Request) -> Result<Reset, Refusal> {
    let command = request.command();
    let header = ResetOffsetHeader::from_command(&command)?;
    if core.topics.borrow().get(&header.topic).is_none() {
        return Err(no_such_topic(&header.topic));
    }
    if core.groups.borrow().get(&header.group).is_none() {
        let text = format!("subscription group not exist, {}", header.group);
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, text));
    }
    let queue_id = header.queue_id.filter(|&queue_id| queue_id >= 0);
    let target = match (queue_id, header.offset) {
        (Some(_), Some(offset)) if offset >= 0 => ResetTarget::Offset(offset),
        _ if header.timestamp < 0 => ResetTarget::Max,
        _ => ResetTarget::Time(header.timestamp),
    };
    let (group, topic) = (header.group.into_owned(), header.topic.into_owned());
    Ok(Reset { group, topic, queue_id, target, force: header.is_force })
}

fn offsets_in(answers: Vec<message::Answer>) -> Vec<QueueOffset> {
    let offsets = answers.into_iter().filter_map(|answer| match answer {
        message::Answer::Offsets(offsets) => Some(offsets),
        _ => None,
    });
    offsets.flatten().collect()
}

/// 314
pub(super) fn clone(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let name = |field: &str| {
        command.field(field).filter(|name| !name.is_empty()).map(|name| Arc::<str>::from(&*name))
    };
    let (Some(from), Some(to)) = (name("srcGroup"), name("destGroup")) else {
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, "srcGroup and destGroup are needed")));
    };
    let question = Question::CloneOffsets { from, to, topic: name("topic") };
    let core = Rc::clone(core);
    Outcome::later(async move {
        core.ask_all(question).await?;
        Ok(Response::success())
    })
}

/// Topics in which a group has offsets, from the owners of the queues.
pub(super) async fn topics_with_offsets(core: &Core, group: &str) -> Result<BTreeSet<String>, Refusal> {
    let question = Question::GroupOffsets { group: Arc::from(group), topic: None };
    let offsets = offsets_in(core.ask_all(question).await?);
    Ok(offsets.into_iter().map(|offset| offset.topic.to_string()).collect())
}

/// 343
pub(super) fn topics_of_group(core: &Rc<Core>, request: &Request) -> Outcome {
    let group = match GroupHeader::from_command(&request.command()) {
        Ok(header) => header.group.into_owned(),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let topic_list = topics_with_offsets(&core, &group).await?.into_iter().collect();
        let broker_addr = Some(core.address().to_string());
        Ok(Response::body(TopicList { broker_addr, topic_list }.to_json()))
    })
}

/// 300: groups that are online with that topic, and groups that have offsets in it.
pub(super) fn groups_of_topic(core: &Rc<Core>, request: &Request) -> Outcome {
    let topic = match TopicHeader::from_command(&request.command()) {
        Ok(header) => header.topic.into_owned(),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let answers = core.ask_all(Question::TopicGroups { topic: Arc::from(topic.as_str()) }).await?;
        let mut groups: BTreeSet<String> = BTreeSet::new();
        for answer in answers {
            if let message::Answer::Groups(names) = answer {
                groups.extend(names.iter().map(ToString::to_string));
            }
        }
        let clients = core.clients.borrow();
        let online = clients.consumers.iter().filter(|(_, group)| group.subscriptions.contains_key(&topic));
        groups.extend(online.map(|(name, _)| name.to_owned()));
        Ok(Response::body(GroupList { group_list: groups.into_iter().collect() }.to_json()))
    })
}
