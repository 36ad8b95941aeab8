//! Brokers share out queues: 400, 401, 402.

use std::collections::BTreeSet;
use std::rc::Rc;

use ringmq_remoting::body::{
    MessageQueue, MessageRequestMode, QueryAssignment, QueueAssignment, QueueAssignments,
};
use ringmq_remoting::code::response;
use tracing::info;

use super::{Answer, Outcome, Refusal, Request, no_such_topic};
use crate::coordination::allocate::{Strategy, for_pop, for_pull};
use crate::coordination::clients::BROADCASTING;
use crate::coordination::core::{Core, Response};
use crate::coordination::names::RETRY_PREFIX;
use crate::coordination::request_modes::{POP, PULL};
use crate::coordination::routes::readable_queues;

/// 400
pub(super) fn query(core: &Rc<Core>, request: &Request) -> Outcome {
    let asked = match QueryAssignment::from_json(request.command().body) {
        Ok(asked) => asked,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let mode = mode_of(&core, &asked);
        let queues = share(&core, &asked, &mode).await;
        let assignment = |message_queue| QueueAssignment { message_queue, mode: mode.mode.clone() };
        let message_queue_assignments = queues.map(|queues| queues.into_iter().map(assignment).collect());
        Ok(Response::body(QueueAssignments { message_queue_assignments }.to_json()))
    })
}

/// What was set for the group, or the default. Retry topics of push consumers are pulled.
fn mode_of(core: &Core, asked: &QueryAssignment) -> MessageRequestMode {
    if let Some(mode) = core.modes.borrow().get(&asked.topic, &asked.consumer_group) {
        return mode.clone();
    }
    let config = core.config();
    let is_popped = !asked.topic.starts_with(RETRY_PREFIX) && config.default_message_request_mode == POP;
    MessageRequestMode {
        consumer_group: asked.consumer_group.clone(),
        mode: if is_popped { POP } else { PULL }.to_owned(),
        pop_share_queue_num: config.default_pop_share_queue_num,
        topic: asked.topic.clone(),
    }
}

/// `None`: it cannot be said.
async fn share(
    core: &Rc<Core>,
    asked: &QueryAssignment,
    mode: &MessageRequestMode,
) -> Option<Vec<MessageQueue>> {
    let queues = readable_queues(core, &asked.topic).await?;
    if asked.message_model == BROADCASTING || !core.config().server_load_balancer_enable {
        return Some(queues.to_vec());
    }
    let strategy = Strategy::named(&asked.strategy_name)?;
    let members: BTreeSet<String> = {
        let clients = core.clients.borrow();
        let group = clients.consumers.get(&asked.consumer_group)?;
        group.members.values().map(|member| member.client_id.clone()).collect()
    };
    let members: Vec<String> = members.into_iter().collect();
    Some(if mode.mode == POP {
        for_pop(strategy, &asked.client_id, &queues, &members, mode.pop_share_queue_num)
    } else {
        for_pull(strategy, &asked.client_id, &queues, &members)
    })
}

/// 401
pub(super) fn set_mode(core: &Rc<Core>, request: &Request) -> Outcome {
    let checked = || -> Result<(), Refusal> {
        let mode = MessageRequestMode::from_json(request.command().body)?;
        let MessageRequestMode { topic, consumer_group: group, .. } = &mode;
        if topic.starts_with(RETRY_PREFIX) {
            return Err(Refusal::new(response::NO_PERMISSION, "retry topic is not allowed to set mode"));
        }
        if core.topics.borrow().get(topic).is_none() {
            return Err(no_such_topic(topic));
        }
        if core.groups.borrow().latest(group).is_none() {
            let remark = format!("subscription group does not exist: {group}");
            return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
        }
        info!(peer = %request.origin.peer, topic, group, mode = mode.mode,
            share = mode.pop_share_queue_num, "message request mode asked for");
        Ok(core.modes.borrow_mut().set(mode, core.now_ms())?)
    };
    if let Err(refusal) = checked() {
        return Outcome::Now(Err(refusal));
    }
    let saved = core.save();
    Outcome::later(async move {
        saved.outcome().await?;
        Ok(Response::success())
    })
}

/// 402
pub(super) fn all_modes(core: &Core) -> Answer {
    Ok(Response::body(core.modes.borrow().all().to_json()))
}
