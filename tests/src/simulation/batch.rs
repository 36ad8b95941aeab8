//! Many seeds, on several threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::plan::Build;
use super::run::{Report, run};

/// Events kept as text, for a failing seed.
const TRACE_EVENTS: usize = 400;

/// A seed that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What was wrong.
    pub violations: Vec<String>,
    /// The newest events before the end.
    pub trace: String,
}

/// What all seeds did together.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Events delivered.
    pub events: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Sends refused, failed or timed out.
    pub refused: u64,
    /// Records consumed.
    pub consumed: u64,
    /// Starts of brokers.
    pub lives: u64,
    /// Logs of which one flush failed.
    pub failed_logs: u64,
    /// Bits that turned over at rest, and those of them that ended a start.
    pub flips: (u64, u64),
    /// The failing seed of the lowest number, if any.
    pub failure: Option<Failure>,
}

/// Runs seeds `first..first + count` on `threads` threads; after a failure no further seed is begun. Every `repeat_every`th
/// seed is run twice and must give the same trace; 0: none.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the threads run simulators; nothing simulated sees them")]
pub fn run_seeds(first: u64, count: u64, threads: usize, build: Build, repeat_every: u64) -> Totals {
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let report = guarded(seed, build);
                    let mut violations = report.violations.clone();
                    if repeat_every != 0 && seed.is_multiple_of(repeat_every) {
                        let again = guarded(seed, build);
                        if (again.trace_hash, again.events) != (report.trace_hash, report.events) {
                            let (one, two) = (report.trace_hash, again.trace_hash);
                            violations
                                .push(format!("two runs differ: trace hashes {one:016x} and {two:016x}"));
                        }
                    }
                    let mut totals = totals.lock().expect("no holder panicked");
                    totals.seeds += 1;
                    totals.events += report.events;
                    totals.acknowledged += report.counts.acknowledged;
                    totals.refused += report.counts.refused;
                    totals.consumed += report.counts.consumed;
                    totals.lives += report.counts.lives;
                    totals.failed_logs += report.counts.failed_logs;
                    totals.flips.0 += report.counts.flips;
                    totals.flips.1 += report.counts.flips_told;
                    if !violations.is_empty() && totals.failure.as_ref().is_none_or(|f| f.seed > seed) {
                        totals.failure = Some(Failure { seed, violations, trace: report.trace });
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    totals.into_inner().expect("no holder panicked")
}

/// A panic in the code under test is a violation of its seed.
fn guarded(seed: u64, build: Build) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed, build, TRACE_EVENTS))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            trace_hash: 0,
            events: 0,
            counts: super::ledger::Counts::default(),
            violations: vec![format!("panicked: {}", text.unwrap_or_default())],
            trace: String::new(),
        }
    })
}
