//! Key files: one *run* of sorted entries each, in pages of 4 KiB with a checksum of their own.
//!
//! ```text
//!   file   keys/<from>-<to>      20 digits each: the piece of the log that it indexes
//!   pages  │ header │ entries … │ fences … │ filter … │
//!   page   0 CRC-32 of `from` and of bytes 4..4096, 4 │ 4 page number 4 │ 8 items 4 │ 12 zero 4 │ 16 items
//!   header 0 magic 8 │ 8 version 4 │ 12 shard 4 │ 16 from 8 │ 24 to 8 │ 32 first time 8 │ 40 last time 8 │ 48 entries 8
//!          56 entry pages 4 │ 60 filter blocks 4
//!   entry  0 hash 8 │ 8 distance of the record from `from` 4 │ 12 distance of its store time from the first, ms, 4
//!   fence  the upper half of the first hash of each entry page, 4: kept in memory, so that a lookup reads one page
//!   filter blocks of 32 bytes
//! ```
//! Integers are big-endian. Entries are sorted by hash, then by record. A page is believed only if its checksum, its number and
//! its run's start are right, so every flipped bit is noticed, and so is a page of another run or another place.

use ringmq_reactor::PAGE_BYTES;

use super::filter;
use super::table::{ENTRY_BYTES, Entry, Span};
use crate::offset::LogOffset;

/// Folder of the key files inside the store's.
pub(crate) const KEYS_DIR: &str = "keys";
/// Ending of a file that is being written.
pub(crate) const TEMPORARY: &str = ".tmp";

const MAGIC: u64 = u64::from_be_bytes(*b"RingMQky");
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const ITEM_BYTES: usize = PAGE_BYTES - HEAD_BYTES;
const FENCE_BYTES: usize = 4;
const OFFSET_DIGITS: usize = 20;

pub(crate) const ENTRIES_PER_PAGE: usize = ITEM_BYTES / ENTRY_BYTES;
pub(crate) const FENCES_PER_PAGE: usize = ITEM_BYTES / FENCE_BYTES;
pub(crate) const BLOCKS_PER_PAGE: usize = ITEM_BYTES / filter::BLOCK_BYTES;

/// The name of the file for a piece of the log.
pub(crate) fn file_name(from: LogOffset, to: LogOffset) -> String {
    format!("{:0OFFSET_DIGITS$}-{:0OFFSET_DIGITS$}", from.0, to.0)
}

/// The piece of the log that a file name gives; `None` for any other name.
pub(crate) fn parse_name(name: &str) -> Option<(LogOffset, LogOffset)> {
    let number = |text: &str| {
        let valid = text.len() == OFFSET_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| text.parse().ok().map(LogOffset)).flatten()
    };
    let (from, to) = name.split_once('-')?;
    let (from, to) = (number(from)?, number(to)?);
    (from < to).then_some((from, to))
}

/// What a run's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub shard: u16,
    pub span: Span,
    pub entries: u64,
    pub filter_blocks: u32,
}

impl Header {
    pub fn entry_pages(&self) -> u32 {
        pages(self.entries, ENTRIES_PER_PAGE)
    }

    pub fn fence_pages(&self) -> u32 {
        pages(self.entry_pages().into(), FENCES_PER_PAGE)
    }

    pub fn filter_pages(&self) -> u32 {
        pages(self.filter_blocks.into(), BLOCKS_PER_PAGE)
    }

    pub fn first_fence_page(&self) -> u32 {
        self.entry_pages().saturating_add(1)
    }

    pub fn first_filter_page(&self) -> u32 {
        self.first_fence_page().saturating_add(self.fence_pages())
    }

    pub fn file_bytes(&self) -> u64 {
        u64::from(self.first_filter_page().saturating_add(self.filter_pages())) * PAGE_BYTES as u64
    }

    pub fn encode(&self, page: &mut [u8]) {
        let items = &mut page[HEAD_BYTES..];
        items[0..8].copy_from_slice(&MAGIC.to_be_bytes());
        items[8..12].copy_from_slice(&VERSION.to_be_bytes());
        items[12..16].copy_from_slice(&u32::from(self.shard).to_be_bytes());
        items[16..24].copy_from_slice(&self.span.from.0.to_be_bytes());
        items[24..32].copy_from_slice(&self.span.to.0.to_be_bytes());
        items[32..40].copy_from_slice(&self.span.first_time.to_be_bytes());
        items[40..48].copy_from_slice(&self.span.last_time.to_be_bytes());
        items[48..56].copy_from_slice(&self.entries.to_be_bytes());
        items[56..60].copy_from_slice(&self.entry_pages().to_be_bytes());
        items[60..64].copy_from_slice(&self.filter_blocks.to_be_bytes());
        close_page(page, self.span.from, 0, 1);
    }

    /// The header of the run that starts at `from`, from its first page.
    pub fn decode(page: &[u8], from: LogOffset) -> Option<Self> {
        let (1, items) = open_page(page, from, 0)? else { return None };
        let long = |at: usize| u64::from_be_bytes(items[at..at + 8].try_into().expect("8 bytes"));
        let word = |at: usize| u32::from_be_bytes(items[at..at + 4].try_into().expect("4 bytes"));
        if long(0) != MAGIC || word(8) != VERSION || long(16) != from.0 {
            return None;
        }
        let span = Span {
            from,
            to: LogOffset(long(24)),
            first_time: long(32).cast_signed(),
            last_time: long(40).cast_signed(),
        };
        let header =
            Self { shard: u16::try_from(word(12)).ok()?, span, entries: long(48), filter_blocks: word(60) };
        (header.entry_pages() == word(56)).then_some(header)
    }
}

fn pages(items: u64, per_page: usize) -> u32 {
    u32::try_from(items.div_ceil(per_page as u64)).unwrap_or(u32::MAX)
}

/// Writes the head of a page whose items are in place.
pub(crate) fn close_page(page: &mut [u8], from: LogOffset, number: u32, items: usize) {
    page[4..8].copy_from_slice(&number.to_be_bytes());
    page[8..12].copy_from_slice(&u32::try_from(items).expect("a page").to_be_bytes());
    page[12..16].fill(0);
    let crc = page_crc(page, from);
    page[..4].copy_from_slice(&crc.to_be_bytes());
}

/// Item count and item bytes of page `number` of the run that starts at `from`; `None`: it is damaged.
pub(crate) fn open_page(page: &[u8], from: LogOffset, number: u32) -> Option<(usize, &[u8])> {
    let page = page.get(..PAGE_BYTES)?;
    let word = |at: usize| u32::from_be_bytes(page[at..at + 4].try_into().expect("4 bytes"));
    let valid = word(0) == page_crc(page, from) && word(4) == number;
    valid.then(|| (word(8) as usize, &page[HEAD_BYTES..]))
}

fn page_crc(page: &[u8], from: LogOffset) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&from.0.to_be_bytes());
    crc.update(&page[4..]);
    crc.finalize()
}

/// The place of item `number` of `bytes` each.
fn item(number: usize, bytes: usize) -> std::ops::Range<usize> {
    let start = HEAD_BYTES + number * bytes;
    start..start + bytes
}

pub(crate) fn put_entry(page: &mut [u8], number: usize, entry: &Entry) {
    let bytes = &mut page[item(number, ENTRY_BYTES)];
    bytes[0..8].copy_from_slice(&entry.hash.to_be_bytes());
    bytes[8..12].copy_from_slice(&entry.offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&entry.time.to_be_bytes());
}

/// The entries of an entry page.
pub(crate) fn entries(
    page: &[u8],
    from: LogOffset,
    number: u32,
) -> Option<impl DoubleEndedIterator<Item = Entry>> {
    let (count, items) = open_page(page, from, number)?;
    let bytes = items.get(..count.checked_mul(ENTRY_BYTES)?)?;
    Some(bytes.chunks_exact(ENTRY_BYTES).map(|bytes| Entry {
        hash: u64::from_be_bytes(bytes[0..8].try_into().expect("8 bytes")),
        offset: u32::from_be_bytes(bytes[8..12].try_into().expect("4 bytes")),
        time: u32::from_be_bytes(bytes[12..16].try_into().expect("4 bytes")),
    }))
}

pub(crate) fn put_fence(page: &mut [u8], number: usize, fence: u32) {
    page[item(number, FENCE_BYTES)].copy_from_slice(&fence.to_be_bytes());
}

/// Adds the fences of a fence page.
pub(crate) fn read_fences(page: &[u8], from: LogOffset, number: u32, into: &mut Vec<u32>) -> Option<()> {
    let (count, items) = open_page(page, from, number)?;
    let bytes = items.get(..count.checked_mul(FENCE_BYTES)?)?;
    into.extend(bytes.chunks_exact(FENCE_BYTES).map(|b| u32::from_be_bytes(b.try_into().expect("4 bytes"))));
    Some(())
}

/// The place of a filter block in its page.
pub(crate) fn block_place(number: usize) -> std::ops::Range<usize> {
    item(number, filter::BLOCK_BYTES)
}

/// Adds the bytes of the filter blocks of a filter page.
pub(crate) fn read_blocks(page: &[u8], from: LogOffset, number: u32, into: &mut Vec<u8>) -> Option<()> {
    let (count, items) = open_page(page, from, number)?;
    into.extend_from_slice(items.get(..count.checked_mul(filter::BLOCK_BYTES)?)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: LogOffset = LogOffset(1 << 30);

    fn header() -> Header {
        let span = Span { from: FROM, to: LogOffset((1 << 30) + 77), first_time: -5, last_time: 1 << 41 };
        Header { shard: 3, span, entries: 256, filter_blocks: 11 }
    }

    #[test]
    fn headers_come_back_and_every_bit_of_a_page_counts() {
        let mut page = vec![0; PAGE_BYTES];
        header().encode(&mut page);
        assert_eq!(Header::decode(&page, FROM), Some(header()));
        assert_eq!(Header::decode(&page, LogOffset(0)), None, "of another run");
        assert_eq!(Header::decode(&page[..100], FROM), None);
        assert_eq!((header().entry_pages(), header().file_bytes()), (2, 5 * PAGE_BYTES as u64));
        for bit in 0..PAGE_BYTES * 8 {
            let mut bad = page.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_page(&bad, FROM, 0), None, "bit {bit}");
        }
    }

    #[test]
    fn items_come_back() {
        let all: Vec<_> = (0..ENTRIES_PER_PAGE as u32)
            .map(|n| Entry { hash: u64::from(n) << 40, offset: n, time: u32::MAX - n })
            .collect();
        let mut page = vec![0; PAGE_BYTES];
        all.iter().enumerate().for_each(|(n, entry)| put_entry(&mut page, n, entry));
        close_page(&mut page, FROM, 7, all.len());
        assert_eq!(entries(&page, FROM, 7).expect("valid").collect::<Vec<_>>(), all);
        assert!(entries(&page, FROM, 8).is_none(), "a page of another place");
        let mut fences = Vec::new();
        put_fence(&mut page, 0, 9);
        close_page(&mut page, FROM, 8, 1);
        read_fences(&page, FROM, 8, &mut fences).expect("valid");
        assert_eq!(fences, [9]);
    }

    #[test]
    fn names_are_two_offsets_and_nothing_else() {
        let name = file_name(LogOffset(5), LogOffset(1 << 30));
        assert_eq!(name, "00000000000000000005-00000000001073741824");
        assert_eq!(parse_name(&name), Some((LogOffset(5), LogOffset(1 << 30))));
        for bad in ["", "5-6", "00000000000000000005", "00000000000000000005-00000000000000000005"] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
        assert_eq!(parse_name(&format!("{name}.tmp")), None);
    }
}
