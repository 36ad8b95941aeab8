//! What opening a store found, for the operator.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::offset::LogOffset;

/// How the log ended when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailState {
    /// There was no log.
    Fresh,
    /// Closed in order.
    Clean,
    /// Not closed in order, but nothing lay behind the last whole batch.
    Killed,
    /// Remains of unacknowledged writes lay behind the last whole batch; they were zeroed.
    Torn,
}

/// What recovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Where the scan began: what is below was known from the index's newest run.
    pub scanned_from: LogOffset,
    /// Index runs that were missing or damaged, so that the log had to be scanned from before them.
    pub index_damaged: bool,
    /// Records scanned, without the store's own lists of queue ends.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Queues in the index.
    pub queues: usize,
    /// Start of the oldest segment.
    pub log_min: LogOffset,
    /// End of the log: where the next record goes.
    pub log_max: LogOffset,
    /// How the log ended.
    pub tail: TailState,
    /// Bytes zeroed or removed behind the end, in pages.
    pub truncated_bytes: u64,
    /// Records of whole batches among them. Never acknowledged under SYNC_FLUSH; under ASYNC_FLUSH, written after the last flush
    /// before a power cut.
    pub discarded_records: u64,
    /// What the process before this one had left in memory, see [`crate::StoreConfig::tail_cache_path`].
    pub tail_cache: TailCacheFound,
    /// Where the tail cache is from now on.
    pub tail_cache_use: TailCacheUse,
    /// How long it took.
    pub elapsed: Duration,
}

/// What became of the file in memory that the store's last life named as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailCacheFound {
    /// There was none: the store is new, was closed in order, kept none, or the machine was restarted since.
    Nothing,
    /// It was this store's.
    Used {
        /// Records that only it had; they are in the log on disk now.
        records: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes of the log that readers find in memory from the start.
        warm_bytes: u64,
        /// Memory was damaged: whole batches end at the first position, acknowledged ones at the second.
        lost: Option<(LogOffset, LogOffset)>,
    },
    /// It was not believed, and replaced.
    Refused(TailCacheRefusal),
}

/// Why a file in memory is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TailCacheRefusal {
    /// The store's own record of it is damaged.
    #[error("the store's file `tail-cache` is damaged, so that nothing can be known to belong to it")]
    Unknown,
    /// Its header is damaged.
    #[error("its header is damaged")]
    Damaged,
    /// Another version of RingMQ made it.
    #[error("it has format version {0}")]
    Version(u32),
    /// Its header does not fit its length.
    #[error("its layout does not fit its length")]
    Layout,
    /// Another store or shard fills it.
    #[error("it belongs to another store or shard")]
    OtherStore,
    /// The machine was restarted since.
    #[error("it is older than the machine's last start")]
    OtherBoot,
    /// The store was open without it since.
    #[error("it is left over from an earlier life of the store")]
    OtherLife,
}

/// Where the tail cache is, and with it what ASYNC_FLUSH answers wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailCacheUse {
    /// In a file in memory that outlives the process: acknowledged when sealed there.
    Mapped {
        /// The file.
        path: PathBuf,
    },
    /// In the process' own memory: acknowledged when written to the log.
    Memory {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for TailCacheUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped { path } => write!(f, "mapped {}", path.display()),
            Self::Memory { reason } => write!(f, "process memory: {reason}"),
        }
    }
}
