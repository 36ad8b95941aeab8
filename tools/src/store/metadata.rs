//! The broker's metadata store beside its shards: topics, groups, offsets.

use std::io;
use std::path::{Path, PathBuf};

use ringmq_broker::metadata::{self, Metadata, RecoverError};
use ringmq_reactor::{FileId, OpenOptions, TaskIo};

use super::StoreToolError;
use super::place::Place;

/// Folder of the metadata store in the broker's storePathRootDir.
const METADATA_DIR: &str = "metadata";

/// The broker's folder, held against a broker that would start.
pub(super) struct Root {
    io: TaskIo,
    dir: PathBuf,
    /// `None`: no broker has ever run on it.
    lock: Option<FileId>,
}

impl Root {
    /// The folder that holds these shards; `None`: they are one shard's folder alone.
    pub async fn open(io: &TaskIo, places: &[Place]) -> Result<Option<Self>, StoreToolError> {
        let shard = places.first().filter(|place| place.shard.is_some());
        let Some(dir) = shard.and_then(|place| place.dir.parent()) else { return Ok(None) };
        let path = dir.join("lock");
        let options = OpenOptions { read_only: true, lock: true, ..OpenOptions::default() };
        let lock = match io.open(&path, options).await {
            Ok((file, _)) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(StoreToolError::InUse(dir.to_owned()));
            }
            Err(source) => {
                return Err(StoreToolError::Io { what: format!("cannot lock {}", path.display()), source });
            }
        };
        Ok(Some(Self { io: io.clone(), dir: dir.to_owned(), lock }))
    }

    /// As [`Root::open`] with the places in `given`; one shard's folder is an error.
    pub async fn of_broker(io: &TaskIo, places: &[Place], given: &Path) -> Result<Self, StoreToolError> {
        Self::open(io, places).await?.ok_or_else(|| StoreToolError::NeedsRoot(given.to_owned()))
    }

    /// Where the metadata store lies.
    pub fn metadata_dir(&self) -> PathBuf {
        self.dir.join(METADATA_DIR)
    }

    /// What it holds; `None`: no broker has started on this folder.
    pub async fn metadata(&self) -> Result<Option<Metadata>, RecoverError> {
        metadata::inspect(&self.io, &self.metadata_dir()).await
    }

    /// As [`Root::metadata`]; that there is none is an error.
    pub async fn metadata_or_missing(&self) -> Result<Metadata, StoreToolError> {
        let found = self.metadata().await?;
        found.ok_or_else(|| {
            let dir = self.metadata_dir();
            StoreToolError::Missing(format!(
                "{} holds no metadata: no broker has started on this store (its first start takes over config/*.json)",
                dir.display()
            ))
        })
    }

    /// Gives the lock back.
    pub async fn close(self) {
        if let Some(lock) = self.lock
            && let Err(error) = self.io.close(lock).await
        {
            tracing::warn!(%error, "closing a lock file");
        }
    }
}
