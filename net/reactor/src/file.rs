//! File operations.

use std::path::PathBuf;

use bytes::Bytes;

use crate::{AlignedBuffer, BlockSlice, FileId, Mapping};

/// One operation on a file or a name. Operations in flight at the same time have no order among each other:
/// wait for the first completion where order matters.
#[derive(Debug)]
pub enum FileOp {
    /// Opens a file. → [`FileValue::Opened`]
    Open {
        /// Where.
        path: PathBuf,
        /// How.
        options: OpenOptions,
    },
    /// Closes it. Operations still in flight on it end first. → [`FileValue::Done`]
    Close(FileId),
    /// Writes all of `data` at `offset`; short writes are continued by the driver. → [`FileValue::Written`]
    Write {
        /// The file.
        file: FileId,
        /// Byte offset in the file; a multiple of [`crate::PAGE_BYTES`] for a direct file.
        offset: u64,
        /// What; address and length are multiples of [`crate::PAGE_BYTES`] for a direct file.
        data: WriteData,
        /// True: the completion means "on stable media" (`RWF_DSYNC`).
        durable: bool,
    },
    /// Reads up to the buffer's length; fewer bytes mean end of file. → [`FileValue::Read`]
    Read {
        /// The file.
        file: FileId,
        /// Byte offset; aligned for a direct file.
        offset: u64,
        /// Where to; comes back in the completion.
        into: AlignedBuffer,
    },
    /// `fdatasync`. → [`FileValue::Done`]
    SyncData(FileId),
    /// `fallocate` from 0 to `bytes`, so that the space is ours; the file reads as zeros. → [`FileValue::Done`]
    Allocate {
        /// The file.
        file: FileId,
        /// Its new size.
        bytes: u64,
    },
    /// Cuts or extends to `bytes`. → [`FileValue::Done`]
    Truncate {
        /// The file.
        file: FileId,
        /// Its new size.
        bytes: u64,
    },
    /// Replaces `to` by `from` atomically (durable after [`FileOp::SyncDir`]). → [`FileValue::Done`]
    Rename {
        /// Present name.
        from: PathBuf,
        /// New name.
        to: PathBuf,
    },
    /// Removes a file or an empty directory. → [`FileValue::Done`]
    Remove(PathBuf),
    /// Creates a directory and its missing parents; no error if there. → [`FileValue::Done`]
    MakeDir(PathBuf),
    /// Makes creations, renames and removals in the directory durable. → [`FileValue::Done`]
    SyncDir(PathBuf),
    /// Lists a directory, sorted by name. May block for the disk: start-up and housekeeping only. → [`FileValue::Listed`]
    List(PathBuf),
    /// Asks for the space of the file system that holds the path. → [`FileValue::Space`]
    Space(PathBuf),
    /// Maps a file that lives in memory, see [`Mapping`]: on tmpfs or hugetlbfs (else `Unsupported`), a regular file that belongs to
    /// this user and is open to nobody else (else `PermissionDenied`), which no other process has mapped (else `WouldBlock`).
    /// → [`FileValue::Mapped`]
    Map {
        /// Where.
        path: PathBuf,
        /// `Some`: make it, with that many bytes, none of them reserved; fails if there is one. `None`: there must be one.
        create: Option<usize>,
    },
}

/// How to open a file. All files are opened for reading and writing, close-on-exec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Create it if missing.
    pub create: bool,
    /// Fail if it exists (with `create`).
    pub exclusive: bool,
    /// Bypass the page cache (`O_DIRECT`): offsets, lengths and addresses are then page-aligned.
    pub direct: bool,
    /// Open for reading only.
    pub read_only: bool,
    /// Take an exclusive advisory lock, held until the file is closed; `WouldBlock` if another process has it.
    pub lock: bool,
    /// Cut to zero length on open.
    pub truncate: bool,
}

/// What to write.
#[derive(Debug, Clone)]
pub enum WriteData {
    /// Part of a block: written straight from it, by registered buffer where the kernel allows.
    Block(BlockSlice),
    /// Bytes of any alignment, for files that are not direct.
    Bytes(Bytes),
    /// An aligned buffer made ready elsewhere (for example a page of zeros), shared.
    Aligned(std::sync::Arc<AlignedBuffer>),
}

/// What a file operation gave.
#[derive(Debug)]
pub enum FileValue {
    /// [`FileOp::Open`].
    Opened {
        /// The handle.
        file: FileId,
        /// Size at the time of opening, bytes.
        bytes: u64,
    },
    /// [`FileOp::Write`]: all of it.
    Written {
        /// Bytes.
        bytes: u64,
    },
    /// [`FileOp::Read`].
    Read {
        /// The buffer that was lent.
        buffer: AlignedBuffer,
        /// How much of it was filled.
        bytes: usize,
    },
    /// [`FileOp::List`].
    Listed(Vec<DirEntry>),
    /// [`FileOp::Space`].
    Space(Space),
    /// [`FileOp::Map`].
    Mapped(Mapping),
    /// Every other operation.
    Done,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Last component; names that are not UTF-8 are left out of the listing.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Size in bytes (0 for a directory).
    pub bytes: u64,
}

/// Room on a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What is used plus what an unprivileged process may still use: without what the file system keeps back, so that
    /// `available / total` is what `df` and RocketMQ call the free part.
    pub total: u64,
    /// What an unprivileged process may still use.
    pub available: u64,
}
