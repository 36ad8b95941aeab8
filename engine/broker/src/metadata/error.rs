//! What can go wrong with the metadata store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A change could not be made durable: it was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SaveError {
    /// The disk is full; the next change tries again.
    #[error(
        "the change was not made: no space for {} ({source}); free some, then ask again",
        path.display()
    )]
    NoSpace {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A write failed: the file is given up, and a new one is tried again and again.
    #[error(
        "the change was not made: cannot {what} {} ({source}); check the disk. The broker begins a new file as soon as one can be \
         written, without a restart",
        path.display()
    )]
    Failed {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said, the first time.
        source: Arc<io::Error>,
    },
    /// The broker is stopping.
    #[error("the change was not made: the broker is stopping")]
    Stopping,
}

/// The metadata on disk cannot be used. Starting with nothing, or with less, would forget topics or offsets that were promised.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What stands there was never written so.
    #[error(
        "{} is damaged at byte {at}: {what}. To go on: put {} back from a copy of the disk; or move it away, then the broker \
         takes over the last export in the folder `config` beside it and forgets what changed since",
        path.display(), folder.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        at: u64,
        /// What is wrong there.
        what: String,
        /// The folder of the metadata store.
        folder: PathBuf,
    },
    /// The files were written by a newer RingMQ.
    #[error("{} has format {found}, this broker knows {known}: start the version that wrote it", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
}
