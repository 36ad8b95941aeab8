//! Between the wire's JSON and the tables.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmq_remoting::body::{
    BodyError, BrokerData, BrokerMemberGroup, BrokerMemberGroupBody, ClusterInfo, DataVersion, KvTable,
    Opaque, QueueData, RegisterBrokerBody, TopicList, TopicRouteData,
};
use ringmq_remoting::command::Command;

use crate::route_table::{Group, NewQueues, Queues, Route, RouteTable, TopicEntry};

/// How keys that are numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonForm {
    /// As the reference's library does: without quotes.
    Fastjson,
    /// With quotes, and what is not ASCII as `\uXXXX`.
    Standard,
}

/// The body of a registration.
#[derive(Debug)]
pub struct RegistrationBody {
    /// Version of the topic table.
    pub data_version: DataVersion,
    /// Topics.
    pub topics: Vec<TopicEntry>,
    /// Parts in static topics, by topic.
    pub mappings: BTreeMap<String, Opaque>,
    /// Filter servers.
    pub filter_servers: Vec<String>,
}

/// Reads the body of request 103, of any broker version.
///
/// # Errors
/// It is not what its header and version say.
pub fn read_registration(command: &Command<'_>) -> Result<RegistrationBody, BodyError> {
    let compressed = command.field("compressed").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let body = RegisterBrokerBody::read(command.body, compressed, command.version)?;
    let topics = body.topics.topic_config_table.into_iter().map(|(topic, config)| TopicEntry {
        topic,
        read: config.read_queue_nums,
        write: config.write_queue_nums,
        perm: config.perm,
        sys_flag: config.topic_sys_flag,
    });
    Ok(RegistrationBody {
        data_version: body.topics.data_version,
        topics: topics.collect(),
        mappings: body.topics.topic_queue_mapping_info_map.unwrap_or_default(),
        filter_servers: body.filter_server_list,
    })
}

/// Reads the body of request 322; none is the version of a table that never changed.
///
/// # Errors
/// It is not JSON of that shape.
pub fn read_data_version(body: &[u8]) -> Result<DataVersion, BodyError> {
    if body.is_empty() { Ok(DataVersion::default()) } else { DataVersion::from_json(body) }
}

/// Reads the queues in the body of request 217.
///
/// # Errors
/// It is not a route.
pub fn read_queues(body: &[u8]) -> Result<Vec<NewQueues>, BodyError> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let queues = TopicRouteData::from_json(body)?.queue_datas.into_iter().map(|data| NewQueues {
        broker: data.broker_name,
        read: data.read_queue_nums,
        write: data.write_queue_nums,
        perm: data.perm,
        sys_flag: data.topic_sys_flag,
    });
    Ok(queues.collect())
}

/// Body of the answer to 322.
#[must_use]
pub fn data_version(version: &DataVersion) -> Bytes {
    Bytes::from(version.to_json())
}

/// Body of the answer to 105.
#[must_use]
pub fn route(route: &Route<'_>, order: Option<&str>, form: JsonForm) -> Bytes {
    let data = TopicRouteData {
        broker_datas: route.groups.iter().map(broker_data).collect(),
        filter_server_table: route.filter_servers.clone(),
        order_topic_conf: order.map(str::to_owned),
        queue_datas: route.queues.iter().map(queue_data).collect(),
        topic_queue_mapping_by_broker: route.mappings.cloned(),
    };
    Bytes::from(match form {
        JsonForm::Fastjson => data.to_json(),
        JsonForm::Standard => data.to_standard_json(),
    })
}

/// Body of the answer to 106.
#[must_use]
pub fn cluster_info(routes: &RouteTable) -> Bytes {
    let by_cluster = routes.clusters().map(|(cluster, names)| {
        (cluster.to_owned(), names.iter().map(|name| name.to_string()).collect::<Vec<_>>())
    });
    let info = ClusterInfo {
        broker_addr_table: routes
            .groups()
            .map(|group| (group.name.to_string(), broker_data(group)))
            .collect(),
        cluster_addr_table: by_cluster.collect(),
    };
    Bytes::from(info.to_json())
}

/// Body of the answer to 901.
#[must_use]
pub fn member_group(cluster: &str, broker: &str, group: Option<&Group>) -> Bytes {
    let broker_addrs = group.map(|group| group.addresses.clone()).unwrap_or_default();
    let members =
        BrokerMemberGroup { broker_addrs, broker_name: broker.to_owned(), cluster: cluster.to_owned() };
    Bytes::from(BrokerMemberGroupBody { broker_member_group: members }.to_json())
}

/// Body of the answers to 206, 224, 304, 311, 312, 313.
pub fn topic_list<'a>(topics: impl Iterator<Item = &'a str>, broker_addr: Option<&str>) -> Bytes {
    let list = TopicList {
        broker_addr: broker_addr.map(str::to_owned),
        topic_list: topics.map(str::to_owned).collect(),
    };
    Bytes::from(list.to_json())
}

/// Body of the answer to 219, and of 103.
#[must_use]
pub fn kv_table(table: &BTreeMap<String, String>) -> Bytes {
    Bytes::from(KvTable { table: table.clone() }.to_json())
}

fn broker_data(group: &Group) -> BrokerData {
    BrokerData {
        broker_addrs: group.addresses.clone(),
        broker_name: group.name.to_string(),
        cluster: group.cluster.clone(),
        enable_acting_master: group.acting_master,
        zone_name: group.zone.clone(),
    }
}

fn queue_data(queues: &Queues) -> QueueData {
    QueueData {
        broker_name: queues.broker.to_string(),
        perm: queues.perm,
        read_queue_nums: queues.read,
        topic_sys_flag: queues.sys_flag,
        write_queue_nums: queues.write,
    }
}
