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
//! A window is given up, oldest first, when its block is needed, everything in it is written (copies of it too) in whole batches, and no
//! reader holds a slice of it. Whole batches: recovery finds nothing else on disk, and the next process must find the rest here. Windows that a
//! slow reader holds are skipped over: their block waits aside until it is released.
//!
//! The blocks are the process' own memory, or pieces of a file in memory that outlives it ([`source`], [`layout`]): then the next
//! process finds there what was sealed and not yet written, and a warm cache.

pub(crate) mod identity;
pub(crate) mod layout;
pub(crate) mod source;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{BlockSlice, Io, PAGE_BYTES};
use ringmq_remoting::record::{BLANK_BYTES_MIN, write_blank};

use crate::error::AppendError;
use crate::limits::{BLANK_BYTES, FOOTER_BYTES};
use crate::offset::LogOffset;
use source::{CacheBlock, MappedFile, Source};

/// A block and the part of the log that it holds.
struct Window {
    block: CacheBlock,
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
    /// Start of the next window's first record: up to there this window alone vouches for the log, until it is written.
    end: LogOffset,
}

impl Window {
    fn published_end(&self) -> LogOffset {
        self.start.plus(self.block.block.published())
    }

    fn is_written(&self, complete: LogOffset) -> bool {
        self.sealed.is_some_and(|sealed| sealed.end <= complete)
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

/// A window that the process before this one left behind: verified, written to the log, and complete up to the head.
#[derive(Debug)]
pub(crate) struct AdoptedWindow {
    pub block: CacheBlock,
    pub start: LogOffset,
    pub first: LogOffset,
}

pub(crate) struct TailCache {
    source: Source,
    windows: VecDeque<Window>,
    /// Blocks of windows that were given up while a reader held a slice.
    held: Vec<CacheBlock>,
    /// Emptied ahead of need: zeroing a block takes long for the hot path.
    spare: Option<CacheBlock>,
    /// Blocks that exist: windows, held and spare.
    blocks: usize,
    blocks_max: usize,
    block_bytes: usize,
    head: LogOffset,
    /// End of the segment that the head is in.
    segment_end: LogOffset,
    /// Bytes of the log between the head's page start and the head, until the first window takes them.
    prefix: Bytes,
}

/// What a tail cache starts with.
pub(crate) struct TailStart {
    pub source: Source,
    /// The last one, if any, ends at the head.
    pub adopted: Vec<AdoptedWindow>,
    pub head: LogOffset,
    pub segment_end: LogOffset,
    /// What the head's page holds before it.
    pub prefix: Bytes,
}

impl TailCache {
    /// Behind a log that is written up to its head.
    pub fn new(block_bytes: usize, cache_bytes: usize, start: TailStart) -> Self {
        let TailStart { source, adopted, head, segment_end, prefix } = start;
        assert_eq!(prefix.len() as u64, head.since(head.page_floor()), "the started page of {head}");
        let nexts: Vec<_> = adopted.iter().skip(1).map(|next| next.first).collect();
        let blocks = adopted.len();
        let mut windows: VecDeque<Window> = VecDeque::with_capacity(blocks);
        for (at, AdoptedWindow { block, start, first }) in adopted.into_iter().enumerate() {
            let sealed = nexts.get(at).map(|next| Sealed { write_end: *next, next: *next, end: *next });
            windows.push_back(Window { block, start, first, sealed });
        }
        assert!(
            windows.back().is_none_or(|last| last.published_end() == head),
            "the last one ends at {head}"
        );
        Self {
            source,
            windows,
            held: Vec::new(),
            spare: None,
            blocks,
            blocks_max: cache_bytes / block_bytes,
            block_bytes,
            head,
            segment_end,
            prefix,
        }
    }

    /// Whether what is sealed here survives the process.
    pub fn outlives_process(&self) -> bool {
        self.source.is_mapped()
    }

    /// The file in memory, if there is one.
    pub fn file(&self) -> Option<&MappedFile> {
        match &self.source {
            Source::Memory => None,
            Source::Mapped(file) => Some(file),
        }
    }

    /// Notes, where the next process will look, that everything up to the head is in whole batches.
    pub fn mark(&mut self) {
        self.source.mark(self.head);
    }

    /// End of the log: where the next record goes.
    pub fn head(&self) -> LogOffset {
        self.head
    }

    pub fn block_count(&self) -> usize {
        self.blocks
    }

    /// Makes room for records of `bytes`, a seal and a blank in the newest window, opening a new one if needed.
    /// `complete`: end of the last batch that is written whole, which frees windows.
    pub fn reserve(&mut self, io: &mut dyn Io, bytes: usize, complete: LogOffset) -> Result<(), AppendError> {
        self.ensure(io, bytes + FOOTER_BYTES, complete)
    }

    fn ensure(&mut self, io: &mut dyn Io, bytes: usize, complete: LogOffset) -> Result<(), AppendError> {
        let room = self.windows.back().map_or(0, |w| w.block.block.capacity() - w.block.block.published());
        if bytes <= room {
            return Ok(());
        }
        assert!(bytes + PAGE_BYTES <= self.block_bytes, "{bytes} bytes exceed a block");
        let block = self.block(io, complete)?;
        self.open_window(block);
        Ok(())
    }

    /// Ends the segment with a blank and goes on in the next, which ends at `next_end`, in a new window.
    pub fn roll(
        &mut self,
        io: &mut dyn Io,
        next_end: LogOffset,
        complete: LogOffset,
    ) -> Result<(), AppendError> {
        let blank = self.segment_end.since(self.head);
        // Both blocks before any change: a refusal must leave the log as it was. A window opened in vain changes nothing that is seen.
        self.ensure(io, BLANK_BYTES, complete)?;
        let block = self.block(io, complete)?;
        let next = LogOffset(self.head.0 + blank);
        let last = self.windows.back_mut().expect("reserved");
        let out = last.block.block.spare();
        write_blank(out, u32::try_from(blank).expect("less than a record and its blank"));
        out[BLANK_BYTES_MIN..BLANK_BYTES].copy_from_slice(&self.head.0.to_be_bytes());
        last.block.block.publish(BLANK_BYTES);
        last.sealed = Some(Sealed { write_end: last.published_end().page_ceil(), next, end: next });
        self.head = next;
        self.segment_end = next_end;
        self.source.note(&block, next, next, next_end);
        self.windows.push_back(Window { block, start: next, first: next, sealed: None });
        Ok(())
    }

    /// Where the next record is to be encoded. At least what was reserved.
    pub fn spare(&mut self) -> &mut [u8] {
        self.windows.back_mut().expect("reserved").block.block.spare()
    }

    /// Adds the `bytes` that were encoded into [`TailCache::spare`] to the log.
    pub fn publish(&mut self, bytes: usize) {
        self.windows.back_mut().expect("reserved").block.block.publish(bytes);
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
        window.block.block.bytes(window.place(from), window.place(to))
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
        let pages = window.block.block.pages(window.place(from), window.place(to));
        Some(NextWrite { pages, from, to, written_after })
    }

    /// Empties a block ahead of need, when the newest window is more than half full.
    pub fn prepare_spare(&mut self, io: &mut dyn Io, complete: LogOffset) {
        let needed = self.spare.is_none()
            && self.windows.back().is_some_and(|w| w.block.block.published() * 2 > w.block.block.capacity());
        if needed && let Ok(block) = self.block(io, complete) {
            self.spare = Some(block);
        }
    }

    fn open_window(&mut self, block: CacheBlock) {
        let start = self.head.page_floor();
        self.source.note(&block, start, self.head, self.segment_end);
        let mut window = Window { block, start, first: self.head, sealed: None };
        let prefix = match self.windows.back_mut() {
            Some(last) => {
                last.sealed = Some(Sealed { write_end: start, next: start, end: self.head });
                last.block.block.bytes(last.place(start), last.block.block.published())
            }
            None => std::mem::take(&mut self.prefix),
        };
        window.block.block.spare()[..prefix.len()].copy_from_slice(&prefix);
        window.block.block.publish(prefix.len());
        assert_eq!(window.published_end(), self.head);
        self.windows.push_back(window);
    }

    /// An empty block: the spare one, one that a reader released, a new one, or that of the oldest window that can go.
    fn block(&mut self, io: &mut dyn Io, complete: LogOffset) -> Result<CacheBlock, AppendError> {
        if let Some(block) = self.spare.take() {
            return Ok(block);
        }
        if let Some(place) = self.held.iter().position(|held| held.block.is_idle()) {
            let mut block = self.held.swap_remove(place);
            block.reset(&mut self.source);
            return Ok(block);
        }
        let mut refused: Option<io::Error> = None;
        if self.blocks < self.blocks_max {
            match self.source.take(io, self.block_bytes) {
                Ok(Some(block)) => {
                    self.blocks += 1;
                    return Ok(block);
                }
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        let free =
            self.windows.iter().take_while(|w| w.is_written(complete)).position(|w| w.block.block.is_idle());
        if let Some(free) = free {
            self.held.extend(self.windows.drain(..free).map(|w| w.block));
            let mut block = self.windows.pop_front().expect("position is inside").block;
            block.reset(&mut self.source);
            return Ok(block);
        }
        Err(match refused {
            Some(source) => AppendError::Memory { source: Arc::new(source) },
            None => AppendError::TailCacheFull { unwritten_bytes: self.head.since(complete) },
        })
    }
}
