//! Building a run, a slice at a time, so that the shard goes on with its work in between.
//!
//! Three passes: over all queues (how many entries, how long a table), over their entries, over their rows. While a run is built the
//! index goes on: what it says of the log below the run's end does not change, since entries leave memory only after the run
//! is durable, and queues of deleted topics stay until a run is behind their deletion.

use std::sync::Arc;

use ringmq_reactor::{AlignedBuffer, PAGE_BYTES, WriteData};

use super::format::{self, PAGE_ENTRIES, PAGE_ROW_BYTES, Row, RunHeader, TablePage};
use super::{Index, QueueSlot};
use crate::limits::INDEX_WRITE_BYTES;
use crate::offset::LogOffset;

/// Pages of one write.
const WRITE_PAGES: usize = INDEX_WRITE_BYTES / PAGE_BYTES;
/// Filled to this part (in percent) on average, few buckets of a table spill.
const TABLE_FILL_PERCENT: u64 = 75;
/// Queues whose entries are prefetched ahead of their turn; they themselves come twice as far ahead.
const PREFETCH_QUEUES: u32 = 8;
/// Queues that are sorted together, about.
const SORT_QUEUES: usize = 256;

/// A queue of the run.
#[derive(Clone, Copy)]
struct Item {
    hash: u32,
    slot: QueueSlot,
    /// Entries in the run.
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    Queues,
    Entries,
    Rows,
    Done,
}

/// Where a pass is: a part of the items, an item in it, an entry of that.
#[derive(Clone, Copy, Default)]
struct Cursor {
    part: usize,
    item: usize,
    entry: u32,
}

/// What a slice of work gave.
pub(crate) enum Step {
    /// More to do.
    Working,
    /// Pages to write, at this page of the run.
    Write { page: u32, data: WriteData },
    /// All pages were given out: flush them, then write the header.
    Done,
}

pub(crate) struct RunBuilder {
    header: RunHeader,
    pass: Pass,
    /// In the first pass: the next slot to look at.
    slot: u32,
    slot_end: u32,
    /// Sorted by hash: between the parts from the start, inside a part when the second pass reaches it.
    parts: Vec<Vec<Item>>,
    part_shift: u32,
    row_bytes: u64,
    cursor: Cursor,
    /// Number of the page being filled.
    page: u32,
    entries: Box<[u8; PAGE_BYTES]>,
    entries_on_page: u32,
    table: TablePage,
    next_place: u32,
    /// Sealed pages that were not given out, and the number of the first.
    out: AlignedBuffer,
    out_pages: usize,
    out_at: u32,
}

impl RunBuilder {
    /// A run over `from..to` of a log whose newest record before `to` was stored at `newest_time`.
    pub fn new(index: &Index, shard: u16, from: LogOffset, to: LogOffset, newest_time: i64) -> Self {
        let parts = (index.queue_count() / SORT_QUEUES + 1).next_power_of_two().min(1 << 16);
        let header = RunHeader {
            shard,
            from,
            to,
            base_time: i64::MAX,
            newest_time,
            entries: 0,
            entry_pages: 0,
            table_pages: 0,
            buckets: 0,
            queues: 0,
            damaged: false,
        };
        Self {
            header,
            pass: Pass::Queues,
            slot: 0,
            slot_end: index.slot_end(),
            parts: vec![Vec::new(); parts],
            part_shift: u32::BITS - parts.trailing_zeros(),
            row_bytes: 0,
            cursor: Cursor::default(),
            page: 1,
            entries: Box::new([0; PAGE_BYTES]),
            entries_on_page: 0,
            table: TablePage::new(),
            next_place: 0,
            out: AlignedBuffer::zeroed(INDEX_WRITE_BYTES),
            out_pages: 0,
            out_at: 1,
        }
    }

    /// The header, complete once [`Step::Done`] was given.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Tells some of the run's queues that their entries are in it; `false` when all were told. Once the run is durable.
    pub fn mark_part(&mut self, index: &mut Index, keep_from: LogOffset) -> bool {
        let Some(part) = self.parts.pop() else { return false };
        for (number, item) in part.iter().enumerate() {
            prefetch_ahead(index, &part, number);
            index.mark_indexed(item.slot, item.count, keep_from);
        }
        true
    }

    /// Works on about `budget` queues or entries.
    pub fn step(&mut self, index: &Index, budget: usize) -> Step {
        for _ in 0..budget {
            match self.pass {
                Pass::Queues => self.count_queue(index),
                Pass::Entries => self.add_entry(index),
                Pass::Rows => self.add_row(index),
                Pass::Done => {
                    return if self.out_pages > 0 { self.give_out() } else { Step::Done };
                }
            }
            if self.out_pages == WRITE_PAGES {
                return self.give_out();
            }
        }
        Step::Working
    }

    fn count_queue(&mut self, index: &Index) {
        if self.slot == self.slot_end {
            return self.begin_entries();
        }
        let slot = QueueSlot(self.slot);
        self.slot += 1;
        index.prefetch_newest(QueueSlot(self.slot + PREFETCH_QUEUES));
        let Some(queue) = index.get(slot) else { return };
        let header = &mut self.header;
        if !index.exists_at(slot, header.to) {
            return;
        }
        let count = queue.count_below(header.to);
        if count > 0 {
            let entry = |offset| queue.entry(offset).expect("what is not in a run is in memory");
            let (first, last) = (queue.indexed(), queue.indexed() + i64::from(count) - 1);
            header.base_time = header.base_time.min(entry(first).store_timestamp);
            header.newest_time = header.newest_time.max(entry(last).store_timestamp);
        }
        header.entries += count;
        header.queues += 1;
        self.row_bytes += Row::bytes(queue.topic()) as u64;
        let hash = format::hash(queue.topic(), queue.queue_id());
        let part = u64::from(hash) >> self.part_shift;
        self.parts[part as usize].push(Item { hash, slot, count });
    }

    fn begin_entries(&mut self) {
        let header = &mut self.header;
        header.base_time = header.base_time.min(header.newest_time);
        header.entry_pages = header.entries.div_ceil(PAGE_ENTRIES);
        let filled = PAGE_ROW_BYTES as u64 * TABLE_FILL_PERCENT / 100;
        header.buckets =
            u32::try_from(self.row_bytes.div_ceil(filled).max(1)).expect("fewer than 2^32 pages");
        self.pass = Pass::Entries;
    }

    /// The next item with something to do; sorts each part when it is reached.
    fn item(&mut self, sort: bool) -> Option<Item> {
        while let Some(part) = self.parts.get_mut(self.cursor.part) {
            if sort && self.cursor.item == 0 && self.cursor.entry == 0 {
                part.sort_unstable_by_key(|item| (item.hash, item.slot));
            }
            if let Some(item) = part.get(self.cursor.item) {
                return Some(*item);
            }
            self.cursor = Cursor { part: self.cursor.part + 1, ..Cursor::default() };
        }
        None
    }

    fn next_item(&mut self, index: &Index) {
        prefetch_ahead(index, &self.parts[self.cursor.part], self.cursor.item);
        self.cursor = Cursor { item: self.cursor.item + 1, entry: 0, ..self.cursor };
    }

    fn add_entry(&mut self, index: &Index) {
        let Some(item) = self.item(true) else {
            if self.entries_on_page > 0 {
                self.finish_entries();
            }
            assert_eq!(self.page, self.header.table_at(), "{:?}", self.header);
            self.cursor = Cursor::default();
            self.pass = Pass::Rows;
            return;
        };
        if self.cursor.entry == item.count {
            return self.next_item(index);
        }
        let queue = index.queue(item.slot);
        let entry = queue.entry(queue.indexed() + i64::from(self.cursor.entry));
        let entry = entry.expect("what is not in a run is in memory");
        let (from, base_time) = (self.header.from, self.header.base_time);
        format::put_entry(self.entries.as_mut_slice(), self.entries_on_page, &entry, from, base_time);
        self.entries_on_page += 1;
        self.cursor.entry += 1;
        if self.entries_on_page == PAGE_ENTRIES {
            self.finish_entries();
        }
    }

    fn finish_entries(&mut self) {
        let page = *self.entries;
        self.entries.fill(0);
        self.entries_on_page = 0;
        self.put_page(&page);
    }

    /// Adds the next row, or finishes a page to make room for it.
    fn add_row(&mut self, index: &Index) {
        let bucket_at = self.page - self.header.table_at();
        let Some(item) = self.item(false) else {
            let page = self.table.finish(false);
            self.put_page(&page);
            self.header.table_pages = self.page - self.header.table_at();
            if self.header.table_pages >= self.header.buckets {
                self.pass = Pass::Done;
            }
            return;
        };
        if bucket_at < self.header.bucket(item.hash) {
            let page = self.table.finish(false);
            return self.put_page(&page);
        }
        let queue = index.queue(item.slot);
        let last = queue.indexed() + i64::from(item.count) - 1;
        let last = if item.count > 0 { queue.entry(last) } else { None };
        // What was written behind the run's end may be lost in a crash that the run survives.
        let known_at = if queue.known_at() < self.header.to { queue.known_at() } else { LogOffset(0) };
        let row = Row {
            hash: item.hash,
            topic: queue.topic(),
            queue_id: queue.queue_id(),
            first: queue.indexed(),
            count: item.count,
            place: self.next_place,
            born: queue.born(),
            newest_time: last.map_or(queue.indexed_time(), |entry| entry.store_timestamp),
            min: queue.min_offset(),
            known_at: last.map_or(known_at, |entry| known_at.max(entry.offset)),
        };
        if self.table.push(&row) {
            self.next_place += item.count;
            self.next_item(index);
        } else {
            let page = self.table.finish(true);
            self.put_page(&page);
        }
    }

    /// Seals a page and puts it behind those that wait to be written.
    fn put_page(&mut self, page: &[u8; PAGE_BYTES]) {
        let header = &self.header;
        let at = self.out_pages * PAGE_BYTES;
        let out = &mut self.out.as_mut()[at..at + PAGE_BYTES];
        out.copy_from_slice(page);
        format::page_id(header.from, header.to, header.entry_pages, self.page).seal(out);
        self.out_pages += 1;
        self.page += 1;
    }

    fn give_out(&mut self) -> Step {
        let mut pages = AlignedBuffer::zeroed(self.out_pages * PAGE_BYTES);
        pages.as_mut().copy_from_slice(&self.out.as_ref()[..self.out_pages * PAGE_BYTES]);
        let page = self.out_at;
        self.out_at = self.page;
        self.out_pages = 0;
        Step::Write { page, data: WriteData::Aligned(Arc::new(pages)) }
    }
}

/// Queues lie anywhere in memory: without this, each would be waited for.
fn prefetch_ahead(index: &Index, part: &[Item], number: usize) {
    let ahead = |queues: u32| part.get(number + queues as usize);
    if let Some(item) = ahead(2 * PREFETCH_QUEUES) {
        index.prefetch(item.slot);
    }
    if let Some(item) = ahead(PREFETCH_QUEUES) {
        index.prefetch_newest(item.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::index::Entry;

    const FROM: LogOffset = LogOffset(1 << 20);

    fn entry(offset: u64) -> Entry {
        Entry {
            offset: LogOffset(offset),
            bytes: 100,
            crc: offset as u32,
            tags_code: offset.cast_signed(),
            store_timestamp: 1000 + offset.cast_signed() / 1000,
        }
    }

    /// Builds a run and gives all of its pages.
    fn build(index: &Index, to: LogOffset, budget: usize) -> (RunHeader, Vec<u8>) {
        let mut builder = RunBuilder::new(index, 3, FROM, to, 7);
        let mut file = vec![0; PAGE_BYTES];
        loop {
            match builder.step(index, budget) {
                Step::Working => {}
                Step::Write { page, data: WriteData::Aligned(pages) } => {
                    assert_eq!(file.len(), page as usize * PAGE_BYTES, "pages come in order");
                    file.extend_from_slice((*pages).as_ref());
                }
                Step::Write { data, .. } => panic!("{data:?}"),
                Step::Done => break,
            }
        }
        file[..PAGE_BYTES].copy_from_slice(&builder.header().encode());
        (*builder.header(), file)
    }

    fn pages(file: &[u8], from: u32, count: u32) -> impl Iterator<Item = &[u8]> {
        file.chunks(PAGE_BYTES).skip(from as usize).take(count as usize)
    }

    /// Many queues with few messages and few with many; returns the index and its queues' sizes.
    fn filled(topics: u32, queues: i32, messages: u64) -> (Index, LogOffset) {
        let mut index = Index::default();
        let mut at = FROM.0;
        for n in 0..messages {
            let topic = format!("topic-{}", n * n % u64::from(topics));
            let queue_id = (n % queues as u64) as i32;
            let slot = index.find_or_insert(&topic, queue_id, 0, LogOffset(at));
            index.push(slot, entry(at));
            at += 100;
        }
        (index, LogOffset(at))
    }

    #[test]
    fn a_run_holds_every_queue_and_every_entry_and_finds_each() {
        for (topics, queues, messages, budget) in
            [(1, 1, 0, 9), (1, 1, 1, 1), (3, 2, 5000, 7), (5000, 2, 20_000, 1000)]
        {
            let (index, end) = filled(topics, queues, messages);
            // The last tenth is not in the run.
            let to = LogOffset(end.0 - (end.0 - FROM.0) / 1000 * 100).max(LogOffset(FROM.0 + 1));
            let (header, file) = build(&index, to, budget);
            assert_eq!(RunHeader::decode(&file[..PAGE_BYTES], FROM), Some(header));
            assert_eq!(file.len(), header.pages() as usize * PAGE_BYTES);
            for (number, page) in file.chunks(PAGE_BYTES).enumerate() {
                assert!(header.is_whole(number as u32, page), "page {number}");
            }
            let table = pages(&file, header.table_at(), header.table_pages);
            let rows: BTreeMap<_, _> =
                table.flat_map(format::rows).map(|r| ((r.topic.to_string(), r.queue_id), r)).collect();
            assert_eq!(rows.len(), header.queues as usize);
            let mut entries = 0;
            for slot in (0..index.slot_end()).map(QueueSlot) {
                let Some(queue) = index.get(slot) else { continue };
                let name = (queue.topic().to_string(), queue.queue_id());
                assert_eq!(rows.contains_key(&name), queue.born() < to);
                let Some(row) = rows.get(&name) else { continue };
                assert_eq!((row.first, row.count, row.born), (0, queue.count_below(to), queue.born()));
                for n in 0..row.count {
                    let number = row.place + n;
                    let page = pages(&file, 1 + number / PAGE_ENTRIES, 1).next().expect("there");
                    let found = format::get_entry(page, number % PAGE_ENTRIES, FROM, header.base_time);
                    assert_eq!(Some(found), queue.entry(i64::from(n)));
                    entries += 1;
                }
                // As a reader looks for it.
                let mut page = header.bucket(row.hash);
                let found = loop {
                    let bytes = pages(&file, header.table_at() + page, 1).next().expect("there");
                    if let Some(found) =
                        format::rows(bytes).find(|r| r.topic == &*name.0 && r.queue_id == name.1)
                    {
                        break found;
                    }
                    assert!(format::spills(bytes), "{name:?} is not where it belongs");
                    page += 1;
                };
                assert_eq!(found, *row);
            }
            assert_eq!(entries, header.entries);
        }
    }

    #[test]
    fn a_run_is_the_same_however_it_is_sliced_and_whatever_happens_behind_its_end() {
        let (mut index, end) = filled(50, 4, 3000);
        let to = LogOffset(FROM.0 + 200_000);
        let before = build(&index, to, 1);
        index.remove_topic("topic-1", end);
        let slot = index.find_or_insert("topic-1", 0, 0, end);
        index.push(slot, entry(end.0));
        assert_eq!(build(&index, to, 100_000), before);
        // A run that ends behind the deletion knows only the new queue.
        let (header, file) = build(&index, LogOffset(end.0 + 1000), 50);
        let rows: Vec<_> = pages(&file, header.table_at(), header.table_pages)
            .flat_map(format::rows)
            .filter(|r| r.topic == "topic-1")
            .collect();
        assert_eq!((rows.len(), rows[0].queue_id, rows[0].count, rows[0].born), (1, 0, 1, end));
    }

    #[test]
    fn every_flipped_bit_of_a_run_is_noticed() {
        let (index, end) = filled(20, 2, 700);
        let (header, mut file) = build(&index, end, 1000);
        for number in 0..header.pages() {
            for bit in 0..PAGE_BYTES * 8 {
                let at = number as usize * PAGE_BYTES + bit / 8;
                file[at] ^= 1 << (bit % 8);
                let page = &file[number as usize * PAGE_BYTES..][..PAGE_BYTES];
                assert!(!header.is_whole(number, page), "page {number} bit {bit}");
                file[at] ^= 1 << (bit % 8);
            }
        }
    }
}
