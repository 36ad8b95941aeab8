//! Scanning the log and rebuilding the index from it.

use std::io;

use ringmq_reactor::{ShardId, TaskIo};
use ringmq_remoting::record::RecordView;

use super::reader::SegmentReader;
use super::walk::{Invalid, Step, step};
use super::{FoundSegment, Times};
use crate::ages::Ages;
use crate::config::{StoreConfig, TagsCodeOf};
use crate::deletion::DELETED_TOPIC_RECORDS;
use crate::ends::{self, QUEUE_ENDS_RECORDS, QueueEnd};
use crate::index::format::ROW_TOPIC_BYTES_MAX;
use crate::index::runs::{INDEX_DIR, Runs};
use crate::index::{Entry, Index, QueueSlot};
use crate::keys::{RecordKeys, Tables};
use crate::offset::{LogOffset, PhysicalOffset};
use crate::seal::SEAL_BYTES;
use crate::store::is_indexed;

#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// A record of a whole batch contradicts the log before it.
    Inconsistent {
        at: LogOffset,
        cause: String,
    },
}

/// How the scan of a segment ended.
#[derive(Debug)]
pub(crate) enum Scanned {
    /// At its end: the log goes on in the next one.
    Whole,
    /// Where it was to pause.
    Paused,
    /// The log ends inside.
    Stopped(Invalid),
}

/// The log as far as it has been scanned.
pub(crate) struct Scan {
    shard: ShardId,
    tags_code_of: TagsCodeOf,
    /// The log still has its first record: every queue starts at 0.
    from_the_start: bool,
    pub(super) index: Index,
    /// Runs that hold what is below their end.
    pub(super) runs: Runs,
    head: LogOffset,
    /// End of the segment that is being scanned.
    segment_end: LogOffset,
    pub(super) times: Times,
    records: u64,
    bytes: u64,
    /// Keys of what no key file holds.
    keys: Option<Tables>,
}

impl Scan {
    /// Knows nothing of the log, which starts at `start`.
    pub fn new(shard: ShardId, config: &StoreConfig, start: LogOffset) -> Self {
        let runs = Runs::new(config.dir.join(INDEX_DIR), start);
        Self::behind(shard, config, start, Index::default(), runs)
    }

    /// Goes on behind the runs, whose end `index` describes, of a log that starts at `start`.
    pub fn behind(shard: ShardId, config: &StoreConfig, start: LogOffset, index: Index, runs: Runs) -> Self {
        let newest = runs.last().map_or(0, |run| run.header.newest_time);
        Self {
            shard,
            tags_code_of: config.tags_code_of,
            from_the_start: start == LogOffset(0),
            index,
            head: runs.end(),
            runs,
            segment_end: start,
            times: Times { ages: Ages::default(), newest },
            records: 0,
            bytes: 0,
            keys: None,
        }
    }

    /// Collects keys from now on.
    pub fn index_keys(&mut self, tables: Tables) {
        self.keys = Some(tables);
    }

    /// End of the last whole batch (or of the last whole segment).
    pub fn head(&self) -> LogOffset {
        self.head
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Store time of the newest record.
    pub fn newest_time(&self) -> i64 {
        self.times.newest
    }

    /// What lies below `to` is in a run, and so are the times of its records, up to `newest_time`.
    pub fn mark_indexed(&mut self, to: LogOffset, newest_time: i64) {
        self.times.newest = self.times.newest.max(newest_time);
        for slot in (0..self.index.slot_end()).map(QueueSlot) {
            if let Some(count) = self.index.get(slot).map(|queue| queue.count_below(to)) {
                self.index.mark_indexed(slot, count, LogOffset(u64::MAX));
            }
        }
        self.index.reap(to);
    }

    pub fn finish(self) -> (Index, Runs, Times, Option<Tables>) {
        (self.index, self.runs, self.times, self.keys)
    }

    /// Scans the segment that the head is in, from there on, until the head has reached `pause_at`.
    pub async fn segment(
        &mut self,
        io: &TaskIo,
        segment: &FoundSegment,
        pause_at: LogOffset,
    ) -> Result<Scanned, ScanError> {
        assert!(segment.start <= self.head && self.head <= segment.end, "{segment:?} at {}", self.head);
        if segment.start == segment.end {
            return Ok(Scanned::Stopped(Invalid::Zeros));
        }
        self.segment_end = segment.end;
        let page = self.head.page_floor();
        let left = segment.end.since(page);
        let mut reader = SegmentReader::from(io, segment.file, left, page.since(segment.start));
        if self.head > page {
            if !reader.more().await.map_err(ScanError::Io)? {
                return Ok(Scanned::Stopped(Invalid::SegmentEnd));
            }
            reader.consume(usize::try_from(self.head.since(page)).expect("below a page"));
        }
        while self.head < pause_at {
            let left = segment.end.since(self.head);
            match step(reader.bytes(), self.head, left) {
                Step::Batch { record_bytes, .. } => {
                    self.batch(&reader.bytes()[..record_bytes])?;
                    reader.consume(record_bytes + SEAL_BYTES);
                }
                Step::Blank => {
                    self.skip_to(segment.end);
                    return Ok(Scanned::Whole);
                }
                Step::More => {
                    if !reader.more().await.map_err(ScanError::Io)? {
                        return Ok(Scanned::Stopped(Invalid::SegmentEnd));
                    }
                }
                Step::Stop(invalid) => return Ok(Scanned::Stopped(invalid)),
            }
        }
        Ok(Scanned::Paused)
    }

    /// Batches that follow lie in the segment that ends there.
    pub fn enter_segment(&mut self, end: LogOffset) {
        self.segment_end = end;
    }

    /// Goes on behind a blank.
    pub fn skip_to(&mut self, segment: LogOffset) {
        self.head = segment;
        if let Some(keys) = &mut self.keys {
            keys.rotate(segment);
        }
    }

    /// Indexes the records of a whole batch that starts at the head, and moves the head behind its seal.
    pub fn batch(&mut self, mut bytes: &[u8]) -> Result<(), ScanError> {
        let mut at = self.head;
        while !bytes.is_empty() {
            let record = RecordView::parse(bytes).map_err(|error| inconsistent(at, error))?;
            self.record(&record, at)?;
            bytes = &bytes[record.total_bytes()..];
            at = at.plus(record.total_bytes());
        }
        self.head = at.plus(SEAL_BYTES);
        if let Some(keys) = &mut self.keys {
            keys.batch_ended(self.head);
        }
        Ok(())
    }

    fn record(&mut self, record: &RecordView<'_>, offset: LogOffset) -> Result<(), ScanError> {
        let expected = PhysicalOffset::new(self.shard, offset).signed();
        if record.physical_offset() != expected {
            let found = record.physical_offset();
            return Err(inconsistent(offset, format!("physical offset {found} instead of {expected}")));
        }
        if record.topic() == QUEUE_ENDS_RECORDS {
            // It may be all that is left of the queues' times.
            self.times.newest = self.times.newest.max(record.store_timestamp());
            return self.queue_ends(record.body(), offset);
        }
        self.records += 1;
        self.bytes += record.total_bytes() as u64;
        // Bisection by time relies on this; appends keep to it.
        let store_timestamp = record.store_timestamp().max(self.times.newest);
        self.times.newest = store_timestamp;
        self.times.ages.note(self.segment_end, store_timestamp);
        if let Some(keys) = &mut self.keys {
            let properties = record.properties();
            let found = RecordKeys::of(record.sys_flag(), &properties);
            keys.add(record.topic(), found, offset, store_timestamp);
        }
        if record.topic() == DELETED_TOPIC_RECORDS {
            let topic = std::str::from_utf8(record.body()).map_err(|error| inconsistent(offset, error))?;
            self.index.remove_topic(topic, offset);
            return Ok(());
        }
        if !is_indexed(record.sys_flag()) {
            return Ok(());
        }
        let (topic, queue_id, found) = (record.topic(), record.queue_id(), record.queue_offset());
        if topic.len() > ROW_TOPIC_BYTES_MAX {
            return Err(inconsistent(offset, format!("a topic of {} bytes", topic.len())));
        }
        let known = self.index.find(topic, queue_id);
        let expected = match known {
            Some(slot) => self.index.queue(slot).next_offset(),
            // Older segments may be gone, and with them the beginning of the queue.
            None if self.from_the_start => 0,
            None => found,
        };
        if found != expected || found < 0 {
            let cause = format!("queue offset {found} instead of {expected} in {topic} queue {queue_id}");
            return Err(inconsistent(offset, cause));
        }
        let slot = known.unwrap_or_else(|| self.index.find_or_insert(topic, queue_id, found, offset));
        let entry = Entry {
            offset,
            bytes: u32::try_from(record.total_bytes()).expect("its size field has 32 bits"),
            crc: crc32fast::hash(record.bytes()),
            tags_code: (self.tags_code_of)(record),
            store_timestamp,
        };
        self.index.push(slot, entry);
        Ok(())
    }
}

impl Scan {
    /// Queues that may have nothing else left in the log.
    fn queue_ends(&mut self, body: &[u8], at: LogOffset) -> Result<(), ScanError> {
        for end in ends::read(body) {
            let Some(QueueEnd { topic, queue_id, next_offset }) = end else {
                return Err(inconsistent(at, "a list of queue ends that cannot be read"));
            };
            let known = self.index.find(topic, queue_id);
            let expected = known.map(|slot| self.index.queue(slot).next_offset());
            if next_offset < 0 || expected.map_or(self.from_the_start, |expected| expected != next_offset) {
                let cause = format!("{topic} queue {queue_id} ends at {expected:?}, not at {next_offset}");
                return Err(inconsistent(at, cause));
            }
            let slot = known.unwrap_or_else(|| self.index.find_or_insert(topic, queue_id, next_offset, at));
            self.index.queue_mut(slot).end_is_written_at(at);
        }
        Ok(())
    }
}

fn inconsistent(at: LogOffset, cause: impl ToString) -> ScanError {
    ScanError::Inconsistent { at, cause: cause.to_string() }
}
