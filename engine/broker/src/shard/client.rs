//! What this shard keeps per connection.

use ringmq_reactor::ShardId;

/// A small set of shards that may err on the side of "yes" above 64 shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardSet(u64);

impl ShardSet {
    pub(crate) fn insert(&mut self, shard: ShardId) {
        self.0 |= Self::bit(shard);
    }

    pub(crate) fn may_contain(self, shard: ShardId) -> bool {
        self.0 & Self::bit(shard) != 0
    }

    fn bit(shard: ShardId) -> u64 {
        1 << (shard.0 % 64)
    }
}

/// Per connection, on the shard that holds it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// Shards that keep something of this connection (a held pull, a registration) and must hear when it ends.
    pub(crate) known_to: ShardSet,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_above_64_share_a_bit() {
        let mut set = ShardSet::default();
        set.insert(ShardId(3));
        assert!(set.may_contain(ShardId(3)) && set.may_contain(ShardId(67)) && !set.may_contain(ShardId(4)));
    }
}
