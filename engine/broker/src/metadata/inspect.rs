//! Looking at the metadata store without a broker: nothing is written, nothing is repaired. For tools; runs as a task.
//!
//! It is recovery that reads the files, told to change nothing. What is added here: the snapshot before the newest, which is kept in
//! reserve, is read as well, with all logs since, and must give the same state.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringmq_reactor::TaskIo;
use ringmq_remoting::body::{DataVersion, MessageRequestMode, SubscriptionGroupConfig, TopicConfig};
use ringmq_store::inspect::Severity;

use super::change::{Change, Table};
use super::error::RecoverError;
use super::files::{self, Role};
use super::recover::{Purpose, Recovered, Recovery, Sink, recover_for};

/// Queue (or delay level) → offset.
pub type QueueOffsets = BTreeMap<i32, i64>;

/// The state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Versions of the tables.
    pub versions: BTreeMap<Table, DataVersion>,
    /// By name.
    pub topics: BTreeMap<String, Arc<TopicConfig>>,
    /// By name.
    pub groups: BTreeMap<String, Arc<SubscriptionGroupConfig>>,
    /// Group → topic → what it must not do with it, as bits.
    pub forbidden: BTreeMap<String, Arc<BTreeMap<String, i32>>>,
    /// Group → topic → next offsets to consume.
    pub offsets: BTreeMap<Arc<str>, BTreeMap<Arc<str>, QueueOffsets>>,
    /// Shard → next offsets of delay levels.
    pub delay: BTreeMap<u16, QueueOffsets>,
    /// Topic → group → how it consumes.
    pub modes: BTreeMap<String, Arc<BTreeMap<String, MessageRequestMode>>>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// [`Severity::Derived`]: a file kept in reserve, or one that the reserve stands in for. The next start replaces it.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Its bad bytes; up to its end, where that is not known.
    pub bytes: Range<u64>,
    /// What is wrong.
    pub text: String,
}

/// What a metadata store holds.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The state.
    pub tables: Tables,
    /// What recovery would go on with.
    pub recovered: Recovered,
    /// Snapshots that give this state, with the logs since; oldest first.
    pub snapshots: Vec<u64>,
    /// Changes that were read, those of the snapshot included.
    pub changes: u64,
    /// What is wrong with files that are not needed.
    pub findings: Vec<Finding>,
}

/// Takes changes as recovery gives them.
#[derive(Default)]
struct Reading {
    tables: Tables,
    changes: u64,
}

impl Sink for Reading {
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn apply(&mut self, change: Change) {
        self.changes += 1;
        let tables = &mut self.tables;
        match change {
            Change::Version(table, version) => {
                tables.versions.insert(table, version);
            }
            Change::Topic { name, config } => set(&mut tables.topics, name, config),
            Change::Group { name, config } => set(&mut tables.groups, name, config),
            Change::Forbidden { group, topics } => {
                set(&mut tables.forbidden, group, (!topics.is_empty()).then_some(topics));
            }
            Change::Offsets { topic, group, queues } => {
                tables.offsets.entry(group).or_default().entry(topic).or_default().extend(queues);
            }
            Change::TopicOffsetsGone(topic) => {
                tables.offsets.values_mut().for_each(|topics| drop(topics.remove(&topic)));
                tables.offsets.retain(|_, topics| !topics.is_empty());
            }
            Change::GroupOffsetsGone(group) => {
                tables.offsets.remove(&group);
            }
            Change::Delay { shard, levels } => tables.delay.entry(shard).or_default().extend(levels),
            Change::RequestModes { topic, modes } => {
                set(&mut tables.modes, topic, (!modes.is_empty()).then_some(modes));
            }
        }
    }
}

fn set<T>(table: &mut BTreeMap<String, T>, name: String, value: Option<T>) {
    match value {
        Some(value) => {
            table.insert(name, value);
        }
        None => {
            table.remove(&name);
        }
    }
}

/// Reads everything in `dir`. `None`: nothing was ever promised there, as before a first start.
///
/// # Errors
/// See [`RecoverError`]; as a start of the broker would fail.
pub async fn inspect(io: &TaskIo, dir: &Path) -> Result<Option<Metadata>, RecoverError> {
    let mut reading = Reading::default();
    let recovered = recover_for(Purpose::Look, io, dir, &mut reading).await?;
    let Some(used) = recovered.snapshot else { return Ok(None) };
    let Reading { tables, changes } = reading;
    let recovery = Recovery { io, dir, purpose: Purpose::Look };
    let (snapshots, logs) = recovery.list().await?;
    let (mut whole, mut findings) = (Vec::new(), Vec::new());
    for &generation in &snapshots {
        if generation == used {
            whole.push(used);
            continue;
        }
        let (mut other, mut ignored) = (Reading::default(), recovered.clone());
        let read = recovery.read_from(generation, (&snapshots, &logs), &mut other, &mut ignored).await;
        let (file, at, text) = match read {
            Ok(Ok(())) if other.tables == tables => {
                whole.push(generation);
                continue;
            }
            Ok(Ok(())) => {
                let file = files::path(dir, generation, Role::Snapshot);
                (file, 0, format!("it and the logs since give another state than snapshot {used}"))
            }
            Ok(Err(damage)) => (damage.path, damage.at, damage.what.to_owned()),
            Err(RecoverError::Corrupt { path, at, what, .. }) => (path, at, what),
            Err(error) => return Err(error),
        };
        findings.push(Finding { severity: Severity::Derived, file, bytes: at..u64::MAX, text });
    }
    if recovered.torn_bytes > 0 {
        let (log, at) = recovered.torn_at;
        findings.push(Finding {
            severity: Severity::TornTail,
            file: files::path(dir, log, Role::Log),
            bytes: at..at + recovered.torn_bytes,
            text: "remains of an interrupted write; nothing in it had been promised".to_owned(),
        });
    }
    Ok(Some(Metadata { tables, recovered, snapshots: whole, changes, findings }))
}
