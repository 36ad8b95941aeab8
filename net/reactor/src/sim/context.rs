//! The world as one shard sees it during its turn.

use std::io;
use std::net::SocketAddr;

use super::core::{Completion, Core, Due, ShardKey};
use super::net::EndState;
use super::process::Mailboxes;
use crate::{
    AcceptTo, Block, CloseMode, ConnectionId, Context, Event, FileOp, Io, ListenerId, Mapping, Monotonic,
    Outbox, Service, ShardId, TimerId, Token,
};

pub(super) struct SimContext<'a, M> {
    core: &'a mut Core,
    key: ShardKey,
    mail: &'a mut Mailboxes<M>,
    exits: bool,
}

impl<'a, M: Send + 'static> SimContext<'a, M> {
    pub(super) fn new(core: &'a mut Core, key: ShardKey, mail: &'a mut Mailboxes<M>) -> Self {
        Self { core, key, mail, exits: false }
    }

    pub(super) fn trace(&mut self, completion: &Completion) {
        self.core.trace.completion(self.core.now, self.key, completion);
    }

    pub(super) fn trace_mail(&mut self, from: ShardId) {
        self.core.trace.mail(self.core.now, self.key, from);
    }

    /// Hands one completion to the service, unless it has lost its meaning since it was reaped.
    pub(super) fn deliver(&mut self, service: &mut dyn Service<M>, completion: Completion) {
        let mut closed = None;
        match &completion {
            // Taken back after it was due and before it was delivered.
            Completion::Timer { timer, .. } if !self.core.shard(self.key).timers.remove(timer) => return,
            Completion::Received { connection, .. } | Completion::Drained { connection }
                if self.core.slot(self.key, *connection).is_none_or(|slot| slot.silent) =>
            {
                return;
            }
            Completion::Closed { connection, .. } => closed = Some(*connection),
            _ => {}
        }
        self.trace(&completion);
        let event = match completion {
            Completion::Start => unreachable!("first of a shard's events, handled by the turn"),
            Completion::Accepted { token, listener, connection, peer, local } => {
                Event::Accepted { token, listener, connection, peer, local }
            }
            Completion::Connected { token, result } => Event::Connected { token, result },
            Completion::Received { connection, bytes } => {
                return service.handle(self, Event::Received { connection, bytes: &bytes });
            }
            Completion::Drained { connection } => Event::Drained { connection },
            Completion::Closed { connection, cause } => Event::Closed { connection, cause },
            Completion::File { token, result } => Event::File { token, result },
            Completion::Timer { token, .. } => Event::Timer { token },
            Completion::Stop => Event::Stop,
        };
        service.handle(self, event);
        if let Some(connection) = closed {
            self.core.shard(self.key).free_slots.push(connection.index);
        }
    }

    /// End of the turn: sends what was put into outboxes. True if the shard exits.
    pub(super) fn finish(self) -> bool {
        self.core.flush_dirty(self.key);
        self.exits
    }
}

impl<M: Send + 'static> Io for SimContext<'_, M> {
    fn shard(&self) -> ShardId {
        ShardId(self.key.shard)
    }

    fn shard_count(&self) -> usize {
        self.core.processes[self.key.process as usize].shards.len()
    }

    fn now(&self) -> Monotonic {
        self.core.monotonic()
    }

    fn wall_ms(&self) -> u64 {
        let process = &self.core.processes[self.key.process as usize];
        let world = self.core.options.wall_ms + self.core.now / 1_000_000;
        world.saturating_add_signed(process.skew_ms)
    }

    fn random(&mut self) -> u64 {
        self.core.rng.next()
    }

    fn timer(&mut self, at: Monotonic, token: Token) -> TimerId {
        let shard = self.core.shard(self.key);
        let timer = shard.next_timer;
        shard.next_timer += 1;
        shard.timers.insert(timer);
        self.core.schedule(at.0, Due::Timer { shard: self.key, timer, token });
        TimerId(timer)
    }

    fn cancel_timer(&mut self, timer: TimerId) {
        self.core.shard(self.key).timers.remove(&timer.0);
    }

    fn listen(&mut self, address: SocketAddr, accept: AcceptTo, token: Token) -> io::Result<ListenerId> {
        self.core.listen(self.key, address, accept, token)
    }

    fn local_address(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.core.local_address(self.key, listener)
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.core.close_listener(self.key, listener);
    }

    fn connect(&mut self, to: SocketAddr, token: Token) {
        self.core.connect(self.key, to, token);
    }

    fn outbox(&mut self, connection: ConnectionId) -> Option<&mut Outbox> {
        let (number, side) = self.core.link(self.key, connection)?;
        let open = self.core.net.connections.get(&number)?.ends[side as usize].state == EndState::Open;
        if !open {
            return None;
        }
        let dirty = &mut self.core.shard(self.key).dirty;
        if dirty.last() != Some(&connection) {
            dirty.push(connection);
        }
        Some(&mut self.core.net.connections.get_mut(&number)?.ends[side as usize].outbox)
    }

    fn unsent_bytes(&self, connection: ConnectionId) -> usize {
        let Some((number, side)) = self.core.link(self.key, connection) else { return 0 };
        self.core.net.connections.get(&number).map_or(0, |connection| {
            let end = &connection.ends[side as usize];
            end.outbox.pending_bytes() + end.sending_bytes
        })
    }

    fn set_receiving(&mut self, connection: ConnectionId, receiving: bool) {
        self.core.set_receiving(self.key, connection, receiving);
    }

    fn close(&mut self, connection: ConnectionId, mode: CloseMode) {
        self.core.close(self.key, connection, mode);
    }

    fn file(&mut self, token: Token, op: FileOp) {
        self.core.file(self.key, token, op);
    }

    fn block(&mut self, bytes: usize) -> io::Result<Block> {
        Ok(Block::new(bytes))
    }

    fn block_in(&mut self, mapping: &mut Mapping, from: usize, bytes: usize) -> io::Result<Block> {
        Ok(Block::with_registration(mapping.lend(from, bytes)?, |_| (None, None)))
    }

    fn exit(&mut self) {
        self.exits = true;
    }
}

impl<M: Send + 'static> Context<M> for SimContext<'_, M> {
    fn mail(&mut self, to: ShardId, message: M) {
        self.mail.send(ShardId(self.key.shard), to, message);
        let to = ShardKey { process: self.key.process, shard: to.0 };
        if self.core.is_live(to) {
            self.core.wake(to);
        }
    }

    fn mail_room(&self, to: ShardId) -> usize {
        self.mail.room(ShardId(self.key.shard), to)
    }
}
