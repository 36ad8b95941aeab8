//! Counters of a shard, readable from any thread.

/// What a shard (or all of them, see [`super::Handle::total`]) has done since it started. Taken without stopping it, so
/// the fields may be some turns apart from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Turns of the loop that had events.
    pub turns: u64,
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Enters that were allowed to sleep.
    pub parks: u64,
    /// Submission queue entries.
    pub sqes: u64,
    /// Completions reaped.
    pub cqes: u64,
    /// Vectored sends started.
    pub sends: u64,
    /// Bytes the kernel took from sends.
    pub sent_bytes: u64,
    /// Receive completions with bytes.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Times a multishot receive ran out of buffers.
    pub receive_starved: u64,
    /// Connections accepted here.
    pub accepted: u64,
    /// Messages taken from mailboxes.
    pub mails: u64,
    /// Messages that had to wait on the sender's side.
    pub mails_overflowed: u64,
    /// Parked shards woken by `MSG_RING`.
    pub doorbells: u64,
    /// File operations started.
    pub file_operations: u64,
    /// System calls made outside the ring (synchronous file operations, buffer registration, socket options).
    pub direct_calls: u64,
}
