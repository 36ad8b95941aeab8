//! Where connections come from: listeners and connection attempts.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::{opcode, types};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::{Connection, Phase, id_of};
use crate::uring::core::{Core, Notice};
use crate::uring::limits::{ACCEPT_BACKLOG, ACCEPT_REST, CONNECT_TIMEOUT};
use crate::uring::mailbox::Handover;
use crate::uring::operation::{Kind, UserData};
use crate::uring::ring::Completion;
use crate::uring::timers::Due;
use crate::{AcceptTo, CloseCause, ConnectionId, ListenerId, ShardId, Token};

pub(super) struct Listener {
    /// Closed when the listener is dropped, which is after its accept's last completion.
    socket: Socket,
    address: SocketAddr,
    token: Token,
    /// Not empty.
    shards: Vec<ShardId>,
    next: usize,
    armed: bool,
    closing: bool,
}

/// A freshly accepted connection and the shard that is to have it.
pub(in crate::uring) struct Accepted {
    pub(in crate::uring) to: ShardId,
    pub(in crate::uring) handover: Handover,
}

fn stream_socket(address: SocketAddr) -> io::Result<Socket> {
    // Close-on-exec, and blocking on purpose: on a non-blocking socket the ring answers EAGAIN instead of waiting.
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

impl Core {
    pub(in crate::uring) fn listen(
        &mut self,
        address: SocketAddr,
        accept: AcceptTo,
        token: Token,
        shard_count: usize,
    ) -> io::Result<ListenerId> {
        let shards = match accept {
            AcceptTo::Here => vec![self.shard],
            AcceptTo::RoundRobin(shards) if shards.is_empty() => vec![self.shard],
            AcceptTo::RoundRobin(shards) => shards,
        };
        if let Some(unknown) = shards.iter().find(|shard| usize::from(shard.0) >= shard_count) {
            let text = format!("listen on {address}: no shard {unknown} among {shard_count}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listen = || {
            let socket = stream_socket(address)?;
            socket.set_reuse_address(true)?;
            // Accepted sockets inherit it, which spares a system call for each.
            socket.set_tcp_nodelay(true)?;
            socket.bind(&address.into())?;
            socket.listen(ACCEPT_BACKLOG)?;
            let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok::<_, io::Error>((socket, bound))
        };
        let (socket, address) = listen()
            .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))?;
        let id = ListenerId(self.net.listeners.len() as u32);
        let listener = Listener { socket, address, token, shards, next: 0, armed: false, closing: false };
        self.net.listeners.push(Some(listener));
        self.arm_accept(id);
        Ok(id)
    }

    pub(in crate::uring) fn local_address(&self, id: ListenerId) -> Option<SocketAddr> {
        self.net
            .listeners
            .get(id.0 as usize)?
            .as_ref()
            .filter(|listener| !listener.closing)
            .map(|l| l.address)
    }

    pub(in crate::uring) fn close_listener(&mut self, id: ListenerId) {
        let Some(entry) = self.net.listeners.get_mut(id.0 as usize) else { return };
        let Some(listener) = entry else { return };
        if !listener.armed {
            *entry = None;
        } else if !listener.closing {
            listener.closing = true;
            let target = UserData::new(Kind::Accept, id.0, 0);
            let cancel = opcode::AsyncCancel::new(target.0).build();
            self.ring.submit_silent(cancel, UserData::new(Kind::Ignored, 0, 0));
        }
    }

    pub(in crate::uring) fn close_listeners(&mut self) {
        for index in 0..self.net.listeners.len() {
            self.close_listener(ListenerId(index as u32));
        }
    }

    /// Starts accepting, also again after a rest.
    pub(in crate::uring) fn arm_accept(&mut self, id: ListenerId) {
        let Some(Some(listener)) = self.net.listeners.get_mut(id.0 as usize) else { return };
        if listener.armed || listener.closing {
            return;
        }
        listener.armed = true;
        let descriptor = types::Fd(listener.socket.as_raw_fd());
        let entry = opcode::AcceptMulti::new(descriptor).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the entry refers to no memory; the listener's socket is closed after the accept's last completion.
        unsafe { self.ring.submit(entry, UserData::new(Kind::Accept, id.0, 0)) };
    }

    pub(in crate::uring) fn on_accept(&mut self, completion: Completion) -> Option<Accepted> {
        let id = ListenerId(completion.data.index());
        let entry = self.net.listeners.get_mut(id.0 as usize)?;
        let listener = entry.as_mut().expect("a listener outlives its accept");
        let socket = completion.value().map(|descriptor| {
            // SAFETY: an accept's result is a new descriptor that nobody else knows.
            unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }
        });
        if !completion.more() {
            listener.armed = false;
        }
        if listener.closing {
            if !listener.armed {
                *entry = None;
            }
            return None;
        }
        let armed = listener.armed;
        let accepted = match socket {
            Ok(socket) => accepted(socket, id, listener),
            Err(error) => {
                if !matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR | libc::ECANCELED)) {
                    tracing::warn!(%error, address = %listener.address, "accept failed; trying again shortly");
                    let at = self.now + ACCEPT_REST;
                    self.add_timer(at, Due::Accept(id));
                    return None;
                }
                None
            }
        };
        if !armed {
            self.arm_accept(id);
        }
        accepted
    }

    /// Makes an accepted socket a connection of this shard; `None` (and the socket closed) if there is no room.
    pub(in crate::uring) fn adopt(&mut self, handover: Handover) -> Option<ConnectionId> {
        if let Err(error) = self.connection_room() {
            tracing::warn!(%error, peer = %handover.peer, "connection refused");
            return None;
        }
        self.stats.accepted += 1;
        let connection = Connection::new(Socket::from(handover.socket), handover.peer, Phase::Open);
        let id = self.net.insert(connection);
        self.net.unarmed.push(id);
        Some(id)
    }

    pub(in crate::uring) fn connect(&mut self, to: SocketAddr, token: Token) {
        if let Err(error) = self.start_connect(to, token) {
            let error = io::Error::new(error.kind(), format!("connect to {to}: {error}"));
            self.later.push_back(Notice::Connected { token, result: Err(error) });
        }
    }

    fn start_connect(&mut self, to: SocketAddr, token: Token) -> io::Result<()> {
        self.connection_room()?;
        let socket = stream_socket(to)?;
        socket.set_tcp_nodelay(true)?;
        let descriptor = types::Fd(socket.as_raw_fd());
        let address = Box::new(SockAddr::from(to));
        let entry = opcode::Connect::new(descriptor, address.as_ptr().cast(), address.len()).build();
        let mut connection = Connection::new(socket, to, Phase::Connecting);
        connection.connect_token = Some(token);
        connection.connect_address = Some(address);
        connection.connect_in_flight = true;
        let id = self.net.insert(connection);
        // SAFETY: the boxed address and the socket belong to the connection, which is removed only when its connect has
        // completed.
        unsafe { self.ring.submit(entry, UserData::new(Kind::Connect, id.index, id.generation)) };
        let at = self.now + CONNECT_TIMEOUT;
        self.add_timer(at, Due::Connect(id));
        Ok(())
    }

    /// A connection attempt has taken too long.
    pub(in crate::uring) fn connect_due(&mut self, id: ConnectionId) -> Option<Notice> {
        let connection = self.net.get(id)?;
        if connection.phase != Phase::Connecting {
            return None;
        }
        self.end(id, CloseCause::Failed(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
    }

    pub(in crate::uring) fn on_connect(&mut self, completion: Completion) -> Option<Notice> {
        let id = id_of(completion.data);
        let connection = self.net.get_mut(id).expect("a connection outlives its operations");
        connection.connect_in_flight = false;
        connection.connect_address = None;
        if connection.phase == Phase::Ending {
            return self.ended(id);
        }
        match completion.value() {
            Ok(_) => {
                connection.phase = Phase::Open;
                let token = connection.connect_token.take().expect("a connecting connection has its token");
                self.net.unarmed.push(id);
                Some(Notice::Connected { token, result: Ok(id) })
            }
            Err(error) => self.end(id, CloseCause::Failed(error)),
        }
    }
}

fn accepted(socket: OwnedFd, id: ListenerId, listener: &mut Listener) -> Option<Accepted> {
    let names = |socket: &OwnedFd| {
        let socket = SockRef::from(socket);
        Some((socket.peer_addr().ok()?.as_socket()?, socket.local_addr().ok()?.as_socket()?))
    };
    // The peer may be gone already.
    let (peer, local) = names(&socket)?;
    let to = listener.shards[listener.next % listener.shards.len()];
    listener.next = (listener.next + 1) % listener.shards.len();
    Some(Accepted { to, handover: Handover { socket, token: listener.token, listener: id, peer, local } })
}
