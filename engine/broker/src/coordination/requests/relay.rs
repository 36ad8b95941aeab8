//! Questions of operators to clients, passed on by the broker: 307, 309, 223.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_remoting::Command;
use ringmq_remoting::body::MessageQueue;
use ringmq_remoting::code::{request as code, response, version};
use ringmq_remoting::json::{self, FromJson, ToJson, Writer, to_text};
use ringmq_remoting::record::message_id;
use ringmq_remoting::request::{ConsumeDirectlyHeader, ConsumerRunningInfoHeader, FieldError};
use ringmq_store::PhysicalOffset;
use ringmq_transport::Request as Outgoing;
use tracing::warn;

use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::coordination::relay::RelayError;
use crate::message::{self, Question};

/// A client may take this long to tell what it is doing, or to consume one message.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client may take this long to tell its offsets.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// 307
pub(super) fn running_info(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let header = match ConsumerRunningInfoHeader::from_command(&command) {
        Ok(header) => header,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let question = passed_on(&command, code::GET_CONSUMER_RUNNING_INFO, &[]);
    let group = header.consumer_group.into_owned();
    let client_id = header.client_id.map(Cow::into_owned);
    let core = Rc::clone(core);
    Outcome::later(async move { call_consumer(&core, &group, client_id.as_deref(), question).await })
}

/// 309: has one client consume one message at once, and tells what became of it.
pub(super) fn consume_directly(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let header = match ConsumeDirectlyHeader::from_command(&command) {
        Ok(header) => header,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let id = header.msg_id.unwrap_or_default().into_owned();
    let offset = message_id::decode(&id).and_then(|(_, offset)| PhysicalOffset::from_signed(offset));
    let Some(offset) = offset else {
        let text = format!("\"{id}\" is no message id that tells where the message lies");
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, text)));
    };
    let mut more = vec![("brokerName", core.config().broker_name.clone())];
    if let Some(topic) = header.topic.and_then(|topic| core.topics.borrow().get(&topic).cloned()) {
        more.push(("topicSysFlag", topic.topic_sys_flag.to_string()));
    }
    if let Some(group) = core.groups.borrow().get(&header.consumer_group) {
        more.push(("groupSysFlag", group.group_sys_flag.to_string()));
    }
    let question = passed_on(&command, code::CONSUME_MESSAGE_DIRECTLY, &more);
    let group = header.consumer_group.into_owned();
    let client_id = header.client_id.map(Cow::into_owned);
    let core = Rc::clone(core);
    Outcome::later(async move {
        let record = record_at(&core, offset)
            .await?
            .ok_or_else(|| Refusal::new(response::SYSTEM_ERROR, format!("can not find the message {id}")))?;
        call_consumer(&core, &group, client_id.as_deref(), question.body(record)).await
    })
}

/// The operator's fields, with those that the broker knows better in their place.
fn passed_on(command: &Command<'_>, code: i32, more: &[(&'static str, String)]) -> Outgoing {
    let mut question = Outgoing::new(code);
    for field in command.fields() {
        let key = field.key().into_owned();
        if more.iter().all(|(name, _)| *name != key) {
            question = question.str(key, field.value());
        }
    }
    more.iter().fold(question, |question, (name, value)| question.str(*name, value.clone()))
}

async fn record_at(core: &Core, offset: PhysicalOffset) -> Result<Option<Bytes>, Refusal> {
    for answer in core.ask_all(Question::Record(offset)).await? {
        let message::Answer::Record(record) = answer else { continue };
        let record = record.map_err(|cause| Refusal::new(response::SYSTEM_ERROR, cause))?;
        if record.is_some() {
            return Ok(record);
        }
    }
    Ok(None)
}

/// Asks a member of a group; its answer is the operator's.
async fn call_consumer(core: &Core, group: &str, client_id: Option<&str>, question: Outgoing) -> Answer {
    // Java's text of an absent name.
    let shown = client_id.unwrap_or("null");
    let channel = {
        let clients = core.clients.borrow();
        let member = client_id.and_then(|id| clients.consumers.get(group)?.member(id)).ok_or_else(|| {
            let text = format!("The Consumer <{group}> <{shown}> not online");
            Refusal::new(response::SYSTEM_ERROR, text)
        })?;
        if member.version < version::V3_1_8_SNAPSHOT {
            let version = version::name(member.version).unwrap_or_else(|| member.version.to_string());
            let text = format!(
                "The Consumer <{shown}> Version <{version}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
            );
            return Err(Refusal::new(response::SYSTEM_ERROR, text));
        }
        member.channel
    };
    match core.relay.call(core, channel, &question, CONSUMER_TIMEOUT).await {
        Ok(answer) => {
            let mut response = Response::code(answer.code());
            response.remark = Some(answer.remark()).filter(|remark| !remark.is_empty());
            response.body = answer.body();
            Ok(response)
        }
        Err(RelayError::Timeout(_)) => {
            Err(Refusal::new(response::CONSUME_MSG_TIMEOUT, format!("consumer <{group}> <{shown}> Timeout")))
        }
        Err(error) => Err(Refusal::new(
            response::SYSTEM_ERROR,
            format!("invoke consumer <{group}> <{shown}> Exception: {error}"),
        )),
    }
}

type QueueOffsets = BTreeMap<MessageQueue, i64>;

struct ConsumerStatus(BTreeMap<String, QueueOffsets>);

impl ToJson for ConsumerStatus {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            object.member("consumerTable", &self.0);
            object.member("messageQueueTable", &QueueOffsets::new());
        });
    }
}

/// 223: asks the members of a group (or one of them) for the offsets they stand at.
pub(super) fn consumer_status(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let read = || -> Result<(String, String), Refusal> {
        let missing = |field| FieldError::Missing { field };
        let topic = command.field("topic").ok_or_else(|| missing("topic"))?.into_owned();
        let group = command.field("group").ok_or_else(|| missing("group"))?.into_owned();
        Ok((topic, group))
    };
    let (topic, group) = match read() {
        Ok(read) => read,
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    let only = command.field("clientAddr").filter(|id| !id.is_empty()).map(std::borrow::Cow::into_owned);
    let clients = core.clients.borrow();
    let Some(online) = clients.consumers.get(&group).filter(|online| !online.members.is_empty()) else {
        let text = format!("No Any Consumer online in the consumer group: [{group}]");
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, text)));
    };
    let asked: Vec<_> = online
        .members
        .values()
        .filter(|member| member.version >= version::V3_0_7_SNAPSHOT)
        .filter(|member| only.as_ref().is_none_or(|only| member.client_id == *only))
        .map(|member| (member.client_id.clone(), member.channel))
        .collect();
    drop(clients);
    let question =
        Outgoing::new(code::GET_CONSUMER_STATUS_FROM_CLIENT).str("topic", topic).str("group", group.clone());
    let core = Rc::clone(core);
    Outcome::later(async move {
        let mut table = BTreeMap::new();
        for (client_id, channel) in asked {
            match core.relay.call(&core, channel, &question, STATUS_TIMEOUT).await {
                Ok(answer) if answer.code() == response::SUCCESS => {
                    table.insert(client_id, offsets_of(&answer.body()));
                }
                Ok(answer) => {
                    warn!(group, client_id, code = answer.code(), "a client refuses to tell its offsets")
                }
                Err(error) => warn!(group, client_id, %error, "a client does not tell its offsets"),
            }
        }
        Ok(Response::body(to_text(&ConsumerStatus(table))))
    })
}

fn offsets_of(body: &[u8]) -> QueueOffsets {
    let table = json::parse(body).ok().and_then(|value| {
        let table = value.get("messageQueueTable")?;
        QueueOffsets::read(table).ok()
    });
    table.unwrap_or_default()
}
