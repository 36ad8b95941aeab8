//! How bytes lie in the files of the metadata store. Pure functions.
//!
//! ```text
//!    0  u32  magic "RQMF"
//!    4  u32  CRC-32 of bytes 8 to 40
//!    8  u32  CRC-32 of the payload
//!   12  u32  payload bytes
//!   16  u8   kind; seven zero bytes
//!   24  u64  generation
//!   32  u64  sequence
//!   40       payload
//! ```
//!
//! Numbers are little-endian. The header has a checksum of its own, so that a damaged length is found out before it is used: every
//! single flipped bit of a frame is detected with certainty. A frame is valid at one place in one file only (generation,
//! sequence), so that nothing else passes for it.

use bytes::{BufMut, BytesMut};

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
/// Largest payload that is believed. What is written stays below: the largest request (16 MiB, see `ringmq_remoting::frame`) whose texts are
/// all control characters becomes six times as long as JSON, and a batch takes up to [`super::journal::BATCH_BYTES`] with it.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"RQMF";

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// First of a log. Payload: the format's version, u32.
    LogBegin,
    /// Changes that take effect together.
    Changes,
    /// Nothing, but it vouches for what stands before it: that had been written.
    Mark,
    /// Last of a log whose broker ended in order.
    Close,
    /// First of a snapshot. Sequence: that of the first frame of the log of the same generation. Payload as [`Kind::LogBegin`].
    SnapshotBegin,
    /// Changes that make the state. Sequence: 0, 1, …
    Part,
    /// Last of a snapshot. Sequence: the number of parts.
    SnapshotEnd,
}

const KINDS: [(Kind, u8); 7] = [
    (Kind::LogBegin, 1),
    (Kind::Changes, 2),
    (Kind::Mark, 3),
    (Kind::Close, 4),
    (Kind::SnapshotBegin, 5),
    (Kind::Part, 6),
    (Kind::SnapshotEnd, 7),
];

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Number in the file's name.
    pub generation: u64,
    /// In a log: one more than the frame before, also from log to log. In a snapshot: see [`Kind`].
    pub sequence: u64,
    /// Length of the payload.
    pub payload_bytes: usize,
    payload_crc: u32,
}

/// Appends a frame.
///
/// # Panics
/// If the payload is larger than [`PAYLOAD_BYTES_MAX`]: such a frame would not be believed.
pub fn encode(out: &mut BytesMut, kind: Kind, generation: u64, sequence: u64, payload: &[u8]) {
    assert!(payload.len() <= PAYLOAD_BYTES_MAX, "a metadata frame of {} bytes", payload.len());
    let (_, number) = KINDS.iter().find(|(known, _)| *known == kind).expect("every kind has a number");
    let start = out.len();
    out.reserve(HEADER_BYTES + payload.len());
    out.put_slice(&MAGIC);
    out.put_u32_le(0);
    out.put_u32_le(crc32fast::hash(payload));
    out.put_u32_le(payload.len() as u32);
    out.put_u8(*number);
    out.put_bytes(0, 7);
    out.put_u64_le(generation);
    out.put_u64_le(sequence);
    let crc = crc32fast::hash(&out[start + 8..start + HEADER_BYTES]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.put_slice(payload);
}

/// Reads a header. `None`: there is none.
#[must_use]
pub fn header(bytes: &[u8]) -> Option<Header> {
    let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if bytes[..4] != MAGIC || u32_at(4) != crc32fast::hash(&bytes[8..]) {
        return None;
    }
    let (kind, _) = KINDS.iter().find(|(_, number)| *number == bytes[16])?;
    let payload_bytes = u32_at(12) as usize;
    (payload_bytes <= PAYLOAD_BYTES_MAX).then(|| Header {
        kind: *kind,
        generation: u64_at(24),
        sequence: u64_at(32),
        payload_bytes,
        payload_crc: u32_at(8),
    })
}

impl Header {
    /// Whether this is the header's payload.
    #[must_use]
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes && crc32fast::hash(payload) == self.payload_crc
    }
}

/// Where in `bytes` something looks like the beginning of a frame, from `from` on.
#[must_use]
pub fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    Some(from + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out, Kind::Changes, 3, 17, payload);
        out
    }

    fn is_valid(bytes: &[u8]) -> bool {
        header(bytes).is_some_and(|header| {
            header.generation == 3
                && header.sequence == 17
                && bytes
                    .get(HEADER_BYTES..HEADER_BYTES + header.payload_bytes)
                    .is_some_and(|p| header.fits(p))
        })
    }

    #[test]
    fn a_frame_is_read_back() {
        let bytes = frame(b"hello");
        let header = header(&bytes).expect("valid");
        assert_eq!((header.kind, header.payload_bytes), (Kind::Changes, 5));
        assert!(is_valid(&bytes));
        assert_eq!(find_magic(&bytes, 0), Some(0));
        assert_eq!(find_magic(&bytes, 1), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for payload in [&b""[..], b"x", b"some longer payload, so that lengths have more than one bit"] {
            let good = frame(payload);
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!is_valid(&bad), "bit {bit} of {} bytes", good.len());
            }
            for length in 0..good.len() {
                assert!(!is_valid(&good[..length]), "cut to {length}");
            }
        }
    }
}
