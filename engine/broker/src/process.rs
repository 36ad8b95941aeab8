//! Puts the shards of a broker together.

/// A broker as a set of shards.
#[derive(Debug)]
pub struct Broker;
