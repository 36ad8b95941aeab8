//! Buffers for reads that follow one another, used again instead of given back to the allocator.
//!
//! Memory of this size comes fresh from the kernel each time it is asked for: zeroed, a fault for every page, and unmapped again when
//! it is dropped. For a reader of old data that cost as much as sending what it read.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use crate::AlignedBuffer;

/// Keeps a bounded number of buffers of one size. Buffers may come back on any thread.
pub struct BufferPool {
    bytes: usize,
    idle: Arc<ArrayQueue<AlignedBuffer>>,
}

impl BufferPool {
    /// Buffers of `bytes`, rounded up to whole pages, at most `idle_max` of them kept while nobody uses them.
    ///
    /// # Panics
    /// If `idle_max` is zero.
    #[must_use]
    pub fn new(bytes: usize, idle_max: usize) -> Self {
        Self { bytes, idle: Arc::new(ArrayQueue::new(idle_max)) }
    }

    /// A buffer whose content is whatever its last user left there, zeros at first: to be filled before it is looked at.
    #[must_use]
    pub fn take(&self) -> AlignedBuffer {
        self.idle.pop().unwrap_or_else(|| AlignedBuffer::zeroed(self.bytes))
    }

    /// Turns the first `bytes` of a buffer of this pool into a shared slice. The buffer comes back when the last slice of it is
    /// dropped; of what is more than the pool keeps, the memory is given back.
    ///
    /// # Panics
    /// If the buffer is shorter than `bytes`, or not of the pool's size.
    #[must_use]
    pub fn freeze(&self, buffer: AlignedBuffer, bytes: usize) -> Bytes {
        assert!(bytes <= buffer.len(), "{bytes} of {}", buffer.len());
        assert_eq!(
            buffer.len(),
            self.bytes.max(1).next_multiple_of(crate::PAGE_BYTES),
            "a buffer of this pool"
        );
        let lent = Lent { buffer: Some(buffer), home: Arc::clone(&self.idle) };
        Bytes::from_owner(lent).slice(..bytes)
    }
}

/// A buffer that goes home when it is dropped.
struct Lent {
    /// There until the drop.
    buffer: Option<AlignedBuffer>,
    home: Arc<ArrayQueue<AlignedBuffer>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], AsRef::as_ref)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // A full pool refuses it, and so it is dropped.
            let _ = self.home.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE_BYTES;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let pool = BufferPool::new(PAGE_BYTES, 1);
        let mut buffer = pool.take();
        buffer.as_mut()[..3].copy_from_slice(b"abc");
        let at = buffer.as_ptr();
        let all = pool.freeze(buffer, 3);
        let part = all.slice(1..);
        drop(all);
        let other = pool.take();
        assert_ne!(other.as_ptr(), at, "a slice still reads it");
        assert_eq!(&part[..], b"bc");
        drop(part);
        let again = pool.take();
        assert_eq!(again.as_ptr(), at);
        drop(pool.freeze(again, 0));
        drop(pool.freeze(other, 0));
        assert_eq!(pool.idle.len(), 1, "no more are kept than was said");
    }

    #[test]
    #[should_panic(expected = "of this pool")]
    fn strange_buffers_are_refused() {
        let pool = BufferPool::new(PAGE_BYTES, 1);
        let _ = pool.freeze(AlignedBuffer::zeroed(2 * PAGE_BYTES), 1);
    }
}
