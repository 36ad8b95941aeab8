//! Store times of the segments: how old each is, and how old the log.

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

#[cfg(test)]
mod tests {
    use super::*;

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
