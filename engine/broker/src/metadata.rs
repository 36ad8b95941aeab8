//! The metadata store: topics, consumer groups, consumer offsets and delay progress, durable at a cost that does not depend on
//! how many there are. Lives on the coordination shard only.
//!
//! The whole state is in memory (see `crate::coordination`); here is what makes it durable:
//!
//! ```text
//!   <storePathRootDir>/metadata/
//!     00000000000000000007.snapshot    the state when log 7 began, or later (parts were taken while changes went on)
//!     00000000000000000007.log         every change since, in order
//!     00000000000000000008.log         the newest generation: its snapshot is being written
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`change`] | what can happen to the state, and its binary form |
//! | [`frame`] | how bytes lie in a file: length, sequence, checksums |
//! | [`files`] | names of the files; frames read one after the other |
//! | [`recover`] | from files to state |
//! | [`inspect`] | the same, for tools: changes nothing, and looks at what is kept in reserve, too |
//! | [`journal`] | from changes to files: group commit, generations, snapshots |
//! | [`error`] | what can go wrong |
//!
//! # Contract
//!
//! - A change is durable before it takes effect: [`journal::State::committed`] follows the completion of the write
//!   (`RWF_DSYNC`) that holds it. One write is in flight; what comes meanwhile rides on the next, and a write is in the file as a
//!   whole or not at all.
//! - Every change is *absolute* (this key now has this value, or is gone), so that a log can be replayed over any state between its
//!   beginning and its end with the same result. That is why a snapshot can be taken piece by piece while changes go on.
//! - No life of the process appends to a file of another: each begins a generation of its own and promises nothing before that one's
//!   snapshot is durable, for what it has read may have been in the page cache only. What an interrupted write left at the end
//!   of a log is cut by not being read, and the first frame of the next log says for ever where the cut was.
//! - A generation's snapshot and log are removed when the snapshot *after the next* is durable: if the newest snapshot is damaged, the
//!   one before and the logs since give exactly the same state.
//! - Corruption is reported, never cut: see [`recover`].
//! - A write that fails for want of space is taken back (the file is cut to what was durable), its changes are refused, and the next
//!   change tries again. After any other failure nothing is appended to that file any more; a new generation is begun
//!   every [`journal::RETRY_AFTER`], from the state in memory, and changes are refused until that works. This needs no restart, other than
//!   with the message log, because memory has everything that was ever promised.
//!
//! # Why not a library
//!
//! An embedded database whose storage can be replaced (redb and its kind) asks for synchronous reads and writes: on the reactor that
//! would block the shard, or need a thread that the simulator cannot control. It would also keep on disk what has to be in memory
//! anyway. The part that is left, an append log with snapshots, is small and runs under simulation like everything else.

pub mod change;
pub mod error;
pub mod files;
pub mod frame;
pub mod inspect;
pub mod journal;
pub mod recover;
mod snapshot;

pub use change::{Change, Table};
pub use error::{RecoverError, SaveError};
pub use inspect::{Finding, Metadata, Tables, inspect};
pub use journal::{Journal, JournalOptions, State};
pub use recover::{Sink, recover};
