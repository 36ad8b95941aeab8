//! One queue of the index.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Entry;
use super::chunk::Chunk;
use crate::offset::LogOffset;
use crate::read::Boundary;

pub(crate) struct Queue {
    topic: Arc<str>,
    queue_id: i32,
    /// Readers see offsets below this; entries from here on are appended and not acknowledged.
    visible: i64,
    /// Log position of the record that says where the queue ends; 0: there is none.
    end_written_at: LogOffset,
    full: VecDeque<Chunk>,
    last: Chunk,
}

impl Queue {
    pub fn new(topic: Arc<str>, queue_id: i32, first: i64) -> Self {
        Self {
            topic,
            queue_id,
            visible: first,
            end_written_at: LogOffset(0),
            full: VecDeque::new(),
            last: Chunk::new(first),
        }
    }

    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub fn queue_id(&self) -> i32 {
        self.queue_id
    }

    /// Offset of the oldest entry (of the next one, if there is none).
    pub fn min_offset(&self) -> i64 {
        self.full.front().unwrap_or(&self.last).first()
    }

    /// One past the newest visible offset.
    pub fn max_offset(&self) -> i64 {
        self.visible
    }

    /// What the next message gets.
    pub fn next_offset(&self) -> i64 {
        self.last.end()
    }

    pub fn entry_count(&self) -> u64 {
        (self.next_offset() - self.min_offset()).cast_unsigned()
    }

    /// Adds the next entry; gives its offset.
    pub fn push(&mut self, entry: Entry) -> i64 {
        let offset = self.next_offset();
        if !self.last.push(&entry) {
            let mut chunk = Chunk::new(offset);
            let fits = chunk.push(&entry);
            assert!(fits, "an empty chunk takes any entry");
            self.full.push_back(std::mem::replace(&mut self.last, chunk));
        }
        offset
    }

    /// Whether recovery would know the queue's end without what lies below `log_min`.
    pub fn is_known_beyond(&self, log_min: LogOffset) -> bool {
        let next = self.next_offset();
        let newest = self.entry(next - 1).map(|entry| entry.offset);
        next == 0 || newest.is_some_and(|at| at >= log_min) || self.end_written_at >= log_min
    }

    /// The record at `at` says where the queue ends.
    pub fn end_is_written_at(&mut self, at: LogOffset) {
        self.end_written_at = at;
    }

    /// Entries below `to` can be read from now on.
    ///
    /// # Panics
    /// If that would hide entries again or show what is not there.
    pub fn reveal(&mut self, to: i64) {
        assert!(
            self.visible <= to && to <= self.next_offset(),
            "{} → {to} of {}",
            self.visible,
            self.next_offset()
        );
        self.visible = to;
    }

    /// The entry at an offset, visible or not.
    pub fn entry(&self, offset: i64) -> Option<Entry> {
        if offset >= self.last.first() {
            return self.last.get(offset);
        }
        let place = self.full.partition_point(|chunk| chunk.end() <= offset);
        self.full.get(place)?.get(offset)
    }

    /// The entry at a visible offset.
    pub fn visible_entry(&self, offset: i64) -> Option<Entry> {
        if offset < self.visible { self.entry(offset) } else { None }
    }

    /// Drops the entries whose records start below `log_min`. A queue that loses all of them keeps its place: min is then max.
    pub fn forget_below(&mut self, log_min: LogOffset) {
        let first_kept = self.first_where(|entry| entry.offset >= log_min).min(self.visible);
        while self.full.front().is_some_and(|chunk| chunk.end() <= first_kept) {
            self.full.pop_front();
        }
        self.full.front_mut().unwrap_or(&mut self.last).drop_below(first_kept);
    }

    /// Search by store time among visible entries, clamped to [min, max].
    /// Store times never go back within a log, so bisection is exact.
    pub fn offset_by_time(&self, timestamp: i64, boundary: Boundary) -> i64 {
        let (min, max) = (self.min_offset(), self.visible);
        if min == max {
            return min;
        }
        match boundary {
            Boundary::Lower => self.first_where(|entry| entry.store_timestamp >= timestamp),
            Boundary::Upper => (self.first_where(|entry| entry.store_timestamp > timestamp) - 1).max(min),
        }
    }

    /// The smallest visible offset whose entry is `late`, max offset if none is. `late` must be monotone.
    fn first_where(&self, late: impl Fn(&Entry) -> bool) -> i64 {
        let (mut low, mut high) = (self.min_offset(), self.visible);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle).expect("offsets between min and max have entries");
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

    fn queue(first: i64, times: &[i64]) -> Queue {
        let mut queue = Queue::new(Arc::from("t"), 0, first);
        for (i, time) in times.iter().enumerate() {
            let entry = Entry {
                offset: LogOffset(i as u64 * 100),
                bytes: 100,
                crc: 0,
                tags_code: 0,
                store_timestamp: *time,
            };
            queue.push(entry);
        }
        queue.reveal(queue.next_offset());
        queue
    }

    #[track_caller]
    fn check_time(times: &[i64], timestamp: i64, lower: i64, upper: i64) {
        let queue = queue(10, times);
        assert_eq!(queue.offset_by_time(timestamp, Boundary::Lower), lower, "lower");
        assert_eq!(queue.offset_by_time(timestamp, Boundary::Upper), upper, "upper");
    }

    #[test]
    fn search_by_time_is_exact_at_both_bounds() {
        let times = [100, 200, 200, 200, 300];
        check_time(&times, 50, 10, 10);
        check_time(&times, 100, 10, 10);
        check_time(&times, 150, 11, 10);
        check_time(&times, 200, 11, 13);
        check_time(&times, 250, 14, 13);
        check_time(&times, 300, 14, 14);
        check_time(&times, 301, 15, 14);
        check_time(&times, i64::MAX, 15, 14);
        check_time(&times, i64::MIN, 10, 10);
        check_time(&[], 100, 10, 10);
    }

    #[test]
    fn entries_are_found_across_chunks() {
        let times: Vec<i64> = (0..5000).collect();
        let mut queue = queue(3, &times);
        // A gap of more than 4 GiB starts a chunk of its own.
        queue.push(Entry {
            offset: LogOffset(1 << 40),
            bytes: 1,
            crc: 0,
            tags_code: 9,
            store_timestamp: 6000,
        });
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.next_offset()), (3, 5003, 5004));
        for offset in 3..5003 {
            let entry = queue.visible_entry(offset).expect("present");
            assert_eq!(entry.store_timestamp, offset - 3);
            assert_eq!(entry.offset, LogOffset((offset - 3).cast_unsigned() * 100));
        }
        assert_eq!(queue.visible_entry(2), None);
        assert_eq!(queue.visible_entry(5003), None, "not revealed");
        assert_eq!(queue.entry(5003).expect("pushed").tags_code, 9);
        assert_eq!(queue.entry(5004), None);
    }

    #[test]
    fn what_the_log_forgets_the_queue_forgets() {
        let times: Vec<i64> = (0..5000).collect();
        let mut queue = queue(3, &times);
        queue.forget_below(LogOffset(0));
        assert_eq!(queue.min_offset(), 3);
        queue.forget_below(LogOffset(120_050));
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.entry_count()), (1204, 5003, 3799));
        assert_eq!(queue.visible_entry(1203), None);
        assert_eq!(queue.visible_entry(1204).expect("kept").offset, LogOffset(120_100));
        assert_eq!(queue.visible_entry(5002).expect("kept").store_timestamp, 4999);
        queue.forget_below(LogOffset(1 << 40));
        assert_eq!((queue.min_offset(), queue.max_offset(), queue.next_offset()), (5003, 5003, 5003));
        assert_eq!(queue.offset_by_time(0, Boundary::Lower), 5003);
    }

    #[test]
    #[should_panic(expected = "5 → 4")]
    fn what_was_visible_stays_visible() {
        queue(0, &[1, 2, 3, 4, 5]).reveal(4);
    }
}
