//! The client side: requests from tasks to other servers, over connections that are opened on demand, kept and shared.
//!
//! A shard-local thing (`!Send`). One connection per address; any number of calls share it, matched by opaque. A connection
//! that fails ends its calls with the reason, and the next call opens a new one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ringmq_reactor::task::{Elapsed, OneshotSender, TaskConnection, oneshot};
use ringmq_reactor::{Monotonic, TaskIo};
use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;
use ringmq_remoting::encode::write_response;
use ringmq_remoting::frame::{FRAME_BYTES_MAX, FrameAssembler, FrameError};
use tracing::{debug, warn};

use crate::limits::{IDLE_AFTER, REQUESTS_PENDING_MAX};
use crate::request::{OwnedResponse, Request};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection could be made. Shared: everybody who waited for it is told.
    #[error("connect to {to}: {source}")]
    Connect {
        /// The server.
        to: SocketAddr,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The connection ended before the answer came. The request may have been executed.
    #[error("connection to {to} ended before the answer: {cause}")]
    Ended {
        /// The server.
        to: SocketAddr,
        /// Why.
        cause: EndCause,
    },
    /// No answer in time. The request may have been executed.
    #[error("no answer from {to} within {timeout:?}")]
    Timeout {
        /// The server.
        to: SocketAddr,
        /// The time allowed.
        timeout: Duration,
    },
    /// The server does not take requests as fast as they are made: nothing was sent.
    #[error("requests to {to} pile up: nothing was sent")]
    Overloaded {
        /// The server.
        to: SocketAddr,
    },
}

/// Why a client's connection ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EndCause {
    /// The server closed it.
    #[error("closed by the server")]
    Peer,
    /// The socket failed.
    #[error("{0}")]
    Failed(Arc<io::Error>),
    /// The server sent what is no frame.
    #[error("malformed frame: {0}")]
    Malformed(FrameError),
    /// We ended it: the client was closed.
    #[error("closed by this side")]
    Local,
}

/// Answer of a [`RequestHandler`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// Response code.
    pub code: i32,
    /// Error text or note.
    pub remark: Option<String>,
    /// Body.
    pub body: Bytes,
}

/// Takes requests that a server sends to its client. `None`: not a request it knows; code 3 is answered.
/// Answers to one-way requests are dropped.
pub type RequestHandler = Rc<dyn Fn(SocketAddr, &Command<'_>) -> Option<Answer>>;

/// How a client behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// A connection that nothing was sent or received on for so long is closed (`clientChannelMaxIdleTimeSeconds`).
    pub idle_after: Duration,
    /// For requests from servers.
    pub on_request: Option<RequestHandler>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { idle_after: IDLE_AFTER, on_request: None }
    }
}

/// See the module's text. Cheap to clone; connections close with the last clone.
#[derive(Clone)]
pub struct Client {
    shared: Rc<Shared>,
}

struct Shared {
    io: TaskIo,
    options: ClientOptions,
    next_opaque: Cell<i32>,
    links: RefCell<BTreeMap<SocketAddr, Slot>>,
}

enum Slot {
    /// Being opened; these wait for it.
    Connecting(Vec<OneshotSender<Result<Rc<Link>, Arc<io::Error>>>>),
    Open(Rc<Link>),
}

/// One open connection and the calls that wait on it.
struct Link {
    to: SocketAddr,
    connection: TaskConnection,
    pending: RefCell<BTreeMap<i32, OneshotSender<Result<OwnedResponse, EndCause>>>>,
    last_used: Cell<Monotonic>,
}

impl Client {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(io: TaskIo, options: ClientOptions) -> Self {
        let shared = Shared { io, options, next_opaque: Cell::new(0), links: RefCell::default() };
        Self { shared: Rc::new(shared) }
    }

    /// Sends a request and waits for its answer; `timeout` covers connecting too. A response with any code is an answer.
    ///
    /// # Errors
    /// When there is no answer; see [`CallError`] for what may have happened to the request.
    pub async fn call(
        &self,
        to: SocketAddr,
        request: &Request,
        timeout: Duration,
    ) -> Result<OwnedResponse, CallError> {
        let io = self.shared.io.clone();
        match io.timeout(timeout, self.exchange(to, request)).await {
            Ok(outcome) => outcome,
            Err(Elapsed) => Err(CallError::Timeout { to, timeout }),
        }
    }

    /// Sends a one-way request: done when it is queued on an open connection.
    ///
    /// # Errors
    /// When it could not be queued.
    pub async fn notify(&self, to: SocketAddr, request: &Request) -> Result<(), CallError> {
        let link = self.link(to).await?;
        link.send(request.encode(self.take_opaque(), true), self.shared.io.now())
    }

    /// Ends the connection to a server, if there is one; its calls end with [`EndCause::Local`].
    pub fn disconnect(&self, to: SocketAddr) {
        let mut links = self.shared.links.borrow_mut();
        if let Some(Slot::Open(link)) = links.get(&to) {
            link.end(&EndCause::Local);
            links.remove(&to);
        }
    }

    /// Number of open connections.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.shared.links.borrow().values().filter(|slot| matches!(slot, Slot::Open(_))).count()
    }

    async fn exchange(&self, to: SocketAddr, request: &Request) -> Result<OwnedResponse, CallError> {
        let link = self.link(to).await?;
        if link.pending.borrow().len() >= REQUESTS_PENDING_MAX {
            return Err(CallError::Overloaded { to });
        }
        let opaque = self.take_opaque();
        let (sender, receiver) = oneshot();
        link.pending.borrow_mut().insert(opaque, sender);
        // Also when this future is dropped, by a time-out or by its owner.
        let _forget = Forget { link: &link, opaque };
        link.send(request.encode(opaque, false), self.shared.io.now())?;
        let ended = |cause| CallError::Ended { to, cause };
        receiver.await.map_err(|_| ended(EndCause::Local))?.map_err(ended)
    }

    fn take_opaque(&self) -> i32 {
        let opaque = self.shared.next_opaque.get();
        self.shared.next_opaque.set(opaque.wrapping_add(1));
        opaque
    }

    /// The open connection to a server, opened if need be.
    async fn link(&self, to: SocketAddr) -> Result<Rc<Link>, CallError> {
        let receiver = {
            let mut links = self.shared.links.borrow_mut();
            let (sender, receiver) = oneshot();
            match links.get_mut(&to) {
                Some(Slot::Open(link)) if !link.connection.is_closed() => return Ok(Rc::clone(link)),
                Some(Slot::Connecting(waiting)) => waiting.push(sender),
                _ => {
                    links.insert(to, Slot::Connecting(vec![sender]));
                    // A task of its own: the connection is for everybody, also if the first who wanted it gives up.
                    self.shared.io.spawn(open(Rc::downgrade(&self.shared), self.shared.io.clone(), to));
                }
            }
            receiver
        };
        let refused = || Arc::new(io::Error::other("the client was closed"));
        let outcome = receiver.await.unwrap_or_else(|_| Err(refused()));
        outcome.map_err(|source| CallError::Connect { to, source })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({} connections)", self.connection_count())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for slot in self.links.get_mut().values() {
            if let Slot::Open(link) = slot {
                link.end(&EndCause::Local);
            }
        }
    }
}

impl Link {
    fn send(&self, frame: Bytes, now: Monotonic) -> Result<(), CallError> {
        self.last_used.set(now);
        self.connection.send(frame).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => CallError::Overloaded { to: self.to },
            _ => CallError::Ended { to: self.to, cause: EndCause::Failed(Arc::new(error)) },
        })
    }

    /// Closes the connection and tells everybody who waits.
    fn end(&self, cause: &EndCause) {
        self.connection.close();
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        for sender in pending.into_values() {
            tell(sender, Err(cause.clone()));
        }
    }
}

/// A waiter that has gone in the meantime is no error.
fn tell<T>(sender: OneshotSender<T>, value: T) {
    let _ = sender.send(value);
}

/// Takes a call off its link's table when nobody waits for it any more.
struct Forget<'a> {
    link: &'a Link,
    opaque: i32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.pending.borrow_mut().remove(&self.opaque);
    }
}

/// Opens a connection, hands it to those who wait, and serves it until it ends.
async fn open(client: Weak<Shared>, io: TaskIo, to: SocketAddr) {
    let outcome = io.connect(to).await;
    let Some(shared) = client.upgrade() else { return };
    let waiting = match shared.links.borrow_mut().remove(&to) {
        Some(Slot::Connecting(waiting)) => waiting,
        _ => unreachable!("only this task ends the opening of a connection"),
    };
    let link = match outcome {
        Ok(connection) => {
            Rc::new(Link { to, connection, pending: RefCell::default(), last_used: Cell::new(io.now()) })
        }
        Err(error) => {
            debug!(%to, %error, "cannot connect");
            let error = Arc::new(error);
            for sender in waiting {
                tell(sender, Err(Arc::clone(&error)));
            }
            return;
        }
    };
    shared.links.borrow_mut().insert(to, Slot::Open(Rc::clone(&link)));
    for sender in waiting {
        tell(sender, Ok(Rc::clone(&link)));
    }
    let options = shared.options.clone();
    drop(shared);
    let cause = serve(&link, &io, &options).await;
    if let EndCause::Malformed(error) = &cause {
        warn!(%to, %error, "closing a connection for what the server sent");
    }
    link.end(&cause);
    if let Some(shared) = client.upgrade() {
        let mut links = shared.links.borrow_mut();
        // A later call may have replaced it already.
        if matches!(links.get(&to), Some(Slot::Open(present)) if Rc::ptr_eq(present, &link)) {
            links.remove(&to);
        }
    }
}

/// Reads responses and requests until the connection ends.
async fn serve(link: &Rc<Link>, io: &TaskIo, options: &ClientOptions) -> EndCause {
    let mut frames = FrameAssembler::new(FRAME_BYTES_MAX);
    loop {
        let received = match io.timeout(options.idle_after, link.connection.recv()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return EndCause::Peer,
            Ok(Err(error)) => return EndCause::Failed(Arc::new(error)),
            Err(Elapsed) => {
                let idle = io.now().since(link.last_used.get()) >= options.idle_after;
                if idle && link.pending.borrow().is_empty() {
                    return EndCause::Local;
                }
                continue;
            }
        };
        let mut malformed = None;
        let fed = frames.feed(&received, |frame| match take_frame(link, io, options, frame) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                malformed = Some(error);
                ControlFlow::Break(())
            }
        });
        if let Err(error) = fed.and_then(|()| malformed.map_or(Ok(()), Err)) {
            return EndCause::Malformed(error);
        }
    }
}

fn take_frame(link: &Link, io: &TaskIo, options: &ClientOptions, frame: &[u8]) -> Result<(), FrameError> {
    let command = Command::parse(frame)?;
    if command.is_response() {
        let sender = link.pending.borrow_mut().remove(&command.opaque);
        // Nobody waits any more for an answer that came too late.
        if let Some(sender) = sender {
            tell(sender, Ok(OwnedResponse::parse(Bytes::copy_from_slice(frame))?));
        }
        return Ok(());
    }
    let answer = options.on_request.as_ref().and_then(|handle| handle(link.to, &command));
    if command.is_oneway() {
        return Ok(());
    }
    let answer = answer.unwrap_or_else(|| Answer {
        code: response::REQUEST_CODE_NOT_SUPPORTED,
        remark: Some(format!(" request type {} not supported", command.code)),
        body: Bytes::new(),
    });
    let mut out = BytesMut::new();
    let remark = answer.remark.as_deref();
    write_response(&mut out, command.response_to(), answer.code, remark, &[], answer.body.len());
    out.extend_from_slice(&answer.body);
    if let Err(error) = link.send(out.freeze(), io.now()) {
        debug!(%error, code = command.code, "a server's request stays unanswered");
    }
    Ok(())
}
