//! The table of consumer groups.
//!
//! Pure state with the reference's rules; written and published like [`super::topics`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmq_remoting::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};

use super::names::{self, NameError};
use super::topics::QUEUES_PER_TOPIC_MAX;
use crate::config::BrokerConfig;
use crate::message::{Group, GroupChange};

/// Most groups of a broker.
pub const GROUPS_MAX: usize = 200_000;
/// `forbiddenTable` bit: the group must not read the topic.
pub const FORBIDDEN_READ: i32 = 4;

/// Groups that every broker has.
const BUILT_IN: &[&str] = &[
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
];
/// Why a group is not made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No attribute exists that a group could have.
    #[error("unsupported key: {0}")]
    Attribute(String),
    /// Its number of retry queues.
    #[error("retryQueueNums must lie between 0 and {QUEUES_PER_TOPIC_MAX}, got {0}")]
    RetryQueues(i32),
    /// [`GROUPS_MAX`] is reached.
    #[error("the broker has {GROUPS_MAX} consumer groups, which is its limit")]
    TooMany,
}

/// See the module's text.
#[derive(Debug)]
pub struct GroupTable {
    groups: BTreeMap<String, SubscriptionGroupConfig>,
    /// Group → topic → forbidden bits.
    forbidden: BTreeMap<String, BTreeMap<String, i32>>,
    version: DataVersion,
    changed: BTreeSet<String>,
    saving: Vec<GroupChange>,
}

impl GroupTable {
    /// No groups.
    #[must_use]
    pub fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            forbidden: BTreeMap::new(),
            version: DataVersion::default(),
            changed: BTreeSet::new(),
            saving: Vec::new(),
        }
    }

    /// Takes what was read from disk, and adds the built-in groups that are missing. True: something was added.
    pub fn load(&mut self, stored: Option<SubscriptionGroupWrapper>, now_ms: u64) -> bool {
        if let Some(stored) = stored {
            self.version = stored.data_version;
            self.groups = stored.subscription_group_table;
            self.forbidden = stored.forbidden_table;
        }
        let mut added = false;
        for name in BUILT_IN {
            if !self.groups.contains_key(*name) {
                self.groups.insert((*name).to_owned(), group_config(name));
                added = true;
            }
        }
        if added {
            self.next_version(now_ms);
        }
        added
    }

    /// A group's configuration.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SubscriptionGroupConfig> {
        self.groups.get(name)
    }

    /// Names of all groups, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The whole table: content of `subscriptionGroup.json` and of the answer to 201.
    #[must_use]
    pub fn wrapper(&self) -> SubscriptionGroupWrapper {
        SubscriptionGroupWrapper {
            data_version: self.version,
            subscription_group_table: self.groups.clone(),
            forbidden_table: self.forbidden.clone(),
        }
    }

    /// Makes a group that shows up, if configuration allows it. True: it exists now and did not before.
    pub fn create_on_demand(&mut self, name: &str, config: &BrokerConfig, now_ms: u64) -> bool {
        let allowed = config.auto_create_subscription_group
            || (config.enable_create_sys_group && names::is_system_group(name));
        if self.groups.contains_key(name) || !allowed || names::check_group(name).is_err() {
            return false;
        }
        self.insert(group_config(name), now_ms).is_ok()
    }

    /// Creates or changes a group as a request asks (200, 225).
    ///
    /// # Errors
    /// See [`GroupError`]; nothing is changed then.
    pub fn update(&mut self, mut wanted: SubscriptionGroupConfig, now_ms: u64) -> Result<(), GroupError> {
        let current = self.groups.get(&wanted.group_name);
        if current.is_none() {
            // Existing groups of older servers may have longer names.
            names::check_group(&wanted.group_name)?;
        }
        let before = current.map(|group| group.attributes.clone()).unwrap_or_default();
        if let Some(key) = wanted.attributes.keys().find(|key| key.starts_with(['+', '-'])) {
            return Err(GroupError::Attribute(key[1..].to_owned()));
        }
        wanted.attributes = before;
        if !(0..=QUEUES_PER_TOPIC_MAX).contains(&wanted.retry_queue_nums) {
            return Err(GroupError::RetryQueues(wanted.retry_queue_nums));
        }
        self.insert(wanted, now_ms)
    }

    /// Deletes a group. True: it existed.
    pub fn delete(&mut self, name: &str, now_ms: u64) -> bool {
        self.forbidden.remove(name);
        let existed = self.groups.remove(name).is_some();
        if existed {
            self.changed.insert(name.to_owned());
            self.next_version(now_ms);
        }
        existed
    }

    /// Forbids or allows a group to read a topic (353).
    pub fn set_readable(&mut self, group: &str, topic: &str, readable: bool, now_ms: u64) {
        let bits = self.forbidden.entry(group.to_owned()).or_default();
        if readable {
            bits.remove(topic);
        } else {
            bits.insert(topic.to_owned(), FORBIDDEN_READ);
        }
        if bits.is_empty() {
            self.forbidden.remove(group);
        }
        self.changed.insert(group.to_owned());
        self.next_version(now_ms);
    }

    /// Whether a group may read a topic.
    #[must_use]
    pub fn is_readable(&self, group: &str, topic: &str) -> bool {
        self.forbidden
            .get(group)
            .and_then(|topics| topics.get(topic))
            .is_none_or(|bits| bits & FORBIDDEN_READ == 0)
    }

    /// All groups as data shards want them.
    #[must_use]
    pub fn snapshot(&self) -> Arc<[GroupChange]> {
        self.groups.keys().map(|name| self.change(name)).collect()
    }

    /// Marks the changes made so far as being written.
    pub fn begin_save(&mut self) {
        for name in std::mem::take(&mut self.changed) {
            let change = self.change(&name);
            self.saving.push(change);
        }
    }

    /// What was marked has been written: it is to be published.
    pub fn saved(&mut self) -> Arc<[GroupChange]> {
        std::mem::take(&mut self.saving).into()
    }

    fn insert(&mut self, group: SubscriptionGroupConfig, now_ms: u64) -> Result<(), GroupError> {
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group.group_name) {
            return Err(GroupError::TooMany);
        }
        self.changed.insert(group.group_name.clone());
        self.groups.insert(group.group_name.clone(), group);
        self.next_version(now_ms);
        Ok(())
    }

    fn next_version(&mut self, now_ms: u64) {
        self.version = self.version.next(i64::try_from(now_ms).unwrap_or(i64::MAX));
    }

    fn change(&self, name: &str) -> GroupChange {
        let group = self.groups.get(name).map(|group| {
            let forbidden = self.forbidden.get(name).into_iter().flatten();
            let unreadable = forbidden.filter(|(_, bits)| **bits & FORBIDDEN_READ != 0);
            Arc::new(Group {
                consume_enable: group.consume_enable,
                consume_broadcast_enable: group.consume_broadcast_enable,
                retry_queues: group.retry_queue_nums,
                retry_max_times: group.retry_max_times,
                broker_id: group.broker_id,
                broker_id_when_slow: group.which_broker_when_consume_slowly,
                sys_flag: group.group_sys_flag,
                forbidden_topics: unreadable.map(|(topic, _)| Box::from(topic.as_str())).collect(),
            })
        });
        GroupChange { name: Arc::from(name), group }
    }
}

/// A group with the reference's defaults.
fn group_config(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() }
}

impl Default for GroupTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    fn config(text: &str) -> BrokerConfig {
        BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect("valid").0
    }

    #[test]
    fn groups_appear_on_demand_unless_that_is_off() {
        let mut table = GroupTable::new();
        assert!(table.load(None, 1));
        assert!(table.get("TOOLS_CONSUMER").is_some());
        assert!(table.create_on_demand("g", &config(""), 2));
        assert!(!table.create_on_demand("g", &config(""), 2), "exists");
        assert!(!table.create_on_demand("a.b", &config(""), 2), "illegal name");
        let closed = config("autoCreateSubscriptionGroup=false");
        assert!(!table.create_on_demand("h", &closed, 2));
        assert!(table.create_on_demand("CID_RMQ_SYS_X", &closed, 2));
        assert!(!table.create_on_demand(
            "CID_RMQ_SYS_Y",
            &config("autoCreateSubscriptionGroup=false\nenableCreateSysGroup=false"),
            2
        ));
    }

    #[test]
    fn updates_are_checked() {
        let mut table = GroupTable::new();
        let mut group = group_config("g");
        group.retry_max_times = 3;
        assert_eq!(table.update(group.clone(), 1), Ok(()));
        assert_eq!(table.get("g").map(|g| g.retry_max_times), Some(3));
        group.retry_queue_nums = -1;
        assert_eq!(table.update(group.clone(), 1), Err(GroupError::RetryQueues(-1)));
        group.retry_queue_nums = 1;
        group.attributes.insert("+colour".to_owned(), "red".to_owned());
        assert_eq!(table.update(group, 1), Err(GroupError::Attribute("colour".to_owned())));
        assert!(table.update(group_config(&"g".repeat(121)), 1).is_err());
    }

    #[test]
    fn forbidden_topics_travel_with_the_group() {
        let mut table = GroupTable::new();
        table.create_on_demand("g", &config(""), 1);
        table.set_readable("g", "T", false, 2);
        assert!(!table.is_readable("g", "T"));
        table.begin_save();
        let changes = table.saved();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].group.as_ref().expect("exists").forbidden_topics.len(), 1);
        table.set_readable("g", "T", true, 3);
        assert!(table.is_readable("g", "T"));
        assert!(table.wrapper().forbidden_table.is_empty());
        assert!(table.delete("g", 4));
        table.begin_save();
        assert!(table.saved()[0].group.is_none());
    }
}
