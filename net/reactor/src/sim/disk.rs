//! One host's disk: operations on their way, open files, faults.
//!
//! A write reaches the disk at some moment between its submission and its completion; only then is its content looked at, so
//! pages of a block that fill meanwhile are written as they are then. Everything else takes effect with its
//! completion. When a process is killed, what it had submitted takes effect wholly, partly or not at all.

use std::io;
use std::path::Path;

use rustc_hash::FxHashMap;

use super::core::{Completion, Core, Due, ShardKey};
use super::faults::{NoRoom, Scripted};
use super::files::{Content, PathToDisk, Snapshot};
use super::memory::HostMemory;
use super::names::{Names, Node, absolute};
use super::{DiskFaults, FaultKind, Rng};
use crate::{FileId, FileOp, FileValue, OpenOptions, PAGE_BYTES, Space, Token, WriteData};

const PAGE: u64 = PAGE_BYTES as u64;

pub(super) struct Disk {
    names: Names,
    files: FxHashMap<u64, File>,
    handles: FxHashMap<(ShardKey, FileId), Handle>,
    operations: FxHashMap<u64, Operation>,
    next: u64,
    /// Files that are not on the disk.
    pub(super) memory: HostMemory,
    pub(super) capacity: u64,
    pub(super) faults: DiskFaults,
    pub(super) scripted: Scripted,
    pub(super) no_room: NoRoom,
}

#[derive(Default)]
struct File {
    content: Content,
    /// Space that is taken, bytes.
    allocated: u64,
    locked: Option<(ShardKey, FileId)>,
}

struct Handle {
    file: u64,
    options: OpenOptions,
    /// For faults that are asked for by name.
    path: String,
    /// A close waits for these.
    in_flight: u32,
}

struct Operation {
    shard: ShardKey,
    token: Token,
    op: FileOp,
    /// Handle that an open operation will make.
    opens: FileId,
    /// Already decided (a write that reached the disk, a fault).
    outcome: Option<io::Result<()>>,
    /// The write has been looked at.
    applied: bool,
    /// The flush that is part of it.
    flush: Option<(u64, Snapshot)>,
    path_to_disk: PathToDisk,
}

fn os_error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl FileOp {
    /// The open file that the operation is about.
    fn handle(&self) -> Option<FileId> {
        match self {
            Self::Close(file) | Self::SyncData(file) => Some(*file),
            Self::Write { file, .. }
            | Self::Read { file, .. }
            | Self::Allocate { file, .. }
            | Self::Truncate { file, .. } => Some(*file),
            _ => None,
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Open { path, .. }
            | Self::Remove(path)
            | Self::MakeDir(path)
            | Self::SyncDir(path)
            | Self::List(path)
            | Self::Map { path, .. }
            | Self::Space(path) => Some(path),
            Self::Rename { to, .. } => Some(to),
            _ => None,
        }
    }

    fn fault_kind(&self) -> Option<FaultKind> {
        match self {
            Self::Write { .. } => Some(FaultKind::Write),
            Self::SyncData(_) => Some(FaultKind::Sync),
            Self::Read { .. } => Some(FaultKind::Read),
            Self::Open { .. } => Some(FaultKind::Open),
            Self::Rename { .. } => Some(FaultKind::Rename),
            Self::SyncDir(_) => Some(FaultKind::SyncDir),
            Self::Allocate { .. } => Some(FaultKind::Allocate),
            Self::Map { .. } => Some(FaultKind::Map),
            Self::Remove(_) => Some(FaultKind::Remove),
            _ => None,
        }
    }
}

/// What is to be written, as it is at this moment: not to be kept longer than that.
fn bytes_of(data: &WriteData) -> &[u8] {
    match data {
        WriteData::Bytes(bytes) => bytes,
        WriteData::Aligned(buffer) => (**buffer).as_ref(),
        WriteData::Block(slice) => {
            // SAFETY: the slice lies in memory that it keeps alive and that is initialised. A simulated world and all of
            // its services live on one thread, and none of them runs before the caller is done: nobody writes to the
            // block while these bytes are borrowed.
            unsafe { std::slice::from_raw_parts(slice.as_ptr(), slice.len()) }
        }
    }
}

fn length_of(data: &WriteData) -> usize {
    match data {
        WriteData::Bytes(bytes) => bytes.len(),
        WriteData::Aligned(buffer) => buffer.len(),
        WriteData::Block(slice) => slice.len(),
    }
}

impl Core {
    /// Starts a file operation.
    pub(super) fn file(&mut self, shard: ShardKey, token: Token, op: FileOp) {
        let host = self.host_of(shard);
        let options = &self.options;
        let latency = match &op {
            FileOp::Write { durable: true, .. } | FileOp::SyncData(_) | FileOp::SyncDir(_) => options.flush,
            FileOp::Write { .. } => options.write,
            FileOp::Read { .. } => options.read,
            _ => options.metadata,
        };
        let disk = &mut self.hosts[host as usize].disk;
        let took = (latency.sample(&mut self.rng) as f64 * disk.faults.slowness) as u64;
        let opens = FileId(self.processes[shard.process as usize].shards[shard.shard as usize].next_file);
        if matches!(op, FileOp::Open { .. }) {
            self.shard(shard).next_file += 1;
        }
        let disk = &mut self.hosts[host as usize].disk;
        let is_write = matches!(op, FileOp::Write { .. });
        let operation = disk.submit(shard, token, op, opens, &mut self.rng);
        if is_write {
            let moment = self.rng.between(0, took);
            self.schedule_in(moment, Due::DiskApply { host, operation });
        }
        self.schedule_in(took, Due::DiskDone { host, operation });
    }

    pub(super) fn disk_apply(&mut self, host: u32, operation: u64) {
        self.hosts[host as usize].disk.apply(operation, &mut self.rng);
    }

    pub(super) fn disk_done(&mut self, host: u32, operation: u64) {
        let disk = &mut self.hosts[host as usize].disk;
        if disk.must_wait(operation) {
            return self.schedule_in(20_000, Due::DiskDone { host, operation });
        }
        if let Some((shard, token, result)) = disk.done(operation, &mut self.rng) {
            self.complete(shard, Completion::File { token, result });
        }
    }
}

impl Core {
    /// A shard exits: its operations in flight end unseen, its files are closed.
    pub(super) fn exit_files(&mut self, key: ShardKey) {
        let host = self.host_of(key) as usize;
        self.hosts[host].disk.leave(|shard| shard == key, &mut self.rng);
    }
}

impl Disk {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            names: Names::default(),
            files: FxHashMap::default(),
            handles: FxHashMap::default(),
            operations: FxHashMap::default(),
            next: 0,
            memory: HostMemory::default(),
            capacity,
            faults: DiskFaults::default(),
            scripted: Scripted::default(),
            no_room: NoRoom::default(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn submit(&mut self, shard: ShardKey, token: Token, op: FileOp, opens: FileId, rng: &mut Rng) -> u64 {
        let mut outcome = None;
        let mut flush = None;
        let mut path_to_disk = PathToDisk::PageCache;
        let handle = op.handle().and_then(|file| self.handles.get_mut(&(shard, file)));
        if op.handle().is_some() && handle.is_none() {
            outcome = Some(Err(os_error(libc::EBADF)));
        }
        let path = match (&handle, op.path()) {
            (Some(handle), _) => handle.path.clone(),
            (None, path) => path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        };
        if let Some(handle) = handle {
            handle.in_flight += 1;
            if handle.options.direct {
                path_to_disk = PathToDisk::Direct;
            }
            if let FileOp::SyncData(_) = op {
                // What counts is what was written when the flush was asked for.
                let file = self.files.get_mut(&handle.file).expect("open files exist");
                flush = Some((handle.file, file.content.begin_flush()));
            }
        }
        if let Some(kind) = op.fault_kind() {
            let chance = match kind {
                FaultKind::Write => self.faults.write_error,
                FaultKind::Sync => self.faults.sync_error,
                FaultKind::Read => self.faults.read_error,
                _ => 0.0,
            };
            if self.scripted.hits(kind, &path) || rng.chance(chance) {
                outcome = outcome.or(Some(Err(os_error(libc::EIO))));
            }
        }
        let number = self.number();
        let operation = Operation { shard, token, op, opens, outcome, applied: false, flush, path_to_disk };
        self.operations.insert(number, operation);
        number
    }

    /// A write reaches the disk.
    fn apply(&mut self, number: u64, rng: &mut Rng) {
        let Some(mut operation) = self.operations.remove(&number) else { return };
        self.apply_write(&mut operation, rng);
        self.operations.insert(number, operation);
    }

    fn apply_write(&mut self, operation: &mut Operation, rng: &mut Rng) {
        let FileOp::Write { file, offset, data, durable } = &operation.op else { return };
        let (offset, length) = (*offset, length_of(data));
        operation.applied = true;
        let Some(handle) = self.handles.get(&(operation.shard, *file)) else { return };
        let (number, options) = (handle.file, handle.options);
        if options.read_only {
            operation.outcome = Some(Err(os_error(libc::EBADF)));
        } else if options.direct && !(offset.is_multiple_of(PAGE) && length.is_multiple_of(PAGE_BYTES)) {
            operation.outcome = Some(Err(os_error(libc::EINVAL)));
        } else if !self.take_space(number, (offset + length as u64).next_multiple_of(PAGE)) {
            operation.outcome = Some(Err(os_error(libc::ENOSPC)));
        }
        let failed = match &operation.outcome {
            Some(Err(error)) if error.raw_os_error() == Some(libc::EIO) => true,
            Some(Err(_)) => return,
            _ => false,
        };
        if length == 0 {
            return;
        }
        let bytes = bytes_of(data);
        let content = &mut self.files.get_mut(&number).expect("open files exist").content;
        if failed {
            write_part(content, offset, bytes, rng);
            return;
        }
        content.write(offset, bytes);
        if *durable {
            operation.flush = Some((number, content.begin_flush_range(offset, length)));
            if rng.chance(self.faults.sync_error) {
                operation.outcome = Some(Err(os_error(libc::EIO)));
            }
        }
    }

    /// A close ends after everything else on its file.
    fn must_wait(&self, number: u64) -> bool {
        let Some(operation) = self.operations.get(&number) else { return false };
        let FileOp::Close(file) = operation.op else { return false };
        self.handles.get(&(operation.shard, file)).is_some_and(|handle| handle.in_flight > 1)
    }

    fn done(&mut self, number: u64, rng: &mut Rng) -> Option<(ShardKey, Token, io::Result<FileValue>)> {
        let mut operation = self.operations.remove(&number)?;
        if let Some(handle) = operation.op.handle().and_then(|f| self.handles.get_mut(&(operation.shard, f)))
        {
            handle.in_flight -= 1;
        }
        if !operation.applied && matches!(operation.op, FileOp::Write { .. }) {
            self.apply_write(&mut operation, rng);
        }
        let failed = matches!(operation.outcome, Some(Err(_)));
        if let Some((file, snapshot)) = operation.flush.take()
            && let Some(file) = self.files.get_mut(&file)
        {
            if failed {
                file.content.fail_flush(&snapshot, operation.path_to_disk, rng);
            } else {
                file.content.end_flush(&snapshot);
            }
        }
        let result = match operation.outcome.take() {
            Some(Err(error)) => Err(error),
            _ => self.perform(operation.shard, operation.opens, operation.op),
        };
        Some((operation.shard, operation.token, result))
    }

    /// Takes effect; a write has done so before.
    fn perform(&mut self, shard: ShardKey, opens: FileId, op: FileOp) -> io::Result<FileValue> {
        match op {
            FileOp::Open { path, options } => return self.open(shard, opens, &absolute(&path), options),
            FileOp::Close(file) => {
                let handle = self.handles.remove(&(shard, file)).ok_or_else(|| os_error(libc::EBADF))?;
                self.unlock(handle.file, (shard, file));
                self.collect_garbage();
            }
            FileOp::Write { data, .. } => return Ok(FileValue::Written { bytes: length_of(&data) as u64 }),
            FileOp::Read { file, offset, into } => {
                let handle = self.handles.get(&(shard, file)).ok_or_else(|| os_error(libc::EBADF))?;
                if handle.options.direct && !offset.is_multiple_of(PAGE) {
                    return Err(os_error(libc::EINVAL));
                }
                let mut buffer = into;
                let bytes = self.files[&handle.file].content.read(offset, buffer.as_mut());
                return Ok(FileValue::Read { buffer, bytes });
            }
            FileOp::SyncData(_) => {}
            FileOp::Allocate { file, bytes } => {
                let number = self.writable(shard, file)?;
                if !self.take_space(number, bytes.next_multiple_of(PAGE)) {
                    return Err(os_error(libc::ENOSPC));
                }
                let content = &mut self.files.get_mut(&number).expect("open files exist").content;
                content.set_bytes(bytes.max(content.bytes()));
            }
            FileOp::Truncate { file, bytes } => {
                let number = self.writable(shard, file)?;
                let file = self.files.get_mut(&number).expect("open files exist");
                file.content.set_bytes(bytes);
                file.allocated = file.allocated.min(bytes.next_multiple_of(PAGE));
            }
            FileOp::Rename { from, to } => {
                self.names.rename(&absolute(&from), &absolute(&to))?;
                self.collect_garbage();
            }
            FileOp::Remove(path) if self.memory.remove(&absolute(&path)) => {}
            FileOp::Remove(path) => {
                self.names.remove(&absolute(&path))?;
                self.collect_garbage();
            }
            FileOp::MakeDir(path) => self.names.make_directories(&absolute(&path))?,
            FileOp::SyncDir(path) => {
                self.names.sync(&absolute(&path))?;
                self.collect_garbage();
            }
            FileOp::List(path) => {
                let bytes_of = |file| self.files.get(&file).map_or(0, |file| file.content.bytes());
                return Ok(FileValue::Listed(self.names.list(&absolute(&path), bytes_of)?));
            }
            FileOp::Space(_) => {
                let available = self.capacity.saturating_sub(self.used());
                return Ok(FileValue::Space(Space { total: self.capacity, available }));
            }
            FileOp::Map { path, create } => {
                return self.memory.map(shard, &absolute(&path), create).map(FileValue::Mapped);
            }
        }
        Ok(FileValue::Done)
    }

    fn open(
        &mut self,
        shard: ShardKey,
        id: FileId,
        path: &Path,
        options: OpenOptions,
    ) -> io::Result<FileValue> {
        let number = match self.names.get(path) {
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) if options.create && options.exclusive => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Some(Node::File(number)) => number,
            None if !options.create => return Err(io::ErrorKind::NotFound.into()),
            None if self.no_room.hits() => return Err(os_error(libc::ENOSPC)),
            None => {
                let number = self.number();
                self.names.create(path, number)?;
                self.files.insert(number, File::default());
                number
            }
        };
        let file = self.files.get_mut(&number).expect("named files exist");
        if options.lock {
            if file.locked.is_some() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            file.locked = Some((shard, id));
        }
        if options.truncate {
            file.content.set_bytes(0);
            file.allocated = 0;
        }
        let bytes = file.content.bytes();
        let path = path.to_string_lossy().into_owned();
        self.handles.insert((shard, id), Handle { file: number, options, path, in_flight: 0 });
        Ok(FileValue::Opened { file: id, bytes })
    }

    fn writable(&self, shard: ShardKey, file: FileId) -> io::Result<u64> {
        match self.handles.get(&(shard, file)) {
            Some(handle) if !handle.options.read_only => Ok(handle.file),
            _ => Err(os_error(libc::EBADF)),
        }
    }

    fn unlock(&mut self, number: u64, holder: (ShardKey, FileId)) {
        if let Some(file) = self.files.get_mut(&number)
            && file.locked == Some(holder)
        {
            file.locked = None;
        }
    }

    /// Bytes that files take up.
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.allocated).sum()
    }

    /// Lets a file take up `bytes`; false if the disk is too full for that.
    fn take_space(&mut self, number: u64, bytes: u64) -> bool {
        let present = self.files[&number].allocated;
        if bytes <= present {
            return true;
        }
        let fits = !self.no_room.hits() && self.used() + (bytes - present) <= self.capacity;
        if fits {
            self.files.get_mut(&number).expect("looked up above").allocated = bytes;
        }
        fits
    }

    /// Frees files that have neither name nor handle.
    fn collect_garbage(&mut self) {
        let mut alive: Vec<u64> = self.names.files().chain(self.handles.values().map(|h| h.file)).collect();
        alive.sort_unstable();
        self.files.retain(|number, _| alive.binary_search(number).is_ok());
    }

    /// The number of the newest operation.
    pub(super) fn newest_operation(&self) -> u64 {
        self.next
    }

    /// A process was killed before the operations that it asked for last, those after `number`, were handed over.
    pub(super) fn take_back(&mut self, process: u32, number: u64) {
        let files = &mut self.files;
        self.operations.retain(|of, operation| {
            let keep = *of <= number || operation.shard.process != process;
            if !keep
                && let Some((file, _)) = &operation.flush
                && let Some(file) = files.get_mut(file)
            {
                file.content.abandon_flush();
            }
            keep
        });
    }

    /// A process is gone: what it had submitted takes effect wholly, partly or not at all; its files are closed.
    pub(super) fn kill(&mut self, process: u32, rng: &mut Rng) {
        self.leave(|shard| shard.process == process, rng);
    }

    fn leave(&mut self, whose: impl Fn(ShardKey) -> bool, rng: &mut Rng) {
        let mut numbers: Vec<u64> =
            self.operations.iter().filter(|(_, o)| whose(o.shard)).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            let operation = self.operations.remove(&number).expect("listed above");
            self.cut_short(operation, rng);
        }
        let mut held: Vec<(ShardKey, FileId)> =
            self.handles.keys().filter(|(shard, _)| whose(*shard)).copied().collect();
        held.sort_unstable();
        for holder in held {
            let handle = self.handles.remove(&holder).expect("listed above");
            self.unlock(handle.file, holder);
        }
        self.memory.release(whose);
        self.collect_garbage();
    }

    fn cut_short(&mut self, operation: Operation, rng: &mut Rng) {
        if let Some((file, snapshot)) = operation.flush
            && let Some(file) = self.files.get_mut(&file)
        {
            if rng.one_in(2) {
                file.content.end_flush(&snapshot);
            } else {
                file.content.abandon_flush();
            }
        }
        match operation.op {
            FileOp::Write { file, offset, data, .. } if !operation.applied && operation.outcome.is_none() => {
                let Some(handle) = self.handles.get(&(operation.shard, file)) else { return };
                let number = handle.file;
                let bytes = bytes_of(&data);
                if !handle.options.read_only
                    && self.take_space(number, (offset + bytes.len() as u64).next_multiple_of(PAGE))
                {
                    let content = &mut self.files.get_mut(&number).expect("open files exist").content;
                    write_part(content, offset, bytes, rng);
                }
            }
            op @ (FileOp::Rename { .. }
            | FileOp::Remove(_)
            | FileOp::MakeDir(_)
            | FileOp::SyncDir(_)
            | FileOp::Truncate { .. }
            | FileOp::Allocate { .. })
                if operation.outcome.is_none() && rng.one_in(2) =>
            {
                // Nobody is left to be told how it went.
                drop(self.perform(operation.shard, operation.opens, op));
            }
            _ => {}
        }
    }

    /// The power is cut; every process of the host has been killed before.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        self.memory.power_cut();
        self.names.power_cut(rng);
        self.collect_garbage();
        let mut numbers: Vec<u64> = self.files.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let file = self.files.get_mut(&number).expect("listed above");
            file.content.power_cut(rng);
            file.allocated = file.allocated.max(file.content.bytes().next_multiple_of(PAGE));
        }
    }

    /// All of a file, as readers see it.
    pub(super) fn read_all(&self, path: &Path) -> Option<Vec<u8>> {
        let Some(Node::File(number)) = self.names.get(&absolute(path)) else { return None };
        let content = &self.files[&number].content;
        let mut bytes = vec![0; content.bytes() as usize];
        content.read(0, &mut bytes);
        Some(bytes)
    }

    /// Turns bits of a file over. False if there is no such byte.
    pub(super) fn flip(&mut self, path: &Path, offset: u64, mask: u8) -> bool {
        let Some(Node::File(number)) = self.names.get(&absolute(path)) else { return false };
        let content = &mut self.files.get_mut(&number).expect("named files exist").content;
        let inside = offset < content.bytes();
        if inside {
            content.flip(offset, mask);
        }
        inside
    }

    pub(super) fn list(&self, directory: &Path) -> Vec<crate::DirEntry> {
        let bytes_of = |file| self.files.get(&file).map_or(0, |file| file.content.bytes());
        self.names.list(&absolute(directory), bytes_of).unwrap_or_default()
    }
}

/// All, some pages, or nothing of a write reaches the disk.
fn write_part(content: &mut Content, offset: u64, bytes: &[u8], rng: &mut Rng) {
    match rng.below(4) {
        0 => {}
        1 | 2 => content.write(offset, bytes),
        _ => {
            for (index, page) in bytes.chunks(PAGE_BYTES).enumerate() {
                if rng.one_in(2) {
                    content.write(offset + (index * PAGE_BYTES) as u64, page);
                }
            }
        }
    }
}
