//! The tail of the log as the process before this one left it in memory: put together from windows, read batch by batch. Pure.

use ringmq_reactor::Mapping;

use super::walk::{Invalid, Step, step};
use crate::limits::{BATCH_BYTES_MAX, BLANK_BYTES};
use crate::offset::LogOffset;
use crate::seal::{SEAL_BYTES, SEAL_MAGIC};
use crate::tail::layout::{Layout, SLOT_BYTES, Slot, newest_mark};

/// Bytes taken from a window at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What a file in memory holds of the log.
pub(super) struct Image<'a> {
    mapping: &'a Mapping,
    layout: Layout,
    /// By their first records.
    windows: Vec<Slot>,
    /// Up to where everything was sealed; `None`: damaged.
    pub mark: Option<LogOffset>,
    /// Slots that say nothing: of windows that were just being opened, or damaged.
    pub unreadable: usize,
}

impl<'a> Image<'a> {
    /// `mapping` has a valid header with that layout.
    pub fn new(mapping: &'a Mapping, layout: Layout) -> Self {
        let mut windows = Vec::new();
        let mut unreadable = 0;
        for block in 0..layout.blocks {
            let at = layout.slot_at(block);
            match Slot::decode(mapping.bytes(at, at + SLOT_BYTES), block) {
                Ok(slot) => windows.extend(slot),
                Err(()) => unreadable += 1,
            }
        }
        windows.sort_unstable_by_key(|slot| (slot.first, slot.start));
        let marks = mapping.bytes(ringmq_reactor::PAGE_BYTES, 2 * ringmq_reactor::PAGE_BYTES);
        let mark = newest_mark(marks).map(|(_, sealed)| sealed);
        Self { mapping, layout, windows, mark, unreadable }
    }

    /// Start of the oldest record.
    pub fn oldest(&self) -> Option<LogOffset> {
        self.windows.first().map(|slot| slot.first)
    }

    /// Nothing in here lies at or beyond this.
    pub fn end_max(&self) -> LogOffset {
        let ends = self.windows.iter().map(|slot| slot.start.plus(self.layout.block_bytes));
        // A roll leads to the end of its segment without a byte of it being here.
        ends.chain(self.windows.iter().map(|slot| slot.segment_end)).max().unwrap_or_default()
    }

    /// The place of the window that holds the byte at `at`, and where what it holds ends at the latest.
    fn window_of(&self, at: LogOffset) -> Option<(usize, LogOffset)> {
        let place = self.windows.partition_point(|slot| slot.first <= at).checked_sub(1)?;
        let end = self.limit(place);
        (at < end).then_some((place, end))
    }

    fn limit(&self, place: usize) -> LogOffset {
        let full = self.windows[place].start.plus(self.layout.block_bytes);
        self.windows.get(place + 1).map_or(full, |next| full.min(next.first))
    }

    fn bytes(&self, slot: &Slot, from: LogOffset, to: LogOffset) -> &'a [u8] {
        let place = |at: LogOffset| {
            let inside = usize::try_from(at.since(slot.start)).expect("inside a block");
            self.layout.block_at(slot.block) + inside
        };
        self.mapping.bytes(place(from), place(to))
    }

    /// Reads from a position where a batch starts.
    pub fn walk(&self, at: LogOffset) -> Walk<'_, 'a> {
        Walk { image: self, at, filled: at, buffer: Vec::new(), used: 0, blank: [0; BLANK_BYTES] }
    }

    /// From where on everything up to `head` is here in whole batches, as the windows that hold it: what a reader may be given.
    /// `None`: nothing is.
    pub fn warm(&self, head: LogOffset) -> Option<Vec<Slot>> {
        let last = self.windows.partition_point(|slot| slot.first <= head).checked_sub(1)?;
        let newest = self.windows[last];
        if head >= newest.segment_end || head.since(newest.start) > self.layout.block_bytes as u64 {
            return None;
        }
        (0..=last).find_map(|oldest| {
            // The oldest window mostly begins inside a batch.
            let first = self.windows[oldest].first;
            let from =
                [Some(first), self.walk(first).skip_to_boundary()].into_iter().flatten().find(|from| {
                    let mut walk = self.walk(*from);
                    while walk.at < head && walk.next().is_ok() {}
                    *from < head && walk.at == head
                })?;
            let (place, _) = self.window_of(from)?;
            let mut windows = self.windows[place..=last].to_vec();
            windows[0].first = from;
            Some(windows)
        })
    }

    /// How much of an adopted window is the log's.
    pub fn published(&self, slot: &Slot, next: Option<&Slot>, head: LogOffset) -> usize {
        let end = next.map_or(head, |next| next.first);
        usize::try_from(end.since(slot.start)).unwrap_or(usize::MAX).min(self.layout.block_bytes)
    }
}

/// A whole piece of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// Records of that many bytes and their seal.
    Batch { record_bytes: usize, records: u32 },
    /// The end of a segment.
    Blank,
}

pub(super) struct Walk<'i, 'a> {
    image: &'i Image<'a>,
    /// End of the last piece.
    pub at: LogOffset,
    /// Log position of the buffer's end.
    filled: LogOffset,
    /// Taken and not walked over: `buffer[used..]`.
    buffer: Vec<u8>,
    used: usize,
    /// The last blank.
    blank: [u8; BLANK_BYTES],
}

impl Walk<'_, '_> {
    /// End of the segment that the walk has come to.
    pub fn segment_end(&self) -> Option<LogOffset> {
        let (place, _) = self.image.window_of(self.at)?;
        Some(self.image.windows[place].segment_end)
    }

    /// The next piece and its bytes; the walk stands behind it afterwards. `Err`: why there is none.
    pub fn next(&mut self) -> Result<(Piece, &[u8]), Invalid> {
        loop {
            let Some(segment_end) = self.segment_end() else { return Err(Invalid::Zeros) };
            match step(&self.buffer[self.used..], self.at, segment_end.since(self.at)) {
                Step::Batch { record_bytes, records } => {
                    let bytes = record_bytes + SEAL_BYTES;
                    let from = self.used;
                    self.used += bytes;
                    self.at = self.at.plus(bytes);
                    return Ok((Piece::Batch { record_bytes, records }, &self.buffer[from..from + bytes]));
                }
                Step::Blank => {
                    self.blank.copy_from_slice(&self.buffer[self.used..self.used + BLANK_BYTES]);
                    self.buffer.clear();
                    (self.used, self.at, self.filled) = (0, segment_end, segment_end);
                    return Ok((Piece::Blank, &self.blank));
                }
                Step::More if self.fill() => {}
                Step::More => return Err(Invalid::Unsealed),
                Step::Stop(invalid) => return Err(invalid),
            }
        }
    }

    /// The start of the first batch at or behind here; nothing is verified.
    fn skip_to_boundary(mut self) -> Option<LogOffset> {
        loop {
            while self.buffer.len() - self.used < BLANK_BYTES {
                if !self.fill() {
                    return None;
                }
            }
            let word = |at: usize| self.buffer[self.used + at..][..4].try_into().expect("4 bytes");
            let (size, magic) = (u32::from_be_bytes(word(0)) as usize, u32::from_be_bytes(word(4)));
            if !(BLANK_BYTES..=BATCH_BYTES_MAX).contains(&size) {
                return None;
            }
            if magic == SEAL_MAGIC {
                return Some(self.at.plus(size));
            }
            while self.buffer.len() - self.used < size {
                if !self.fill() {
                    return None;
                }
            }
            self.used += size;
            self.at = self.at.plus(size);
        }
    }

    /// Takes more of the log; false if there is none.
    fn fill(&mut self) -> bool {
        let Some((place, end)) = self.image.window_of(self.filled) else { return false };
        let to = self.filled.plus(PIECE_BYTES).min(end);
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(self.image.bytes(&self.image.windows[place], self.filled, to));
        self.filled = to;
        true
    }
}
