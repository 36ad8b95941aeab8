//! What the tail cache's file in memory holds beside its blocks. Pure: no memory is touched here.
//!
//! ```text
//!   page 0      header   whose it is, and how it is laid out
//!   page 1      marks    two, written in turn: up to where the log is sealed in the blocks
//!   pages 2 …   slots    one of 64 bytes for each block: which window of the log it holds
//!   then        blocks
//!
//!   header  0 magic 8 │ 8 version 4 │ 12 shard 2 │ 16 store 16 │ 32 life 16 │ 48 boot 16 │ 64 block bytes 8 │ 72 blocks 8
//!           80 CRC-32 of bytes 0..80, 4
//!   mark    0 count 8 │ 8 end of the last seal 8 │ 16 CRC-32 of bytes 0..16, 4
//!   slot    0 magic 4 │ 4 block 4 │ 8 window start 8 │ 16 first record 8 │ 24 end of its segment 8 │ 32 CRC-32 of bytes 0..32, 4
//! ```
//! Every piece carries its own checksum and the records are covered by their seals, so neither a store that was cut short nor a
//! flipped bit passes unnoticed. No piece depends on the order in which others were stored.

use ringmq_reactor::PAGE_BYTES;

use crate::offset::LogOffset;

const MAGIC: u64 = u64::from_be_bytes(*b"RingMQtc");
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 80;
const MARK_BYTES: usize = 16;
const MARK_DISTANCE: usize = 64;
const MARKS_AT: usize = PAGE_BYTES;
const SLOT_MAGIC: u32 = u32::from_be_bytes(*b"RMQw");
const SLOT_CONTENT_BYTES: usize = 32;
/// Distance of slots.
pub(crate) const SLOT_BYTES: usize = 64;
const SLOTS_AT: usize = 2 * PAGE_BYTES;

/// Most blocks that a file is believed to have: bounds what recovery looks at.
const BLOCKS_MAX: usize = 1 << 20;

/// Names a store, or one life of it.
pub(crate) type Id = [u8; 16];

/// How a file is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    pub block_bytes: usize,
    pub blocks: usize,
}

impl Layout {
    /// Start of the first block.
    pub fn blocks_at(self) -> usize {
        (SLOTS_AT + self.blocks * SLOT_BYTES).next_multiple_of(PAGE_BYTES)
    }

    pub fn block_at(self, block: usize) -> usize {
        self.blocks_at() + block * self.block_bytes
    }

    pub fn slot_at(self, block: usize) -> usize {
        SLOTS_AT + block * SLOT_BYTES
    }

    pub fn file_bytes(self) -> usize {
        self.block_at(self.blocks)
    }
}

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub shard: u16,
    pub store: Id,
    /// Which life of the store fills it.
    pub life: Id,
    pub boot: Id,
    pub layout: Layout,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BadHeader {
    Damaged,
    Version(u32),
    Layout,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_BYTES + 4] {
        let mut bytes = [0; HEADER_BYTES + 4];
        bytes[0..8].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.shard.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..48].copy_from_slice(&self.life);
        bytes[48..64].copy_from_slice(&self.boot);
        bytes[64..72].copy_from_slice(&(self.layout.block_bytes as u64).to_be_bytes());
        bytes[72..80].copy_from_slice(&(self.layout.blocks as u64).to_be_bytes());
        seal::<HEADER_BYTES>(&mut bytes);
        bytes
    }

    /// `page`: the file's first; `file_bytes`: its length, which bounds the layout.
    pub fn decode(page: &[u8], file_bytes: usize) -> Result<Self, BadHeader> {
        let bytes = checked::<HEADER_BYTES>(page).ok_or(BadHeader::Damaged)?;
        if long(bytes, 0) != MAGIC {
            return Err(BadHeader::Damaged);
        }
        let version = word(bytes, 8);
        if version != VERSION {
            return Err(BadHeader::Version(version));
        }
        let id = |at: usize| bytes[at..at + 16].try_into().expect("16 bytes");
        let size = |at: usize| usize::try_from(long(bytes, at)).map_err(|_| BadHeader::Layout);
        let layout = Layout { block_bytes: size(64)?, blocks: size(72)? };
        let possible = layout.block_bytes > 0
            && layout.block_bytes.is_multiple_of(PAGE_BYTES)
            && layout.block_bytes <= file_bytes
            && layout.blocks <= BLOCKS_MAX
            && layout.file_bytes() <= file_bytes;
        let shard = u16::from_be_bytes([bytes[12], bytes[13]]);
        let header = Self { shard, store: id(16), life: id(32), boot: id(48), layout };
        possible.then_some(header).ok_or(BadHeader::Layout)
    }
}

/// The mark with that count, and its place.
pub(crate) fn encode_mark(count: u64, sealed: LogOffset) -> (usize, [u8; MARK_BYTES + 4]) {
    let mut bytes = [0; MARK_BYTES + 4];
    bytes[0..8].copy_from_slice(&count.to_be_bytes());
    bytes[8..16].copy_from_slice(&sealed.0.to_be_bytes());
    seal::<MARK_BYTES>(&mut bytes);
    (MARKS_AT + (count % 2) as usize * MARK_DISTANCE, bytes)
}

/// The newer of the valid marks in the second page.
pub(crate) fn newest_mark(page: &[u8]) -> Option<(u64, LogOffset)> {
    let marks = [0, MARK_DISTANCE].into_iter().filter_map(|at| checked::<MARK_BYTES>(&page[at..]));
    marks.map(|bytes| (long(bytes, 0), LogOffset(long(bytes, 8)))).max()
}

/// Which window of the log a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    pub block: usize,
    /// Log position of the block's first byte; page-aligned.
    pub start: LogOffset,
    /// Start of its first record.
    pub first: LogOffset,
    /// End of the segment that it is a part of.
    pub segment_end: LogOffset,
}

impl Slot {
    pub fn encode(&self) -> [u8; SLOT_CONTENT_BYTES + 4] {
        let mut bytes = [0; SLOT_CONTENT_BYTES + 4];
        bytes[0..4].copy_from_slice(&SLOT_MAGIC.to_be_bytes());
        bytes[4..8].copy_from_slice(&u32::try_from(self.block).expect("below BLOCKS_MAX").to_be_bytes());
        bytes[8..16].copy_from_slice(&self.start.0.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.segment_end.0.to_be_bytes());
        seal::<SLOT_CONTENT_BYTES>(&mut bytes);
        bytes
    }

    /// `Ok(None)`: the block holds nothing. `Err`: no telling.
    pub fn decode(bytes: &[u8], block: usize) -> Result<Option<Self>, ()> {
        if bytes[..SLOT_BYTES].iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let bytes = checked::<SLOT_CONTENT_BYTES>(bytes).ok_or(())?;
        let offset = |at| LogOffset(long(bytes, at));
        let slot = Self { block, start: offset(8), first: offset(16), segment_end: offset(24) };
        let possible = word(bytes, 0) == SLOT_MAGIC
            && word(bytes, 4) as usize == block
            && slot.start == slot.start.page_floor()
            && slot.start <= slot.first
            && slot.first < slot.segment_end;
        possible.then_some(Some(slot)).ok_or(())
    }
}

/// Puts the checksum of the first `CONTENT` bytes behind them.
fn seal<const CONTENT: usize>(bytes: &mut [u8]) {
    let crc = crc32fast::hash(&bytes[..CONTENT]);
    bytes[CONTENT..CONTENT + 4].copy_from_slice(&crc.to_be_bytes());
}

/// The first `CONTENT` bytes, if the checksum behind them is theirs.
fn checked<const CONTENT: usize>(bytes: &[u8]) -> Option<&[u8]> {
    (bytes.len() >= CONTENT + 4 && word(bytes, CONTENT) == crc32fast::hash(&bytes[..CONTENT]))
        .then_some(&bytes[..CONTENT])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { block_bytes: 8192, blocks: 5 };

    fn header() -> Header {
        Header { shard: 3, store: [1; 16], life: [2; 16], boot: [3; 16], layout: LAYOUT }
    }

    #[test]
    fn every_bit_of_a_header_and_of_a_slot_counts() {
        let good = header().encode();
        assert_eq!(Header::decode(&good, LAYOUT.file_bytes()), Ok(header()));
        assert_eq!(Header::decode(&good, LAYOUT.file_bytes() - 1), Err(BadHeader::Layout));
        assert_eq!(Header::decode(&[0; 100], 1 << 20), Err(BadHeader::Damaged));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad, LAYOUT.file_bytes()), Err(BadHeader::Damaged), "bit {bit}");
        }
        let at = LogOffset;
        let slot = Slot { block: 4, start: at(8192), first: at(9000), segment_end: at(1 << 20) };
        let mut good = [0; SLOT_BYTES];
        good[..SLOT_CONTENT_BYTES + 4].copy_from_slice(&slot.encode());
        assert_eq!(Slot::decode(&good, 4), Ok(Some(slot)));
        assert_eq!(Slot::decode(&good, 3), Err(()), "another block's");
        assert_eq!(Slot::decode(&[0; SLOT_BYTES], 3), Ok(None));
        for bit in 0..(SLOT_CONTENT_BYTES + 4) * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::decode(&bad, 4), Err(()), "bit {bit}");
        }
    }

    #[test]
    fn a_damaged_mark_leaves_the_one_before() {
        let mut page = [0; PAGE_BYTES];
        assert_eq!(newest_mark(&page), None);
        for count in [6, 7] {
            let (at, mark) = encode_mark(count, LogOffset(count * 100));
            page[at - MARKS_AT..][..mark.len()].copy_from_slice(&mark);
        }
        assert_eq!(newest_mark(&page), Some((7, LogOffset(700))));
        page[MARK_DISTANCE + 9] ^= 1;
        assert_eq!(newest_mark(&page), Some((6, LogOffset(600))));
    }

    #[test]
    fn nothing_overlaps() {
        assert!(LAYOUT.slot_at(LAYOUT.blocks) <= LAYOUT.blocks_at());
        assert_eq!(LAYOUT.block_at(1) - LAYOUT.block_at(0), LAYOUT.block_bytes);
        assert_eq!(LAYOUT.blocks_at() % PAGE_BYTES, 0);
    }
}
