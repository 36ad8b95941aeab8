//! What this shard counts. Nothing here has a timer: windows move on when something is counted or asked for.

mod items;
mod meter;

use std::time::Duration;

use ringmq_reactor::Monotonic;

pub(crate) use items::Items;
pub(crate) use meter::Meter;

use crate::message::{PutLatency, StatsItem};

/// Counters of one data shard since start.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) put_messages: u64,
    pub(crate) put_bytes: u64,
    pub(crate) put_failed: u64,
    pub(crate) get_messages: u64,
    pub(crate) put: Meter,
    pub(crate) get_found: Meter,
    pub(crate) get_miss: Meter,
    pub(crate) get_transferred: Meter,
    pub(crate) put_latency: PutLatency,
    pub(crate) get_max_ms: u64,
    items: Items,
}

impl Stats {
    pub(crate) fn new(now: Monotonic) -> Self {
        Self {
            put_messages: 0,
            put_bytes: 0,
            put_failed: 0,
            get_messages: 0,
            put: Meter::new(now),
            get_found: Meter::new(now),
            get_miss: Meter::new(now),
            get_transferred: Meter::new(now),
            put_latency: PutLatency::default(),
            get_max_ms: 0,
            items: Items::new(now),
        }
    }

    /// Messages were stored.
    pub(crate) fn put(&mut self, now: Monotonic, topic: &str, messages: usize, bytes: usize) {
        let (messages, bytes) = (messages as u64, bytes as u64);
        self.put_messages += messages;
        self.put_bytes += bytes;
        self.put.add(now, messages);
        self.items.add(now, ("TOPIC_PUT_NUMS", "TOPIC_PUT_SIZE"), &[topic], messages, bytes);
    }

    /// How long a producer waited for its answer.
    pub(crate) fn put_took(&mut self, waited: Duration) {
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        let bucket = PutLatency::BOUNDS_MS.iter().position(|&bound| millis <= bound);
        self.put_latency.counts[bucket.unwrap_or(PutLatency::BOUNDS_MS.len())] += 1;
        self.put_latency.max_ms = self.put_latency.max_ms.max(millis);
    }

    /// A message was refused by the store.
    pub(crate) fn put_failed(&mut self) {
        self.put_failed += 1;
    }

    /// A pull was answered.
    pub(crate) fn got(
        &mut self,
        now: Monotonic,
        group: &str,
        topic: &str,
        messages: usize,
        bytes: usize,
        took: Duration,
    ) {
        let (messages, bytes) = (messages as u64, bytes as u64);
        if messages == 0 {
            return self.get_miss.add(now, 1);
        }
        self.get_messages += messages;
        self.get_found.add(now, 1);
        self.get_transferred.add(now, messages);
        self.get_max_ms = self.get_max_ms.max(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.items.add(now, ("GROUP_GET_NUMS", "GROUP_GET_SIZE"), &[topic, group], messages, bytes);
    }

    /// A consumer sent a message back.
    pub(crate) fn sent_back(&mut self, now: Monotonic, group: &str, topic: &str) {
        self.items.add(now, ("SNDBCK_PUT_NUMS", "SNDBCK_PUT_SIZE"), &[topic, group], 1, 0);
    }

    /// Item of code 315 as this shard knows it.
    pub(crate) fn item(&mut self, now: Monotonic, name: &str, key: &str) -> Option<StatsItem> {
        self.items.get(now, name, key)
    }

    /// Messages per second that a group got of a topic, over the last minute.
    pub(crate) fn group_get_tps(&mut self, now: Monotonic, topic: &str, group: &str) -> f64 {
        let item = self.items.get(now, "GROUP_GET_NUMS", &format!("{topic}@{group}"));
        item.filter(|item| item.minute.millis > 0)
            .map_or(0.0, |item| item.minute.sum as f64 * 1000.0 / item.minute.millis as f64)
    }

    /// Forgets a topic or group that was deleted.
    pub(crate) fn forget(&mut self, name: &str) {
        self.items.forget(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_fall_into_their_buckets() {
        let mut stats = Stats::new(Monotonic(0));
        for (millis, bucket) in [(0, 0), (1, 1), (10, 1), (11, 2), (10_000, 11), (10_001, 12)] {
            let before = stats.put_latency.counts[bucket];
            stats.put_took(Duration::from_millis(millis));
            assert_eq!(stats.put_latency.counts[bucket], before + 1, "{millis} ms");
        }
        assert_eq!(stats.put_latency.max_ms, 10_001);
    }

    #[test]
    fn a_pull_that_finds_nothing_is_a_miss() {
        let mut stats = Stats::new(Monotonic(0));
        stats.got(Monotonic(1), "g", "T", 0, 0, Duration::ZERO);
        stats.got(Monotonic(1), "g", "T", 3, 300, Duration::ZERO);
        let item = stats.item(Monotonic(2), "GROUP_GET_NUMS", "T@g").expect("counted");
        assert_eq!((item.minute.sum, item.minute.times), (3, 1));
        assert_eq!(stats.item(Monotonic(2), "GROUP_GET_SIZE", "T@g").expect("counted").day.sum, 300);
        assert_eq!(stats.item(Monotonic(2), "GROUP_GET_NUMS", "T@other"), None);
    }
}
