//! Page-aligned memory that is filled once from the front and read by many.
//!
//! A [`Block`] is one piece of a log's tail: its owner appends records and publishes them; published bytes never change, so
//! [`Block::bytes`] can hand them out as shared [`Bytes`] while the rest of the block is still being filled, and the
//! driver can write it to disk without a copy.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

use crate::mapping::Region;

/// Unit of direct I/O: offsets, lengths and addresses are multiples of it.
pub const PAGE_BYTES: usize = 4096;

/// Page-aligned memory that nobody else writes. Given back on drop, or when the last user of its region lets go.
pub(crate) struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    owner: Owner,
}

enum Owner {
    Allocator(Layout),
    Region { _held: Arc<Region> },
}

// SAFETY: `Memory` is plain owned memory; the pointer is not tied to a thread. Shared access goes through `Block` and
// `AlignedBuffer`, whose rules (single writer above the published mark, readers below it) exclude data races.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        assert!(
            bytes > 0 && bytes.is_multiple_of(PAGE_BYTES),
            "{bytes} bytes is not a positive number of pages"
        );
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("size below isize::MAX");
        // SAFETY: the layout has a non-zero size (asserted above).
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, bytes, owner: Owner::Allocator(layout) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of a region that the caller lends out this once.
    pub(crate) fn in_region(region: &Arc<Region>, from: usize, bytes: usize) -> Self {
        assert!(from + bytes <= region.len(), "{from} + {bytes} of {}", region.len());
        Self { start: region.at(from), bytes, owner: Owner::Region { _held: Arc::clone(region) } }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Owner::Allocator(layout) = self.owner {
            // SAFETY: `start` came from `alloc_zeroed` with this very layout and is freed once, here.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// A page-aligned buffer for direct reads, and for writes of prepared pages.
pub struct AlignedBuffer {
    memory: Memory,
}

impl AlignedBuffer {
    /// Zeroed; `bytes` is rounded up to whole pages.
    #[must_use]
    pub fn zeroed(bytes: usize) -> Self {
        Self { memory: Memory::new(bytes.max(1).next_multiple_of(PAGE_BYTES)) }
    }

    /// Length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.memory.bytes
    }

    /// Address of the first byte, for drivers.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.memory.start.as_ptr()
    }

    /// Turns the first `bytes` into a shared slice.
    #[must_use]
    pub fn freeze(self, bytes: usize) -> Bytes {
        assert!(bytes <= self.len(), "{bytes} of {}", self.len());
        Bytes::from_owner(self).slice(..bytes)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: initialised (zeroed) memory of that length, owned by self; writers need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.len()) }
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.len()) }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len())
    }
}

/// Undoes what the driver did to lend a block to the kernel (registration), when the last user lets go.
pub(crate) trait Registration: Send + Sync + fmt::Debug {}

struct Shared {
    memory: Memory,
    /// Index among the ring's registered buffers, if registered.
    registered: Option<u16>,
    _registration: Option<Box<dyn Registration>>,
}

/// An append-only block with one writer (this handle, not `Clone`) and any number of readers of what is published.
pub struct Block {
    shared: Arc<Shared>,
    published: usize,
}

impl Block {
    /// Zeroed memory that is not registered. Services use [`crate::Io::block`].
    pub(crate) fn new(bytes: usize) -> Self {
        Self::with_registration(Memory::new(bytes), |_| (None, None))
    }

    /// A block of that memory, nothing of it published, after `register` was given the address and could return a
    /// registered-buffer index.
    pub(crate) fn with_registration(
        memory: Memory,
        register: impl FnOnce(*mut u8) -> (Option<u16>, Option<Box<dyn Registration>>),
    ) -> Self {
        let (registered, registration) = register(memory.start.as_ptr());
        let shared = Arc::new(Shared { memory, registered, _registration: registration });
        Self { shared, published: 0 }
    }

    /// Size in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.memory.bytes
    }

    /// Bytes published so far, from the front.
    #[must_use]
    pub fn published(&self) -> usize {
        self.published
    }

    /// The part that is not published yet: to be filled from the front, then [`Block::publish`]ed.
    pub fn spare(&mut self) -> &mut [u8] {
        let (published, capacity) = (self.published, self.capacity());
        // SAFETY: the range lies inside the allocation and above the published mark. Readers (`bytes`, `Bytes` made by
        // it) stay below the mark; the driver only lends the range to the kernel, which reads it. `&mut self` on the only
        // writer handle makes it exclusive among writers.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.shared.memory.start.as_ptr().add(published),
                capacity - published,
            )
        }
    }

    /// Makes the next `bytes` visible to readers; they never change again.
    ///
    /// # Panics
    /// If they exceed the block.
    pub fn publish(&mut self, bytes: usize) {
        assert!(bytes <= self.capacity() - self.published, "publish {bytes} past {}", self.capacity());
        self.published += bytes;
    }

    /// Published bytes `from..to` by reference. One small allocation; the block lives until the last slice is dropped.
    ///
    /// # Panics
    /// If `to` is not published.
    #[must_use]
    pub fn bytes(&self, from: usize, to: usize) -> Bytes {
        assert!(from <= to && to <= self.published, "{from}..{to} of {} published", self.published);
        Bytes::from_owner(PublishedSlice { shared: Arc::clone(&self.shared), from, to })
    }

    /// Whole pages `from..to` for a write. Bytes above the published mark are written as they happen to be (zero, or a part
    /// of a record that is being added); whoever reads the file must not take them for published.
    ///
    /// # Panics
    /// If the range is empty, not page-aligned or outside the block.
    #[must_use]
    pub fn pages(&self, from: usize, to: usize) -> BlockSlice {
        assert!(from < to && to <= self.capacity(), "{from}..{to} of {}", self.capacity());
        assert!(
            from.is_multiple_of(PAGE_BYTES) && to.is_multiple_of(PAGE_BYTES),
            "{from}..{to} is not page-aligned"
        );
        BlockSlice { shared: Arc::clone(&self.shared), from, to }
    }

    /// Whether nobody else (a slice being sent, a write in flight) holds the block: it can be reset.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }

    /// Empties and zeroes the block for reuse.
    ///
    /// # Panics
    /// If someone still holds a part of it.
    pub fn reset(&mut self) {
        assert!(Arc::get_mut(&mut self.shared).is_some(), "block is in use");
        self.published = 0;
        self.spare().fill(0);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}/{})", self.published, self.capacity())
    }
}

struct PublishedSlice {
    shared: Arc<Shared>,
    from: usize,
    to: usize,
}

impl AsRef<[u8]> for PublishedSlice {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: inside the allocation, initialised, below the published mark (asserted where the slice was made):
        // no one writes there until every slice is gone (`Block::reset` asserts it).
        unsafe {
            std::slice::from_raw_parts(self.shared.memory.start.as_ptr().add(self.from), self.to - self.from)
        }
    }
}

/// Pages of a block on their way to disk. Keeps the block alive.
#[derive(Clone)]
pub struct BlockSlice {
    shared: Arc<Shared>,
    from: usize,
    to: usize,
}

impl BlockSlice {
    /// Length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// Address of the first byte, for drivers.
    pub(crate) fn as_ptr(&self) -> *const u8 {
        // SAFETY: `from` lies inside the allocation.
        unsafe { self.shared.memory.start.as_ptr().add(self.from) }
    }

    /// Index of the registered buffer that contains the slice.
    pub(crate) fn registered(&self) -> Option<u16> {
        self.shared.registered
    }
}

impl fmt::Debug for BlockSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockSlice({}..{})", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_bytes_stay_while_the_block_fills() {
        let mut block = Block::new(PAGE_BYTES);
        block.spare()[..3].copy_from_slice(b"abc");
        block.publish(3);
        let abc = block.bytes(0, 3);
        block.spare()[..3].copy_from_slice(b"def");
        block.publish(3);
        assert_eq!(&abc[..], b"abc");
        assert_eq!(&block.bytes(2, 5)[..], b"cde");
        assert!(!block.is_idle());
        drop(abc);
        assert!(block.is_idle());
        block.reset();
        assert_eq!((block.published(), block.spare()[0]), (0, 0));
    }

    #[test]
    #[should_panic(expected = "published")]
    fn unpublished_bytes_are_not_handed_out() {
        let block = Block::new(PAGE_BYTES);
        let _ = block.bytes(0, 1);
    }
}
