//! Making written bytes durable (`fdatasync`, under ASYNC_FLUSH) and moving the checkpoint.
//!
//! ```text
//!   ASYNC  written ──interval, volume or wish──→ fdatasync of each segment concerned ──→ durable ──→ checkpoint
//!   SYNC   written = durable               ──interval or volume──────────────────────────────────────→ checkpoint
//! ```
//! One operation in flight. A failure is never retried: it ends the log (see [`crate::StoreError`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{FileId, FileOp, Io, Monotonic, WriteData};

use crate::checkpoint::{Checkpoint, FlushKind};
use crate::config::{Flush, StoreConfig};
use crate::error::{Stage, StoreError};
use crate::limits::FLUSH_LEAST_BYTES;
use crate::offset::LogOffset;
use crate::segments::Segments;
use crate::stats::LatencyBuckets;
use crate::token::{Kind, Tokens};

/// Under SYNC_FLUSH the checkpoint follows the log with this delay. It only narrows what recovery searches.
const SYNC_CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy)]
enum State {
    Idle,
    /// The timer that starts the next round is set.
    Scheduled,
    Syncing {
        /// End of the segment being flushed, or the target inside it.
        step: LogOffset,
        since: Monotonic,
    },
    Checkpointing(Checkpoint),
}

/// The durable part of the log and how it grows.
pub(crate) struct Flusher {
    flush: Flush,
    /// From the first written byte that is not durable to the flush.
    interval: Duration,
    /// Written bytes that do not wait for it.
    least: u64,
    lag: u64,
    torn_window: u64,
    file: FileId,
    /// The newest checkpoint that is durable itself.
    checkpoint: Checkpoint,
    durable: LogOffset,
    /// Somebody waits for stable media up to here.
    wanted: LogOffset,
    /// Where the present round ends.
    target: LogOffset,
    state: State,
    pub flushes: u64,
    pub latency: LatencyBuckets,
}

impl Flusher {
    /// `checkpoint` is durable in `file` and speaks of the log as it is.
    pub fn new(config: &StoreConfig, file: FileId, checkpoint: Checkpoint) -> Self {
        Self {
            flush: config.flush,
            interval: match config.flush {
                Flush::Sync => SYNC_CHECKPOINT_INTERVAL,
                // Counted from the append: writes may have been put off.
                Flush::Async { interval } => interval.saturating_sub(config.write_delay()),
            },
            least: match config.flush {
                Flush::Async { .. } if !config.flush_timed => FLUSH_LEAST_BYTES.min(config.checkpoint_bytes),
                _ => config.checkpoint_bytes,
            },
            lag: config.checkpoint_lag_bytes(),
            torn_window: config.torn_window_bytes(),
            file,
            checkpoint,
            durable: checkpoint.durable,
            wanted: checkpoint.durable,
            target: checkpoint.durable,
            state: State::Idle,
            flushes: 0,
            latency: LatencyBuckets::default(),
        }
    }

    /// Everything below is on stable media.
    pub fn durable(&self) -> LogOffset {
        self.durable
    }

    /// Everything below is on stable media, and a durable checkpoint says so: the end of a seal.
    pub fn checkpointed(&self) -> LogOffset {
        self.checkpoint.durable
    }

    /// The log must not write at or beyond this page until the checkpoint has moved.
    pub fn written_max(&self) -> LogOffset {
        self.checkpoint.written_max
    }

    pub fn file(&self) -> FileId {
        self.file
    }

    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Syncing { .. } | State::Checkpointing(_))
    }

    /// The mark of an orderly end is durable.
    pub fn is_closed(&self) -> bool {
        self.checkpoint.closed
    }

    /// What is written below `end` waits for no interval.
    pub fn want(&mut self, end: LogOffset) {
        self.wanted = self.wanted.max(end);
    }

    /// Up to where somebody waits for stable media.
    pub fn wanted(&self) -> LogOffset {
        self.wanted
    }

    /// Starts what is due. `written` is the end of the last written seal: a checkpoint never points inside a batch.
    /// `closing`: everything is due, and the last checkpoint says so.
    pub fn drive(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        written: LogOffset,
        closing: bool,
    ) {
        if self.flush == Flush::Sync {
            self.durable = written;
        }
        if self.is_busy() {
            return;
        }
        let behind = written.since(self.checkpoint.durable);
        if closing {
            if !self.checkpoint.closed {
                self.start_round(io, tokens, segments, written, true);
            }
        } else if behind >= self.least || self.durable < self.wanted.min(written) {
            self.start_round(io, tokens, segments, written, false);
        } else if behind > 0 && matches!(self.state, State::Idle) {
            io.timer(io.now() + self.interval, tokens.of(Kind::FlushTimer, 0));
            self.state = State::Scheduled;
        }
    }

    /// The timer fired. It may be late: a round started by volume does not take it back.
    pub fn on_timer(&mut self, io: &mut dyn Io, tokens: Tokens, segments: &Segments, written: LogOffset) {
        if matches!(self.state, State::Scheduled) {
            self.start_round(io, tokens, segments, written, false);
        }
    }

    fn start_round(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        written: LogOffset,
        closing: bool,
    ) {
        self.target = written;
        if self.durable < self.target {
            self.sync_step(io, tokens, segments);
        } else {
            self.write_checkpoint(io, tokens, closing);
        }
    }

    /// Flushes the segment that holds the end of the durable part.
    fn sync_step(&mut self, io: &mut dyn Io, tokens: Tokens, segments: &Segments) {
        let segment = segments.find(self.durable).expect("what is written has a segment");
        self.state = State::Syncing { step: self.target.min(segment.end), since: io.now() };
        io.file(tokens.of(Kind::Flush, 0), FileOp::SyncData(segment.file));
    }

    fn write_checkpoint(&mut self, io: &mut dyn Io, tokens: Tokens, closed: bool) {
        let kind = match self.flush {
            Flush::Sync => FlushKind::Sync,
            Flush::Async { .. } => FlushKind::Async,
        };
        let next = Checkpoint {
            shard: self.checkpoint.shard,
            flush: kind,
            closed,
            sequence: self.checkpoint.sequence + 1,
            durable: self.durable,
            written_max: LogOffset(self.durable.0 + self.lag).page_floor(),
            torn_window: self.torn_window,
        };
        self.state = State::Checkpointing(next);
        let (offset, page) = next.encode();
        let write = FileOp::Write {
            file: self.file,
            offset,
            data: WriteData::Aligned(Arc::new(page)),
            durable: true,
        };
        io.file(tokens.of(Kind::Checkpoint, 0), write);
    }

    /// Completion of an `fdatasync`.
    pub fn on_sync(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        result: io::Result<()>,
    ) -> Result<(), StoreError> {
        let State::Syncing { step, since } = self.state else { unreachable!("an fdatasync was in flight") };
        self.state = State::Idle;
        result.map_err(|source| self.failed(Stage::Flush, source))?;
        self.flushes += 1;
        self.latency.record(io.now().since(since));
        self.durable = step;
        if self.durable < self.target {
            self.sync_step(io, tokens, segments);
        } else {
            self.write_checkpoint(io, tokens, false);
        }
        Ok(())
    }

    /// Completion of a checkpoint write.
    pub fn on_checkpoint(&mut self, result: io::Result<()>) -> Result<(), StoreError> {
        let State::Checkpointing(next) = self.state else { unreachable!("a checkpoint was in flight") };
        self.state = State::Idle;
        result.map_err(|source| self.failed(Stage::Checkpoint, source))?;
        self.checkpoint = next;
        Ok(())
    }

    fn failed(&self, stage: Stage, source: io::Error) -> StoreError {
        StoreError { stage, at: self.durable, source: Arc::new(source) }
    }
}
