//! [`Io`] and [`Context`] as the kernel driver answers them.

use std::io;
use std::net::SocketAddr;

use super::core::Core;
use super::mailbox::{Desk, Letter};
use super::timers::Due;
use crate::block::Memory;
use crate::{
    AcceptTo, Block, CloseMode, ConnectionId, Context, FileOp, Io, ListenerId, Mapping, Monotonic, Outbox,
    ShardId, TimerId, Token,
};

/// One shard's side of the world. `core` before `desk`: the ring is closed first.
pub(super) struct Driver<M> {
    pub(super) core: Core,
    pub(super) desk: Desk<M>,
}

impl<M: Send + 'static> Io for Driver<M> {
    fn shard(&self) -> ShardId {
        self.core.shard
    }

    fn shard_count(&self) -> usize {
        self.desk.shards()
    }

    fn now(&self) -> Monotonic {
        self.core.now
    }

    fn wall_ms(&self) -> u64 {
        self.core.wall_ms
    }

    fn random(&mut self) -> u64 {
        self.core.random()
    }

    fn timer(&mut self, at: Monotonic, token: Token) -> TimerId {
        self.core.add_timer(at, Due::Service(token))
    }

    fn cancel_timer(&mut self, timer: TimerId) {
        self.core.timers.cancel(timer);
    }

    fn listen(&mut self, address: SocketAddr, accept: AcceptTo, token: Token) -> io::Result<ListenerId> {
        let shards = self.desk.shards();
        self.core.listen(address, accept, token, shards)
    }

    fn local_address(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.core.local_address(listener)
    }

    fn close_listener(&mut self, listener: ListenerId) {
        self.core.close_listener(listener);
    }

    fn connect(&mut self, to: SocketAddr, token: Token) {
        self.core.connect(to, token);
    }

    fn outbox(&mut self, connection: ConnectionId) -> Option<&mut Outbox> {
        self.core.outbox(connection)
    }

    fn unsent_bytes(&self, connection: ConnectionId) -> usize {
        self.core.unsent_bytes(connection)
    }

    fn set_receiving(&mut self, connection: ConnectionId, receiving: bool) {
        self.core.set_receiving(connection, receiving);
    }

    fn close(&mut self, connection: ConnectionId, mode: CloseMode) {
        self.core.close(connection, mode);
    }

    fn file(&mut self, token: Token, op: FileOp) {
        self.core.file(token, op);
    }

    fn block(&mut self, bytes: usize) -> io::Result<Block> {
        let Core { blocks, ring, .. } = &mut self.core;
        Ok(blocks.block(ring, Memory::new(bytes)))
    }

    fn block_in(&mut self, mapping: &mut Mapping, from: usize, bytes: usize) -> io::Result<Block> {
        let Core { blocks, ring, .. } = &mut self.core;
        Ok(blocks.block(ring, mapping.lend(from, bytes)?))
    }

    fn exit(&mut self) {
        self.core.exit = true;
    }
}

impl<M: Send + 'static> Context<M> for Driver<M> {
    fn mail(&mut self, to: ShardId, message: M) {
        if to == self.core.shard {
            self.desk.send_to_self(message);
        } else {
            self.desk.send(to, Letter::Mail(message));
        }
    }

    fn mail_room(&self, to: ShardId) -> usize {
        self.desk.room(to)
    }
}
