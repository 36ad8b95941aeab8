//! Waiting for the order to stop.

use std::io;

/// Why [`wait_for_signal`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// This signal (SIGINT or SIGTERM) came.
    Signal(i32),
    /// A process started by [`super::launch`] ended of itself (all its shards exited, or one failed).
    Ended,
}

/// Blocks the calling thread until SIGINT or SIGTERM comes, or a launched process ends of itself.
/// To be called once the process is launched, from the main thread.
///
/// # Errors
/// When the kernel refuses a signalfd.
pub fn wait_for_signal() -> io::Result<Wake> {
    Err(io::ErrorKind::Unsupported.into())
}
