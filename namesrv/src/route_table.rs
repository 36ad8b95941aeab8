//! Which brokers are alive, and which of them hold which topics.
//!
//! A pure state machine: it is told what brokers say and what time it is, and answers questions. There is one, on the name
//! server's only shard; nothing of it outlives the process, since every broker tells it again every 30 seconds.
//!
//! Relations that hold between calls (checked by [`RouteTable::check`] in tests):
//! - every broker name is in exactly one cluster's set, and has at least one address;
//! - every queue entry of a topic belongs to a broker name that exists, and a topic without queue entries does not exist;
//! - a broker is alive exactly if its address is under its name (a registration that was refused does not count).

mod permission;
mod query;
mod register;
mod unregister;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use ringmq_reactor::{ConnectionId, Monotonic};
use ringmq_remoting::body::{DataVersion, Opaque};

pub use permission::NewQueues;
pub use query::Route;
pub use register::{Refused, Registered, Registration, TopicEntry};

/// Broker id of a master.
pub const MASTER_ID: i64 = 0;
/// Permission bit: messages may be sent.
pub const PERM_WRITE: i32 = 1 << 1;
/// Permission bit: messages may be read.
pub const PERM_READ: i32 = 1 << 2;
/// How long a broker that does not say otherwise may be silent.
pub const DEFAULT_BROKER_TIMEOUT: Duration = Duration::from_secs(120);

/// What of the configuration the table follows.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouteSettings {
    /// `deleteTopicWithBrokerRegistration`: a registration also removes what it does not mention.
    pub delete_topics: bool,
    /// `supportActingMaster`: a slave may stand in for its master in routes.
    pub acting_master: bool,
    /// `notifyMinBrokerIdChanged`: brokers are told when the smallest id of their name changes.
    pub notify_min_id: bool,
}

/// A topic's queues on one broker name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// The broker name; shared with [`Group`].
    pub broker: Rc<str>,
    /// Queues that consumers see.
    pub read: i32,
    /// Queues that producers see.
    pub write: i32,
    /// [`PERM_READ`], [`PERM_WRITE`].
    pub perm: i32,
    /// Unit flags.
    pub sys_flag: i32,
}

/// A broker name: a master, its slaves, or both.
#[derive(Debug, Clone)]
pub struct Group {
    /// The broker name.
    pub name: Rc<str>,
    /// Its cluster.
    pub cluster: String,
    /// Broker id to address.
    pub addresses: BTreeMap<i64, String>,
    /// Declared by its brokers: the smallest slave may act as master.
    pub acting_master: bool,
    /// Declared by its brokers: their zone.
    pub zone: Option<String>,
}

impl Group {
    fn min_id(&self) -> Option<i64> {
        self.addresses.keys().next().copied()
    }
}

/// What is known of one broker process. Identified by cluster and address.
#[derive(Debug, Clone)]
struct Live {
    broker: Rc<str>,
    last_heard: Monotonic,
    timeout: Duration,
    data_version: DataVersion,
    connection: Option<ConnectionId>,
    ha_address: String,
    filter_servers: Vec<String>,
}

type LiveKey = (String, String);

/// Brokers of a name are to be told that its smallest id changed (request 905).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinIdNotice {
    /// The broker name.
    pub broker: String,
    /// The smallest id now.
    pub min_id: i64,
    /// Its address.
    pub min_address: String,
    /// The broker that left, if one did.
    pub offline: Option<String>,
    /// HA address of the one that came, if one did.
    pub ha_address: Option<String>,
    /// Connections of those to be told.
    pub to: Vec<ConnectionId>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct RouteTable {
    settings: RouteSettings,
    clusters: BTreeMap<String, BTreeSet<Rc<str>>>,
    groups: BTreeMap<Rc<str>, Group>,
    /// Queue entries sorted by broker name.
    topics: BTreeMap<Rc<str>, Vec<Queues>>,
    /// Static topics: topic, then broker name.
    mappings: BTreeMap<String, BTreeMap<String, Opaque>>,
    live: BTreeMap<LiveKey, Live>,
}

impl RouteTable {
    /// Empty.
    #[must_use]
    pub fn new(settings: RouteSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Follows a changed configuration from now on.
    pub fn set_settings(&mut self, settings: RouteSettings) {
        self.settings = settings;
    }

    /// Topics with a route.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Broker processes that are alive.
    #[must_use]
    pub fn live_count(&self) -> usize {
        self.live.len()
    }

    /// Puts one entry of a topic in its place. True: something changed.
    fn set_queues(&mut self, topic: &str, queues: Queues) -> bool {
        if let Some(entries) = self.topics.get_mut(topic) {
            return match entries.binary_search_by(|entry| entry.broker.cmp(&queues.broker)) {
                Ok(at) if entries[at] == queues => false,
                Ok(at) => {
                    entries[at] = queues;
                    true
                }
                Err(at) => {
                    // Nearly every topic is on a handful of brokers: no spare room.
                    entries.reserve_exact(1);
                    entries.insert(at, queues);
                    true
                }
            };
        }
        self.topics.insert(topic.into(), vec![queues]);
        true
    }

    fn has_queues(&self, topic: &str, broker: &str) -> bool {
        self.topics.get(topic).is_some_and(|entries| entries.iter().any(|entry| &*entry.broker == broker))
    }

    /// Removes the entries for which `gone` holds, and the topics that have none left.
    fn remove_queues(&mut self, mut gone: impl FnMut(&str, &Queues) -> bool) {
        let mappings = &mut self.mappings;
        self.topics.retain(|topic, entries| {
            entries.retain(|entry| {
                let gone = gone(topic, entry);
                if gone && let Some(by_broker) = mappings.get_mut(&**topic) {
                    by_broker.remove(&*entry.broker);
                }
                !gone
            });
            if entries.is_empty() {
                mappings.remove(&**topic);
            }
            !entries.is_empty()
        });
    }

    /// The notice for a name whose smallest id changed, if anybody wants to know.
    fn min_id_notice(
        &self,
        broker: &str,
        offline: Option<&str>,
        ha_address: Option<&str>,
    ) -> Option<MinIdNotice> {
        if !self.settings.notify_min_id {
            return None;
        }
        let group = self.groups.get(broker)?;
        let (&min_id, min_address) = group.addresses.first_key_value()?;
        // Who has just come knows; whom somebody left behind do not.
        let told = |id: i64| offline.is_some() || group.addresses.len() == 1 || id != min_id;
        let to: Vec<_> = group
            .addresses
            .iter()
            .filter(|(id, _)| told(**id))
            .filter_map(|(_, address)| self.live.get(&(group.cluster.clone(), address.clone()))?.connection)
            .collect();
        Some(MinIdNotice {
            broker: broker.to_owned(),
            min_id,
            min_address: min_address.clone(),
            offline: offline.map(str::to_owned),
            ha_address: ha_address.map(str::to_owned),
            to,
        })
    }

    /// Checks the relations of the module's text.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        for (name, group) in &self.groups {
            assert!(!group.addresses.is_empty(), "{name} has no address");
            let clusters: Vec<_> =
                self.clusters.iter().filter(|(_, names)| names.contains(name)).map(|(c, _)| c).collect();
            assert_eq!(clusters, [&group.cluster], "clusters of {name}");
        }
        for (cluster, names) in &self.clusters {
            assert!(!names.is_empty(), "cluster {cluster} is empty");
            for name in names {
                assert!(self.groups.contains_key(name), "{name} of cluster {cluster} does not exist");
            }
        }
        for (topic, entries) in &self.topics {
            assert!(!entries.is_empty(), "topic {topic} has no queues");
            assert!(entries.is_sorted_by(|a, b| a.broker < b.broker), "entries of {topic} are in order");
            for entry in entries {
                assert!(
                    self.groups.contains_key(&entry.broker),
                    "{topic} is on {}, which is gone",
                    entry.broker
                );
            }
        }
        for topic in self.mappings.keys() {
            assert!(self.topics.contains_key(topic.as_str()), "{topic} is mapped and does not exist");
        }
        let addresses = self.groups.values().flat_map(|group| {
            group.addresses.values().map(|address| ((group.cluster.clone(), address.clone()), &group.name))
        });
        let mut alive = 0;
        for (key, name) in addresses {
            let live = self.live.get(&key);
            assert_eq!(live.map(|live| &live.broker), Some(name), "broker at {key:?}");
            alive += 1;
        }
        assert_eq!(alive, self.live.len(), "brokers that are alive and in no group");
    }
}
