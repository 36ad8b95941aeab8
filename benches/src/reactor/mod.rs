//! The same work on our reactor, glommio and tokio.
//!
//! *Echo*: a server on one processor answers each 1 KiB request with 128 bytes; the load runs on another processor.
//! *Append*: one write in flight, in order, `O_DIRECT` and durable at its completion, into a file written before.
//!
//! Each server is a child process, so that its processor time can be told from the load's.

pub mod append;
pub mod child;
pub mod echo;
pub mod glommio;
pub mod load;
pub mod ours;
pub mod report;
pub mod tokio;

/// Bytes of an echo request.
pub const REQUEST_BYTES: usize = 1024;
/// Bytes of its answer.
pub const REPLY_BYTES: usize = 128;
/// Room for reading from a socket, the same everywhere.
pub const READ_BYTES: usize = 16 * 1024;
/// Size of the file that appends go into; they start again at its beginning.
pub const FILE_BYTES: u64 = 64 << 20;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Runtime {
    /// RingMQ's reactor.
    Ringmq,
    /// glommio 0.9 (io_uring).
    Glommio,
    /// tokio, one thread (epoll).
    Tokio,
}

impl Runtime {
    /// For tables and results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ringmq => "ringmq",
            Self::Glommio => "glommio",
            Self::Tokio => "tokio",
        }
    }
}

/// How many whole requests `bytes` more bytes complete; `partial` keeps the rest.
pub fn complete_requests(partial: &mut usize, bytes: usize) -> usize {
    *partial += bytes;
    let complete = *partial / REQUEST_BYTES;
    *partial %= REQUEST_BYTES;
    complete
}
