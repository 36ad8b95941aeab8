//! One connection: its socket, what it sends, whether it receives.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{SockAddr, Socket};

use super::send::Sending;
use crate::{CloseCause, Outbox, Token};

/// See the drawing in [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::uring) enum Phase {
    Connecting,
    Open,
    Flushing,
    Lingering,
    Ending,
}

/// The receiving half.
#[derive(Debug, Default)]
pub(super) struct Receive {
    /// A multishot receive is in flight.
    pub(super) armed: bool,
    /// It is being cancelled.
    pub(super) cancelling: bool,
    /// The service wants bytes.
    pub(super) wanted: bool,
    /// The peer has ended its stream.
    pub(super) ended: bool,
}

pub(in crate::uring) struct Connection {
    /// Closed when the connection is dropped, which is after its last completion.
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) cause: Option<CloseCause>,
    pub(super) outbox: Outbox,
    /// Boxed: the kernel reads it while a send is in flight.
    pub(super) sending: Box<Sending>,
    pub(super) receive: Receive,
    /// Present until the attempt has ended; the kernel reads the address meanwhile.
    pub(super) connect_token: Option<Token>,
    pub(super) connect_address: Option<Box<SockAddr>>,
    pub(super) connect_in_flight: bool,
    /// The outbox has passed its high mark and not yet come down to the low one.
    pub(super) slow: bool,
    /// In `Net::dirty`.
    pub(super) dirty: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket, peer: SocketAddr, phase: Phase) -> Self {
        Self {
            socket,
            peer,
            phase,
            cause: None,
            outbox: Outbox::default(),
            sending: Box::default(),
            receive: Receive { wanted: true, ..Receive::default() },
            connect_token: None,
            connect_address: None,
            connect_in_flight: false,
            slow: false,
            dirty: false,
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Operations that the kernel has not completed.
    pub(super) fn in_flight(&self) -> usize {
        usize::from(self.receive.armed)
            + usize::from(self.sending.in_flight())
            + usize::from(self.connect_in_flight)
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.outbox.pending_bytes() + self.sending.bytes()
    }

    /// Forgets what no send has taken; a send in flight keeps its slices until it completes.
    pub(super) fn drop_unsent(&mut self) {
        self.outbox = Outbox::default();
        if !self.sending.in_flight() {
            self.sending.clear();
        }
    }

    pub(super) fn shutdown_sending(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
