//! Every bound of the driver, with what happens at it.

use std::time::Duration;

use crate::outbox::OUTBOX_HIGH_BYTES;

/// Submission queue entries of a shard's ring. A turn that asks for more submits early. The locked-memory limit pays for
/// rings (about 100 KiB each at this size), so they stay modest.
pub const RING_ENTRIES: u32 = 1024;
/// Completion queue entries. What does not fit waits in the kernel (`IORING_FEAT_NODROP`) at some cost.
pub const COMPLETION_ENTRIES: u32 = 4096;

/// Messages one shard may have on the way to another; further ones wait on the sender's side, in order.
pub const MAILBOX_MESSAGES: usize = 1024;
/// Shards of one process.
pub const SHARDS_MAX: usize = 256;

/// Connections of a shard. Further ones are accepted and closed at once; `connect` fails.
pub const CONNECTIONS_MAX: usize = 16_384;
/// Connections the kernel holds for a listener until they are accepted.
pub const ACCEPT_BACKLOG: i32 = 1024;
/// How long a listener rests after the process ran out of file descriptors.
pub const ACCEPT_REST: Duration = Duration::from_millis(100);
/// A connection that is not established by then has failed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A closing connection whose pending bytes or whose peer's end of stream take longer is cut.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Receive buffers of a shard, a power of two. When all are in use, receives pause until some were handled.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Size of each: what one receive completion brings at most.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// Slices of one vectored send; the rest goes with the next.
pub const SEND_SLICES_MAX: usize = 128;

/// Blocks that are registered with a shard's ring at a time; further ones are written as plain memory.
pub const REGISTERED_BLOCKS_MAX: u16 = 1024;
/// File operations in flight on one shard; further ones are refused with `ResourceBusy`.
pub const FILE_OPERATIONS_MAX: usize = 4096;
/// Kernel worker threads per ring for operations that block inside the kernel (opening, flushing, buffered writes).
pub const KERNEL_WORKERS_MAX: u32 = 8;
/// Bytes of one read or write as the kernel takes them; longer ones are continued.
pub const TRANSFER_BYTES_MAX: usize = 1 << 30;

/// How long an exiting shard keeps sending what its connections still hold.
pub const EXIT_FLUSH: Duration = Duration::from_secs(2);
/// How long it then waits for cancelled operations, before it leaks their memory rather than free it under the kernel.
pub const EXIT_CANCEL: Duration = Duration::from_secs(5);

const _: () = assert!(RING_ENTRIES.is_power_of_two() && COMPLETION_ENTRIES.is_power_of_two());
const _: () =
    assert!(COMPLETION_ENTRIES >= 2 * RING_ENTRIES, "one turn's submissions must find room to complete");
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 1 << 15, "the kernel's bounds");
const _: () =
    assert!(RECEIVE_BUFFERS as u32 <= COMPLETION_ENTRIES / 2, "full buffers alone must not fill the queue");
const _: () = assert!(SEND_SLICES_MAX <= 1024, "UIO_MAXIOV");
const _: () = assert!(CONNECTIONS_MAX < 1 << super::operation::INDEX_BITS);
const _: () = assert!(FILE_OPERATIONS_MAX < 1 << super::operation::INDEX_BITS);
const _: () = assert!(OUTBOX_HIGH_BYTES < TRANSFER_BYTES_MAX);
const _: () = assert!(REGISTERED_BLOCKS_MAX <= 1 << 14, "the kernel's bound on registered buffers");
