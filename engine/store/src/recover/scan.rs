//! Scanning the log and rebuilding the index from it.

use std::io;

use ringmq_reactor::{ShardId, TaskIo};
use ringmq_remoting::record::RecordView;

use super::reader::SegmentReader;
use super::walk::{Invalid, Step, step};
use super::{FoundSegment, Times};
use crate::config::{StoreConfig, TagsCodeOf};
use crate::deletion::DELETED_TOPIC_RECORDS;
use crate::ends::{self, QUEUE_ENDS_RECORDS, QueueEnd};
use crate::index::{Entry, Index};
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

/// The log as far as it has been scanned.
pub(crate) struct Scan {
    shard: ShardId,
    tags_code_of: TagsCodeOf,
    /// The log still has its first record: every queue starts at 0.
    from_the_start: bool,
    index: Index,
    head: LogOffset,
    /// End of the segment that is being scanned.
    segment_end: LogOffset,
    times: Times,
    records: u64,
    bytes: u64,
    /// Keys of what no key file holds.
    keys: Option<Tables>,
}

impl Scan {
    pub fn new(shard: ShardId, config: &StoreConfig, start: LogOffset) -> Self {
        Self {
            shard,
            tags_code_of: config.tags_code_of,
            from_the_start: start == LogOffset(0),
            index: Index::default(),
            head: start,
            segment_end: start,
            times: Times::default(),
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

    pub fn finish(self) -> (Index, Times, Option<Tables>) {
        (self.index, self.times, self.keys)
    }

    /// Scans a segment that starts at the head. `None`: whole, the log goes on in the next one; else why it ends inside.
    pub async fn segment(
        &mut self,
        io: &TaskIo,
        segment: &FoundSegment,
    ) -> Result<Option<Invalid>, ScanError> {
        assert_eq!(segment.start, self.head, "segments are scanned in order");
        if segment.start == segment.end {
            return Ok(Some(Invalid::Zeros));
        }
        self.segment_end = segment.end;
        let mut reader = SegmentReader::new(io, segment.file, segment.end.since(segment.start));
        loop {
            let left = segment.end.since(self.head);
            match step(reader.bytes(), self.head, left) {
                Step::Batch { record_bytes, .. } => {
                    self.batch(&reader.bytes()[..record_bytes])?;
                    reader.consume(record_bytes + SEAL_BYTES);
                }
                Step::Blank => {
                    self.skip_to(segment.end);
                    return Ok(None);
                }
                Step::More => {
                    if !reader.more().await.map_err(ScanError::Io)? {
                        return Ok(Some(Invalid::SegmentEnd));
                    }
                }
                Step::Stop(invalid) => return Ok(Some(invalid)),
            }
        }
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
            self.index.remove_topic(topic);
            return Ok(());
        }
        if !is_indexed(record.sys_flag()) {
            return Ok(());
        }
        let (topic, queue_id, found) = (record.topic(), record.queue_id(), record.queue_offset());
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
        let slot = known.unwrap_or_else(|| self.index.find_or_insert(topic, queue_id, found));
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
            let slot = known.unwrap_or_else(|| self.index.find_or_insert(topic, queue_id, next_offset));
            self.index.queue_mut(slot).end_is_written_at(at);
        }
        Ok(())
    }
}

fn inconsistent(at: LogOffset, cause: impl ToString) -> ScanError {
    ScanError::Inconsistent { at, cause: cause.to_string() }
}
