//! How handlers reach the outside during one event: the reactor, this shard's connections, the post to other shards.

use bytes::Bytes;
use ringmq_reactor::{Context, Monotonic, ShardId};
use ringmq_remoting::code::response;
use ringmq_remoting::encode::write_response;
use ringmq_remoting::{Command, FieldValue, ResponseTo};
use ringmq_transport::server::Connections;

use super::client::Client;
use super::post::Post;
use crate::message::{Origin, Reply, ShardMessage};

/// Remark of code 2 when a queue of ours is full.
pub(crate) const OVERLOAD: &str = "[OVERLOAD]system busy, start flow control for a while";
/// Remark of code 2 when the log cannot take more at the moment.
pub(crate) const REJECT_REQUEST: &str = "[REJECTREQUEST]system busy, start flow control for a while";

/// Whom to answer, and how. Kept by whatever makes a request wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) origin: Origin,
    pub(crate) to: ResponseTo,
    /// Never answered, not even on error.
    pub(crate) oneway: bool,
    /// When this shard took the request up.
    pub(crate) received: Monotonic,
}

impl Caller {
    pub(crate) fn new(origin: Origin, command: &Command<'_>, received: Monotonic) -> Self {
        Self { origin, to: command.response_to(), oneway: command.is_oneway(), received }
    }
}

/// An answer to a request.
#[derive(Debug, Default)]
pub(crate) struct Answer<'a> {
    pub(crate) code: i32,
    pub(crate) remark: Option<&'a str>,
    /// In alphabetic order, as the reference writes them.
    pub(crate) fields: &'a [(&'a str, FieldValue<'a>)],
    pub(crate) body: Vec<Bytes>,
}

impl<'a> Answer<'a> {
    /// Code 0 with header fields.
    pub(crate) fn success(fields: &'a [(&'a str, FieldValue<'a>)]) -> Self {
        Self { code: response::SUCCESS, fields, ..Self::default() }
    }

    /// A code and its remark.
    pub(crate) fn refusal(code: i32, remark: &'a str) -> Self {
        Self { code, remark: Some(remark), ..Self::default() }
    }
}

/// See the module's text. Lives for one event.
pub(crate) struct Wire<'a> {
    pub(crate) io: &'a mut dyn Context<ShardMessage>,
    pub(crate) me: ShardId,
    pub(crate) connections: &'a mut Connections<Client>,
    pub(crate) post: &'a mut Post,
}

impl Wire<'_> {
    /// Answers a request, unless it was one-way. An answer for a connection that has closed is dropped.
    pub(crate) fn answer(&mut self, caller: &Caller, answer: Answer<'_>) {
        let origin = caller.origin;
        if caller.oneway {
            self.give_up(caller);
            return;
        }
        let body_bytes = answer.body.iter().map(Bytes::len).sum();
        let Answer { code, remark, fields, body } = answer;
        if origin.shard == self.me {
            if let Some(outbox) = self.connections.outbox(self.io, origin.connection) {
                write_response(outbox.tail(), caller.to, code, remark, fields, body_bytes);
                for part in body {
                    outbox.push(part);
                }
            }
            self.release(origin.connection, origin.admitted);
        } else {
            write_response(self.post.encode_into(), caller.to, code, remark, fields, body_bytes);
            let head = self.post.encoded();
            let reply = Reply { connection: origin.connection, head, body, admitted: origin.admitted };
            self.post.reply(self.io, origin.shard, reply);
        }
    }

    /// A code and its remark, nothing else.
    pub(crate) fn refuse(&mut self, caller: &Caller, code: i32, remark: &str) {
        self.answer(caller, Answer::refusal(code, remark));
    }

    /// Ends a request without an answer.
    pub(crate) fn give_up(&mut self, caller: &Caller) {
        let origin = caller.origin;
        if origin.admitted == 0 {
            return;
        }
        if origin.shard == self.me {
            self.release(origin.connection, origin.admitted);
        } else {
            let reply = Reply {
                connection: origin.connection,
                head: Bytes::new(),
                body: Vec::new(),
                admitted: origin.admitted,
            };
            self.post.reply(self.io, origin.shard, reply);
        }
    }

    /// An answer that another shard made for one of our connections.
    pub(crate) fn deliver(&mut self, reply: Reply) {
        if !reply.head.is_empty()
            && let Some(outbox) = self.connections.outbox(self.io, reply.connection)
        {
            outbox.push(reply.head);
            for part in reply.body {
                outbox.push(part);
            }
        }
        self.release(reply.connection, reply.admitted);
    }

    /// That shard keeps something of the caller's connection and must hear when it ends. Only the connection's shard notes it:
    /// pulls held here for another shard's connection were noted there when it passed them on.
    pub(crate) fn note_known_to(&mut self, caller: &Caller, shard: ShardId) {
        if caller.origin.shard == self.me
            && let Some(connection) = self.connections.get_mut(caller.origin.connection)
        {
            connection.user.known_to.insert(shard);
        }
    }

    fn release(&mut self, connection: ringmq_reactor::ConnectionId, admitted: u32) {
        if admitted > 0 {
            self.connections.release(self.io, connection, admitted as usize);
        }
    }
}
