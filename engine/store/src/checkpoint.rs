//! The checkpoint: what is known about the log without reading it.
//!
//! It says up to where the log is certainly durable and beyond which position nothing was ever written. Recovery needs both: below
//! the first, an invalid record is corruption; between the two it has to look for remains of unfinished writes; above the
//! second there is nothing to find. It always lags behind the truth, never leads it: it is written after the flush it speaks
//! of, and the log waits at `written_max` until a checkpoint with a higher one is durable.
//!
//! File `checkpoint`: two pages, written in turn and durably, each with its own CRC. A torn write damages one; the
//! other, one step older, is as good.
//!
//! ```text
//!   0 magic 8 │ 8 version 4 │ 12 shard 2 │ 14 flush 1 │ 15 closed 1 │ 16 sequence 8 │ 24 durable 8 │ 32 written_max 8
//!   40 torn_window 8 │ 48 CRC-32 of bytes 0..48, 4
//! ```
//! Integers are big-endian, like everything else in the store.

use ringmq_reactor::{AlignedBuffer, PAGE_BYTES};

use crate::offset::LogOffset;

pub(crate) const FILE_NAME: &str = "checkpoint";
const MAGIC: u64 = u64::from_be_bytes(*b"RingMQcp");
const VERSION: u32 = 1;
const CONTENT_BYTES: usize = 48;

/// Which flush level acknowledgements had when the checkpoint was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushKind {
    /// ASYNC_FLUSH.
    Async,
    /// SYNC_FLUSH.
    Sync,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The shard whose log it is.
    pub shard: u16,
    /// Flush level when it was written.
    pub flush: FlushKind,
    /// The store was closed in order: the log ends at `durable`.
    pub closed: bool,
    /// Counts checkpoints; its lowest bit names the page.
    pub sequence: u64,
    /// Everything below is on stable media.
    pub durable: LogOffset,
    /// Nothing was written at or above.
    pub written_max: LogOffset,
    /// How far behind the last sealed batch a torn write of the program that wrote this can leave whole batches.
    pub torn_window: u64,
}

impl Checkpoint {
    /// The page for this checkpoint's turn, and its place in the file.
    pub(crate) fn encode(&self) -> (u64, AlignedBuffer) {
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        let bytes = page.as_mut();
        bytes[0..8].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.shard.to_be_bytes());
        bytes[14] = u8::from(self.flush == FlushKind::Sync);
        bytes[15] = u8::from(self.closed);
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.durable.0.to_be_bytes());
        bytes[32..40].copy_from_slice(&self.written_max.0.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.torn_window.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..CONTENT_BYTES]);
        bytes[CONTENT_BYTES..CONTENT_BYTES + 4].copy_from_slice(&crc.to_be_bytes());
        (self.sequence % 2 * PAGE_BYTES as u64, page)
    }

    /// The newer of the valid checkpoints in the file's bytes.
    pub(crate) fn newest(file: &[u8]) -> Option<Self> {
        file.chunks(PAGE_BYTES).take(2).filter_map(Self::decode).max_by_key(|c| c.sequence)
    }

    fn decode(page: &[u8]) -> Option<Self> {
        let crc = u32::from_be_bytes(page.get(CONTENT_BYTES..CONTENT_BYTES + 4)?.try_into().ok()?);
        let long = |at: usize| u64::from_be_bytes(page[at..at + 8].try_into().expect("8 bytes"));
        let version = u32::from_be_bytes(page[8..12].try_into().expect("4 bytes"));
        if crc32fast::hash(&page[..CONTENT_BYTES]) != crc || long(0) != MAGIC || version != VERSION {
            return None;
        }
        let checkpoint = Self {
            shard: u16::from_be_bytes([page[12], page[13]]),
            flush: if page[14] == 0 { FlushKind::Async } else { FlushKind::Sync },
            closed: page[15] != 0,
            sequence: long(16),
            durable: LogOffset(long(24)),
            written_max: LogOffset(long(32)),
            torn_window: long(40),
        };
        (checkpoint.durable <= checkpoint.written_max).then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(sequence: u64) -> Checkpoint {
        Checkpoint {
            shard: 3,
            flush: FlushKind::Sync,
            closed: true,
            sequence,
            durable: LogOffset(1 << 40),
            written_max: LogOffset((1 << 40) + 5),
            torn_window: 1 << 20,
        }
    }

    fn file(checkpoints: &[Checkpoint]) -> Vec<u8> {
        let mut file = vec![0; 2 * PAGE_BYTES];
        for c in checkpoints {
            let (at, page) = c.encode();
            let at = usize::try_from(at).expect("small");
            file[at..at + PAGE_BYTES].copy_from_slice(page.as_ref());
        }
        file
    }

    #[test]
    fn the_newer_valid_page_counts() {
        let mut bytes = file(&[checkpoint(6), checkpoint(7)]);
        assert_eq!(Checkpoint::newest(&bytes), Some(checkpoint(7)));
        bytes[PAGE_BYTES + 20] ^= 1;
        assert_eq!(Checkpoint::newest(&bytes), Some(checkpoint(6)), "the other page survives a torn write");
        bytes[0] ^= 1;
        assert_eq!(Checkpoint::newest(&bytes), None);
        assert_eq!(Checkpoint::newest(&[]), None);
        assert_eq!(Checkpoint::newest(&bytes[..100]), None);
    }

    #[test]
    fn every_bit_flip_is_noticed() {
        let good = file(&[checkpoint(6)]);
        for bit in 0..(CONTENT_BYTES + 4) * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::newest(&bad), None, "bit {bit}");
        }
    }
}
