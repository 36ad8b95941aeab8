//! Consumer offsets of the queues that this shard owns.
//!
//! The truth while the broker runs; the coordination shard is sent what changed (see `BrokerConfig::report_offsets_after`) and persists it. A crash
//! forgets at most what had not been sent and written yet: consumers then see some messages twice.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::message::QueueOffset;

/// Changed offsets that are sent without waiting for the second to pass.
pub(crate) const CHANGED_MAX: usize = 4096;

/// A group's state in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Next offset to consume; `None`: never committed.
    pub(crate) committed: Option<i64>,
    /// Where the last pull ended, since start.
    pub(crate) pulled: Option<i64>,
    /// An operator moved the offset here; the group's next pull is told, and until then its commits do not count.
    pub(crate) reset: Option<i64>,
    /// In the list of changes.
    changed: bool,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Stored.
    Stored,
    /// Ignored: a reset has not been seen by the group yet.
    ResetPending,
}

type Queues = FxHashMap<i32, Position>;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    /// group → topic → queue.
    groups: FxHashMap<Arc<str>, FxHashMap<Arc<str>, Queues>>,
    changes: Vec<(Arc<str>, Arc<str>, i32)>,
}

impl Offsets {
    /// What is known of a group in a queue.
    pub(crate) fn get(&self, group: &str, topic: &str, queue_id: i32) -> Option<&Position> {
        self.groups.get(group)?.get(topic)?.get(&queue_id)
    }

    /// A consumer says where it stands. Any value is taken, also a smaller one.
    pub(crate) fn commit(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        queue_id: i32,
        offset: i64,
    ) -> Commit {
        let position = self.position(group, topic, queue_id);
        if position.reset.is_some() {
            return Commit::ResetPending;
        }
        self.store(group, topic, queue_id, offset);
        Commit::Stored
    }

    /// A pull ended here.
    pub(crate) fn pulled(&mut self, group: &Arc<str>, topic: &Arc<str>, queue_id: i32, next: i64) {
        self.position(group, topic, queue_id).pulled = Some(next);
    }

    /// An operator moves the group.
    pub(crate) fn reset(&mut self, group: &Arc<str>, topic: &Arc<str>, queue_id: i32, offset: i64) {
        self.store(group, topic, queue_id, offset);
        self.position(group, topic, queue_id).reset = Some(offset);
    }

    /// The group pulls: where it has been moved to, if it has not been told yet.
    pub(crate) fn take_reset(&mut self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.groups.get_mut(group)?.get_mut(topic)?.get_mut(&queue_id)?.reset.take()
    }

    /// Offsets as they were persisted: changes nothing that was committed meanwhile, and is no change itself.
    pub(crate) fn load(&mut self, loaded: Vec<QueueOffset>) {
        for QueueOffset { group, topic, queue_id, offset } in loaded {
            self.position(&group, &topic, queue_id).committed.get_or_insert(offset);
        }
    }

    /// Whether anything waits for [`Offsets::take_changes`].
    #[cfg(test)]
    fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether it should not wait any longer.
    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() >= CHANGED_MAX
    }

    /// Newest value of everything that changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<QueueOffset> {
        let changes = std::mem::take(&mut self.changes);
        let mut out = Vec::with_capacity(changes.len());
        for (group, topic, queue_id) in changes {
            // What was deleted meanwhile is no change any more.
            let topics = self.groups.get_mut(&group);
            let Some(position) = topics.and_then(|t| t.get_mut(&topic)).and_then(|q| q.get_mut(&queue_id))
            else {
                continue;
            };
            if std::mem::take(&mut position.changed)
                && let Some(offset) = position.committed
            {
                out.push(QueueOffset { group, topic, queue_id, offset });
            }
        }
        out
    }

    /// Forgets a topic.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.groups.retain(|_, topics| {
            topics.remove(topic);
            !topics.is_empty()
        });
    }

    /// Forgets a group.
    pub(crate) fn delete_group(&mut self, group: &str) {
        self.groups.remove(group);
    }

    /// Copies committed offsets of one group to another.
    pub(crate) fn clone_group(&mut self, from: &str, to: &Arc<str>, only: Option<&str>) {
        let copies: Vec<_> =
            self.of_group(from, only).map(|(t, q, p)| (Arc::clone(t), q, p.committed)).collect();
        for (topic, queue_id, committed) in copies {
            if let Some(offset) = committed {
                self.store(to, &topic, queue_id, offset);
            }
        }
    }

    /// A group's positions, sorted by topic and queue.
    pub(crate) fn of_group<'a>(
        &'a self,
        group: &str,
        only: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, i32, &'a Position)> {
        let mut found: Vec<_> = self
            .groups
            .get(group)
            .into_iter()
            .flatten()
            .filter(|(topic, _)| only.is_none_or(|only| only == &***topic))
            .flat_map(|(topic, queues)| {
                queues.iter().map(move |(&queue_id, position)| (topic, queue_id, position))
            })
            .collect();
        found.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        found.into_iter()
    }

    /// Committed offsets of all groups in a topic, sorted by group and queue.
    pub(crate) fn in_topic(&self, topic: &str) -> Vec<QueueOffset> {
        let mut found = Vec::new();
        for (group, topics) in &self.groups {
            let Some((topic, queues)) = topics.get_key_value(topic) else { continue };
            for (&queue_id, position) in queues {
                let Some(offset) = position.committed else { continue };
                let (group, topic) = (Arc::clone(group), Arc::clone(topic));
                found.push(QueueOffset { group, topic, queue_id, offset });
            }
        }
        found.sort_unstable_by(|a, b| (&a.group, a.queue_id).cmp(&(&b.group, b.queue_id)));
        found
    }

    /// Groups with offsets in a topic, sorted.
    pub(crate) fn groups_of(&self, topic: &str) -> Vec<Arc<str>> {
        let has = |topics: &FxHashMap<Arc<str>, Queues>| {
            topics.get(topic).is_some_and(|queues| queues.values().any(|p| p.committed.is_some()))
        };
        let mut groups: Vec<_> =
            self.groups.iter().filter(|(_, topics)| has(topics)).map(|(g, _)| Arc::clone(g)).collect();
        groups.sort_unstable();
        groups
    }

    fn store(&mut self, group: &Arc<str>, topic: &Arc<str>, queue_id: i32, offset: i64) {
        let position = self.position(group, topic, queue_id);
        if position.committed == Some(offset) {
            return;
        }
        position.committed = Some(offset);
        if !std::mem::replace(&mut position.changed, true) {
            self.changes.push((Arc::clone(group), Arc::clone(topic), queue_id));
        }
    }

    fn position(&mut self, group: &Arc<str>, topic: &Arc<str>, queue_id: i32) -> &mut Position {
        if !self.groups.contains_key(group) {
            self.groups.insert(Arc::clone(group), FxHashMap::default());
        }
        let topics = self.groups.get_mut(group).expect("inserted above");
        if !topics.contains_key(topic) {
            topics.insert(Arc::clone(topic), Queues::default());
        }
        topics.get_mut(topic).expect("inserted above").entry(queue_id).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    fn committed(offsets: &Offsets, group: &str, queue_id: i32) -> Option<i64> {
        offsets.get(group, "T", queue_id).and_then(|p| p.committed)
    }

    #[test]
    fn the_newest_commit_is_sent_once() {
        let (g, t) = (name("g"), name("T"));
        let mut offsets = Offsets::default();
        for offset in [5, 9, 7] {
            assert_eq!(offsets.commit(&g, &t, 0, offset), Commit::Stored);
        }
        let sent = offsets.take_changes();
        assert_eq!(sent, [QueueOffset { group: g.clone(), topic: t.clone(), queue_id: 0, offset: 7 }]);
        offsets.commit(&g, &t, 0, 7);
        assert!(!offsets.has_changes(), "the same value again is no change");
        offsets.commit(&g, &t, 0, 8);
        assert_eq!(offsets.take_changes().len(), 1);
    }

    #[test]
    fn commits_do_not_count_until_a_reset_is_seen() {
        let (g, t) = (name("g"), name("T"));
        let mut offsets = Offsets::default();
        offsets.commit(&g, &t, 0, 100);
        offsets.reset(&g, &t, 0, 40);
        assert_eq!(offsets.commit(&g, &t, 0, 101), Commit::ResetPending);
        assert_eq!(committed(&offsets, "g", 0), Some(40));
        assert_eq!(offsets.take_reset("g", "T", 0), Some(40));
        assert_eq!(offsets.take_reset("g", "T", 0), None);
        assert_eq!(offsets.commit(&g, &t, 0, 41), Commit::Stored);
        assert_eq!(offsets.take_changes()[0].offset, 41);
    }

    #[test]
    fn loaded_offsets_yield_to_newer_commits_and_are_not_sent_back() {
        let (g, t) = (name("g"), name("T"));
        let mut offsets = Offsets::default();
        offsets.commit(&g, &t, 0, 9);
        offsets.take_changes();
        let loaded = |queue_id, offset| QueueOffset { group: g.clone(), topic: t.clone(), queue_id, offset };
        offsets.load(vec![loaded(0, 3), loaded(1, 4)]);
        assert_eq!((committed(&offsets, "g", 0), committed(&offsets, "g", 1)), (Some(9), Some(4)));
        assert!(!offsets.has_changes());
    }

    #[test]
    fn deletion_takes_pending_changes_along() {
        let (g, t) = (name("g"), name("T"));
        let mut offsets = Offsets::default();
        offsets.commit(&g, &t, 0, 9);
        offsets.delete_topic("T");
        assert_eq!(offsets.take_changes(), []);
        assert!(offsets.groups_of("T").is_empty());
        offsets.commit(&g, &t, 2, 1);
        offsets.clone_group("g", &name("h"), Some("T"));
        offsets.delete_group("g");
        assert_eq!(committed(&offsets, "g", 2), None);
        assert_eq!(committed(&offsets, "h", 2), Some(1));
        assert_eq!(offsets.take_changes().len(), 1);
    }
}
