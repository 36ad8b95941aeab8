//! Topics: 17, 18, 215, 21, 351, 305, 316.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{TopicConfig, TopicConfigList, TopicList};
use ringmq_remoting::code::response;
use ringmq_remoting::pop::Origin as PopOrigin;
use ringmq_remoting::request::{CreateTopicHeader, GetTopicConfigHeader, TopicHeader};
use tracing::{error, info, warn};

use super::offsets::groups_with_offsets;
use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::attributes;
use crate::coordination::core::{Core, Response};
use crate::coordination::names::{self, NameError};
use crate::coordination::topics::TopicError;
use crate::message::Question;
use crate::metadata::journal::Saved;

/// Waits until a change is durable and the name servers know.
async fn publish(core: &Core, saved: Saved) -> Result<(), super::Refusal> {
    saved.outcome().await?;
    core.registration.settled(&core.io).await;
    Ok(())
}

/// After an attempt to create a topic that a request needs: waits until it can be relied on, or will not be.
pub(super) async fn created(core: &Core, topic: &str, created: Result<bool, TopicError>) {
    match created {
        // It may have been created a moment ago and not be published yet.
        Ok(is_new) => {
            let saved = core.save();
            if is_new {
                info!(topic, "topic created on demand");
            }
            if let Err(error) = saved.outcome().await {
                error!(topic, %error, "a topic was not created on demand");
            }
        }
        Err(error) => warn!(topic, %error, "topic not created"),
    }
}

/// 17
pub(super) fn update(core: &Rc<Core>, request: &Request) -> Outcome {
    match apply_one(core, request) {
        Ok(true) => {
            let (core, saved) = (Rc::clone(core), core.save());
            Outcome::later(async move { publish(&core, saved).await.map(|()| Response::success()) })
        }
        // What it equals may be on its way to the disk.
        Ok(false) => {
            let saved = core.save();
            Outcome::later(async move { Ok(saved.outcome().await.map(|()| Response::success())?) })
        }
        Err(refusal) => Outcome::Now(Err(refusal)),
    }
}

fn apply_one(core: &Core, request: &Request) -> Result<bool, super::Refusal> {
    let command = request.command();
    let header = CreateTopicHeader::from_command(&command)?;
    let signed = header.attributes.as_deref().map_or_else(|| Ok(BTreeMap::new()), attributes::parse);
    let wanted = TopicConfig {
        attributes: signed.map_err(TopicError::from)?,
        order: header.order.unwrap_or(false),
        perm: header.perm,
        read_queue_nums: header.read_queue_nums,
        topic_filter_type: header.topic_filter_type.into_owned(),
        topic_name: header.topic.into_owned(),
        topic_sys_flag: header.topic_sys_flag.unwrap_or(0),
        write_queue_nums: header.write_queue_nums,
    };
    info!(peer = %request.origin.peer, topic = wanted.topic_name, read = wanted.read_queue_nums,
        write = wanted.write_queue_nums, perm = wanted.perm, "topic update asked for");
    Ok(core.topics.borrow_mut().update(wanted, &core.config(), core.now_ms())?)
}

/// Code 18: all that are valid are stored; the first that is not is the answer. Topics that equal what is stored are skipped,
/// where the reference skips the whole request.
pub(super) fn update_list(core: &Rc<Core>, request: &Request) -> Outcome {
    let list = match TopicConfigList::from_json(request.command().body) {
        Ok(list) => list.topic_config_list,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let mut refused = None;
    let mut changed = false;
    for wanted in list {
        match core.topics.borrow_mut().update(wanted, &core.config(), core.now_ms()) {
            Ok(differs) => changed |= differs,
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let (core, saved) = (Rc::clone(core), core.save());
    Outcome::later(async move {
        match changed {
            true => publish(&core, saved).await?,
            false => saved.outcome().await?,
        }
        refused.map_or_else(|| Ok(Response::success()), |error| Err(error.into()))
    })
}

/// 215: configuration, messages, offsets; with `clearRetryTopicWhenDeleteTopic` those of the topic's pop retry topics, too.
pub(super) fn delete(core: &Rc<Core>, request: &Request) -> Outcome {
    let checked = || -> Result<String, super::Refusal> {
        let topic = TopicHeader::from_command(&request.command())?.topic.into_owned();
        if topic.trim().is_empty() {
            return Err(NameError::Blank("topic").into());
        }
        let config = core.config();
        if config.validate_system_topic_when_update_topic && names::is_system_topic(&topic, &config) {
            return Err(NameError::System(topic).into());
        }
        Ok(topic)
    };
    let topic = match checked() {
        Ok(topic) => topic,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    info!(peer = %request.origin.peer, topic, "topic deletion asked for");
    let core = Rc::clone(core);
    Outcome::later(async move {
        // Asked first: the offsets say which groups have such topics.
        let mut doomed = pop_retry_topics(&core, &topic).await?;
        doomed.push(topic);
        let now_ms = core.now_ms();
        let mut existed = false;
        for topic in &doomed {
            existed |= core.topics.borrow_mut().delete(topic, now_ms);
            core.modes.borrow_mut().remove_topic(topic, now_ms);
        }
        let saved = core.save();
        match existed {
            true => publish(&core, saved).await?,
            false => saved.outcome().await?,
        }
        for topic in &doomed {
            forget(&core, topic).await?;
        }
        Ok(Response::success())
    })
}

/// Where groups that pop a topic have its messages retried, in both forms of the name; none if they are to stay.
async fn pop_retry_topics(core: &Core, topic: &str) -> Result<Vec<String>, super::Refusal> {
    if !core.config().clear_retry_topic_when_delete_topic {
        return Ok(Vec::new());
    }
    let groups = groups_with_offsets(core, topic).await?;
    let names =
        |group: &String| [PopOrigin::RetryV2, PopOrigin::RetryV1].map(|form| form.topic(topic, group));
    let topics = core.topics.borrow();
    let exists = |name: &String| name != topic && topics.get(name).is_some();
    Ok(groups.iter().flat_map(names).filter(exists).collect())
}

/// Drops a topic's messages and offsets; its configuration is gone already.
async fn forget(core: &Core, topic: &str) -> Result<(), super::Refusal> {
    core.ask_all(Question::DeleteTopic { topic: Arc::from(topic) }).await?;
    core.offsets.borrow_mut().remove_topic(topic);
    Ok(core.flush_offsets().await?)
}

/// 316: forgets offsets of topics that do not exist. Messages of such topics went with them.
pub(super) fn clean_unused(core: &Rc<Core>) -> Outcome {
    let core = Rc::clone(core);
    Outcome::later(async move {
        let known: Vec<String> = core.offsets.borrow().topics();
        let unused: Vec<String> =
            known.into_iter().filter(|topic| core.topics.borrow().get(topic).is_none()).collect();
        for topic in unused {
            info!(topic, "forgetting what is left of a topic that does not exist");
            forget(&core, &topic).await?;
        }
        Ok(Response::success())
    })
}

/// 21
pub(super) fn all(core: &Core) -> Answer {
    Ok(Response::body(core.topics.borrow().wrapper().to_json()))
}

/// 351
pub(super) fn one(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let header = GetTopicConfigHeader::from_command(&command)?;
    let topics = core.topics.borrow();
    let topic = topics.get(&header.topic).ok_or_else(|| {
        let text = format!("No topic in this broker. topic: {}", header.topic);
        Refusal::new(response::TOPIC_NOT_EXIST, text)
    })?;
    Ok(Response::body(topic.to_json()))
}

/// 305
pub(super) fn system(core: &Core) -> Answer {
    let topic_list = core.topics.borrow().system_topics(&core.config());
    Ok(Response::body(TopicList { broker_addr: None, topic_list }.to_json()))
}
