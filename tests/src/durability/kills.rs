//! kill -9 under load, again and again, against the real broker on the real disk. The store lives through all rounds of
//! one flush type.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::time::{Duration, Instant};

use super::load::{Effort, Load};
use super::model::{Model, Promised, Reach};
use super::progress::{self, Progress};
use super::{QUEUES, Random, SENDERS, TOPICS, expect_none};
use crate::process::{Server, fresh_folder, remove_folder, unused_broker_port};
use crate::wire::Connection;

/// What one flush type went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Processes killed.
    pub kills: u32,
    /// Messages acknowledged before a kill.
    pub acknowledged: u64,
    /// Messages in the log at the end.
    pub stored: u64,
    /// Messages read back, over all rounds.
    pub read: u64,
    /// Offsets that the consumer committed.
    pub commits: u64,
    /// The longest time from the start of a process to its first answer.
    pub start_max: Duration,
}

/// Runs `rounds` rounds with `flush_disk_type`; `seed` chooses moments, sizes and queues.
///
/// # Panics
/// A promise is broken; the message says which, and the store stays for a look.
pub fn run(flush_disk_type: &str, rounds: u32, seed: u64) -> Totals {
    let folder = fresh_folder(&format!("crash-{flush_disk_type}"));
    println!("{flush_disk_type}: seed {seed}, store in {}", folder.display());
    let settings = [
        ("flushDiskType", flush_disk_type),
        ("shards", "2"),
        ("mapedFileSizeCommitLog", "33554432"), // the smallest, so that segments roll
        ("flushConsumerOffsetInterval", "200"),
    ];
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut progress = Progress::default();
    let mut totals = Totals::default();
    for round in 0..=rounds {
        let started = Instant::now();
        let mut server = Server::broker(&folder, unused_broker_port(), &settings);
        totals.start_max = totals.start_max.max(started.elapsed());
        let address = server.address();
        let mut connection = Connection::connect(address).expect("a connection to the restarted broker");
        if round == 0 {
            for topic in TOPICS {
                assert_eq!(connection.create_topic(topic, QUEUES).expect("a topic").code, 0);
            }
        }
        // Old messages are read again in every fifth round and at the end, new ones in each.
        let reach = if round % 5 == 0 || round == rounds { Reach::Everything } else { Reach::News };
        let checked = model.check(&mut connection, reach);
        expect_none(&checked.faults);
        totals.read += checked.read;
        expect_none(&progress.check_after_restart(&mut connection, &model));
        if round == rounds {
            break; // the last start only proves the last kill
        }
        let consumer = progress.start(address);
        if round % 5 == 4 {
            std::thread::sleep(progress::LOSS_MAX * 2); // committed offsets become due on disk
        }
        let load = Load::start(address, Effort::FULL, random.number(), round);
        std::thread::sleep(Duration::from_millis(30 + random.number() % 250));
        let killed = Instant::now();
        server.kill();
        totals.kills += 1;
        totals.acknowledged += model.add(load.finish(killed), Promised::Everything, None);
        progress.finish(consumer, killed, killed.checked_sub(progress::LOSS_MAX));
    }
    totals.stored = model.stored();
    totals.commits = progress.commits();
    assert!(
        totals.acknowledged > u64::from(rounds) * SENDERS * 5,
        "a load that sends nothing proves nothing: {totals:?}"
    );
    assert!(totals.commits > u64::from(rounds), "a consumer that commits nothing proves nothing: {totals:?}");
    remove_folder(&folder);
    totals
}
