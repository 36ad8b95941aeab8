//! A broker says that it is there and what it holds (request 103).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ringmq_reactor::{ConnectionId, Monotonic};
use ringmq_remoting::body::{DataVersion, Opaque};

use super::{DEFAULT_BROKER_TIMEOUT, Group, Live, MASTER_ID, MinIdNotice, PERM_WRITE, Queues, RouteTable};
use crate::limits::{ADDRESSES_PER_NAME_MAX, BROKER_NAMES_MAX, NAME_BYTES_MAX, TOPIC_BYTES_MAX, TOPICS_MAX};

/// One topic of a registration.
#[derive(Debug, Clone)]
pub struct TopicEntry {
    /// Name.
    pub topic: String,
    /// Queues that consumers see.
    pub read: i32,
    /// Queues that producers see.
    pub write: i32,
    /// Permission, already masked by the broker's own.
    pub perm: i32,
    /// Unit flags.
    pub sys_flag: i32,
}

/// What a broker says of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub broker: String,
    /// 0: master.
    pub id: i64,
    /// Where clients reach it.
    pub address: String,
    /// Where slaves reach it.
    pub ha_address: String,
    /// How long it may be silent; `None`: [`DEFAULT_BROKER_TIMEOUT`].
    pub timeout: Option<Duration>,
    /// Whether its slave may act as master; `None`: a broker before 5.0, which does not know of that.
    pub acting_master: Option<bool>,
    /// Its zone.
    pub zone: Option<String>,
    /// Version of the topic table.
    pub data_version: DataVersion,
    /// Its topics, all or (an increment) those that changed.
    pub topics: Vec<TopicEntry>,
    /// Its part in static topics, by topic.
    pub mappings: BTreeMap<String, Opaque>,
    /// Its filter servers (4.x).
    pub filter_servers: Vec<String>,
}

/// What the broker is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// For a slave: its master's address.
    pub master_address: Option<String>,
    /// For a slave: its master's HA address.
    pub ha_address: Option<String>,
    /// Whom to tell that the smallest id changed.
    pub notice: Option<MinIdNotice>,
}

/// Why nothing was taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An increment of a broker that has never sent its whole table.
    #[error("register broker failed")]
    IncrementFirst,
    /// A name or address is empty or too long.
    #[error("register broker failed: {0} is empty or longer than {NAME_BYTES_MAX} bytes")]
    Name(&'static str),
    /// A topic is empty or too long.
    #[error("register broker failed: a topic is empty or longer than {TOPIC_BYTES_MAX} bytes")]
    Topic,
    /// See [`BROKER_NAMES_MAX`].
    #[error(
        "register broker failed: this name server holds {BROKER_NAMES_MAX} broker names and takes no more"
    )]
    BrokerNames,
    /// See [`ADDRESSES_PER_NAME_MAX`].
    #[error("register broker failed: {ADDRESSES_PER_NAME_MAX} brokers have this name already")]
    Addresses,
    /// See [`TOPICS_MAX`].
    #[error("register broker failed: this name server holds {TOPICS_MAX} topics at most")]
    Topics,
}

impl RouteTable {
    /// Takes a registration over. A registration whose broker id is held by another address with a newer state is
    /// ignored, and answered like one that was accepted: that broker will learn of its fate elsewhere.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn register(
        &mut self,
        registration: &Registration,
        connection: Option<ConnectionId>,
        now: Monotonic,
    ) -> Result<Registered, Refused> {
        self.check_bounds(registration)?;
        let Registration { cluster, broker, id, address, .. } = registration;
        self.leave_former_place(cluster, broker, address);
        if !self.groups.contains_key(broker.as_str()) {
            if registration.topics.len() == 1 {
                return Err(Refused::IncrementFirst);
            }
            return Ok(self.take_over(registration, connection, now, true, None));
        }
        let group = self.groups.get_mut(broker.as_str()).expect("looked up above");
        let previous_min = group.min_id();
        // A slave that became master (or the other way round) keeps its address and changes its id.
        group.addresses.retain(|other_id, other| other != address || other_id == id);
        if let Some(holder) = group.addresses.get(id)
            && holder != address
            && let Some(live) = self.live.get(&(cluster.clone(), holder.clone()))
            && live.data_version.state_version > registration.data_version.state_version
        {
            tracing::warn!(
                %broker, id, %address, %holder,
                "ignoring a registration: the id is held by another address with a newer state"
            );
            self.forget_address(cluster, broker, address);
            return Ok(Registered::default());
        }
        let first = !group.addresses.contains_key(id);
        if first && registration.topics.len() == 1 {
            self.forget_address(cluster, broker, address);
            return Err(Refused::IncrementFirst);
        }
        Ok(self.take_over(registration, connection, now, first, previous_min))
    }

    /// After the id of `address` was taken away and not given anew: it is not alive, and the name may be empty.
    fn forget_address(&mut self, cluster: &str, broker: &str, address: &str) {
        self.live.remove(&(cluster.to_owned(), address.to_owned()));
        self.drop_group_if_empty(broker);
    }

    fn take_over(
        &mut self,
        registration: &Registration,
        connection: Option<ConnectionId>,
        now: Monotonic,
        first: bool,
        previous_min: Option<i64>,
    ) -> Registered {
        let Registration { cluster, broker, id, address, .. } = registration;
        let name = self
            .groups
            .get(broker.as_str())
            .map_or_else(|| Rc::from(broker.as_str()), |g| Rc::clone(&g.name));
        self.clusters.entry(cluster.clone()).or_default().insert(Rc::clone(&name));
        let group = self.groups.entry(Rc::clone(&name)).or_insert_with(|| Group {
            name: Rc::clone(&name),
            cluster: cluster.clone(),
            addresses: BTreeMap::new(),
            acting_master: false,
            zone: None,
        });
        group.acting_master = registration.acting_master.unwrap_or(false);
        group.zone.clone_from(&registration.zone);
        if let Some(replaced) = group.addresses.insert(*id, address.clone())
            && replaced != *address
        {
            self.live.remove(&(cluster.clone(), replaced));
        }
        let group = &self.groups[&name];
        let min_id = group.min_id();
        let is_prime_slave = registration.acting_master.is_some() && *id != MASTER_ID && min_id == Some(*id);
        if *id == MASTER_ID || is_prime_slave {
            let wipe_write = is_prime_slave && group.acting_master;
            self.take_over_topics(registration, &name, first, wipe_write);
        }
        let key = (cluster.clone(), address.clone());
        let live = Live {
            broker: Rc::clone(&name),
            last_heard: now,
            timeout: registration.timeout.unwrap_or(DEFAULT_BROKER_TIMEOUT),
            data_version: registration.data_version,
            connection,
            ha_address: registration.ha_address.clone(),
            filter_servers: registration.filter_servers.clone(),
        };
        if self.live.insert(key, live).is_none() {
            tracing::info!(%cluster, %broker, id, %address, ha = %registration.ha_address, "broker registered");
        }
        let mut registered = self.master_of(cluster, broker, *id);
        if previous_min.is_some_and(|previous| *id < previous) {
            registered.notice = self.min_id_notice(broker, None, Some(&registration.ha_address));
        }
        registered
    }

    fn take_over_topics(
        &mut self,
        registration: &Registration,
        name: &Rc<str>,
        first: bool,
        wipe_write: bool,
    ) {
        let Registration { cluster, address, .. } = registration;
        let changed = first || self.is_changed(cluster, address, &registration.data_version);
        if self.settings.delete_topics && registration.mappings.is_empty() {
            let kept: std::collections::BTreeSet<&str> =
                registration.topics.iter().map(|entry| entry.topic.as_str()).collect();
            self.remove_queues(|topic, entry| entry.broker == *name && !kept.contains(topic));
        }
        for entry in &registration.topics {
            // Also with a version that we know: the topic may have been deleted here meanwhile.
            if !changed && self.has_queues(&entry.topic, name) {
                continue;
            }
            let perm = if wipe_write { entry.perm & !PERM_WRITE } else { entry.perm };
            let TopicEntry { topic, read, write, sys_flag, .. } = entry;
            let queues =
                Queues { broker: Rc::clone(name), read: *read, write: *write, perm, sys_flag: *sys_flag };
            if self.set_queues(topic, queues) {
                tracing::debug!(%topic, broker = %name, read, write, perm, "topic registered");
            }
        }
        if changed {
            for (topic, mapping) in &registration.mappings {
                if self.topics.contains_key(topic.as_str()) {
                    let by_broker = self.mappings.entry(topic.clone()).or_default();
                    by_broker.insert(name.to_string(), mapping.clone());
                }
            }
        }
    }

    /// Where a slave finds its master, if that is alive.
    fn master_of(&self, cluster: &str, broker: &str, id: i64) -> Registered {
        let master = || {
            let address = self.groups.get(broker)?.addresses.get(&MASTER_ID)?;
            let live = self.live.get(&(cluster.to_owned(), address.clone()))?;
            Some((address.clone(), live.ha_address.clone()))
        };
        match master() {
            Some((address, ha_address)) if id != MASTER_ID => {
                Registered { master_address: Some(address), ha_address: Some(ha_address), notice: None }
            }
            _ => Registered::default(),
        }
    }

    /// A name is in one cluster, and an address has one name: what says otherwise is from before a restart under a new
    /// configuration and goes, as if it had unregistered.
    fn leave_former_place(&mut self, cluster: &str, broker: &str, address: &str) {
        if let Some(group) = self.groups.get(broker)
            && group.cluster != cluster
        {
            let from = group.cluster.clone();
            tracing::warn!(%broker, %from, to = %cluster, "a broker name changes its cluster");
            for former in group.addresses.clone().into_values() {
                self.unregister(&from, broker, &former);
            }
        }
        if let Some(live) = self.live.get(&(cluster.to_owned(), address.to_owned()))
            && &*live.broker != broker
        {
            let former = live.broker.to_string();
            tracing::warn!(%address, from = %former, to = %broker, "a broker changes its name");
            self.unregister(cluster, &former, address);
        }
    }

    fn check_bounds(&self, registration: &Registration) -> Result<(), Refused> {
        for (what, name) in [
            ("clusterName", &registration.cluster),
            ("brokerName", &registration.broker),
            ("brokerAddr", &registration.address),
        ] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(Refused::Name(what));
            }
        }
        if registration.ha_address.len() > NAME_BYTES_MAX {
            return Err(Refused::Name("haServerAddr"));
        }
        if registration
            .topics
            .iter()
            .any(|entry| entry.topic.is_empty() || entry.topic.len() > TOPIC_BYTES_MAX)
        {
            return Err(Refused::Topic);
        }
        match self.groups.get(registration.broker.as_str()) {
            None if self.groups.len() >= BROKER_NAMES_MAX => return Err(Refused::BrokerNames),
            Some(group)
                if group.addresses.len() >= ADDRESSES_PER_NAME_MAX
                    && !group.addresses.contains_key(&registration.id) =>
            {
                return Err(Refused::Addresses);
            }
            _ => {}
        }
        // Counted only when it may be too much: a table of a hundred thousand topics comes every 30 seconds.
        if self.topics.len() + registration.topics.len() > TOPICS_MAX {
            let new =
                registration.topics.iter().filter(|entry| !self.topics.contains_key(entry.topic.as_str()));
            if self.topics.len() + new.count() > TOPICS_MAX {
                return Err(Refused::Topics);
            }
        }
        Ok(())
    }
}
