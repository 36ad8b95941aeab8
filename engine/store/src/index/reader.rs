//! Finding entries: in memory, or in runs that have to be read back.

use rustc_hash::FxHashMap;

use super::cache::{Missing, PageCache, PageError};
use super::format::{self, PAGE_ENTRIES};
use super::runs::{IndexFile, Run, Runs};
use super::{Entry, Index, Queue, QueueSlot};
use crate::error::ReadError;
use crate::limits::INDEX_SPANS_MAX;
use crate::offset::LogOffset;
use crate::read::Boundary;

/// Why a question about the index has no answer yet, or none at all.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// This block must be read first.
    Missing(Missing),
    Failed(ReadError),
    /// The index no longer holds the offset; the first one that it does hold.
    Gone(i64),
}

impl From<PageError> for Unanswered {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Missing(missing) => Self::Missing(missing),
            PageError::Failed(error) => Self::Failed(error),
        }
    }
}

/// The entries of one queue in one run.
#[derive(Clone, Copy, Debug)]
struct Span {
    run: Run,
    first: i64,
    end: i64,
    /// Number of the first of them among the run's entries.
    place: u32,
}

/// The part of the index that is on disk.
pub(crate) struct RunReader {
    pub runs: Runs,
    pub cache: PageCache,
    /// The last span that was found for a queue, so that whoever reads on does not search again.
    spans: FxHashMap<QueueSlot, Span>,
}

impl RunReader {
    pub fn new(runs: Runs, cache_bytes: usize) -> Self {
        Self { runs, cache: PageCache::new(cache_bytes), spans: FxHashMap::default() }
    }

    /// Gives up the runs below `log_min`, the start of a segment; gives their files, which are to be closed and removed.
    pub fn forget_below(&mut self, log_min: LogOffset) -> Vec<IndexFile> {
        let gone = self.runs.forget_below(log_min);
        self.cache.forget_below(log_min);
        gone
    }

    /// Slots that may be used again for other queues.
    pub fn forget_slots(&mut self, slots: &[QueueSlot]) {
        for slot in slots {
            self.spans.remove(slot);
        }
    }

    /// The entry at a visible offset that is not below the queue's min.
    pub fn entry(&mut self, index: &Index, slot: QueueSlot, offset: i64) -> Result<Entry, Unanswered> {
        let queue = index.queue(slot);
        if let Some(entry) = queue.entry(offset) {
            return Ok(entry);
        }
        if let Some(span) = self.spans.get(&slot).copied()
            && (span.first..span.end).contains(&offset)
            && self.is_kept(&span.run)
        {
            return self.entry_of(&span, offset);
        }
        let span = self.find(queue, offset)?;
        if self.spans.len() >= INDEX_SPANS_MAX {
            self.spans.clear();
        }
        self.spans.insert(slot, span);
        self.entry_of(&span, offset)
    }

    fn is_kept(&self, run: &Run) -> bool {
        self.runs.first().is_some_and(|first| first.header.from <= run.header.from)
    }

    fn entry_of(&mut self, span: &Span, offset: i64) -> Result<Entry, Unanswered> {
        let number = span.place + u32::try_from(offset - span.first).expect("inside the span");
        let header = &span.run.header;
        if number >= header.entries {
            // Whole pages that contradict each other: not written by us.
            return Err(Unanswered::Failed(ReadError::Index { at: header.from, page: header.table_at() }));
        }
        let page = self.cache.page(&span.run, 1 + number / PAGE_ENTRIES)?;
        Ok(format::get_entry(&page, number % PAGE_ENTRIES, header.from, header.base_time))
    }

    /// The run that holds an offset: the last one in which the queue does not begin behind it. Runs that do not know the queue
    /// are older than it.
    fn find(&mut self, queue: &Queue, offset: i64) -> Result<Span, Unanswered> {
        let (mut low, mut high) = (0, self.runs.count());
        let mut found = None;
        let mut behind = queue.memory_first();
        while low < high {
            let middle = low + (high - low) / 2;
            match self.span(queue, middle)? {
                Some(span) if span.first > offset => {
                    behind = span.first;
                    high = middle;
                }
                other => {
                    found = other;
                    low = middle + 1;
                }
            }
        }
        found.filter(|span| offset < span.end).ok_or(Unanswered::Gone(behind))
    }

    /// Where the newest run starts that does not begin behind the record at `offset`; runs that are damaged or cannot be read are
    /// passed over. `None`: there is none. `below` is where the search has come to: runs from there on were asked.
    pub fn run_before(
        &mut self,
        queue: &Queue,
        offset: i64,
        below: &mut LogOffset,
    ) -> Result<Option<LogOffset>, Missing> {
        while let Some(place) = self.runs.count_below(*below).checked_sub(1) {
            let from = self.runs.get(place).expect("counted").header.from;
            match self.span(queue, place) {
                Ok(Some(span)) if span.first <= offset => return Ok(Some(from)),
                Err(Unanswered::Missing(missing)) => return Err(missing),
                Ok(_) | Err(_) => *below = from,
            }
        }
        Ok(None)
    }

    /// What a run says of a queue, if it knows it.
    fn span(&mut self, queue: &Queue, place: usize) -> Result<Option<Span>, Unanswered> {
        let run = *self.runs.get(place).expect("a place of a run");
        let hash = format::hash(queue.topic(), queue.queue_id());
        let header = &run.header;
        let mut number = header.table_at() + header.bucket(hash);
        while number < header.pages() {
            let page = self.cache.page(&run, number)?;
            let row = format::rows(&page).find(|row| {
                row.hash == hash && row.queue_id == queue.queue_id() && row.topic == &**queue.topic()
            });
            if let Some(row) = row {
                let alive = row.born == queue.born();
                let span = Span { run, first: row.first, end: row.end(), place: row.place };
                return Ok(alive.then_some(span));
            }
            if !format::spills(&page) {
                break;
            }
            number += 1;
        }
        Ok(None)
    }

    /// Search by store time among visible entries, clamped to [min, max]. Store times never go back within a log, so bisection is
    /// exact.
    pub fn offset_by_time(
        &mut self,
        index: &Index,
        slot: QueueSlot,
        timestamp: i64,
        boundary: Boundary,
    ) -> Result<i64, Unanswered> {
        let queue = index.queue(slot);
        let min = queue.min_offset();
        if min == queue.max_offset() {
            return Ok(min);
        }
        match boundary {
            Boundary::Lower => self.first_late(queue, |time| time >= timestamp),
            Boundary::Upper => Ok((self.first_late(queue, |time| time > timestamp)? - 1).max(min)),
        }
    }

    /// The smallest visible offset whose time is `late`, max offset if none is. `late` is monotone.
    fn first_late(&mut self, queue: &Queue, late: impl Fn(i64) -> bool) -> Result<i64, Unanswered> {
        let (min, max, memory) = (queue.min_offset(), queue.max_offset(), queue.memory_first());
        // The entry before those in memory decides on which side the answer is; runs know their newest times.
        let first_in_memory = queue.entry(memory.max(min)).filter(|_| memory < max);
        let all_in_memory =
            memory <= min || first_in_memory.is_some_and(|entry| !late(entry.store_timestamp));
        let place = if all_in_memory { None } else { self.runs.first_late(&late) };
        let Some(place) = place else {
            let from = memory.max(min).min(max);
            return Ok(queue.first_where(from, max, |entry| late(entry.store_timestamp)));
        };
        // In older runs nothing is late, in newer ones everything.
        let Some(span) = self.span(queue, place)? else { return Ok(min) };
        let (mut low, mut high) = (span.first.max(min), span.end.max(min));
        while low < high {
            let middle = low + (high - low) / 2;
            if late(self.entry_of(&span, middle)?.store_timestamp) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low.min(max))
    }
}
