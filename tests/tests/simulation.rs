//! The cluster under simulation; see `ringmq_tests::simulation` for what is simulated and what is checked.
//!
//! | environment | meaning | default |
//! |---|---|---|
//! | `RINGMQ_SIM_SEEDS` | how many seeds | 1,000 in a release build (10,000 with `RINGMQ_LONG`), 40 in a debug build |
//! | `RINGMQ_SIM_SEED` | the first | 1 |
//! | `RINGMQ_SIM_THREADS` | threads | 2 |
//! | `RINGMQ_SIM_LOG` | prints the logs of all processes: a level, or a filter as `tracing` has them | none |

use ringmq_tests::simulation::batch::{Failure, run_seeds};
use ringmq_tests::simulation::plan::Build;

/// Seeds within which the oracle must find a broker that acknowledges too early.
const SEEDS_TO_CATCH: u64 = 60;
/// Seeds that are run twice: one of so many.
const REPEAT_EVERY: u64 = 50;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")),
        Err(_) => default,
    }
}

fn describe(failure: &Failure) -> String {
    format!(
        "seed {seed} failed:\n  {}\nthe newest events:\n{}\nto repeat it:\n  RINGMQ_SIM_SEED={seed} RINGMQ_SIM_SEEDS=1 cargo \
         test --release -p ringmq-tests --test simulation -- no_seed --nocapture",
        failure.violations.join("\n  "),
        failure.trace,
        seed = failure.seed,
    )
}

#[test]
fn no_seed_breaks_a_promise() {
    let is_long = std::env::var_os("RINGMQ_LONG").is_some();
    let seeds = match (cfg!(debug_assertions), is_long) {
        (true, _) => 40,
        (false, false) => 1_000,
        (false, true) => 10_000,
    };
    let seeds = setting("RINGMQ_SIM_SEEDS", seeds);
    let threads = setting("RINGMQ_SIM_THREADS", 2) as usize;
    if let Ok(filter) = std::env::var("RINGMQ_SIM_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
    }
    let totals = run_seeds(setting("RINGMQ_SIM_SEED", 1), seeds, threads, Build::Honest, REPEAT_EVERY);
    println!(
        "{} seeds, {} lives of the broker, {} messages acknowledged, {} refused, {} consumed, {} events",
        totals.seeds, totals.lives, totals.acknowledged, totals.refused, totals.consumed, totals.events
    );
    let (flips, told) = totals.flips;
    println!(
        "{} logs whose flush failed once, {flips} bits turned over at rest, {told} of them ended a start",
        totals.failed_logs
    );
    if let Some(failure) = &totals.failure {
        panic!("{}", describe(failure));
    }
    assert!(totals.acknowledged > 100 * totals.seeds, "a run that does nothing proves nothing");
}

#[test]
fn a_broker_that_acknowledges_before_it_writes_is_caught() {
    let totals = run_seeds(1, SEEDS_TO_CATCH, 2, Build::AcknowledgesEarly, 0);
    let failure = totals.failure.expect("the oracle must find lost messages");
    println!("caught by seed {}: {}", failure.seed, failure.violations[0]);
    // Not there any more, or another message in its place.
    let lost = |what: &String| what.contains("is gone") || what.contains("was there before");
    assert!(failure.violations.iter().any(lost), "{}", describe(&failure));
}
