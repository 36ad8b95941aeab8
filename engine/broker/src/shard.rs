//! The data shard.
