//! Blocks registered with a ring: the kernel pins their pages once instead of for every write.
//!
//! The table is sparse. A slot is taken by [`BlockTable::block`] and given up when the last holder of the block lets go,
//! on whatever thread: that thread only notes the slot's number, the shard clears it in its next turn, because
//! a `SINGLE_ISSUER` ring takes registrations from its own thread only. Between the two, the kernel keeps the *pages* pinned
//! although the *addresses* are already freed; that is sound, since only an operation naming the slot could reach them,
//! and operations hold their block.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::ring::Ring;
use crate::block::{Memory, Registration};
use crate::{Block, BlockSlice};

#[derive(Debug, Default)]
struct Released {
    any: AtomicBool,
    slots: Mutex<Vec<u16>>,
}

/// Lives in a block; dropped with it.
#[derive(Debug)]
struct Slot {
    index: u16,
    released: Arc<Released>,
}

impl Registration for Slot {}

impl Drop for Slot {
    fn drop(&mut self) {
        self.released.slots.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        self.released.any.store(true, Ordering::Release);
    }
}

#[derive(Clone, Copy, Default)]
struct Range {
    start: usize,
    end: usize,
}

pub(super) struct BlockTable {
    /// What each slot of this ring's table covers; empty if the kernel has no table for us.
    slots: Vec<Range>,
    free: Vec<u16>,
    released: Arc<Released>,
    warned: bool,
    /// Registration calls made.
    pub(super) calls: u64,
}

impl BlockTable {
    /// Makes a table of `slots`. Without kernel support or memory for it, blocks are plain memory.
    pub(super) fn new(ring: &Ring, slots: u16) -> Self {
        let mut table = Self {
            slots: Vec::new(),
            free: Vec::new(),
            released: Arc::new(Released::default()),
            warned: false,
            calls: 0,
        };
        if slots == 0 {
            return table;
        }
        match ring.submitter().register_buffers_sparse(u32::from(slots)) {
            Ok(()) => {
                table.slots = vec![Range::default(); usize::from(slots)];
                table.free = (0..slots).rev().collect();
            }
            Err(error) => {
                tracing::warn!(%error, "no registered buffers: log writes pin their pages one by one");
            }
        }
        table
    }

    /// Makes a block of that memory, registered if possible.
    pub(super) fn block(&mut self, ring: &Ring, memory: Memory) -> Block {
        self.reclaim(ring);
        let bytes = memory.bytes();
        let Some(index) = self.free.pop() else {
            return Block::with_registration(memory, |_| (None, None));
        };
        let mut failed = None;
        let block = Block::with_registration(memory, |start| match update(ring, index, start, bytes) {
            Ok(()) => {
                self.slots[usize::from(index)] = Range { start: start as usize, end: start as usize + bytes };
                (Some(index), Some(Box::new(Slot { index, released: Arc::clone(&self.released) }) as _))
            }
            Err(error) => {
                failed = Some(error);
                (None, None)
            }
        });
        self.calls += 1;
        if let Some(error) = failed {
            self.free.push(index);
            if !std::mem::replace(&mut self.warned, true) {
                let limit = super::probe::locked_memory_limit();
                tracing::warn!(
                    %error, bytes, %limit,
                    "a log block cannot be registered and is written as plain memory; raise the locked-memory limit \
                     (LimitMEMLOCK= of the service unit, ulimit -l, --ulimit memlock= of the container)"
                );
            }
        }
        block
    }

    /// The slot through which `slice` can be written on *this* ring: a block may have been made on another shard.
    pub(super) fn slot_of(&self, slice: &BlockSlice) -> Option<u16> {
        let index = slice.registered()?;
        let range = self.slots.get(usize::from(index))?;
        let start = slice.as_ptr() as usize;
        (range.start <= start && start + slice.len() <= range.end).then_some(index)
    }

    /// Clears the slots of blocks that are gone. Once a turn; one load when there is nothing to do.
    pub(super) fn reclaim(&mut self, ring: &Ring) {
        if !self.released.any.load(Ordering::Relaxed) || !self.released.any.swap(false, Ordering::Acquire) {
            return;
        }
        let slots = std::mem::take(&mut *self.released.slots.lock().unwrap_or_else(PoisonError::into_inner));
        for index in slots {
            self.calls += 1;
            self.slots[usize::from(index)] = Range::default();
            match update(ring, index, std::ptr::null_mut(), 0) {
                Ok(()) => self.free.push(index),
                // The slot stays taken: its pages remain pinned, nothing else is lost.
                Err(error) => tracing::warn!(%error, index, "a registered buffer cannot be given back"),
            }
        }
    }
}

fn update(ring: &Ring, index: u16, start: *mut u8, bytes: usize) -> io::Result<()> {
    let range = libc::iovec { iov_base: start.cast(), iov_len: bytes };
    // SAFETY: either an empty range, which clears the slot, or the memory of a block that outlives every operation on the
    // slot: operations are built from slices of the block and hold it (`slot_of` checks that the slot is the slice's own).
    unsafe { ring.submitter().register_buffers_update(u32::from(index), &[range], None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE_BYTES;

    #[test]
    fn slots_come_back_from_blocks_dropped_on_other_threads() {
        let ring = Ring::new(8).expect("a ring");
        let mut table = BlockTable::new(&ring, 2);
        for _ in 0..10 {
            let [one, two, three] = [(); 3].map(|()| table.block(&ring, Memory::new(2 * PAGE_BYTES)));
            let slices = [&one, &two, &three].map(|block| block.pages(PAGE_BYTES, 2 * PAGE_BYTES));
            let slots = slices.each_ref().map(|slice| table.slot_of(slice));
            assert!(slots[0].is_some() && slots[1].is_some() && slots[0] != slots[1], "{slots:?}");
            assert_eq!(slots[2], None, "a table of two");
            std::thread::spawn(move || drop((one, two))).join().expect("dropped");
            table.reclaim(&ring);
            assert_eq!(table.free.len(), 0, "the slices still hold their blocks");
            std::thread::spawn(move || drop((slices, three))).join().expect("dropped");
            table.reclaim(&ring);
            assert_eq!(table.free.len(), 2);
        }
    }

    #[test]
    fn a_block_of_another_ring_is_written_as_plain_memory() {
        let (one, other) = (Ring::new(8).expect("a ring"), Ring::new(8).expect("a ring"));
        let (mut table, mut other_table) = (BlockTable::new(&one, 2), BlockTable::new(&other, 2));
        let block = table.block(&one, Memory::new(PAGE_BYTES));
        let _same_slot = other_table.block(&other, Memory::new(PAGE_BYTES));
        let slice = block.pages(0, PAGE_BYTES);
        assert!(table.slot_of(&slice).is_some());
        assert_eq!(other_table.slot_of(&slice), None);
    }
}
