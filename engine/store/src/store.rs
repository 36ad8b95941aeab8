//! The store itself: one shard's log, its index, and what is in flight for them.

mod append;
mod by_key;
mod close;
mod drive;
mod import;
mod lookup;
mod reading;
mod removal;
mod walking;

use std::collections::VecDeque;
use std::sync::Arc;

use ringmq_reactor::{FileId, FileOp, Io, Monotonic, ShardId, TaskIo};

use crate::ages::{Ages, NewestBelow};
use crate::cold::ColdReads;
use crate::config::{Flush, StoreConfig};
use crate::error::{OpenError, StoreError};
use crate::flush::Flusher;
use crate::index::reader::RunReader;
use crate::index::{Index, Queue, QueueSlot};
use crate::indexing::{Indexing, Parts};
use crate::keys::KeyIndex;
use crate::offset::LogOffset;
use crate::prepare::Preparation;
use crate::read::ReadTicket;
use crate::recover::{self, Recovered};
use crate::report::RecoveryReport;
use crate::retention::Keeper;
use crate::seal::Batch;
use crate::segments::Segments;
use crate::spares::Spares;
use crate::stats::StoreStats;
use crate::tail::TailCache;
use crate::token::{Kind, Tokens};
use crate::zero::Zeroing;

pub use append::Appended;
pub use append::{is_indexed, is_own_topic};
pub use import::{ImportError, ImportedPlace};
pub use walking::LogWalk;

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
    /// When it was stored, ms since 1970.
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

/// An indexed record that is not acknowledged yet.
struct Unacknowledged {
    end: LogOffset,
    slot: QueueSlot,
    queue_offset: i64,
    tags_code: i64,
    store_timestamp: i64,
}

/// The log write in flight.
struct LogWrite {
    from: LogOffset,
    to: LogOffset,
    written_after: LogOffset,
    since: Monotonic,
}

/// Writes that wait for more, see [`StoreConfig::lazy_write_bytes`].
#[derive(Default)]
struct Laziness {
    /// The oldest unwritten byte is at least as young as this; `None`: everything is written.
    unwritten_since: Option<Monotonic>,
    timer_is_set: bool,
}

/// One shard's storage. Lives on the shard's thread from [`Store::open`] until [`Store::is_closed`]; see the crate's text for
/// how it is driven.
pub struct Store {
    shard: ShardId,
    config: StoreConfig,
    tokens: Tokens,
    lock: FileId,
    segments: Segments,
    /// End of the segment that the log's end is in, whether or not its file exists yet.
    segment_end: LogOffset,
    tail: TailCache,
    index: Index,
    keys: KeyIndex,
    reader: RunReader,
    indexing: Indexing,
    written: LogOffset,
    acknowledged: LogOffset,
    write: Option<LogWrite>,
    lazy: Laziness,
    flusher: Flusher,
    preparation: Preparation,
    zeroing: Zeroing,
    cold: ColdReads,
    /// The batch that is growing, closed when a write starts.
    batch: Batch,
    /// Ends of seals that are not written yet.
    seals: VecDeque<LogOffset>,
    /// End of the last written seal: what recovery would find.
    complete: LogOffset,
    /// Up to where the tail cache is marked as sealed, if it outlives the process.
    marked: LogOffset,
    unacknowledged: VecDeque<Unacknowledged>,
    arrivals: Vec<Arrival>,
    poison: Option<StoreError>,
    closing: close::Closing,
    last_store_timestamp: i64,
    ages: Ages,
    newest_durable: NewestBelow,
    spares: Spares,
    keeper: Keeper,
    removal: removal::Removal,
    stats: StoreStats,
}

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
        config.validate()?;
        let recovered = recover::recover(&io, shard, &config).await?;
        let Recovered {
            lock,
            checkpoint_file,
            checkpoint,
            segments,
            spares,
            mut index,
            runs,
            head,
            tail,
            times,
            keys,
            report,
        } = recovered;
        index.reveal_all();
        let segment_end = tail.segment_end;
        let store = Self {
            shard,
            tokens: Tokens { owner: config.token_owner },
            lock,
            segment_end,
            tail: TailCache::new(config.block_bytes, config.tail_cache_bytes, tail),
            index,
            keys: match keys {
                Some((found, tables)) => KeyIndex::start(&io, shard, &config, found, tables),
                None => KeyIndex::disabled(),
            },
            reader: RunReader::new(runs, config.index_cache_bytes),
            indexing: Indexing::new(config.index_run_bytes),
            written: head,
            acknowledged: head,
            write: None,
            lazy: Laziness::default(),
            flusher: Flusher::new(&config, checkpoint_file, checkpoint),
            preparation: Preparation::new(config.segment_bytes),
            zeroing: Zeroing::new(config.zero_ahead_bytes),
            cold: ColdReads::new(config.cache_block_bytes, config.cache_bytes),
            segments,
            batch: Batch::new(head),
            seals: VecDeque::new(),
            complete: head,
            marked: head,
            unacknowledged: VecDeque::new(),
            arrivals: Vec::new(),
            poison: None,
            closing: close::Closing::No,
            last_store_timestamp: times.newest,
            ages: times.ages,
            newest_durable: NewestBelow::new(times.newest),
            spares: Spares::new(config.spare_segments_max, spares),
            keeper: Keeper::new(config.retention.clone()),
            removal: removal::Removal::default(),
            stats: StoreStats::default(),
            config,
        };
        Ok((store, report))
    }

    /// Replies for records that end at or below this may go; readers see nothing beyond it.
    #[must_use]
    pub fn acknowledged(&self) -> LogOffset {
        self.acknowledged
    }

    /// End of what was appended.
    #[must_use]
    pub fn appended(&self) -> LogOffset {
        self.tail.head()
    }

    /// End of what is on its way to stable media, or there.
    #[must_use]
    pub fn written(&self) -> LogOffset {
        self.written
    }

    /// End of what survives a power cut.
    #[must_use]
    pub fn durable(&self) -> LogOffset {
        match self.config.flush {
            Flush::Sync => self.complete,
            Flush::Async { .. } => self.flusher.durable(),
        }
    }

    /// The failure that ended this log, if any.
    #[must_use]
    pub fn poisoned(&self) -> Option<&StoreError> {
        self.poison.as_ref()
    }

    /// Moves the records that became visible since the last call into `arrivals` (appended), in log order.
    pub fn take_arrivals(&mut self, arrivals: &mut Vec<Arrival>) {
        arrivals.append(&mut self.arrivals);
    }

    /// Moves the tickets whose reads can be repeated now into `tickets` (appended).
    pub fn take_completed_reads(&mut self, tickets: &mut Vec<ReadTicket>) {
        self.cold.take_completed(tickets);
        self.keys.take_completed(tickets);
        self.reader.cache.take_completed(tickets);
    }

    fn find(&self, topic: &str, queue_id: i32) -> Option<&Queue> {
        self.index.find(topic, queue_id).map(|slot| self.index.queue(slot))
    }

    /// Oldest offset of a queue; `None` if it is unknown.
    #[must_use]
    pub fn min_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        self.find(topic, queue_id).map(Queue::min_offset)
    }

    /// One past the newest visible offset of a queue; `None` if it is unknown.
    #[must_use]
    pub fn max_offset(&self, topic: &str, queue_id: i32) -> Option<i64> {
        self.find(topic, queue_id).map(Queue::max_offset)
    }

    /// Store time of the newest visible message of a queue, ms; 0 if there is none, `None` if the queue is unknown.
    #[must_use]
    pub fn newest_store_time(&self, topic: &str, queue_id: i32) -> Option<i64> {
        self.find(topic, queue_id).map(Queue::newest_time)
    }

    /// Where the very first record of a queue starts in the log, whether or not it is still there; `None` if the queue is unknown.
    #[must_use]
    pub fn queue_start(&self, topic: &str, queue_id: i32) -> Option<LogOffset> {
        self.find(topic, queue_id).map(Queue::born)
    }

    /// Store time of the oldest record of the log that a queue holds, ms; `None` if the log is empty.
    #[must_use]
    pub fn log_earliest_store_time(&self) -> Option<i64> {
        self.ages.first()
    }

    /// All queues, sorted by topic and queue.
    pub fn queues(&self) -> impl Iterator<Item = QueueInfo> + '_ {
        self.index.sorted().into_iter().map(|queue| QueueInfo {
            topic: Arc::clone(queue.topic()),
            queue_id: queue.queue_id(),
            min_offset: queue.min_offset(),
            max_offset: queue.max_offset(),
            newest_store_time: queue.newest_time(),
        })
    }

    /// Start of the oldest segment.
    #[must_use]
    pub fn log_min(&self) -> LogOffset {
        self.segments.start()
    }

    /// End of what readers may see: the same as [`Store::acknowledged`].
    #[must_use]
    pub fn log_max(&self) -> LogOffset {
        self.acknowledged
    }

    /// The index writer and what it works with.
    fn indexing(&mut self) -> (&mut Indexing, Parts<'_>) {
        let durable = self.flusher.checkpointed();
        let parts = Parts {
            tokens: self.tokens,
            shard: self.shard.0,
            index: &mut self.index,
            reader: &mut self.reader,
            segments: &self.segments,
            durable,
            newest_durable: self.newest_durable.advance(durable),
            ages: &self.ages,
            keep_from: self.tail.oldest(),
        };
        (&mut self.indexing, parts)
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let keys = self.keys.figures();
        StoreStats {
            flushes: self.flusher.flushes,
            flush_latency: self.flusher.latency.clone(),
            zeroed_bytes: self.zeroing.written_bytes(),
            cold_reads: self.cold.reads,
            cold_hits: self.cold.hits,
            write_in_flight: self.write.is_some(),
            unwritten_bytes: self.tail.head().since(self.written),
            unsynced_bytes: self.complete.since(self.durable()),
            tail_blocks: self.tail.block_count(),
            tail_outlives_process: self.tail.outlives_process(),
            cache_bytes: self.cold.cached_bytes() + self.reader.cache.cached_bytes(),
            queues: self.index.queue_count(),
            index_entries: self.index.entry_count(),
            key_entries: keys.entries,
            key_runs: keys.runs,
            key_memory_bytes: keys.memory_bytes,
            key_filter_bytes: keys.filter_bytes,
            key_gap_bytes: keys.gap_bytes,
            key_pages_read: keys.pages_read,
            index_memory_entries: self.index.memory_entry_count(),
            index_runs: self.reader.runs.count(),
            index_end: self.reader.runs.end().0,
            index_written_bytes: self.indexing.bytes_written,
            index_failures: self.indexing.failures,
            index_reads: self.reader.cache.reads,
            segments: self.segments.count(),
            ..self.stats.clone()
        }
    }

    /// Asks for the room on the file system; the answer lands in [`StoreStats::space`].
    pub fn refresh_space(&mut self, io: &mut dyn Io) {
        io.file(self.tokens.of(Kind::Space, 0), FileOp::Space(self.config.dir.clone()));
    }
}
