//! Seals: checksums that close each batch of records in the log.
//!
//! RocketMQ's record layout carries a CRC of the body only. A torn write could leave a record with its body whole and its properties
//! zero, and it would pass for valid. So every batch of records that goes to disk together is followed by a seal, which covers every
//! byte of them; recovery takes a batch whole or not at all. Clients never see seals: the index points at records.
//!
//! ```text
//!   log   │ record │ record │ record │ seal │ record │ seal │ … │ blank to the segment's end │
//!          ╰──────── batch ─────────╯
//!   seal  0 size 4 (32) │ 4 magic 4 │ 8 batch start 8 │ 16 own position 8 │ 24 records 4
//!         28 CRC-32 of bytes 0..28 and of the CRC-32 of each record, 4
//! ```
//! Offsets are positions in the shard's log. The batch starts where the previous seal ends (or at its segment's start), so a batch
//! cannot vanish from the middle unnoticed.

use crate::offset::LogOffset;

/// Size of a seal.
pub(crate) const SEAL_BYTES: usize = 32;
/// In the place of a record's magic.
pub(crate) const SEAL_MAGIC: u32 = 0x524D_51C3;
const CRC_AT: usize = 28;

/// The first 8 bytes of every seal: what a search for stray ones looks for.
pub(crate) fn signature() -> [u8; 8] {
    let mut signature = [0; 8];
    signature[..4].copy_from_slice(&(SEAL_BYTES as u32).to_be_bytes());
    signature[4..].copy_from_slice(&SEAL_MAGIC.to_be_bytes());
    signature
}

/// A batch while it grows.
#[derive(Debug)]
pub(crate) struct Batch {
    start: LogOffset,
    records: u32,
    /// Over the CRCs of its records.
    crcs: crc32fast::Hasher,
}

impl Batch {
    /// Empty, starting at `start`.
    pub fn new(start: LogOffset) -> Self {
        Self { start, records: 0, crcs: crc32fast::Hasher::new() }
    }

    pub fn start(&self) -> LogOffset {
        self.start
    }

    pub fn records(&self) -> u32 {
        self.records
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Adds a record by the CRC of all its bytes.
    pub fn add(&mut self, record_crc: u32) {
        self.records += 1;
        self.crcs.update(&record_crc.to_be_bytes());
    }

    /// Its seal, if it stands at `at`.
    pub fn seal(&self, at: LogOffset) -> [u8; SEAL_BYTES] {
        let mut seal = [0; SEAL_BYTES];
        seal[0..8].copy_from_slice(&signature());
        seal[8..16].copy_from_slice(&self.start.0.to_be_bytes());
        seal[16..24].copy_from_slice(&at.0.to_be_bytes());
        seal[24..28].copy_from_slice(&self.records.to_be_bytes());
        let mut crc = self.crcs.clone();
        crc.update(&seal[..CRC_AT]);
        seal[CRC_AT..].copy_from_slice(&crc.finalize().to_be_bytes());
        seal
    }
}

/// The batch start that the bytes of a seal name, if they name their own position `at`. Its CRC is not looked at.
pub(crate) fn batch_start(seal: &[u8], at: LogOffset) -> Option<LogOffset> {
    let long = |from: usize| Some(u64::from_be_bytes(seal.get(from..from + 8)?.try_into().ok()?));
    (seal.starts_with(&signature()) && long(16)? == at.0).then_some(LogOffset(long(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(start: u64, crcs: &[u32]) -> Batch {
        let mut batch = Batch::new(LogOffset(start));
        crcs.iter().for_each(|crc| batch.add(*crc));
        batch
    }

    #[test]
    fn a_seal_depends_on_everything_it_covers() {
        let good = batch(100, &[1, 2]).seal(LogOffset(300));
        assert_eq!(batch_start(&good, LogOffset(300)), Some(LogOffset(100)));
        assert_eq!(batch_start(&good, LogOffset(301)), None);
        let others = [
            batch(101, &[1, 2]).seal(LogOffset(300)),
            batch(100, &[1, 3]).seal(LogOffset(300)),
            batch(100, &[2, 1]).seal(LogOffset(300)),
            batch(100, &[1]).seal(LogOffset(300)),
            batch(100, &[1, 2]).seal(LogOffset(301)),
        ];
        for other in others {
            assert_ne!(good[CRC_AT..], other[CRC_AT..]);
        }
    }
}
