//! Brokers that leave, fall silent or lose their connection.

use std::collections::BTreeSet;

use ringmq_reactor::{ConnectionId, Monotonic};
use ringmq_remoting::body::DataVersion;

use super::{LiveKey, MASTER_ID, MinIdNotice, PERM_WRITE, RouteTable};

/// A broker that was removed for its silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its address.
    pub address: String,
    /// The connection it registered on: to be closed.
    pub connection: Option<ConnectionId>,
}

impl RouteTable {
    /// A broker is there (requests 904 and 322), whatever it holds.
    pub fn heard_from(&mut self, cluster: &str, address: &str, now: Monotonic) {
        if let Some(live) = self.live.get_mut(&key(cluster, address)) {
            live.last_heard = now;
        }
    }

    /// Whether a broker's topic table differs from what it registered last; true if it is not registered.
    #[must_use]
    pub fn is_changed(&self, cluster: &str, address: &str, version: &DataVersion) -> bool {
        self.data_version(cluster, address).is_none_or(|known| known != version)
    }

    /// The version of the table that a broker registered last.
    #[must_use]
    pub fn data_version(&self, cluster: &str, address: &str) -> Option<&DataVersion> {
        self.live.get(&key(cluster, address)).map(|live| &live.data_version)
    }

    /// A broker leaves (request 104).
    pub fn unregister(&mut self, cluster: &str, broker: &str, address: &str) -> Option<MinIdNotice> {
        let live = self.live.get(&key(cluster, address))?;
        if &*live.broker != broker {
            tracing::warn!(%broker, %address, known_as = %live.broker, "ignoring an unregistration under another name");
            return None;
        }
        self.live.remove(&key(cluster, address));
        let group = self.groups.get_mut(broker)?;
        let min_before = group.min_id();
        let mut removed = None;
        group.addresses.retain(|id, other| {
            if other == address {
                removed = Some(*id);
            }
            other != address
        });
        let removed = removed?;
        tracing::info!(%cluster, %broker, id = removed, %address, "broker unregistered");
        if self.drop_group_if_empty(broker) {
            return None;
        }
        self.wipe_write_without_master(broker);
        if min_before == Some(removed) { self.min_id_notice(broker, Some(address), None) } else { None }
    }

    /// A connection has ended: the brokers that registered on it are gone.
    pub fn connection_closed(&mut self, connection: ConnectionId) -> Vec<MinIdNotice> {
        let lost: Vec<LiveKey> = self
            .live
            .iter()
            .filter(|(_, live)| live.connection == Some(connection))
            .map(|(k, _)| k.clone())
            .collect();
        self.unregister_all(lost)
    }

    /// Removes every broker that has been silent for longer than it said it would be.
    pub fn expire(&mut self, now: Monotonic) -> (Vec<Expired>, Vec<MinIdNotice>) {
        let silent: Vec<(LiveKey, Option<ConnectionId>)> = self
            .live
            .iter()
            .filter(|(_, live)| now.since(live.last_heard) > live.timeout)
            .map(|(key, live)| (key.clone(), live.connection))
            .collect();
        let expired = silent
            .iter()
            .map(|((_, address), connection)| Expired { address: address.clone(), connection: *connection })
            .collect();
        for ((cluster, address), _) in &silent {
            tracing::warn!(%cluster, %address, "removing a broker: it has been silent for too long");
        }
        let notices = self.unregister_all(silent.into_iter().map(|(key, _)| key).collect());
        (expired, notices)
    }

    fn unregister_all(&mut self, keys: Vec<LiveKey>) -> Vec<MinIdNotice> {
        let mut notices = Vec::new();
        for (cluster, address) in keys {
            let Some(live) = self.live.get(&key(&cluster, &address)) else { continue };
            let broker = live.broker.to_string();
            notices.extend(self.unregister(&cluster, &broker, &address));
        }
        notices
    }

    /// True: the name had no address left and is gone, with its queues.
    pub(super) fn drop_group_if_empty(&mut self, broker: &str) -> bool {
        let Some(group) = self.groups.get(broker) else { return false };
        if !group.addresses.is_empty() {
            return false;
        }
        let cluster = group.cluster.clone();
        self.groups.remove(broker);
        self.remove_from_cluster(&cluster, broker);
        self.remove_queues(|_, entry| &*entry.broker == broker);
        true
    }

    pub(super) fn remove_from_cluster(&mut self, cluster: &str, broker: &str) {
        if let Some(names) = self.clusters.get_mut(cluster) {
            names.remove(broker);
            if names.is_empty() {
                self.clusters.remove(cluster);
            }
        }
    }

    /// Without a master, a name whose slave may act as one takes no messages.
    fn wipe_write_without_master(&mut self, broker: &str) {
        let Some(group) = self.groups.get(broker) else { return };
        if !group.acting_master || group.addresses.contains_key(&MASTER_ID) {
            return;
        }
        for entry in self.topics.values_mut().flatten().filter(|entry| &*entry.broker == broker) {
            entry.perm &= !PERM_WRITE;
        }
    }

    /// Broker names that have registered on a connection, for logs.
    #[must_use]
    pub fn brokers_on(&self, connection: ConnectionId) -> BTreeSet<String> {
        let on_it = self.live.values().filter(|live| live.connection == Some(connection));
        on_it.map(|live| live.broker.to_string()).collect()
    }
}

fn key(cluster: &str, address: &str) -> LiveKey {
    (cluster.to_owned(), address.to_owned())
}
