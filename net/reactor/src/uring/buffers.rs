//! Receive buffers that the kernel picks from (a provided-buffer ring).
//!
//! ```text
//!   provide ─→ kernel's ─(receive completion names it)─→ ours, read by Service::handle ─→ provide
//! ```
//! A buffer is the kernel's from [`ReceiveBuffers::provide`] until a completion names it, and ours until it is provided
//! again. The pool lives as long as the ring and on the ring's thread.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::AlignedBuffer;

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

pub(super) struct ReceiveBuffers {
    /// The ring of free buffers that the kernel reads: page-aligned, `count` entries.
    entries: AlignedBuffer,
    memory: AlignedBuffer,
    count: u16,
    bytes_each: usize,
    /// Our copy of the ring's tail; published by [`ReceiveBuffers::publish`].
    tail: u16,
    published: u16,
}

impl ReceiveBuffers {
    /// Registers `count` (a power of two) buffers of `bytes_each` with `ring`, all of them free.
    pub(super) fn new(ring: &Ring, count: u16, bytes_each: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && bytes_each > 0, "{count} buffers of {bytes_each} bytes");
        let entries = AlignedBuffer::zeroed(usize::from(count) * size_of::<BufRingEntry>());
        let memory = AlignedBuffer::zeroed(usize::from(count) * bytes_each);
        // SAFETY: `entries` is page-aligned, zeroed and holds `count` entries. Its memory and that of the buffers is freed
        // by this value's drop; the owner (`Shard`) declares the ring before it, so the ring is closed first, and has
        // by then waited for every receive (see `shutdown`), or leaks this value.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, GROUP, 0)?;
        }
        let mut buffers = Self { entries, memory, count, bytes_each, tail: 0, published: 0 };
        for id in 0..count {
            buffers.provide(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The first `bytes` of buffer `id`, filled by the receive whose completion named it.
    pub(super) fn filled(&self, id: u16, bytes: usize) -> &[u8] {
        assert!(id < self.count && bytes <= self.bytes_each, "{bytes} bytes in buffer {id}");
        let start = usize::from(id) * self.bytes_each;
        &self.memory.as_ref()[start..start + bytes]
    }

    /// Gives buffer `id` back; the kernel sees it after [`ReceiveBuffers::publish`].
    pub(super) fn provide(&mut self, id: u16) {
        assert!(id < self.count, "no buffer {id}");
        // SAFETY: inside the pool's memory: `id < count`.
        let address = unsafe { self.memory.as_ptr().add(usize::from(id) * self.bytes_each) };
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot < count` entries were allocated. The kernel reads only entries between its head and the published
        // tail, and this one lies past that tail: there are `count` buffers, so a free slot exists for each.
        // The setters leave the last two bytes alone, which in entry 0 are the tail itself.
        unsafe {
            let entry = &mut *self.entries.as_ptr().cast::<BufRingEntry>().add(slot);
            entry.set_addr(address as u64);
            entry.set_len(self.bytes_each as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Makes provided buffers visible to the kernel.
    pub(super) fn publish(&mut self) {
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        // SAFETY: the ring's tail is the last field of entry 0, inside the allocation, 2-byte aligned, written by this
        // thread only and read by the kernel with acquire order.
        let tail = unsafe {
            let address = BufRingEntry::tail(self.entries.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(address.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }
}
