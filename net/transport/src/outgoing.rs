//! Requests that a server sends to its clients over the connections they opened (codes 39, 40, 220, 221, 307, 309, 326),
//! and the answers it awaits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_reactor::{ConnectionId, Io, Monotonic, Token};
use ringmq_remoting::command::SerializeType;
use ringmq_remoting::encode::{FieldValue, write_request};

use crate::limits::REQUESTS_PENDING_MAX;
use crate::server::Connections;

/// A request to a client.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingRequest<'a> {
    /// How its header is written.
    pub serialize: SerializeType,
    /// Request code.
    pub code: i32,
    /// Header fields.
    pub fields: &'a [(&'a str, FieldValue<'a>)],
    /// Body; copied.
    pub body: &'a [u8],
}

/// Why a request was not sent. The context comes back, so that whoever waits can be told.
#[derive(Debug, thiserror::Error)]
pub enum NotSent<C> {
    /// The client is gone, or its connection is ending.
    #[error("the client's connection has ended")]
    Ended(C),
    /// [`REQUESTS_PENDING_MAX`] answers are awaited already.
    #[error("{REQUESTS_PENDING_MAX} requests to clients wait for their answers")]
    TooMany(C),
}

/// Requests sent to clients of one shard and not answered yet, each with a context `C` of the service.
///
/// Every context given comes back exactly once: from [`OutgoingRequests::answered`], [`OutgoingRequests::ended`],
/// [`OutgoingRequests::expired`], or in the error of [`OutgoingRequests::send`].
#[derive(Debug)]
pub struct OutgoingRequests<C> {
    token: Token,
    next_opaque: i32,
    pending: BTreeMap<(ConnectionId, i32), Pending<C>>,
    deadlines: BTreeSet<(Monotonic, ConnectionId, i32)>,
    /// When the timer in flight fires; it is not taken back when its request is answered.
    timer_at: Option<Monotonic>,
}

#[derive(Debug)]
struct Pending<C> {
    deadline: Monotonic,
    context: C,
}

impl<C> OutgoingRequests<C> {
    /// None pending. `token` is for this table's timer and for nothing else.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self { token, next_opaque: 0, pending: BTreeMap::new(), deadlines: BTreeSet::new(), timer_at: None }
    }

    /// Requests that wait for their answers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends a request without expecting an answer. False: the client is gone.
    pub fn notify<T: Default>(
        &mut self,
        io: &mut dyn Io,
        connections: &mut Connections<T>,
        to: ConnectionId,
        request: &OutgoingRequest<'_>,
    ) -> bool {
        let opaque = self.take_opaque();
        write(io, connections, to, request, opaque, true)
    }

    /// Sends a request; its answer, its connection's end or its time-out gives `context` back.
    ///
    /// # Errors
    /// When nothing was sent.
    pub fn send<T: Default>(
        &mut self,
        io: &mut dyn Io,
        connections: &mut Connections<T>,
        to: ConnectionId,
        request: &OutgoingRequest<'_>,
        timeout: Duration,
        context: C,
    ) -> Result<(), NotSent<C>> {
        if self.pending.len() >= REQUESTS_PENDING_MAX {
            return Err(NotSent::TooMany(context));
        }
        let opaque = self.take_opaque();
        if !write(io, connections, to, request, opaque, false) {
            return Err(NotSent::Ended(context));
        }
        let deadline = io.now() + timeout;
        let before = self.pending.insert((to, opaque), Pending { deadline, context });
        assert!(before.is_none(), "opaque {opaque} is in use on connection {to}");
        self.deadlines.insert((deadline, to, opaque));
        self.arm(io);
        Ok(())
    }

    /// A response has arrived: what it answers. `None`: nothing that is awaited (any more); drop it.
    pub fn answered(&mut self, from: ConnectionId, opaque: i32) -> Option<C> {
        let pending = self.pending.remove(&(from, opaque))?;
        self.deadlines.remove(&(pending.deadline, from, opaque));
        Some(pending.context)
    }

    /// A connection has ended: what will never be answered.
    pub fn ended(&mut self, connection: ConnectionId) -> Vec<C> {
        let range = (connection, i32::MIN)..=(connection, i32::MAX);
        let opaques: Vec<i32> = self.pending.range(range).map(|(&(_, opaque), _)| opaque).collect();
        opaques.into_iter().filter_map(|opaque| self.answered(connection, opaque)).collect()
    }

    /// The timer fired: what was not answered in time.
    pub fn expired(&mut self, io: &mut dyn Io) -> Vec<(ConnectionId, C)> {
        self.timer_at = None;
        let now = io.now();
        let mut expired = Vec::new();
        while let Some(&(deadline, connection, opaque)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            expired.extend(self.answered(connection, opaque).map(|context| (connection, context)));
        }
        self.arm(io);
        expired
    }

    /// The token of this table's timer events.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    fn arm(&mut self, io: &mut dyn Io) {
        let Some(&(first, ..)) = self.deadlines.first() else { return };
        // A later request with a shorter time-out needs a timer of its own; the older one then fires for nothing.
        if self.timer_at.is_none_or(|at| first < at) {
            self.timer_at = Some(first);
            io.timer(first, self.token);
        }
    }

    /// Unique among what can be pending at a time: it wraps after four billion requests.
    fn take_opaque(&mut self) -> i32 {
        let opaque = self.next_opaque;
        self.next_opaque = opaque.wrapping_add(1);
        opaque
    }
}

fn write<T: Default>(
    io: &mut dyn Io,
    connections: &mut Connections<T>,
    to: ConnectionId,
    request: &OutgoingRequest<'_>,
    opaque: i32,
    oneway: bool,
) -> bool {
    let Some(outbox) = connections.outbox(io, to) else { return false };
    let OutgoingRequest { serialize, code, fields, body } = *request;
    write_request(outbox.tail(), serialize, code, opaque, oneway, fields, body);
    true
}
