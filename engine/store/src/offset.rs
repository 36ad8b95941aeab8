//! Positions in a shard's log.

use std::fmt;

use ringmq_reactor::{PAGE_BYTES, ShardId};

/// A byte position in one shard's log, from 0. What clients see is the [`PhysicalOffset`] made from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct LogOffset(pub u64);

impl LogOffset {
    /// The start of the page that contains this position.
    #[must_use]
    pub fn page_floor(self) -> Self {
        Self(self.0 - self.0 % PAGE_BYTES as u64)
    }

    /// This position, or the start of the next page if it lies inside one.
    #[must_use]
    pub fn page_ceil(self) -> Self {
        Self(self.0.next_multiple_of(PAGE_BYTES as u64))
    }

    /// The position `bytes` further on.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }

    /// Bytes from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for LogOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `shard << 56 | offset in that shard's log`: what clients know as physical offset, and what records and message ids carry.
/// Positive as a signed number because there are at most 127 data shards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PhysicalOffset(pub u64);

impl PhysicalOffset {
    /// Bits of the offset inside the log.
    pub const LOG_BITS: u32 = 56;
    /// Highest shard number that keeps the offset positive as an `i64`.
    pub const SHARD_MAX: u16 = 127;

    /// # Panics
    /// If the shard or the offset is out of range.
    #[must_use]
    pub fn new(shard: ShardId, offset: LogOffset) -> Self {
        assert!(shard.0 <= Self::SHARD_MAX, "shard {shard} has no physical offsets");
        assert!(offset.0 >> Self::LOG_BITS == 0, "log offset {offset} exceeds 56 bits");
        Self(u64::from(shard.0) << Self::LOG_BITS | offset.0)
    }

    /// From the signed form in records, message ids and requests; `None` if negative.
    #[must_use]
    pub fn from_signed(value: i64) -> Option<Self> {
        u64::try_from(value).ok().map(Self)
    }

    /// The form in records, message ids and requests.
    #[must_use]
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).expect("shard below 128")
    }

    /// The shard whose log it is.
    #[must_use]
    pub fn shard(self) -> ShardId {
        ShardId(u16::try_from(self.0 >> Self::LOG_BITS).expect("8 bits"))
    }

    /// The position in that shard's log.
    #[must_use]
    pub fn log_offset(self) -> LogOffset {
        LogOffset(self.0 & ((1 << Self::LOG_BITS) - 1))
    }
}

impl fmt::Display for PhysicalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard(), self.log_offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_offsets_name_shard_and_position() {
        let offset = PhysicalOffset::new(ShardId(127), LogOffset((1 << 56) - 1));
        assert_eq!(offset.signed(), i64::MAX);
        assert_eq!((offset.shard(), offset.log_offset()), (ShardId(127), LogOffset((1 << 56) - 1)));
        assert_eq!(PhysicalOffset::from_signed(-1), None);
        assert_eq!(PhysicalOffset::new(ShardId(0), LogOffset(42)).signed(), 42);
    }

    #[test]
    fn pages_round_both_ways() {
        assert_eq!(LogOffset(4097).page_floor(), LogOffset(4096));
        assert_eq!(LogOffset(4097).page_ceil(), LogOffset(8192));
        assert_eq!(LogOffset(4096).page_ceil(), LogOffset(4096));
    }
}
