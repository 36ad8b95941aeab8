//! A run of entries packed to 24 bytes each.

use smallvec::SmallVec;

use super::Entry;
use crate::offset::LogOffset;

/// Entries of a full chunk. Growing one copies at most 24 KiB.
pub(super) const CHUNK_ENTRIES: usize = 1024;
/// Entries that lie in the chunk itself: with very many queues each has few, and an allocation of their own would cost two cache
/// misses for each message.
const INLINE_ENTRIES: usize = 3;
/// A chunk grows by this factor.
const GROWTH: usize = 4;

/// Offset and time are distances from the chunk's first entry; the tags code is split so that the struct needs no padding.
#[derive(Clone, Copy)]
struct Packed {
    offset: u32,
    bytes: u32,
    crc: u32,
    time: u32,
    tags_high: u32,
    tags_low: u32,
}

const _: () = assert!(size_of::<Packed>() == 24);

/// Consecutive entries of one queue.
pub(super) struct Chunk {
    first: i64,
    base_offset: u64,
    base_time: i64,
    entries: SmallVec<[Packed; INLINE_ENTRIES]>,
}

impl Chunk {
    /// Empty; `first` is the queue offset of the entry to come.
    pub fn new(first: i64) -> Self {
        Self { first, base_offset: 0, base_time: 0, entries: SmallVec::new() }
    }

    /// Queue offset of the first entry.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// Queue offset after the last entry.
    pub fn end(&self) -> i64 {
        self.first + self.entries.len() as i64
    }

    /// Adds an entry; `false` if the chunk is full or the entry too far from its base: it then belongs to a new chunk.
    pub fn push(&mut self, entry: &Entry) -> bool {
        if self.entries.is_empty() {
            self.base_offset = entry.offset.0;
            self.base_time = entry.store_timestamp;
        }
        let offset = entry.offset.0.checked_sub(self.base_offset).and_then(|d| u32::try_from(d).ok());
        let time = entry.store_timestamp.checked_sub(self.base_time).and_then(|d| u32::try_from(d).ok());
        let (Some(offset), Some(time)) = (offset, time) else { return false };
        if self.entries.len() == CHUNK_ENTRIES {
            return false;
        }
        if self.entries.capacity() == self.entries.len() {
            self.entries.reserve_exact((GROWTH - 1) * self.entries.len());
        }
        let tags = entry.tags_code.cast_unsigned();
        self.entries.push(Packed {
            offset,
            bytes: entry.bytes,
            crc: entry.crc,
            time,
            tags_high: (tags >> 32) as u32,
            tags_low: tags as u32,
        });
        true
    }

    /// Drops the entries before a queue offset of this chunk.
    pub fn drop_below(&mut self, queue_offset: i64) {
        let gone = usize::try_from(queue_offset.min(self.end()) - self.first).unwrap_or(0);
        self.entries.drain(..gone);
        self.first += gone as i64;
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }

    /// The entry at a queue offset of this chunk.
    pub fn get(&self, queue_offset: i64) -> Option<Entry> {
        let place = usize::try_from(queue_offset.checked_sub(self.first)?).ok()?;
        let packed = self.entries.get(place)?;
        Some(Entry {
            offset: LogOffset(self.base_offset + u64::from(packed.offset)),
            bytes: packed.bytes,
            crc: packed.crc,
            tags_code: (u64::from(packed.tags_high) << 32 | u64::from(packed.tags_low)).cast_signed(),
            store_timestamp: self.base_time + i64::from(packed.time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(offset: u64, time: i64) -> Entry {
        Entry {
            offset: LogOffset(offset),
            bytes: u32::MAX,
            crc: 0xDEAD_BEEF,
            tags_code: i64::MIN + 3,
            store_timestamp: time,
        }
    }

    #[test]
    fn entries_come_back_as_they_went_in() {
        let mut chunk = Chunk::new(7);
        let far = entry(1 << 50, 1_700_000_000_000);
        let farther = entry((1 << 50) + u64::from(u32::MAX), 1_700_000_000_000 + i64::from(u32::MAX));
        assert!(chunk.push(&far));
        assert!(chunk.push(&farther));
        assert_eq!((chunk.get(7), chunk.get(8)), (Some(far), Some(farther)));
        assert_eq!((chunk.get(6), chunk.get(9), chunk.end()), (None, None, 9));
    }

    #[test]
    fn what_does_not_fit_the_base_is_refused() {
        let mut chunk = Chunk::new(0);
        assert!(chunk.push(&entry(100, 100)));
        assert!(!chunk.push(&entry(100 + (1 << 32), 100)), "offset too far");
        assert!(!chunk.push(&entry(200, 100 + (1 << 32))), "time too far");
        for i in 1..CHUNK_ENTRIES as u64 {
            assert!(chunk.push(&entry(100 + i, 100)));
        }
        assert!(!chunk.push(&entry(9999, 100)), "full");
    }
}
