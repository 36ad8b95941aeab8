//! Bytes waiting to be sent on one connection.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Above this many pending bytes a connection counts as slow: [`crate::Event::Drained`] will tell when it recovered.
pub const OUTBOX_HIGH_BYTES: usize = 8 << 20;
/// See [`OUTBOX_HIGH_BYTES`].
pub const OUTBOX_LOW_BYTES: usize = 1 << 20;
/// Slices up to this size are copied into the tail: a copy of 512 bytes costs less than one more iovec.
pub const COALESCE_BYTES: usize = 512;
const TAIL_CAPACITY: usize = 4096;

/// An ordered byte stream made of small writes (coalesced) and large shared slices (by reference).
/// The reactor sends it with one vectored send per connection and turn; slices are released on the send's completion.
#[derive(Debug, Default)]
pub struct Outbox {
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    tail: BytesMut,
}

impl Outbox {
    /// The buffer for small pieces: append to it, never shorten it.
    pub fn tail(&mut self) -> &mut BytesMut {
        if self.tail.capacity() == self.tail.len() {
            self.tail.reserve(TAIL_CAPACITY);
        }
        &mut self.tail
    }

    /// Appends a shared slice.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= COALESCE_BYTES {
            self.tail().extend_from_slice(&bytes);
        } else {
            self.seal();
            self.sealed_bytes += bytes.len();
            self.sealed.push_back(bytes);
        }
    }

    /// Bytes that no send operation has taken yet.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.sealed_bytes + self.tail.len()
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let part = self.tail.split().freeze();
            self.sealed_bytes += part.len();
            self.sealed.push_back(part);
        }
    }

    /// Takes up to `slices_max` slices in order, for one vectored send. For drivers.
    pub fn take(&mut self, slices_max: usize, out: &mut VecDeque<Bytes>) {
        self.seal();
        for _ in 0..slices_max {
            let Some(part) = self.sealed.pop_front() else { break };
            self.sealed_bytes -= part.len();
            out.push_back(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_across_small_and_large_pieces() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(b"ab");
        outbox.push(Bytes::from(vec![b'c'; COALESCE_BYTES + 1]));
        outbox.push(Bytes::from_static(b"d"));
        assert_eq!(outbox.pending_bytes(), COALESCE_BYTES + 4);
        let mut taken = VecDeque::new();
        outbox.take(16, &mut taken);
        let all: Vec<u8> = taken.iter().flat_map(|b| b.iter().copied()).collect();
        assert_eq!(&all[..2], b"ab");
        assert_eq!(all[all.len() - 1], b'd');
        assert_eq!(all.len(), COALESCE_BYTES + 4);
        assert_eq!(outbox.pending_bytes(), 0);
    }
}
