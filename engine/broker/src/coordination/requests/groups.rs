//! Consumer groups: 200, 225, 207, 201, 352, 353.

use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{SubscriptionGroupConfig, SubscriptionGroupList};
use ringmq_remoting::code::response;
use ringmq_remoting::json::{ToJson, Writer, to_text};
use ringmq_remoting::request::{DeleteGroupHeader, GroupHeader, GroupTopicHeader};
use tracing::{error, info};

use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::message::Question;

/// Makes a group that a request needs, if that is allowed; waits until it can be relied on, or will not be.
pub(super) async fn ensure(core: &Core, group: &str) {
    let is_new = core.groups.borrow_mut().create_on_demand(group, &core.config(), core.now_ms());
    let saved = core.save();
    if is_new {
        info!(group, "consumer group created on demand");
    }
    if let Err(error) = saved.outcome().await {
        error!(group, %error, "a consumer group was not created on demand");
    }
}

/// 200
pub(super) fn update(core: &Rc<Core>, request: &Request) -> Outcome {
    let wanted = SubscriptionGroupConfig::from_json(request.command().body);
    store(core, request, wanted.map(|wanted| vec![wanted]).map_err(Refusal::from))
}

/// 225. All that are valid are stored; the first that is not is the answer.
pub(super) fn update_list(core: &Rc<Core>, request: &Request) -> Outcome {
    let list = SubscriptionGroupList::from_json(request.command().body);
    store(core, request, list.map(|list| list.group_config_list).map_err(Refusal::from))
}

fn store(
    core: &Rc<Core>,
    request: &Request,
    wanted: Result<Vec<SubscriptionGroupConfig>, Refusal>,
) -> Outcome {
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    let mut refused = None;
    for group in wanted {
        info!(peer = %request.origin.peer, group = group.group_name, "consumer group update asked for");
        if let Err(error) = core.groups.borrow_mut().update(group, core.now_ms()) {
            refused = refused.or(Some(error));
        }
    }
    let saved = core.save();
    Outcome::later(async move {
        saved.outcome().await?;
        refused.map_or_else(|| Ok(Response::success()), |error| Err(error.into()))
    })
}

/// 207
pub(super) fn delete(core: &Rc<Core>, request: &Request) -> Outcome {
    let (group, with_offsets) = match DeleteGroupHeader::from_command(&request.command()) {
        Ok(header) => (header.group_name.into_owned(), header.clean_offset.unwrap_or(false)),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    info!(peer = %request.origin.peer, group, with_offsets, "consumer group deletion asked for");
    let core = Rc::clone(core);
    core.groups.borrow_mut().delete(&group, core.now_ms());
    let saved = core.save();
    Outcome::later(async move {
        saved.outcome().await?;
        if with_offsets {
            core.ask_all(Question::DeleteGroupOffsets { group: Arc::from(group.as_str()) }).await?;
            core.offsets.borrow_mut().remove_group(&group);
            core.flush_offsets().await?;
        }
        Ok(Response::success())
    })
}

/// 201
pub(super) fn all(core: &Core) -> Answer {
    Ok(Response::body(core.groups.borrow().wrapper().to_json()))
}

/// 352
pub(super) fn one(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let group = GroupHeader::from_command(&command)?.group;
    let groups = core.groups.borrow();
    let config = groups
        .get(&group)
        .ok_or_else(|| Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker"))?;
    Ok(Response::body(config.to_json()))
}

struct Forbidden {
    group: String,
    topic: String,
    readable: bool,
}

impl ToJson for Forbidden {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            object.member("group", &self.group);
            object.member("readable", &self.readable);
            object.member("topic", &self.topic);
        });
    }
}

/// 353
pub(super) fn forbidden(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let read = || -> Result<_, Refusal> {
        let header = GroupTopicHeader::from_command(&command)?;
        Ok((header.group.into_owned(), header.topic.into_owned(), command.boolean("readable")?))
    };
    let (group, topic, wanted) = match read() {
        Ok(read) => read,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    let core = Rc::clone(core);
    if let Some(readable) = wanted {
        core.groups.borrow_mut().set_readable(&group, &topic, readable, core.now_ms());
    }
    let saved = core.save();
    Outcome::later(async move {
        saved.outcome().await?;
        let readable = core.groups.borrow().is_readable(&group, &topic);
        Ok(Response::body(to_text(&Forbidden { group, topic, readable })))
    })
}
