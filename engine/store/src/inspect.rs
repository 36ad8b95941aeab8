//! Looking at a shard's store without opening it: nothing is written, nothing is repaired. For tools; runs as a task.
//!
//! There is no second reading of the format here, nor a second judgement: files are found, batches taken and ends judged by the code of
//! recovery, told to change nothing. What this module adds is going on behind damage, and saying where it lies.
//!
//! [`Inspection::open`] holds the store's lock: a store that a broker has open is refused, since its end is being written.

mod verify;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use ringmq_reactor::{ShardId, TaskIo};
use ringmq_remoting::record::RecordView;

pub use crate::checkpoint::{Checkpoint, FlushKind};
pub use verify::{Finding, IndexFigures, KeyFigures, Severity, Verification};
pub use walk::{LogWalk, Piece};

use std::sync::Arc;

use crate::config::StoreConfig;
use crate::error::OpenError;
use crate::offset::LogOffset;
use crate::recover::{Access, Files, Recovery};
use crate::report::RecoveryReport;
use crate::store::QueueInfo;

pub use crate::store::{is_indexed, is_own_topic};

/// The topic whose deletion a record is; `None` for every other record.
#[must_use]
pub fn deleted_topic<'a>(record: &RecordView<'a>) -> Option<&'a str> {
    let is_deletion = record.topic() == crate::deletion::DELETED_TOPIC_RECORDS;
    is_deletion.then(|| std::str::from_utf8(record.body()).ok()).flatten()
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Position of its first byte in the log; its name says the same.
    pub start: LogOffset,
    /// End of its whole pages.
    pub end: LogOffset,
    /// Where it is.
    pub path: PathBuf,
}

/// What recovery would say and do.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// As [`crate::Store::open`] would give it; nothing has been truncated, and nothing appended of what only the tail cache has.
    pub report: RecoveryReport,
    /// End of the log on disk.
    pub disk_end: LogOffset,
    /// The file in memory that the store's last life filled, if its folder names one.
    pub tail_file: Option<PathBuf>,
    /// Why that cannot be looked at: what only it has is in no figure then. Recovery would fail.
    pub tail_error: Option<String>,
    /// All queues, sorted by topic and queue.
    pub queues: Vec<QueueInfo>,
}

/// One shard's folder, open for reading only. Close it with [`Inspection::close`].
#[derive(Debug)]
pub struct Inspection {
    io: TaskIo,
    shard: ShardId,
    config: StoreConfig,
    files: Files,
    open: Vec<ringmq_reactor::FileId>,
}

impl Inspection {
    /// Opens the folder of one shard (the one that holds `log/`). `shard`: which it should be; `None`: the one its checkpoint
    /// names, 0 without a checkpoint.
    ///
    /// # Errors
    /// [`OpenError::Locked`], [`OpenError::WrongShard`], [`OpenError::Io`].
    pub async fn open(
        io: TaskIo,
        dir: impl Into<PathBuf>,
        shard: Option<ShardId>,
    ) -> Result<Self, OpenError> {
        let config = StoreConfig::new(dir, 0);
        let mut recovery = Recovery::new(&io, shard.unwrap_or(ShardId(0)), &config, Access::Look);
        let files = match recovery.files().await {
            Ok(files) => files,
            Err(error) => {
                recovery.close_all().await;
                return Err(error);
            }
        };
        let open = recovery.open;
        let named = files.newest_checkpoint.map(|checkpoint| ShardId(checkpoint.shard));
        let shard = shard.or(named).unwrap_or(ShardId(0));
        Ok(Self { io, shard, config, files, open })
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The newest valid checkpoint; `None`: missing or damaged.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.files.newest_checkpoint
    }

    /// The files of the log, in order. The last may be ahead of the log's end.
    pub fn segments(&self) -> impl Iterator<Item = SegmentInfo> + '_ {
        let recovery = self.recovery();
        self.files.segments.iter().map(move |segment| SegmentInfo {
            start: segment.start,
            end: segment.end,
            path: recovery.path(segment.start),
        })
    }

    /// Asks recovery.
    ///
    /// # Errors
    /// As [`crate::Store::open`].
    pub async fn forecast(&self) -> Result<Forecast, OpenError> {
        let started = self.io.now();
        let mut recovery = self.recovery();
        let mut examined = recovery.examine(&self.files, None, None).await?;
        let mut report = examined.report(Duration::ZERO);
        let disk_end = examined.head();
        let tail = recovery.look_at_tail(&mut examined).await;
        recovery.close_all().await;
        let (mut tail_file, mut tail_error) = (None, None);
        match tail {
            Ok((found, file)) => (report.tail_cache, tail_file) = (found, file),
            Err(OpenError::Io { source, action, path }) => {
                tail_error = Some(format!("cannot {action} {}: {source}", path.display()));
            }
            Err(corrupt) => return Err(corrupt),
        }
        examined.continued(&mut report);
        report.elapsed = self.io.now().since(started);
        let mut index = examined.into_index();
        index.reveal_all();
        let queues = index.sorted().into_iter().map(|queue| QueueInfo {
            topic: Arc::clone(queue.topic()),
            queue_id: queue.queue_id(),
            min_offset: queue.min_offset(),
            max_offset: queue.max_offset(),
            newest_store_time: queue.newest_time(),
        });
        Ok(Forecast { report, disk_end, tail_file, tail_error, queues: queues.collect() })
    }

    /// Goes through the log batch by batch, from the segment that holds `from` on (from the oldest one if none does).
    #[must_use]
    pub fn walk(&self, from: LogOffset) -> LogWalk<'_> {
        LogWalk::new(self, from)
    }

    /// Reads everything and compares; see [`Verification`].
    ///
    /// # Errors
    /// When files cannot be read. What is wrong in them is no error.
    pub async fn verify(&self) -> Result<Verification, OpenError> {
        verify::verify(self).await
    }

    /// Closes the files and gives the lock back.
    pub async fn close(self) {
        let mut recovery = self.recovery();
        recovery.open.clone_from(&self.open);
        recovery.close_all().await;
    }

    fn recovery(&self) -> Recovery<'_> {
        Recovery::new(&self.io, self.shard, &self.config, Access::Look)
    }

    /// Nothing was ever written at or above: what a search behind damage goes by.
    fn search_limit(&self, head: LogOffset) -> LogOffset {
        let end = self.files.segments.last().map_or(LogOffset(0), |segment| segment.end);
        self.checkpoint().map_or(end, |known| known.written_max.max(head.page_ceil()))
    }
}
