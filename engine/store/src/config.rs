//! What a store is told at open.

use std::path::PathBuf;
use std::time::Duration;

use ringmq_reactor::PAGE_BYTES;
use ringmq_remoting::record::RecordView;

use crate::error::ConfigError;
use crate::limits::*;
use crate::offset::LogOffset;
use crate::retention::Retention;

/// What an acknowledgement promises (`flushDiskType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// `SYNC_FLUSH`: the record is on stable media.
    Sync,
    /// `ASYNC_FLUSH`: the record survives a killed process; a killed machine after at most `interval`.
    Async {
        /// `flushIntervalCommitLog`: time from an append (and its write) to the `fdatasync` that covers it.
        interval: Duration,
    },
}

/// Computes the tags code of a queue index entry from a stored record. Must give what the caller of
/// [`crate::Store::append`] passed: recovery rebuilds the index with it.
pub type TagsCodeOf = fn(&RecordView<'_>) -> i64;

/// The ordinary [`TagsCodeOf`]: the hash of the TAGS property.
#[must_use]
pub fn tags_code_of_tag(record: &RecordView<'_>) -> i64 {
    record.tags_code()
}

/// One shard's storage settings. Sizes are bytes.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The shard's folder, for example `<storePathRootDir>/store/shard-00`; made if missing.
    pub dir: PathBuf,
    /// Owner byte of every token that the store uses: route [`ringmq_reactor::Event::File`] and
    /// [`ringmq_reactor::Event::Timer`] with it to the store.
    pub token_owner: u8,
    /// What an acknowledgement promises.
    pub flush: Flush,
    /// Size of a new segment (`mapedFileSizeCommitLog`); a multiple of [`PAGE_BYTES`]. Existing segments keep theirs.
    pub segment_bytes: u64,
    /// Where the log of a new store begins, a multiple of [`PAGE_BYTES`]. 0, except for a store that is to take over queues which do
    /// not begin at 0: see [`crate::Store::append_imported`].
    pub log_start: LogOffset,
    /// Largest record accepted; at most [`RECORD_BYTES_MAX`]. Also the limit of one batch.
    pub record_bytes_max: usize,
    /// Most bytes of one log write, a multiple of [`PAGE_BYTES`]; also the bytes after which a batch is sealed.
    pub write_bytes_max: usize,
    /// Size of one tail-cache block.
    pub block_bytes: usize,
    /// Size of the tail cache; blocks are made when first needed.
    pub tail_cache_bytes: usize,
    /// Folder, on tmpfs or hugetlbfs, for a file that holds the tail cache and outlives the process: ASYNC_FLUSH then acknowledges
    /// when a batch is sealed there. `None`, or no such file to be had: the process' own memory, and acknowledgement after the write.
    pub tail_cache_path: Option<PathBuf>,
    /// Where sealing acknowledges, a write waits until this much is unwritten …
    pub lazy_write_bytes: u64,
    /// … or until the oldest of it has waited for this long.
    pub lazy_write_delay: Duration,
    /// `flushCommitLogTimed`: under ASYNC_FLUSH, flush once every interval. Otherwise as soon as [`FLUSH_LEAST_BYTES`] are written, and
    /// what is less once every interval.
    pub flush_timed: bool,
    /// Size of one block of the cold-read cache.
    pub cache_block_bytes: usize,
    /// Size of the cold-read cache.
    pub cache_bytes: usize,
    /// How far ahead of the log's end the running segment is zeroed. 0 switches zeroing off (the log then writes into allocated
    /// space: slower flushes, same safety).
    pub zero_ahead_bytes: u64,
    /// Distance after which the checkpoint is moved; bounds what recovery has to search behind the log's end.
    pub checkpoint_bytes: u64,
    /// Distance after which an index run is written; with very many queues it may be up to [`INDEX_RUN_FACTOR`] times as much.
    /// Bounds the entries in memory and what recovery scans.
    pub index_run_bytes: u64,
    /// Size of the cache of index blocks that were read back.
    pub index_cache_bytes: usize,
    /// Records within this distance of the log's end count as "in memory" for [`crate::ReadLimits`]
    /// (`accessMessageInMemoryMaxRatio` of the machine's memory).
    pub in_memory_bytes: u64,
    /// Old segments that are kept, instead of being unlinked, to be used again; none while room is short.
    pub spare_segments_max: usize,
    /// What is removed when; `None`: nothing ever is. Can be changed later: [`crate::Store::set_retention`].
    pub retention: Option<Retention>,
    /// Whether queries by key are to be answered (`messageIndexEnable`). Key files made before are kept either way.
    pub key_index: bool,
    /// Entries after which the table of the newest keys is closed and written.
    pub key_table_entries: usize,
    /// Distance of log after which it is closed although it has room.
    pub key_run_log_bytes: u64,
    /// Memory for filters of key files.
    pub key_filter_bytes: usize,
    /// How recovery finds the tags code of a record.
    pub tags_code_of: TagsCodeOf,
    /// Breaks the promise on purpose: acknowledges at append instead of after the write. The simulation's proof that its
    /// oracles bite; never for use.
    #[doc(hidden)]
    pub fault_acknowledge_early: bool,
}

impl StoreConfig {
    /// Defaults for a store in `dir` whose tokens carry `token_owner`: ASYNC_FLUSH every 500 ms.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, token_owner: u8) -> Self {
        Self {
            dir: dir.into(),
            token_owner,
            flush: Flush::Async { interval: Duration::from_millis(500) },
            segment_bytes: SEGMENT_BYTES,
            log_start: LogOffset(0),
            record_bytes_max: RECORD_BYTES_MAX,
            write_bytes_max: WRITE_BYTES_MAX,
            block_bytes: BLOCK_BYTES,
            tail_cache_bytes: TAIL_CACHE_BYTES,
            tail_cache_path: None,
            lazy_write_bytes: LAZY_WRITE_BYTES,
            lazy_write_delay: LAZY_WRITE_DELAY,
            flush_timed: true,
            cache_block_bytes: CACHE_BLOCK_BYTES,
            cache_bytes: CACHE_BYTES,
            zero_ahead_bytes: ZERO_AHEAD_BYTES,
            checkpoint_bytes: CHECKPOINT_BYTES,
            index_run_bytes: INDEX_RUN_BYTES,
            index_cache_bytes: INDEX_CACHE_BYTES,
            in_memory_bytes: 1 << 30,
            spare_segments_max: SPARE_SEGMENTS_MAX,
            retention: None,
            key_index: true,
            key_table_entries: KEY_TABLE_ENTRIES,
            key_run_log_bytes: KEY_RUN_LOG_BYTES,
            key_filter_bytes: KEY_FILTER_BYTES,
            tags_code_of: tags_code_of_tag,
            fault_acknowledge_early: false,
        }
    }

    /// Checks the relations that [`crate::limits`](crate) checks for the defaults.
    ///
    /// # Errors
    /// The first relation that does not hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let page = PAGE_BYTES;
        let check = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(ConfigError { what }) };
        check(
            self.segment_bytes > 0 && self.segment_bytes.is_multiple_of(page as u64),
            "segment size is not a positive number of 4 KiB pages",
        )?;
        check(self.segment_bytes <= 1 << 32, "a segment is larger than 4 GiB")?;
        check(self.index_run_bytes > 0, "the distance between index runs is zero")?;
        check(
            self.log_start.page_floor() == self.log_start,
            "the log's start is not a number of 4 KiB pages",
        )?;
        check(
            (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&self.record_bytes_max),
            "largest record is out of range (91 bytes to 4 MiB + 64 KiB)",
        )?;
        check(
            (self.record_bytes_max + FOOTER_BYTES) as u64 <= self.segment_bytes,
            "a segment cannot hold the largest record, a seal and a blank",
        )?;
        check(self.block_bytes.is_multiple_of(page), "tail-cache block is not a number of 4 KiB pages")?;
        check(
            self.record_bytes_max + 2 * page <= self.block_bytes,
            "a tail-cache block cannot hold the largest record and two pages",
        )?;
        check(
            self.block_bytes * BLOCKS_MIN <= self.tail_cache_bytes,
            "the tail cache holds fewer than three blocks",
        )?;
        check(
            self.tail_cache_path
                .as_ref()
                .is_none_or(|path| path.as_os_str().len() <= TAIL_CACHE_PATH_BYTES_MAX),
            "the tail cache's folder has too long a path",
        )?;
        check(
            self.lazy_write_bytes <= (self.block_bytes * (BLOCKS_MIN - 1) / 2) as u64,
            "a write is put off for longer than the smallest tail cache has room",
        )?;
        check(
            self.cache_block_bytes > 0 && self.cache_block_bytes.is_multiple_of(page),
            "cold-read block is not a positive number of 4 KiB pages",
        )?;
        check(
            self.record_bytes_max + (READ_AHEAD_BLOCKS + 2) * self.cache_block_bytes <= self.cache_bytes,
            "the cold-read cache cannot hold the largest record and its read-ahead",
        )?;
        check(
            self.write_bytes_max > 0 && self.write_bytes_max.is_multiple_of(page),
            "the largest write is not a positive number of 4 KiB pages",
        )?;
        check(
            self.write_bytes_max + self.record_bytes_max < BATCH_BYTES_MAX,
            "the largest write is so long that recovery could not keep a batch in memory",
        )?;
        check(
            self.key_table_entries > 0 && (1..=1 << 30).contains(&self.key_run_log_bytes),
            "tables of keys are closed after no entries, or not within 1 to 2^30 bytes of log",
        )?;
        check(
            self.checkpoint_bytes >= (self.write_bytes_max + self.record_bytes_max) as u64,
            "the checkpoint distance is shorter than the largest write and record",
        )
    }

    /// How far behind the last sealed batch a torn write can leave whole batches. The torn write begins inside the batch that
    /// follows (at most a write's worth of records and one more unit, with its seal) and is one write long.
    pub(crate) fn torn_window_bytes(&self) -> u64 {
        (2 * self.write_bytes_max + self.record_bytes_max + PAGE_BYTES) as u64
    }

    /// How long a write may be put off: a quarter of the flush interval at most, which then is so much shorter.
    pub(crate) fn write_delay(&self) -> Duration {
        match self.flush {
            Flush::Async { interval } => self.lazy_write_delay.min(interval / 4),
            Flush::Sync => Duration::ZERO,
        }
    }

    /// The log's end is never written further than this above the durable checkpoint.
    pub(crate) fn checkpoint_lag_bytes(&self) -> u64 {
        self.checkpoint_bytes * CHECKPOINT_LAG_FACTOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bad_relations_are_named() {
        let good = StoreConfig::new("x", 1);
        good.validate().expect("defaults");
        let bad = StoreConfig { segment_bytes: 4097, ..good.clone() };
        assert!(bad.validate().expect_err("unaligned").what.contains("segment size"));
        let bad = StoreConfig { tail_cache_bytes: good.block_bytes, ..good };
        assert!(bad.validate().expect_err("one block").what.contains("three blocks"));
    }
}
