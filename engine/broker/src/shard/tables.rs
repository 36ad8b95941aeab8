//! This shard's copies of what the coordination shard decides: topics, groups, who is online.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::message::{Group, GroupChange, OnlineGroup, Topic, TopicChange};

/// A topic by name, with its name as a shared string: handlers keep the latter without copying.
#[derive(Clone, Debug)]
pub(crate) struct TopicEntry {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its configuration.
    pub(crate) config: Arc<Topic>,
}

/// A group by name.
#[derive(Clone, Debug)]
pub(crate) struct GroupEntry {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its configuration.
    pub(crate) config: Arc<Group>,
}

/// Read by every request, written only by mail from the coordination shard.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    topics: FxHashMap<Arc<str>, TopicEntry>,
    groups: FxHashMap<Arc<str>, GroupEntry>,
    online: FxHashMap<Arc<str>, Arc<OnlineGroup>>,
    /// When the newest orderly lock of a group expires, wall clock ms.
    locked_until_ms: FxHashMap<Arc<str>, u64>,
}

impl Tables {
    pub(crate) fn topic(&self, name: &str) -> Option<&TopicEntry> {
        self.topics.get(name)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&GroupEntry> {
        self.groups.get(name)
    }

    pub(crate) fn online(&self, group: &str) -> Option<&Arc<OnlineGroup>> {
        self.online.get(group)
    }

    /// Whether some member of the group holds a queue locked for orderly consumption.
    pub(crate) fn is_locked(&self, group: &str, wall_ms: u64) -> bool {
        self.locked_until_ms.get(group).is_some_and(|&until| until > wall_ms)
    }

    pub(crate) fn change_topics(&mut self, changes: &[TopicChange]) {
        for change in changes {
            match &change.topic {
                Some(config) => {
                    let entry = TopicEntry { name: Arc::clone(&change.name), config: Arc::clone(config) };
                    self.topics.insert(Arc::clone(&change.name), entry);
                }
                None => {
                    self.topics.remove(&change.name);
                }
            }
        }
    }

    pub(crate) fn change_groups(&mut self, changes: &[GroupChange]) {
        for change in changes {
            match &change.group {
                Some(config) => {
                    let entry = GroupEntry { name: Arc::clone(&change.name), config: Arc::clone(config) };
                    self.groups.insert(Arc::clone(&change.name), entry);
                }
                None => {
                    self.groups.remove(&change.name);
                    self.locked_until_ms.remove(&change.name);
                }
            }
        }
    }

    pub(crate) fn set_online(&mut self, group: Arc<str>, online: Option<Arc<OnlineGroup>>) {
        match online {
            Some(online) => self.online.insert(group, online),
            None => self.online.remove(&group),
        };
    }

    pub(crate) fn set_locked(&mut self, group: Arc<str>, until_ms: u64) {
        self.locked_until_ms.insert(group, until_ms);
    }
}
