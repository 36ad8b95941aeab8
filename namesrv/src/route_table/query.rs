//! What clients ask the table.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ringmq_remoting::body::Opaque;

use super::{Group, MASTER_ID, PERM_WRITE, Queues, RouteTable};

/// Topics under this prefix carry what the members of one broker name tell each other: no one acts as master there.
const MEMBER_SYNC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";
/// Unit flag of a topic.
const FLAG_UNIT: i32 = 1;
/// Unit-subscription flag of a topic.
const FLAG_UNIT_SUB: i32 = 1 << 1;

/// Where a topic is.
#[derive(Debug, Clone)]
pub struct Route<'a> {
    /// Its queues, by broker name.
    pub queues: &'a [Queues],
    /// Those broker names, with the addresses that clients shall see.
    pub groups: Vec<Group>,
    /// Filter servers by broker address.
    pub filter_servers: BTreeMap<String, Vec<String>>,
    /// For a static topic: its mapping, by broker name.
    pub mappings: Option<&'a BTreeMap<String, Opaque>>,
}

impl RouteTable {
    /// The route of a topic; `None` when it is not known.
    #[must_use]
    pub fn route(&self, topic: &str) -> Option<Route<'_>> {
        let queues = self.topics.get(topic)?.as_slice();
        let mut groups: Vec<Group> =
            queues.iter().filter_map(|entry| self.groups.get(&entry.broker)).cloned().collect();
        if groups.is_empty() {
            return None;
        }
        let mut filter_servers = BTreeMap::new();
        for group in &groups {
            for address in group.addresses.values() {
                let live = self.live.get(&(group.cluster.clone(), address.clone()));
                if let Some(live) = live.filter(|live| !live.filter_servers.is_empty()) {
                    filter_servers.insert(address.clone(), live.filter_servers.clone());
                }
            }
        }
        if self.settings.acting_master && !topic.starts_with(MEMBER_SYNC_PREFIX) {
            for group in &mut groups {
                let writable = |entry: &&Queues| entry.broker == group.name && entry.perm & PERM_WRITE != 0;
                if group.acting_master && !queues.iter().any(|entry| writable(&entry)) {
                    act_as_master(group);
                }
            }
        }
        Some(Route { queues, groups, filter_servers, mappings: self.mappings.get(topic) })
    }

    /// All broker names, with their addresses.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// One broker name.
    #[must_use]
    pub fn group(&self, broker: &str) -> Option<&Group> {
        self.groups.get(broker)
    }

    /// All clusters, with their broker names.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, &BTreeSet<Rc<str>>)> {
        self.clusters.iter().map(|(cluster, names)| (cluster.as_str(), names))
    }

    /// All topics (request 206).
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(|topic| &**topic)
    }

    /// Topics with queues in a cluster (request 224).
    pub fn topics_of_cluster(&self, cluster: &str) -> impl Iterator<Item = &str> {
        let names = self.clusters.get(cluster);
        let in_cluster = move |entries: &[Queues]| {
            names.is_some_and(|names| entries.iter().any(|entry| names.contains(&entry.broker)))
        };
        self.topics.iter().filter(move |(_, entries)| in_cluster(entries)).map(|(topic, _)| &**topic)
    }

    /// Unit topics (request 311).
    pub fn unit_topics(&self) -> impl Iterator<Item = &str> {
        self.topics_by_flag(|flag| flag & FLAG_UNIT != 0)
    }

    /// Topics with unit subscriptions (request 312).
    pub fn unit_sub_topics(&self) -> impl Iterator<Item = &str> {
        self.topics_by_flag(|flag| flag & FLAG_UNIT_SUB != 0)
    }

    /// Topics with unit subscriptions that are not unit topics (request 313).
    pub fn unit_sub_ununit_topics(&self) -> impl Iterator<Item = &str> {
        self.topics_by_flag(|flag| flag & (FLAG_UNIT | FLAG_UNIT_SUB) == FLAG_UNIT_SUB)
    }

    fn topics_by_flag(&self, wanted: impl Fn(i32) -> bool) -> impl Iterator<Item = &str> {
        let matches = move |entries: &[Queues]| entries.first().is_some_and(|first| wanted(first.sys_flag));
        self.topics.iter().filter(move |(_, entries)| matches(entries)).map(|(topic, _)| &**topic)
    }

    /// Cluster names and broker names, and some broker's address (request 304): topics by these names exist on brokers.
    #[must_use]
    pub fn system_topics(&self) -> (Vec<String>, Option<String>) {
        let mut names = Vec::new();
        for (cluster, brokers) in &self.clusters {
            names.push(cluster.clone());
            names.extend(brokers.iter().map(|broker| broker.to_string()));
        }
        let address = self.groups.values().find_map(|group| group.addresses.values().next().cloned());
        (names, address)
    }
}

/// Without a master, the smallest slave is shown in its place.
fn act_as_master(group: &mut Group) {
    if group.addresses.contains_key(&MASTER_ID) {
        return;
    }
    if let Some((_, address)) = group.addresses.pop_first() {
        group.addresses.insert(MASTER_ID, address);
    }
}
