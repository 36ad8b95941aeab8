//! The coordination shard.
