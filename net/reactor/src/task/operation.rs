//! Futures of single operations.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::connection::TaskConnection;
use super::state::{Operation, Request, State};
use crate::{Block, FileOp, FileValue, Mapping, Monotonic};

/// An operation in flight, or its outcome not yet looked at.
struct Pending {
    state: Rc<RefCell<State>>,
    id: u64,
    done: bool,
}

impl Pending {
    fn new(state: &Rc<RefCell<State>>, request: impl FnOnce(u64) -> Request) -> Self {
        let mut borrowed = state.borrow_mut();
        let id = borrowed.operation();
        borrowed.request(request(id));
        Self { state: Rc::clone(state), id, done: false }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Operation> {
        let outcome = self.state.borrow_mut().poll_operation(self.id, cx.waker());
        match outcome {
            Some(outcome) => {
                self.done = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            self.state.borrow_mut().abandon(self.id);
        }
    }
}

/// A file operation on its way; made by [`super::TaskIo::file`].
///
/// Dropped early, the operation still takes place; a file it opens is closed, a buffer it brings back is freed.
pub struct FileCall(Pending);

impl FileCall {
    pub(super) fn new(state: &Rc<RefCell<State>>, op: FileOp) -> Self {
        Self(Pending::new(state, |id| Request::File(id, op)))
    }
}

impl Future for FileCall {
    type Output = io::Result<FileValue>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|outcome| match outcome {
            Operation::File(result) => result,
            _ => unreachable!("the token names a file operation"),
        })
    }
}

/// Lending of blocks.
pub(super) struct BlocksCall(Pending);

impl BlocksCall {
    pub(super) fn new(state: &Rc<RefCell<State>>, mapping: Mapping, ranges: Vec<(usize, usize)>) -> Self {
        Self(Pending::new(state, |id| Request::Blocks(id, mapping, ranges)))
    }
}

impl Future for BlocksCall {
    type Output = io::Result<(Mapping, Vec<Block>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|outcome| match outcome {
            Operation::Blocks(result) => result,
            _ => unreachable!("asked for blocks"),
        })
    }
}

/// Opening of a connection.
pub(super) struct ConnectCall(Pending);

impl ConnectCall {
    pub(super) fn new(state: &Rc<RefCell<State>>, to: SocketAddr) -> Self {
        Self(Pending::new(state, |id| Request::Connect(id, to)))
    }
}

impl Future for ConnectCall {
    type Output = io::Result<TaskConnection>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map(|outcome| match outcome {
            Operation::Connected(result) => result.map(|id| TaskConnection::new(&self.0.state, id)),
            _ => unreachable!("the token names a connect"),
        })
    }
}

/// A wait; made by [`super::TaskIo::sleep`]. Dropped early, its timer is taken back.
pub struct Sleep(Pending);

impl Sleep {
    pub(super) fn new(state: &Rc<RefCell<State>>, at: Monotonic) -> Self {
        Self(Pending::new(state, |id| Request::Timer(id, at)))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll(cx).map(|_fired| ())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if !self.0.done {
            self.0.done = true;
            self.0.state.borrow_mut().abandon_timer(self.0.id);
        }
    }
}

impl std::fmt::Debug for FileCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileCall({})", self.0.id)
    }
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sleep({})", self.0.id)
    }
}
