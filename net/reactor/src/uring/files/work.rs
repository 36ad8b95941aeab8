//! The steps of each file operation: which entry comes next, and what its result means.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use io_uring::{opcode, squeue, types};

use crate::uring::blocks::BlockTable;
use crate::uring::limits::TRANSFER_BYTES_MAX;
use crate::{AlignedBuffer, FileValue, OpenOptions, PAGE_BYTES, WriteData};

/// What the slab entry of a file operation owns. Everything the kernel is pointed to lies on the heap behind these fields.
pub(super) enum Work {
    Open {
        path: CString,
        options: OpenOptions,
    },
    Close {
        descriptor: RawFd,
    },
    Write {
        data: WriteData,
        slot: Option<u16>,
        offset: u64,
        done: usize,
        durable: bool,
        direct: bool,
    },
    Read {
        buffer: AlignedBuffer,
        offset: u64,
        done: usize,
        direct: bool,
    },
    SyncData,
    Allocate {
        bytes: u64,
    },
    Truncate {
        bytes: u64,
    },
    Rename {
        from: CString,
        to: CString,
    },
    Remove {
        path: CString,
        directory: bool,
    },
    /// The last path is made next; those before it wait for their parents.
    MakeDir {
        waiting: Vec<(PathBuf, CString)>,
    },
    SyncDir {
        path: CString,
        opened: Option<OwnedFd>,
    },
}

/// What follows a completion.
pub(super) enum Step {
    /// Another entry.
    Again,
    /// The operation has its value, see [`Work::value`].
    Done,
    Opened(OwnedFd, OpenOptions),
    Failed(io::Error),
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

fn bytes_of(data: &WriteData) -> (*const u8, usize) {
    match data {
        WriteData::Block(slice) => (slice.as_ptr(), slice.len()),
        WriteData::Bytes(bytes) => (bytes.as_ptr(), bytes.len()),
        WriteData::Aligned(buffer) => (buffer.as_ptr().cast_const(), buffer.len()),
    }
}

/// A direct file takes whole pages only; the kernel would say no more than EINVAL.
fn check_alignment(direct: bool, offset: u64, address: *const u8, bytes: usize) -> io::Result<()> {
    let page = PAGE_BYTES;
    if direct
        && !(offset.is_multiple_of(page as u64)
            && bytes.is_multiple_of(page)
            && (address as usize).is_multiple_of(page))
    {
        let text = format!("direct transfer of {bytes} bytes at {offset} is not aligned to {page}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(())
}

impl Work {
    pub(super) fn open(path: &Path, options: OpenOptions) -> io::Result<Self> {
        Ok(Self::Open { path: c_path(path)?, options })
    }

    pub(super) fn write(
        data: WriteData,
        offset: u64,
        durable: bool,
        direct: bool,
        blocks: &BlockTable,
    ) -> io::Result<Self> {
        let (address, bytes) = bytes_of(&data);
        check_alignment(direct, offset, address, bytes)?;
        let slot = match &data {
            WriteData::Block(slice) => blocks.slot_of(slice),
            WriteData::Bytes(_) | WriteData::Aligned(_) => None,
        };
        Ok(Self::Write { data, slot, offset, done: 0, durable, direct })
    }

    pub(super) fn read(buffer: AlignedBuffer, offset: u64, direct: bool) -> io::Result<Self> {
        check_alignment(direct, offset, buffer.as_ptr(), buffer.len())?;
        Ok(Self::Read { buffer, offset, done: 0, direct })
    }

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<Self> {
        Ok(Self::Rename { from: c_path(from)?, to: c_path(to)? })
    }

    pub(super) fn remove(path: &Path) -> io::Result<Self> {
        Ok(Self::Remove { path: c_path(path)?, directory: false })
    }

    pub(super) fn make_dir(path: &Path) -> io::Result<Self> {
        Ok(Self::MakeDir { waiting: vec![(path.to_owned(), c_path(path)?)] })
    }

    pub(super) fn sync_dir(path: &Path) -> io::Result<Self> {
        Ok(Self::SyncDir { path: c_path(path)?, opened: None })
    }

    /// For error texts.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Close { .. } => "close",
            Self::Write { .. } => "write",
            Self::Read { .. } => "read",
            Self::SyncData => "fdatasync",
            Self::Allocate { .. } => "allocate",
            Self::Truncate { .. } => "truncate",
            Self::Rename { .. } => "rename",
            Self::Remove { .. } => "remove",
            Self::MakeDir { .. } => "make directory",
            Self::SyncDir { .. } => "sync directory",
        }
    }

    /// Whether its success says that something is on stable media.
    pub(super) fn is_flush(&self) -> bool {
        matches!(self, Self::Write { durable: true, .. } | Self::SyncData)
    }

    /// The next entry. It points into what `self` owns on the heap.
    pub(super) fn entry(&mut self, descriptor: RawFd) -> squeue::Entry {
        let here = types::Fd(libc::AT_FDCWD);
        let file = types::Fd(descriptor);
        match self {
            Self::Open { path, options } => {
                opcode::OpenAt::new(here, path.as_ptr()).flags(open_flags(*options)).mode(0o644).build()
            }
            Self::Close { descriptor } => opcode::Close::new(types::Fd(*descriptor)).build(),
            Self::Write { data, slot, offset, done, durable, .. } => {
                let (start, total) = bytes_of(data);
                // SAFETY: `done <= total` (see `advance`), so the address stays inside the data.
                let address = unsafe { start.add(*done) };
                let bytes = (total - *done).min(TRANSFER_BYTES_MAX) as u32;
                let at = *offset + *done as u64;
                let flags = if *durable { libc::RWF_DSYNC } else { 0 };
                match slot {
                    Some(slot) => opcode::WriteFixed::new(file, address, bytes, *slot)
                        .offset(at)
                        .rw_flags(flags)
                        .build(),
                    None => opcode::Write::new(file, address, bytes).offset(at).rw_flags(flags).build(),
                }
            }
            Self::Read { buffer, offset, done, .. } => {
                // SAFETY: `done <= len` (see `advance`).
                let address = unsafe { buffer.as_ptr().add(*done) };
                let bytes = (buffer.len() - *done).min(TRANSFER_BYTES_MAX) as u32;
                opcode::Read::new(file, address, bytes).offset(*offset + *done as u64).build()
            }
            Self::SyncData => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            Self::Allocate { bytes } => opcode::Fallocate::new(file, *bytes).build(),
            Self::Truncate { bytes } => opcode::Ftruncate::new(file, *bytes).build(),
            Self::Rename { from, to } => {
                opcode::RenameAt::new(here, from.as_ptr(), here, to.as_ptr()).build()
            }
            Self::Remove { path, directory } => {
                let flags = if *directory { libc::AT_REMOVEDIR } else { 0 };
                opcode::UnlinkAt::new(here, path.as_ptr()).flags(flags).build()
            }
            Self::MakeDir { waiting } => {
                let (_, path) = waiting.last().expect("a directory to make");
                opcode::MkDirAt::new(here, path.as_ptr()).mode(0o755).build()
            }
            Self::SyncDir { path, opened: None } => {
                let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
                opcode::OpenAt::new(here, path.as_ptr()).flags(flags).build()
            }
            Self::SyncDir { opened: Some(directory), .. } => {
                opcode::Fsync::new(types::Fd(directory.as_raw_fd())).build()
            }
        }
    }

    /// Takes the result of the entry in flight.
    pub(super) fn advance(&mut self, result: io::Result<u32>, path: &Path) -> Step {
        match self {
            Self::Write { data, done, direct, .. } => {
                let (_, total) = bytes_of(data);
                match result {
                    Ok(bytes) => advance_transfer(done, bytes as usize, total, *direct),
                    Err(error) if is_transient(&error) => Step::Again,
                    Err(error) => Step::Failed(error),
                }
            }
            Self::Read { buffer, done, direct, .. } => match result {
                Ok(0) => Step::Done,
                Ok(bytes) => {
                    *done += bytes as usize;
                    // From a direct file, a piece of a page is its end: nothing can be asked for behind it.
                    let at_end = *direct && !done.is_multiple_of(PAGE_BYTES);
                    if *done == buffer.len() || at_end { Step::Done } else { Step::Again }
                }
                Err(error) if is_transient(&error) => Step::Again,
                Err(error) => Step::Failed(error),
            },
            Self::Open { options, .. } => match result {
                Ok(descriptor) => Step::Opened(own(descriptor), *options),
                Err(error) if options.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                    let text = "the file system has no direct I/O; use ext4 or XFS for the store";
                    Step::Failed(io::Error::new(io::ErrorKind::Unsupported, text))
                }
                Err(error) => Step::Failed(error),
            },
            Self::Remove { directory, .. } => match result {
                Err(error) if !*directory && error.raw_os_error() == Some(libc::EISDIR) => {
                    *directory = true;
                    Step::Again
                }
                other => simple(other),
            },
            Self::MakeDir { waiting } => advance_make_dir(waiting, result, path),
            Self::SyncDir { opened, .. } => match (result, opened.is_some()) {
                (Ok(descriptor), false) => {
                    *opened = Some(own(descriptor));
                    Step::Again
                }
                (other, _) => simple(other),
            },
            Self::Close { .. }
            | Self::SyncData
            | Self::Allocate { .. }
            | Self::Truncate { .. }
            | Self::Rename { .. } => simple(result),
        }
    }

    /// The value of an operation that is [`Step::Done`].
    pub(super) fn value(self) -> io::Result<FileValue> {
        Ok(match self {
            Self::Write { done, .. } => FileValue::Written { bytes: done as u64 },
            Self::Read { buffer, done, .. } => FileValue::Read { buffer, bytes: done },
            _ => FileValue::Done,
        })
    }
}

fn own(descriptor: u32) -> OwnedFd {
    // SAFETY: an open's result is a new descriptor that nobody else knows.
    unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }
}

fn simple(result: io::Result<u32>) -> Step {
    match result {
        Ok(_) => Step::Done,
        Err(error) => Step::Failed(error),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

fn advance_transfer(done: &mut usize, bytes: usize, total: usize, direct: bool) -> Step {
    let reached = *done + bytes;
    assert!(reached <= total, "wrote {reached} of {total}");
    if reached == total {
        *done = total;
        return Step::Done;
    }
    // A direct write can only go on at a page.
    let next = if direct { reached - reached % PAGE_BYTES } else { reached };
    if next == *done {
        let text = format!("write stopped after {reached} of {total} bytes");
        return Step::Failed(io::Error::new(io::ErrorKind::WriteZero, text));
    }
    *done = next;
    Step::Again
}

fn advance_make_dir(waiting: &mut Vec<(PathBuf, CString)>, result: io::Result<u32>, target: &Path) -> Step {
    match result {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if waiting.len() == 1 && !target.is_dir() {
                return Step::Failed(error);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (path, _) = waiting.last().expect("the directory that was tried");
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).map(Path::to_owned);
            // Without a parent to make, or when its name cannot be given to the kernel, the first error stands.
            return match parent.and_then(|parent| Some((c_path(&parent).ok()?, parent))) {
                Some((name, parent)) => {
                    waiting.push((parent, name));
                    Step::Again
                }
                None => Step::Failed(error),
            };
        }
        Err(error) => return Step::Failed(error),
    }
    waiting.pop();
    if waiting.is_empty() { Step::Done } else { Step::Again }
}

fn open_flags(options: OpenOptions) -> libc::c_int {
    let mut flags = libc::O_CLOEXEC | if options.read_only { libc::O_RDONLY } else { libc::O_RDWR };
    if options.create {
        flags |= libc::O_CREAT;
        if options.exclusive {
            flags |= libc::O_EXCL;
        }
    }
    if options.direct {
        flags |= libc::O_DIRECT;
    }
    // A file that is also to be locked is cut after the lock has been taken.
    if options.truncate && !options.lock {
        flags |= libc::O_TRUNC;
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_direct_write_goes_on_at_a_page() {
        let mut done = 0;
        assert!(matches!(advance_transfer(&mut done, 5000, 12_288, true), Step::Again));
        assert_eq!(done, 4096);
        assert!(matches!(advance_transfer(&mut done, 512, 12_288, true), Step::Failed(_)));
        assert_eq!(done, 4096);
        assert!(matches!(advance_transfer(&mut done, 8192, 12_288, true), Step::Done));
        assert_eq!(done, 12_288);
    }

    #[test]
    fn a_short_buffered_write_goes_on_where_it_stopped() {
        let mut done = 0;
        assert!(matches!(advance_transfer(&mut done, 5, 10, false), Step::Again));
        assert_eq!(done, 5);
        assert!(matches!(advance_transfer(&mut done, 0, 10, false), Step::Failed(_)));
        assert!(matches!(advance_transfer(&mut done, 5, 10, false), Step::Done));
    }
}
