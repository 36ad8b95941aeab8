//! Local tasks: `async` code for slow paths (recovery, registration, cold reads, configuration files) on a shard.
//!
//! [`Tasks`] is a small executor layered purely above [`Io`], so it behaves the same on the kernel and in the simulator.
//! A service owns one, feeds it events and runs it:
//!
//! ```text
//!   Service::start        tasks.spawn(recover(tasks.handle())); tasks.run(io);
//!   Service::handle       let Some(event) = tasks.on_event(event) else { return }; …
//!   Service::end_of_turn  tasks.run(io);
//! ```
//!
//! Contract:
//! - [`Tasks::run`] must be called at the end of `start` and of every `end_of_turn`: only there are tasks polled and the
//!   operations they asked for handed to the reactor. What wakes a task outside (a [`Notify`], a [`OneshotSender`]) has its effect
//!   at the next `run` of the same turn.
//! - Everything is local to the shard's thread (`!Send`). Tasks are polled in the order in which they were woken, so equal
//!   events give equal orders.
//! - Operations start when they are asked for, not when their future is first polled, so that two of them can be in
//!   flight at once. Dropping a future never leaks what the operation brings later: an open file is closed, a connection
//!   is ended, a buffer is freed, each with the operation's own completion.

mod connection;
mod file;
mod operation;
mod process;
mod state;
mod sync;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

pub use connection::{TASK_RECEIVE_HIGH_BYTES, TaskConnection};
pub use file::{Backup, READ_FILE_BYTES_MAX};
pub use operation::{FileCall, Sleep};
pub use process::process;
pub use sync::{Notified, Notify, OneshotReceiver, OneshotSender, SenderDropped, oneshot};

use crate::{Block, Event, FileOp, Io, Mapping, Monotonic, ShardId, Token};
use operation::{BlocksCall, ConnectCall};
use state::State;

/// Polls of one [`Tasks::run`]; what is still ready then goes on in the next turn, so that the data plane is not held up.
pub const POLLS_PER_RUN_MAX: usize = 4096;

/// The deadline given to [`TaskIo::timeout`] passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct Elapsed;

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}

/// The executor of one shard. See the module's text for when to call what.
pub struct Tasks {
    handle: TaskIo,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { handle: TaskIo { state: Rc::new(RefCell::new(State::default())) } }
    }

    /// What tasks (and the service) use to ask for things.
    #[must_use]
    pub fn handle(&self) -> TaskIo {
        self.handle.clone()
    }

    /// Adds a task; it is first polled by the next [`Tasks::run`].
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.handle.spawn(future);
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handle.state.borrow().task_count()
    }

    /// Polls every woken task and hands the operations they asked for to the reactor. To be called at the end of
    /// [`crate::Service::start`] and of every [`crate::Service::end_of_turn`].
    pub fn run(&self, io: &mut dyn Io) {
        let state = &self.handle.state;
        state.borrow_mut().refresh(io);
        for _ in 0..POLLS_PER_RUN_MAX {
            let Some((key, mut future, waker)) = state.borrow_mut().next_ready() else { break };
            // The state is not borrowed here: the task is free to spawn, to ask for operations and to drop others' futures.
            match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
                Poll::Ready(()) => {
                    state.borrow_mut().finish(key);
                    drop(future);
                }
                Poll::Pending => state.borrow_mut().put_back(key, future),
            }
        }
        state.borrow_mut().issue(io);
    }

    /// Takes what belongs to tasks: completions whose token's owner is [`Token::OWNER_TASKS`], and all events of
    /// connections that tasks opened. Gives back every other event.
    pub fn on_event<'a, M>(&self, event: Event<'a, M>) -> Option<Event<'a, M>> {
        match event {
            Event::File { token, result } if token.owner() == Token::OWNER_TASKS => {
                self.handle.state.borrow_mut().file_completed(token.value(), result);
            }
            Event::Timer { token } if token.owner() == Token::OWNER_TASKS => {
                self.handle.state.borrow_mut().timer_fired(token.value());
            }
            Event::Connected { token, result } if token.owner() == Token::OWNER_TASKS => {
                self.handle.state.borrow_mut().connected(token.value(), result);
            }
            Event::Received { connection, bytes } => {
                if !self.handle.state.borrow_mut().received(connection, bytes) {
                    return Some(Event::Received { connection, bytes });
                }
            }
            Event::Drained { connection } => {
                if !self.handle.state.borrow_mut().drained(connection) {
                    return Some(Event::Drained { connection });
                }
            }
            Event::Closed { connection, cause } => {
                if let Err(cause) = self.handle.state.borrow_mut().closed(connection, cause) {
                    return Some(Event::Closed { connection, cause });
                }
            }
            other => return Some(other),
        }
        None
    }
}

impl Drop for Tasks {
    /// Ends all tasks. They own handles to the state that owns them: without this neither would ever be freed.
    fn drop(&mut self) {
        let futures = self.handle.state.borrow_mut().take_futures();
        drop(futures);
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tasks({})", self.count())
    }
}

/// What a task can ask of the world. Cheap to clone; bound to its shard's thread. File operations with conveniences are
/// in this type too: [`TaskIo::open`], [`TaskIo::read_file`], [`TaskIo::replace_file`] …
#[derive(Clone)]
pub struct TaskIo {
    state: Rc<RefCell<State>>,
}

impl TaskIo {
    /// Monotonic time at the last [`Tasks::run`] (zero before the first).
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.state.borrow().now
    }

    /// Wall clock in milliseconds since 1970 at the last [`Tasks::run`] (zero before the first).
    #[must_use]
    pub fn wall_ms(&self) -> u64 {
        self.state.borrow().wall_ms
    }

    /// Uniformly random bits, from a generator that the first [`Tasks::run`] seeds with [`Io::random`]. Not for secrets.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.state.borrow_mut().random()
    }

    /// The shard (shard 0 before the first [`Tasks::run`]).
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.state.borrow().shard
    }

    /// Adds a task beside the present one.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.state.borrow_mut().spawn(Box::pin(future));
    }

    /// Waits until `duration` has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now() + duration)
    }

    /// Waits until `at`; at least until the next turn, even if `at` has passed.
    pub fn sleep_until(&self, at: Monotonic) -> Sleep {
        Sleep::new(&self.state, at)
    }

    /// Lets everything else of this turn happen first; goes on in the next.
    pub async fn yield_now(&self) {
        self.sleep_until(Monotonic(0)).await;
    }

    /// Waits for `future`, but not longer than `duration`; then the future is dropped.
    ///
    /// # Errors
    /// [`Elapsed`] when the time passed first.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut deadline = pin!(self.sleep(duration));
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            deadline.as_mut().poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Starts a file operation; the future gives its completion. Dropping the future does not take the operation back.
    pub fn file(&self, op: FileOp) -> FileCall {
        FileCall::new(&self.state, op)
    }

    /// Makes blocks of ranges (start and length) of a mapping, as [`Io::block_in`]; gives the mapping back with them.
    ///
    /// # Errors
    /// As [`Io::block_in`]; the mapping is gone then, its file stays.
    pub async fn blocks_in(
        &self,
        mapping: Mapping,
        ranges: Vec<(usize, usize)>,
    ) -> io::Result<(Mapping, Vec<Block>)> {
        BlocksCall::new(&self.state, mapping, ranges).await
    }

    /// Opens a connection. The driver gives up after 3 s without an answer.
    ///
    /// # Errors
    /// As [`Event::Connected`] tells.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TaskConnection> {
        ConnectCall::new(&self.state, to).await
    }
}

impl std::fmt::Debug for TaskIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TaskIo")
    }
}
