//! Questions of operators to clients, passed on by the broker: 307, 223.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ringmq_remoting::body::MessageQueue;
use ringmq_remoting::code::{request as code, response, version};
use ringmq_remoting::json::{self, FromJson, ToJson, Writer, to_text};
use ringmq_remoting::request::{ConsumerRunningInfoHeader, FieldError};
use ringmq_transport::Request as Outgoing;
use tracing::warn;

use super::{Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::coordination::relay::RelayError;

/// A client may take this long to tell what it is doing.
const RUNNING_INFO_TIMEOUT: Duration = Duration::from_secs(10);
/// A client may take this long to tell its offsets.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// 307
pub(super) fn running_info(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let header = match ConsumerRunningInfoHeader::from_command(&command) {
        Ok(header) => header,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let (group, client_id) = (header.consumer_group.into_owned(), header.client_id.into_owned());
    let stacks = header.jstack_enable.unwrap_or(false);
    let clients = core.clients.borrow();
    let Some(member) = clients.consumers.get(&group).and_then(|online| online.member(&client_id)) else {
        let text = format!("The Consumer <{group}> <{client_id}> not online");
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, text)));
    };
    if member.version < version::V3_1_8_SNAPSHOT {
        let shown = version::name(member.version).unwrap_or_else(|| member.version.to_string());
        let text = format!(
            "The Consumer <{client_id}> Version <{shown}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
        );
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, text)));
    }
    let channel = member.channel;
    drop(clients);
    let question = Outgoing::new(code::GET_CONSUMER_RUNNING_INFO)
        .str("consumerGroup", group.clone())
        .str("clientId", client_id.clone())
        .bool("jstackEnable", stacks);
    let core = Rc::clone(core);
    Outcome::later(async move {
        match core.relay.call(&core, channel, &question, RUNNING_INFO_TIMEOUT).await {
            Ok(answer) => {
                let mut response = Response::code(answer.code());
                response.remark = Some(answer.remark()).filter(|remark| !remark.is_empty());
                response.body = answer.body();
                Ok(response)
            }
            Err(RelayError::Timeout(_)) => Err(Refusal::new(
                response::CONSUME_MSG_TIMEOUT,
                format!("consumer <{group}> <{client_id}> Timeout"),
            )),
            Err(error) => Err(Refusal::new(
                response::SYSTEM_ERROR,
                format!("invoke consumer <{group}> <{client_id}> Exception: {error}"),
            )),
        }
    })
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
