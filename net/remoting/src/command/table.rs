//! Where the fields of a header lie.

use super::FIELDS_MAX;
use super::text;
use crate::frame::FrameError;

/// Fields held without allocation. A signed 5.x send has 20.
const INLINE_FIELDS: usize = 24;

/// A piece of the header, and whether it needs work before it is text.
///
/// A header is below 2^24 bytes, so the upper bits of the length are free for the marks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    length_and_marks: u32,
}

impl Span {
    const ESCAPED: u32 = 1 << 31;
    const NULL: u32 = 1 << 30;
    const LENGTH_MASK: u32 = Self::NULL - 1;

    pub(super) fn plain(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= Self::LENGTH_MASK as usize, "span {start}..{end} of a header");
        Span { start: start as u32, length_and_marks: (end - start) as u32 }
    }

    pub(super) fn string(start: usize, end: usize, escaped: bool) -> Span {
        let mut span = Self::plain(start, end);
        if escaped {
            span.length_and_marks |= Self::ESCAPED;
        }
        span
    }

    pub(super) fn null() -> Span {
        Span { start: 0, length_and_marks: Self::NULL }
    }

    pub(super) fn is_null(self) -> bool {
        self.length_and_marks & Self::NULL != 0
    }

    pub(super) fn is_escaped(self) -> bool {
        self.length_and_marks & Self::ESCAPED != 0
    }

    pub(super) fn of(self, header: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &header[start..start + (self.length_and_marks & Self::LENGTH_MASK) as usize]
    }

    pub(super) fn is(self, header: &[u8], name: &str) -> bool {
        let raw = self.of(header);
        raw == name.as_bytes() || (self.is_escaped() && text::unescape(raw) == name)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) value: Span,
}

#[derive(Clone, Debug)]
pub(super) struct FieldTable {
    inline: [Entry; INLINE_FIELDS],
    inline_count: usize,
    spilled: Vec<Entry>,
}

impl Default for FieldTable {
    fn default() -> Self {
        FieldTable { inline: [Entry::default(); INLINE_FIELDS], inline_count: 0, spilled: Vec::new() }
    }
}

impl FieldTable {
    pub(super) fn push(&mut self, key: Span, value: Span) -> Result<(), FrameError> {
        let entry = Entry { key, value };
        if self.inline_count < INLINE_FIELDS {
            self.inline[self.inline_count] = entry;
            self.inline_count += 1;
        } else if INLINE_FIELDS + self.spilled.len() < FIELDS_MAX {
            self.spilled.push(entry);
        } else {
            return Err(FrameError::TooManyFields { limit: FIELDS_MAX });
        }
        Ok(())
    }

    /// A later `extFields` member replaces an earlier one.
    pub(super) fn clear(&mut self) {
        self.inline_count = 0;
        self.spilled.clear();
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.inline[..self.inline_count].iter().chain(&self.spilled)
    }
}
