//! What a shard is told, and who is told it.

use std::io;
use std::net::SocketAddr;

use crate::{ConnectionId, Context, FileValue, ListenerId, ShardId, Token};

/// A shard's program. All calls come from the shard's own thread; none may block.
pub trait Service<M: Send + 'static> {
    /// First call, before any event.
    fn start(&mut self, io: &mut dyn Context<M>);

    /// One event. Called many times a turn; leave work that gains from batching to [`Service::end_of_turn`].
    fn handle(&mut self, io: &mut dyn Context<M>, event: Event<'_, M>);

    /// After the last event of a turn that had any, before the reactor submits what was asked for:
    /// the place to seal log batches and flush collected replies.
    fn end_of_turn(&mut self, io: &mut dyn Context<M>);
}

/// Something that happened. Order between events of different sources is not defined, with two exceptions:
/// bytes of one connection and mail from one shard arrive in the order in which they were sent.
#[derive(Debug)]
pub enum Event<'a, M> {
    /// A peer connected to `listener`; the connection lives on this shard from now on (it may have been accepted on another).
    Accepted {
        /// Token given to [`crate::Io::listen`].
        token: Token,
        /// Which listener.
        listener: ListenerId,
        /// The new connection.
        connection: ConnectionId,
        /// The peer's address.
        peer: SocketAddr,
        /// Our address of the connection.
        local: SocketAddr,
    },
    /// Answer to [`crate::Io::connect`].
    Connected {
        /// Token given to `connect`.
        token: Token,
        /// The new connection, or why there is none.
        result: io::Result<ConnectionId>,
    },
    /// Bytes from the peer. Borrowed from the receive buffer: copy what must outlive the call.
    Received {
        /// From which connection.
        connection: ConnectionId,
        /// At least one byte.
        bytes: &'a [u8],
    },
    /// The outbox, which had grown past [`crate::outbox::OUTBOX_HIGH_BYTES`], has drained below
    /// [`crate::outbox::OUTBOX_LOW_BYTES`].
    Drained {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Last event of a connection: the kernel holds none of its buffers any more and its id is dead.
    Closed {
        /// Which connection.
        connection: ConnectionId,
        /// Why.
        cause: CloseCause,
    },
    /// A file operation ended.
    File {
        /// Token given to [`crate::Io::file`].
        token: Token,
        /// Its value; a buffer lent for the operation comes back in it, or is dropped with an error.
        result: io::Result<FileValue>,
    },
    /// A timer fired (never before its time).
    Timer {
        /// Token given to [`crate::Io::timer`].
        token: Token,
    },
    /// Mail from a shard of the same process.
    Mail {
        /// The sender.
        from: ShardId,
        /// The message, by value.
        message: M,
    },
    /// The process was asked to stop (SIGTERM, SIGINT, or its owner): finish, then call [`crate::Io::exit`].
    Stop,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum CloseCause {
    /// The peer closed its side.
    Peer,
    /// We asked for it.
    Local,
    /// The socket failed.
    Failed(io::Error),
}
