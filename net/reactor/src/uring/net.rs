//! Sockets of one shard: listeners and connections.
//!
//! A connection's life:
//!
//! ```text
//!   connect ─→ Connecting ──┐             close(AfterFlush)              all sent
//!   accept ─────────────────┴─→ Open ───────────────────→ Flushing ──────────────→ Lingering
//!                                │ close(Now), peer's end, error    │ timeout, error  │ peer's end, timeout
//!                                └────────────────→ Ending ←────────┴─────────────────┘
//!                                                     │ last own completion
//!                                                     └─→ Closed event, slot free, next generation
//! ```
//! *Lingering* has sent its end of stream and discards what still comes in: closing a socket with unread bytes makes the
//! kernel send a reset, which can destroy the last answer before the peer has read it.
//!
//! Each connection has at most one receive (multishot), one send and one connect in flight; its socket and the memory of these
//! operations live until the last of them has completed.

mod connection;
mod listener;
mod receive;
mod send;

use std::io;
use std::net::SocketAddr;

use io_uring::{opcode, types};

use super::core::{Core, Notice};
use super::operation::{Kind, UserData};
use super::timers::Due;
use crate::{CloseCause, CloseMode, ConnectionId};

use connection::{Connection, Phase};
use listener::Listener;
pub(super) use receive::Received;

/// The shard's sockets.
#[derive(Default)]
pub(super) struct Net {
    slots: Vec<Slot>,
    free: Vec<u32>,
    listeners: Vec<Option<Listener>>,
    /// Connections whose outbox was touched or whose send completed: looked at by `flush`.
    dirty: Vec<u32>,
    /// Connections whose receive is to be armed at the end of the turn.
    unarmed: Vec<ConnectionId>,
    /// The shard is exiting: connections that have sent everything end without waiting for their peers.
    pub(super) leaving: bool,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Net {
    /// Number of connections in any phase.
    pub(super) fn connections(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn get(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.connection.as_deref() } else { None }
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.connection.as_deref_mut() } else { None }
    }

    fn insert(&mut self, connection: Connection) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.connection.is_none(), "slot {index} is in use");
        slot.connection = Some(Box::new(connection));
        ConnectionId { index, generation: slot.generation }
    }

    /// Frees the slot; the id is dead from now on. The socket is closed with the connection.
    fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let connection = slot.connection.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(connection)
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.connection.is_some());
        used.map(|(index, slot)| ConnectionId { index: index as u32, generation: slot.generation }).collect()
    }
}

/// The owner of a connection's completion.
fn id_of(data: UserData) -> ConnectionId {
    ConnectionId { index: data.index(), generation: data.generation() }
}

impl Core {
    /// A slot for one more connection, or why not.
    fn connection_room(&self) -> io::Result<()> {
        if self.net.connections() >= self.options.connections_max {
            let text = format!("{} connections on shard {}", self.options.connections_max, self.shard);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, text));
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: ConnectionId, mode: CloseMode) {
        let Some(connection) = self.net.get_mut(id) else { return };
        match (connection.phase, mode) {
            (Phase::Connecting | Phase::Ending, _)
            | (Phase::Flushing | Phase::Lingering, CloseMode::AfterFlush) => {}
            (Phase::Open, CloseMode::AfterFlush) => {
                connection.phase = Phase::Flushing;
                let at = self.now + super::limits::CLOSE_TIMEOUT;
                self.add_timer(at, Due::Close(id));
                let notice = self.flushed(id);
                self.later.extend(notice);
            }
            (Phase::Open | Phase::Flushing | Phase::Lingering, CloseMode::Now) => {
                let notice = self.end(id, CloseCause::Local);
                self.later.extend(notice);
            }
        }
    }

    /// If a flushing connection has nothing left to send: says goodbye and waits for the peer's.
    fn flushed(&mut self, id: ConnectionId) -> Option<Notice> {
        let leaving = self.net.leaving;
        let connection = self.net.get_mut(id)?;
        if connection.phase != Phase::Flushing || connection.unsent_bytes() > 0 {
            return None;
        }
        connection.phase = Phase::Lingering;
        if leaving || connection.receive.ended || connection.shutdown_sending().is_err() {
            return self.end(id, CloseCause::Local);
        }
        connection.receive.wanted = true;
        self.net.unarmed.push(id);
        None
    }

    /// Begins the end of a connection: nothing but `Closed` will be told of it. The notice is there if nothing is in flight.
    pub(super) fn end(&mut self, id: ConnectionId, cause: CloseCause) -> Option<Notice> {
        let connection = self.net.get_mut(id)?;
        if connection.phase != Phase::Ending {
            // Whoever asked for the end first has named its cause.
            let asked_here = matches!(connection.phase, Phase::Flushing | Phase::Lingering);
            connection.cause = Some(if asked_here { CloseCause::Local } else { cause });
            connection.phase = Phase::Ending;
            connection.drop_unsent();
            if connection.in_flight() > 0 {
                // The cancellation frees what waits; the shutdown also ends what is just being started again.
                let _ = connection.socket.shutdown(std::net::Shutdown::Both);
                let cancel = types::CancelBuilder::fd(types::Fd(connection.descriptor())).all();
                let entry = opcode::AsyncCancel2::new(cancel).build();
                self.ring.submit_silent(entry, UserData::new(Kind::Ignored, 0, 0));
            }
        }
        self.ended(id)
    }

    /// If the connection is ending and its last operation has completed: frees it.
    fn ended(&mut self, id: ConnectionId) -> Option<Notice> {
        let connection = self.net.get(id)?;
        if connection.phase != Phase::Ending || connection.in_flight() > 0 {
            return None;
        }
        let connection = self.net.remove(id)?;
        let cause = connection.cause.unwrap_or(CloseCause::Local);
        Some(match connection.connect_token {
            Some(token) => Notice::Connected { token, result: Err(connect_error(connection.peer, cause)) },
            None => Notice::Closed { connection: id, cause },
        })
    }

    /// A close has taken too long.
    pub(super) fn close_due(&mut self, id: ConnectionId) -> Option<Notice> {
        self.end(id, CloseCause::Local)
    }
}

fn connect_error(peer: SocketAddr, cause: CloseCause) -> io::Error {
    match cause {
        CloseCause::Failed(error) => io::Error::new(error.kind(), format!("connect to {peer}: {error}")),
        CloseCause::Peer | CloseCause::Local => {
            io::Error::new(io::ErrorKind::Interrupted, format!("connect to {peer}: given up"))
        }
    }
}
