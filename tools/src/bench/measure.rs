//! What the load threads count, and what the main thread reads while they run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// Longest latency a histogram holds, microseconds; longer ones are counted there.
pub const LATENCY_MAX_US: u64 = 120_000_000;

/// Latencies in microseconds with three significant digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("constant bounds")
}

/// Counters that change while the load runs; written by load threads, read by whoever prints.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages answered with success.
    pub sent: AtomicU64,
    /// Messages answered with an error or lost with their connection.
    pub failed: AtomicU64,
    /// Messages received.
    pub received: AtomicU64,
    /// Load threads that have ended.
    pub ended: AtomicU64,
}

impl Progress {
    /// Adds without ordering: the numbers are for people.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// One direction's result over the measured time.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// Body bytes.
    pub body_bytes: u64,
    /// Requests (a batch or a pull is one).
    pub requests: u64,
    /// Latencies, microseconds: of answers for a producer, from due to received for a consumer.
    pub latency: Histogram<u64>,
    /// Failed messages by response code; -1 stands for a lost connection.
    pub errors: Vec<(i32, u64)>,
    /// Nanoseconds between the first and the last counted moment.
    pub elapsed_ns: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            messages: 0,
            body_bytes: 0,
            requests: 0,
            latency: histogram(),
            errors: Vec::new(),
            elapsed_ns: 0,
        }
    }
}

impl Tally {
    /// Records one latency.
    pub fn record(&mut self, us: u64) {
        self.latency.saturating_record(us.max(1));
    }

    /// Counts failed messages.
    pub fn error(&mut self, code: i32, messages: u64) {
        match self.errors.iter_mut().find(|(c, _)| *c == code) {
            Some((_, n)) => *n += messages,
            None => self.errors.push((code, messages)),
        }
    }

    /// Adds another thread's tally; elapsed time is the longest.
    pub fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.body_bytes += other.body_bytes;
        self.requests += other.requests;
        self.latency.add(&other.latency).expect("same bounds");
        for &(code, n) in &other.errors {
            self.error(code, n);
        }
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
    }

    /// Messages per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.elapsed_ns == 0 { 0.0 } else { self.messages as f64 * 1e9 / self.elapsed_ns as f64 }
    }
}

/// Where load threads leave their tallies when they end.
#[derive(Debug, Default)]
pub struct Results {
    /// Producers'.
    pub produced: Mutex<Tally>,
    /// Consumers'.
    pub consumed: Mutex<Tally>,
}
