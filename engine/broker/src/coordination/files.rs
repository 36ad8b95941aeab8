//! Metadata files: `<storePathRootDir>/config/*.json` in RocketMQ's shapes.
//!
//! A file is replaced as a whole (temporary file, fdatasync, rename, directory sync), so it is never torn; the version
//! before it stays as `.bak`. One writer task per file: changes that happen while a write is under way ride on the next.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::TaskIo;
use ringmq_reactor::task::{Backup, Notify, OneshotSender, oneshot};
use tracing::{error, info, warn};

/// After a failed write, the next attempt follows this much later.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A change could not be made durable. It is kept in memory and written as soon as the disk allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {path}: {cause}")]
pub struct SaveError {
    path: String,
    cause: String,
}

/// Metadata that exists but cannot be used. Starting with nothing instead would forget topics or offsets.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged, and its backup cannot be put in its place.
    #[error("cannot restore {} from its backup: {source}", path.display())]
    Repair {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither the file nor its backup makes sense.
    #[error(
        "{} is damaged ({cause}) and so is, or is missing, its backup ({backup_cause}); repair it, or remove both to start \
         without what they held",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// What is wrong with the backup.
        backup_cause: String,
    },
}

/// Reads a metadata file with `parse`, or its backup when the file is missing or damaged. `None`: neither exists.
///
/// # Errors
/// See [`LoadError`].
pub async fn load<T, E: std::fmt::Display>(
    io: &TaskIo,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, LoadError> {
    let read = async |path: &Path| match io.read_file(path).await {
        // A file cut to nothing by a crash of another program counts as damaged: none of ours is ever empty.
        Ok(bytes) => Ok(Some(parse(&bytes).map(|value| (value, bytes)).map_err(|error| error.to_string()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LoadError::Read { path: path.to_owned(), source }),
    };
    let cause = match read(path).await? {
        Some(Ok((value, _))) => return Ok(Some(value)),
        Some(Err(cause)) => Some(cause),
        None => None,
    };
    let backup = backup_of(path);
    match (cause, read(&backup).await?) {
        (cause, Some(Ok((value, bytes)))) => {
            error!(
                file = %path.display(), backup = %backup.display(), cause = cause.as_deref().unwrap_or("missing"),
                "METADATA FILE UNUSABLE: its backup is used; the last change may be lost"
            );
            // At once: the next ordinary write would make the damaged file the backup.
            let repaired = io.replace_file(path, bytes, Backup::None).await;
            repaired.map_err(|source| LoadError::Repair { path: path.to_owned(), source })?;
            Ok(Some(value))
        }
        (None, None) => Ok(None),
        (None, Some(Err(backup_cause))) => {
            // As after a crash before the first rename: there never was a file.
            warn!(backup = %backup.display(), cause = backup_cause, "a backup without its file, and damaged: ignored");
            Ok(None)
        }
        (Some(cause), backup) => {
            let backup_cause = backup.map_or_else(
                || "missing".to_owned(),
                |outcome| outcome.err().unwrap_or_else(|| "unused".to_owned()),
            );
            Err(LoadError::Damaged { path: path.to_owned(), cause, backup_cause })
        }
    }
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    PathBuf::from(name)
}

/// One metadata file with its writer. Lives on the coordination shard.
pub struct MetadataFile {
    path: PathBuf,
    /// Counts changes.
    version: Cell<u64>,
    /// Highest version on disk.
    saved: Cell<u64>,
    wake: Notify,
    waiting: RefCell<Vec<Waiter>>,
}

struct Waiter {
    version: u64,
    sender: OneshotSender<Result<(), SaveError>>,
}

impl MetadataFile {
    /// Nothing is written before the first change.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            version: Cell::new(0),
            saved: Cell::new(0),
            wake: Notify::new(),
            waiting: RefCell::default(),
        }
    }

    /// Notes that the content has changed.
    pub fn touch(&self) {
        self.version.set(self.version.get() + 1);
    }

    /// Whether something is not on disk yet.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.saved.get() < self.version.get()
    }

    /// Writes what has changed, and waits until it is durable.
    ///
    /// # Errors
    /// When the write failed; it is tried again until it succeeds.
    pub async fn save(&self) -> Result<(), SaveError> {
        if !self.is_dirty() {
            return Ok(());
        }
        let (sender, receiver) = oneshot();
        self.waiting.borrow_mut().push(Waiter { version: self.version.get(), sender });
        self.wake.notify_one();
        let stopped = |_| {
            Err(SaveError { path: self.path.display().to_string(), cause: "the broker stops".to_owned() })
        };
        receiver.await.unwrap_or_else(stopped)
    }

    /// The writer: runs as a task for as long as the shard. `content` gives the file's present text; `published` is called
    /// after each successful write, before those who wait are told.
    pub async fn write_changes(
        self: Rc<Self>,
        io: TaskIo,
        content: impl Fn() -> Bytes,
        published: impl Fn(),
    ) {
        let mut failing = false;
        loop {
            if self.waiting.borrow().is_empty() && !(failing && self.is_dirty()) {
                self.wake.notified().await;
                continue;
            }
            let version = self.version.get();
            match io.replace_file(&self.path, content(), Backup::Keep).await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        info!(file = %self.path.display(), "metadata can be written again");
                    }
                    self.saved.set(version);
                    published();
                    self.tell(version, &Ok(()));
                }
                Err(cause) => {
                    if !std::mem::replace(&mut failing, true) {
                        error!(file = %self.path.display(), %cause, "METADATA CANNOT BE WRITTEN: kept in memory, retrying");
                    }
                    let error = SaveError { path: self.path.display().to_string(), cause: cause.to_string() };
                    self.tell(u64::MAX, &Err(error));
                    io.sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    fn tell(&self, version: u64, outcome: &Result<(), SaveError>) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waiter in waiting {
            if waiter.version <= version {
                // Whoever asked may be gone.
                let _ = waiter.sender.send(outcome.clone());
            } else {
                self.waiting.borrow_mut().push(waiter);
            }
        }
    }
}
