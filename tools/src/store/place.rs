//! Finding the shards of a store.

use std::path::{Path, PathBuf};

use ringmq_reactor::{ShardId, TaskIo};
use ringmq_store::OpenError;
use ringmq_store::inspect::Inspection;

use super::StoreToolError;

/// One shard's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub dir: PathBuf,
    /// As its name says.
    pub shard: Option<ShardId>,
}

/// All shards of a store, or the one whose folder `dir` is.
pub(super) async fn shards(io: &TaskIo, dir: &Path) -> Result<Vec<Place>, StoreToolError> {
    for dir in [dir.to_owned(), dir.join("store")] {
        let entries = match io.list(&dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(StoreToolError::Io { what: format!("cannot list {}", dir.display()), source });
            }
        };
        let numbered = entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| {
            let number = entry.name.strip_prefix("shard-")?.parse().ok()?;
            Some(Place { dir: dir.join(&entry.name), shard: Some(ShardId(number)) })
        });
        let mut places: Vec<_> = numbered.collect();
        places.sort_by_key(|place| place.shard.map(|shard| shard.0));
        if places.is_empty() && entries.iter().any(|entry| entry.is_dir && entry.name == "log") {
            places.push(Place { shard: None, dir });
        }
        if !places.is_empty() {
            return Ok(places);
        }
    }
    Err(StoreToolError::NotAStore(dir.to_owned()))
}

impl Place {
    /// Opens it for reading.
    pub async fn open(&self, io: &TaskIo) -> Result<Inspection, StoreToolError> {
        Inspection::open(io.clone(), &self.dir, self.shard).await.map_err(|error| match error {
            OpenError::Locked { dir } => StoreToolError::InUse(dir),
            other => other.into(),
        })
    }
}

/// The shards that a command is about: all, or the one asked for.
pub(super) async fn selected(
    io: &TaskIo,
    dir: &Path,
    shard: Option<u16>,
) -> Result<Vec<Place>, StoreToolError> {
    let mut places = shards(io, dir).await?;
    if let Some(number) = shard {
        places.retain(|place| place.shard.is_none_or(|shard| shard.0 == number));
        if places.is_empty() {
            return Err(StoreToolError::Missing(format!("{} has no shard {number}", dir.display())));
        }
    }
    Ok(places)
}
