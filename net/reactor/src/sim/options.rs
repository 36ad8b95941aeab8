//! What a simulated world is like.

use std::time::Duration;

use super::Rng;

/// How long something takes: even between `min` and `max`, and once in `tail_one_in` times up to `tail`.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Shortest.
    pub min: Duration,
    /// Longest in the ordinary case.
    pub max: Duration,
    /// How rare the exceptions are; 0: there are none.
    pub tail_one_in: u64,
    /// Longest of the exceptions.
    pub tail: Duration,
}

impl Latency {
    /// From microseconds.
    #[must_use]
    pub const fn micros(min: u64, max: u64, tail_one_in: u64, tail: u64) -> Self {
        Self {
            min: Duration::from_micros(min),
            max: Duration::from_micros(max),
            tail_one_in,
            tail: Duration::from_micros(tail),
        }
    }

    /// Draws one, nanoseconds.
    pub(super) fn sample(&self, rng: &mut Rng) -> u64 {
        let (min, max) = (self.min.as_nanos() as u64, self.max.as_nanos() as u64);
        if rng.one_in(self.tail_one_in) {
            rng.between(max, max.max(self.tail.as_nanos() as u64))
        } else {
            rng.between(min, max)
        }
    }
}

/// Properties of a world that hold for its whole life; what comes and goes is set on [`super::World`].
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// Wall clock at the start, milliseconds since 1970.
    pub wall_ms: u64,
    /// Wall clocks of processes differ from the world's by up to this much, either way, drawn at each start.
    pub clock_skew: Duration,
    /// One way between processes of one host.
    pub loopback: Latency,
    /// One way between hosts.
    pub network: Latency,
    /// One received piece in so many is only a few bytes long; 0: pieces are always as large as they can be.
    pub fragment_one_in: u64,
    /// Bytes a connection holds in each direction between sender and receiver, before the sender has to wait.
    pub socket_bytes: usize,
    /// Data that finds no way for this long fails the connection.
    pub retransmit_timeout: Duration,
    /// A write without flush.
    pub write: Latency,
    /// A write that is durable on completion, and `fdatasync`.
    pub flush: Latency,
    /// A read.
    pub read: Latency,
    /// Opening, renaming, listing and so on.
    pub metadata: Latency,
    /// From something being there for a parked shard to its turn.
    pub wake: Latency,
    /// How long a turn keeps its shard busy, with now and then a thread that the scheduler let wait.
    pub turn: Latency,
    /// Size of every host's disk, bytes.
    pub disk_bytes: u64,
    /// Last events kept as text for [`super::World::trace`]; 0: none.
    pub trace_events: usize,
}

impl Default for SimOptions {
    /// A rack of ordinary machines, no skew, no trace, disks of 1 TiB.
    fn default() -> Self {
        Self {
            wall_ms: 1_790_000_000_000,
            clock_skew: Duration::ZERO,
            loopback: Latency::micros(5, 40, 500, 1_000),
            network: Latency::micros(40, 250, 200, 8_000),
            fragment_one_in: 16,
            socket_bytes: 256 << 10,
            retransmit_timeout: Duration::from_secs(30),
            write: Latency::micros(20, 120, 200, 20_000),
            flush: Latency::micros(60, 400, 100, 30_000),
            read: Latency::micros(15, 150, 200, 20_000),
            metadata: Latency::micros(5, 100, 100, 10_000),
            wake: Latency::micros(1, 15, 300, 2_000),
            turn: Latency::micros(1, 10, 300, 3_000),
            disk_bytes: 1 << 40,
            trace_events: 0,
        }
    }
}
