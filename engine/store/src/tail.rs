//! The tail cache: the newest part of the log, in a ring of blocks.
//!
//! Each block is a *window* over the log. Windows overlap by the started page, so that every record lies whole in one window, and
//! every page of the log is written from one window:
//!
//! ```text
//!   log pages       │ 0      │ 1      │ 2      │ 3      │ 4 …
//!   records         ▕aaaa▕bbbbbbbb▕ccccccc▕ddddddddd▕eee
//!   window k        ▕aaaa▕bbbbbbbb▕ccccccc▕············        d did not fit into the block
//!   window k+1                         ▕ccc▕ddddddddd▕eee …    starts at c's page, with a copy of its bytes so far
//!   written from k  │ 0      │ 1      │                        page 2 is written again from k+1, complete
//! ```
//!
//! So a record is encoded once, read as one slice, and written without a copy; the price is a copy of less than a page per
//! block, and the unused end of each block (memory, not disk).
//!
//! A window is given up, oldest first, when its block is needed, everything in it is written, and no reader holds a slice of
//! it. Windows that a slow reader holds are skipped over: their block waits aside until it is released.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{Block, BlockSlice, Io, PAGE_BYTES};
use ringmq_remoting::record::{BLANK_BYTES_MIN, write_blank};

use crate::error::AppendError;
use crate::limits::{BLANK_BYTES, FOOTER_BYTES};
use crate::offset::LogOffset;

/// A block and the part of the log that it holds.
struct Window {
    block: Block,
    /// Log position of the block's first byte; page-aligned.
    start: LogOffset,
    /// Start of the first record of this window (behind the copied part of a page).
    first: LogOffset,
    /// Set when the next window was opened.
    sealed: Option<Sealed>,
}

#[derive(Clone, Copy)]
struct Sealed {
    /// Pages from here on are not written from this window.
    write_end: LogOffset,
    /// How far the log is written when `write_end` is reached: the same position, or, behind a blank, the next segment's start.
    next: LogOffset,
}

impl Window {
    fn published_end(&self) -> LogOffset {
        self.start.plus(self.block.published())
    }

    fn is_written(&self, written: LogOffset) -> bool {
        self.sealed.is_some_and(|sealed| sealed.next <= written)
    }

    fn place(&self, at: LogOffset) -> usize {
        usize::try_from(at.since(self.start)).expect("a block is smaller than the address space")
    }
}

/// Pages to be written next.
#[derive(Debug)]
pub(crate) struct NextWrite {
    pub pages: BlockSlice,
    /// Page-aligned start and end in the log.
    pub from: LogOffset,
    pub to: LogOffset,
    /// How far the log is written when this write has completed.
    pub written_after: LogOffset,
}

/// Which window holds a record; valid until the tail cache changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WindowIndex(usize);

pub(crate) struct TailCache {
    windows: VecDeque<Window>,
    /// Blocks of windows that were given up while a reader held a slice.
    held: Vec<Block>,
    /// Emptied ahead of need: zeroing a block takes long for the hot path.
    spare: Option<Block>,
    /// Blocks that exist: windows, held and spare.
    blocks: usize,
    blocks_max: usize,
    block_bytes: usize,
    head: LogOffset,
    /// Bytes of the log between the head's page start and the head, until the first window takes them.
    prefix: Bytes,
}

impl TailCache {
    /// Empty, behind a log that ends at `head`; `prefix` is what the head's page holds before it.
    pub fn new(block_bytes: usize, cache_bytes: usize, head: LogOffset, prefix: Bytes) -> Self {
        assert_eq!(prefix.len() as u64, head.since(head.page_floor()), "the started page of {head}");
        Self {
            windows: VecDeque::new(),
            held: Vec::new(),
            spare: None,
            blocks: 0,
            blocks_max: cache_bytes / block_bytes,
            block_bytes,
            head,
            prefix,
        }
    }

    /// End of the log: where the next record goes.
    pub fn head(&self) -> LogOffset {
        self.head
    }

    pub fn block_count(&self) -> usize {
        self.blocks
    }

    /// Makes room for records of `bytes`, a seal and a blank in the newest window, opening a new one if needed.
    /// `written`: how far the log is written, which frees windows.
    pub fn reserve(&mut self, io: &mut dyn Io, bytes: usize, written: LogOffset) -> Result<(), AppendError> {
        self.ensure(io, bytes + FOOTER_BYTES, written)
    }

    fn ensure(&mut self, io: &mut dyn Io, bytes: usize, written: LogOffset) -> Result<(), AppendError> {
        let room = self.windows.back().map_or(0, |w| w.block.capacity() - w.block.published());
        if bytes <= room {
            return Ok(());
        }
        assert!(bytes + PAGE_BYTES <= self.block_bytes, "{bytes} bytes exceed a block");
        let block = self.block(io, written)?;
        self.open_window(block);
        Ok(())
    }

    /// Ends the segment with a blank of `blank` bytes and goes on at its end, in a new window.
    pub fn roll(&mut self, io: &mut dyn Io, blank: u64, written: LogOffset) -> Result<(), AppendError> {
        // Both blocks before any change: a refusal must leave the log as it was. A window opened in vain changes nothing that is seen.
        self.ensure(io, BLANK_BYTES, written)?;
        let block = self.block(io, written)?;
        let next = LogOffset(self.head.0 + blank);
        let last = self.windows.back_mut().expect("reserved");
        let out = last.block.spare();
        write_blank(out, u32::try_from(blank).expect("less than a record and its blank"));
        out[BLANK_BYTES_MIN..BLANK_BYTES].copy_from_slice(&self.head.0.to_be_bytes());
        last.block.publish(BLANK_BYTES);
        last.sealed = Some(Sealed { write_end: last.published_end().page_ceil(), next });
        self.head = next;
        self.windows.push_back(Window { block, start: next, first: next, sealed: None });
        Ok(())
    }

    /// Where the next record is to be encoded. At least what was reserved.
    pub fn spare(&mut self) -> &mut [u8] {
        self.windows.back_mut().expect("reserved").block.spare()
    }

    /// Adds the `bytes` that were encoded into [`TailCache::spare`] to the log.
    pub fn publish(&mut self, bytes: usize) {
        self.windows.back_mut().expect("reserved").block.publish(bytes);
        self.head = self.head.plus(bytes);
    }

    /// Start of the oldest record that is here; everything from it to the head is.
    pub fn oldest(&self) -> LogOffset {
        self.windows.front().map_or(self.head, |w| w.first)
    }

    /// The window that holds the record starting at `at`, which must not be below [`TailCache::oldest`].
    pub fn locate(&self, at: LogOffset) -> Option<WindowIndex> {
        let after = self.windows.partition_point(|w| w.first <= at);
        let place = after.checked_sub(1)?;
        (at < self.windows[place].published_end()).then_some(WindowIndex(place))
    }

    /// Published bytes of a window, by reference.
    ///
    /// # Panics
    /// If the window does not hold all of them.
    pub fn slice(&self, window: WindowIndex, from: LogOffset, to: LogOffset) -> Bytes {
        let window = &self.windows[window.0];
        window.block.bytes(window.place(from), window.place(to))
    }

    /// Everything that a window has from `from` on.
    pub fn slice_to_end(&self, window: WindowIndex, from: LogOffset) -> Bytes {
        self.slice(window, from, self.windows[window.0].published_end())
    }

    /// The pages to write after `written`, at most `bytes_max` of them and none at or beyond `limit` (page-aligned).
    pub fn next_write(&self, written: LogOffset, bytes_max: usize, limit: LogOffset) -> Option<NextWrite> {
        let from = written.page_floor();
        let after = self.windows.partition_point(|w| w.start <= from);
        let window = &self.windows[after.checked_sub(1)?];
        let (end, next) = match window.sealed {
            Some(sealed) => (sealed.write_end, sealed.next),
            None => (window.published_end(), window.published_end()),
        };
        if written >= end {
            return None;
        }
        let to = end.page_ceil().min(from.plus(bytes_max)).min(limit);
        if to <= from {
            return None;
        }
        let written_after = if to >= end { next } else { to };
        let pages = window.block.pages(window.place(from), window.place(to));
        Some(NextWrite { pages, from, to, written_after })
    }

    /// Empties a block ahead of need, when the newest window is more than half full.
    pub fn prepare_spare(&mut self, io: &mut dyn Io, written: LogOffset) {
        let needed = self.spare.is_none()
            && self.windows.back().is_some_and(|w| w.block.published() * 2 > w.block.capacity());
        if needed && let Ok(block) = self.block(io, written) {
            self.spare = Some(block);
        }
    }

    fn open_window(&mut self, block: Block) {
        let start = self.head.page_floor();
        let mut window = Window { block, start, first: self.head, sealed: None };
        let prefix = match self.windows.back_mut() {
            Some(last) => {
                last.sealed = Some(Sealed { write_end: start, next: start });
                last.block.bytes(last.place(start), last.block.published())
            }
            None => std::mem::take(&mut self.prefix),
        };
        window.block.spare()[..prefix.len()].copy_from_slice(&prefix);
        window.block.publish(prefix.len());
        assert_eq!(window.published_end(), self.head);
        self.windows.push_back(window);
    }

    /// An empty block: the spare one, one that a reader released, a new one, or that of the oldest window that can go.
    fn block(&mut self, io: &mut dyn Io, written: LogOffset) -> Result<Block, AppendError> {
        if let Some(block) = self.spare.take() {
            return Ok(block);
        }
        if let Some(place) = self.held.iter().position(Block::is_idle) {
            let mut block = self.held.swap_remove(place);
            block.reset();
            return Ok(block);
        }
        let mut refused: Option<io::Error> = None;
        if self.blocks < self.blocks_max {
            match io.block(self.block_bytes) {
                Ok(block) => {
                    self.blocks += 1;
                    return Ok(block);
                }
                Err(error) => refused = Some(error),
            }
        }
        let free = self.windows.iter().take_while(|w| w.is_written(written)).position(|w| w.block.is_idle());
        if let Some(free) = free {
            self.held.extend(self.windows.drain(..free).map(|w| w.block));
            let mut block = self.windows.pop_front().expect("position is inside").block;
            block.reset();
            return Ok(block);
        }
        Err(match refused {
            Some(source) => AppendError::Memory { source: Arc::new(source) },
            None => AppendError::TailCacheFull { unwritten_bytes: self.head.since(written) },
        })
    }
}
