//! Index runs on disk.
//!
//! A run indexes one stretch of the log, inside one segment, and ends behind a seal: everything that must be known of the log's queues
//! at that point, so that the newest run alone is where recovery starts.
//!
//! ```text
//!   file index/<segment start>:   run │ run │ run │ …                  each starts on a page, follows the one before
//!   run:   page 0      header, written last, after a flush of the others: it makes the run count
//!          1 … E       entries, 170 a page, sorted by queue, then in queue order
//!          E+1 … E+T   the queue table: a row for every queue that exists at the run's end
//! ```
//! The table is a hash table on disk: a row lies in page `hash × buckets / 2³²`, or, where that is full, in the ones right
//! behind, as their predecessors' *spills* mark says. So finding a row is one page read, mostly, without anything kept in memory.
//!
//! ```text
//!   header  4 magic 4 │ 8 version 2 │ 10 shard 2 │ 12 from 8 │ 20 to 8 │ 28 base time 8 │ 36 newest time 8 │ 44 entries 4
//!           48 entry pages 4 │ 52 table pages 4 │ 56 buckets 4 │ 60 queues 4 │ 64 damaged 4
//!   entry   0 log offset - from 4 │ 4 record size 3 │ 7 store time - base time 5 │ 12 CRC-32 of the record 4 │ 16 tags code 8
//!   table   4 rows 2 │ 6 spills 1 │ 7 zero 1 │ 8 rows, sorted by hash
//!   row     0 hash 4 │ 4 queue id 4 │ 8 first offset 8 │ 16 count 4 │ 20 number of the first entry 4 │ 24 born 8
//!           32 newest store time 8 │ 40 min offset 8 │ 48 known at 8 │ 56 topic length 2 │ 58 topic
//! ```
//! Integers are big-endian. Every page carries the checksum of [`crate::pages`].

use ringmq_reactor::PAGE_BYTES;

use super::Entry;
use crate::offset::LogOffset;
use crate::pages::{PAGE_CONTENT_AT, PageId};

const MAGIC: u32 = 0x524D_5149;
const VERSION: u16 = 1;
const ENTRY_BYTES: usize = 24;
/// Entries of a full page.
pub(crate) const PAGE_ENTRIES: u32 = ((PAGE_BYTES - PAGE_CONTENT_AT) / ENTRY_BYTES) as u32;
const ROWS_AT: usize = 8;
const ROW_FIXED_BYTES: usize = 58;
/// What rows can take of a page.
pub(crate) const PAGE_ROW_BYTES: usize = PAGE_BYTES - ROWS_AT;
/// Longest topic that a row can name: a row fits on a page.
pub(crate) const ROW_TOPIC_BYTES_MAX: usize = PAGE_ROW_BYTES - ROW_FIXED_BYTES;
/// 40 bits: 34 years from the oldest to the newest entry of a run.
const TIME_MAX: i64 = (1 << 40) - 1;

const KIND_HEADER: u32 = 0x4951_0001;
const KIND_ENTRIES: u32 = 0x4951_0002;
const KIND_TABLE: u32 = 0x4951_0003;

/// A run, as its header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunHeader {
    pub shard: u16,
    /// The stretch of the log whose records it indexes.
    pub from: LogOffset,
    pub to: LogOffset,
    /// No entry is older.
    pub base_time: i64,
    /// Store time of the newest record of the log at `to`.
    pub newest_time: i64,
    pub entries: u32,
    pub entry_pages: u32,
    pub table_pages: u32,
    pub buckets: u32,
    /// Rows of the table.
    pub queues: u32,
    /// Another page of the run was found damaged: the next recovery makes the run again.
    pub damaged: bool,
}

impl RunHeader {
    /// Pages of the whole run.
    pub fn pages(&self) -> u32 {
        1 + self.entry_pages + self.table_pages
    }

    /// Number of the table's first page.
    pub fn table_at(&self) -> u32 {
        1 + self.entry_pages
    }

    /// Identity of an entry page or table page of the run.
    pub fn page_id(&self, number: u32) -> PageId {
        page_id(self.from, self.to, self.entry_pages, number)
    }

    /// Whether a page of the run is whole. Its header may have been marked as damaged since it was read.
    pub fn is_whole(&self, number: u32, page: &[u8]) -> bool {
        match number {
            0 => Self::decode(page, self.from)
                .is_some_and(|found| Self { damaged: self.damaged, ..found } == *self),
            _ => self.page_id(number).is_whole(page),
        }
    }

    /// Page of the table where the search for a hash begins, and of the first row with it.
    pub fn bucket(&self, hash: u32) -> u32 {
        bucket(hash, self.buckets)
    }

    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        page[4..8].copy_from_slice(&MAGIC.to_be_bytes());
        page[8..10].copy_from_slice(&VERSION.to_be_bytes());
        page[10..12].copy_from_slice(&self.shard.to_be_bytes());
        page[12..20].copy_from_slice(&self.from.0.to_be_bytes());
        page[20..28].copy_from_slice(&self.to.0.to_be_bytes());
        page[28..36].copy_from_slice(&self.base_time.to_be_bytes());
        page[36..44].copy_from_slice(&self.newest_time.to_be_bytes());
        let damaged = u32::from(self.damaged);
        let counts = [self.entries, self.entry_pages, self.table_pages, self.buckets, self.queues, damaged];
        for (count, at) in counts.iter().zip((44..).step_by(4)) {
            page[at..at + 4].copy_from_slice(&count.to_be_bytes());
        }
        header_id(self.from).seal(&mut page);
        page
    }

    /// Whether a page that is no header was meant to be that of the run that starts at `from`: however a single bit of it is wrong, its
    /// magic or its place still says so. What an attempt to write a run left behind does not look like this.
    pub fn is_meant(page: &[u8], from: LogOffset) -> bool {
        page.len() == PAGE_BYTES
            && (word(page, 4) == MAGIC || (long(page, 12) == from.0 && short(page, 8) == VERSION))
    }

    /// The header of whichever run starts on this page.
    pub fn decode_any(page: &[u8]) -> Option<Self> {
        Self::decode(page, LogOffset(u64::from_be_bytes(page.get(12..20)?.try_into().ok()?)))
    }

    /// The header of the run that starts at `from`; `None` if the page is none, or damaged.
    pub fn decode(page: &[u8], from: LogOffset) -> Option<Self> {
        if !header_id(from).is_whole(page) || word(page, 4) != MAGIC || short(page, 8) != VERSION {
            return None;
        }
        let header = Self {
            shard: short(page, 10),
            from: LogOffset(long(page, 12)),
            to: LogOffset(long(page, 20)),
            base_time: long(page, 28).cast_signed(),
            newest_time: long(page, 36).cast_signed(),
            entries: word(page, 44),
            entry_pages: word(page, 48),
            table_pages: word(page, 52),
            buckets: word(page, 56),
            queues: word(page, 60),
            damaged: word(page, 64) != 0,
        };
        let possible = header.from == from
            && header.from < header.to
            && header.entry_pages == header.entries.div_ceil(PAGE_ENTRIES)
            && (1..=header.table_pages).contains(&header.buckets);
        possible.then_some(header)
    }
}

/// The header is read before the run's end is known.
fn header_id(from: LogOffset) -> PageId {
    PageId { kind: KIND_HEADER, from, to: LogOffset(0), number: 0 }
}

/// Identity of a page of a run with so many entry pages; not of its header.
pub(crate) fn page_id(from: LogOffset, to: LogOffset, entry_pages: u32, number: u32) -> PageId {
    let kind = if number <= entry_pages { KIND_ENTRIES } else { KIND_TABLE };
    PageId { kind, from, to, number }
}

pub(crate) fn bucket(hash: u32, buckets: u32) -> u32 {
    ((u64::from(hash) * u64::from(buckets)) >> 32) as u32
}

/// Of a queue's name. A CRC is spread well enough over the buckets, and the same on every machine.
pub(crate) fn hash(topic: &str, queue_id: i32) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(topic.as_bytes());
    crc.update(&queue_id.to_be_bytes());
    crc.finalize()
}

/// Writes an entry into its place on an entry page.
pub(crate) fn put_entry(page: &mut [u8], place: u32, entry: &Entry, from: LogOffset, base_time: i64) {
    let at = PAGE_CONTENT_AT + place as usize * ENTRY_BYTES;
    let bytes = &mut page[at..at + ENTRY_BYTES];
    let offset = u32::try_from(entry.offset.since(from)).expect("a segment has at most 4 GiB");
    assert!(entry.bytes < 1 << 24, "{entry:?} exceeds RECORD_BYTES_MAX");
    let time = (entry.store_timestamp - base_time).clamp(0, TIME_MAX).cast_unsigned();
    bytes[0..4].copy_from_slice(&offset.to_be_bytes());
    bytes[4..12].copy_from_slice(&(u64::from(entry.bytes) << 40 | time).to_be_bytes());
    bytes[12..16].copy_from_slice(&entry.crc.to_be_bytes());
    bytes[16..24].copy_from_slice(&entry.tags_code.to_be_bytes());
}

/// The entry at a place of an entry page.
pub(crate) fn get_entry(page: &[u8], place: u32, from: LogOffset, base_time: i64) -> Entry {
    let bytes = &page[PAGE_CONTENT_AT + place as usize * ENTRY_BYTES..][..ENTRY_BYTES];
    let size_and_time = long(bytes, 4);
    Entry {
        offset: LogOffset(from.0 + u64::from(word(bytes, 0))),
        bytes: (size_and_time >> 40) as u32,
        crc: word(bytes, 12),
        tags_code: long(bytes, 16).cast_signed(),
        store_timestamp: base_time + (size_and_time & TIME_MAX.cast_unsigned()).cast_signed(),
    }
}

/// What a run says of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub hash: u32,
    pub topic: &'a str,
    pub queue_id: i32,
    /// Offset of the queue's first entry in the run; of the next one, if there is none.
    pub first: i64,
    /// Entries in the run.
    pub count: u32,
    /// Number of the first of them among the run's entries.
    pub place: u32,
    /// Log offset of the queue's very first record: tells it from a queue of the same name whose topic was deleted.
    pub born: LogOffset,
    /// Store time of the queue's newest entry in this run or an earlier one, ms; 0 if there is none.
    pub newest_time: i64,
    /// Oldest offset of the queue when the run was written; retention may have moved it since.
    pub min: i64,
    /// Log offset of the newest record below the run's end that says where the queue ends; 0: not known.
    pub known_at: LogOffset,
}

impl<'a> Row<'a> {
    pub fn end(&self) -> i64 {
        self.first + i64::from(self.count)
    }

    /// Bytes of the row of a queue.
    pub fn bytes(topic: &str) -> usize {
        ROW_FIXED_BYTES + topic.len()
    }

    fn put(&self, to: &mut [u8]) {
        to[0..4].copy_from_slice(&self.hash.to_be_bytes());
        to[4..8].copy_from_slice(&self.queue_id.to_be_bytes());
        to[8..16].copy_from_slice(&self.first.to_be_bytes());
        to[16..20].copy_from_slice(&self.count.to_be_bytes());
        to[20..24].copy_from_slice(&self.place.to_be_bytes());
        to[24..32].copy_from_slice(&self.born.0.to_be_bytes());
        to[32..40].copy_from_slice(&self.newest_time.to_be_bytes());
        let length = u16::try_from(self.topic.len()).expect("below ROW_TOPIC_BYTES_MAX");
        to[40..48].copy_from_slice(&self.min.to_be_bytes());
        to[48..56].copy_from_slice(&self.known_at.0.to_be_bytes());
        to[56..58].copy_from_slice(&length.to_be_bytes());
        to[ROW_FIXED_BYTES..ROW_FIXED_BYTES + self.topic.len()].copy_from_slice(self.topic.as_bytes());
    }

    /// The row at the beginning of `bytes`; `None` if that is not one (the page's checksum makes it unlikely).
    fn get(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(ROW_FIXED_BYTES)?;
        let topic = rest.get(..usize::from(short(fixed, 56)))?;
        Some(Self {
            hash: word(fixed, 0),
            topic: std::str::from_utf8(topic).ok()?,
            queue_id: word(fixed, 4).cast_signed(),
            first: long(fixed, 8).cast_signed(),
            count: word(fixed, 16),
            place: word(fixed, 20),
            born: LogOffset(long(fixed, 24)),
            newest_time: long(fixed, 32).cast_signed(),
            min: long(fixed, 40).cast_signed(),
            known_at: LogOffset(long(fixed, 48)),
        })
    }
}

/// A table page while it is filled.
pub(crate) struct TablePage {
    bytes: Box<[u8; PAGE_BYTES]>,
    used: usize,
    rows: u16,
}

impl TablePage {
    pub fn new() -> Self {
        Self { bytes: Box::new([0; PAGE_BYTES]), used: ROWS_AT, rows: 0 }
    }

    /// Adds a row; `false` if there is no room.
    pub fn push(&mut self, row: &Row<'_>) -> bool {
        let end = self.used + Row::bytes(row.topic);
        if end > PAGE_BYTES {
            return false;
        }
        row.put(&mut self.bytes[self.used..end]);
        self.used = end;
        self.rows += 1;
        true
    }

    /// The page, without its checksum; the next one is empty.
    pub fn finish(&mut self, spills: bool) -> [u8; PAGE_BYTES] {
        self.bytes[4..6].copy_from_slice(&self.rows.to_be_bytes());
        self.bytes[6] = u8::from(spills);
        let page = *self.bytes;
        self.bytes.fill(0);
        (self.used, self.rows) = (ROWS_AT, 0);
        page
    }
}

/// Rows of a whole table page.
pub(crate) fn rows(page: &[u8]) -> impl Iterator<Item = Row<'_>> {
    let mut at = ROWS_AT;
    (0..short(page, 4)).map_while(move |_| {
        let row = Row::get(&page[at..])?;
        at += Row::bytes(row.topic);
        Some(row)
    })
}

/// Whether rows that belong on this page or before it lie on the next one.
pub(crate) fn spills(page: &[u8]) -> bool {
    page[6] != 0
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> RunHeader {
        RunHeader {
            shard: 3,
            from: LogOffset(1 << 40),
            to: LogOffset((1 << 40) + 70_000),
            base_time: 1_700_000_000_000,
            newest_time: 1_700_000_000_500,
            entries: 171,
            entry_pages: 2,
            table_pages: 3,
            buckets: 2,
            queues: 9,
            damaged: false,
        }
    }

    #[test]
    fn every_bit_of_a_header_counts() {
        let mut page = header().encode();
        assert_eq!(RunHeader::decode(&page, header().from), Some(header()));
        assert_eq!(RunHeader::decode_any(&page), Some(header()));
        let damaged = RunHeader { damaged: true, ..header() };
        assert_eq!(RunHeader::decode_any(&damaged.encode()), Some(damaged));
        assert_eq!(RunHeader::decode(&page, LogOffset(0)), None, "a header of elsewhere");
        for bit in 0..PAGE_BYTES * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RunHeader::decode(&page, header().from), None, "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut page = [0; PAGE_BYTES];
        let (from, base_time) = (LogOffset(1 << 50), 1_700_000_000_000);
        let entry = |n: u32| Entry {
            offset: LogOffset((1 << 50) + u64::from(n) * 25_000_000),
            bytes: (1 << 24) - 1 - n,
            crc: 0xDEAD_BEEF ^ n,
            tags_code: i64::MIN + i64::from(n),
            store_timestamp: base_time + i64::from(n) * 6_000_000_000,
        };
        (0..PAGE_ENTRIES).for_each(|n| put_entry(&mut page, n, &entry(n), from, base_time));
        for n in 0..PAGE_ENTRIES {
            assert_eq!(get_entry(&page, n, from, base_time), entry(n));
        }
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let mut page = TablePage::new();
        let row = |n: u32| Row {
            hash: n,
            topic: "a topic of some length",
            queue_id: -1 - n as i32,
            first: i64::MAX - 500,
            count: n,
            place: 77,
            born: LogOffset(1 << 55),
            newest_time: i64::from(n),
            min: 5,
            known_at: LogOffset(6),
        };
        let fitting = (0..1000).take_while(|n| page.push(&row(*n))).count() as u32;
        assert_eq!(fitting, (PAGE_ROW_BYTES / 80) as u32);
        let full = page.finish(true);
        assert!(spills(&full));
        assert!(rows(&full).eq((0..fitting).map(row)));
        assert_eq!(rows(&page.finish(false)).count(), 0, "the next page is empty");
    }
}
