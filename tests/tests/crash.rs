//! kill -9 under load on the real disk; see `ringmq_tests::durability` for what a round is and what is checked.
//!
//! | environment | meaning | default |
//! |---|---|---|
//! | `RINGMQ_CRASH_KILLS` | kills per flush type | 25, with `RINGMQ_LONG` 250 |
//! | `RINGMQ_CRASH_SEED` | chooses moments, sizes and queues | 1 |

use ringmq_tests::durability::kills;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")),
        Err(_) => default,
    }
}

fn every_promise_outlives_kills(flush_disk_type: &str) {
    let kills =
        setting("RINGMQ_CRASH_KILLS", if std::env::var_os("RINGMQ_LONG").is_some() { 250 } else { 25 });
    let kills = u32::try_from(kills).expect("a sensible number of kills");
    let totals = kills::run(flush_disk_type, kills, setting("RINGMQ_CRASH_SEED", 1));
    println!(
        "{flush_disk_type}: {} kills, {} messages acknowledged, {} stored, {} read back, {} offsets committed, longest start {:?}",
        totals.kills, totals.acknowledged, totals.stored, totals.read, totals.commits, totals.start_max
    );
}

#[test]
fn asynchronous_flush_loses_nothing_acknowledged() {
    every_promise_outlives_kills("ASYNC_FLUSH");
}

#[test]
fn synchronous_flush_loses_nothing_acknowledged() {
    every_promise_outlives_kills("SYNC_FLUSH");
}
