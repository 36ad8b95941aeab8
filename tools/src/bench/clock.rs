//! Wall clock with microseconds, from one reading.

use std::time::{SystemTime, UNIX_EPOCH};

use ringmq_reactor::Monotonic;

/// Ties the reactor's monotonic time to the wall clock, which the reactor tells in milliseconds only.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall_us: u64,
    at: Monotonic,
}

impl Clock {
    /// Reads the wall clock once; `now` is the reactor's present time.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "end-to-end latency needs microseconds; read once per load thread"
    )]
    pub fn new(now: Monotonic) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX), at: now }
    }

    /// Wall clock at `time`, microseconds since 1970.
    #[must_use]
    pub fn wall_us(&self, time: Monotonic) -> u64 {
        if time >= self.at {
            self.wall_us + time.since(self.at).as_micros() as u64
        } else {
            self.wall_us - self.at.since(time).as_micros() as u64
        }
    }
}
