//! Requests of the broker to its clients, and the answers it awaits (220, 221, 307, 309) or does not (40).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::task::{OneshotSender, oneshot};
use ringmq_reactor::{ConnectionId, ShardId};
use ringmq_transport::{OwnedResponse, Request};

use super::core::Core;
use crate::message::{ForwardedRequest, ShardMessage};

/// Most answers awaited at a time.
pub const RELAYED_MAX: usize = 4_096;

/// A client's connection: which shard holds it, and its id there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Channel {
    /// The shard.
    pub shard: ShardId,
    /// The connection.
    pub connection: ConnectionId,
}

/// Why a client gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// In time.
    #[error("the client did not answer within {0:?}")]
    Timeout(Duration),
    /// It went away.
    #[error("the client's connection has ended")]
    Closed,
    /// [`RELAYED_MAX`] is reached: nothing was sent.
    #[error("{RELAYED_MAX} requests to clients wait for their answers")]
    TooMany,
}

/// Awaited answers.
#[derive(Default)]
pub struct Relay {
    next_opaque: Cell<i32>,
    pending: RefCell<BTreeMap<(Channel, i32), OneshotSender<Bytes>>>,
}

impl Relay {
    /// Sends a request that is not answered.
    pub fn notify(&self, core: &Core, to: Channel, request: &Request) {
        let frame = request.encode(self.take_opaque(), true);
        core.mail(to.shard, ShardMessage::ToClient { connection: to.connection, frame });
    }

    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// See [`RelayError`].
    pub async fn call(
        &self,
        core: &Core,
        to: Channel,
        request: &Request,
        timeout: Duration,
    ) -> Result<OwnedResponse, RelayError> {
        if self.pending.borrow().len() >= RELAYED_MAX {
            return Err(RelayError::TooMany);
        }
        let opaque = self.take_opaque();
        let (sender, receiver) = oneshot();
        self.pending.borrow_mut().insert((to, opaque), sender);
        let frame = request.encode(opaque, false);
        core.mail(to.shard, ShardMessage::ToClient { connection: to.connection, frame });
        let outcome = core.io.timeout(timeout, receiver).await;
        self.pending.borrow_mut().remove(&(to, opaque));
        let frame = outcome.map_err(|_| RelayError::Timeout(timeout))?.map_err(|_| RelayError::Closed)?;
        Ok(OwnedResponse::parse(frame).expect("the connection's shard has read it"))
    }

    /// A client has answered something; late answers are dropped.
    pub fn answered(&self, opaque: i32, response: ForwardedRequest) {
        let channel = Channel { shard: response.origin.shard, connection: response.origin.connection };
        if let Some(sender) = self.pending.borrow_mut().remove(&(channel, opaque)) {
            let _ = sender.send(response.frame);
        }
    }

    /// A client has gone: nobody needs to wait for it any longer.
    pub fn closed(&self, channel: Channel) {
        self.pending.borrow_mut().retain(|(of, _), _| *of != channel);
    }

    fn take_opaque(&self) -> i32 {
        let opaque = self.next_opaque.get();
        self.next_opaque.set(opaque.wrapping_add(1));
        opaque
    }
}
