//! Counters for runtime info and metrics.

use std::time::Duration;

use ringmq_reactor::Space;

/// What a store has done since it was opened, and how it is now. Cheap to copy out; read at any time.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// Records appended.
    pub appended_messages: u64,
    /// Their bytes.
    pub appended_bytes: u64,
    /// Appends refused.
    pub refused_appends: u64,
    /// Log writes completed.
    pub writes: u64,
    /// Bytes of these writes, in pages, rewritten half-filled pages included.
    pub written_bytes: u64,
    /// From submission to completion of a log write.
    pub write_latency: LatencyBuckets,
    /// `fdatasync`s completed.
    pub flushes: u64,
    /// From submission to completion of an `fdatasync`.
    pub flush_latency: LatencyBuckets,
    /// Bytes of zeros written ahead.
    pub zeroed_bytes: u64,
    /// Cold reads from disk completed.
    pub cold_reads: u64,
    /// Reads answered from the cold-read cache.
    pub cold_hits: u64,
    /// Whether a log write is in flight.
    pub write_in_flight: bool,
    /// Appended and not yet written.
    pub unwritten_bytes: u64,
    /// Written and not yet durable.
    pub unsynced_bytes: u64,
    /// Blocks of the tail cache that exist.
    pub tail_blocks: usize,
    /// Whether the tail cache is in a file in memory that outlives the process: ASYNC_FLUSH then acknowledges before the write.
    pub tail_outlives_process: bool,
    /// Bytes that the cold-read cache holds.
    pub cache_bytes: usize,
    /// Queues in the index.
    pub queues: usize,
    /// Entries in the index.
    pub index_entries: u64,
    /// Keys in the key index.
    pub key_entries: u64,
    /// Its files.
    pub key_runs: usize,
    /// Memory that it takes: tables, filters, fences, pages.
    pub key_memory_bytes: usize,
    /// Filters among that.
    pub key_filter_bytes: usize,
    /// Bytes of the log that are not in the key index and will be read again for it.
    pub key_gap_bytes: u64,
    /// Pages of key files that queries have read.
    pub key_pages_read: u64,
    /// Entries of the index that are in memory.
    pub index_memory_entries: u64,
    /// Index runs on disk.
    pub index_runs: usize,
    /// Log offset up to which they reach.
    pub index_end: u64,
    /// Bytes of index runs written.
    pub index_written_bytes: u64,
    /// Attempts to write an index run that failed; each is made again.
    pub index_failures: u64,
    /// Blocks of index runs read back.
    pub index_reads: u64,
    /// Segment files.
    pub segments: usize,
    /// Segments that retention has removed since the store was opened.
    pub removed_segments: u64,
    /// Segments that were made from old ones since the store was opened.
    pub recycled_segments: u64,
    /// Room on the file system at the last [`crate::Store::refresh_space`] that was answered.
    pub space: Option<Space>,
}

/// Counts of latencies by power of two: bucket `i` holds those below `2^i` µs and not below half of that; the last one all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyBuckets {
    /// See the type.
    pub counts: [u64; 24],
    /// Largest seen.
    pub max: Duration,
}

impl LatencyBuckets {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - micros.leading_zeros()) as usize;
        self.counts[bucket.min(self.counts.len() - 1)] += 1;
        self.max = self.max.max(latency);
    }

    /// Upper bound of the bucket in which the given fraction (0 to 1) of all latencies is reached; zero if there are none.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Duration {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * fraction).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_micros(1 << bucket).min(self.max);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_from_power_of_two_buckets() {
        let mut buckets = LatencyBuckets::default();
        assert_eq!(buckets.quantile(0.5), Duration::ZERO);
        for _ in 0..99 {
            buckets.record(Duration::from_micros(100));
        }
        buckets.record(Duration::from_millis(900));
        assert_eq!(buckets.quantile(0.5), Duration::from_micros(128));
        assert_eq!(buckets.quantile(1.0), Duration::from_millis(900));
    }
}
