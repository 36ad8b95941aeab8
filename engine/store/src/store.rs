//! The store itself.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{FileValue, Io, ShardId, TaskIo, Token};
use ringmq_remoting::record::RecordDraft;

use crate::config::StoreConfig;
use crate::error::{AppendError, OpenError, StoreError};
use crate::offset::{LogOffset, PhysicalOffset};
use crate::read::{Boundary, IndexEntry, Read, ReadLimits, ReadTicket, RecordRead};
use crate::stats::StoreStats;

/// Where an appended record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in its queue.
    pub queue_offset: i64,
    /// Its place in the log, as clients see it.
    pub physical_offset: PhysicalOffset,
    /// End of the record: it is acknowledged when [`Store::acknowledged`] reaches this.
    pub end: LogOffset,
    /// Assigned at append, ms since 1970; never goes back within a log.
    pub store_timestamp: i64,
}

/// A record that became visible to readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its queue.
    pub queue_id: i32,
    /// Its place in the queue; the queue's max offset is now at least one more.
    pub queue_offset: i64,
    /// As given to append.
    pub tags_code: i64,
    /// When it was stored.
    pub store_timestamp: i64,
}

/// One queue of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// Topic.
    pub topic: Arc<str>,
    /// Queue.
    pub queue_id: i32,
    /// Oldest offset.
    pub min_offset: i64,
    /// One past the newest visible offset.
    pub max_offset: i64,
    /// Store time of the newest visible record, ms; 0 if there is none.
    pub newest_store_time: i64,
}

/// How the log ended when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailState {
    /// There was no log.
    Fresh,
    /// Closed in order.
    Clean,
    /// Not closed in order, but nothing lay behind the last valid record.
    Killed,
    /// Remains of unacknowledged writes lay behind the last valid record; they were zeroed.
    Torn,
}

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Valid records scanned.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Queues in the rebuilt index.
    pub queues: usize,
    /// Start of the oldest segment.
    pub log_min: LogOffset,
    /// End of the log: where the next record goes.
    pub log_max: LogOffset,
    /// How the log ended.
    pub tail: TailState,
    /// Bytes zeroed behind the end.
    pub truncated_bytes: u64,
    /// Whole valid records among them. They were never acknowledged at the flush level of the store.
    pub discarded_records: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// One shard's storage. Lives on the shard's thread; see the crate's text for how it is driven.
pub struct Store {
    _skeleton: (),
}

#[allow(unused_variables, reason = "skeleton")]
impl Store {
    /// Opens (or makes) the store: locks it, scans the log, rebuilds the index, makes the end safe to append to. Runs as a task.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        io: TaskIo,
        shard: ShardId,
        config: StoreConfig,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        todo!()
    }

    /// Appends one record and indexes it (unless its transaction type is prepared or rollback). The reply may go when
    /// [`Store::acknowledged`] reaches `end`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn append(
        &mut self,
        io: &mut dyn Io,
        draft: &RecordDraft<'_>,
        tags_code: i64,
    ) -> Result<Appended, AppendError> {
        todo!()
    }

    /// Appends records of one topic and queue with consecutive offsets into one segment, all or none. `appended` is cleared and
    /// then holds one element for each. Together they are bounded by `record_bytes_max`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn append_batch(
        &mut self,
        io: &mut dyn Io,
        drafts: &[(RecordDraft<'_>, i64)],
        appended: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        todo!()
    }

    /// Starts the write of what was appended, and background work that is due. Call at the end of every turn.
    pub fn end_of_turn(&mut self, io: &mut dyn Io) {
        todo!()
    }

    /// Completion of a file operation whose token carries the store's owner byte.
    pub fn on_file(&mut self, io: &mut dyn Io, token: Token, result: io::Result<FileValue>) {
        todo!()
    }

    /// Timer whose token carries the store's owner byte.
    pub fn on_timer(&mut self, io: &mut dyn Io, token: Token) {
        todo!()
    }

    /// Replies for records that end at or below this may go; readers see nothing beyond it.
    #[must_use]
    pub fn acknowledged(&self) -> LogOffset {
        todo!()
    }

    /// End of what was appended.
    #[must_use]
    pub fn appended(&self) -> LogOffset {
        todo!()
    }

    /// End of what survives a killed process.
    #[must_use]
    pub fn written(&self) -> LogOffset {
        todo!()
    }

    /// End of what survives a power cut.
    #[must_use]
    pub fn durable(&self) -> LogOffset {
        todo!()
    }

    /// The failure that ended this log, if any.
    #[must_use]
    pub fn poisoned(&self) -> Option<&StoreError> {
        todo!()
    }

    /// Moves the records that became visible since the last call into `arrivals` (appended), in log order.
    pub fn take_arrivals(&mut self, arrivals: &mut Vec<Arrival>) {
        todo!()
    }

    /// Reads messages of a queue from `offset` whose tags code passes `filter`.
    pub fn read(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
        offset: i64,
        limits: ReadLimits,
        filter: &dyn Fn(i64) -> bool,
    ) -> Read {
        todo!()
    }

    /// Moves the tickets whose reads can be repeated now into `tickets` (appended).
    pub fn take_completed_reads(&mut self, tickets: &mut Vec<ReadTicket>) {
        todo!()
    }

    /// The record at a physical offset of this shard, acknowledged, whole and verified.
    pub fn record_at(&mut self, io: &mut dyn Io, physical_offset: PhysicalOffset) -> RecordRead {
        todo!()
    }

    /// Oldest offset of a queue; `None` if it is unknown.
    #[must_use]
    pub fn min_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        todo!()
    }

    /// One past the newest visible offset of a queue; `None` if it is unknown.
    #[must_use]
    pub fn max_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        todo!()
    }

    /// Search by store time, see [`Boundary`]; clamped to [min, max]. `None` if the queue is unknown; 0 if it is empty.
    #[must_use]
    pub fn offset_by_time(
        &self,
        topic: &str,
        queue_id: i32,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Option<i64> {
        todo!()
    }

    /// Store time of the oldest visible message of a queue, ms; `None` if there is none.
    #[must_use]
    pub fn earliest_store_time(&self, topic: &str, queue_id: i32) -> Option<i64> {
        todo!()
    }

    /// Store time of the oldest record of the log, ms; `None` if the log is empty.
    #[must_use]
    pub fn log_earliest_store_time(&self) -> Option<i64> {
        todo!()
    }

    /// What the index knows of one visible message.
    #[must_use]
    pub fn entry(&self, topic: &str, queue_id: i32, offset: i64) -> Option<IndexEntry> {
        todo!()
    }

    /// Removes a topic's queues from the index, durably: the deletion is itself a record of the log. The answer may go when
    /// [`Store::acknowledged`] reaches the returned offset. A topic made again under the name starts at offset 0.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn delete_topic(&mut self, io: &mut dyn Io, topic: &str) -> Result<LogOffset, AppendError> {
        todo!()
    }

    /// All queues, sorted by topic and queue.
    pub fn queues(&self) -> impl Iterator<Item = QueueInfo> + '_ {
        std::iter::empty()
    }

    /// Start of the oldest segment.
    #[must_use]
    pub fn log_min(&self) -> LogOffset {
        todo!()
    }

    /// End of what readers may see, in the form that clients know.
    #[must_use]
    pub fn log_max(&self) -> LogOffset {
        todo!()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        todo!()
    }

    /// Asks for the room on the file system; the answer lands in [`StoreStats::space`].
    pub fn refresh_space(&mut self, io: &mut dyn Io) {
        todo!()
    }

    /// Ends the store in order: refuses appends, writes and flushes everything, marks the log closed, closes the files.
    /// Keep calling [`Store::on_file`], [`Store::on_timer`] and [`Store::end_of_turn`] until [`Store::is_closed`].
    pub fn begin_close(&mut self, io: &mut dyn Io) {
        todo!()
    }

    /// Whether [`Store::begin_close`] has run to its end. A poisoned store closes without the mark.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        todo!()
    }
}
