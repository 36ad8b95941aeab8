//! What a shard can ask of the world.

use std::io;
use std::net::SocketAddr;

use crate::{
    Block, ConnectionId, FileOp, ListenerId, Mapping, Monotonic, Outbox, Service, ShardId, TimerId, Token,
};

/// Where connections of a listener go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptTo {
    /// They stay on the accepting shard.
    Here,
    /// They are dealt out in turn to these shards, which see [`crate::Event::Accepted`].
    RoundRobin(Vec<ShardId>),
}

/// How to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseMode {
    /// Send what is in the outbox first (for at most a few seconds).
    AfterFlush,
    /// At once; pending bytes are dropped.
    Now,
}

/// The world as one shard sees it. Calls only note what is wanted; they never block and, unless they say otherwise,
/// never fail: the outcome comes as an [`crate::Event`].
pub trait Io {
    /// This shard.
    fn shard(&self) -> ShardId;

    /// Number of shards in the process.
    fn shard_count(&self) -> usize;

    /// Monotonic time, fixed at the beginning of the turn.
    fn now(&self) -> Monotonic;

    /// Wall clock in milliseconds since 1970, fixed at the beginning of the turn. Never goes back within a process.
    fn wall_ms(&self) -> u64;

    /// Uniformly random bits (from the seed, under simulation). Not for secrets.
    fn random(&mut self) -> u64;

    /// Asks for [`crate::Event::Timer`] at `at`, or in the next turn if that has passed.
    fn timer(&mut self, at: Monotonic, token: Token) -> TimerId;

    /// Takes a timer back; does nothing if it has fired.
    fn cancel_timer(&mut self, timer: TimerId);

    /// Starts listening. Synchronous, for start-up.
    ///
    /// # Errors
    /// As `socket`, `bind` and `listen`; the address is in the error's text.
    fn listen(&mut self, address: SocketAddr, accept: AcceptTo, token: Token) -> io::Result<ListenerId>;

    /// The address a listener is bound to (its port, when 0 was asked for).
    fn local_address(&self, listener: ListenerId) -> Option<SocketAddr>;

    /// Stops listening.
    fn close_listener(&mut self, listener: ListenerId);

    /// Opens a connection: [`crate::Event::Connected`] follows, with an error after 3 s without an answer.
    fn connect(&mut self, to: SocketAddr, token: Token);

    /// What is waiting to be sent on a connection; bytes added go out at the end of the turn. `None` once it is closing.
    fn outbox(&mut self, connection: ConnectionId) -> Option<&mut Outbox>;

    /// Bytes accepted from [`Io::outbox`] and not yet taken by the kernel, including those in flight.
    fn unsent_bytes(&self, connection: ConnectionId) -> usize;

    /// Stops reading from a connection (the peer is then held by TCP) or resumes. Bytes already received may still arrive.
    fn set_receiving(&mut self, connection: ConnectionId, receiving: bool);

    /// Ends a connection: [`crate::Event::Closed`] follows. Does nothing if it has ended.
    fn close(&mut self, connection: ConnectionId, mode: CloseMode);

    /// Starts a file operation: [`crate::Event::File`] follows.
    fn file(&mut self, token: Token, op: FileOp);

    /// Makes a page-aligned block for append-only use, registered with the ring where the locked-memory limit allows.
    ///
    /// # Errors
    /// When memory cannot be had.
    fn block(&mut self, bytes: usize) -> io::Result<Block>;

    /// Makes a block of `bytes` of a mapping at `from`, both whole pages, registered like those of [`Io::block`]. Its content stays as
    /// it is found, nothing of it is published; no other block will ever hold these bytes.
    ///
    /// # Errors
    /// When the memory cannot be reserved.
    ///
    /// # Panics
    /// If a byte was lent before, or lies outside.
    fn block_in(&mut self, mapping: &mut Mapping, from: usize, bytes: usize) -> io::Result<Block>;

    /// Ends this shard after the turn: connections and files are closed, nothing more is delivered.
    fn exit(&mut self);
}

/// [`Io`] and mail of type `M`. A `&mut dyn Context<M>` coerces to `&mut dyn Io`.
pub trait Context<M: Send + 'static>: Io {
    /// Sends `message` to a shard of this process (also to itself). Messages that do not fit into the bounded mailbox
    /// wait on this side, in order: ask [`Context::mail_room`] before starting new work for another shard.
    fn mail(&mut self, to: ShardId, message: M);

    /// How many more messages the mailbox to `to` takes before they start to wait.
    fn mail_room(&self, to: ShardId) -> usize;
}

/// Makes a shard's service on the shard's own thread.
pub type ServiceFactory<M> = Box<dyn FnOnce(ShardId) -> Box<dyn Service<M>> + Send>;

/// One shard to be started.
pub struct ShardSpec<M> {
    /// Thread name, at most 15 bytes.
    pub name: String,
    /// Processor to pin to; `None`: wherever the scheduler likes.
    pub cpu: Option<usize>,
    /// Makes the service.
    pub service: ServiceFactory<M>,
}

/// A process to be started, on the kernel or in the simulator. Shard ids follow the order of `shards`.
pub struct ProcessSpec<M> {
    /// For logs.
    pub name: String,
    /// At least one.
    pub shards: Vec<ShardSpec<M>>,
}
