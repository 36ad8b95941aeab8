//! Every bound of the driver, with what happens at it.

/// Submission queue entries of a shard's ring. When it is full the turn submits early. Locked memory pays for it.
pub const RING_ENTRIES: u32 = 1024;
/// Messages one shard may have on the way to another; further ones wait on the sender's side, in order.
pub const MAILBOX_MESSAGES: usize = 1024;
/// Connections of a shard; further ones are accepted and closed at once.
pub const CONNECTIONS_MAX: usize = 16_384;
