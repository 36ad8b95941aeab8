//! A table whose changes take effect when they are durable.
//!
//! A change is *staged* first: later changes build on it, but nobody else sees it. When the journal says that it is durable it
//! is *applied*; when the journal refuses, everything staged is forgotten and the table is what it was.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// See the module's text.
#[derive(Debug)]
pub struct StagedTable<V> {
    entries: BTreeMap<String, Arc<V>>,
    staged: BTreeMap<String, Staged<V>>,
    /// Entries there will be when everything staged is durable.
    latest_count: usize,
}

#[derive(Debug)]
struct Staged<V> {
    /// The newest; `None`: the entry is to go.
    value: Option<Arc<V>>,
    /// Changes of this entry that are not durable.
    pending: usize,
}

impl<V> StagedTable<V> {
    /// No entries.
    #[must_use]
    pub fn new() -> Self {
        Self { entries: BTreeMap::new(), staged: BTreeMap::new(), latest_count: 0 }
    }

    /// An entry that is durable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&V> {
        self.entries.get(name).map(|value| &**value)
    }

    /// An entry as it will be when everything staged is durable: what the next change builds on.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&V> {
        match self.staged.get(name) {
            Some(staged) => staged.value.as_deref(),
            None => self.get(name),
        }
    }

    /// Number of entries as they will be when everything staged is durable.
    #[must_use]
    pub fn latest_count(&self) -> usize {
        self.latest_count
    }

    /// All durable entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Arc<V>)> {
        self.entries.iter()
    }

    /// Durable entries behind `name` in order; `None`: from the beginning.
    pub fn after(&self, name: Option<&str>) -> impl Iterator<Item = (&String, &Arc<V>)> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range::<str, _>((from, Bound::Unbounded))
    }

    /// Stages a change.
    pub fn stage(&mut self, name: &str, value: Option<Arc<V>>) {
        let (before, after) = (self.latest(name).is_some(), value.is_some());
        self.latest_count = self.latest_count + usize::from(after) - usize::from(before);
        let pending = self.staged.get(name).map_or(0, |staged| staged.pending);
        self.staged.insert(name.to_owned(), Staged { value, pending: pending + 1 });
    }

    /// A change is durable. Also without being staged before: what was recovered, and what every start adds.
    pub fn apply(&mut self, name: &str, value: Option<Arc<V>>) {
        match self.staged.get_mut(name) {
            Some(staged) if staged.pending > 1 => staged.pending -= 1,
            Some(_) => {
                self.staged.remove(name);
            }
            None => {
                let (before, after) = (self.entries.contains_key(name), value.is_some());
                self.latest_count = self.latest_count + usize::from(after) - usize::from(before);
            }
        }
        match value {
            Some(value) => {
                self.entries.insert(name.to_owned(), value);
            }
            None => {
                self.entries.remove(name);
            }
        }
    }

    /// Forgets everything staged.
    pub fn forget_staged(&mut self) {
        self.staged.clear();
        self.latest_count = self.entries.len();
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

impl<V> Default for StagedTable<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_changes_are_seen_by_the_next_change_only() {
        let mut table = StagedTable::new();
        table.apply("a", Some(Arc::new(1)));
        table.stage("a", Some(Arc::new(2)));
        table.stage("a", Some(Arc::new(3)));
        table.stage("b", Some(Arc::new(9)));
        assert_eq!((table.get("a"), table.latest("a")), (Some(&1), Some(&3)));
        assert_eq!((table.get("b"), table.latest("b"), table.latest_count()), (None, Some(&9), 2));
        table.apply("a", Some(Arc::new(2)));
        assert_eq!((table.get("a"), table.latest("a")), (Some(&2), Some(&3)));
        table.apply("a", Some(Arc::new(3)));
        table.forget_staged();
        assert_eq!((table.get("a"), table.latest("a")), (Some(&3), Some(&3)));
        assert_eq!((table.latest("b"), table.latest_count()), (None, 1));
    }

    #[test]
    fn an_entry_that_is_to_go_is_gone_for_the_next_change() {
        let mut table = StagedTable::new();
        for name in ["a", "b", "c"] {
            table.apply(name, Some(Arc::new(0)));
        }
        table.stage("b", None);
        assert_eq!((table.get("b"), table.latest("b"), table.latest_count()), (Some(&0), None, 2));
        table.apply("b", None);
        assert_eq!(table.after(Some("a")).map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(table.after(None).count(), 2);
    }
}
