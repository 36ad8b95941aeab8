//! The newest keys, in memory: a table of entries, spread over buckets by the upper bits of their hash.
//!
//! Buckets keep every step short: adding is a push, looking up reads one bucket of some hundred entries, and a run is written
//! bucket by bucket, each sorted by itself, without a pause that grows with the table.

use std::collections::VecDeque;
use std::rc::Rc;

use super::hash::{RecordKeys, hash};
use crate::offset::LogOffset;

const BUCKET_BITS: u32 = 10;
const BUCKETS: usize = 1 << BUCKET_BITS;
/// A full bucket grows by this many entries: at most 1 KiB of it is unused.
const BUCKET_GROWTH: usize = 64;

/// Size of an entry in memory and in a file.
pub(crate) const ENTRY_BYTES: usize = 16;

/// One key of one record. Sorted by hash, and by age within one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub hash: u64,
    /// Distance of the record from the start of the span.
    pub offset: u32,
    /// Distance of its store time from the span's first, ms; [`u32::MAX`]: at least that.
    pub time: u32,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);

/// A piece of the log whose keys are indexed together. Starts and ends between batches, within one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub from: LogOffset,
    pub to: LogOffset,
    /// Store times of its first and last record; those of the record before it if it has none.
    pub first_time: i64,
    pub last_time: i64,
}

/// A record that probably has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub offset: LogOffset,
    /// Its store time, or a bound below it (see [`Entry::time`]).
    pub time: i64,
    /// `time` is the store time itself.
    pub exact: bool,
}

impl Span {
    pub fn entry(&self, hash: u64, offset: LogOffset, time: i64) -> Entry {
        let offset = u32::try_from(offset.since(self.from)).expect("a span is shorter than 4 GiB");
        let time = u32::try_from(time.saturating_sub(self.first_time).max(0)).unwrap_or(u32::MAX);
        Entry { hash, offset, time }
    }

    pub fn candidate(&self, entry: &Entry) -> Candidate {
        Candidate {
            offset: LogOffset(self.from.0 + u64::from(entry.offset)),
            time: self.first_time + i64::from(entry.time),
            exact: entry.time < u32::MAX,
        }
    }

    /// Whether a record stored between `begin` and `end` may be in it.
    pub fn meets(&self, begin: i64, end: i64) -> bool {
        self.first_time <= end && self.last_time >= begin
    }
}

/// See the module's text. `span.to` is its start until it is closed.
pub(crate) struct KeyTable {
    span: Span,
    has_records: bool,
    buckets: Vec<Vec<Entry>>,
    entries: usize,
}

impl KeyTable {
    /// Empty; `time`: store time of the record before.
    pub fn new(from: LogOffset, time: i64) -> Self {
        Self {
            span: Span { from, to: from, first_time: time, last_time: time },
            has_records: false,
            buckets: vec![Vec::new(); BUCKETS],
            entries: 0,
        }
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn entry_count(&self) -> usize {
        self.entries
    }

    pub fn bytes(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.capacity() * ENTRY_BYTES).sum()
    }

    /// Adds the keys of the next record.
    pub fn add(&mut self, topic: &str, keys: RecordKeys<'_>, offset: LogOffset, time: i64) {
        if !self.has_records {
            self.has_records = true;
            self.span.first_time = time;
        }
        self.span.last_time = time;
        for key in keys.iter() {
            let entry = self.span.entry(hash(topic, key), offset, time);
            let bucket = &mut self.buckets[bucket_of(entry.hash)];
            if bucket.len() == bucket.capacity() {
                bucket.reserve_exact(BUCKET_GROWTH);
            }
            bucket.push(entry);
            self.entries += 1;
        }
    }

    /// Ends the span.
    pub fn close(&mut self, to: LogOffset) {
        self.span.to = to;
    }

    /// Records with that hash, newest first.
    pub fn find(&self, hash: u64) -> impl Iterator<Item = Candidate> {
        let bucket = &self.buckets[bucket_of(hash)];
        bucket.iter().rev().filter(move |entry| entry.hash == hash).map(|entry| self.span.candidate(entry))
    }

    /// All entries in order, a bucket at a time.
    pub fn sorted(&self) -> impl Iterator<Item = Vec<Entry>> {
        self.buckets.iter().filter(|bucket| !bucket.is_empty()).map(|bucket| {
            let mut sorted = bucket.clone();
            sorted.sort_unstable();
            sorted
        })
    }
}

fn bucket_of(hash: u64) -> usize {
    (hash >> (u64::BITS - BUCKET_BITS)) as usize
}

/// When a table is closed and the next one begun, and how many closed ones may wait for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLimits {
    pub entries: usize,
    pub log_bytes: u64,
    pub closed_tables: usize,
}

/// The table that grows, and closed ones that wait to be written, oldest first. What is dropped here for want of room is a gap
/// in the index that is filled from the log later: appends never wait for key files.
pub(crate) struct Tables {
    limits: TableLimits,
    active: KeyTable,
    closed: VecDeque<Rc<KeyTable>>,
    /// Place and store time of the newest record that was added.
    newest: Option<(LogOffset, i64)>,
}

impl Tables {
    /// Records from `from` on count.
    pub fn new(limits: TableLimits, from: LogOffset) -> Self {
        Self { limits, active: KeyTable::new(from, 0), closed: VecDeque::new(), newest: None }
    }

    /// Adds the next record of the log.
    pub fn add(&mut self, topic: &str, keys: RecordKeys<'_>, offset: LogOffset, time: i64) {
        self.newest = Some((offset, time));
        if offset >= self.active.span.from {
            self.active.add(topic, keys, offset, time);
        }
    }

    /// A batch ended at `head`: the only places at which a table may end.
    pub fn batch_ended(&mut self, head: LogOffset) {
        let full = self.active.entries >= self.limits.entries
            || head.since(self.active.span.from) >= self.limits.log_bytes;
        if full {
            self.rotate(head);
        }
    }

    /// Closes the growing table at `head` and begins the next one there.
    pub fn rotate(&mut self, head: LogOffset) {
        if head <= self.active.span.from {
            return;
        }
        let next = KeyTable::new(head, self.active.span.last_time);
        let mut closed = std::mem::replace(&mut self.active, next);
        closed.close(head);
        self.closed.push_back(Rc::new(closed));
        if self.closed.len() > self.limits.closed_tables {
            self.closed.pop_front();
        }
    }

    pub fn active(&self) -> &KeyTable {
        &self.active
    }

    /// Place and store time of the newest record; `None` before the first.
    pub fn newest(&self) -> Option<(LogOffset, i64)> {
        self.newest
    }

    /// Closed tables, oldest first.
    pub fn closed(&self) -> &VecDeque<Rc<KeyTable>> {
        &self.closed
    }

    /// The table has been written.
    pub fn forget(&mut self, table: &Rc<KeyTable>) {
        self.closed.retain(|closed| !Rc::ptr_eq(closed, table));
    }

    pub fn bytes(&self) -> usize {
        self.active.bytes() + self.closed.iter().map(|table| table.bytes()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TableLimits = TableLimits { entries: 4, log_bytes: 1000, closed_tables: 2 };

    fn keys(text: &str) -> RecordKeys<'_> {
        RecordKeys::of(0, text)
    }

    fn offsets(table: &KeyTable, key: &str) -> Vec<u64> {
        table.find(hash("t", key)).map(|candidate| candidate.offset.0).collect()
    }

    #[test]
    fn newest_records_come_first() {
        let mut table = KeyTable::new(LogOffset(100), 5);
        table.add("t", keys("KEYS\u{1}a b\u{2}"), LogOffset(100), 10);
        table.add("t", keys("KEYS\u{1}b\u{2}"), LogOffset(250), 20);
        assert_eq!(offsets(&table, "b"), [250, 100]);
        assert_eq!(offsets(&table, "a"), [100]);
        assert_eq!(offsets(&table, "c"), [0; 0]);
        assert_eq!((table.span().first_time, table.span().last_time, table.entry_count()), (10, 20, 3));
        let sorted: Vec<_> = table.sorted().flatten().collect();
        assert!(sorted.is_sorted() && sorted.len() == 3);
    }

    #[test]
    fn far_times_are_bounds() {
        let span = Span { from: LogOffset(0), to: LogOffset(10), first_time: 0, last_time: i64::MAX };
        let far = span.candidate(&span.entry(1, LogOffset(3), 1 << 40));
        assert_eq!(far, Candidate { offset: LogOffset(3), time: i64::from(u32::MAX), exact: false });
        assert!(span.candidate(&span.entry(1, LogOffset(3), 77)).exact);
    }

    #[test]
    fn tables_end_between_batches_and_wait_in_bounded_number() {
        let mut tables = Tables::new(LIMITS, LogOffset(50));
        tables.add("t", keys("KEYS\u{1}early\u{2}"), LogOffset(0), 1);
        for record in 0..12 {
            let at = LogOffset(50 + record * 10);
            tables.add("t", keys("KEYS\u{1}a\u{2}UNIQ_KEY\u{1}U\u{2}"), at, 7);
            tables.batch_ended(at.plus(10));
        }
        let spans: Vec<_> = tables.closed().iter().map(|t| (t.span().from.0, t.span().to.0)).collect();
        assert_eq!(spans, [(130, 150), (150, 170)], "the oldest were dropped");
        tables.batch_ended(LogOffset(1170));
        assert_eq!(tables.active().span().from, LogOffset(1170), "closed by distance");
        tables.rotate(LogOffset(1170));
        assert_eq!(tables.closed().len(), 2);
    }
}
