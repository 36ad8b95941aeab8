//! Store times of the segments: how old each is, how old the log, and the newest below what is durable.

use std::collections::VecDeque;

use crate::offset::LogOffset;

/// Store times of the first and the newest record of a segment, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Age {
    /// End of the segment: it is known before its file is there.
    end: LogOffset,
    first: i64,
    newest: i64,
}

/// Ages of the segments that hold records, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ages(VecDeque<Age>);

impl Ages {
    /// A record was stored in the segment that ends at `end`: the newest one, or one behind it.
    pub fn note(&mut self, end: LogOffset, store_timestamp: i64) {
        match self.0.back_mut() {
            Some(last) if last.end == end => last.newest = store_timestamp,
            _ => self.0.push_back(Age { end, first: store_timestamp, newest: store_timestamp }),
        }
    }

    /// Store time of the newest record in the segment that ends at `end`. For one without records, that of whatever follows:
    /// it was not older when it was left.
    pub fn newest(&self, end: LogOffset) -> Option<i64> {
        let at = self.0.partition_point(|age| age.end < end);
        self.0.get(at).map(|age| if age.end == end { age.newest } else { age.first })
    }

    /// Store time of the oldest record.
    pub fn first(&self) -> Option<i64> {
        self.0.front().map(|age| age.first)
    }

    /// The segments that end at `end` or before are gone.
    pub fn forget(&mut self, end: LogOffset) {
        while self.0.pop_front_if(|age| age.end <= end).is_some() {}
    }
}

/// The newest store time of the log below a place that moves: what is durable.
///
/// A run of the queue index says how new the log is up to its end, and whoever opens the store goes on from there: store times must not go
/// back, also when the newest records are in no queue (rolled back, or of a deleted topic) and the clock was set back meanwhile.
#[derive(Debug)]
pub(crate) struct NewestBelow {
    newest: i64,
    /// Where records begin that are newer than all before: one for each millisecond of what is not durable.
    above: VecDeque<(LogOffset, i64)>,
}

impl NewestBelow {
    pub fn new(newest: i64) -> Self {
        Self { newest, above: VecDeque::new() }
    }

    /// A record was stored at the end of the log.
    pub fn note(&mut self, at: LogOffset, store_timestamp: i64) {
        if store_timestamp > self.above.back().map_or(self.newest, |last| last.1) {
            self.above.push_back((at, store_timestamp));
        }
    }

    /// The newest of the records that begin below `durable`, which only grows.
    pub fn advance(&mut self, durable: LogOffset) -> i64 {
        while let Some((_, time)) = self.above.pop_front_if(|(at, _)| *at < durable) {
            self.newest = time;
        }
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_below_a_place_is_that_of_the_last_record_before_it() {
        let mut times = NewestBelow::new(5);
        for (at, time) in [(10, 5), (20, 7), (30, 7), (40, 9)] {
            times.note(LogOffset(at), time);
        }
        assert_eq!([10, 20, 21, 40, 41].map(|at| times.advance(LogOffset(at))), [5, 5, 7, 7, 9]);
        assert!(times.above.is_empty());
    }

    #[test]
    fn each_segment_has_its_newest_record_and_the_log_its_first() {
        let mut ages = Ages::default();
        assert_eq!((ages.first(), ages.newest(LogOffset(100))), (None, None));
        for (end, time) in [(100, 5), (100, 7), (300, 9), (300, 12)] {
            ages.note(LogOffset(end), time);
        }
        let newest = |ages: &Ages, end| ages.newest(LogOffset(end));
        assert_eq!(
            [newest(&ages, 100), newest(&ages, 200), newest(&ages, 300)],
            [Some(7), Some(9), Some(12)]
        );
        assert_eq!(newest(&ages, 400), None);
        ages.forget(LogOffset(200));
        assert_eq!((ages.first(), newest(&ages, 100)), (Some(9), Some(9)));
    }
}
