//! Reading.

use bytes::Bytes;
use ringmq_reactor::Io;
use ringmq_remoting::record::{RecordError, RecordView};

use super::Store;
use crate::cold::{BlockKey, Fetch};
use crate::error::ReadError;
use crate::index::reader::Unanswered;
use crate::index::{Entry, QueueSlot};
use crate::limits::{
    READ_AHEAD_BLOCKS, READ_AHEAD_BLOCKS_MAX, READ_BYTES_MAX, RECORD_BYTES_MIN, SCAN_ENTRIES_MAX,
};
use crate::offset::{LogOffset, PhysicalOffset};
use crate::read::{Read, ReadLimits, ReadResult, ReadStatus, RecordFilter, RecordRead};
use crate::tail::WindowIndex;

/// Whether one more message of `bytes` would exceed the limits. The first one never does.
fn is_full(limits: &ReadLimits, in_memory: bool, count: usize, total: usize, bytes: usize) -> bool {
    if count == 0 {
        return false;
    }
    let (messages_max, bytes_max) = if in_memory {
        (limits.memory_messages_max, limits.memory_bytes_max)
    } else {
        (limits.disk_messages_max, limits.disk_bytes_max)
    };
    count >= limits.messages_max
        || count >= messages_max
        || total + bytes > bytes_max
        || total + bytes > READ_BYTES_MAX
}

/// Where a run of neighbouring records lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Tail(WindowIndex),
    Cold(BlockKey),
}

/// Neighbouring records of one place, given out as one slice.
struct Run {
    place: Place,
    from: LogOffset,
    to: LogOffset,
}

/// What is gathered for one answer.
#[derive(Default)]
struct Gathered {
    records: Vec<Bytes>,
    run: Option<Run>,
    count: usize,
    bytes: usize,
}

/// What became of one entry.
enum Added {
    Yes,
    Unwanted,
    Missing(Vec<BlockKey>),
    Failed(ReadError),
    Gone,
}

impl Store {
    /// Reads messages of a queue from `offset` that pass `filter`, with RocketMQ's statuses and batch-end rule. Fresh
    /// messages come from the tail cache at once; older ones may have to wait for the disk.
    ///
    /// If a later message needs the disk, the ones before it are answered without it and its block is asked for. So are records that a
    /// filter looked at in vain: going on behind them, no record is read twice, however little the cache holds.
    pub fn read(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
        offset: i64,
        limits: ReadLimits,
        filter: &dyn RecordFilter,
    ) -> Read {
        let Some(slot) = self.index.find(topic, queue_id) else {
            return Read::Ready(ReadResult::empty(ReadStatus::NoMatchedLogicQueue, 0, 0, 0));
        };
        let queue = self.index.queue(slot);
        let (min, max) = (queue.min_offset(), queue.max_offset());
        let empty = |status, next| Read::Ready(ReadResult::empty(status, next, min, max));
        if max == 0 {
            return empty(ReadStatus::NoMessageInQueue, 0);
        }
        if offset < min {
            return empty(ReadStatus::OffsetTooSmall, min);
        }
        if offset == max {
            return empty(ReadStatus::OffsetOverflowOne, offset);
        }
        if offset > max {
            return empty(ReadStatus::OffsetOverflowBadly, max);
        }
        self.scan(io, slot, offset, max, &limits, filter)
    }

    fn scan(
        &mut self,
        io: &mut dyn Io,
        slot: QueueSlot,
        offset: i64,
        max: i64,
        limits: &ReadLimits,
        filter: &dyn RecordFilter,
    ) -> Read {
        let window = limits.messages_max.max(SCAN_ENTRIES_MAX);
        let window = if filter.looks_at_records() { window.min(filter.entries_max().max(1)) } else { window };
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let scan_end = max.min(offset.saturating_add(window));
        let mut gathered = Gathered::default();
        let mut next = offset;
        let (mut stopped, mut unknown) = (None, None);
        while next < scan_end {
            let entry = match self.reader.entry(&self.index, slot, next) {
                Ok(entry) => entry,
                Err(unanswered) => {
                    unknown = Some(unanswered);
                    break;
                }
            };
            if filter.may_want(entry.tags_code) {
                let in_memory = self.acknowledged.since(entry.offset) <= self.config.in_memory_bytes;
                if is_full(limits, in_memory, gathered.count, gathered.bytes, entry.bytes as usize) {
                    break;
                }
                match self.add(&mut gathered, &entry, filter) {
                    Added::Yes | Added::Unwanted => {}
                    other => {
                        stopped = Some(other);
                        break;
                    }
                }
            }
            next += 1;
        }
        if gathered.count == 0
            && next == offset
            && let Some(unanswered) = unknown
        {
            return self.wait_for_entry(io, slot, unanswered, max);
        }
        if gathered.count == 0 {
            match stopped {
                None => {}
                Some(Added::Missing(_)) if next > offset && filter.looks_at_records() => {
                    self.read_ahead(io, slot, next, limits.messages_max);
                }
                Some(Added::Missing(keys)) => {
                    let asked = self.cold.request(io, self.tokens, &self.segments, self.written, &keys);
                    return asked.map_or_else(Read::Failed, Read::Wait);
                }
                Some(Added::Failed(error)) => return Read::Failed(error),
                Some(_) => return self.removed(slot, next),
            }
        }
        if gathered.count > 0 {
            self.read_ahead(io, slot, next, limits.messages_max);
        }
        let records = gathered.finish(self);
        let status = if records.is_empty() { ReadStatus::NoMatchedMessage } else { ReadStatus::Found };
        let min = self.index.queue(slot).min_offset();
        let (count, bytes) = (gathered.count, gathered.bytes);
        Read::Ready(ReadResult { records, count, bytes, ..ReadResult::empty(status, next, min, max) })
    }

    /// Not even the first entry is at hand.
    fn wait_for_entry(&mut self, io: &mut dyn Io, slot: QueueSlot, unanswered: Unanswered, max: i64) -> Read {
        match unanswered {
            Unanswered::Missing(missing) => {
                let asked = self.reader.cache.request(io, self.tokens, missing);
                asked.map_or_else(Read::Failed, Read::Wait)
            }
            Unanswered::Failed(error) => Read::Failed(error),
            Unanswered::Gone(next) => {
                // Retention has just been here, and the queue did not know yet.
                self.index.raise_min(slot, next);
                Read::Ready(ReadResult::empty(ReadStatus::OffsetTooSmall, next, next, max))
            }
        }
    }

    /// The log no longer holds the record at `offset`, and the index is about to learn it.
    fn removed(&self, slot: QueueSlot, offset: i64) -> Read {
        let queue = self.index.queue(slot);
        let (min, max) = (queue.min_offset(), queue.max_offset());
        let next = min.max(offset + 1).min(max);
        Read::Ready(ReadResult::empty(ReadStatus::MessageWasRemoving, next, min, max))
    }

    fn add(&mut self, gathered: &mut Gathered, entry: &Entry, filter: &dyn RecordFilter) -> Added {
        let (from, to) = (entry.offset, entry.end());
        let (place, bytes) = if from >= self.tail.oldest() {
            let window =
                self.tail.locate(from).expect("the tail cache holds everything from its oldest record on");
            let bytes = filter.looks_at_records().then(|| self.tail.slice(window, from, to));
            (Some(Place::Tail(window)), bytes)
        } else {
            let (place, bytes) = match self.cold.fetch(&self.segments, from, to) {
                Fetch::Block(key, bytes) => (Some(Place::Cold(key)), bytes),
                Fetch::Copied(bytes) => (None, bytes),
                Fetch::Missing(keys) => return Added::Missing(keys),
                Fetch::Failed(error) => return Added::Failed(error),
                Fetch::Gone => return Added::Gone,
            };
            // Also of a record that will not be wanted: one damaged in its properties must not be passed over in silence.
            if let Err(error) = self.verify(&bytes, entry) {
                return Added::Failed(error);
            }
            (place, Some(bytes))
        };
        if filter.looks_at_records() {
            match RecordView::parse(bytes.as_deref().unwrap_or_default()) {
                Ok(record) if filter.wants(&record) => {}
                Ok(_) => return Added::Unwanted,
                Err(source) => {
                    let at = PhysicalOffset::new(self.shard, from);
                    return Added::Failed(ReadError::Damaged { at, source });
                }
            }
        }
        gathered.count += 1;
        gathered.bytes += entry.bytes as usize;
        match place {
            Some(place) => gathered.extend_run(self, place, from, to),
            None => {
                gathered.end_run(self);
                gathered.records.extend(bytes);
            }
        }
        Added::Yes
    }

    /// The visible record at that place of a queue, if the tail cache holds it.
    pub fn fresh_record(&mut self, topic: &str, queue_id: i32, queue_offset: i64) -> Option<Bytes> {
        let slot = self.index.find(topic, queue_id)?;
        let queue = self.index.queue(slot);
        if !(queue.min_offset()..queue.max_offset()).contains(&queue_offset) {
            return None;
        }
        let entry = self.reader.entry(&self.index, slot, queue_offset).ok()?;
        if entry.offset < self.tail.oldest() {
            return None;
        }
        let window = self.tail.locate(entry.offset)?;
        Some(self.tail.slice(window, entry.offset, entry.end()))
    }

    /// What came from disk must be the very record that was stored: every byte of it, its own position included.
    fn verify(&self, bytes: &[u8], entry: &Entry) -> Result<(), ReadError> {
        let found = crc32fast::hash(bytes);
        if found == entry.crc {
            return Ok(());
        }
        let at = PhysicalOffset::new(self.shard, entry.offset);
        Err(ReadError::Checksum { at, expected: entry.crc, found })
    }

    /// Asks for the blocks of the messages that this reader will want next. The index knows them, so nothing is guessed. Where
    /// the queues of a log alternate, one answer's messages lie in several blocks: the next two answers are read ahead.
    fn read_ahead(&mut self, io: &mut dyn Io, slot: QueueSlot, from: i64, messages: usize) {
        let soon = from.saturating_add(2 * messages.min(SCAN_ENTRIES_MAX) as i64);
        let end = self.index.queue(slot).max_offset().min(from.saturating_add(SCAN_ENTRIES_MAX as i64));
        let mut offset = from;
        for blocks in 0..READ_AHEAD_BLOCKS_MAX {
            if offset >= end || (blocks > READ_AHEAD_BLOCKS && offset >= soon) {
                return;
            }
            let found = self.reader.entry(&self.index, slot, offset).and_then(|entry| {
                if entry.offset >= self.tail.oldest() {
                    return Ok(None);
                }
                let Some(key) = self.cold.key(&self.segments, entry.offset) else { return Ok(None) };
                self.cold.prefetch(io, self.tokens, &self.segments, self.written, key);
                self.first_at(slot, offset, end, self.cold.end_of(&self.segments, key)).map(Some)
            });
            match found {
                Ok(Some(next)) => offset = next,
                Err(Unanswered::Missing(missing)) => {
                    return self.reader.cache.prefetch(io, self.tokens, missing);
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The first offset of a queue behind `low` whose record starts at `at` or later, `end` if there is none. Steps that
    /// double, then bisection: a block may hold one entry of the queue or hundreds.
    fn first_at(&mut self, slot: QueueSlot, low: i64, end: i64, at: LogOffset) -> Result<i64, Unanswered> {
        let (mut low, mut high, mut step) = (low, end, 1);
        while low + step < high {
            if self.reader.entry(&self.index, slot, low + step)?.offset >= at {
                high = low + step;
            } else {
                low += step;
                step *= 2;
            }
        }
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if self.reader.entry(&self.index, slot, middle)?.offset >= at {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }

    /// The record at a physical offset of this shard, acknowledged, whole and verified.
    pub fn record_at(&mut self, io: &mut dyn Io, physical_offset: PhysicalOffset) -> RecordRead {
        let at = physical_offset.log_offset();
        if physical_offset.shard() != self.shard || at < self.segments.start() || at >= self.acknowledged {
            return RecordRead::Missing;
        }
        if at >= self.tail.oldest() {
            let Some(window) = self.tail.locate(at) else { return RecordRead::Missing };
            return self.check_record(at, &self.tail.slice_to_end(window, at));
        }
        let segment_end = self.segments.find(at).expect("between the oldest segment and the end").end;
        let size = match self.fetch(io, at, at.plus(RECORD_BYTES_MIN).min(segment_end)) {
            Ok(start) => match RecordView::parse(&start) {
                Err(RecordError::Truncated { needed, .. }) => needed,
                _ => start.len(),
            },
            Err(answer) => return answer,
        };
        let end = at.plus(size);
        if size > self.config.record_bytes_max.max(RECORD_BYTES_MIN) || end > segment_end {
            return RecordRead::Missing;
        }
        match self.fetch(io, at, end) {
            Ok(bytes) => self.check_record(at, &bytes),
            Err(answer) => answer,
        }
    }

    fn fetch(&mut self, io: &mut dyn Io, from: LogOffset, to: LogOffset) -> Result<Bytes, RecordRead> {
        match self.cold.fetch(&self.segments, from, to) {
            Fetch::Block(_, bytes) | Fetch::Copied(bytes) => Ok(bytes),
            Fetch::Missing(keys) => {
                let asked = self.cold.request(io, self.tokens, &self.segments, self.written, &keys);
                Err(asked.map_or_else(RecordRead::Failed, RecordRead::Wait))
            }
            Fetch::Failed(error) => Err(RecordRead::Failed(error)),
            Fetch::Gone => Err(RecordRead::Missing),
        }
    }

    /// A record that says it starts at `at`. What does not is no record: the offset came from outside and may point anywhere.
    fn check_record(&self, at: LogOffset, bytes: &Bytes) -> RecordRead {
        let physical_offset = PhysicalOffset::new(self.shard, at);
        let Ok(record) = RecordView::parse(bytes) else { return RecordRead::Missing };
        if record.physical_offset() != physical_offset.signed()
            || at.plus(record.total_bytes()) > self.acknowledged
        {
            return RecordRead::Missing;
        }
        match record.check_crc() {
            Ok(()) => RecordRead::Ready(bytes.slice(..record.total_bytes())),
            Err(source) => RecordRead::Failed(ReadError::Damaged { at: physical_offset, source }),
        }
    }
}

impl Gathered {
    fn extend_run(&mut self, store: &Store, place: Place, from: LogOffset, to: LogOffset) {
        match &mut self.run {
            Some(run) if run.place == place && run.to == from => run.to = to,
            _ => {
                self.end_run(store);
                self.run = Some(Run { place, from, to });
            }
        }
    }

    fn end_run(&mut self, store: &Store) {
        let Some(run) = self.run.take() else { return };
        self.records.push(match run.place {
            Place::Tail(window) => store.tail.slice(window, run.from, run.to),
            Place::Cold(key) => store.cold.slice(key, run.from, run.to),
        });
    }

    fn finish(&mut self, store: &Store) -> Vec<Bytes> {
        self.end_run(store);
        std::mem::take(&mut self.records)
    }
}
