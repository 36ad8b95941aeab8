//! What a seed is like.

use std::time::Duration;

use ringmq_reactor::sim::Rng;

/// The promise of an answered send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// `SYNC_FLUSH`.
    Sync,
    /// `ASYNC_FLUSH`.
    Async,
}

/// Whether the broker under test keeps its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As it is.
    Honest,
    /// Acknowledges before it writes: what the oracle must find.
    AcknowledgesEarly,
}

/// How often something happens, relative to the other things; 0: never in this run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weights {
    /// The broker's process is killed.
    pub kill: u64,
    /// The broker's host loses its power.
    pub power_cut: u64,
    /// The broker is asked to stop, and started again.
    pub stop: u64,
    /// Writes and flushes fail now and then, for a while.
    pub disk_errors: u64,
    /// One write or one flush of a shard's log fails; everything after it would succeed.
    pub fail_once: u64,
    /// A bit of a file turns over while the broker does not run.
    pub bit_flip: u64,
    /// The disk is many times slower, for a while.
    pub slow_disk: u64,
    /// The disk is full, for a while.
    pub disk_full: u64,
    /// Nothing passes between clients and broker, one way or both, for a while.
    pub cut: u64,
    /// Connections between clients and broker are reset.
    pub reset: u64,
    /// The broker gets no processor time, for a while.
    pub stall: u64,
    /// The name server is killed and started again.
    pub name_server: u64,
    /// A client is killed and started again.
    pub client: u64,
}

impl Weights {
    /// In the order of the fields.
    #[must_use]
    pub fn as_array(&self) -> [u64; 13] {
        [
            self.kill,
            self.power_cut,
            self.stop,
            self.disk_errors,
            self.fail_once,
            self.bit_flip,
            self.slow_disk,
            self.disk_full,
            self.cut,
            self.reset,
            self.stall,
            self.name_server,
            self.client,
        ]
    }
}

/// Everything that is drawn before a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of the world too.
    pub seed: u64,
    /// Honest or broken.
    pub build: Build,
    /// What a send promises.
    pub flush: FlushMode,
    /// `flushIntervalCommitLog`.
    pub flush_interval: Duration,
    /// `flushConsumerOffsetInterval`.
    pub offset_interval: Duration,
    /// Producer processes.
    pub producers: u32,
    /// Sends that each keeps in flight.
    pub sends_in_flight: u32,
    /// Longest pause between two sends of one of them.
    pub think_max: Duration,
    /// One send in so many is a batch; 0: none.
    pub batch_one_in: u64,
    /// Largest ordinary body; one in 64 is up to ten times as large.
    pub body_bytes_max: u64,
    /// Consumer processes of the one group.
    pub consumers: u32,
    /// How long faults go on.
    pub trouble: Duration,
    /// Average time between two things that go wrong.
    pub fault_every: Duration,
    /// Which.
    pub weights: Weights,
}

/// Queues of [`TOPICS`]: the first is made by request, the second by the first message.
pub const TOPICS: [(&str, i32); 2] = [("orders", 6), ("made-by-sending", 4)];
/// Data shards of the broker.
pub const SHARDS: u16 = 3;
/// The consumer group.
pub const GROUP: &str = "readers";
/// Most a slow disk is slower.
pub const SLOWNESS_MAX: u64 = 20;
/// Longest time without a processor.
pub const STALL_MAX: Duration = Duration::from_millis(1_000);

impl Plan {
    /// Equal seeds give equal plans.
    #[must_use]
    pub fn new(seed: u64, build: Build) -> Self {
        let mut rng = Rng::new(seed ^ 0x504C_414E);
        // Most runs lack most faults: what hides behind a frequent fault shows in runs without it.
        let mut weight = |most: u64| if rng.one_in(2) { rng.between(1, most) } else { 0 };
        let mut weights = Weights {
            kill: weight(10),
            power_cut: weight(10),
            stop: weight(4),
            disk_errors: weight(4),
            fail_once: weight(6),
            bit_flip: weight(8),
            slow_disk: weight(6),
            disk_full: weight(3),
            cut: weight(8),
            reset: weight(8),
            stall: weight(4),
            name_server: weight(3),
            client: weight(6),
        };
        if weights.as_array().iter().all(|w| *w == 0) {
            weights.kill = 1;
        }
        let ms = |rng: &mut Rng, from, to| Duration::from_millis(rng.between(from, to));
        Self {
            seed,
            build,
            flush: if rng.one_in(2) { FlushMode::Sync } else { FlushMode::Async },
            flush_interval: ms(&mut rng, 50, 500),
            offset_interval: ms(&mut rng, 500, 2_000),
            producers: rng.between(1, 3) as u32,
            sends_in_flight: rng.between(1, 5) as u32,
            think_max: ms(&mut rng, 5, 80),
            batch_one_in: [0, 3, 10][rng.index(3)],
            body_bytes_max: [100, 1_000, 5_000][rng.index(3)],
            consumers: rng.between(1, 2) as u32,
            trouble: ms(&mut rng, 3_000, 8_000),
            fault_every: ms(&mut rng, 300, 2_500),
            weights,
        }
    }
}
