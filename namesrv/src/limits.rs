//! Every bound of the name server. What does not fit is refused with code 1 and the bound in the text, before any of it
//! is taken over.

/// Topics that have a route.
pub const TOPICS_MAX: usize = 2_000_000;
/// Broker names.
pub const BROKER_NAMES_MAX: usize = 10_000;
/// Addresses (master and slaves) under one broker name.
pub const ADDRESSES_PER_NAME_MAX: usize = 64;
/// Length of a topic, in bytes. RocketMQ's own limit is 127 characters; system topics of 5.x are longer.
pub const TOPIC_BYTES_MAX: usize = 1024;
/// Length of any other name or address that is kept, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Entries of the kv configuration over all namespaces.
pub const KV_ENTRIES_MAX: usize = 100_000;
/// Bytes of the kv configuration's keys and values: the file is replaced as a whole at every change.
pub const KV_BYTES_MAX: usize = 16 << 20;
