//! The newest entries of a queue, in memory.

use std::collections::VecDeque;

use super::Entry;
use super::chunk::Chunk;

/// Consecutive entries, packed in chunks.
pub(super) struct Recent {
    last: Chunk,
    #[expect(
        clippy::box_collection,
        reason = "hardly any queue has one, and every byte here counts a million times"
    )]
    full: Option<Box<VecDeque<Chunk>>>,
}

// Two cache lines and what the allocator keeps beside them.
const _: () = assert!(size_of::<Recent>() <= 120);

impl Recent {
    /// Empty; `first` is the queue offset of the entry to come.
    pub fn new(first: i64) -> Self {
        Self { last: Chunk::new(first), full: None }
    }

    /// Queue offset of the first entry.
    pub fn first(&self) -> i64 {
        self.full.as_ref().and_then(|full| full.front()).unwrap_or(&self.last).first()
    }

    pub fn push(&mut self, entry: &Entry) {
        if !self.last.push(entry) {
            let mut chunk = Chunk::new(self.last.end());
            let fits = chunk.push(entry);
            assert!(fits, "an empty chunk takes any entry");
            self.full.get_or_insert_default().push_back(std::mem::replace(&mut self.last, chunk));
        }
    }

    pub fn get(&self, offset: i64) -> Option<Entry> {
        if offset >= self.last.first() {
            return self.last.get(offset);
        }
        let full = self.full.as_ref()?;
        full.get(full.partition_point(|chunk| chunk.end() <= offset))?.get(offset)
    }

    /// Drops the entries before `offset`.
    pub fn drop_below(&mut self, offset: i64) {
        let Some(full) = &mut self.full else { return self.last.drop_below(offset) };
        while full.pop_front_if(|chunk| chunk.end() <= offset).is_some() {}
        match full.front_mut() {
            Some(chunk) => chunk.drop_below(offset),
            None => {
                self.full = None;
                self.last.drop_below(offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::LogOffset;

    #[test]
    fn entries_are_found_across_chunks_and_dropped_from_the_front() {
        let mut recent = Recent::new(3);
        let entry = |i: i64, offset: u64| Entry {
            offset: LogOffset(offset),
            bytes: 1,
            crc: 0,
            tags_code: i,
            store_timestamp: i,
        };
        (0..5000).for_each(|i| recent.push(&entry(i, i.cast_unsigned() * 100)));
        // A gap of more than 4 GiB starts a chunk of its own.
        recent.push(&entry(5000, 1 << 40));
        for dropped in [3, 4, 1026, 1027, 1028, 2500, 5003] {
            recent.drop_below(dropped);
            assert_eq!((recent.first(), recent.get(dropped - 1), recent.get(5004)), (dropped, None, None));
            for offset in dropped..5004 {
                assert_eq!(recent.get(offset).expect("present").tags_code, offset - 3);
            }
        }
    }
}
