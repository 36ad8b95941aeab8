//! kill -9 under load, again and again, against the real broker on the real disk.
//!
//! One *round*: start the broker, check that everything it ever promised is there, put load on it from several
//! connections with many requests in flight while a consumer commits its progress, kill it at a moment of chance.
//! The store lives through all rounds of one flush type.
//!
//! | module | what it holds |
//! |---|---|
//! | [`model`] | what was promised, and the check of a broker against it |
//! | [`load`] | connections that send with a window of requests in flight |
//! | [`progress`] | a consumer that reads and commits, and the check of its offsets |

pub mod load;
pub mod model;
pub mod progress;

use std::time::Duration;

use crate::process::{Server, fresh_folder, remove_folder, unused_broker_port};
use crate::wire::Connection;
use load::Load;
use model::{Model, Reach};
use progress::Progress;

/// Topics that the load writes to.
pub const TOPICS: [&str; 3] = ["crash_a", "crash_b", "crash_c"];
/// Queues of each.
pub const QUEUES: i32 = 4;
/// Connections that send.
const SENDERS: u64 = 4;

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
#[allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]
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
        let started = std::time::Instant::now();
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
        totals.read += model.check(&mut connection, reach);
        progress.check_after_restart(&mut connection, &model);
        if round == rounds {
            break; // the last start only proves the last kill
        }
        let consumer = progress.start(address);
        if round % 5 == 4 {
            std::thread::sleep(progress::LOSS_MAX * 2); // committed offsets become due on disk
        }
        let load = Load::start(address, SENDERS, random.number(), round);
        std::thread::sleep(Duration::from_millis(30 + random.number() % 250));
        let killed = std::time::Instant::now();
        server.kill();
        totals.kills += 1;
        totals.acknowledged += model.add(load.finish());
        progress.finish(consumer, killed);
    }
    totals.stored = model.stored();
    totals.commits = progress.commits();
    assert!(
        totals.acknowledged > u64::from(rounds) * 20,
        "a load that sends nothing proves nothing: {totals:?}"
    );
    assert!(totals.commits > u64::from(rounds), "a consumer that commits nothing proves nothing: {totals:?}");
    remove_folder(&folder);
    totals
}

/// A splitmix sequence: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
