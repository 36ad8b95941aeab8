//! Writing snapshots, and removing what they make superfluous.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use ringmq_reactor::{FileId, OpenOptions, TaskIo, WriteData};
use tracing::{info, warn};

use super::change::FORMAT;
use super::error::SaveError;
use super::files::{self, Role, TEMPORARY};
use super::frame::{self, Kind};
use super::journal::{Journal, State, save_error};

/// Bytes per write.
const WRITE_BYTES: usize = 256 << 10;
/// After a failure the next attempt follows this much later.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Writes the snapshot that belongs to a log, durably, while the log goes on.
///
/// # Errors
/// See [`SaveError`]; [`SaveError::Stopping`] when the journal is being closed. Nothing is left of it then.
pub(super) async fn write<S: State>(
    journal: &Journal,
    state: &S,
    generation: u64,
    first: u64,
) -> Result<(), SaveError> {
    let path = files::path(&journal.options.dir, generation, Role::Snapshot);
    let temporary = PathBuf::from(format!("{}{TEMPORARY}", path.display()));
    let outcome = async {
        let options = OpenOptions { create: true, truncate: true, ..OpenOptions::default() };
        let opened = journal.io.open(&temporary, options).await;
        let (file, _) = opened.map_err(|source| save_error("make", &temporary, source))?;
        let target = Target { journal, path: &temporary, file, generation };
        let filled = target.fill(state, first).await;
        // It is durable, or given up.
        let _ = journal.io.close(file).await;
        let bytes = filled?;
        let renamed = journal.io.rename(&temporary, &path).await;
        renamed.map_err(|source| save_error("rename", &temporary, source))?;
        let dir = &journal.options.dir;
        let synced = journal.io.sync_dir(&**dir).await;
        synced.map_err(|source| save_error("sync", dir, source))?;
        Ok(bytes)
    };
    match outcome.await {
        Ok(bytes) => {
            journal.count(|stats| {
                stats.snapshots += 1;
                stats.snapshot_bytes = bytes;
            });
            info!(file = %path.display(), bytes, "metadata snapshot written");
            Ok(())
        }
        Err(error) => {
            let _ = journal.io.remove(&temporary).await;
            Err(error)
        }
    }
}

struct Target<'a> {
    journal: &'a Journal,
    path: &'a Path,
    file: FileId,
    generation: u64,
}

impl Target<'_> {
    /// Writes all frames; gives the size.
    async fn fill<S: State>(&self, state: &S, first: u64) -> Result<u64, SaveError> {
        let mut pending = BytesMut::new();
        let mut offset = 0;
        frame::encode(&mut pending, Kind::SnapshotBegin, self.generation, first, &FORMAT.to_le_bytes());
        let mut cursor = S::Cursor::default();
        let mut payload = Vec::new();
        let mut parts = 0;
        loop {
            let part = state.part(&mut cursor);
            if part.is_empty() {
                break;
            }
            payload.clear();
            part.iter().for_each(|change| change.encode(&mut payload));
            frame::encode(&mut pending, Kind::Part, self.generation, parts, &payload);
            parts += 1;
            if pending.len() >= WRITE_BYTES {
                if self.journal.is_closing() {
                    return Err(SaveError::Stopping);
                }
                self.write(&mut pending, &mut offset).await?;
            }
        }
        frame::encode(&mut pending, Kind::SnapshotEnd, self.generation, parts, &[]);
        self.write(&mut pending, &mut offset).await?;
        let synced = self.journal.io.sync_data(self.file).await;
        synced.map_err(|source| save_error("sync", self.path, source))?;
        Ok(offset)
    }

    async fn write(&self, pending: &mut BytesMut, offset: &mut u64) -> Result<(), SaveError> {
        let bytes = pending.split().freeze();
        let length = bytes.len() as u64;
        let written = self.journal.io.write_at(self.file, *offset, WriteData::Bytes(bytes), false).await;
        written.map_err(|source| save_error("write", self.path, source))?;
        *offset += length;
        Ok(())
    }
}

/// Removes what is older than the snapshot before `newest`, and remains of snapshots that were never finished.
pub(super) async fn remove_old(io: &TaskIo, dir: &Path, newest: u64, damaged: &[u64]) {
    let entries = match io.list(dir).await {
        Ok(entries) => entries,
        Err(error) => return warn!(dir = %dir.display(), %error, "old metadata files stay"),
    };
    let mut known: Vec<(Role, u64)> = entries
        .iter()
        .filter_map(|entry| files::read_name(&entry.name))
        .map(|(generation, role)| (role, generation))
        .collect();
    // Snapshots first: one without its log would be taken for corruption.
    known.sort_unstable();
    let is_kept = |(role, generation): &(Role, u64)| {
        *role == Role::Snapshot && *generation < newest && !damaged.contains(generation)
    };
    let oldest = known.iter().filter(|file| is_kept(file)).map(|(_, g)| *g).max().unwrap_or(newest);
    let old = known
        .into_iter()
        .filter(|(role, generation)| {
            *generation < oldest || (*role == Role::Snapshot && damaged.contains(generation))
        })
        .map(|(role, generation)| files::path(dir, generation, role));
    let unfinished =
        entries.iter().filter(|entry| entry.name.ends_with(TEMPORARY)).map(|entry| dir.join(&entry.name));
    for path in old.chain(unfinished) {
        if let Err(error) = io.remove(&path).await {
            warn!(file = %path.display(), %error, "an old metadata file stays");
        }
    }
}
