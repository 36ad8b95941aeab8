//! Connections that tasks open.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::state::{Request, State};
use crate::outbox::OUTBOX_HIGH_BYTES;
use crate::{CloseCause, CloseMode, ConnectionId};

/// Bytes received and not yet taken by [`TaskConnection::recv`] above which the connection stops receiving; it resumes when
/// all of them are taken.
pub const TASK_RECEIVE_HIGH_BYTES: usize = 1 << 20;

/// How a connection came to its end, as a task is told.
enum End {
    /// Orderly: `recv` gives `None`.
    Closed,
    /// Failed; the first `recv` takes the error.
    Failed(Option<io::Error>),
}

/// A connection as the shared state sees it.
#[derive(Default)]
pub(super) struct Link {
    incoming: VecDeque<Bytes>,
    incoming_bytes: usize,
    paused: bool,
    end: Option<End>,
    abandoned: bool,
    closing: bool,
    /// As the driver told at the end of the last run.
    unsent_bytes: usize,
    /// Pushed since then.
    pushed_bytes: usize,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

impl Link {
    /// True: receiving must pause.
    pub(super) fn received(&mut self, bytes: &[u8]) -> bool {
        if self.abandoned {
            return false;
        }
        self.incoming.push_back(Bytes::copy_from_slice(bytes));
        self.incoming_bytes += bytes.len();
        wake(&mut self.receiver);
        let pause = !self.paused && self.incoming_bytes > TASK_RECEIVE_HIGH_BYTES;
        self.paused |= pause;
        pause
    }

    pub(super) fn drained(&mut self) {
        self.unsent_bytes = 0;
        wake(&mut self.sender);
    }

    /// True: nobody will look any more.
    pub(super) fn closed(&mut self, cause: CloseCause) -> bool {
        self.end = Some(match cause {
            CloseCause::Peer | CloseCause::Local => End::Closed,
            CloseCause::Failed(error) => End::Failed(Some(error)),
        });
        wake(&mut self.receiver);
        wake(&mut self.sender);
        self.abandoned
    }

    /// True: the last event has been seen.
    pub(super) fn abandon(&mut self) -> bool {
        self.abandoned = true;
        self.incoming.clear();
        self.end.is_some()
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A connection owned by a task. Dropping it ends it at once; [`TaskConnection::close`] sends what is pending first.
/// Methods take `&self`: behind an `Rc` one task may receive while others send.
pub struct TaskConnection {
    state: Rc<RefCell<State>>,
    id: ConnectionId,
}

impl TaskConnection {
    pub(super) fn new(state: &Rc<RefCell<State>>, id: ConnectionId) -> Self {
        Self { state: Rc::clone(state), id }
    }

    /// Its id on the shard.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Appends bytes to the stream; they go out at the end of the turn.
    ///
    /// # Errors
    /// `NotConnected` after the end; `WouldBlock` while more than [`OUTBOX_HIGH_BYTES`] are unsent (see
    /// [`TaskConnection::drained`]).
    pub fn send(&self, bytes: Bytes) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let link = state.links.get_mut(&self.id).expect("a link lives as long as its handle");
        if link.end.is_some() || link.closing {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if link.unsent() > OUTBOX_HIGH_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        link.pushed_bytes += bytes.len();
        state.request(Request::Send(self.id, bytes));
        Ok(())
    }

    /// Bytes given to [`TaskConnection::send`] that the kernel has not taken, as of the last run.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.state.borrow().links[&self.id].unsent()
    }

    /// Waits until [`TaskConnection::send`] would not answer `WouldBlock`. One waiter at a time.
    ///
    /// # Errors
    /// `NotConnected` after the end.
    pub async fn drained(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            let link = state.links.get_mut(&self.id).expect("a link lives as long as its handle");
            if link.end.is_some() || link.closing {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            if link.unsent() <= OUTBOX_HIGH_BYTES {
                return Poll::Ready(Ok(()));
            }
            link.sender = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next bytes of the stream, at least one; `None` once the connection was closed in order by either side. One receiver at a
    /// time.
    ///
    /// # Errors
    /// Why the connection failed; `NotConnected` when asked again.
    pub async fn recv(&self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| {
            let mut state = self.state.borrow_mut();
            let link = state.links.get_mut(&self.id).expect("a link lives as long as its handle");
            if let Some(bytes) = link.incoming.pop_front() {
                link.incoming_bytes -= bytes.len();
                if link.paused && link.incoming.is_empty() {
                    link.paused = false;
                    state.request(Request::Receiving(self.id, true));
                }
                return Poll::Ready(Ok(Some(bytes)));
            }
            match &mut link.end {
                Some(End::Closed) => Poll::Ready(Ok(None)),
                Some(End::Failed(error)) => {
                    Poll::Ready(Err(error.take().unwrap_or_else(|| io::ErrorKind::NotConnected.into())))
                }
                None => {
                    link.receiver = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Whether the connection has ended (bytes received before may still be there to [`TaskConnection::recv`]).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().links[&self.id].end.is_some()
    }

    /// Sends what is pending, then ends the connection: `recv` gives what still arrives, then `None`.
    pub fn close(&self) {
        let mut state = self.state.borrow_mut();
        let link = state.links.get_mut(&self.id).expect("a link lives as long as its handle");
        if link.end.is_none() && !link.closing {
            link.closing = true;
            state.request(Request::Close(self.id, CloseMode::AfterFlush));
        }
    }
}

impl Link {
    fn unsent(&self) -> usize {
        self.unsent_bytes + self.pushed_bytes
    }

    /// What the driver says replaces our own count.
    pub(super) fn set_unsent(&mut self, bytes: usize) {
        self.unsent_bytes = bytes;
        self.pushed_bytes = 0;
    }
}

impl Drop for TaskConnection {
    fn drop(&mut self) {
        self.state.borrow_mut().abandon_link(self.id, CloseMode::Now);
    }
}

impl std::fmt::Debug for TaskConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskConnection({})", self.id)
    }
}
