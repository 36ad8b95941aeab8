//! What leaves this shard in a turn: requests for other shards and answers for their connections, in batches.
//!
//! A mailbox message costs two cache misses on each side; a turn that forwards a hundred sends should pay that once. So requests
//! and answers are collected per destination and mailed together at the end of the turn. Everything else goes through
//! [`Post::mail`], which sends what was collected for that shard first: the order of a connection's requests is kept.

use bytes::{Bytes, BytesMut};
use ringmq_reactor::{Context, ShardId};

use crate::message::{ForwardedRequest, Reply, ShardMessage};

/// Requests or answers in one message. A turn may need several; each takes one place in the mailbox.
pub(crate) const BATCH_MAX: usize = 512;

/// Size of the pieces in which [`Post`] takes memory for frames and heads of answers.
const ARENA_BYTES: usize = 64 << 10;
/// Room that is made for the head of an answer; longer ones cost an allocation of their own.
const HEAD_BYTES: usize = 1 << 10;

/// The destination's mailbox is full: answer SYSTEM_BUSY.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MailboxFull;

#[derive(Debug, Default)]
struct Batch {
    requests: Vec<ForwardedRequest>,
    replies: Vec<Reply>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Post {
    /// By shard number, the coordination shard included.
    batches: Vec<Batch>,
    /// Shards with anything collected.
    pending: Vec<ShardId>,
    /// Frames are copied here once, many to an allocation.
    arena: BytesMut,
}

impl Post {
    pub(crate) fn new(shards_in_process: usize) -> Self {
        let mut batches = Vec::new();
        batches.resize_with(shards_in_process, Batch::default);
        Self { batches, pending: Vec::new(), arena: BytesMut::new() }
    }

    /// Copies bytes so that they may leave the receive buffer they lie in.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Bytes {
        self.make_room(bytes.len());
        self.arena.extend_from_slice(bytes);
        self.arena.split().freeze()
    }

    /// Room to encode an answer for another shard's connection; take it out with [`Post::encoded`].
    pub(crate) fn encode_into(&mut self) -> &mut BytesMut {
        self.make_room(HEAD_BYTES);
        &mut self.arena
    }

    /// What was encoded since.
    pub(crate) fn encoded(&mut self) -> Bytes {
        self.arena.split().freeze()
    }

    /// What was split off keeps its piece alive, so a piece is never grown: a new one takes its place.
    fn make_room(&mut self, bytes: usize) {
        if self.arena.capacity() < bytes {
            self.arena = BytesMut::with_capacity(bytes.max(ARENA_BYTES));
        }
    }

    /// Whether a request for that shard would find room.
    pub(crate) fn has_room(&self, io: &dyn Context<ShardMessage>, to: ShardId) -> bool {
        // One place for the batch that is being collected, one for the mail that must never wait behind requests.
        io.mail_room(to) > 2
    }

    /// Passes a request on.
    ///
    /// # Errors
    /// [`MailboxFull`]: nothing was taken.
    pub(crate) fn forward(
        &mut self,
        io: &mut dyn Context<ShardMessage>,
        to: ShardId,
        request: ForwardedRequest,
    ) -> Result<(), MailboxFull> {
        if !self.has_room(io, to) {
            return Err(MailboxFull);
        }
        let batch = self.batch(to);
        batch.requests.push(request);
        if batch.requests.len() >= BATCH_MAX {
            self.flush_one(io, to);
        }
        Ok(())
    }

    /// Sends an answer to the shard that holds the connection. Answers always go: the request had its place.
    pub(crate) fn reply(&mut self, io: &mut dyn Context<ShardMessage>, to: ShardId, reply: Reply) {
        let batch = self.batch(to);
        batch.replies.push(reply);
        if batch.replies.len() >= BATCH_MAX {
            self.flush_one(io, to);
        }
    }

    /// Any other mail, behind what was collected for that shard.
    pub(crate) fn mail(&mut self, io: &mut dyn Context<ShardMessage>, to: ShardId, message: ShardMessage) {
        self.flush_one(io, to);
        io.mail(to, message);
    }

    /// Mails everything collected. To be called at the end of every turn.
    pub(crate) fn flush(&mut self, io: &mut dyn Context<ShardMessage>) {
        for to in std::mem::take(&mut self.pending) {
            self.flush_one(io, to);
        }
    }

    fn batch(&mut self, to: ShardId) -> &mut Batch {
        let batch = &mut self.batches[usize::from(to.0)];
        if batch.requests.is_empty() && batch.replies.is_empty() {
            self.pending.push(to);
        }
        batch
    }

    fn flush_one(&mut self, io: &mut dyn Context<ShardMessage>, to: ShardId) {
        let batch = &mut self.batches[usize::from(to.0)];
        if !batch.requests.is_empty() {
            let requests = std::mem::take(&mut batch.requests);
            io.mail(to, ShardMessage::Requests(requests));
        }
        if !batch.replies.is_empty() {
            let replies = std::mem::take(&mut batch.replies);
            io.mail(to, ShardMessage::Replies(replies));
        }
    }
}
