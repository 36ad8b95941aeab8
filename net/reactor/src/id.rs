//! Names of things that live on a shard.

use std::fmt;

/// Number of a shard within its process, from 0. Data shards come first; a process may put further shards
/// (the broker's coordination shard) after them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A connection of one shard. The generation makes the id of a closed connection stay dead after its slot is reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId {
    /// Slot in the shard's connection table.
    pub index: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A listening socket of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ListenerId(pub u32);

/// An open file of one shard. Never reused within a process, so a late use of a closed file is an error, not a mix-up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(pub u32);

/// A pending timer of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TimerId(pub u64);

/// Chosen by whoever starts an operation and given back with its completion: 8 bits name the part of the service
/// that owns it, 56 bits are that part's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token(u64);

impl Token {
    /// Owner reserved for [`crate::Tasks`].
    pub const OWNER_TASKS: u8 = 0xFF;
    const VALUE_BITS: u32 = 56;

    /// # Panics
    /// If `value` needs more than 56 bits.
    #[must_use]
    pub const fn new(owner: u8, value: u64) -> Self {
        assert!(value >> Self::VALUE_BITS == 0, "token value exceeds 56 bits");
        Self((owner as u64) << Self::VALUE_BITS | value)
    }

    /// The part of the service that owns the operation.
    #[must_use]
    pub const fn owner(self) -> u8 {
        (self.0 >> Self::VALUE_BITS) as u8
    }

    /// The owner's own 56 bits.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0 & ((1 << Self::VALUE_BITS) - 1)
    }
}
