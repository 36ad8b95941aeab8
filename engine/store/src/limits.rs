//! Every bound of the store, with the relations that must hold between them.

use std::time::Duration;

use ringmq_reactor::PAGE_BYTES;

use crate::seal::SEAL_BYTES;

/// Largest record, bytes: RocketMQ's `maxMessageSize` (4 MiB) and 64 KiB for everything around the body.
pub const RECORD_BYTES_MAX: usize = (4 << 20) + (64 << 10);

/// Smallest record: the fixed part with IPv4 hosts, an empty topic, body and properties.
pub const RECORD_BYTES_MIN: usize = 91;

/// A blank, which must fit behind every seal of a segment: RocketMQ's size and magic, and its own position, 8 bytes. The position tells it
/// from that of a recycled segment's earlier life.
pub(crate) const BLANK_BYTES: usize = ringmq_remoting::record::BLANK_BYTES_MIN + 8;

/// What must fit behind every record, in its segment and in its block.
pub(crate) const FOOTER_BYTES: usize = SEAL_BYTES + BLANK_BYTES;

/// Default of the most bytes of one log write, and of the bytes after which a batch is sealed although it could grow.
pub const WRITE_BYTES_MAX: usize = 1 << 20;

/// Default size of a tail-cache block.
pub const BLOCK_BYTES: usize = 8 << 20;

/// Default size of the tail cache.
pub const TAIL_CACHE_BYTES: usize = 64 << 20;

/// Fewest blocks of a tail cache: one being filled, one being written, one that readers may still hold.
pub const BLOCKS_MIN: usize = 3;

/// Longest path of the folder that holds the tail cache's file: the system's limit for paths, less what stands beside it in the
/// store's own record.
pub const TAIL_CACHE_PATH_BYTES_MAX: usize = 3_900;

/// Default of the unwritten bytes that start a write where sealing acknowledges.
pub const LAZY_WRITE_BYTES: u64 = 256 << 10;

/// Default of the longest time that such a write is put off.
pub const LAZY_WRITE_DELAY: Duration = Duration::from_millis(20);

/// Without `flushCommitLogTimed`, written bytes that start a flush: RocketMQ's `flushCommitLogLeastPages`.
pub const FLUSH_LEAST_BYTES: u64 = 4 * PAGE_BYTES as u64;

/// Default segment size: RocketMQ's `mappedFileSizeCommitLog`.
pub const SEGMENT_BYTES: u64 = 1 << 30;

/// One write of zeros ahead of the log. Small, so that a log write queued behind it in the device waits for a fraction
/// of a millisecond.
pub const ZERO_WRITE_BYTES: usize = 256 << 10;

/// After a write of zeros that took `t`, the next one waits `t` times this: zeros get at most a fifth of the device.
pub const ZERO_PAUSE_FACTOR: u32 = 4;

/// Default number of old segments that are kept to be used again.
pub const SPARE_SEGMENTS_MAX: usize = 1;

/// Default distance by which the running segment is kept zeroed ahead of the log's end.
pub const ZERO_AHEAD_BYTES: u64 = 64 << 20;

/// Default distance after which the checkpoint is moved (and unsynced bytes are flushed early).
pub const CHECKPOINT_BYTES: u64 = 32 << 20;

/// The log's end is never further than this many checkpoint distances above the durable checkpoint: writes wait there.
/// Recovery therefore knows how far it has to look for stray records.
pub const CHECKPOINT_LAG_FACTOR: u64 = 4;

/// Default size of one block of the cold-read cache.
pub const CACHE_BLOCK_BYTES: usize = 256 << 10;

/// Default size of the cold-read cache.
pub const CACHE_BYTES: usize = 32 << 20;

/// Cold reads in flight at the same time; further ones wait in order.
pub const COLD_READS_IN_FLIGHT_MAX: usize = 16;

/// Blocks that a sequential cold reader has read ahead for it, at least.
pub const READ_AHEAD_BLOCKS: usize = 2;

/// The same where the messages of its next two answers lie in more blocks.
pub const READ_AHEAD_BLOCKS_MAX: usize = 6;

/// Index entries that one read looks at, unless more messages are asked for: RocketMQ's `maxFilterMessageSize`
/// (16,000 bytes of 20-byte entries).
pub const SCAN_ENTRIES_MAX: usize = 800;

/// Default distance after which an index run is written.
pub const INDEX_RUN_BYTES: u64 = 64 << 20;

/// With many queues runs are further apart: up to this many times the distance above.
pub const INDEX_RUN_FACTOR: u64 = 4;

/// A run covers at least this many times the size of its queue table, below the bound that the factor above sets: a million queues
/// (about 75 MB of table) then cost a third of the log's bytes at worst, a hundred thousand three percent.
pub const INDEX_TABLE_FACTOR: u64 = 32;

/// One write of an index run.
pub const INDEX_WRITE_BYTES: usize = 256 << 10;

/// Queues or entries of a run that one turn works on.
pub const INDEX_SLICE: usize = 1024;

/// Pages of one block of the index cache.
pub(crate) const INDEX_BLOCK_PAGES: u32 = 4;

/// Default size of the cache of index blocks.
pub const INDEX_CACHE_BYTES: usize = 8 << 20;

/// Reads of index blocks in flight at the same time; further ones wait in order.
pub const INDEX_READS_IN_FLIGHT_MAX: usize = 16;

/// Queues whose last place in a run is remembered for who reads on.
pub(crate) const INDEX_SPANS_MAX: usize = 4096;

/// Bytes that one read returns at most, whatever its limits say.
pub const READ_BYTES_MAX: usize = 128 << 20;

/// Read size of recovery.
pub const RECOVERY_READ_BYTES: usize = 4 << 20;

/// Longest batch that recovery accepts (and keeps in memory): a write's worth of records, one more unit, and room to spare.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// Default of the entries after which the table of the newest keys is closed and written: 2 MiB.
pub const KEY_TABLE_ENTRIES: usize = 128 << 10;

/// Default of the distance of log after which it is closed although it has room: bounds what is read again after a crash.
pub const KEY_RUN_LOG_BYTES: u64 = 64 << 20;

/// Closed tables that wait for the log to be durable, or for the disk. One more, and the oldest is dropped: its keys are read again
/// from the log later.
pub const KEY_CLOSED_TABLES_MAX: usize = 4;

/// Default of the memory for filters of key files. The newest files have theirs in memory; an older one costs each query by key that
/// reaches it a read of one page.
pub const KEY_FILTER_BYTES: usize = 32 << 20;

/// Pages of key files kept in memory.
pub const KEY_PAGES_CACHED_MAX: usize = 512;

/// Reads of key files in flight at the same time; further ones wait in order.
pub const KEY_READS_IN_FLIGHT_MAX: usize = 16;

/// Key files merged at a time.
pub const KEY_MERGE_RUNS_MAX: usize = 64;

/// Bytes that a query by key gives at most (one record always): with those of other shards it has to fit into a frame of 16 MiB.
pub const KEY_RESULT_BYTES_MAX: usize = 8 << 20;

/// Read size of filling gaps in the key index: small, because the shard has other things to do between two reads.
pub const KEY_REBUILD_READ_BYTES: usize = 1 << 20;

/// Tickets of unfinished reads; beyond it reads are refused.
pub const READ_TICKETS_MAX: usize = 1 << 16;

const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(PAGE_BYTES));
const _: () = assert!(ZERO_WRITE_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(CACHE_BLOCK_BYTES.is_multiple_of(PAGE_BYTES));
const _: () = assert!(INDEX_WRITE_BYTES.is_multiple_of(PAGE_BYTES));
/// The size of a record has three bytes in an index entry.
const _: () = assert!(RECORD_BYTES_MAX < 1 << 24);
const _: () = assert!(RECOVERY_READ_BYTES.is_multiple_of(PAGE_BYTES));
/// A record lies in one block, behind at most one page copied from the block before it, with room for a blank after it.
const _: () = assert!(RECORD_BYTES_MAX + FOOTER_BYTES + PAGE_BYTES <= BLOCK_BYTES);
const _: () = assert!(FOOTER_BYTES <= PAGE_BYTES);
const _: () = assert!(WRITE_BYTES_MAX + RECORD_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES * BLOCKS_MIN <= TAIL_CACHE_BYTES);
/// One read of one record must fit in the cache, or it could never complete.
const _: () = assert!(RECORD_BYTES_MAX + (READ_AHEAD_BLOCKS_MAX + 2) * CACHE_BLOCK_BYTES <= CACHE_BYTES);
const _: () = assert!(RECORD_BYTES_MAX as u64 * 4 <= SEGMENT_BYTES);
/// A batch that is being written must never have to wait for a checkpoint that waits for the batch.
const _: () =
    assert!(CHECKPOINT_BYTES >= (WRITE_BYTES_MAX + RECORD_BYTES_MAX) as u64 && CHECKPOINT_LAG_FACTOR >= 2);
