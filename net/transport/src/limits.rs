//! Every bound of this crate, and what happens at it.

use std::time::Duration;

use ringmq_reactor::outbox::OUTBOX_HIGH_BYTES;
use ringmq_remoting::frame::FRAME_BYTES_MAX;

/// Connections one shard serves. A further one is closed as soon as it is accepted.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Bytes of requests that are admitted and not answered, per connection. At this mark its frames wait: first here, then
/// (as nothing is read any more) in TCP.
pub const IN_FLIGHT_BYTES_HIGH: usize = 2 * FRAME_BYTES_MAX;
/// Below this mark the connection is read again.
pub const IN_FLIGHT_BYTES_LOW: usize = IN_FLIGHT_BYTES_HIGH / 2;

/// Requests that are admitted and not answered, per connection. Above what one client keeps in flight (65,535), so that
/// only a client without such a limit meets it.
pub const IN_FLIGHT_REQUESTS_HIGH: usize = 1 << 17;
/// Below this mark the connection is read again.
pub const IN_FLIGHT_REQUESTS_LOW: usize = IN_FLIGHT_REQUESTS_HIGH / 2;

/// Default of the unsent bytes at which a peer that does not read is closed. Its requests stopped being read at
/// [`OUTBOX_HIGH_BYTES`]; the room between the marks is for answers to what had been accepted before.
pub const UNSENT_BYTES_MAX: usize = 128 << 20;

/// Default of the unsent bytes of all connections of a shard. Above it the connection that holds most of them is closed: what slow
/// peers leave unread is memory that everybody lacks.
pub const UNSENT_BYTES_TOTAL_MAX: usize = 1 << 30;

/// Silence in both directions after which a connection is closed (`serverChannelMaxIdleTimeSeconds`).
pub const IDLE_AFTER: Duration = Duration::from_secs(120);
/// How often idle connections are looked for: an idle one lives at most this much longer.
pub const IDLE_SCAN_EVERY: Duration = Duration::from_secs(10);

/// A start that finds its port in use tries again for so long.
pub const LISTEN_PATIENCE: Duration = Duration::from_secs(3);
/// Between two attempts.
pub const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// Requests that this side sent and whose answers it awaits, per table.
pub const REQUESTS_PENDING_MAX: usize = 65_536;

/// Log lines about misbehaving peers: this many at once, then [`LOG_LINES_PER_SECOND`].
pub const LOG_LINES_BURST: u32 = 20;
/// See [`LOG_LINES_BURST`].
pub const LOG_LINES_PER_SECOND: u32 = 5;

/// One whole frame fits below the mark at which reading stops, or it could never be admitted; and so it does between the
/// low and the high mark, so that a connection does not stop and go with every frame.
const _: () = assert!(FRAME_BYTES_MAX <= IN_FLIGHT_BYTES_HIGH - IN_FLIGHT_BYTES_LOW);
const _: () = assert!(IN_FLIGHT_REQUESTS_LOW >= 65_535);
/// Smallest limit of unsent bytes that can be set: the largest answer (one frame) fits on top of an outbox that has just reached its
/// high mark.
pub const UNSENT_BYTES_MIN: usize = OUTBOX_HIGH_BYTES + FRAME_BYTES_MAX;
const _: () = assert!(UNSENT_BYTES_MIN < UNSENT_BYTES_MAX && UNSENT_BYTES_MAX <= UNSENT_BYTES_TOTAL_MAX);
