//! The queue index: for every queue, where its messages lie in the log.
//!
//! Derived state: the log alone says what the store holds.
//!
//! ```text
//!   log        │ segment │ segment │ segment ……………………………│ head
//!   on disk    │ run run │ run run │ run │                       index/<segment start>, see `format`
//!   in memory                        │ newest entries           and one small struct for every queue
//! ```
//! Entries are added in memory. As the log grows they are written in *runs* ([`build`]), sorted by queue, and leave memory once
//! the tail cache has let go of their records. A run ends with a table of all queues, so the newest one is all that recovery needs
//! besides the log behind it. What is no longer in memory is read back through the ring, a block at a time ([`reader`]): a search
//! over the runs, one table page each (their blocks stay in a cache), then the entry's page.
//!
//! A queue at rest costs one [`Queue`] of 88 bytes, its place in a table and its name, whatever it holds.

pub(crate) mod build;
mod cache;
mod chunk;
pub(crate) mod format;
mod places;
mod queue;
pub(crate) mod reader;
mod recent;
pub(crate) mod runs;

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

pub(crate) use queue::Queue;

use crate::offset::LogOffset;
use format::Row;
use places::Places;

/// One message, in the form that the index stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub offset: LogOffset,
    pub bytes: u32,
    /// CRC-32 of the whole record.
    pub crc: u32,
    pub tags_code: i64,
    pub store_timestamp: i64,
}

impl Entry {
    /// End of the record.
    pub fn end(&self) -> LogOffset {
        LogOffset(self.offset.0 + u64::from(self.bytes))
    }
}

/// Place of a queue in the index. Not used again before a run behind the deletion of its topic is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct QueueSlot(pub(crate) u32);

/// Queues of a topic that this shard owns, sorted by queue id. Few, so a sorted vector beats a table; mostly one, which needs no
/// vector.
enum TopicQueues {
    One(i32, QueueSlot),
    More(Vec<(i32, QueueSlot)>),
}

impl TopicQueues {
    fn as_vec(&self) -> Vec<(i32, QueueSlot)> {
        match self {
            Self::One(id, slot) => vec![(*id, *slot)],
            Self::More(queues) => queues.clone(),
        }
    }

    fn find(&self, queue_id: i32) -> Option<QueueSlot> {
        match self {
            Self::One(id, slot) => (*id == queue_id).then_some(*slot),
            Self::More(queues) => {
                let near = near(queues, queue_id);
                let place = near.clone().find(|place| queues[*place].0 >= queue_id);
                let place = match place {
                    // What is before it is smaller, or there is nothing.
                    Some(place) if place > near.start || place == 0 => place,
                    _ => queues.partition_point(|(id, _)| *id < queue_id),
                };
                queues.get(place).filter(|(id, _)| *id == queue_id).map(|(_, slot)| *slot)
            }
        }
    }

    fn insert(&mut self, queue_id: i32, slot: QueueSlot) {
        if let Self::One(id, only) = self {
            *self = Self::More(vec![(*id, *only)]);
        }
        let Self::More(queues) = self else { unreachable!("made so above") };
        let place = queues.partition_point(|(id, _)| *id < queue_id);
        queues.insert(place, (queue_id, slot));
    }
}

/// Where to look first for a queue. A shard owns every n-th queue of a topic, so its place can be told from the ends, but for some that
/// were never written to.
fn near(queues: &[(i32, QueueSlot)], queue_id: i32) -> Range<usize> {
    const AROUND: usize = 3;
    let distance = |from: i32, to: i32| usize::try_from(i64::from(to) - i64::from(from)).unwrap_or(0);
    let (Some((first, _)), Some((last, _))) = (queues.first(), queues.last()) else { return 0..0 };
    let guess = distance(*first, queue_id).saturating_mul(queues.len() - 1) / distance(*first, *last).max(1);
    guess.min(queues.len()).saturating_sub(AROUND)..guess.saturating_add(AROUND + 1).min(queues.len())
}

/// The queues of a shard and their newest entries.
#[derive(Default)]
pub(crate) struct Index {
    topics: FxHashMap<Arc<str>, TopicQueues>,
    queues: Places,
    /// Queues of deleted topics, with the log offset of the deletion: a run that ends before it still has to know them.
    dead: FxHashMap<QueueSlot, LogOffset>,
    entries: u64,
    memory_entries: u64,
}

impl Index {
    pub fn find(&self, topic: &str, queue_id: i32) -> Option<QueueSlot> {
        self.topics.get(topic)?.find(queue_id)
    }

    /// Finds a queue or makes it, with `first` as the offset of its first message, whose record starts at `born`.
    pub fn find_or_insert(&mut self, topic: &str, queue_id: i32, first: i64, born: LogOffset) -> QueueSlot {
        match self.find(topic, queue_id) {
            Some(slot) => slot,
            None => self.insert(topic, queue_id, |name| Queue::new(name, queue_id, first, born)),
        }
    }

    /// Adds a queue that the index does not know.
    fn insert(&mut self, topic: &str, queue_id: i32, make: impl FnOnce(Arc<str>) -> Queue) -> QueueSlot {
        // One name per topic, shared by its queues.
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let queue = make(Arc::clone(&name));
        self.entries += queue.entry_count();
        let slot = self.queues.insert(queue);
        self.topics
            .entry(name)
            .and_modify(|queues| queues.insert(queue_id, slot))
            .or_insert(TopicQueues::One(queue_id, slot));
        slot
    }

    /// Adds a queue as the newest run knows it.
    pub fn insert_row(&mut self, row: &Row<'_>) {
        self.insert(row.topic, row.queue_id, |name| Queue::from_run(name, row));
    }

    /// # Panics
    /// If the slot is not in use.
    pub fn queue(&self, slot: QueueSlot) -> &Queue {
        self.queues.at(slot)
    }

    /// # Panics
    /// As [`Index::queue`].
    pub fn queue_mut(&mut self, slot: QueueSlot) -> &mut Queue {
        self.queues.at_mut(slot)
    }

    /// Begins to load the queue at a place.
    pub fn prefetch(&self, slot: QueueSlot) {
        self.queues.prefetch(slot);
    }

    /// Begins to load a queue's newest entries; looks at the queue.
    pub fn prefetch_newest(&self, slot: QueueSlot) {
        if let Some(queue) = self.get(slot) {
            queue.prefetch_newest();
        }
    }

    /// The queue at a place, dead or alive.
    pub fn get(&self, slot: QueueSlot) -> Option<&Queue> {
        self.queues.get(slot)
    }

    /// Every place in use lies below this.
    pub fn slot_end(&self) -> u32 {
        self.queues.end()
    }

    /// The living queue in slot number `at`.
    pub fn at(&self, at: usize) -> Option<(QueueSlot, &Queue)> {
        let slot = QueueSlot(u32::try_from(at).ok()?);
        self.get(slot).filter(|_| !self.dead.contains_key(&slot)).map(|queue| (slot, queue))
    }

    /// Whether the queue exists at `at` in the log.
    pub fn exists_at(&self, slot: QueueSlot, at: LogOffset) -> bool {
        self.queue(slot).born() < at && self.dead.get(&slot).is_none_or(|died| *died >= at)
    }

    /// Adds the next message of a queue; gives its queue offset.
    pub fn push(&mut self, slot: QueueSlot, entry: Entry) -> i64 {
        self.entries += 1;
        self.memory_entries += 1;
        self.queue_mut(slot).push(entry)
    }

    /// Forgets a topic that is deleted at `died` in the log; gives the slots that are dead now.
    pub fn remove_topic(&mut self, topic: &str, died: LogOffset) -> Vec<QueueSlot> {
        let queues = self.topics.remove(topic).map(|queues| queues.as_vec()).unwrap_or_default();
        let slots: Vec<_> = queues.into_iter().map(|(_, slot)| slot).collect();
        for slot in &slots {
            self.entries -= self.queue(*slot).entry_count();
            self.dead.insert(*slot, died);
        }
        slots
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// See [`Queue::mark_indexed`].
    pub fn mark_indexed(&mut self, slot: QueueSlot, count: u32, keep_from: LogOffset) {
        self.memory_entries -= self.queue_mut(slot).mark_indexed(count, keep_from);
    }

    /// Gives up queues of topics that were deleted below `indexed`: no run will ask for them any more. Gives their slots.
    pub fn reap(&mut self, indexed: LogOffset) -> Vec<QueueSlot> {
        let mut gone: Vec<_> =
            self.dead.iter().filter(|(_, died)| **died < indexed).map(|(slot, _)| *slot).collect();
        gone.sort_unstable();
        for slot in &gone {
            self.dead.remove(slot);
            self.memory_entries -= self.queues.remove(*slot).memory_entries();
        }
        gone
    }

    /// The oldest run that is kept knows the queue: messages before it are gone.
    pub fn apply_oldest_run(&mut self, row: &Row<'_>) {
        if let Some(slot) = self.find(row.topic, row.queue_id)
            && self.queue(slot).born() == row.born
        {
            self.raise_min(slot, row.first);
        }
    }

    /// Messages of a queue below `min` are gone.
    pub fn raise_min(&mut self, slot: QueueSlot, min: i64) {
        let queue = self.queues.at_mut(slot);
        let before = queue.entry_count();
        self.memory_entries -= queue.raise_min(min);
        self.entries -= before - queue.entry_count();
    }

    /// No run is kept: what is in memory, from `log_min` on, is all there is.
    pub fn forget_runs(&mut self, log_min: LogOffset) {
        for key in 0..self.slot_end() {
            let slot = QueueSlot(key);
            let Some(queue) = self.get(slot) else { continue };
            if self.dead.contains_key(&slot) {
                continue;
            }
            let first = queue.memory_first();
            let min = queue.first_where(first, queue.next_offset(), |entry| entry.offset >= log_min);
            self.raise_min(slot, min);
        }
    }

    /// All living queues, sorted by topic and queue id.
    pub fn sorted(&self) -> Vec<&Queue> {
        let alive = self.queues.iter().filter(|(slot, _)| !self.dead.contains_key(slot));
        let mut all: Vec<_> = alive.map(|(_, queue)| queue).collect();
        all.sort_unstable_by(|a, b| a.topic().cmp(b.topic()).then(a.queue_id().cmp(&b.queue_id())));
        all
    }

    /// Makes everything visible: after recovery, when all that is in the log counts.
    pub fn reveal_all(&mut self) {
        for queue in self.queues.iter_mut() {
            queue.reveal(queue.next_offset());
        }
    }

    pub fn queue_count(&self) -> usize {
        self.queues.len() - self.dead.len()
    }

    /// Messages in all queues.
    pub fn entry_count(&self) -> u64 {
        self.entries
    }

    /// Entries in memory, also those that are in runs.
    pub fn memory_entry_count(&self) -> u64 {
        self.memory_entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64) -> Entry {
        Entry { offset: LogOffset(offset), bytes: 100, crc: 1, tags_code: -7, store_timestamp: 5 }
    }

    #[test]
    fn queues_of_a_topic_share_its_name_and_are_found_by_id() {
        let mut index = Index::default();
        let b = index.find_or_insert("t", 9, 0, LogOffset(0));
        let a = index.find_or_insert("t", 3, 0, LogOffset(0));
        assert_ne!(a, b);
        assert_eq!(index.find_or_insert("t", 9, 0, LogOffset(0)), b);
        assert_eq!(index.push(a, entry(0)), 0);
        assert_eq!(index.push(a, entry(100)), 1);
        assert_eq!(index.push(b, entry(200)), 0);
        assert_eq!(index.find("t", 4), None);
        assert_eq!(index.find("u", 3), None);
        let ids: Vec<_> = index.sorted().iter().map(|q| (q.topic().to_string(), q.queue_id())).collect();
        assert_eq!(ids, [("t".to_string(), 3), ("t".to_string(), 9)]);
        assert!(Arc::ptr_eq(index.queue(a).topic(), index.queue(b).topic()));
        assert_eq!((index.queue_count(), index.entry_count()), (2, 3));
    }

    #[test]
    fn queues_are_found_whatever_ids_a_shard_owns() {
        let every_third = (0..300).map(|n| 2 + 3 * n);
        let with_gaps = (0..300).filter(|n| n % 7 != 0 && !(90..140).contains(n));
        let far_apart = [0, 1, 2, 5, i32::MAX - 1, i32::MAX].into_iter();
        for ids in [every_third.collect::<Vec<_>>(), with_gaps.collect(), far_apart.collect()] {
            let mut index = Index::default();
            // Not in order.
            let slots: Vec<_> =
                ids.iter().rev().map(|id| (*id, index.find_or_insert("t", *id, 0, LogOffset(0)))).collect();
            for (id, slot) in &slots {
                assert_eq!(index.find("t", *id), Some(*slot), "{id} of {ids:?}");
            }
            for id in (-3..1000).chain([i32::MIN, i32::MAX - 2]).filter(|id| !ids.contains(id)) {
                assert_eq!(index.find("t", id), None, "{id} of {ids:?}");
            }
        }
    }

    #[test]
    fn a_deleted_topic_starts_anew_and_its_past_stays_until_a_run_is_behind_it() {
        let mut index = Index::default();
        let old = index.find_or_insert("t", 0, 0, LogOffset(0));
        index.push(old, entry(0));
        assert_eq!(index.remove_topic("t", LogOffset(100)), [old]);
        assert_eq!(index.remove_topic("t", LogOffset(200)), []);
        assert!(!index.has_topic("t"));
        let new = index.find_or_insert("t", 0, 0, LogOffset(300));
        assert_ne!(old, new);
        assert_eq!(index.queue(new).next_offset(), 0);
        assert_eq!((index.entry_count(), index.memory_entry_count(), index.queue_count()), (0, 1, 1));
        let alive = |index: &Index, at| [old, new].map(|slot| index.exists_at(slot, LogOffset(at)));
        assert_eq!(alive(&index, 0), [false, false]);
        assert_eq!(alive(&index, 100), [true, false]);
        assert_eq!(alive(&index, 101), [false, false]);
        assert_eq!(alive(&index, 301), [false, true]);
        assert_eq!(index.reap(LogOffset(100)), []);
        assert_eq!(index.reap(LogOffset(101)), [old]);
        assert_eq!(index.memory_entry_count(), 0);
    }
}
