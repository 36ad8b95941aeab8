//! Files, as tasks like to use them.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::TaskIo;
use super::state::State;
use crate::{AlignedBuffer, DirEntry, FileId, FileOp, FileValue, Mapping, OpenOptions, Space, WriteData};

/// Largest file that [`TaskIo::read_file`] reads whole, bytes.
pub const READ_FILE_BYTES_MAX: u64 = 256 << 20;

/// What [`TaskIo::replace_file`] does with the previous content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// Nothing: it is gone.
    None,
    /// It is kept, durably, under the name with `.bak` appended.
    Keep,
}

impl TaskIo {
    /// Opens a file; gives the handle and the size in bytes. Close it with [`TaskIo::close`].
    ///
    /// # Errors
    /// As `open`; the path is in the text.
    pub async fn open(&self, path: impl Into<PathBuf>, options: OpenOptions) -> io::Result<(FileId, u64)> {
        let path = path.into();
        match self
            .file(FileOp::Open { path: path.clone(), options })
            .await
            .map_err(|e| attempted("open", &path, e))?
        {
            FileValue::Opened { file, bytes } => Ok((file, bytes)),
            other => Err(unexpected(&other)),
        }
    }

    /// Closes a file; operations still in flight on it end first.
    ///
    /// # Errors
    /// As `close`.
    pub async fn close(&self, file: FileId) -> io::Result<()> {
        self.done(FileOp::Close(file)).await
    }

    /// Reads up to `bytes` bytes; fewer mean end of file. For a direct file both numbers are multiples of
    /// [`crate::PAGE_BYTES`].
    ///
    /// # Errors
    /// As `pread`.
    pub async fn read_at(&self, file: FileId, offset: u64, bytes: usize) -> io::Result<Bytes> {
        match self.file(FileOp::Read { file, offset, into: AlignedBuffer::zeroed(bytes) }).await? {
            FileValue::Read { buffer, bytes: filled } => Ok(buffer.freeze(filled.min(bytes))),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes all of `data` at `offset`; `durable`: the completion means "on stable media".
    ///
    /// # Errors
    /// As `pwrite`. What then lies in the range is not known.
    pub async fn write_at(
        &self,
        file: FileId,
        offset: u64,
        data: WriteData,
        durable: bool,
    ) -> io::Result<()> {
        match self.file(FileOp::Write { file, offset, data, durable }).await? {
            FileValue::Written { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// `fdatasync`.
    ///
    /// # Errors
    /// As `fdatasync`; what of earlier writes is durable is then not known, and trying again proves nothing.
    pub async fn sync_data(&self, file: FileId) -> io::Result<()> {
        self.done(FileOp::SyncData(file)).await
    }

    /// Reserves space, as [`FileOp::Allocate`].
    ///
    /// # Errors
    /// As `fallocate`.
    pub async fn allocate(&self, file: FileId, bytes: u64) -> io::Result<()> {
        self.done(FileOp::Allocate { file, bytes }).await
    }

    /// Cuts or extends a file.
    ///
    /// # Errors
    /// As `ftruncate`.
    pub async fn truncate(&self, file: FileId, bytes: u64) -> io::Result<()> {
        self.done(FileOp::Truncate { file, bytes }).await
    }

    /// Renames; durable after [`TaskIo::sync_dir`].
    ///
    /// # Errors
    /// As `rename`.
    pub async fn rename(&self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> io::Result<()> {
        let (from, to) = (from.into(), to.into());
        self.done(FileOp::Rename { from: from.clone(), to }).await.map_err(|e| attempted("rename", &from, e))
    }

    /// Removes a file or an empty directory; durable after [`TaskIo::sync_dir`].
    ///
    /// # Errors
    /// As `unlink` and `rmdir`.
    pub async fn remove(&self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        self.done(FileOp::Remove(path.clone())).await.map_err(|e| attempted("remove", &path, e))
    }

    /// Creates a directory and its missing parents.
    ///
    /// # Errors
    /// As `mkdir`.
    pub async fn make_dir(&self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        self.done(FileOp::MakeDir(path.clone())).await.map_err(|e| attempted("make directory", &path, e))
    }

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// As `fsync`.
    pub async fn sync_dir(&self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        self.done(FileOp::SyncDir(path.clone())).await.map_err(|e| attempted("sync directory", &path, e))
    }

    /// Entries of a directory, sorted by name.
    ///
    /// # Errors
    /// As `readdir`.
    pub async fn list(&self, path: impl Into<PathBuf>) -> io::Result<Vec<DirEntry>> {
        let path = path.into();
        match self.file(FileOp::List(path.clone())).await.map_err(|e| attempted("list", &path, e))? {
            FileValue::Listed(entries) => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    /// Room on the file system that holds `path`.
    ///
    /// # Errors
    /// As `statvfs`.
    pub async fn space(&self, path: impl Into<PathBuf>) -> io::Result<Space> {
        let path = path.into();
        match self.file(FileOp::Space(path.clone())).await.map_err(|e| attempted("ask space of", &path, e))? {
            FileValue::Space(space) => Ok(space),
            other => Err(unexpected(&other)),
        }
    }

    /// Maps a file that lives in memory, as [`FileOp::Map`].
    ///
    /// # Errors
    /// As [`FileOp::Map`] says; the path is in the text.
    pub async fn map(&self, path: impl Into<PathBuf>, create: Option<usize>) -> io::Result<Mapping> {
        let path = path.into();
        match self
            .file(FileOp::Map { path: path.clone(), create })
            .await
            .map_err(|e| attempted("map", &path, e))?
        {
            FileValue::Mapped(mapping) => Ok(mapping),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// As `open` and `pread`; `FileTooLarge` above [`READ_FILE_BYTES_MAX`].
    pub async fn read_file(&self, path: impl Into<PathBuf>) -> io::Result<Bytes> {
        let path = path.into();
        let (file, bytes) =
            self.open(&path, OpenOptions { read_only: true, ..OpenOptions::default() }).await?;
        let open = OpenFile::new(self, file);
        if bytes > READ_FILE_BYTES_MAX {
            let text =
                format!("{}: {bytes} bytes, at most {READ_FILE_BYTES_MAX} are read whole", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        let content = self.read_at(file, 0, length).await.map_err(|e| attempted("read", &path, e))?;
        open.close(self).await?;
        Ok(content)
    }

    /// Replaces (or creates) a file so that, whatever fails when, the name holds either all of the old content or all of the
    /// new; the new is durable on return. Temporary file, write, `fdatasync`, rename, sync of the directory.
    /// Two replacements of the same path must not run at once.
    ///
    /// # Errors
    /// As the steps; the name then holds the old content or the new one.
    pub async fn replace_file(
        &self,
        path: impl Into<PathBuf>,
        bytes: Bytes,
        backup: Backup,
    ) -> io::Result<()> {
        let path = path.into();
        if backup == Backup::Keep {
            match self.read_file(&path).await {
                // A copy, not a rename of the file itself: no moment without the name, whatever happens.
                Ok(previous) => self.write_then_rename(&with_suffix(&path, ".bak"), previous).await?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.write_then_rename(&path, bytes).await?;
        self.sync_dir(directory_of(&path)).await
    }

    async fn write_then_rename(&self, path: &Path, bytes: Bytes) -> io::Result<()> {
        let temporary = with_suffix(path, ".tmp");
        let options = OpenOptions { create: true, truncate: true, ..OpenOptions::default() };
        let (file, _) = self.open(&temporary, options).await?;
        let open = OpenFile::new(self, file);
        if !bytes.is_empty() {
            let written = self.write_at(file, 0, WriteData::Bytes(bytes), false).await;
            written.map_err(|e| attempted("write", &temporary, e))?;
        }
        self.sync_data(file).await.map_err(|e| attempted("sync", &temporary, e))?;
        open.close(self).await?;
        self.rename(temporary, path).await
    }

    async fn done(&self, op: FileOp) -> io::Result<()> {
        match self.file(op).await? {
            FileValue::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Closes the file when a convenience is dropped or fails half-way.
struct OpenFile {
    state: Rc<RefCell<State>>,
    file: Option<FileId>,
}

impl OpenFile {
    fn new(io: &TaskIo, file: FileId) -> Self {
        Self { state: Rc::clone(&io.state), file: Some(file) }
    }

    async fn close(mut self, io: &TaskIo) -> io::Result<()> {
        let file = self.file.take().expect("closed once");
        io.close(file).await
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.state.borrow_mut().close_file(file);
        }
    }
}

/// The directory that holds the name `path`: that of a bare name is the current one.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// `path` with `suffix` appended to its last component: `offsets.json` → `offsets.json.bak`.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What was attempted when a file operation failed; inside an [`io::Error`] of the same kind.
#[derive(Debug, thiserror::Error)]
#[error("{action} {}: {source}", path.display())]
struct Attempt {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn attempted(action: &'static str, path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Attempt { action, path: path.to_owned(), source })
}

fn unexpected(value: &FileValue) -> io::Error {
    io::Error::other(format!("the driver answered a file operation with {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_directory() {
        for (path, directory) in [("/a/b", "/a"), ("/b", "/"), ("a/b", "a"), ("b", "."), ("/", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
        }
    }
}
