//! One step through the bytes of a log. Pure: no I/O, no index.

use std::fmt;

use ringmq_remoting::record::{BLANK_BYTES_MIN, BLANK_MAGIC, MAGIC_V1, MAGIC_V2};

use crate::limits::{BATCH_BYTES_MAX, BLANK_BYTES, FOOTER_BYTES, RECORD_BYTES_MAX, RECORD_BYTES_MIN};
use crate::offset::LogOffset;
use crate::seal::{Batch, SEAL_BYTES, SEAL_MAGIC};

/// What stands at the end of the valid log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole batch: `record_bytes` of records, then its seal.
    Batch { record_bytes: usize, records: u32 },
    /// The segment ends here.
    Blank,
    /// The bytes end before this can be said.
    More,
    /// No whole batch.
    Stop(Invalid),
}

/// Why bytes are not a whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Nothing was written here.
    Zeros,
    /// Records follow, but no seal.
    Unsealed,
    /// A record's size does not fit.
    Size(u32),
    /// Neither record, seal nor blank.
    Magic(u32),
    /// The checksum of the batch, or its place, is not what its seal says.
    Seal,
    /// The segment ends without a blank.
    SegmentEnd,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => write!(f, "nothing was written there"),
            Self::Unsealed => write!(f, "records without a seal"),
            Self::Size(size) => write!(f, "a record of {size} bytes is not possible"),
            Self::Magic(magic) => write!(f, "unknown magic {magic:#010x}"),
            Self::Seal => write!(f, "the checksum of a batch is wrong"),
            Self::SegmentEnd => write!(f, "the segment ends without a blank"),
        }
    }
}

/// Looks at the log from `at`, of which `bytes` are at hand and `segment_left` remain in the segment.
pub(crate) fn step(bytes: &[u8], at: LogOffset, segment_left: u64) -> Step {
    let mut batch = Batch::new(at);
    let mut place = 0;
    loop {
        if segment_left - (place as u64) < BLANK_BYTES as u64 {
            return Step::Stop(Invalid::SegmentEnd);
        }
        let rest = &bytes[place..];
        let Some((size, magic)) = size_and_magic(rest) else { return Step::More };
        match magic {
            MAGIC_V1 | MAGIC_V2 => {
                let bytes = size as usize;
                let possible = (RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&bytes)
                    && (place + bytes + FOOTER_BYTES) as u64 <= segment_left;
                if !possible {
                    return Step::Stop(Invalid::Size(size));
                }
                if place + bytes > BATCH_BYTES_MAX {
                    return Step::Stop(Invalid::Unsealed);
                }
                let Some(record) = rest.get(..bytes) else { return Step::More };
                batch.add(crc32fast::hash(record));
                place += bytes;
            }
            SEAL_MAGIC => {
                let Some(seal) = rest.get(..SEAL_BYTES) else { return Step::More };
                let valid = !batch.is_empty() && seal == batch.seal(at.plus(place));
                return if valid {
                    Step::Batch { record_bytes: place, records: batch.records() }
                } else {
                    Step::Stop(Invalid::Seal)
                };
            }
            BLANK_MAGIC if batch.is_empty() && u64::from(size) == segment_left => {
                let Some(blank) = rest.get(..BLANK_BYTES) else { return Step::More };
                let is_here = blank[BLANK_BYTES_MIN..] == at.0.to_be_bytes();
                return if is_here { Step::Blank } else { Step::Stop(Invalid::Magic(magic)) };
            }
            0 if size == 0 => {
                return Step::Stop(if batch.is_empty() { Invalid::Zeros } else { Invalid::Unsealed });
            }
            magic => return Step::Stop(Invalid::Magic(magic)),
        }
    }
}

fn size_and_magic(bytes: &[u8]) -> Option<(u32, u32)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let magic = rest.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*size), u32::from_be_bytes(*magic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_remoting::record::write_blank;

    const AT: LogOffset = LogOffset(4096 + 77);
    const LEFT: u64 = 100_000;

    /// Something that looks like a record from outside.
    fn record(bytes: usize, fill: u8) -> Vec<u8> {
        let mut record = vec![fill; bytes];
        record[..4].copy_from_slice(&(bytes as u32).to_be_bytes());
        record[4..8].copy_from_slice(&MAGIC_V1.to_be_bytes());
        record
    }

    fn sealed(records: &[Vec<u8>]) -> Vec<u8> {
        let mut batch = Batch::new(AT);
        let mut bytes = Vec::new();
        for record in records {
            batch.add(crc32fast::hash(record));
            bytes.extend_from_slice(record);
        }
        bytes.extend_from_slice(&batch.seal(AT.plus(bytes.len())));
        bytes
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Step) {
        assert_eq!(step(bytes, AT, LEFT), expected);
    }

    #[test]
    fn a_batch_is_taken_whole() {
        let bytes = sealed(&[record(91, 1), record(300, 2)]);
        check(&bytes, Step::Batch { record_bytes: 391, records: 2 });
        let mut longer = bytes.clone();
        longer.extend_from_slice(&record(91, 3));
        check(&longer, Step::Batch { record_bytes: 391, records: 2 });
        for cut in 0..bytes.len() {
            check(&bytes[..cut], Step::More);
        }
    }

    #[test]
    fn every_bit_of_a_batch_counts() {
        let good = sealed(&[record(91, 1), record(120, 2)]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            bad.resize(20_000, 0);
            let got = step(&bad, AT, LEFT);
            assert!(matches!(got, Step::Stop(_) | Step::More), "bit {bit}: {got:?}");
        }
        // A batch that was moved is none.
        assert_eq!(step(&good, AT.plus(1), LEFT), Step::Stop(Invalid::Seal));
    }

    #[test]
    fn a_torn_batch_is_none_wherever_it_is_torn() {
        // Sectors of 512 bytes that did not reach the disk read as zeros.
        let good = sealed(&[record(1500, 1), record(1500, 2), record(91, 3)]);
        let sectors = good.len().div_ceil(512);
        for lost in 1..(1u32 << sectors) {
            let mut bad = good.clone();
            for sector in (0..sectors).filter(|s| lost & (1 << s) != 0) {
                let end = bad.len().min((sector + 1) * 512);
                bad[sector * 512..end].fill(0);
            }
            bad.resize(20_000, 0);
            let got = step(&bad, AT, LEFT);
            assert!(matches!(got, Step::Stop(_)), "lost {lost:b}: {got:?}");
        }
    }

    #[test]
    fn ends_are_told_apart() {
        check(&[0; 100], Step::Stop(Invalid::Zeros));
        check(&[0; 7], Step::More);
        let mut unsealed = record(91, 1);
        unsealed.extend_from_slice(&[0; 100]);
        check(&unsealed, Step::Stop(Invalid::Unsealed));
        let mut blank = [0; 16];
        write_blank(&mut blank, LEFT as u32);
        check(&blank[..15], Step::More);
        check(&blank, Step::Stop(Invalid::Magic(BLANK_MAGIC)));
        blank[8..].copy_from_slice(&AT.0.to_be_bytes());
        check(&blank, Step::Blank);
        assert_eq!(
            step(&blank, AT.plus(4096), LEFT),
            Step::Stop(Invalid::Magic(BLANK_MAGIC)),
            "of an earlier life"
        );
        write_blank(&mut blank, LEFT as u32 - 1);
        check(&blank, Step::Stop(Invalid::Magic(BLANK_MAGIC)));
        check(&sealed(&[]), Step::Stop(Invalid::Seal));
        let mut small = record(91, 1);
        small[..4].copy_from_slice(&90u32.to_be_bytes());
        check(&small, Step::Stop(Invalid::Size(90)));
        assert_eq!(step(&record(91, 1), AT, 130), Step::Stop(Invalid::Size(91)), "no room for its footer");
        assert_eq!(step(&[], AT, 15), Step::Stop(Invalid::SegmentEnd));
    }
}
