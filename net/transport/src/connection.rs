//! What the server side knows about one connection.

use std::net::SocketAddr;

use ringmq_reactor::Monotonic;

use crate::limits::{
    IN_FLIGHT_BYTES_HIGH, IN_FLIGHT_BYTES_LOW, IN_FLIGHT_REQUESTS_HIGH, IN_FLIGHT_REQUESTS_LOW,
};
use crate::stream::Stream;

/// One accepted connection; lives on the shard that owns it, from `Accepted` to `Closed`. `T` is the service's own.
#[derive(Debug)]
pub struct Connection<T> {
    peer: SocketAddr,
    local: SocketAddr,
    opened: Monotonic,
    pub(crate) last_read: Monotonic,
    pub(crate) last_written: Monotonic,
    in_flight_bytes: usize,
    in_flight_requests: usize,
    pub(crate) waits: Waits,
    /// Nothing more is handed out or written.
    pub(crate) closing: bool,
    /// Taken out while frames are handed out, so that the service may use the table meanwhile.
    pub(crate) stream: Option<Stream>,
    /// The service's own state.
    pub user: T,
}

/// Why a connection is not read at the moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits {
    /// For requests in flight to be answered.
    pub(crate) in_flight: bool,
    /// For the peer to take what is in the outbox.
    pub(crate) outbox: bool,
}

impl Waits {
    pub(crate) fn any(self) -> bool {
        self.in_flight || self.outbox
    }
}

impl<T> Connection<T> {
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, now: Monotonic, user: T) -> Self {
        Self {
            peer,
            local,
            opened: now,
            last_read: now,
            last_written: now,
            in_flight_bytes: 0,
            in_flight_requests: 0,
            waits: Waits::default(),
            closing: false,
            stream: Some(Stream::new()),
            user,
        }
    }

    /// The client's address: the TCP peer, or what a PROXY header gave for it.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address it connected to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// When it was accepted.
    #[must_use]
    pub fn opened(&self) -> Monotonic {
        self.opened
    }

    /// When anything was last received from it or queued for it.
    #[must_use]
    pub fn last_active(&self) -> Monotonic {
        self.last_read.max(self.last_written)
    }

    /// Bytes of its requests that were admitted and not released.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Its requests that were admitted and not released.
    #[must_use]
    pub fn in_flight_requests(&self) -> usize {
        self.in_flight_requests
    }

    pub(crate) fn set_addresses(&mut self, peer: SocketAddr, local: SocketAddr) {
        (self.peer, self.local) = (peer, local);
    }

    /// True: the connection has reached its bound and must wait.
    pub(crate) fn admit(&mut self, bytes: usize) -> bool {
        self.in_flight_bytes += bytes;
        self.in_flight_requests += 1;
        self.in_flight_bytes >= IN_FLIGHT_BYTES_HIGH || self.in_flight_requests >= IN_FLIGHT_REQUESTS_HIGH
    }

    /// True: below the low marks.
    pub(crate) fn release(&mut self, bytes: usize) -> bool {
        assert!(bytes <= self.in_flight_bytes, "release of {bytes} of {} bytes", self.in_flight_bytes);
        assert!(self.in_flight_requests > 0, "release without admission");
        self.in_flight_bytes -= bytes;
        self.in_flight_requests -= 1;
        self.in_flight_bytes < IN_FLIGHT_BYTES_LOW && self.in_flight_requests < IN_FLIGHT_REQUESTS_LOW
    }
}
