//! Writing answers: the header goes straight into the connection's outbox, bodies by copy (small) or by reference.

use bytes::Bytes;
use ringmq_reactor::{ConnectionId, Io};
use ringmq_remoting::encode::{FieldValue, ResponseTo, write_response};

use crate::server::Connections;

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// Which request it answers.
    pub to: ResponseTo,
    /// Response code.
    pub code: i32,
    /// Error text, or a note.
    pub remark: Option<&'a str>,
    /// Header fields.
    pub fields: &'a [(&'a str, FieldValue<'a>)],
}

impl<'a> Reply<'a> {
    /// An answer with a code and nothing else.
    #[must_use]
    pub fn code(to: ResponseTo, code: i32) -> Self {
        Self { to, code, remark: None, fields: &[] }
    }

    /// An answer with a code and a text.
    #[must_use]
    pub fn remark(to: ResponseTo, code: i32, remark: &'a str) -> Self {
        Self { to, code, remark: Some(remark), fields: &[] }
    }
}

impl<T: Default> Connections<T> {
    /// Queues an answer whose body is copied. False: the connection has ended or is ending, and nobody will read it.
    pub fn reply(&mut self, io: &mut dyn Io, id: ConnectionId, reply: &Reply<'_>, body: &[u8]) -> bool {
        let Some(outbox) = self.outbox(io, id) else { return false };
        let tail = outbox.tail();
        write_response(tail, reply.to, reply.code, reply.remark, reply.fields, body.len());
        tail.extend_from_slice(body);
        true
    }

    /// Queues an answer whose body is these slices, by reference. False: as [`Connections::reply`].
    pub fn reply_slices(
        &mut self,
        io: &mut dyn Io,
        id: ConnectionId,
        reply: &Reply<'_>,
        body: &[Bytes],
    ) -> bool {
        let Some(outbox) = self.outbox(io, id) else { return false };
        let body_bytes = body.iter().map(Bytes::len).sum();
        write_response(outbox.tail(), reply.to, reply.code, reply.remark, reply.fields, body_bytes);
        for slice in body {
            outbox.push(slice.clone());
        }
        true
    }
}
