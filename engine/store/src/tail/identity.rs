//! Which file in memory belongs to a store.
//!
//! The folder of a store says so itself, in the file `tail-cache`: the store's name, drawn once, the name of its newest *life* (from
//! one opening to the next), and where that life keeps its tail cache. A file in memory that names another store or another life is none
//! of ours, or stale: everything in it that counts has been written to the log since, or never will be.
//!
//! Two pages, written in turn and durably, like the checkpoint; a torn write damages one.
//!
//! ```text
//!   0 magic 8 │ 8 version 4 │ 12 shard 2 │ 14 path length 2 │ 16 sequence 8 │ 24 store 16 │ 40 life 16 │ 56 path
//!   4092 CRC-32 of bytes 0..4092, 4
//! ```
//! A copy of a store's folder carries its name along: the copy needs its own, so remove the file `tail-cache` from it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringmq_reactor::{AlignedBuffer, PAGE_BYTES};

use super::layout::Id;

pub(crate) const FILE_NAME: &str = "tail-cache";
const MAGIC: u64 = u64::from_be_bytes(*b"RingMQti");
const VERSION: u32 = 1;
const PATH_AT: usize = 56;
const CRC_AT: usize = PAGE_BYTES - 4;
/// Longest path that is kept; the system's own limit is one more.
const PATH_BYTES_MAX: usize = CRC_AT - PATH_AT;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub shard: u16,
    /// Counts lives; its lowest bit names the page.
    pub sequence: u64,
    pub store: Id,
    pub life: Id,
    /// The file in memory; `None`: that life has none.
    pub path: Option<PathBuf>,
}

impl Identity {
    /// The name of this store's file in a folder.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("ringmq-{:032x}-{:02}", u128::from_be_bytes(self.store), self.shard))
    }

    /// The page for this life's turn, and its place in the file.
    ///
    /// # Panics
    /// If the path is longer than the system's limit.
    pub fn encode(&self) -> (u64, AlignedBuffer) {
        let path = self.path.as_deref().map_or(&[][..], |path| path.as_os_str().as_bytes());
        assert!(path.len() <= PATH_BYTES_MAX, "a path of {} bytes", path.len());
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        let bytes = page.as_mut();
        bytes[0..8].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.shard.to_be_bytes());
        bytes[14..16].copy_from_slice(&(path.len() as u16).to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..40].copy_from_slice(&self.store);
        bytes[40..56].copy_from_slice(&self.life);
        bytes[PATH_AT..PATH_AT + path.len()].copy_from_slice(path);
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        (self.sequence % 2 * PAGE_BYTES as u64, page)
    }

    /// The newer of the valid pages in the file's bytes.
    pub fn newest(file: &[u8]) -> Option<Self> {
        file.chunks_exact(PAGE_BYTES).take(2).filter_map(Self::decode).max_by_key(|i| i.sequence)
    }

    fn decode(page: &[u8]) -> Option<Self> {
        let crc = u32::from_be_bytes(page[CRC_AT..].try_into().expect("4 bytes"));
        let version = u32::from_be_bytes(page[8..12].try_into().expect("4 bytes"));
        let magic = u64::from_be_bytes(page[0..8].try_into().expect("8 bytes"));
        if crc32fast::hash(&page[..CRC_AT]) != crc || magic != MAGIC || version != VERSION {
            return None;
        }
        let path_bytes = usize::from(u16::from_be_bytes([page[14], page[15]]));
        let path = page[PATH_AT..CRC_AT].get(..path_bytes)?;
        Some(Self {
            shard: u16::from_be_bytes([page[12], page[13]]),
            sequence: u64::from_be_bytes(page[16..24].try_into().expect("8 bytes")),
            store: page[24..40].try_into().expect("16 bytes"),
            life: page[40..56].try_into().expect("16 bytes"),
            path: (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_valid_page_counts() {
        let identity = |sequence, path: Option<&str>| Identity {
            shard: 3,
            sequence,
            store: [5; 16],
            life: [sequence as u8; 16],
            path: path.map(PathBuf::from),
        };
        let mut file = vec![0; 2 * PAGE_BYTES];
        for one in [identity(6, Some("/dev/shm/x")), identity(7, None)] {
            let (at, page) = one.encode();
            file[at as usize..][..PAGE_BYTES].copy_from_slice(page.as_ref());
        }
        assert_eq!(Identity::newest(&file), Some(identity(7, None)));
        for byte in [PAGE_BYTES + 20, 2 * PAGE_BYTES - 1] {
            let mut bad = file.clone();
            bad[byte] ^= 1;
            assert_eq!(Identity::newest(&bad), Some(identity(6, Some("/dev/shm/x"))));
        }
        assert_eq!(Identity::newest(&[]), None);
        assert_eq!(Identity::newest(&file[..100]), None);
        let name = identity(1, None).path_in(Path::new("/dev/shm"));
        assert_eq!(name, Path::new("/dev/shm/ringmq-05050505050505050505050505050505-03"));
    }
}
