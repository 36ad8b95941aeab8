//! The table of consumer groups.
//!
//! Pure state with the reference's rules; made durable and published like [`super::topics`].

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{DataVersion, SubscriptionGroupConfig, SubscriptionGroupWrapper};

use super::changes::StagedChanges;
use super::names::{self, NameError};
use super::table::StagedTable;
use super::topics::QUEUES_PER_TOPIC_MAX;
use crate::config::BrokerConfig;
use crate::message::{Group, GroupChange};
use crate::metadata::{Change, Table};

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

/// Topic → forbidden bits.
type Bits = BTreeMap<String, i32>;

/// See the module's text.
#[derive(Debug, Default)]
pub struct GroupTable {
    groups: StagedTable<SubscriptionGroupConfig>,
    /// By group; never empty ones.
    forbidden: StagedTable<Bits>,
    changes: StagedChanges,
}

impl GroupTable {
    /// No groups.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the built-in groups that are missing; they exist at once, as [`super::topics::TopicTable::add_built_in`].
    pub fn add_built_in(&mut self, now_ms: u64) {
        let missing: Vec<&str> =
            BUILT_IN.iter().copied().filter(|name| self.groups.get(name).is_none()).collect();
        if missing.is_empty() {
            return;
        }
        let mut changes = Vec::with_capacity(missing.len());
        for name in missing {
            let config = Some(Arc::new(group_config(name)));
            self.groups.apply(name, config.clone());
            changes.push(Change::Group { name: name.to_owned(), config });
        }
        self.changes.add_applied(Table::Groups, changes, now_ms);
    }

    /// A group's configuration.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SubscriptionGroupConfig> {
        self.groups.get(name)
    }

    /// A group's configuration as it will be when everything staged is durable.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&SubscriptionGroupConfig> {
        self.groups.latest(name)
    }

    /// Names of all groups, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|(name, _)| name.as_str())
    }

    /// Groups behind `name` in order; `None`: from the beginning.
    pub fn after(
        &self,
        name: Option<&str>,
    ) -> impl Iterator<Item = (&String, &Arc<SubscriptionGroupConfig>)> {
        self.groups.after(name)
    }

    /// What groups must not do, behind the group `name` in order; `None`: from the beginning.
    pub fn forbidden_after(&self, name: Option<&str>) -> impl Iterator<Item = (&String, &Arc<Bits>)> {
        self.forbidden.after(name)
    }

    /// The table's version.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.changes.version()
    }

    /// The whole table: the answer to 201.
    #[must_use]
    pub fn wrapper(&self) -> SubscriptionGroupWrapper {
        let groups = self.groups.iter().map(|(name, group)| (name.clone(), (**group).clone()));
        let forbidden = self.forbidden.iter().map(|(name, topics)| (name.clone(), (**topics).clone()));
        SubscriptionGroupWrapper {
            data_version: self.version(),
            subscription_group_table: groups.collect(),
            forbidden_table: forbidden.collect(),
        }
    }

    /// Makes a group that shows up, if configuration allows it. True: it exists now and did not before.
    pub fn create_on_demand(&mut self, name: &str, config: &BrokerConfig, now_ms: u64) -> bool {
        let allowed = config.auto_create_subscription_group
            || (config.enable_create_sys_group && names::is_system_group(name));
        if self.groups.latest(name).is_some() || !allowed || names::check_group(name).is_err() {
            return false;
        }
        self.insert(group_config(name), now_ms).is_ok()
    }

    /// Creates or changes a group as a request asks (200, 225).
    ///
    /// # Errors
    /// See [`GroupError`]; nothing is changed then.
    pub fn update(&mut self, mut wanted: SubscriptionGroupConfig, now_ms: u64) -> Result<(), GroupError> {
        let current = self.groups.latest(&wanted.group_name);
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
        if self.forbidden.latest(name).is_some() {
            self.stage_forbidden(name, Bits::new(), now_ms);
        }
        let existed = self.groups.latest(name).is_some();
        if existed {
            self.stage(name, None, now_ms);
        }
        existed
    }

    /// Forbids or allows a group to read a topic (353).
    pub fn set_readable(&mut self, group: &str, topic: &str, readable: bool, now_ms: u64) {
        let mut bits = self.forbidden.latest(group).cloned().unwrap_or_default();
        if readable {
            bits.remove(topic);
        } else {
            bits.insert(topic.to_owned(), FORBIDDEN_READ);
        }
        self.stage_forbidden(group, bits, now_ms);
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
        self.groups.iter().map(|(name, _)| self.published(name)).collect()
    }

    /// What was staged and not taken yet, to be appended to the journal at once.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take()
    }

    /// A group is durable, or was recovered: it takes effect.
    pub fn apply(&mut self, name: &str, config: Option<Arc<SubscriptionGroupConfig>>) {
        self.groups.apply(name, config);
    }

    /// What a group must not do is durable, or was recovered: it takes effect.
    pub fn apply_forbidden(&mut self, group: &str, topics: Arc<Bits>) {
        self.forbidden.apply(group, (!topics.is_empty()).then_some(topics));
    }

    /// A version is durable, or was recovered.
    pub fn apply_version(&mut self, version: DataVersion) {
        self.changes.apply_version(version);
    }

    /// What was staged will never be.
    pub fn forget_staged(&mut self) {
        self.groups.forget_staged();
        self.forbidden.forget_staged();
        self.changes.forget();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// A group, or its absence, as data shards want it.
    #[must_use]
    pub fn published(&self, name: &str) -> GroupChange {
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

    fn insert(&mut self, group: SubscriptionGroupConfig, now_ms: u64) -> Result<(), GroupError> {
        if self.groups.latest_count() >= GROUPS_MAX && self.groups.latest(&group.group_name).is_none() {
            return Err(GroupError::TooMany);
        }
        let name = group.group_name.clone();
        self.stage(&name, Some(Arc::new(group)), now_ms);
        Ok(())
    }

    fn stage(&mut self, name: &str, config: Option<Arc<SubscriptionGroupConfig>>, now_ms: u64) {
        self.groups.stage(name, config.clone());
        self.changes.stage(Table::Groups, Change::Group { name: name.to_owned(), config }, now_ms);
    }

    fn stage_forbidden(&mut self, group: &str, topics: Bits, now_ms: u64) {
        let topics = Arc::new(topics);
        self.forbidden.stage(group, (!topics.is_empty()).then(|| Arc::clone(&topics)));
        self.changes.stage(Table::Groups, Change::Forbidden { group: group.to_owned(), topics }, now_ms);
    }
}

/// A group with the reference's defaults.
fn group_config(name: &str) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig { group_name: name.to_owned(), ..SubscriptionGroupConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    fn config(text: &str) -> BrokerConfig {
        BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect("valid").0
    }

    /// What the journal does when everything goes well.
    fn save(table: &mut GroupTable) {
        for change in table.take_changes() {
            match change {
                Change::Group { name, config } => table.apply(&name, config),
                Change::Forbidden { group, topics } => table.apply_forbidden(&group, topics),
                Change::Version(_, version) => table.apply_version(version),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn groups_appear_on_demand_unless_that_is_off() {
        let mut table = GroupTable::new();
        table.add_built_in(1);
        assert!(table.get("TOOLS_CONSUMER").is_some());
        assert!(table.create_on_demand("g", &config(""), 2));
        assert!(!table.create_on_demand("g", &config(""), 2), "is about to exist");
        assert!(table.get("g").is_none(), "not before it is durable");
        save(&mut table);
        assert!(table.get("g").is_some());
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
        assert_eq!(table.latest("g").map(|g| g.retry_max_times), Some(3));
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
        save(&mut table);
        assert!(!table.is_readable("g", "T"));
        let published = table.published("g").group.expect("exists");
        assert_eq!(published.forbidden_topics.len(), 1);
        table.set_readable("g", "T", true, 3);
        save(&mut table);
        assert!(table.is_readable("g", "T"));
        assert!(table.wrapper().forbidden_table.is_empty());
        assert!(table.delete("g", 4));
        save(&mut table);
        assert!(table.published("g").group.is_none());
    }

    #[test]
    fn what_is_refused_leaves_no_trace() {
        let mut table = GroupTable::new();
        table.create_on_demand("g", &config(""), 1);
        save(&mut table);
        let before = table.wrapper();
        table.delete("g", 2);
        table.set_readable("g", "T", false, 2);
        table.create_on_demand("h", &config(""), 2);
        table.forget_staged();
        assert!(table.take_changes().is_empty());
        assert_eq!(table.wrapper(), before);
        assert!(table.create_on_demand("h", &config(""), 3), "may be asked for again");
        save(&mut table);
        assert_eq!(table.version().counter, before.data_version.counter + 1);
    }
}
