//! One queue of the index: where it begins and ends, and its newest entries.
//!
//! ```text
//!   min            in memory                      visible        next
//!    │ …… runs …… │ in runs, kept for the tail │ not in runs yet │ not acknowledged │
//!                                            indexed
//! ```
//! Without entries in memory a queue is one small struct: what a queue costs that is not written to.

use std::sync::Arc;

use ringmq_reactor::prefetch;

use super::Entry;
use super::format::Row;
use super::recent::Recent;
use crate::offset::LogOffset;

pub(crate) struct Queue {
    topic: Arc<str>,
    queue_id: i32,
    min: i64,
    /// Readers see offsets below this; entries from here on are appended and not acknowledged.
    visible: i64,
    next: i64,
    /// Entries below are in durable runs.
    indexed: i64,
    /// Store time of the newest of those; 0 if there is none.
    indexed_time: i64,
    /// Log offset of its first record: tells it from another life of the same name.
    born: LogOffset,
    /// Log offset of the newest record that says where it ends: a message, or a list of queue ends.
    known_at: LogOffset,
    recent: Option<Box<Recent>>,
}

impl Queue {
    /// A queue whose first message comes at `first` and starts at `born` in the log.
    pub fn new(topic: Arc<str>, queue_id: i32, first: i64, born: LogOffset) -> Self {
        Self {
            topic,
            queue_id,
            min: first,
            visible: first,
            next: first,
            indexed: first,
            indexed_time: 0,
            born,
            known_at: LogOffset(0),
            recent: None,
        }
    }

    /// A queue as the newest run knows it: everything is in runs.
    pub fn from_run(topic: Arc<str>, row: &Row<'_>) -> Self {
        Self {
            topic,
            queue_id: row.queue_id,
            min: row.min,
            visible: row.end(),
            next: row.end(),
            indexed: row.end(),
            indexed_time: row.newest_time,
            born: row.born,
            known_at: row.known_at,
            recent: None,
        }
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn queue_id(&self) -> i32 {
        self.queue_id
    }

    pub fn born(&self) -> LogOffset {
        self.born
    }

    /// Offset of the oldest entry (of the next one, if there is none).
    pub fn min_offset(&self) -> i64 {
        self.min
    }

    /// One past the newest visible offset.
    pub fn max_offset(&self) -> i64 {
        self.visible
    }

    /// Whether the log says where the queue ends without what lies below `log_min`.
    pub fn is_known_beyond(&self, log_min: LogOffset) -> bool {
        self.next == 0 || self.known_at >= log_min
    }

    /// The record at `at` says where the queue ends.
    pub fn end_is_written_at(&mut self, at: LogOffset) {
        self.known_at = self.known_at.max(at);
    }

    /// See [`Queue::is_known_beyond`].
    pub fn known_at(&self) -> LogOffset {
        self.known_at
    }

    /// What the next message gets.
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    /// Entries below are in durable runs.
    pub fn indexed(&self) -> i64 {
        self.indexed
    }

    /// Store time of the newest entry that is in a run; 0 if there is none.
    pub fn indexed_time(&self) -> i64 {
        self.indexed_time
    }

    pub fn entry_count(&self) -> u64 {
        (self.next - self.min).cast_unsigned()
    }

    /// Offset of the oldest entry in memory (of the next one, if there is none).
    pub fn memory_first(&self) -> i64 {
        self.recent.as_ref().map_or(self.next, |recent| recent.first())
    }

    pub fn memory_entries(&self) -> u64 {
        (self.next - self.memory_first()).cast_unsigned()
    }

    /// Store time of the newest visible entry, ms; 0 if there is none.
    pub fn newest_time(&self) -> i64 {
        if self.visible == self.min {
            return 0;
        }
        self.entry(self.visible - 1).map_or(self.indexed_time, |entry| entry.store_timestamp)
    }

    /// Adds the next entry; gives its offset.
    pub fn push(&mut self, entry: Entry) -> i64 {
        let offset = self.next;
        self.known_at = entry.offset;
        self.recent.get_or_insert_with(|| Box::new(Recent::new(offset))).push(&entry);
        self.next += 1;
        offset
    }

    /// Entries below `to` can be read from now on.
    ///
    /// # Panics
    /// If that would hide entries again or show what is not there.
    pub fn reveal(&mut self, to: i64) {
        assert!(self.visible <= to && to <= self.next, "{} → {to} of {}", self.visible, self.next);
        self.visible = to;
    }

    /// The entry at an offset, visible or not, if it is in memory.
    pub fn entry(&self, offset: i64) -> Option<Entry> {
        self.recent.as_ref()?.get(offset)
    }

    /// Begins to load the newest entries.
    pub fn prefetch_newest(&self) {
        if let Some(recent) = &self.recent {
            prefetch(&**recent);
        }
    }

    /// Entries that are not in a run and whose records start below `to`.
    pub fn count_below(&self, to: LogOffset) -> u32 {
        // Mostly all of them: no look at the entries is needed then.
        let all = self.known_at < to;
        let end = if all { self.next } else { self.first_where(self.indexed, self.next, |e| e.offset >= to) };
        u32::try_from(end - self.indexed).expect("a segment has fewer than 2^32 records")
    }

    /// The next `count` entries are in a durable run now; those whose records start below `keep_from` leave memory. Gives how many did.
    pub fn mark_indexed(&mut self, count: u32, keep_from: LogOffset) -> u64 {
        if count > 0 {
            let last = self.entry(self.indexed + i64::from(count) - 1);
            self.indexed_time = last.expect("what is not in a run is in memory").store_timestamp;
            self.indexed += i64::from(count);
        }
        let first = self.memory_first();
        if first < self.indexed {
            let all = self.known_at < keep_from;
            let kept = if all {
                self.indexed
            } else {
                self.first_where(first, self.indexed, |e| e.offset >= keep_from)
            };
            self.release(kept);
            return (kept - first).cast_unsigned();
        }
        0
    }

    fn release(&mut self, kept: i64) {
        if kept == self.next {
            self.recent = None;
        } else if let Some(recent) = &mut self.recent {
            recent.drop_below(kept);
        }
    }

    /// Messages below `min` are gone; gives how many entries left memory. A queue that loses all of them keeps its place: min is then
    /// max.
    pub fn raise_min(&mut self, min: i64) -> u64 {
        self.min = self.min.max(min.min(self.visible));
        let first = self.memory_first();
        if first < self.min {
            self.release(self.min);
            self.indexed = self.indexed.max(self.min);
        }
        (self.memory_first() - first).cast_unsigned()
    }

    /// The smallest offset from `low` on, below `high`, whose entry is `late`; `high` if none is. All of them are in memory, and
    /// `late` is monotone.
    pub fn first_where(&self, mut low: i64, mut high: i64, late: impl Fn(&Entry) -> bool) -> i64 {
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle).expect("offsets that are asked for are in memory");
            if late(&entry) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(first: i64, count: u64) -> Queue {
        let mut queue = Queue::new(Arc::from("t"), 0, first, LogOffset(0));
        for i in 0..count {
            let store_timestamp = i.cast_signed();
            queue.push(Entry {
                offset: LogOffset(i * 100),
                bytes: 100,
                crc: 0,
                tags_code: 0,
                store_timestamp,
            });
        }
        queue.reveal(queue.next_offset());
        queue
    }

    #[test]
    fn what_is_in_runs_leaves_memory_and_the_tail_stays() {
        let mut queue = queue(3, 5000);
        assert_eq!(queue.count_below(LogOffset(120_050)), 1201);
        assert_eq!(queue.mark_indexed(1201, LogOffset(100_000)), 1000);
        assert_eq!((queue.indexed(), queue.indexed_time(), queue.memory_first()), (1204, 1200, 1003));
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.next_offset()), (3, 5003, 5003));
        assert_eq!(queue.entry(1002), None);
        assert_eq!(queue.entry(1003).expect("kept").offset, LogOffset(100_000));
        assert_eq!(queue.count_below(LogOffset(120_050)), 0);
        // Nothing new, but the tail has moved on.
        assert_eq!(queue.mark_indexed(0, LogOffset(1 << 40)), 201);
        assert_eq!(queue.memory_first(), 1204);
        assert_eq!(queue.mark_indexed(queue.count_below(LogOffset(1 << 40)), LogOffset(1 << 40)), 3799);
        assert_eq!((queue.memory_first(), queue.memory_entries()), (5003, 0));
        assert!(queue.recent.is_none(), "a queue at rest has no heap of its own");
        assert_eq!((queue.newest_time(), queue.entry_count()), (4999, 5000));
        assert!(size_of::<Queue>() <= 88, "{}", size_of::<Queue>());
    }

    #[test]
    fn a_queue_that_loses_everything_keeps_its_place() {
        let mut queue = queue(3, 5000);
        assert_eq!(queue.raise_min(0), 0);
        assert_eq!(queue.raise_min(1204), 1201);
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.entry_count()), (1204, 5003, 3799));
        assert_eq!((queue.entry(1203), queue.newest_time()), (None, 4999));
        queue.raise_min(i64::MAX);
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.next_offset()), (5003, 5003, 5003));
        assert_eq!((queue.newest_time(), queue.count_below(LogOffset(u64::MAX))), (0, 0));
        queue.push(Entry {
            offset: LogOffset(1 << 40),
            bytes: 9,
            crc: 0,
            tags_code: 0,
            store_timestamp: 9999,
        });
        assert_eq!(queue.count_below(LogOffset(u64::MAX)), 1);
    }

    #[test]
    #[should_panic(expected = "5 → 4")]
    fn what_was_visible_stays_visible() {
        queue(0, 5).reveal(4);
    }
}
