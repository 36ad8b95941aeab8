//! Messages through pop, with consumers that are killed at random; see `ringmq_tests::killed_consumers` for what is checked.
//!
//! | environment | meaning | default |
//! |---|---|---|
//! | `RINGMQ_POPS` | messages | 50,000 in a release build (1,000,000 with `RINGMQ_LONG`), 5,000 in a debug build |
//! | `RINGMQ_POPS_SEED` | chooses moments and victims | 1 |

use ringmq_tests::killed_consumers::run;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")),
        Err(_) => default,
    }
}

#[test]
fn consumers_that_are_killed_lose_nothing_and_take_nothing_early() {
    let messages = match (cfg!(debug_assertions), std::env::var_os("RINGMQ_LONG").is_some()) {
        (true, _) => 5_000,
        (false, false) => 50_000,
        (false, true) => 1_000_000,
    };
    let totals = run(setting("RINGMQ_POPS_SEED", 1), setting("RINGMQ_POPS", messages))
        .unwrap_or_else(|what| panic!("{what}"));
    println!("{totals}");
    // The dead had something in their hands, and nobody else has lost anything.
    assert!(totals.kills > 10 && totals.again > totals.kills / 2, "{totals:?}");
    assert!(totals.again + totals.unanswered <= 32 * totals.kills, "{totals:?}");
    assert!(totals.unseen > 0 && totals.unanswered > 0, "killed with an answer on its way: {totals:?}");
}
