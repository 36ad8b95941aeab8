//! Heartbeats and questions about who is connected: 34, 35, 38, 46, 203, 204, 328, 345; and the notices that follow (40).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{
    CheckClientConfig, Connection, ConsumerConnection, ConsumerData, ConsumerList, EXPRESSION_SQL92,
    GroupSubscription, HeartbeatData, ProducerConnection,
};
use ringmq_remoting::code::{request as code, response};
use ringmq_remoting::json::{ToJson, Writer, to_text};
use ringmq_remoting::request::{
    ConsumerGroupHeader, GroupTopicHeader, ProducerGroupHeader, UnregisterClientHeader,
};
use ringmq_transport::Request as Outgoing;
use tracing::{info, warn};

use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::clients::{ConsumerJoin, Member};
use crate::coordination::core::{Core, Response};
use crate::coordination::names;
use crate::filter::Expression;
use crate::message::ShardMessage;
use crate::remarks;

/// `consumeType` of consumers that pull by themselves.
const CONSUME_ACTIVELY: &str = "CONSUME_ACTIVELY";

/// 34, in both forms: a fingerprint other than 0 marks the second, whose subscriptions may be left out.
pub(super) fn heartbeat(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let data = match HeartbeatData::from_json(command.body) {
        Ok(data) => data,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let member = Member {
        channel: request.channel(),
        peer: request.origin.peer,
        client_id: data.client_id,
        language: command.language,
        version: command.version,
        last_heartbeat_ms: core.now_ms(),
    };
    let is_second_form = data.heartbeat_fingerprint != 0;
    let mut must_send_again = !is_second_form;
    let (mut groups_made, mut topics_made) = (false, false);
    for consumer in data.consumer_data_set {
        if core.config().reject_pull_consumer_enable && consumer.consume_type == CONSUME_ACTIVELY {
            continue;
        }
        groups_made |=
            core.groups.borrow_mut().create_on_demand(&consumer.group_name, &core.config(), core.now_ms());
        let Some(retry_queues) =
            core.groups.borrow().latest(&consumer.group_name).map(|group| group.retry_queue_nums)
        else {
            continue;
        };
        topics_made |= make_retry_topic(core, &consumer, retry_queues);
        let without_sub = is_second_form && data.without_sub;
        must_send_again |= join(core, consumer, &member, data.heartbeat_fingerprint, without_sub);
    }
    for producer in data.producer_data_set {
        if !core.clients.borrow_mut().producers.heartbeat(&producer.group_name, member.clone()) {
            warn!(
                group = producer.group_name,
                client = member.client_id,
                "too many producers: not registered"
            );
        }
    }
    let answer =
        Response::success().field("IS_SUPPORT_HEART_BEAT_V2", true).field("IS_SUB_CHANGE", must_send_again);
    if !groups_made && !topics_made {
        return Outcome::Now(Ok(answer));
    }
    let saved = core.save();
    Outcome::later(async move { Ok(saved.outcome().await.map(|()| answer)?) })
}

fn make_retry_topic(core: &Core, consumer: &ConsumerData, queues: i32) -> bool {
    let topic = names::retry_topic(&consumer.group_name);
    let created =
        core.topics.borrow_mut().create_group_topic(&topic, queues, consumer.unit_mode, core.now_ms());
    created.unwrap_or_else(|error| {
        warn!(topic, %error, "retry topic not created");
        false
    })
}

/// True: the client must send its subscriptions (again).
fn join(core: &Core, consumer: ConsumerData, member: &Member, fingerprint: i32, without_sub: bool) -> bool {
    let group = consumer.group_name.clone();
    let join = ConsumerJoin {
        group: consumer.group_name,
        member: member.clone(),
        consume_type: consumer.consume_type,
        model: consumer.message_model,
        from_where: consumer.consume_from_where,
        subscriptions: (!without_sub).then_some(consumer.subscription_data_set),
        fingerprint,
    };
    let now_ms = core.now_ms();
    let register = |wanted: &[_]| core.filters.borrow_mut().register(&group, wanted, now_ms);
    let filters_changed = join.subscriptions.as_deref().is_some_and(register);
    let Some(joined) = core.clients.borrow_mut().consumers.heartbeat(join) else {
        warn!(group, client = member.client_id, "too many consumers: not registered");
        if core.clients.borrow().consumers.get(&group).is_none() {
            core.filters.borrow_mut().unregister(&group, now_ms);
        }
        return false;
    };
    if joined.subscriptions_changed || filters_changed {
        announce(core, &group);
    }
    if joined.changed {
        info!(group, client = member.client_id, peer = %member.peer, "consumer group changed");
        members_changed(core, &group);
    }
    // After a restart of this broker the client believes that its subscriptions are known.
    let unknown =
        || core.clients.borrow().consumers.get(&group).is_some_and(|group| group.subscriptions.is_empty());
    joined.fingerprint_changed || (without_sub && unknown())
}

/// Tells the data shards what a group wants now.
fn announce(core: &Core, group: &str) {
    let filters = core.filters.borrow();
    let filter_of = |topic: &str| filters.get(group, topic);
    let online = core.clients.borrow().consumers.get(group).map(|group| Arc::new(group.online(filter_of)));
    let name = Arc::<str>::from(group);
    core.mail_all(|| ShardMessage::Online { group: Arc::clone(&name), online: online.clone() });
}

/// Tells the members of a group that one came, went or changed its topics, unless that is off or deferred.
fn members_changed(core: &Core, group: &str) {
    let config = core.config();
    let is_wanted =
        core.groups.borrow().get(group).is_none_or(|group| group.notify_consumer_ids_changed_enable);
    if !config.notify_consumer_ids_changed_enable || !is_wanted {
        return;
    }
    if !config.real_time_notify_consumer_change {
        core.notices.borrow_mut().insert(group.to_owned());
        return;
    }
    notify_members(core, group);
}

/// Sends 40 to every member of a group.
pub fn notify_members(core: &Core, group: &str) {
    let clients = core.clients.borrow();
    let Some(online) = clients.consumers.get(group).filter(|online| !online.is_broadcasting()) else {
        return;
    };
    let notice = Outgoing::new(code::NOTIFY_CONSUMER_IDS_CHANGED).str("consumerGroup", group);
    for member in online.members.values() {
        core.relay.notify(core, member.channel, &notice);
    }
}

/// 35
pub(super) fn unregister(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let header = UnregisterClientHeader::from_command(&command)?;
    if let Some(group) = &header.producer_group {
        core.clients.borrow_mut().producers.leave(group, request.channel());
    }
    if let Some(group) = &header.consumer_group
        && core.clients.borrow_mut().consumers.leave(group, request.channel())
    {
        let client = header.client_id.as_deref().unwrap_or_default();
        info!(group = %group, client, "consumer left its group");
        left(core, group);
    }
    Ok(Response::success())
}

/// A group has lost a member.
pub fn left(core: &Core, group: &str) {
    if core.clients.borrow().consumers.get(group).is_none() {
        core.filters.borrow_mut().unregister(group, core.now_ms());
        announce(core, group);
    }
    members_changed(core, group);
}

/// 38
pub(super) fn consumer_list(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let group = ConsumerGroupHeader::from_command(&command)?.consumer_group;
    let clients = core.clients.borrow();
    let online = clients.consumers.get(&group).ok_or_else(|| {
        Refusal::new(response::SYSTEM_ERROR, format!("no consumer for this group, {group}"))
    })?;
    let mut ids: Vec<String> = online.members.values().map(|member| member.client_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(Response::body(ConsumerList { consumer_id_list: ids }.to_json()))
}

/// 46
pub(super) fn check_config(core: &Core, request: &Request) -> Answer {
    let body = request.command().body;
    if body.is_empty() {
        return Ok(Response::success());
    }
    let Some(data) = CheckClientConfig::from_json(body)?.subscription_data.filter(|data| !data.is_tag_type())
    else {
        return Ok(Response::success());
    };
    let kind = &data.expression_type;
    if !core.config().enable_property_filter {
        return Err(Refusal::new(response::SYSTEM_ERROR, remarks::no_property_filter(kind)));
    }
    if kind != EXPRESSION_SQL92 {
        let remark = format!("unknown expression type {kind}");
        return Err(Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, remark));
    }
    match Expression::compile(&data.sub_string) {
        Ok(_) => Ok(Response::success()),
        Err(error) => Err(Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string())),
    }
}

fn connection(member: &Member) -> Connection {
    Connection {
        client_addr: member.peer.to_string(),
        client_id: member.client_id.clone(),
        language: member.language.name().to_owned(),
        version: member.version,
    }
}

/// 203
pub(super) fn consumer_connections(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let group = ConsumerGroupHeader::from_command(&command)?.consumer_group;
    let clients = core.clients.borrow();
    let online = clients.consumers.get(&group).ok_or_else(|| {
        Refusal::new(response::CONSUMER_NOT_ONLINE, format!("the consumer group[{group}] not online"))
    })?;
    let body = ConsumerConnection {
        connection_set: online.members.values().map(connection).collect(),
        consume_from_where: Some(online.from_where.clone()),
        consume_type: Some(online.consume_type.clone()),
        message_model: Some(online.model.clone()),
        subscription_table: online.subscriptions.clone(),
    };
    Ok(Response::body(body.to_json()))
}

/// 204
pub(super) fn producer_connections(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let group = ProducerGroupHeader::from_command(&command)?.producer_group;
    let clients = core.clients.borrow();
    let members = clients.producers.members(&group).ok_or_else(|| {
        Refusal::new(response::SYSTEM_ERROR, format!("the producer group[{group}] not exist"))
    })?;
    let body = ProducerConnection { connection_set: members.map(connection).collect() };
    Ok(Response::body(body.to_json()))
}

struct ProducerInfo<'a>(&'a Member);

impl ToJson for ProducerInfo<'_> {
    fn write(&self, out: &mut Writer) {
        let Self(member) = self;
        out.object(|object| {
            object.member("clientId", &member.client_id);
            object.member("language", &member.language.name().to_owned());
            object
                .member("lastUpdateTimestamp", &i64::try_from(member.last_heartbeat_ms).unwrap_or(i64::MAX));
            object.member("remoteIP", &member.peer.ip().to_string());
            object.member("version", &member.version);
        });
    }
}

struct ProducerTable<'a>(BTreeMap<String, Vec<ProducerInfo<'a>>>);

impl ToJson for ProducerTable<'_> {
    fn write(&self, out: &mut Writer) {
        out.object(|object| object.member("data", &self.0));
    }
}

/// 328
pub(super) fn all_producers(core: &Core) -> Answer {
    let clients = core.clients.borrow();
    let table = clients
        .producers
        .iter()
        .map(|(group, members)| (group.to_owned(), members.map(ProducerInfo).collect()));
    Ok(Response::body(to_text(&ProducerTable(table.collect()))))
}

/// 345
pub(super) fn subscription(core: &Core, request: &Request) -> Answer {
    let command = request.command();
    let header = GroupTopicHeader::from_command(&command)?;
    let clients = core.clients.borrow();
    let online = clients.consumers.get(&header.group);
    let subscription_data = online.and_then(|group| group.subscriptions.get(&*header.topic)).cloned();
    let body = GroupSubscription {
        group: header.group.into_owned(),
        subscription_data,
        topic: header.topic.into_owned(),
    };
    Ok(Response::body(body.to_json()))
}
