//! The answer to 28 (broker runtime info): RocketMQ's keys and number formats, from all shards' counters.

use std::fmt::Write as _;

use ringmq_reactor::Space;

use crate::config::BrokerConfig;
use crate::message::{PutLatency, Rates, ShardRuntime};

/// Messages stored and handed out since start, all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Stored.
    pub put: u64,
    /// Handed out.
    pub get: u64,
}

/// Totals at the last two midnights (UTC), for the "yesterday" and "today" columns of operators' tools.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mornings {
    day: u64,
    yesterday: Totals,
    today: Totals,
}

const DAY_MS: u64 = 86_400_000;

impl Mornings {
    /// Counting starts now.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self { day: now_ms / DAY_MS, ..Self::default() }
    }

    /// Whether midnight has passed since totals were last noted.
    #[must_use]
    pub fn is_due(&self, now_ms: u64) -> bool {
        now_ms / DAY_MS > self.day
    }

    /// Notes the totals of a new day.
    pub fn note(&mut self, now_ms: u64, totals: Totals) {
        let day = now_ms / DAY_MS;
        self.yesterday = if day == self.day + 1 { self.today } else { totals };
        self.today = totals;
        self.day = day;
    }
}

/// What only the coordination shard knows.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Settings.
    pub config: &'a BrokerConfig,
    /// Version shown to operators.
    pub version: &'a str,
    /// When the broker started, ms.
    pub boot_ms: u64,
    /// Wall clock, ms.
    pub now_ms: u64,
    /// Room on the store's file system.
    pub space: Option<Space>,
    /// Totals at midnight.
    pub mornings: &'a Mornings,
}

/// Sum of messages over shards.
#[must_use]
pub fn totals(shards: &[ShardRuntime]) -> Totals {
    Totals {
        put: shards.iter().map(|shard| shard.put_messages).sum(),
        get: shards.iter().map(|shard| shard.get_messages).sum(),
    }
}

/// Key and value of every entry.
#[must_use]
pub fn table(facts: &Facts<'_>, shards: &[ShardRuntime]) -> Vec<(String, String)> {
    let mut table = Table(Vec::with_capacity(96));
    identity(&mut table, facts, shards);
    rates(&mut table, shards);
    puts(&mut table, shards);
    log(&mut table, facts, shards);
    delays(&mut table, shards);
    daily(&mut table, facts.mornings, totals(shards));
    queues(&mut table, shards);
    table.0
}

struct Table(Vec<(String, String)>);

impl Table {
    fn add(&mut self, key: impl Into<String>, value: impl ToString) {
        self.0.push((key.into(), value.to_string()));
    }
}

fn identity(table: &mut Table, facts: &Facts<'_>, shards: &[ShardRuntime]) {
    table.add("bootTimestamp", facts.boot_ms);
    table.add("runtime", runtime_text(facts.now_ms.saturating_sub(facts.boot_ms)));
    table.add("brokerVersionDesc", facts.version);
    table.add("brokerVersion", ringmq_version());
    table.add("brokerActive", true);
    table.add("startAcceptSendRequestTimeStamp", 0);
    table.add("shards", shards.len());
    table.add("connections", shards.iter().map(|shard| shard.connections).sum::<usize>());
    let outlives = shards.iter().all(|shard| shard.tail_outlives_process);
    table.add("tailCache", if outlives { "mapped" } else { "process memory" });
    table.add("unwrittenBytes", shards.iter().map(|shard| shard.unwritten_bytes).sum::<u64>());
    let poisoned: Vec<String> = shards
        .iter()
        .enumerate()
        .filter_map(|(at, shard)| shard.poisoned.as_ref().map(|why| format!("shard {at}: {why}")))
        .collect();
    if !poisoned.is_empty() {
        table.add("poisonedLogs", poisoned.join("; "));
    }
}

fn ringmq_version() -> i32 {
    ringmq_remoting::code::version::CURRENT
}

/// `[ 0 days, 1 hours, 2 minutes, 3 seconds ]`
fn runtime_text(millis: u64) -> String {
    let seconds = millis / 1000;
    format!(
        "[ {} days, {} hours, {} minutes, {} seconds ]",
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn sum_rates(shards: &[ShardRuntime], pick: impl Fn(&ShardRuntime) -> Rates) -> Rates {
    shards.iter().map(pick).fold(Rates::default(), |sum, rates| Rates {
        last_10s: sum.last_10s + rates.last_10s,
        last_1m: sum.last_1m + rates.last_1m,
        last_10m: sum.last_10m + rates.last_10m,
    })
}

/// Three numbers with one space between: readers split there and parse every piece.
fn rates_text(rates: Rates) -> String {
    format!("{:?} {:?} {:?}", rates.last_10s, rates.last_1m, rates.last_10m)
}

fn rates(table: &mut Table, shards: &[ShardRuntime]) {
    let found = sum_rates(shards, |shard| shard.get_found_rates);
    let miss = sum_rates(shards, |shard| shard.get_miss_rates);
    let all = Rates {
        last_10s: found.last_10s + miss.last_10s,
        last_1m: found.last_1m + miss.last_1m,
        last_10m: found.last_10m + miss.last_10m,
    };
    let transferred = rates_text(sum_rates(shards, |shard| shard.get_transferred_rates));
    table.add("putTps", rates_text(sum_rates(shards, |shard| shard.put_rates)));
    table.add("getFoundTps", rates_text(found));
    table.add("getMissTps", rates_text(miss));
    table.add("getTotalTps", rates_text(all));
    // Renamed in 5.x; tools before that read the old spelling and fail without it.
    table.add("getTransferedTps", &transferred);
    table.add("getTransferredTps", &transferred);
}

fn puts(table: &mut Table, shards: &[ShardRuntime]) {
    let messages: u64 = shards.iter().map(|shard| shard.put_messages).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.put_bytes).sum();
    let mut counts = [0; 13];
    for shard in shards {
        for (sum, count) in counts.iter_mut().zip(shard.put_latency.counts) {
            *sum += count;
        }
    }
    // At least 1: readers divide by it.
    table.add("putMessageTimesTotal", messages.max(1));
    table.add("putMessageFailedTimes", shards.iter().map(|shard| shard.put_failed).sum::<u64>());
    table.add("putMessageSizeTotal", bytes);
    #[allow(clippy::cast_precision_loss, reason = "an average for display")]
    table.add("putMessageAverageSize", format!("{:?}", bytes as f64 / messages.max(1) as f64));
    table.add(
        "putMessageEntireTimeMax",
        shards.iter().map(|shard| shard.put_latency.max_ms).max().unwrap_or(0),
    );
    table.add("getMessageEntireTimeMax", shards.iter().map(|shard| shard.get_max_ms).max().unwrap_or(0));
    table.add("putMessageDistributeTime", distribution_text(&counts));
    table.add("putLatency99", format!("{:.2}", percentile(&counts, 0.99)));
    table.add("putLatency999", format!("{:.2}", percentile(&counts, 0.999)));
    table.add("dispatchMaxBuffer", 0);
    table.add("dispatchBehindBytes", 0);
    let oldest = shards.iter().map(|shard| shard.pending_send_oldest_ms).max().unwrap_or(0);
    table.add("pageCacheLockTimeMills", oldest);
}

const BUCKETS: [&str; 13] = [
    "[<=0ms]",
    "[0~10ms]",
    "[10~50ms]",
    "[50~100ms]",
    "[100~200ms]",
    "[200~500ms]",
    "[500ms~1s]",
    "[1~2s]",
    "[2~3s]",
    "[3~4s]",
    "[4~5s]",
    "[5~10s]",
    "[10s~]",
];

fn distribution_text(counts: &[u64; 13]) -> String {
    let mut text = String::new();
    for (name, count) in BUCKETS.iter().zip(counts) {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "{name}:{count}");
    }
    text
}

/// Latency, ms, that the given share of messages does not exceed; linear inside a bucket.
#[allow(clippy::cast_precision_loss, reason = "an estimate for display")]
fn percentile(counts: &[u64; 13], share: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    let wanted = total as f64 * share;
    let mut seen = 0.0;
    let mut lower = 0.0;
    for (at, &count) in counts.iter().enumerate() {
        let upper = PutLatency::BOUNDS_MS.get(at).map_or(lower, |&bound| bound as f64);
        if count > 0 && seen + count as f64 >= wanted {
            return lower + (upper - lower) * ((wanted - seen) / count as f64);
        }
        seen += count as f64;
        lower = upper;
    }
    0.0
}

fn log(table: &mut Table, facts: &Facts<'_>, shards: &[ShardRuntime]) {
    // Logs of all shards taken together: what matters to readers is the difference of the two.
    table.add("commitLogMinOffset", shards.iter().map(|shard| shard.log_min).sum::<u64>());
    table.add("commitLogMaxOffset", shards.iter().map(|shard| shard.log_max).sum::<u64>());
    let to_flush: u64 = shards.iter().map(|shard| shard.log_max.saturating_sub(shard.log_durable)).sum();
    table.add("remainHowManyDataToFlush", size_text(to_flush));
    table.add("remainTransientStoreBufferNumbs", i32::MAX);
    let earliest = shards.iter().filter_map(|shard| shard.earliest_store_ms).min().unwrap_or(-1);
    table.add("earliestMessageTimeStamp", earliest);
    let Some(Space { total, available }) = facts.space else { return };
    #[allow(clippy::cast_precision_loss, reason = "a ratio for display")]
    let ratio = if total == 0 { 0.0 } else { (total - available.min(total)) as f64 / total as f64 };
    let root = facts.config.store_path_root_dir.display();
    table.add("commitLogDiskRatio", format!("{ratio:?}"));
    table.add(format!("commitLogDiskRatio_{root}"), format!("{ratio:?}"));
    table.add("consumeQueueDiskRatio", format!("{ratio:?}"));
    table.add(
        "commitLogDirCapacity",
        format!("Total : {}, Free : {}.", size_text(total), size_text(available)),
    );
}

/// `0 B`, `1.5 KiB`, `100.0 GiB`
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "rounded to one digit anyway")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

fn delays(table: &mut Table, shards: &[ShardRuntime]) {
    let mut levels = std::collections::BTreeMap::<i32, (i64, i64)>::new();
    for progress in shards.iter().flat_map(|shard| &shard.delay) {
        let sums = levels.entry(progress.level).or_default();
        sums.0 += progress.offset;
        sums.1 += progress.max_offset;
    }
    for (level, (offset, max_offset)) in levels {
        table.add(format!("scheduleMessageOffset_{level}"), format!("{offset},{max_offset}"));
    }
    table.add("timerReadBehind", 0);
    table.add("timerOffsetBehind", 0);
    table.add("timerCongestNum", 0);
    table.add("timerEnqueueTps", "0.0");
    table.add("timerDequeueTps", "0.0");
}

fn daily(table: &mut Table, mornings: &Mornings, now: Totals) {
    table.add("msgPutTotalYesterdayMorning", mornings.yesterday.put);
    table.add("msgPutTotalTodayMorning", mornings.today.put);
    table.add("msgPutTotalTodayNow", now.put);
    table.add("msgGetTotalYesterdayMorning", mornings.yesterday.get);
    table.add("msgGetTotalTodayMorning", mornings.today.get);
    table.add("msgGetTotalTodayNow", now.get);
}

/// There are no thread pools: what waits is sends for their acknowledgement. Pulls that wait for messages are not a queue.
fn queues(table: &mut Table, shards: &[ShardRuntime]) {
    let sends: usize = shards.iter().map(|shard| shard.pending_sends).sum();
    let oldest = shards.iter().map(|shard| shard.pending_send_oldest_ms).max().unwrap_or(0);
    for (pool, waiting, capacity) in [
        ("send", sends, 10_000),
        ("pull", 0, 100_000),
        ("litePull", 0, 100_000),
        ("query", 0, 20_000),
        ("ack", 0, 100_000),
    ] {
        table.add(format!("{pool}ThreadPoolQueueSize"), waiting);
        table.add(format!("{pool}ThreadPoolQueueCapacity"), capacity);
        table.add(format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), if pool == "send" { oldest } else { 0 });
    }
    table.add("EndTransactionQueueSize", 0);
    table.add("EndTransactionThreadPoolQueueCapacity", 100_000);
    table.add("heldPulls", shards.iter().map(|shard| shard.held_pulls).sum::<usize>());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;
    use crate::message::DelayLevelProgress;

    fn shard() -> ShardRuntime {
        let rates = Rates { last_10s: 1.5, last_1m: 2.0, last_10m: 0.0 };
        let mut put_latency = PutLatency { max_ms: 42, ..PutLatency::default() };
        put_latency.counts[0] = 90;
        put_latency.counts[1] = 10;
        ShardRuntime {
            put_messages: 100,
            put_bytes: 25_600,
            put_rates: rates,
            get_found_rates: rates,
            get_miss_rates: Rates { last_10s: 0.5, ..Rates::default() },
            put_latency,
            log_min: 0,
            log_max: 30_000,
            log_durable: 28_464,
            earliest_store_ms: Some(1_700_000_000_000),
            delay: vec![DelayLevelProgress { level: 3, offset: 4, max_offset: 6 }],
            ..ShardRuntime::default()
        }
    }

    fn lookup(shards: &[ShardRuntime]) -> impl Fn(&str) -> String + use<> {
        let (config, _) = BrokerConfig::from_text("", &[], &HostFacts::for_tests()).expect("defaults");
        let mut mornings = Mornings::new(0);
        mornings.note(DAY_MS, Totals { put: 3, get: 2 });
        let facts = Facts {
            config: &config,
            version: "V5_3_3",
            boot_ms: 1_000,
            now_ms: 1_000 + 3_723_000,
            space: Some(Space { total: 200 << 30, available: 150 << 30 }),
            mornings: &mornings,
        };
        let table = table(&facts, shards);
        move |key| {
            table.iter().find(|(k, _)| k == key).unwrap_or_else(|| panic!("{key} is missing")).1.clone()
        }
    }

    #[test]
    fn values_are_in_the_references_formats() {
        let value = lookup(&[shard(), shard()]);
        assert_eq!(value("runtime"), "[ 0 days, 1 hours, 2 minutes, 3 seconds ]");
        assert_eq!(value("putTps"), "3.0 4.0 0.0");
        assert_eq!(value("getTotalTps"), "4.0 4.0 0.0");
        assert_eq!(value("getTransferedTps"), value("getTransferredTps"));
        assert_eq!(value("putMessageAverageSize"), "256.0");
        assert!(value("putMessageDistributeTime").starts_with("[<=0ms]:180 [0~10ms]:20 [10~50ms]:0 "));
        assert!(value("putMessageDistributeTime").ends_with("[10s~]:0"));
        assert_eq!(value("putLatency99"), "9.00");
        assert_eq!(value("commitLogDiskRatio"), "0.25");
        assert_eq!(value("commitLogDirCapacity"), "Total : 200.0 GiB, Free : 150.0 GiB.");
        assert_eq!(value("remainHowManyDataToFlush"), "3.0 KiB");
        assert_eq!(value("scheduleMessageOffset_3"), "8,12");
        assert_eq!(value("earliestMessageTimeStamp"), "1700000000000");
        assert_eq!(value("msgPutTotalTodayNow"), "200");
        assert_eq!(value("msgPutTotalTodayMorning"), "3");
        assert_eq!(value("sendThreadPoolQueueSize"), "0");
    }

    #[test]
    fn an_empty_broker_gives_numbers_that_readers_can_use() {
        let value = lookup(&[]);
        assert_eq!(value("putMessageTimesTotal"), "1");
        assert_eq!(value("earliestMessageTimeStamp"), "-1");
        assert_eq!(value("putLatency99"), "0.00");
    }

    #[test]
    fn mornings_move_with_midnight() {
        let mut mornings = Mornings::new(10);
        assert!(!mornings.is_due(DAY_MS - 1));
        assert!(mornings.is_due(DAY_MS));
        mornings.note(DAY_MS, Totals { put: 5, get: 4 });
        mornings.note(2 * DAY_MS, Totals { put: 9, get: 8 });
        assert_eq!((mornings.yesterday.put, mornings.today.put), (5, 9));
    }
}
