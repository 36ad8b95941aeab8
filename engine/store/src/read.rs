//! The vocabulary of reading.

use bytes::Bytes;
use ringmq_remoting::record::RecordView;

use crate::error::ReadError;
use crate::limits::SCAN_ENTRIES_MAX;
use crate::offset::PhysicalOffset;

/// Which messages of a queue a reader wants. Asked in two steps: what the index can rule out is never looked at in the log.
///
/// A closure over tags codes is a filter that needs the index only.
pub trait RecordFilter {
    /// Whether a message with this tags code may be wanted.
    fn may_want(&self, tags_code: i64) -> bool;

    /// Whether [`RecordFilter::wants`] has the last word. If not, it is not asked.
    fn looks_at_records(&self) -> bool {
        false
    }

    /// Whether this record is wanted. It has been verified if it comes from disk.
    fn wants(&self, _record: &RecordView<'_>) -> bool {
        true
    }

    /// Index entries that one read may look at for it: fewer for filters whose answers are dear.
    fn entries_max(&self) -> usize {
        SCAN_ENTRIES_MAX
    }
}

impl<F: Fn(i64) -> bool> RecordFilter for F {
    fn may_want(&self, tags_code: i64) -> bool {
        self(tags_code)
    }
}

/// When a batch is full. The first matching message is always returned, whatever its size. Defaults as RocketMQ's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// `maxMsgNums` of the request.
    pub messages_max: usize,
    /// `maxTransferCountOnMessageInMemory`.
    pub memory_messages_max: usize,
    /// `maxTransferBytesOnMessageInMemory`.
    pub memory_bytes_max: usize,
    /// `maxTransferCountOnMessageInDisk`.
    pub disk_messages_max: usize,
    /// `maxTransferBytesOnMessageInDisk`.
    pub disk_bytes_max: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            messages_max: 32,
            memory_messages_max: 32,
            memory_bytes_max: 256 << 10,
            disk_messages_max: 8,
            disk_bytes_max: 64 << 10,
        }
    }
}

/// RocketMQ's read statuses, in its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStatus {
    /// At least one message.
    Found,
    /// The scanned entries do not match the filter.
    NoMatchedMessage,
    /// The offset is the next one to be written.
    OffsetOverflowOne,
    /// The offset lies beyond the next one.
    OffsetOverflowBadly,
    /// The offset lies before the oldest message.
    OffsetTooSmall,
    /// The queue holds nothing.
    NoMessageInQueue,
    /// There is no such queue.
    NoMatchedLogicQueue,
    /// The log no longer holds the bytes.
    MessageWasRemoving,
}

impl ReadStatus {
    /// The name that RocketMQ puts into the remark.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "FOUND",
            Self::NoMatchedMessage => "NO_MATCHED_MESSAGE",
            Self::OffsetOverflowOne => "OFFSET_OVERFLOW_ONE",
            Self::OffsetOverflowBadly => "OFFSET_OVERFLOW_BADLY",
            Self::OffsetTooSmall => "OFFSET_TOO_SMALL",
            Self::NoMessageInQueue => "NO_MESSAGE_IN_QUEUE",
            Self::NoMatchedLogicQueue => "NO_MATCHED_LOGIC_QUEUE",
            Self::MessageWasRemoving => "MESSAGE_WAS_REMOVING",
        }
    }
}

/// The answer to a read.
#[derive(Debug, Clone)]
pub struct ReadResult {
    /// What was found.
    pub status: ReadStatus,
    /// Where the consumer goes on.
    pub next_begin_offset: i64,
    /// Oldest offset of the queue (0 for an unknown queue).
    pub min_offset: i64,
    /// One past the newest visible offset (0 for an unknown queue).
    pub max_offset: i64,
    /// Runs of whole records in queue order, by reference; one element holds one or more records, so their concatenation is the
    /// body of a pull response.
    pub records: Vec<Bytes>,
    /// Number of records.
    pub count: usize,
    /// Sum of their sizes, bytes.
    pub bytes: usize,
}

impl ReadResult {
    pub(crate) fn empty(
        status: ReadStatus,
        next_begin_offset: i64,
        min_offset: i64,
        max_offset: i64,
    ) -> Self {
        Self { status, next_begin_offset, min_offset, max_offset, records: Vec::new(), count: 0, bytes: 0 }
    }
}

/// What [`crate::Store::read`] gives.
#[derive(Debug)]
pub enum Read {
    /// The answer.
    Ready(ReadResult),
    /// The disk is being asked: read again when [`crate::Store::take_completed_reads`] names the ticket.
    Wait(ReadTicket),
    /// The first record could not be read.
    Failed(ReadError),
}

/// What [`crate::Store::record_at`] gives.
#[derive(Debug)]
pub enum RecordRead {
    /// The whole record, verified.
    Ready(Bytes),
    /// No record starts there (or it is not acknowledged, or gone).
    Missing,
    /// As [`Read::Wait`].
    Wait(ReadTicket),
    /// It could not be read.
    Failed(ReadError),
}

/// What a question about the index gives.
#[derive(Debug)]
pub enum Lookup<T> {
    /// The answer.
    Ready(T),
    /// As [`Read::Wait`].
    Wait(ReadTicket),
    /// It could not be read.
    Failed(ReadError),
}

/// Names a read that waits for the disk. Never reused within a store's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ReadTicket(pub u64);

/// Which message answers a search by time (`boundaryType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Boundary {
    /// The first message stored at or after the time; max offset if there is none.
    #[default]
    Lower,
    /// The last message stored at or before the time; min offset if there is none.
    Upper,
}

/// One message of a queue, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Where its record is.
    pub physical_offset: PhysicalOffset,
    /// Size of the record.
    pub bytes: u32,
    /// Tag hash, or what the caller of append gave instead.
    pub tags_code: i64,
    /// When it was stored, ms since 1970.
    pub store_timestamp: i64,
}
