//! A request while a handler looks at it.

use bytes::Bytes;
use ringmq_reactor::Monotonic;
use ringmq_remoting::Command;

use super::post::Post;
use super::wire::Caller;
use crate::message::{ForwardedRequest, Origin};

/// Where the frame lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame<'a> {
    /// In the receive buffer: to be copied before it is kept.
    Received(&'a [u8]),
    /// Shared already: it came from another shard, or waited.
    Shared(&'a Bytes),
}

impl Frame<'_> {
    pub(crate) fn len(self) -> usize {
        match self {
            Frame::Received(bytes) => bytes.len(),
            Frame::Shared(bytes) => bytes.len(),
        }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) command: &'a Command<'a>,
    pub(crate) frame: Frame<'a>,
    pub(crate) caller: Caller,
    /// See [`ForwardedRequest::ensured`].
    pub(crate) ensured: u8,
}

impl<'a> Incoming<'a> {
    pub(crate) fn received(
        command: &'a Command<'a>,
        frame: &'a [u8],
        origin: Origin,
        now: Monotonic,
    ) -> Self {
        let caller = Caller::new(origin, command, now);
        Self { command, frame: Frame::Received(frame), caller, ensured: 0 }
    }

    pub(crate) fn forwarded(command: &'a Command<'a>, request: &'a ForwardedRequest, now: Monotonic) -> Self {
        let caller = Caller::new(request.origin, command, now);
        Self { command, frame: Frame::Shared(&request.frame), caller, ensured: request.ensured }
    }

    /// The request as it can be mailed or kept.
    pub(crate) fn keep(&self, post: &mut Post) -> ForwardedRequest {
        let frame = match self.frame {
            Frame::Received(bytes) => post.keep(bytes),
            Frame::Shared(bytes) => bytes.clone(),
        };
        ForwardedRequest { origin: self.caller.origin, frame, ensured: self.ensured }
    }
}
