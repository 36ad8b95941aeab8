//! What can go wrong, by layer: opening, appending, reading, and the failure that poisons a log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ringmq_remoting::record::RecordError;

use crate::offset::{LogOffset, PhysicalOffset};

/// A [`crate::StoreConfig`] whose settings contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store configuration: {what}")]
pub struct ConfigError {
    /// Which relation does not hold.
    pub what: &'static str,
}

/// Why a store could not be opened. Nothing was changed unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Settings that contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process has the store.
    #[error("store {} is in use by another process (its lock file is held)", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The folder belongs to another shard: a store keeps its number of shards for life.
    #[error("store {} belongs to shard {found}, not to shard {expected}", dir.display())]
    WrongShard {
        /// The store's folder.
        dir: PathBuf,
        /// Shard in its checkpoint.
        found: u16,
        /// Shard that opened it.
        expected: u16,
    },
    /// The log is damaged where it was promised to be durable. It is left as it is.
    #[error("store {}: {corruption}", dir.display())]
    Corrupt {
        /// The store's folder.
        dir: PathBuf,
        /// Where and how.
        corruption: Corruption,
    },
    /// A file operation failed.
    #[error("store: {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Damage found in a log. The remedy is always the same: restore the segment from a copy, or give up what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The batch at `at` is not valid although the log was durable beyond it.
    #[error("log offset {at}: {cause}, but the log is known to be durable up to {durable}")]
    Durable {
        /// End of the valid part.
        at: LogOffset,
        /// Where the checkpoint says that the durable part ends.
        durable: LogOffset,
        /// What is wrong behind it.
        cause: String,
    },
    /// Valid batches follow too far behind an invalid one for a torn write to explain it.
    #[error(
        "log offset {at}: {cause}, but valid records follow up to {next}, beyond what one torn write explains"
    )]
    Inside {
        /// End of the valid part.
        at: LogOffset,
        /// A valid seal behind it.
        next: LogOffset,
        /// What is wrong behind it.
        cause: String,
    },
    /// A batch whose checksum is right does not fit what precedes it.
    #[error("log offset {at}: a record that is whole does not belong there: {cause}")]
    Inconsistent {
        /// The record.
        at: LogOffset,
        /// What does not fit.
        cause: String,
    },
    /// The tail cache that the process before left in memory begins behind the end of the log on disk, although it keeps everything that
    /// is not written.
    #[error(
        "log offset {at}: the log ends here, but it was written at least up to {oldest}: the tail cache in memory begins there"
    )]
    BeforeTailCache {
        /// End of the valid part.
        at: LogOffset,
        /// Start of what is in memory.
        oldest: LogOffset,
    },
    /// A segment is missing.
    #[error("log offset {at}: the segment that should start there is missing")]
    MissingSegment {
        /// First position that no file holds.
        at: LogOffset,
    },
}

impl Corruption {
    /// First bad position, and up to where it is known that records should be.
    #[must_use]
    pub fn range(&self) -> (LogOffset, LogOffset) {
        match self {
            Self::Durable { at, durable, .. } => (*at, *durable),
            Self::Inside { at, next, .. } => (*at, *next),
            Self::BeforeTailCache { at, oldest } => (*at, *oldest),
            Self::Inconsistent { at, .. } | Self::MissingSegment { at } => (*at, *at),
        }
    }
}

/// The step at which a log failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stage {
    /// Writing records.
    #[error("log write")]
    Write,
    /// Flushing written records.
    #[error("log flush")]
    Flush,
    /// Moving the checkpoint.
    #[error("checkpoint write")]
    Checkpoint,
}

/// The first failure of a write or flush. The log accepts nothing afterwards and acknowledges nothing more; what was acknowledged
/// can still be read. Remedy: repair the cause (space, device) and restart the broker, which reopens the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{stage} at log offset {at} failed: {source}; the log accepts nothing more until the store is reopened"
)]
pub struct StoreError {
    /// What failed.
    pub stage: Stage,
    /// Start of what was being written or flushed.
    pub at: LogOffset,
    /// The first error.
    pub source: Arc<io::Error>,
}

/// Why a record was not appended. Nothing was changed: the caller may answer at once.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Every block of the tail cache waits for the disk or is held by a slow reader. → SYSTEM_BUSY
    #[error("tail cache is full: {unwritten_bytes} bytes wait for the disk")]
    TailCacheFull {
        /// Appended and not yet written.
        unwritten_bytes: u64,
    },
    /// No memory for a block. → SYSTEM_BUSY
    #[error("no memory for a tail-cache block: {source}")]
    Memory {
        /// The allocator's answer.
        source: Arc<io::Error>,
    },
    /// The running segment is full and there is no space for another. → SERVICE_NOT_AVAILABLE
    #[error("no new segment can be made: {source}")]
    NoSegment {
        /// Why the last attempt failed; it is repeated every second.
        source: Arc<io::Error>,
    },
    /// The file system is fuller than [`crate::Retention::warning`] allows. → SERVICE_NOT_AVAILABLE
    #[error("the disk is used to {used:.2}, more than {limit:.2}: messages are refused until there is room")]
    DiskFull {
        /// The used part at the last look, 0 to 1.
        used: f64,
        /// The part from which on messages are refused.
        limit: f64,
    },
    /// The record or batch is larger than `record_bytes_max`, or its topic than the index can name. → MESSAGE_ILLEGAL
    #[error("{bytes} bytes exceed the record limit of {limit}")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The topic is one that the store keeps for itself. → MESSAGE_ILLEGAL
    #[error("the topic is reserved for the store")]
    ReservedTopic,
    /// The drafts of a batch do not share topic and queue, or there are none: the caller is wrong.
    #[error("a batch needs at least one record, all of one topic and queue")]
    MixedBatch,
    /// The log failed before. → the poison's text
    #[error(transparent)]
    Poisoned(#[from] StoreError),
    /// The store is closing.
    #[error("the store is closing")]
    Closing,
}

/// Why a record that the index names could not be read. Never answered with wrong bytes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("reading log offset {at}: {source}")]
    Io {
        /// Where.
        at: LogOffset,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// What the disk holds is not the record that the index names.
    #[error("record at {at} is damaged: CRC {found:#010x}, stored with {expected:#010x}")]
    Checksum {
        /// Its physical offset.
        at: PhysicalOffset,
        /// CRC-32 of the whole record when it was stored.
        expected: u32,
        /// Of the bytes read.
        found: u32,
    },
    /// What the disk holds says it is a record, but contradicts itself.
    #[error("record at {at} is damaged: {source}")]
    Damaged {
        /// Its physical offset.
        at: PhysicalOffset,
        /// What is wrong.
        source: RecordError,
    },
    /// A page of the queue index is not what was written. The log has everything: the next start makes the run again from it.
    #[error("the index run of log offset {at} is damaged at page {page}")]
    Index {
        /// Where the run starts in the log.
        at: LogOffset,
        /// Page of the run.
        page: u32,
    },
    /// What the disk holds is not the batch of records that was written.
    #[error("the log is damaged at {at}: {cause}")]
    Batch {
        /// Where the batch starts.
        at: LogOffset,
        /// What is wrong with it.
        cause: String,
    },
    /// Too many reads wait for the disk. → SYSTEM_BUSY
    #[error("too many reads wait for the disk")]
    Busy,
}
