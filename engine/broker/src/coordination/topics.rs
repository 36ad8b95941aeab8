//! The topic table: what topics exist, how they come into being and change.
//!
//! Pure state with the reference's rules. A change is staged, taken to the journal, and takes effect when that has made it durable:
//! see [`super::table`], [`super::changes`].

use std::sync::Arc;

use ringmq_remoting::body::{DataVersion, TopicConfig, TopicConfigWrapper, perm};

use super::attributes::{self, AttributeError};
use super::changes::StagedChanges;
use super::names::{self, NameError, TEMPLATE_TOPIC};
use super::table::StagedTable;
use crate::config::BrokerConfig;
use crate::message::{Perm, Topic, TopicChange};
use crate::metadata::{Change, Table};

/// Most topics of a broker.
pub const TOPICS_MAX: usize = 1_000_000;
/// Most queues of one topic.
pub const QUEUES_PER_TOPIC_MAX: i32 = 65_536;

const PERM_RW: i32 = perm::READ | perm::WRITE;
/// `perm` may have these bits; 8 (priority) is unused but allowed.
const PERM_BITS: i32 = 15;
/// `topicSysFlag` bit: unit topic.
const SYS_FLAG_UNIT: i32 = 1;

/// Why a topic is not made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its attributes.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// Its number of queues.
    #[error(
        "the number of queues of topic[{topic}] must lie between 0 and {QUEUES_PER_TOPIC_MAX}, got {queues}"
    )]
    Queues {
        /// The topic.
        topic: String,
        /// As asked.
        queues: i32,
    },
    /// Its permissions.
    #[error("perm {0} is not a sum of 4 (read), 2 (write) and 1 (inherit)")]
    Perm(i32),
    /// [`TOPICS_MAX`] is reached.
    #[error("the broker has {TOPICS_MAX} topics, which is its limit")]
    TooMany,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct TopicTable {
    topics: StagedTable<TopicConfig>,
    changes: StagedChanges,
}

impl TopicTable {
    /// No topics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the built-in topics that are missing. They follow from the configuration and exist at once: if they do not reach the journal,
    /// the next start adds them again.
    pub fn add_built_in(&mut self, config: &BrokerConfig, now_ms: u64) {
        let mut added: Vec<TopicConfig> = built_in(config);
        added.retain(|topic| self.topics.get(&topic.topic_name).is_none());
        // A template from an earlier start must not go on inviting clients to create topics.
        if !config.auto_create_topic_enable
            && let Some(template) = self.topics.get(TEMPLATE_TOPIC)
            && template.perm != PERM_RW
        {
            added.push(TopicConfig { perm: PERM_RW, ..template.clone() });
        }
        if added.is_empty() {
            return;
        }
        let mut changes = Vec::with_capacity(added.len());
        for topic in added {
            let (name, config) = (topic.topic_name.clone(), Some(Arc::new(topic)));
            self.topics.apply(&name, config.clone());
            changes.push(Change::Topic { name, config });
        }
        self.changes.add_applied(Table::Topics, changes, now_ms);
    }

    /// A topic's configuration.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TopicConfig> {
        self.topics.get(name)
    }

    /// All topics in order.
    pub fn iter(&self) -> impl Iterator<Item = &TopicConfig> {
        self.topics.iter().map(|(_, topic)| &**topic)
    }

    /// Topics behind `name` in order; `None`: from the beginning.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&String, &Arc<TopicConfig>)> {
        self.topics.after(name)
    }

    /// The table's version.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.changes.version()
    }

    /// Table and version: the answer to 21.
    #[must_use]
    pub fn wrapper(&self) -> TopicConfigWrapper {
        let topics = self.topics.iter().map(|(name, topic)| (name.clone(), (**topic).clone()));
        TopicConfigWrapper { data_version: self.version(), topic_config_table: topics.collect() }
    }

    /// As [`TopicTable::wrapper`], with permissions cut to those of the broker: for name servers.
    #[must_use]
    pub fn wrapper_for_registration(&self, broker_permission: u32) -> TopicConfigWrapper {
        let mut wrapper = self.wrapper();
        let mask = i32::try_from(broker_permission).unwrap_or(PERM_RW);
        if mask & PERM_RW != PERM_RW {
            for topic in wrapper.topic_config_table.values_mut() {
                topic.perm &= mask;
            }
        }
        wrapper
    }

    /// Creates a topic that a message is sent to, after its template. True: it exists now and did not before.
    ///
    /// # Errors
    /// When the name is illegal or the table is full. A template that does not allow it is no error: nothing is created.
    pub fn create_on_send(
        &mut self,
        name: &str,
        template: &str,
        queues: i32,
        is_unit: bool,
        config: &BrokerConfig,
        now_ms: u64,
    ) -> Result<bool, TopicError> {
        if self.topics.latest(name).is_some() {
            return Ok(false);
        }
        names::check_topic(name)?;
        if name.starts_with(names::RETRY_PREFIX) {
            return self.create_group_topic(name, 1, is_unit, now_ms);
        }
        let Some(template) = self.topics.latest(template) else { return Ok(false) };
        let inherits = template.perm & perm::INHERIT != 0
            && (config.auto_create_topic_enable || template.topic_name != TEMPLATE_TOPIC);
        if !inherits {
            return Ok(false);
        }
        let queues = queues.clamp(0, template.write_queue_nums);
        let mut topic = plain(name, queues, template.perm & !perm::INHERIT);
        topic.topic_filter_type.clone_from(&template.topic_filter_type);
        topic.topic_sys_flag = if is_unit { SYS_FLAG_UNIT } else { 0 };
        self.insert(topic, now_ms)?;
        Ok(true)
    }

    /// Creates a group's retry or dead-letter topic. True: it exists now and did not before.
    ///
    /// # Errors
    /// When the name is illegal or the table is full.
    pub fn create_group_topic(
        &mut self,
        name: &str,
        queues: i32,
        is_unit: bool,
        now_ms: u64,
    ) -> Result<bool, TopicError> {
        if self.topics.latest(name).is_some() {
            return Ok(false);
        }
        names::check_topic(name)?;
        check_queues(name, queues)?;
        let mut topic = plain(name, queues, PERM_RW);
        topic.topic_sys_flag = if is_unit { SYS_FLAG_UNIT } else { 0 };
        self.insert(topic, now_ms)?;
        Ok(true)
    }

    /// Creates or changes a topic as a request asks (17, 18). `wanted.attributes` hold the request's signed changes.
    /// True: something changed.
    ///
    /// # Errors
    /// See [`TopicError`]; nothing is changed then.
    pub fn update(
        &mut self,
        mut wanted: TopicConfig,
        config: &BrokerConfig,
        now_ms: u64,
    ) -> Result<bool, TopicError> {
        let name = wanted.topic_name.clone();
        names::check_topic(&name)?;
        if config.validate_system_topic_when_update_topic && names::is_system_topic(&name, config) {
            return Err(NameError::System(name).into());
        }
        check_queues(&name, wanted.read_queue_nums)?;
        check_queues(&name, wanted.write_queue_nums)?;
        if wanted.perm & !PERM_BITS != 0 {
            return Err(TopicError::Perm(wanted.perm));
        }
        let current = self.topics.latest(&name);
        // A whole configuration (18) carries plain keys, a request of one topic (17) signed ones.
        let signed = wanted.attributes.keys().all(|key| key.starts_with(['+', '-']));
        if signed {
            let before = current.map(|topic| &topic.attributes);
            wanted.attributes =
                attributes::alter(before, &wanted.attributes, config.enable_mixed_message_type)?;
        } else if current.is_none_or(|topic| topic.attributes != wanted.attributes) {
            let added =
                wanted.attributes.iter().map(|(key, value)| (format!("+{key}"), value.clone())).collect();
            wanted.attributes =
                attributes::alter(current.map(|t| &t.attributes), &added, config.enable_mixed_message_type)?;
        }
        if current == Some(&wanted) {
            return Ok(false);
        }
        self.insert(wanted, now_ms)?;
        Ok(true)
    }

    /// Deletes a topic. True: it existed.
    pub fn delete(&mut self, name: &str, now_ms: u64) -> bool {
        let existed = self.topics.latest(name).is_some();
        if existed {
            self.stage(name, None, now_ms);
        }
        existed
    }

    /// Names of the system topics that exist.
    #[must_use]
    pub fn system_topics(&self, config: &BrokerConfig) -> Vec<String> {
        let names = self.topics.iter().map(|(name, _)| name);
        names.filter(|name| names::is_system_topic(name, config)).cloned().collect()
    }

    /// All topics as data shards want them.
    #[must_use]
    pub fn snapshot(&self) -> Arc<[TopicChange]> {
        self.topics.iter().map(|(name, topic)| published(name, Some(topic))).collect()
    }

    /// What was staged and not taken yet, to be appended to the journal at once.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take()
    }

    /// A topic is durable, or was recovered: it takes effect. Gives what data shards are to be told.
    pub fn apply(&mut self, name: &str, config: Option<Arc<TopicConfig>>) -> TopicChange {
        let change = published(name, config.as_ref());
        self.topics.apply(name, config);
        change
    }

    /// A version is durable, or was recovered.
    pub fn apply_version(&mut self, version: DataVersion) {
        self.changes.apply_version(version);
    }

    /// What was staged will never be.
    pub fn forget_staged(&mut self) {
        self.topics.forget_staged();
        self.changes.forget();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn insert(&mut self, topic: TopicConfig, now_ms: u64) -> Result<(), TopicError> {
        if self.topics.latest_count() >= TOPICS_MAX && self.topics.latest(&topic.topic_name).is_none() {
            return Err(TopicError::TooMany);
        }
        let name = topic.topic_name.clone();
        self.stage(&name, Some(Arc::new(topic)), now_ms);
        Ok(())
    }

    fn stage(&mut self, name: &str, config: Option<Arc<TopicConfig>>, now_ms: u64) {
        self.topics.stage(name, config.clone());
        self.changes.stage(Table::Topics, Change::Topic { name: name.to_owned(), config }, now_ms);
    }
}

/// A topic as data shards want it.
fn published(name: &str, topic: Option<&Arc<TopicConfig>>) -> TopicChange {
    let topic = topic.map(|topic| {
        Arc::new(Topic {
            read_queues: topic.read_queue_nums,
            write_queues: topic.write_queue_nums,
            perm: Perm(topic.perm),
            sys_flag: topic.topic_sys_flag,
            order: topic.order,
            compaction: topic.attributes.get("cleanup.policy").is_some_and(|policy| policy == "COMPACTION"),
        })
    });
    TopicChange { name: Arc::from(name), topic }
}

fn check_queues(topic: &str, queues: i32) -> Result<(), TopicError> {
    if (0..=QUEUES_PER_TOPIC_MAX).contains(&queues) {
        return Ok(());
    }
    Err(TopicError::Queues { topic: topic.to_owned(), queues })
}

fn plain(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

/// Topics that every broker has.
fn built_in(config: &BrokerConfig) -> Vec<TopicConfig> {
    let own = |enabled| if enabled { PERM_RW | perm::INHERIT } else { perm::INHERIT };
    let count = |number: u32| i32::try_from(number).unwrap_or(QUEUES_PER_TOPIC_MAX).min(QUEUES_PER_TOPIC_MAX);
    let cluster = &config.broker_cluster_name;
    let mut topics = vec![
        plain("SELF_TEST_TOPIC", 1, PERM_RW),
        plain("BenchmarkTest", 1_024, PERM_RW),
        plain(cluster, 16, own(config.cluster_topic_enable)),
        plain(&config.broker_name, 1, own(config.broker_topic_enable)),
        plain("OFFSET_MOVED_EVENT", 1, PERM_RW),
        plain("SCHEDULE_TOPIC_XXXX", i32::from(config.message_delay_level.count()), PERM_RW),
        plain(&config.reply_topic(), 1, PERM_RW),
        plain(&format!("rmq_sys_REVIVE_LOG_{cluster}"), count(config.revive_queue_num), PERM_RW),
        plain(&format!("rmq_sys_SYNC_BROKER_MEMBER_{}", config.broker_name), 1, perm::INHERIT),
        plain("RMQ_SYS_TRANS_HALF_TOPIC", 1, PERM_RW),
        plain("RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, PERM_RW),
    ];
    if config.auto_create_topic_enable {
        topics.push(plain(TEMPLATE_TOPIC, count(config.default_topic_queue_nums), PERM_RW | perm::INHERIT));
    }
    if config.trace_topic_enable {
        topics.push(plain(&config.msg_trace_topic_name, 1, PERM_RW));
    }
    topics
}

#[cfg(test)]
mod tests;
