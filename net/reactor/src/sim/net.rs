//! The simulated network: listeners, connection attempts, and connections with their two ends. How bytes travel is in
//! [`super::transfer`].
//!
//! An end goes `Opening → Open → (Closing →) Gone`, or `Lost` when its host lost power: nothing tells the peer then, until it sends
//! something to the host's next life. A connection is forgotten when both ends are `Gone` or `Lost`.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::core::{Completion, Core, Due, ShardKey};
use crate::{AcceptTo, CloseCause, CloseMode, ConnectionId, ListenerId, Outbox, ShardId, Token};

/// As the kernel driver's.
const CONNECT_TIMEOUT: u64 = 3_000_000_000;
/// As the kernel driver's.
const CLOSE_TIMEOUT: u64 = 3_000_000_000;
/// What TCP waits before it sends a SYN again.
const SYN_AGAIN: u64 = 1_000_000_000;
const EPHEMERAL_PORTS_FROM: u16 = 32_768;

#[derive(Default)]
pub(super) struct Network {
    /// By host and port: one address family and no port sharing, that is all we use.
    listeners: FxHashMap<(u32, u16), Listener>,
    attempts: FxHashMap<u64, Attempt>,
    pub(super) connections: FxHashMap<u64, Connection>,
    next: u64,
    next_port: u16,
    /// Directions (from host, to host) in which nothing passes.
    pub(super) cuts: FxHashSet<(u32, u32)>,
}

struct Listener {
    shard: ShardKey,
    id: ListenerId,
    bound: SocketAddr,
    accept: AcceptTo,
    token: Token,
    next: usize,
}

/// A `connect` that has not been answered.
struct Attempt {
    shard: ShardKey,
    token: Token,
    from: SocketAddr,
    to: SocketAddr,
    to_host: Option<u32>,
    answer: Option<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Refused,
    /// The connection has been made on the other side.
    Accepted(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EndState {
    Opening,
    Open,
    /// The service closed it; what was in the outbox is still on its way.
    Closing,
    Gone,
    Lost,
}

/// One end, with what it has sent and the other has not received.
pub(super) struct End {
    pub(super) shard: ShardKey,
    pub(super) id: ConnectionId,
    pub(super) host: u32,
    pub(super) state: EndState,
    pub(super) receiving: bool,
    pub(super) over_high: bool,
    pub(super) outbox: Outbox,
    /// Taken from the outbox, not yet by the socket.
    pub(super) sending: VecDeque<Bytes>,
    pub(super) sending_bytes: usize,
    /// In the socket or under way.
    pub(super) wire: VecDeque<Bytes>,
    pub(super) wire_bytes: usize,
    /// The end of the stream follows the bytes.
    pub(super) fin: bool,
    /// A `Due::Deliver` is in the queue.
    pub(super) delivery_due: bool,
    /// Nothing gets through (cut, or host without power) since then.
    pub(super) stuck_since: Option<u64>,
}

impl End {
    fn new(shard: ShardKey, id: ConnectionId, host: u32, state: EndState) -> Self {
        Self {
            shard,
            id,
            host,
            state,
            receiving: true,
            over_high: false,
            outbox: Outbox::default(),
            sending: VecDeque::new(),
            sending_bytes: 0,
            wire: VecDeque::new(),
            wire_bytes: 0,
            fin: false,
            delivery_due: false,
            stuck_since: None,
        }
    }

    pub(super) fn drop_unsent(&mut self) {
        self.outbox = Outbox::default();
        self.sending.clear();
        self.sending_bytes = 0;
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, EndState::Gone | EndState::Lost)
    }
}

pub(super) struct Connection {
    /// The client's, the server's.
    pub(super) ends: [End; 2],
}

impl Core {
    pub(super) fn listen(
        &mut self,
        shard: ShardKey,
        mut address: SocketAddr,
        accept: AcceptTo,
        token: Token,
    ) -> io::Result<ListenerId> {
        let host = self.host_of(shard);
        let own = self.hosts[host as usize].address;
        let fail = |kind: io::ErrorKind| io::Error::new(kind, format!("listen on {address}: {kind}"));
        if !(address.ip().is_unspecified() || address.ip().is_loopback() || address.ip() == own) {
            return Err(fail(io::ErrorKind::AddrNotAvailable));
        }
        if address.port() == 0 {
            let port = self.ephemeral_port(host);
            address.set_port(port);
        } else if self.net.listeners.contains_key(&(host, address.port())) {
            return Err(fail(io::ErrorKind::AddrInUse));
        }
        let state = self.shard(shard);
        let id = ListenerId(state.next_listener);
        state.next_listener += 1;
        let listener = Listener { shard, id, bound: address, accept, token, next: 0 };
        self.net.listeners.insert((host, address.port()), listener);
        Ok(id)
    }

    fn ephemeral_port(&mut self, host: u32) -> u16 {
        loop {
            self.net.next_port = self.net.next_port.wrapping_add(1).max(EPHEMERAL_PORTS_FROM);
            if !self.net.listeners.contains_key(&(host, self.net.next_port)) {
                return self.net.next_port;
            }
        }
    }

    pub(super) fn local_address(&self, shard: ShardKey, listener: ListenerId) -> Option<SocketAddr> {
        self.net.listeners.values().find(|l| l.shard == shard && l.id == listener).map(|l| l.bound)
    }

    pub(super) fn close_listener(&mut self, shard: ShardKey, listener: ListenerId) {
        self.net.listeners.retain(|_, l| !(l.shard == shard && l.id == listener));
    }

    fn close_listeners(&mut self, of: impl Fn(ShardKey) -> bool) {
        self.net.listeners.retain(|_, l| !of(l.shard));
    }

    pub(super) fn connect(&mut self, shard: ShardKey, to: SocketAddr, token: Token) {
        let host = self.host_of(shard);
        let to_host = if to.ip().is_loopback() {
            Some(host)
        } else {
            self.hosts.iter().position(|h| h.address == to.ip()).map(|h| h as u32)
        };
        let ip = if to.ip().is_loopback() { to.ip() } else { self.hosts[host as usize].address };
        let from = SocketAddr::new(ip, self.ephemeral_port(host));
        let number = self.next_number();
        self.net.attempts.insert(number, Attempt { shard, token, from, to, to_host, answer: None });
        let delay = to_host.map_or(0, |to| self.way(host, to));
        self.schedule_in(delay, Due::Syn(number));
        self.schedule_in(CONNECT_TIMEOUT, Due::ConnectTimeout(number));
    }

    fn next_number(&mut self) -> u64 {
        self.net.next += 1;
        self.net.next
    }

    /// Time of one way, nanoseconds.
    pub(super) fn way(&mut self, from: u32, to: u32) -> u64 {
        let latency = if from == to { self.options.loopback } else { self.options.network };
        latency.sample(&mut self.rng)
    }

    pub(super) fn passes(&self, from: u32, to: u32) -> bool {
        !self.net.cuts.contains(&(from, to)) && self.hosts[from as usize].up && self.hosts[to as usize].up
    }

    pub(super) fn syn(&mut self, number: u64) {
        let Some(attempt) = self.net.attempts.get(&number) else { return };
        let (client, from, to) = (attempt.shard, attempt.from, attempt.to);
        // Nobody has that address: nobody answers.
        let Some(to_host) = attempt.to_host else { return };
        let from_host = self.host_of(client);
        if !self.passes(from_host, to_host) {
            return self.schedule_in(SYN_AGAIN, Due::Syn(number));
        }
        let answer = match self.accept(to_host, from, to) {
            None => Answer::Refused,
            Some((server, server_id, connection)) => {
                // The client's end gets its id when the answer is there.
                let id = ConnectionId { index: u32::MAX, generation: 0 };
                let ends = [
                    End::new(client, id, from_host, EndState::Opening),
                    End::new(server, server_id, to_host, EndState::Open),
                ];
                self.net.connections.insert(connection, Connection { ends });
                Answer::Accepted(connection)
            }
        };
        self.net.attempts.get_mut(&number).expect("looked up above").answer = Some(answer);
        let delay = self.way(to_host, from_host);
        self.schedule_in(delay, Due::SynAnswer(number));
    }

    /// Lets a listener take a connection: its shard, id there, and number.
    fn accept(
        &mut self,
        host: u32,
        peer: SocketAddr,
        to: SocketAddr,
    ) -> Option<(ShardKey, ConnectionId, u64)> {
        let listener = self.net.listeners.get_mut(&(host, to.port()))?;
        let bound = listener.bound.ip();
        if !(bound.is_unspecified() || bound == to.ip()) {
            return None;
        }
        let shard = match &listener.accept {
            AcceptTo::Here => listener.shard.shard,
            AcceptTo::RoundRobin(shards) => {
                let ShardId(shard) = shards[listener.next % shards.len()];
                listener.next += 1;
                shard
            }
        };
        let (token, listener_id) = (listener.token, listener.id);
        let server = ShardKey { process: listener.shard.process, shard };
        if !self.is_live(server) {
            return None;
        }
        let connection = self.next_number();
        let id = self.new_slot(server, (connection, 1));
        let accepted = Completion::Accepted { token, listener: listener_id, connection: id, peer, local: to };
        self.complete(server, accepted);
        Some((server, id, connection))
    }

    pub(super) fn syn_answer(&mut self, number: u64) {
        let Some(attempt) = self.net.attempts.get(&number) else { return };
        let (client, token) = (attempt.shard, attempt.token);
        let (from_host, to_host) = (self.host_of(client), attempt.to_host.expect("somebody answered"));
        let answer = attempt.answer.expect("set when the answer was sent");
        if !self.passes(to_host, from_host) {
            return self.schedule_in(SYN_AGAIN, Due::SynAnswer(number));
        }
        self.net.attempts.remove(&number);
        let result = match answer {
            Answer::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            // Already over again on the other side, and forgotten.
            Answer::Accepted(c) if !self.net.connections.contains_key(&c) => {
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Answer::Accepted(connection) => {
                let id = self.new_slot(client, (connection, 0));
                let ends = &mut self.net.connections.get_mut(&connection).expect("looked up above").ends;
                ends[0].id = id;
                ends[0].state = EndState::Open;
                Ok(id)
            }
        };
        self.complete(client, Completion::Connected { token, result });
        if let Answer::Accepted(connection) = answer {
            self.deliver_soon(connection, 1);
        }
    }

    pub(super) fn connect_timeout(&mut self, number: u64) {
        let Some(attempt) = self.net.attempts.remove(&number) else { return };
        if let Some(Answer::Accepted(connection)) = attempt.answer {
            // The other side believes in a connection; our answer to whatever it sends would be a reset.
            self.end_gone(connection, 0);
            self.send_reset(connection, 1);
        }
        let error = io::Error::new(io::ErrorKind::TimedOut, format!("connect to {}: no answer", attempt.to));
        self.complete(attempt.shard, Completion::Connected { token: attempt.token, result: Err(error) });
    }

    pub(super) fn close(&mut self, shard: ShardKey, id: ConnectionId, mode: CloseMode) {
        let Some((number, side)) = self.link(shard, id) else { return };
        if let Some(slot) = self.slot(shard, id) {
            slot.silent = true;
        }
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let end = &mut connection.ends[side as usize];
        match (mode, end.state) {
            (CloseMode::AfterFlush, EndState::Open) => {
                end.state = EndState::Closing;
                self.shard(shard).dirty.push(id);
                self.schedule_in(CLOSE_TIMEOUT, Due::CloseTimeout { connection: number, end: side });
            }
            (CloseMode::Now, EndState::Open | EndState::Closing) => self.close_end(number, side),
            _ => {}
        }
    }

    /// Ends our side in order: what the socket holds still goes out, then the end of the stream; a reset instead if the peer's bytes
    /// were not read, as TCP does it.
    pub(super) fn close_end(&mut self, number: u64, side: u8) {
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let unread = connection.ends[1 - side as usize].wire_bytes > 0;
        let end = &mut connection.ends[side as usize];
        end.drop_unsent();
        end.fin = true;
        let (shard, id) = (end.shard, end.id);
        self.complete(shard, Completion::Closed { connection: id, cause: CloseCause::Local });
        self.end_gone(number, side);
        if unread {
            self.lose_part_of_wire(number, side);
            self.send_reset(number, 1 - side);
        } else {
            self.deliver_soon(number, side);
        }
    }

    pub(super) fn close_timeout(&mut self, number: u64, side: u8) {
        let closing = self.net.connections.get(&number).map(|c| c.ends[side as usize].state);
        if closing == Some(EndState::Closing) {
            self.close_end(number, side);
        }
    }

    /// Our side has ended: the id leads nowhere any more. Forgets the connection when both sides have.
    pub(super) fn end_gone(&mut self, number: u64, side: u8) {
        let Some(connection) = self.net.connections.get_mut(&number) else { return };
        let end = &mut connection.ends[side as usize];
        end.drop_unsent();
        let was_opening = end.state == EndState::Opening;
        end.state = EndState::Gone;
        let (shard, id) = (end.shard, end.id);
        if connection.ends.iter().all(End::is_over) {
            self.net.connections.remove(&number);
        }
        if !was_opening && let Some(slot) = self.slot(shard, id) {
            slot.link = None;
        }
    }

    /// An end learns that its connection failed.
    pub(super) fn fail_end(&mut self, number: u64, side: u8, kind: io::ErrorKind) {
        let Some(connection) = self.net.connections.get(&number) else { return };
        let end = &connection.ends[side as usize];
        match end.state {
            EndState::Open | EndState::Closing => {
                let (shard, id) = (end.shard, end.id);
                let cause = CloseCause::Failed(kind.into());
                self.complete(shard, Completion::Closed { connection: id, cause });
                self.end_gone(number, side);
            }
            // `syn_answer` will find the connection gone.
            EndState::Opening => self.end_gone(number, side),
            EndState::Gone | EndState::Lost => {}
        }
    }

    pub(super) fn send_reset(&mut self, number: u64, to: u8) {
        let Some(connection) = self.net.connections.get(&number) else { return };
        let (from, to_host) = (connection.ends[1 - to as usize].host, connection.ends[to as usize].host);
        let delay = self.way(from, to_host);
        self.schedule_in(delay, Due::Reset { connection: number, to });
    }

    pub(super) fn reset(&mut self, number: u64, to: u8) {
        let Some(connection) = self.net.connections.get(&number) else { return };
        let (from_host, to_host) = (connection.ends[1 - to as usize].host, connection.ends[to as usize].host);
        if !self.passes(from_host, to_host) {
            // Lost; the next thing that end sends is answered by another.
            return;
        }
        let ends = &mut self.net.connections.get_mut(&number).expect("looked up above").ends;
        ends[1 - to as usize].wire.clear();
        ends[1 - to as usize].wire_bytes = 0;
        self.fail_end(number, to, io::ErrorKind::ConnectionReset);
    }

    /// A shard exits: what its connections hold goes out, then they end. As the kernel driver, without its time limit: a
    /// peer that reads nothing cannot hold a simulated exit.
    pub(super) fn exit_shard(&mut self, key: ShardKey) {
        for (number, side) in self.links_of(key) {
            if let Some(connection) = self.net.connections.get_mut(&number) {
                let end = &mut connection.ends[side as usize];
                super::transfer::move_to_wire(end, usize::MAX);
                end.fin = true;
                self.end_gone(number, side);
                self.deliver_soon(number, side);
            }
        }
        self.close_listeners(|shard| shard == key);
        self.net.attempts.retain(|_, attempt| attempt.shard != key);
    }

    /// A process was killed: the kernel closes its sockets. What they had taken mostly still arrives.
    pub(super) fn kill_connections(&mut self, process: u32) {
        for key in self.shards_of(process) {
            for (number, side) in self.links_of(key) {
                let Some(connection) = self.net.connections.get_mut(&number) else { continue };
                let unread = connection.ends[1 - side as usize].wire_bytes > 0;
                connection.ends[side as usize].fin = true;
                self.end_gone(number, side);
                if unread || self.rng.one_in(4) {
                    self.lose_part_of_wire(number, side);
                    self.send_reset(number, 1 - side);
                } else {
                    self.deliver_soon(number, side);
                }
            }
        }
        self.forget_sockets(process);
    }

    /// A process lost its power: nobody is told.
    pub(super) fn lose_connections(&mut self, process: u32) {
        for key in self.shards_of(process) {
            for (number, side) in self.links_of(key) {
                let Some(connection) = self.net.connections.get_mut(&number) else { continue };
                let end = &mut connection.ends[side as usize];
                end.drop_unsent();
                end.wire.clear();
                end.wire_bytes = 0;
                end.state = EndState::Lost;
                if connection.ends.iter().all(End::is_over) {
                    self.net.connections.remove(&number);
                }
            }
        }
        self.forget_sockets(process);
    }

    fn forget_sockets(&mut self, process: u32) {
        self.close_listeners(|shard| shard.process == process);
        // Attempts already accepted elsewhere leave half a connection there.
        let dead = self.net.attempts.extract_if(|_, attempt| attempt.shard.process == process);
        let mut accepted: Vec<u64> = dead
            .filter_map(|(_, attempt)| match attempt.answer {
                Some(Answer::Accepted(connection)) => Some(connection),
                _ => None,
            })
            .collect();
        accepted.sort_unstable();
        for connection in accepted {
            self.end_gone(connection, 0);
            self.send_reset(connection, 1);
        }
    }

    fn shards_of(&self, process: u32) -> Vec<ShardKey> {
        (0..self.processes[process as usize].shards.len() as u16)
            .map(|shard| ShardKey { process, shard })
            .collect()
    }

    fn links_of(&mut self, key: ShardKey) -> Vec<(u64, u8)> {
        self.shard(key).slots.iter().filter_map(|slot| slot.link).collect()
    }

    /// Numbers of all connections between two hosts, in a fixed order.
    pub(super) fn connections_between(&self, a: u32, b: u32) -> Vec<u64> {
        let mut numbers: Vec<u64> = self
            .net
            .connections
            .iter()
            .filter(|(_, c)| {
                let hosts = (c.ends[0].host, c.ends[1].host);
                hosts == (a, b) || hosts == (b, a)
            })
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn host_by_address(&self, address: IpAddr) -> Option<u32> {
        self.hosts.iter().position(|host| host.address == address).map(|host| host as u32)
    }
}
