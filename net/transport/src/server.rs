//! The server side: accepted connections as a table that a [`ringmq_reactor::Service`] owns and feeds.
//!
//! ```text
//!   Service::start        self.connections().start(io);
//!   Service::handle       let Some(event) = server::on_event(self, io, event) else { return }; …
//!   Service::end_of_turn  server::resume(self, io); …
//! ```
//!
//! A shard-local view: a connection is in the table of the one shard that owns it, and everything here runs on that
//! shard's thread. What a peer does wrong ends its own connection, with one line in the log; nothing else notices.
//!
//! Back-pressure is bounds that meet: a connection whose admitted requests reach [`crate::limits::IN_FLIGHT_BYTES_HIGH`],
//! or whose peer leaves more than [`OUTBOX_HIGH_BYTES`] of answers unread, is not read until it recovers, and is
//! closed at [`ServerOptions::unsent_bytes_max`], or before that when all connections of the shard together reach
//! [`ServerOptions::unsent_bytes_total_max`] and it holds most. TCP holds its sender meanwhile.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use ringmq_reactor::outbox::OUTBOX_HIGH_BYTES;
use ringmq_reactor::{CloseCause, CloseMode, ConnectionId, Context, Event, Io, Outbox, Token};
use ringmq_remoting::frame::FrameError;
use tracing::{debug, warn};

use crate::connection::Connection;
use crate::limits::{CONNECTIONS_MAX, IDLE_AFTER, IDLE_SCAN_EVERY, UNSENT_BYTES_MAX, UNSENT_BYTES_TOTAL_MAX};
use crate::log_limit::LogLimit;
use crate::stream::{Input, StreamError};

/// A service that serves connections.
pub trait ServeConnections<M: Send + 'static> {
    /// The service's own state of a connection.
    type User: Default;

    /// The table.
    fn connections(&mut self) -> &mut Connections<Self::User>;

    /// One whole frame, with its length field, borrowed from the receive buffer. Frames of a connection come in order.
    ///
    /// # Errors
    /// When the frame cannot be read: the connection is then closed and the error logged.
    fn on_frame(
        &mut self,
        io: &mut dyn Context<M>,
        connection: ConnectionId,
        frame: &[u8],
    ) -> Result<(), FrameError>;

    /// A connection was accepted (by the listener that was given `token`) and is in the table.
    fn on_accepted(&mut self, io: &mut dyn Context<M>, connection: ConnectionId, token: Token) {
        let _ = (io, connection, token);
    }

    /// A connection has ended and is no longer in the table.
    fn on_closed(
        &mut self,
        io: &mut dyn Context<M>,
        connection: ConnectionId,
        state: Connection<Self::User>,
        cause: &CloseCause,
    ) {
        let _ = (io, connection, state, cause);
    }
}

/// What may be set per listener set.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Most connections at a time; see [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Silence after which a connection is closed (`serverChannelMaxIdleTimeSeconds`).
    pub idle_after: Duration,
    /// Unsent bytes at which a peer that does not read is closed; at least [`crate::limits::UNSENT_BYTES_MIN`].
    pub unsent_bytes_max: usize,
    /// Unsent bytes of all connections above which the one that holds most is closed.
    pub unsent_bytes_total_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            idle_after: IDLE_AFTER,
            unsent_bytes_max: UNSENT_BYTES_MAX,
            unsent_bytes_total_max: UNSENT_BYTES_TOTAL_MAX,
        }
    }
}

/// What has happened so far, for metrics.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ServerCounters {
    /// Connections taken into the table.
    pub accepted: u64,
    /// Connections closed at once because the table was full.
    pub refused: u64,
    /// Connections closed for what they sent.
    pub malformed: u64,
    /// Connections closed for silence.
    pub idle: u64,
    /// Connections closed because their peer did not read.
    pub slow: u64,
    /// Whole frames handed out.
    pub frames: u64,
    /// Bytes received.
    pub received_bytes: u64,
}

/// The accepted connections of one shard.
#[derive(Debug)]
pub struct Connections<T> {
    options: ServerOptions,
    token: Token,
    /// By [`ConnectionId::index`]. Boxed: slots of other connections (a client's) stay small.
    slots: Vec<Option<(u32, Box<Connection<T>>)>>,
    count: usize,
    /// Connections that may go on with frames which they already sent.
    resumable: Vec<ConnectionId>,
    log: LogLimit,
    counters: ServerCounters,
}

impl<T: Default> Connections<T> {
    /// Empty. `owner` is the token owner that the service keeps for this table's timer.
    #[must_use]
    pub fn new(owner: u8, options: ServerOptions) -> Self {
        Self {
            options,
            token: Token::new(owner, 0),
            slots: Vec::new(),
            count: 0,
            resumable: Vec::new(),
            log: LogLimit::default(),
            counters: ServerCounters::default(),
        }
    }

    /// Starts the scan for idle connections. To be called once, from [`ringmq_reactor::Service::start`].
    pub fn start(&mut self, io: &mut dyn Io) {
        let at = io.now() + self.scan_every();
        io.timer(at, self.token);
    }

    /// A connection that has not ended.
    #[must_use]
    pub fn get(&self, id: ConnectionId) -> Option<&Connection<T>> {
        match self.slots.get(id.index as usize) {
            Some(Some((generation, connection))) if *generation == id.generation => Some(connection),
            _ => None,
        }
    }

    /// As [`Connections::get`].
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<T>> {
        match self.slots.get_mut(id.index as usize) {
            Some(Some((generation, connection))) if *generation == id.generation => Some(connection),
            _ => None,
        }
    }

    /// All connections, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection<T>)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let (generation, connection) = slot.as_ref()?;
            let index = u32::try_from(index).expect("slots are numbered with 32 bits");
            Some((ConnectionId { index, generation: *generation }, &**connection))
        })
    }

    /// Number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        self.counters
    }

    /// The outbox of a connection, for an answer or a request to the client; `None` once it is closing. Whoever writes
    /// through it has at most one frame's worth to say per call: the bounds are checked here.
    pub fn outbox<'io>(&mut self, io: &'io mut dyn Io, id: ConnectionId) -> Option<&'io mut Outbox> {
        let now = io.now();
        let connection = self.get_mut(id)?;
        if connection.closing {
            return None;
        }
        connection.last_written = now;
        let unsent = io.unsent_bytes(id);
        if unsent > OUTBOX_HIGH_BYTES {
            if !connection.waits.outbox {
                connection.waits.outbox = true;
                debug!(peer = %connection.peer(), unsent, "peer does not read its answers: not reading from it");
                io.set_receiving(id, false);
            }
            if unsent > self.options.unsent_bytes_max {
                self.close_slow(io, id, unsent);
            } else {
                self.bound_unsent(io);
            }
        }
        io.outbox(id)
    }

    /// Counts a request that will be answered later, from another shard or after a wait for the disk. Every admission
    /// needs its [`Connections::release`] with the same bytes.
    ///
    /// Held pulls have a limit of their own and are not to be counted here: they would keep sends from being read.
    pub fn admit(&mut self, io: &mut dyn Io, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.get_mut(id) else { return };
        if connection.admit(bytes) && !connection.waits.in_flight {
            connection.waits.in_flight = true;
            io.set_receiving(id, false);
        }
    }

    /// Takes an admitted request off the count, once it is answered or given up.
    ///
    /// # Panics
    /// If more is released than was admitted.
    pub fn release(&mut self, io: &mut dyn Io, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.get_mut(id) else { return };
        if connection.release(bytes) && connection.waits.in_flight {
            connection.waits.in_flight = false;
            self.may_resume(io, id);
        }
    }

    /// Ends a connection. Nothing more of it is handed out or written.
    pub fn close(&mut self, io: &mut dyn Io, id: ConnectionId, mode: CloseMode) {
        if let Some(connection) = self.get_mut(id) {
            connection.closing = true;
            io.close(id, mode);
        }
    }

    fn scan_every(&self) -> Duration {
        IDLE_SCAN_EVERY.min(self.options.idle_after / 4).max(Duration::from_millis(100))
    }

    /// False: refused.
    fn accept(&mut self, io: &mut dyn Io, id: ConnectionId, peer: SocketAddr, local: SocketAddr) -> bool {
        let now = io.now();
        if self.count >= self.options.connections_max {
            self.counters.refused += 1;
            if let Some(suppressed) = self.log.permit(now) {
                warn!(
                    %peer, limit = self.options.connections_max, suppressed,
                    "closing a new connection: this shard serves as many as it may"
                );
            }
            io.close(id, CloseMode::Now);
            return false;
        }
        let index = id.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let connection = Box::new(Connection::new(peer, local, now, T::default()));
        let before = self.slots[index].replace((id.generation, connection));
        assert!(before.is_none(), "connection {id} was accepted into a slot that is in use");
        self.count += 1;
        self.counters.accepted += 1;
        true
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection<T>>> {
        self.get(id)?;
        self.count -= 1;
        self.slots[id.index as usize].take().map(|(_, connection)| connection)
    }

    /// Resumes reading if nothing stands against it.
    fn may_resume(&mut self, io: &mut dyn Io, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        if !connection.waits.any() && !connection.closing {
            self.resumable.push(id);
            io.set_receiving(id, true);
        }
    }

    /// After a frame: whether the next one may be handed out.
    fn next_frame(&mut self, id: ConnectionId) -> ControlFlow<()> {
        self.counters.frames += 1;
        match self.get(id) {
            Some(connection) if !connection.closing && !connection.waits.any() => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn close_malformed(&mut self, io: &mut dyn Io, id: ConnectionId, error: &StreamError, bytes: &[u8]) {
        let now = io.now();
        self.counters.malformed += 1;
        let Some(connection) = self.get(id) else { return };
        let (peer, local) = (connection.peer(), connection.local());
        if let Some(suppressed) = self.log.permit(now) {
            let received = FirstBytes(bytes);
            warn!(%peer, %local, %error, %received, suppressed, "closing a connection for what it sent");
        }
        // What it had asked before in good order is still answered.
        self.close(io, id, CloseMode::AfterFlush);
    }

    /// Closes the slowest peers until the rest is within the shard's limit. A look at every connection, but only when one that is not read any
    /// more gets another answer, and with every scan.
    fn bound_unsent(&mut self, io: &mut dyn Io) {
        let open = self.iter().filter(|(_, connection)| !connection.closing);
        let mut held: Vec<_> =
            open.map(|(id, _)| (io.unsent_bytes(id), id)).filter(|(n, _)| *n > 0).collect();
        let mut total: usize = held.iter().map(|(unsent, _)| unsent).sum();
        if total <= self.options.unsent_bytes_total_max {
            return;
        }
        held.sort_unstable_by_key(|(unsent, id)| (*unsent, id.index));
        while total > self.options.unsent_bytes_total_max {
            let Some((unsent, id)) = held.pop() else { return };
            self.close_slow(io, id, unsent);
            total -= unsent;
        }
    }

    fn close_slow(&mut self, io: &mut dyn Io, id: ConnectionId, unsent: usize) {
        let now = io.now();
        self.counters.slow += 1;
        let Some(connection) = self.get(id) else { return };
        let peer = connection.peer();
        if let Some(suppressed) = self.log.permit(now) {
            let (limit, total) = (self.options.unsent_bytes_max, self.options.unsent_bytes_total_max);
            warn!(%peer, unsent, limit, total, suppressed, "closing a connection: its peer does not read");
        }
        self.close(io, id, CloseMode::Now);
    }

    fn close_idle(&mut self, io: &mut dyn Io) {
        let now = io.now();
        let is_idle = |connection: &Connection<T>| {
            !connection.closing && now.since(connection.last_active()) >= self.options.idle_after
        };
        let idle: Vec<_> =
            self.iter().filter(|(_, c)| is_idle(c)).map(|(id, c)| (id, c.peer(), c.last_active())).collect();
        for (id, peer, last) in idle {
            debug!(%peer, silent_s = now.since(last).as_secs(), "closing an idle connection");
            self.counters.idle += 1;
            self.close(io, id, CloseMode::Now);
        }
        self.bound_unsent(io);
        let at = now + self.scan_every();
        io.timer(at, self.token);
    }
}

/// Handles what concerns the table and gives back every other event.
pub fn on_event<'e, M, S>(
    server: &mut S,
    io: &mut dyn Context<M>,
    event: Event<'e, M>,
) -> Option<Event<'e, M>>
where
    M: Send + 'static,
    S: ServeConnections<M>,
{
    match event {
        Event::Received { connection, bytes } => {
            let now = io.now();
            let table = server.connections();
            let Some(state) = table.get_mut(connection) else { return Some(event) };
            state.last_read = now;
            table.counters.received_bytes += bytes.len() as u64;
            hand_out(server, io, connection, bytes);
        }
        Event::Accepted { token, connection, peer, local, .. } => {
            if server.connections().accept(io, connection, peer, local) {
                server.on_accepted(io, connection, token);
            }
        }
        Event::Drained { connection } => {
            let table = server.connections();
            let Some(state) = table.get_mut(connection) else { return Some(event) };
            if std::mem::take(&mut state.waits.outbox) {
                table.may_resume(io, connection);
            }
        }
        Event::Closed { connection, cause } => {
            let Some(state) = server.connections().remove(connection) else {
                return Some(Event::Closed { connection, cause });
            };
            debug!(peer = %state.peer(), ?cause, "connection ended");
            server.on_closed(io, connection, *state, &cause);
        }
        Event::Timer { token } if token == server.connections().token => server.connections().close_idle(io),
        other => return Some(other),
    }
    None
}

/// Goes on with connections that had to wait and need to no longer. To be called from
/// [`ringmq_reactor::Service::end_of_turn`], before anything that seals the turn's work.
pub fn resume<M, S>(server: &mut S, io: &mut dyn Context<M>)
where
    M: Send + 'static,
    S: ServeConnections<M>,
{
    if server.connections().resumable.is_empty() {
        return;
    }
    for connection in std::mem::take(&mut server.connections().resumable) {
        hand_out(server, io, connection, &[]);
    }
}

fn hand_out<M, S>(server: &mut S, io: &mut dyn Context<M>, id: ConnectionId, bytes: &[u8])
where
    M: Send + 'static,
    S: ServeConnections<M>,
{
    let Some(state) = server.connections().get_mut(id) else { return };
    if state.closing {
        return;
    }
    let waiting = state.waits.any();
    let mut stream = state.stream.take().expect("frames are handed out by one call at a time");
    let mut unreadable = None;
    let outcome = if waiting {
        stream.hold(bytes);
        Ok(())
    } else {
        stream.feed(bytes, |input| match input {
            Input::Proxied(client, target) => {
                if let Some(state) = server.connections().get_mut(id) {
                    state.set_addresses(client, target);
                }
                ControlFlow::Continue(())
            }
            Input::Frame(frame) => match server.on_frame(io, id, frame) {
                Ok(()) => server.connections().next_frame(id),
                Err(error) => {
                    unreadable = Some(error);
                    ControlFlow::Break(())
                }
            },
        })
    };
    let table = server.connections();
    let Some(state) = table.get_mut(id) else { return };
    state.stream = Some(stream);
    let outcome = outcome.and_then(|()| unreadable.map_or(Ok(()), |error| Err(error.into())));
    if let Err(error) = outcome {
        table.close_malformed(io, id, &error, bytes);
    }
}

/// The beginning of what was received, for a log line.
struct FirstBytes<'a>(&'a [u8]);

impl std::fmt::Display for FirstBytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 16;
        for byte in self.0.iter().take(SHOWN) {
            write!(f, "{byte:02x}")?;
        }
        if self.0.len() > SHOWN {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}
