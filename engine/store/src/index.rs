//! The queue index: for every queue, where its messages lie in the log.
//!
//! Derived state: recovery rebuilds it by scanning the log. It lives in memory, 24 bytes an entry, without any buffer per
//! queue beyond what its entries need: a queue that was written once costs about 200 bytes.

mod chunk;
mod queue;

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use slab::Slab;

pub(crate) use queue::Queue;

use crate::offset::LogOffset;

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

/// Place of a queue in the index; dead once its topic is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueSlot(u32);

/// Queues of a topic that this shard owns, sorted by queue id. Few, so a sorted vector beats a table.
type TopicQueues = Vec<(i32, QueueSlot)>;

#[derive(Default)]
pub(crate) struct Index {
    topics: FxHashMap<Arc<str>, TopicQueues>,
    queues: Slab<Queue>,
    entries: u64,
}

impl Index {
    pub fn find(&self, topic: &str, queue_id: i32) -> Option<QueueSlot> {
        let queues = self.topics.get(topic)?;
        let place = queues.binary_search_by_key(&queue_id, |(id, _)| *id).ok()?;
        Some(queues[place].1)
    }

    /// Finds a queue or makes it, with `first` as the offset of its first message.
    pub fn find_or_insert(&mut self, topic: &str, queue_id: i32, first: i64) -> QueueSlot {
        let queues = match self.topics.get_mut(topic) {
            Some(queues) => queues,
            None => self.topics.entry(Arc::from(topic)).or_default(),
        };
        match queues.binary_search_by_key(&queue_id, |(id, _)| *id) {
            Ok(place) => queues[place].1,
            Err(place) => {
                // One name per topic, shared by its queues.
                let name = match queues.first() {
                    Some((_, slot)) => Arc::clone(self.queues[slot.0 as usize].topic()),
                    None => Arc::from(topic),
                };
                let key = self.queues.insert(Queue::new(name, queue_id, first));
                let slot = QueueSlot(u32::try_from(key).expect("fewer than 2^32 queues"));
                queues.insert(place, (queue_id, slot));
                slot
            }
        }
    }

    /// Slots below this number may be in use.
    pub fn slot_bound(&self) -> usize {
        self.queues.capacity()
    }

    /// The queue in slot number `at`, if it is in use.
    pub fn at(&self, at: usize) -> Option<(QueueSlot, &Queue)> {
        let slot = QueueSlot(u32::try_from(at).ok()?);
        self.queues.get(at).map(|queue| (slot, queue))
    }

    /// Drops the entries of records below `log_min`, which the log is about to lose, from the queues in these slots. Queues stay, with
    /// their max offsets.
    pub fn forget_below(&mut self, log_min: LogOffset, slots: Range<usize>) {
        for at in slots {
            if let Some(queue) = self.queues.get_mut(at) {
                let before = queue.entry_count();
                queue.forget_below(log_min);
                self.entries -= before - queue.entry_count();
            }
        }
    }

    /// # Panics
    /// If the slot is dead.
    pub fn queue(&self, slot: QueueSlot) -> &Queue {
        &self.queues[slot.0 as usize]
    }

    /// # Panics
    /// As [`Index::queue`].
    pub fn queue_mut(&mut self, slot: QueueSlot) -> &mut Queue {
        &mut self.queues[slot.0 as usize]
    }

    /// Adds the next message of a queue; gives its queue offset.
    pub fn push(&mut self, slot: QueueSlot, entry: Entry) -> i64 {
        self.entries += 1;
        self.queue_mut(slot).push(entry)
    }

    /// Forgets a topic; gives the slots that are dead now.
    pub fn remove_topic(&mut self, topic: &str) -> Vec<QueueSlot> {
        let slots: Vec<_> =
            self.topics.remove(topic).unwrap_or_default().into_iter().map(|(_, slot)| slot).collect();
        for slot in &slots {
            self.entries -= self.queues.remove(slot.0 as usize).entry_count();
        }
        slots
    }

    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// All queues, sorted by topic and queue id.
    pub fn sorted(&self) -> Vec<&Queue> {
        let mut all: Vec<_> = self.queues.iter().map(|(_, queue)| queue).collect();
        all.sort_unstable_by(|a, b| a.topic().cmp(b.topic()).then(a.queue_id().cmp(&b.queue_id())));
        all
    }

    /// Makes everything visible: after recovery, when all that is in the log counts.
    pub fn reveal_all(&mut self) {
        for (_, queue) in &mut self.queues {
            queue.reveal(queue.next_offset());
        }
    }

    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    pub fn entry_count(&self) -> u64 {
        self.entries
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
        let b = index.find_or_insert("t", 9, 0);
        let a = index.find_or_insert("t", 3, 0);
        assert_ne!(a, b);
        assert_eq!(index.find_or_insert("t", 9, 0), b);
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
    fn a_deleted_topic_starts_anew() {
        let mut index = Index::default();
        let old = index.find_or_insert("t", 0, 0);
        index.push(old, entry(0));
        assert_eq!(index.remove_topic("t"), [old]);
        assert_eq!(index.remove_topic("t"), []);
        assert!(!index.has_topic("t"));
        let new = index.find_or_insert("t", 0, 0);
        assert_eq!(index.queue(new).next_offset(), 0);
        assert_eq!(index.entry_count(), 0);
    }
}
