//! Messages through pop, with consumers that are killed at random; see `ringmq_tests::killed_consumers` for what is checked.
//!
//! | environment | meaning | default |
//! |---|---|---|
//! | `RINGMQ_POPS` | messages of a run | 1,000,000 in a release build, 5,000 in a debug build |
//! | `RINGMQ_POPS_SEEDS` | runs | 1, with `RINGMQ_LONG` 10 |
//! | `RINGMQ_POPS_SEED` | of the first run: chooses moments and victims | 1 |

use ringmq_tests::killed_consumers::run;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")),
        Err(_) => default,
    }
}

#[test]
fn consumers_that_are_killed_lose_nothing_and_take_nothing_early() {
    let messages = setting("RINGMQ_POPS", if cfg!(debug_assertions) { 5_000 } else { 1_000_000 });
    let first = setting("RINGMQ_POPS_SEED", 1);
    let seeds = setting("RINGMQ_POPS_SEEDS", if std::env::var_os("RINGMQ_LONG").is_some() { 10 } else { 1 });
    for seed in first..first + seeds {
        let totals = run(seed, messages).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        println!("{totals}");
        // The dead had something in their hands, and nobody else has lost anything.
        assert!(totals.kills > 10 && totals.again > 0, "seed {seed}: {totals:?}");
        assert!(totals.again + totals.unanswered <= 32 * totals.kills, "seed {seed}: {totals:?}");
        // Some were killed with an answer on its way to them.
        assert!(totals.unseen + totals.unanswered > 0, "seed {seed}: {totals:?}");
    }
}
