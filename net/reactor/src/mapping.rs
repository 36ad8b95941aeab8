//! Memory that outlives the process that fills it.
//!
//! A [`Mapping`] is a file on a file system that lives in memory (tmpfs, hugetlbfs), mapped and shared: whatever a process had
//! stored there when it was killed is there for the next one that maps the file. A power cut or a restart of the machine takes it
//! away, and with it the machine's [`Mapping::boot_id`]. [`crate::FileOp::Map`] makes one.
//!
//! The owner of the mapping reads and writes its bytes itself ([`Mapping::bytes`], [`Mapping::write`]), or has pieces of it made
//! into [`crate::Block`]s ([`crate::Io::block_in`]), each byte in one block at most and once at most.
//!
//! A file on tmpfs has holes where nothing was ever stored, and touching one when the memory is used up is a fatal signal. So space is
//! reserved before it is used, by [`Mapping::reserve`] and for every block, and a refusal is an error like any other.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Arc, Mutex, PoisonError};

use crate::PAGE_BYTES;
use crate::block::Memory;

/// What a range of memory belongs to, until the last user lets go.
pub(crate) struct Region {
    start: NonNull<u8>,
    bytes: usize,
    backing: Backing,
}

enum Backing {
    /// Held open for its lock, and to reserve space.
    File(File),
    /// The simulator's: outlives simulated processes.
    Heap { layout: Layout, states: Mutex<Option<Vec<Vec<u8>>>> },
}

// SAFETY: a region is plain memory, the pointer is not tied to a thread. Inside the process, access goes through `Mapping` (unlent
// bytes, by its own borrow rules) and `Block` (lent bytes, single writer); see `Mapping::lend`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `bytes` of a file, shared.
    pub(crate) fn file(file: File, bytes: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours; the result is checked.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("the kernel does not map at address zero");
        Ok(Self { start, bytes, backing: Backing::File(file) })
    }

    /// Zeroed memory of the simulator.
    pub(crate) fn heap(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).expect("size below isize::MAX");
        // SAFETY: the layout has a non-zero size.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, bytes, backing: Backing::Heap { layout, states: Mutex::new(None) } }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Address of a byte inside.
    pub(crate) fn at(&self, place: usize) -> NonNull<u8> {
        assert!(place <= self.bytes, "{place} of {}", self.bytes);
        // SAFETY: inside the region or one past its end (asserted).
        unsafe { self.start.add(place) }
    }

    /// A copy of everything, for the simulator: nobody may be writing.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        // SAFETY: initialised memory of that length. Simulated worlds live on one thread, and no service runs meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }.to_vec()
    }

    /// Replaces bytes behind the owner's back, for the simulator: what is left of the stores of a process that is killed, bit rot.
    pub(crate) fn overwrite(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.bytes, "{at} + {} of {}", bytes.len(), self.bytes);
        // SAFETY: inside the region (asserted); raw pointers only, on the world's thread, while no service runs.
        unsafe { self.at(at).as_ptr().copy_from(bytes.as_ptr(), bytes.len()) }
    }

    /// From now on keeps what the memory holds before every [`Mapping::write`], for the simulator.
    pub(crate) fn record_states(&self) {
        if let Backing::Heap { states, .. } = &self.backing {
            *states.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
        }
    }

    /// What was kept; nothing more is.
    pub(crate) fn take_states(&self) -> Vec<Vec<u8>> {
        let Backing::Heap { states, .. } = &self.backing else { return Vec::new() };
        states.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    fn note_state(&self) {
        if let Backing::Heap { states, .. } = &self.backing
            && let Some(states) = states.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            states.push(self.to_vec());
        }
    }

    fn reserve(&self, from: usize, bytes: usize) -> io::Result<()> {
        let Backing::File(file) = &self.backing else { return Ok(()) };
        let (from, bytes) = (
            libc::off_t::try_from(from).map_err(io::Error::other)?,
            libc::off_t::try_from(bytes).map_err(io::Error::other)?,
        );
        nix::fcntl::fallocate(file, nix::fcntl::FallocateFlags::empty(), from, bytes)?;
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match &self.backing {
            // SAFETY: mapped by `Region::file` with this very length and unmapped once, here; every block in it holds the region.
            Backing::File(_) => unsafe {
                libc::munmap(self.start.as_ptr().cast(), self.bytes);
            },
            // SAFETY: allocated by `Region::heap` with this very layout and freed once, here.
            Backing::Heap { layout, .. } => unsafe { dealloc(self.start.as_ptr(), *layout) },
        }
    }
}

/// See the module's text. Not `Clone`: it alone decides which bytes become blocks. The file stays locked against other users until
/// the mapping and all of its blocks are gone; it stays in its folder until it is removed.
pub struct Mapping {
    region: Arc<Region>,
    boot_id: [u8; 16],
    /// Ranges that became blocks.
    lent: Vec<(usize, usize)>,
}

impl Mapping {
    pub(crate) fn new(region: Arc<Region>, boot_id: [u8; 16]) -> Self {
        Self { region, boot_id, lent: Vec::new() }
    }

    /// Length in bytes: at least what was asked for, rounded up to the file system's unit.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Names the time since the machine was started: what it does not match has been through a restart.
    #[must_use]
    pub fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// Reserves memory for `bytes` at `from`; they can be touched afterwards whatever happens to the rest of the machine's memory.
    ///
    /// # Errors
    /// No memory, or the file system's limit.
    pub fn reserve(&self, from: usize, bytes: usize) -> io::Result<()> {
        assert!(from + bytes <= self.len(), "{from} + {bytes} of {}", self.len());
        self.region.reserve(from, bytes)
    }

    /// Bytes that are reserved and not lent to a block.
    ///
    /// # Panics
    /// If they are lent, or outside.
    #[must_use]
    pub fn bytes(&self, from: usize, to: usize) -> &[u8] {
        self.check(from, to);
        // SAFETY: inside the region and initialised (a file's bytes). Nobody in this process writes there: `write` needs `&mut
        // self`, and no block covers the range (checked). Other processes are kept away by the file's lock and permissions.
        unsafe { std::slice::from_raw_parts(self.region.at(from).as_ptr(), to - from) }
    }

    /// Stores bytes at `at`, which are reserved and not lent. Stores made before the call are not moved behind it by the compiler, nor
    /// later ones before it, so a process that is killed leaves them in that order.
    ///
    /// # Panics
    /// If they are lent, or outside.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.check(at, at + bytes.len());
        self.region.note_state();
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as for `bytes`, and `&mut self` excludes readers.
        unsafe { self.region.at(at).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
        compiler_fence(Ordering::SeqCst);
    }

    fn check(&self, from: usize, to: usize) {
        assert!(from <= to && to <= self.len(), "{from}..{to} of {}", self.len());
        let lent = self.lent.iter().find(|(start, end)| from < *end && *start < to);
        assert!(lent.is_none(), "{from}..{to} is lent: {lent:?}");
    }

    /// Takes a range out of the mapping's own use for ever, for one block.
    pub(crate) fn lend(&mut self, from: usize, bytes: usize) -> io::Result<Memory> {
        assert!(
            bytes > 0 && bytes.is_multiple_of(PAGE_BYTES) && from.is_multiple_of(PAGE_BYTES),
            "{from} + {bytes} is not a number of pages"
        );
        self.check(from, from + bytes);
        self.reserve(from, bytes)?;
        self.lent.push((from, from + bytes));
        Ok(Memory::in_region(&self.region, from, bytes))
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes, {} blocks)", self.len(), self.lent.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    fn mapping(pages: usize) -> Mapping {
        Mapping::new(Arc::new(Region::heap(pages * PAGE_BYTES)), [1; 16])
    }

    #[test]
    fn a_block_keeps_what_it_finds_and_outlives_its_mapping() {
        let mut mapping = mapping(3);
        mapping.write(PAGE_BYTES + 5, b"found");
        let memory = mapping.lend(PAGE_BYTES, 2 * PAGE_BYTES).expect("free");
        let mut block = Block::with_registration(memory, |_| (None, None));
        assert_eq!((block.capacity(), block.published()), (2 * PAGE_BYTES, 0));
        block.publish(10);
        assert_eq!(&block.bytes(5, 10)[..], b"found");
        mapping.write(0, b"still mine");
        assert_eq!(mapping.bytes(0, 10), b"still mine");
        drop(mapping);
        assert_eq!(&block.bytes(5, 10)[..], b"found");
    }

    #[test]
    #[should_panic(expected = "is lent")]
    fn no_byte_is_in_two_blocks() {
        let mut mapping = mapping(3);
        let _one = mapping.lend(0, 2 * PAGE_BYTES).expect("free");
        let _two = mapping.lend(PAGE_BYTES, PAGE_BYTES);
    }

    #[test]
    #[should_panic(expected = "is lent")]
    fn lent_bytes_are_not_read_behind_the_blocks_back() {
        let mut mapping = mapping(2);
        let _block = mapping.lend(PAGE_BYTES, PAGE_BYTES).expect("free");
        let _ = mapping.bytes(PAGE_BYTES - 1, PAGE_BYTES + 1);
    }
}
