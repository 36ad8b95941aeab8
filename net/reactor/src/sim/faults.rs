//! What can be made to go wrong with a disk.

/// Probabilities and slowness of one host's disk; all zero (and speed 1) by default.
#[derive(Debug, Clone)]
pub struct DiskFaults {
    /// A write fails with `EIO`; any part of it may have reached the disk.
    pub write_error: f64,
    /// `fdatasync` or the flush of a durable write fails with `EIO`. What it should have made durable may be so or not, and no
    /// later flush will make it so: the kernel forgets pages whose write-back failed.
    pub sync_error: f64,
    /// A read fails with `EIO`.
    pub read_error: f64,
    /// Every latency is multiplied by this.
    pub slowness: f64,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self { write_error: 0.0, sync_error: 0.0, read_error: 0.0, slowness: 1.0 }
    }
}

/// Kinds of file operation that [`super::World::fail_next`] can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Writes, durable or not.
    Write,
    /// `fdatasync` (a durable write counts as a write).
    Sync,
    /// Reads.
    Read,
    /// Opening.
    Open,
    /// Renaming.
    Rename,
    /// Synchronising a directory.
    SyncDir,
    /// Reserving space.
    Allocate,
    /// Mapping a file that lives in memory.
    Map,
    /// Removing a name.
    Remove,
}

/// Requests for room (new names, files that grow) that a full disk refuses, by number.
#[derive(Debug, Default)]
pub(super) struct NoRoom {
    asked: u64,
    refused: std::ops::Range<u64>,
}

impl NoRoom {
    /// From now on, the requests with these numbers, the next one being 0.
    pub(super) fn set(&mut self, refused: std::ops::Range<u64>) {
        *self = Self { asked: 0, refused };
    }

    /// Requests since then.
    pub(super) fn asked(&self) -> u64 {
        self.asked
    }

    /// Counts a request; whether it is refused.
    pub(super) fn hits(&mut self) -> bool {
        self.asked += 1;
        self.refused.contains(&(self.asked - 1))
    }
}

/// Faults that were asked for one by one.
#[derive(Debug, Default)]
pub(super) struct Scripted(Vec<(FaultKind, String, u32)>);

impl Scripted {
    pub(super) fn add(&mut self, kind: FaultKind, path_contains: &str, count: u32) {
        self.0.push((kind, path_contains.to_owned(), count));
    }

    /// Forgets those that have hit nothing yet.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Operations that are still to fail.
    pub(super) fn pending(&self) -> u32 {
        self.0.iter().map(|(_, _, count)| count).sum()
    }

    /// Whether this operation is to fail.
    pub(super) fn hits(&mut self, kind: FaultKind, path: &str) -> bool {
        let Some(at) = self.0.iter().position(|(k, part, _)| *k == kind && path.contains(part.as_str()))
        else {
            return false;
        };
        self.0[at].2 -= 1;
        if self.0[at].2 == 0 {
            self.0.remove(at);
        }
        true
    }
}
