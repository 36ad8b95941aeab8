//! Events per second over the last seconds and minutes.

use ringmq_reactor::Monotonic;

use crate::message::Rates;

/// Seconds that a meter remembers.
const SECONDS: usize = 600;
const NANOS: u64 = 1_000_000_000;

/// Counts per second in a ring: adding costs one comparison and one addition, 4.8 KB per meter.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: Box<[u64]>,
    /// The second that is being counted.
    second: u64,
    /// The first second ever counted.
    first: u64,
}

impl Meter {
    pub(crate) fn new(now: Monotonic) -> Self {
        let second = now.0 / NANOS;
        Self { counts: vec![0; SECONDS].into_boxed_slice(), second, first: second }
    }

    pub(crate) fn add(&mut self, now: Monotonic, count: u64) {
        self.advance(now);
        self.counts[Self::slot(self.second)] += count;
    }

    /// Averages over whole past seconds; with a shorter past, over that.
    pub(crate) fn rates(&mut self, now: Monotonic) -> Rates {
        self.advance(now);
        Rates {
            last_10s: self.average(10),
            last_1m: self.average(60),
            last_10m: self.average(SECONDS as u64 - 1),
        }
    }

    fn average(&self, seconds: u64) -> f64 {
        let seconds = seconds.min(self.second - self.first);
        if seconds == 0 {
            return 0.0;
        }
        let sum: u64 =
            (self.second - seconds..self.second).map(|second| self.counts[Self::slot(second)]).sum();
        sum as f64 / seconds as f64
    }

    /// Empties the seconds that passed without an event.
    fn advance(&mut self, now: Monotonic) {
        let second = now.0 / NANOS;
        if second <= self.second {
            return;
        }
        let skipped = (second - self.second).min(SECONDS as u64);
        for passed in second + 1 - skipped..=second {
            self.counts[Self::slot(passed)] = 0;
        }
        self.second = second;
    }

    fn slot(second: u64) -> usize {
        usize::try_from(second % SECONDS as u64).expect("below SECONDS")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * NANOS + 1)
    }

    #[test]
    fn averages_are_over_whole_past_seconds() {
        let mut meter = Meter::new(at(1_000));
        assert_eq!(meter.rates(at(1_000)), Rates::default());
        for second in 0..20 {
            meter.add(at(1_000 + second), 30);
        }
        let rates = meter.rates(at(1_020));
        assert_eq!((rates.last_10s, rates.last_1m), (30.0, 30.0));
        let rates = meter.rates(at(1_025));
        assert_eq!(rates.last_10s, 15.0);
        assert_eq!(rates.last_1m, 24.0, "600 events in 25 s");
        assert_eq!(meter.rates(at(3_000)), Rates::default());
    }
}
