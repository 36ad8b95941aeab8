//! How groups consume topics when brokers share out the queues: by pulling or by popping (401).
//!
//! Pure state; made durable like [`super::topics`]: a change takes effect when the journal has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{DataVersion, MessageRequestMode, MessageRequestModes};

use super::changes::StagedChanges;
use super::table::StagedTable;
use crate::metadata::{Change, Table};

/// Topics that groups have modes for, and groups of one topic.
pub const MODES_MAX: usize = 20_000;
/// The two modes.
pub const PULL: &str = "PULL";
/// See [`PULL`].
pub const POP: &str = "POP";

/// Group → mode.
pub type Modes = BTreeMap<String, MessageRequestMode>;

/// Why a mode is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// Neither `PULL` nor `POP`.
    #[error("mode {0} is neither PULL nor POP")]
    Unknown(String),
    /// [`MODES_MAX`] is reached.
    #[error("modes are set for {MODES_MAX} topics, or for as many groups of one, which is the limit")]
    TooMany,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct ModeTable {
    /// By topic; never empty ones.
    topics: StagedTable<Modes>,
    changes: StagedChanges,
}

impl ModeTable {
    /// What was set for a group in a topic.
    #[must_use]
    pub fn get(&self, topic: &str, group: &str) -> Option<&MessageRequestMode> {
        self.topics.get(topic)?.get(group)
    }

    /// Sets how a group consumes a topic.
    ///
    /// # Errors
    /// See [`ModeError`]; nothing is changed then.
    pub fn set(&mut self, mode: MessageRequestMode, now_ms: u64) -> Result<(), ModeError> {
        if ![PULL, POP].contains(&&*mode.mode) {
            return Err(ModeError::Unknown(mode.mode));
        }
        let topic = mode.topic.clone();
        let mut modes = self.topics.latest(&topic).cloned().unwrap_or_default();
        let is_new_topic = modes.is_empty() && self.topics.latest_count() >= MODES_MAX;
        if is_new_topic || modes.len() >= MODES_MAX {
            return Err(ModeError::TooMany);
        }
        modes.insert(mode.consumer_group.clone(), mode);
        self.stage(&topic, modes, now_ms);
        Ok(())
    }

    /// A topic was deleted.
    pub fn remove_topic(&mut self, topic: &str, now_ms: u64) {
        if self.topics.latest(topic).is_some() {
            self.stage(topic, Modes::new(), now_ms);
        }
    }

    /// Topics behind `name` in order; `None`: from the beginning.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&String, &Arc<Modes>)> {
        self.topics.after(name)
    }

    /// The table's version.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.changes.version()
    }

    /// The whole table: the answer to 402.
    #[must_use]
    pub fn all(&self) -> MessageRequestModes {
        let modes = self.topics.iter().map(|(topic, modes)| (topic.clone(), (**modes).clone()));
        MessageRequestModes { message_request_mode_map: modes.collect() }
    }

    /// What was staged and not taken yet, to be appended to the journal at once.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.take()
    }

    /// A topic's modes are durable, or were recovered: they take effect.
    pub fn apply(&mut self, topic: &str, modes: Arc<Modes>) {
        self.topics.apply(topic, (!modes.is_empty()).then_some(modes));
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
        *self = Self::default();
    }

    fn stage(&mut self, topic: &str, modes: Modes, now_ms: u64) {
        let modes = Arc::new(modes);
        self.topics.stage(topic, (!modes.is_empty()).then(|| Arc::clone(&modes)));
        let change = Change::RequestModes { topic: topic.to_owned(), modes };
        self.changes.stage(Table::RequestModes, change, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(topic: &str, group: &str, mode: &str) -> MessageRequestMode {
        MessageRequestMode {
            consumer_group: group.to_owned(),
            mode: mode.to_owned(),
            pop_share_queue_num: -1,
            topic: topic.to_owned(),
        }
    }

    #[test]
    fn a_mode_takes_effect_when_it_is_durable() {
        let mut table = ModeTable::default();
        assert_eq!(table.set(mode("T", "g", "PUSH"), 1), Err(ModeError::Unknown("PUSH".to_owned())));
        table.set(mode("T", "g", POP), 1).expect("a mode");
        table.set(mode("T", "h", PULL), 1).expect("a mode");
        assert!(table.get("T", "g").is_none());
        for change in table.take_changes() {
            match change {
                Change::RequestModes { topic, modes } => table.apply(&topic, modes),
                Change::Version(_, version) => table.apply_version(version),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(table.get("T", "g").map(|found| &*found.mode), Some(POP));
        assert_eq!((table.all().message_request_mode_map["T"].len(), table.version().counter), (2, 2));
        table.remove_topic("T", 2);
        table.forget_staged();
        assert!(table.get("T", "h").is_some() && table.take_changes().is_empty());
    }
}
