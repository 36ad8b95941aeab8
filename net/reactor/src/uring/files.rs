//! Files of one shard.
//!
//! An operation is one entry of a slab, which owns what the kernel reads and writes on its behalf (path, buffer, block) until its
//! last completion. Some need several steps (a short write, a directory chain); the entry stays the same.
//!
//! **A flush is believed only on a living file system.** While XFS shuts down (a cut, a device that fails), `fsync` and
//! `RWF_DSYNC` can report success for an extent that the journal never got: the shutdown aborts the journal's entries between the
//! look at the shutdown flag and the look at what is still to be written, and then nothing is. The flag is set before the first entry is aborted, and
//! reads look at it: so an empty read follows every durable write and every `fdatasync` before it counts.
//!
//! | in the ring | synchronous, on the shard's thread |
//! |---|---|
//! | open, close, write, read, fdatasync, fallocate, ftruncate (from kernel 6.9), rename, unlink, rmdir, mkdir, fsync of a directory | size, lock and locked truncation of a file just opened (its inode is in memory); the empty read after a flush; directory listing; statvfs; mapping a file that lives in memory; ftruncate on older kernels |

mod map;
mod work;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use slab::Slab;

use super::core::{Core, Notice};
use super::limits::FILE_OPERATIONS_MAX;
use super::operation::{Kind, UserData};
use super::ring::Completion;
use crate::{DirEntry, FileId, FileOp, FileValue, OpenOptions, Space, Token};
use work::{Step, Work};

/// The shard's files.
#[derive(Default)]
pub(super) struct Files {
    next: u32,
    open: FxHashMap<FileId, OpenFile>,
    operations: Slab<Operation>,
}

struct OpenFile {
    file: File,
    path: Arc<Path>,
    direct: bool,
    in_flight: usize,
    /// To be closed, under this token, when nothing is in flight.
    closing: Option<Token>,
}

struct Operation {
    token: Token,
    file: Option<FileId>,
    path: Arc<Path>,
    work: Work,
}

/// What failed, on which path; the cause stays reachable as the source.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}")]
struct FileError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn explain(operation: &'static str, path: &Path, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), FileError { operation, path: path.to_owned(), source })
}

impl Files {
    /// Operations that have not completed.
    pub(super) fn in_flight(&self) -> usize {
        self.operations.len()
    }

    fn insert(&mut self, file: File, path: Arc<Path>, options: OpenOptions) -> FileId {
        let id = FileId(self.next);
        self.next = self.next.checked_add(1).expect("four thousand million opened files");
        self.open.insert(id, OpenFile { file, path, direct: options.direct, in_flight: 0, closing: None });
        id
    }
}

impl Core {
    pub(super) fn file(&mut self, token: Token, op: FileOp) {
        self.stats.file_operations += 1;
        if let Some(result) = self.start_file(token, op).transpose() {
            self.later.push_back(Notice::File { token, result });
        }
    }

    /// Starts an operation; the value is there at once if it needed no ring.
    fn start_file(&mut self, token: Token, op: FileOp) -> io::Result<Option<FileValue>> {
        if self.files.operations.len() >= FILE_OPERATIONS_MAX {
            let text = format!("{FILE_OPERATIONS_MAX} file operations in flight");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        match op {
            FileOp::Close(id) => {
                let file = self.files.open.get_mut(&id).filter(|file| file.closing.is_none());
                let file = file.ok_or_else(|| unknown_file(id))?;
                file.closing = Some(token);
                self.close_if_idle(id);
            }
            FileOp::Write { file, offset, data, durable } => {
                let open = self.usable(file)?;
                let work = Work::write(data, offset, durable, open.direct, &self.blocks)?;
                self.start_on(token, file, work);
                if durable {
                    // Somebody waits for it: the device works while the turn goes on.
                    self.ring.submit_now();
                }
            }
            FileOp::Read { file, offset, into } => {
                let work = Work::read(into, offset, self.usable(file)?.direct)?;
                self.start_on(token, file, work);
            }
            FileOp::SyncData(file) => {
                self.usable(file)?;
                self.start_on(token, file, Work::SyncData);
            }
            FileOp::Allocate { file, bytes } => {
                self.usable(file)?;
                self.start_on(token, file, Work::Allocate { bytes });
            }
            FileOp::Truncate { file, bytes } => {
                let open = self.usable(file)?;
                if !self.capabilities.ring_truncate {
                    open.file.set_len(bytes).map_err(|error| explain("truncate", &open.path, error))?;
                    self.stats.direct_calls += 1;
                    return Ok(Some(FileValue::Done));
                }
                self.start_on(token, file, Work::Truncate { bytes });
            }
            FileOp::Open { path, options } => {
                let work = Work::open(&path, options)?;
                self.start(token, None, path.into(), work);
            }
            FileOp::Rename { from, to } => {
                let work = Work::rename(&from, &to)?;
                self.start(token, None, from.into(), work);
            }
            FileOp::Remove(path) => {
                let work = Work::remove(&path)?;
                self.start(token, None, path.into(), work);
            }
            FileOp::MakeDir(path) => {
                let work = Work::make_dir(&path)?;
                self.start(token, None, path.into(), work);
            }
            FileOp::SyncDir(path) => {
                let work = Work::sync_dir(&path)?;
                self.start(token, None, path.into(), work);
            }
            FileOp::List(path) => {
                self.stats.direct_calls += 1;
                let names = list(&path).map_err(|error| explain("list", &path, error))?;
                return Ok(Some(FileValue::Listed(names)));
            }
            FileOp::Space(path) => {
                self.stats.direct_calls += 1;
                let space = space(&path).map_err(|error| explain("statvfs", &path, error))?;
                return Ok(Some(FileValue::Space(space)));
            }
            FileOp::Map { path, create } => {
                self.stats.direct_calls += 1;
                let mapping = map::map(&path, create).map_err(|error| explain("map", &path, error))?;
                return Ok(Some(FileValue::Mapped(mapping)));
            }
        }
        Ok(None)
    }

    fn usable(&self, id: FileId) -> io::Result<&OpenFile> {
        self.files.open.get(&id).filter(|file| file.closing.is_none()).ok_or_else(|| unknown_file(id))
    }

    fn start_on(&mut self, token: Token, id: FileId, work: Work) {
        let file = self.files.open.get_mut(&id).expect("looked up by the caller");
        file.in_flight += 1;
        let path = Arc::clone(&file.path);
        self.start(token, Some(id), path, work);
    }

    fn start(&mut self, token: Token, file: Option<FileId>, path: Arc<Path>, work: Work) {
        let index = self.files.operations.insert(Operation { token, file, path, work });
        self.submit_file(index);
    }

    /// Hands the operation's next step to the ring.
    fn submit_file(&mut self, index: usize) {
        let operation = &mut self.files.operations[index];
        let descriptor = match operation.file {
            Some(id) => self.files.open[&id].file.as_raw_fd(),
            None => -1,
        };
        let entry = operation.work.entry(descriptor);
        // SAFETY: all that the entry points to lies on the heap and is owned by `operation.work`, which stays in the slab, and
        // unchanged, until this step's completion (`on_file`); the slab may move the struct, not what it owns. The file
        // stays open while `in_flight` counts this operation.
        unsafe { self.ring.submit(entry, UserData::new(Kind::File, index as u32, 0)) };
    }

    pub(super) fn on_file(&mut self, completion: Completion) -> Option<Notice> {
        let index = completion.data.index() as usize;
        let operation = &mut self.files.operations[index];
        let mut step = operation.work.advance(completion.value(), &operation.path);
        if matches!(step, Step::Again) {
            self.submit_file(index);
            return None;
        }
        if matches!(step, Step::Done) && operation.work.is_flush() {
            let id = operation.file.expect("what is flushed is an open file");
            self.stats.direct_calls += 1;
            if let Err(error) = confirm(&self.files.open[&id].file) {
                step = Step::Failed(error);
            }
        }
        let Operation { token, file, path, work } = self.files.operations.remove(index);
        if let Some(id) = file {
            let open = self.files.open.get_mut(&id).expect("a file outlives its operations");
            open.in_flight -= 1;
            self.close_if_idle(id);
        }
        let result = match step {
            Step::Again => unreachable!("handled above"),
            Step::Failed(error) => Err(explain(work.name(), &path, error)),
            Step::Opened(file, options) => self.opened(file, path, options),
            Step::Done => work.value(),
        };
        Some(Notice::File { token, result })
    }

    fn opened(
        &mut self,
        descriptor: OwnedFd,
        path: Arc<Path>,
        options: OpenOptions,
    ) -> io::Result<FileValue> {
        let file = File::from(descriptor);
        self.stats.direct_calls += 1;
        if options.lock {
            file.try_lock().map_err(|error| explain("lock", &path, error.into()))?;
            // Only now: the content may be another process's until the lock is ours.
            if options.truncate {
                file.set_len(0).map_err(|error| explain("truncate", &path, error))?;
            }
        }
        let bytes = file.metadata().map_err(|error| explain("stat", &path, error))?.len();
        Ok(FileValue::Opened { file: self.files.insert(file, path, options), bytes })
    }

    fn close_if_idle(&mut self, id: FileId) {
        let Some(open) = self.files.open.get(&id) else { return };
        let (0, Some(token)) = (open.in_flight, open.closing) else { return };
        let open = self.files.open.remove(&id).expect("just seen");
        // Closing a file can write (network file systems): the ring does it, and owns the descriptor from now on.
        let descriptor = open.file.into_raw_fd();
        self.start(token, None, open.path, Work::Close { descriptor });
    }
}

/// Fails if the file system has been shut down; see the module's text. Touches neither the device nor a lock.
fn confirm(file: &File) -> io::Result<()> {
    file.read_at(&mut [], 0).map(|_| ())
}

fn unknown_file(id: FileId) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("file {} is not open", id.0))
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed since its name was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_dir = metadata.is_dir();
        entries.push(DirEntry { name, is_dir, bytes: if is_dir { 0 } else { metadata.len() } });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn space(path: &Path) -> io::Result<Space> {
    let status = nix::sys::statvfs::statvfs(path)?;
    let unit = status.fragment_size();
    let used = status.blocks().saturating_sub(status.blocks_free());
    let available = status.blocks_available();
    Ok(Space { total: unit * (used + available), available: unit * available })
}
