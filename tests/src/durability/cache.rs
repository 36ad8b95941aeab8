//! A disk with a volatile write cache: what was written since the last flush can be lost with the power, whole or in part.
//!
//! The disk is one file of a FUSE file system that this process serves, and a loop device makes a block device of it. A
//! write lands in memory and is answered; a flush moves everything written before it to the image below. At a cut
//! everything fails from one request to the next; when power returns, of each unflushed write the image holds nothing, or
//! all, or a part in units of 512-byte sectors, by chance, later writes also without earlier ones: what a real disk
//! may do, and the worst of it.
//!
//! ```text
//!   broker → ext4, XFS → loop device → FUSE file → pending writes ──flush──→ image
//!                         flush = fsync ───────────────┘             (survives)
//! ```

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor: serves a disk")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, Session, WriteFlags,
};

use super::Random;

/// What a device writes atomically.
const SECTOR_BYTES: usize = 512;
/// Largest write that the kernel may send in one request.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Attributes do not change: the kernel may keep them.
const KEEP: Duration = Duration::from_secs(3_600);
const FILE: INodeNo = INodeNo(2);
const FILE_NAME: &str = "disk";

/// A served disk; unmounted when dropped.
#[derive(Debug)]
pub struct CachedDisk {
    path: PathBuf,
    media: Arc<Mutex<Media>>,
    _session: BackgroundSession,
}

/// What happened to the unflushed writes of a disk when its power returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Sectors that had been written and not flushed.
    pub unflushed: u64,
    /// Of them lost.
    pub lost: u64,
}

impl CachedDisk {
    /// Serves the image as `mount_point/disk`.
    ///
    /// # Errors
    /// The kernel has no FUSE, or refuses the mount.
    pub fn serve(image: &Path, mount_point: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(mount_point)?;
        let file = File::options().read(true).write(true).open(image)?;
        let bytes = file.metadata()?.len();
        let media = Arc::new(Mutex::new(Media { file, bytes, pending: Vec::new(), is_dead: false }));
        let session = Session::new(Served(Arc::clone(&media)), mount_point, &Config::default())?.spawn()?;
        Ok(CachedDisk { path: mount_point.join(FILE_NAME), media, _session: session })
    }

    /// The file that a loop device can use.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on every request fails.
    pub fn cut(&self) {
        self.media().is_dead = true;
    }

    /// Power again: chance decides what the image holds of the unflushed writes. Whoever had the disk open must have let
    /// go of it.
    ///
    /// # Panics
    /// The image below cannot be written.
    pub fn power_on(&self, random: &mut Random) -> Losses {
        let mut media = self.media();
        let mut losses = Losses::default();
        let mood = random.number() % 4;
        for write in std::mem::take(&mut media.pending) {
            let fate = match mood {
                0 => Fate::Nothing,
                1 => Fate::Everything,
                _ => Fate::of(random, write.data.len().div_ceil(SECTOR_BYTES)),
            };
            for (index, sector) in write.data.chunks(SECTOR_BYTES).enumerate() {
                losses.unflushed += 1;
                if fate.keeps(index, random) {
                    let at = write.offset + (index * SECTOR_BYTES) as u64;
                    media.file.write_all_at(sector, at).expect("the image below");
                } else {
                    losses.lost += 1;
                }
            }
        }
        media.is_dead = false;
        losses
    }

    fn media(&self) -> MutexGuard<'_, Media> {
        self.media.lock().expect("no request panicked")
    }
}

/// What is left of one unflushed write.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Nothing,
    Everything,
    /// So many sectors from its start.
    Head(usize),
    /// Everything from that sector on.
    Tail(usize),
    /// Each sector by chance.
    Holes,
}

impl Fate {
    fn of(random: &mut Random, sectors: usize) -> Self {
        let split = (random.number() % (sectors as u64 + 1)) as usize;
        match random.number() % 5 {
            0 => Fate::Nothing,
            1 => Fate::Everything,
            2 => Fate::Head(split),
            3 => Fate::Tail(split),
            _ => Fate::Holes,
        }
    }

    fn keeps(self, index: usize, random: &mut Random) -> bool {
        match self {
            Fate::Nothing => false,
            Fate::Everything => true,
            Fate::Head(sectors) => index < sectors,
            Fate::Tail(sectors) => index >= sectors,
            Fate::Holes => random.number().is_multiple_of(2),
        }
    }
}

#[derive(Debug)]
struct PendingWrite {
    offset: u64,
    data: Vec<u8>,
}

#[derive(Debug)]
struct Media {
    /// What is durable.
    file: File,
    bytes: u64,
    /// Written since the last flush, in order.
    pending: Vec<PendingWrite>,
    is_dead: bool,
}

impl Media {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.file.read_exact_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for write in &self.pending {
            let write_end = write.offset + write.data.len() as u64;
            let (from, to) = (offset.max(write.offset), end.min(write_end));
            if from < to {
                let source = &write.data[(from - write.offset) as usize..(to - write.offset) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        for write in self.pending.drain(..) {
            self.file.write_all_at(&write.data, write.offset)?;
        }
        Ok(())
    }

    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode == FILE;
        let size = if is_file { self.bytes } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size.div_ceil(SECTOR_BYTES as u64),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4_096,
            flags: 0,
        }
    }
}

/// The file system with its one file.
struct Served(Arc<Mutex<Media>>);

impl Served {
    /// The media, unless its power is cut.
    fn alive(&self) -> Result<MutexGuard<'_, Media>, Errno> {
        let media = self.0.lock().expect("no request panicked");
        if media.is_dead { Err(Errno::EIO) } else { Ok(media) }
    }
}

impl Filesystem for Served {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // The kernel may have a lower limit: it then sends smaller writes.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == FILE_NAME {
            let media = self.0.lock().expect("no request panicked");
            reply.entry(&KEEP, &media.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&KEEP, &self.0.lock().expect("no request panicked").attributes(inode));
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // nothing may stay in the page cache above: a cut must reach it
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.alive().and_then(|media| {
            let mut buffer = vec![0; media.bytes.saturating_sub(offset).min(size.into()) as usize];
            media.read(offset, &mut buffer)?;
            Ok(buffer)
        });
        match read {
            Ok(buffer) => reply.data(&buffer),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.alive() {
            Ok(media) if offset + data.len() as u64 > media.bytes => reply.error(Errno::ENOSPC),
            Ok(mut media) => {
                media.pending.push(PendingWrite { offset, data: data.to_vec() });
                reply.written(u32::try_from(data.len()).expect("below the largest write"));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        match self.alive().and_then(|mut media| Ok(media.flush()?)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok(); // close(2), which promises nothing
    }
}
