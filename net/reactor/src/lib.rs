//! The reactor: the only place where RingMQ meets the kernel.
//!
//! A *process* is a set of *shards*. Each shard is one thread with one io_uring and one [`Service`]: an explicit state
//! machine that is fed [`Event`]s and answers by calling [`Io`]. Everything a service learns about the world
//! (time, randomness, disk, network, other shards, the order of events) arrives through this interface, so the
//! same service runs unchanged on the kernel ([`uring`]) and in the simulator ([`sim`]), where any number of
//! processes share one thread, virtual time and one seed.
//!
//! One turn of a shard:
//!
//! ```text
//!   reap completions ─→ drain mailboxes ─→ hand completions to Service::handle ─→ Service::end_of_turn
//!        ▲                                                                            │
//!        └── park if nothing is due ◀── submit (one io_uring_enter, rings doorbells) ◀┘
//! ```
//!
//! **Invariant (causal mail).** Mail is drained after completions are reaped and before they are handled. What shard A
//! mailed to B before it answered a peer is therefore seen by B before anything that peer does next.
//!
//! **Invariant (buffers).** A buffer handed to an operation belongs to the kernel until that operation's own completion,
//! cancelled or not. The types here make any other use impossible without `unsafe`.

pub mod block;
pub mod buffer_pool;
pub mod causes;
pub mod event;
pub mod file;
pub mod id;
pub mod io;
pub mod mapping;
pub mod outbox;
pub mod prefetch;
pub mod sim;
pub mod task;
pub mod time;
pub mod uring;

pub use block::{AlignedBuffer, Block, BlockSlice, PAGE_BYTES};
pub use buffer_pool::BufferPool;
pub use causes::with_causes;
pub use event::{CloseCause, Event, Service};
pub use file::{DirEntry, FileOp, FileValue, OpenOptions, Space, WriteData};
pub use id::{ConnectionId, FileId, ListenerId, ShardId, TimerId, Token};
pub use io::{AcceptTo, CloseMode, Context, Io, ProcessSpec, ShardSpec};
pub use mapping::Mapping;
pub use outbox::Outbox;
pub use prefetch::prefetch;
pub use task::{TaskIo, Tasks};
pub use time::Monotonic;
