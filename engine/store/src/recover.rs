//! Opening a store: what the log holds, and making its end safe to append to.
//!
//! ```text
//!   lock ─→ checkpoint ─→ newest index run ─→ scan behind it batch by batch ─→ first batch that is not whole: the end
//!        ─→ look behind the end, as far as anything was ever written ─→ judge ─→ cut ─→ persist
//!        ─→ new checkpoint
//! ```
//!
//! The judgement. Let `T` be the end of the last whole batch, `durable` and `written_max` what the checkpoint says.
//! - `T < durable`: records are missing that were certainly on the disk: **corruption**.
//! - The store was closed in order: any whole batch behind `T` is corruption.
//! - SYNC_FLUSH: one write was in flight, so remains of it end within `torn_window` behind `T`: a whole batch beyond that is
//!   **corruption**; whatever lies within was never acknowledged: a **torn tail**.
//! - ASYNC_FLUSH: a power cut may take back any page since the last flush and leave later ones, so everything up to `written_max`
//!   may be remains: a torn tail. What it loses was never promised to survive that.
//!
//! Corruption is reported and the store left as it is. A torn tail is cut: later segments are removed, newest first, and every page
//! behind `T` that is not zero is zeroed, durably, before the first append, so that no remains can ever be met again behind new
//! records. A crash while cutting leaves a log that ends at `T` or before: the next recovery cuts again.
//!
//! What lies between `durable` and `T` was read, but that says nothing about the media: it may come from a cache behind which a flush
//! has failed, and a second flush that succeeds proves nothing. So it is written again, in place and with the same bytes, and
//! flushed, before the new checkpoint calls it durable.
//!
//! A process that was killed may have left the newest part of the log in memory ([`memory`]): it is appended then, before the new
//! checkpoint.

mod cut;
mod image;
pub(crate) mod index;
mod memory;
pub(crate) mod reader;
mod repair;
pub(crate) mod scan;
pub(crate) mod stray;
pub(crate) mod walk;

pub(crate) use reader::SegmentReader;
pub(crate) use walk::{Step, step};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::{FileId, OpenOptions, PAGE_BYTES, ShardId, TaskIo, WriteData};

use crate::ages::Ages;
use crate::checkpoint::{self, Checkpoint, FlushKind};
use crate::config::{Flush, StoreConfig};
use crate::error::{Corruption, OpenError};
use crate::index::Index;
use crate::index::runs::Runs;
use crate::indexing::run_bytes;
use crate::keys::{FoundRuns, KEYS_DIR, Tables};
use crate::offset::LogOffset;
use crate::report::{RecoveryReport, TailCacheFound, TailCacheUse, TailState};
use crate::segments::{LOG_DIR, Segments, parse_name};
use crate::spares::is_spare;
use crate::tail::TailStart;
use index::Loaded;
use memory::Continued;
use scan::{Scan, Scanned};
use stray::{Strays, Until};

/// Store times of the records.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub ages: Ages,
    pub newest: i64,
}

/// Everything a store starts with.
pub(crate) struct Recovered {
    pub lock: FileId,
    pub checkpoint_file: FileId,
    pub checkpoint: Checkpoint,
    pub segments: Segments,
    /// Old segments that can be used again.
    pub spares: Vec<PathBuf>,
    pub index: Index,
    pub runs: Runs,
    pub head: LogOffset,
    pub tail: TailStart,
    pub times: Times,
    /// Absent if keys are not indexed.
    pub keys: Option<(FoundRuns, Tables)>,
    pub report: RecoveryReport,
}

/// A segment file as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundSegment {
    pub start: LogOffset,
    /// End of its whole pages.
    pub end: LogOffset,
    pub file: FileId,
}

/// Attaches to an I/O error what was attempted on what.
pub(crate) fn failed(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.into();
    move |source| OpenError::Io { action, path, source }
}

/// What runs know of the ages of segments.
fn ages(runs: &Runs, segments: &[FoundSegment]) -> Ages {
    let mut ages = Ages::default();
    for run in runs.iter() {
        let place = segments.partition_point(|segment| segment.end <= run.header.from);
        let segment = segments.get(place).expect("runs lie in segments");
        ages.note(segment.end, run.header.base_time);
        ages.note(segment.end, run.header.newest_time);
    }
    ages
}

/// See the module's text.
pub(crate) async fn recover(
    io: &TaskIo,
    shard: ShardId,
    config: &StoreConfig,
) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery::new(io, shard, config, Access::Repair);
    let result = recovery.run().await;
    if result.is_err() {
        recovery.close_all().await;
    }
    result
}

/// What recovery may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Make what is missing, cut what is torn.
    Repair,
    /// Look and judge; change nothing (see [`crate::inspect`]).
    Look,
}

/// The files of a store. Without a lock or a checkpoint only when they are missing and [`Access::Look`] forbids to make them.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    lock: Option<FileId>,
    checkpoint: Option<FileId>,
    pub newest_checkpoint: Option<Checkpoint>,
    pub segments: Vec<FoundSegment>,
}

/// What the files say and how it is judged, before anything of the log is changed.
pub(crate) struct Examined {
    known: Checkpoint,
    /// There is no store yet.
    fresh: bool,
    found: Vec<FoundSegment>,
    /// The place in `found` of the segment that the log ends in, or of the first one behind its end.
    at: usize,
    scan: Scan,
    scanned_from: LogOffset,
    index_damaged: bool,
    strays: Strays,
}

impl Examined {
    pub fn report(&self, elapsed: Duration) -> RecoveryReport {
        let head = self.scan.head();
        RecoveryReport {
            scanned_from: self.scanned_from,
            index_damaged: self.index_damaged,
            records: self.scan.records(),
            bytes: self.scan.bytes(),
            queues: self.scan.index().queue_count(),
            log_min: self.found.first().map_or(head, |s| s.start),
            log_max: head,
            tail: match (self.fresh, !self.strays.dirty.is_empty(), self.known.closed) {
                (true, ..) => TailState::Fresh,
                (_, true, _) => TailState::Torn,
                (_, _, true) => TailState::Clean,
                _ => TailState::Killed,
            },
            truncated_bytes: self.strays.dirty_bytes(),
            discarded_records: self.strays.records,
            tail_cache: TailCacheFound::Nothing,
            tail_cache_use: TailCacheUse::Memory { reason: "the store is not open".into() },
            elapsed,
        }
    }

    /// End of the log as far as it was read.
    pub fn head(&self) -> LogOffset {
        self.scan.head()
    }

    /// Adds to a report what came from memory since.
    pub fn continued(&self, report: &mut RecoveryReport) {
        report_continued(report, &self.scan, &self.strays);
    }

    /// The index that recovery would go on with.
    pub fn into_index(self) -> Index {
        self.scan.finish().0
    }
}

/// The log was continued from memory up to the scan's head.
fn report_continued(report: &mut RecoveryReport, scan: &Scan, strays: &Strays) {
    (report.records, report.bytes, report.log_max) = (scan.records(), scan.bytes(), scan.head());
    report.queues = scan.index().queue_count();
    if strays.last_seal.is_none_or(|last| last < scan.head()) {
        // They were in memory, too.
        report.discarded_records = 0;
    }
}

pub(crate) struct Recovery<'a> {
    io: &'a TaskIo,
    shard: ShardId,
    config: &'a StoreConfig,
    access: Access,
    /// To be closed if recovery fails.
    pub open: Vec<FileId>,
}

impl<'a> Recovery<'a> {
    pub fn new(io: &'a TaskIo, shard: ShardId, config: &'a StoreConfig, access: Access) -> Self {
        Self { io, shard, config, access, open: Vec::new() }
    }

    /// Leaves nothing open: the lock, above all.
    pub async fn close_all(self) {
        for file in self.open {
            if let Err(error) = self.io.close(file).await {
                tracing::warn!(%error, "closing a file after a recovery");
            }
        }
    }

    /// Opens what there is; what is opened is in `open` from then on.
    pub async fn files(&mut self) -> Result<Files, OpenError> {
        let lock = self.lock().await?;
        let (checkpoint, newest_checkpoint) = self.read_checkpoint().await?;
        let segments = self.find_segments().await?;
        Ok(Files { lock, checkpoint, newest_checkpoint, segments })
    }

    /// Everything that does not change the log. Without `loaded` all of it is scanned. `keys`: what is indexed already; the keys of
    /// what is scanned are collected.
    pub async fn examine(
        &self,
        files: &Files,
        loaded: Option<Loaded>,
        keys: Option<&FoundRuns>,
    ) -> Result<Examined, OpenError> {
        let (found, found_checkpoint) = (files.segments.clone(), files.newest_checkpoint);
        let fresh = found_checkpoint.is_none() && found.is_empty();
        let mut known = found_checkpoint.unwrap_or_else(|| self.strictest(&found));
        if known.shard != self.shard.0 {
            let (dir, found, expected) = (self.config.dir.clone(), known.shard, self.shard.0);
            return Err(OpenError::WrongShard { dir, found, expected });
        }
        let log_min = found.first().map_or(known.durable, |s| s.start);
        if log_min > known.durable {
            return Err(self.corrupt(Corruption::MissingSegment { at: known.durable }));
        }
        let (mut scan, index_damaged) = match loaded {
            Some(Loaded { index, runs, damaged }) => {
                (Scan::behind(self.shard, self.config, log_min, index, runs), damaged)
            }
            None => (Scan::new(self.shard, self.config, log_min), false),
        };
        let scanned_from = scan.head();
        scan.times.ages = ages(&scan.runs, &found);
        // A run is written when a checkpoint vouches for its end.
        known.durable = known.durable.max(scanned_from);
        if let Some(keys) = keys {
            scan.index_keys(keys.tables(self.config, scan.head()));
        }
        let (at, cause) = self.scan(&mut scan, &found, known.durable).await?;
        let head = scan.head();
        if head < known.durable {
            let durable = known.durable;
            return Err(self.corrupt(Corruption::Durable { at: head, durable, cause }));
        }
        let limit = known.written_max.max(head.page_ceil());
        let mut strays = stray::search(self.io, &found[at..], head, limit, Until::Limit)
            .await
            .map_err(failed("read", self.log_dir()))?;
        self.judge(&known, head, &strays, cause)?;
        if known.closed {
            // Nothing was in flight: what lies there is a recycled segment's earlier life.
            strays.dirty.clear();
        }
        Ok(Examined { known, fresh, found, at, scan, scanned_from, index_damaged, strays })
    }

    async fn run(&mut self) -> Result<Recovered, OpenError> {
        let started = self.io.now();
        let files = self.files().await?;
        let spares = self.spares(files.newest_checkpoint.is_some()).await?;
        let (lock, checkpoint_file) = files.lock.zip(files.checkpoint).expect("made when missing");
        let loaded = self.load_index(&files).await?;
        let mut keys = self.find_keys().await?;
        let examined = self.examine(&files, Some(loaded), keys.as_ref()).await?;
        let mut report = examined.report(Duration::ZERO);
        let Examined { known, fresh, mut found, at, mut scan, strays, .. } = examined;
        let head = scan.head();
        let tail = self.find_tail().await?;
        self.check_gap(&tail, head)?;
        let mut checkpoint = self.checkpoint_at(head, known.sequence + 1);
        if fresh {
            // Before the first segment: a segment without a checkpoint is always damage.
            self.write_checkpoint(checkpoint_file, &checkpoint).await?;
            checkpoint.sequence += 1;
        }
        if let Some(keys) = &mut keys {
            keys.cut(self.io, head).await.map_err(failed("remove", self.keys_dir()))?;
        }
        self.cut(&mut found, at, head, &strays).await?;
        if !known.closed {
            self.persist(&found, known.durable, head).await?;
        }
        let mut continued = Continued::default();
        if tail.image().is_some() {
            // What is written next may lie behind what the old checkpoint allows.
            checkpoint.written_max = checkpoint.written_max.max(tail.end_max(head).page_ceil());
            self.write_checkpoint(checkpoint_file, &checkpoint).await?;
            continued = self.continue_log(&tail, &mut scan, &mut found).await?;
            checkpoint = self.checkpoint_at(scan.head(), checkpoint.sequence + 1);
        }
        let head = scan.head();
        let segments = self.segment_of_head(found, head).await?;
        let prefix = self.prefix(&segments, head).await?;
        self.write_checkpoint(checkpoint_file, &checkpoint).await?;
        let segment_end = segments.find(head).expect("made above").end;
        let (tail, tail_cache, tail_cache_use) =
            self.begin_life(tail, &continued, (head, segment_end), prefix).await?;

        report_continued(&mut report, &scan, &strays);
        (report.tail_cache, report.tail_cache_use) = (tail_cache, tail_cache_use);
        report.elapsed = self.io.now().since(started);
        let (index, runs, times, tables) = scan.finish();
        let keys = keys.zip(tables);
        Ok(Recovered {
            lock,
            checkpoint_file,
            checkpoint,
            segments,
            spares,
            index,
            runs,
            head,
            tail,
            times,
            keys,
            report,
        })
    }

    fn log_dir(&self) -> PathBuf {
        self.config.dir.join(LOG_DIR)
    }

    pub fn path(&self, start: LogOffset) -> PathBuf {
        self.log_dir().join(crate::segments::file_name(start))
    }

    fn corrupt(&self, corruption: Corruption) -> OpenError {
        OpenError::Corrupt { dir: self.config.dir.clone(), corruption }
    }

    async fn open(&mut self, path: PathBuf, options: OpenOptions) -> Result<(FileId, u64), OpenError> {
        let opened = self.io.open(path.clone(), options).await.map_err(failed("open", path))?;
        self.open.push(opened.0);
        Ok(opened)
    }

    /// Makes the folders and takes the lock, which is held until the store is closed. `None`: there is none, and it was not to
    /// be made.
    async fn lock(&mut self) -> Result<Option<FileId>, OpenError> {
        let (dir, log_dir) = (self.config.dir.clone(), self.log_dir());
        if self.access == Access::Repair {
            self.io.make_dir(log_dir.clone()).await.map_err(failed("make", log_dir.clone()))?;
        }
        let options = self.options(OpenOptions { create: true, lock: true, ..OpenOptions::default() });
        match self.open(dir.join("lock"), options).await {
            Ok((file, _)) => Ok(Some(file)),
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                Err(OpenError::Locked { dir })
            }
            Err(error) => self.may_be_missing(error),
        }
    }

    /// Options for what [`Access`] allows.
    fn options(&self, options: OpenOptions) -> OpenOptions {
        match self.access {
            Access::Repair => options,
            Access::Look => OpenOptions { create: false, read_only: true, ..options },
        }
    }

    /// What is only looked at may lack files.
    fn may_be_missing<T>(&self, error: OpenError) -> Result<Option<T>, OpenError> {
        match error {
            OpenError::Io { source, .. }
                if self.access == Access::Look && source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            error => Err(error),
        }
    }

    async fn read_checkpoint(&mut self) -> Result<(Option<FileId>, Option<Checkpoint>), OpenError> {
        let path = self.config.dir.join(checkpoint::FILE_NAME);
        let options = self.options(OpenOptions { create: true, direct: true, ..OpenOptions::default() });
        let file = match self.open(path.clone(), options).await {
            Ok((file, _)) => file,
            Err(error) => return self.may_be_missing(error).map(|none| (none, None)),
        };
        if self.access == Access::Repair {
            self.persist_names().await?;
        }
        let bytes = self.io.read_at(file, 0, 2 * PAGE_BYTES).await.map_err(failed("read", path))?;
        Ok((Some(file), Checkpoint::newest(&bytes)))
    }

    async fn persist_names(&self) -> Result<(), OpenError> {
        // The names made so far, and those of a run that was cut short.
        let parent = self.config.dir.parent().filter(|p| !p.as_os_str().is_empty());
        for dir in
            [Some(self.log_dir().as_path()), Some(self.config.dir.as_path()), parent].into_iter().flatten()
        {
            self.io.sync_dir(dir).await.map_err(failed("sync", dir))?;
        }
        Ok(())
    }

    fn keys_dir(&self) -> PathBuf {
        self.config.dir.join(KEYS_DIR)
    }

    /// The key files, if keys are indexed.
    async fn find_keys(&self) -> Result<Option<FoundRuns>, OpenError> {
        if !self.config.key_index {
            return Ok(None);
        }
        let found = FoundRuns::find(self.io, self.shard, self.config).await;
        found.map(Some).map_err(failed("open", self.keys_dir()))
    }

    /// Opens the files that are named like segments, in order.
    async fn find_segments(&mut self) -> Result<Vec<FoundSegment>, OpenError> {
        let dir = self.log_dir();
        let entries = self.io.list(dir.clone()).await.map_err(failed("list", dir.clone()))?;
        let mut starts: Vec<_> =
            entries.iter().filter(|e| !e.is_dir).filter_map(|e| parse_name(&e.name)).collect();
        starts.sort_unstable();
        let mut found = Vec::with_capacity(starts.len());
        for start in starts {
            let options = self.options(OpenOptions { direct: true, ..OpenOptions::default() });
            let (file, bytes) = self.open(self.path(start), options).await?;
            found.push(FoundSegment { start, end: LogOffset(start.0 + bytes).page_floor(), file });
        }
        Ok(found)
    }

    /// Spares of this store. Without a checkpoint they are of an earlier life, and unlinked: see `spares`.
    async fn spares(&self, known: bool) -> Result<Vec<PathBuf>, OpenError> {
        let dir = self.log_dir();
        let entries = self.io.list(dir.clone()).await.map_err(failed("list", dir.clone()))?;
        let mut kept = Vec::new();
        let mut removed = false;
        for entry in entries.iter().filter(|entry| is_spare(&entry.name)) {
            let path = dir.join(&entry.name);
            let fits = entry.bytes == self.config.segment_bytes;
            if known && fits && kept.len() < self.config.spare_segments_max {
                kept.push(path);
            } else {
                self.io.remove(path.clone()).await.map_err(failed("remove", path))?;
                removed = true;
            }
        }
        if removed {
            self.io.sync_dir(dir.clone()).await.map_err(failed("sync", dir))?;
        }
        Ok(kept)
    }

    /// What to go by when no checkpoint is readable although there is a log: nothing is known to be durable, anything may have been
    /// written, and only one torn write is forgiven.
    fn strictest(&self, found: &[FoundSegment]) -> Checkpoint {
        if !found.is_empty() {
            tracing::warn!(dir = %self.config.dir.display(), "the checkpoint is missing or damaged: the log is searched to its end");
        }
        Checkpoint {
            shard: self.shard.0,
            flush: FlushKind::Sync,
            closed: false,
            sequence: 0,
            durable: found.first().map_or(self.config.log_start, |s| s.start),
            written_max: found.last().map_or(self.config.log_start, |s| s.end),
            torn_window: self.config.torn_window_bytes(),
        }
    }

    /// Scans segment after segment; gives the place in `found` of the one that the log ends in (or of the first one behind its end),
    /// and why it ends there. Where the index has fallen far behind the durable log, runs are written on the way, so that memory
    /// does not grow with what is scanned.
    async fn scan(
        &self,
        scan: &mut Scan,
        found: &[FoundSegment],
        durable: LogOffset,
    ) -> Result<(usize, String), OpenError> {
        let mut writes_runs = self.access == Access::Repair;
        let mut expected = found.first().map_or(scan.head(), |segment| segment.start);
        for (at, segment) in found.iter().enumerate() {
            if segment.start != expected {
                if durable > expected {
                    return Err(self.corrupt(Corruption::MissingSegment { at: expected }));
                }
                return Ok((at, "the next segment is missing".to_string()));
            }
            expected = segment.end;
            if segment.end <= scan.head() && segment.start < segment.end {
                continue;
            }
            loop {
                let run_end = scan.runs.end().0 + run_bytes(self.config.index_run_bytes, scan.runs.last());
                let pause_at = LogOffset(if writes_runs && run_end < durable.0 { run_end } else { u64::MAX });
                let scanned = scan.segment(self.io, segment, pause_at).await;
                let scanned = scanned.map_err(|error| match error {
                    scan::ScanError::Io(source) => failed("read", self.path(segment.start))(source),
                    scan::ScanError::Inconsistent { at, cause } => {
                        self.corrupt(Corruption::Inconsistent { at, cause })
                    }
                })?;
                if let Scanned::Stopped(cause) = scanned {
                    return Ok((at, cause.to_string()));
                }
                if writes_runs {
                    writes_runs = scan.head() <= durable && self.write_run(scan, segment.start).await;
                }
                if matches!(scanned, Scanned::Whole) {
                    break;
                }
            }
        }
        Ok((found.len(), "there is no further segment".to_string()))
    }

    /// Tells a torn tail from corruption; see the module's text.
    fn judge(
        &self,
        known: &Checkpoint,
        head: LogOffset,
        strays: &Strays,
        cause: String,
    ) -> Result<(), OpenError> {
        let explained = match (known.closed, known.flush) {
            (true, _) => head,
            (false, FlushKind::Sync) => LogOffset(head.0 + known.torn_window),
            (false, FlushKind::Async) => LogOffset(u64::MAX),
        };
        match strays.last_seal {
            Some(next) if next >= explained => {
                Err(self.corrupt(Corruption::Inside { at: head, next, cause }))
            }
            _ => Ok(()),
        }
    }

    /// A checkpoint for a log that ends, durably, at `head`, as this process will go on.
    fn checkpoint_at(&self, head: LogOffset, sequence: u64) -> Checkpoint {
        Checkpoint {
            shard: self.shard.0,
            flush: match self.config.flush {
                Flush::Sync => FlushKind::Sync,
                Flush::Async { .. } => FlushKind::Async,
            },
            closed: false,
            sequence,
            durable: head,
            written_max: LogOffset(head.0 + self.config.checkpoint_lag_bytes()).page_floor(),
            torn_window: self.config.torn_window_bytes(),
        }
    }

    async fn write_checkpoint(&self, file: FileId, checkpoint: &Checkpoint) -> Result<(), OpenError> {
        let (offset, page) = checkpoint.encode();
        let path = self.config.dir.join(checkpoint::FILE_NAME);
        let data = WriteData::Aligned(Arc::new(page));
        self.io.write_at(file, offset, data, true).await.map_err(failed("write", path))
    }

    /// What the head's page holds before the head.
    async fn prefix(&self, segments: &Segments, head: LogOffset) -> Result<Bytes, OpenError> {
        let inside = usize::try_from(head.since(head.page_floor())).expect("below a page");
        if inside == 0 {
            return Ok(Bytes::new());
        }
        let segment = segments.find(head).expect("the head has a segment");
        let offset = head.page_floor().since(segment.start);
        let page = self.io.read_at(segment.file, offset, PAGE_BYTES).await;
        let page = page.map_err(failed("read", self.path(segment.start)))?;
        if page.len() < inside {
            let source = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(failed("read", self.path(segment.start))(source));
        }
        Ok(page.slice(..inside))
    }
}
