//! Frames: a 4-byte length, a header with its type and length, a body.
//!
//! ```text
//! 0        4           5              8                    8 + headerLength
//! │ length │ serialize │ headerLength │ header             │ body           │
//! ```
//! `length` counts everything after itself. All integers are big-endian.

use std::ops::ControlFlow;

/// Largest value of a frame's length field, bytes: the reference closes the connection above it.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The length field itself.
pub const LENGTH_BYTES: usize = 4;
/// Length field, serialize type and header length.
pub const PREFIX_BYTES: usize = 8;

/// A partial frame's buffer keeps at most this much memory, bytes, once the frame is complete.
const IDLE_BUFFER_BYTES: usize = 64 * 1024;

/// Why a stream cannot be trusted any more: the connection is closed, the text goes to the log.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum FrameError {
    /// The length field is above the limit.
    #[error("frame length {bytes} is above the limit of {limit} bytes")]
    TooLong {
        /// What the length field says.
        bytes: u32,
        /// The limit in force.
        limit: usize,
    },
    /// The length field leaves no room for the header's own length.
    #[error("frame length {bytes} is below the 4 bytes of the header length")]
    TooShort {
        /// What the length field says.
        bytes: u32,
    },
    /// The bytes given do not make up the frame that the length field announces.
    #[error("frame of {announced} bytes was given as {given} bytes")]
    Truncated {
        /// Whole frame by its length field.
        announced: usize,
        /// Bytes at hand.
        given: usize,
    },
    /// The header would reach beyond the frame.
    #[error("header length {header} is beyond the {available} bytes of the frame")]
    HeaderTooLong {
        /// What the header length field says.
        header: usize,
        /// What the frame has for header and body.
        available: usize,
    },
    /// Neither JSON (0) nor ROCKETMQ (1).
    #[error("unknown serialize type {0}")]
    SerializeType(u8),
    /// The header is not a JSON object of the expected shape.
    #[error("JSON header, byte {position}: {what}")]
    Json {
        /// Offset inside the header.
        position: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// The ROCKETMQ header is cut or its inner lengths contradict each other.
    #[error("ROCKETMQ header, byte {position}: {what}")]
    Binary {
        /// Offset inside the header.
        position: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// More header fields than [`crate::command::FIELDS_MAX`].
    #[error("more than {limit} header fields")]
    TooManyFields {
        /// The limit in force.
        limit: usize,
    },
}

/// Cuts one connection's byte stream into frames. Lives as long as the connection, on the connection's shard.
///
/// Frames that lie whole in what was received are handed out in place; only a partial rest is copied. Memory:
/// at most the limit plus 4 bytes, and it grows with the bytes received, never with the length a peer merely
/// announced.
#[derive(Debug)]
pub struct FrameAssembler {
    limit: usize,
    /// A partial frame, or whole frames left over when the consumer stopped.
    rest: Vec<u8>,
    failed: Option<FrameError>,
}

impl FrameAssembler {
    /// For frames whose length field is at most `limit` (usually [`FRAME_BYTES_MAX`]).
    pub fn new(limit: usize) -> Self {
        FrameAssembler { limit, rest: Vec::new(), failed: None }
    }

    /// Bytes held of frames not handed out yet.
    pub fn pending_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Takes received bytes and hands out every frame that is complete now, each including its length field.
    ///
    /// `on_frame` may stop with `Break`: what follows is kept, and the next call (also with no bytes) goes on
    /// there.
    ///
    /// # Errors
    /// A length field out of bounds. Frames before it have been handed out; the assembler stays failed and
    /// answers the same error from then on.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        on_frame: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.hand_out(bytes, on_frame).inspect_err(|error| {
            self.failed = Some(error.clone());
            self.rest = Vec::new();
        })
    }

    fn hand_out(
        &mut self,
        mut bytes: &[u8],
        mut on_frame: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), FrameError> {
        if !self.rest.is_empty() && !self.finish_rest(&mut bytes, &mut on_frame)? {
            return Ok(());
        }
        while let Some(total) = frame_bytes(bytes, self.limit)? {
            if bytes.len() < total {
                break;
            }
            let (frame, after) = bytes.split_at(total);
            bytes = after;
            if on_frame(frame).is_break() {
                break;
            }
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Completes what earlier calls left over. `false`: all bytes are taken and nothing more can be handed
    /// out now.
    fn finish_rest(
        &mut self,
        bytes: &mut &[u8],
        on_frame: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool, FrameError> {
        let mut start = 0;
        let mut stopped = false;
        while start < self.rest.len() && !stopped {
            // Top up to the length field first, then to the whole frame, with no byte more than needed: what
            // follows can then be handed out in place.
            self.top_up(start, LENGTH_BYTES, bytes);
            let Some(total) = frame_bytes(&self.rest[start..], self.limit)? else { break };
            self.top_up(start, total, bytes);
            if self.rest.len() - start < total {
                break;
            }
            stopped = on_frame(&self.rest[start..start + total]).is_break();
            start += total;
        }
        let complete = start == self.rest.len();
        self.rest.drain(..start);
        if self.rest.is_empty() && self.rest.capacity() > IDLE_BUFFER_BYTES {
            self.rest = Vec::new();
        }
        if complete && !stopped {
            return Ok(true);
        }
        self.rest.extend_from_slice(bytes);
        Ok(false)
    }

    /// Moves bytes over until `rest[start..]` has `wanted` bytes or none are left.
    fn top_up(&mut self, start: usize, wanted: usize, bytes: &mut &[u8]) {
        let missing = wanted.saturating_sub(self.rest.len() - start);
        let (taken, after) = bytes.split_at(missing.min(bytes.len()));
        let room = self.rest.capacity() - self.rest.len();
        if room < taken.len() {
            // Doubles like any vector, but never beyond the frame.
            self.rest.reserve_exact(self.rest.capacity().clamp(taken.len(), missing));
        }
        self.rest.extend_from_slice(taken);
        *bytes = after;
    }
}

/// Size of the frame that starts here, with its length field; `None` when that field is not complete yet.
fn frame_bytes(bytes: &[u8], limit: usize) -> Result<Option<usize>, FrameError> {
    let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length as usize > limit {
        return Err(FrameError::TooLong { bytes: length, limit });
    }
    if (length as usize) < PREFIX_BYTES - LENGTH_BYTES {
        return Err(FrameError::TooShort { bytes: length });
    }
    Ok(Some(LENGTH_BYTES + length as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut frame = ((4 + body.len()) as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(body);
        frame
    }

    /// Feeds a stream in pieces of that size and returns the bodies handed out.
    fn feed_in_pieces(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        let mut bodies = Vec::new();
        for part in stream.chunks(piece) {
            assembler
                .feed(part, |frame| {
                    bodies.push(frame[PREFIX_BYTES..].to_vec());
                    ControlFlow::Continue(())
                })
                .expect("a good stream");
        }
        assert_eq!(assembler.pending_bytes(), 0);
        bodies
    }

    #[test]
    fn any_fragmentation_gives_the_same_frames() {
        let bodies: Vec<Vec<u8>> =
            [0, 1, 3, 200, 70_000].iter().map(|size| vec![*size as u8; *size]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        for piece in [1, 2, 3, 5, 7, 8, 64, 1000, 65_536, stream.len()] {
            assert_eq!(feed_in_pieces(&stream, piece), bodies, "pieces of {piece}");
        }
    }

    #[test]
    fn a_stop_keeps_what_follows() {
        let stream: Vec<u8> = (0u8..5).flat_map(|number| frame(&[number])).collect();
        for piece in [1, 6, 9, 10, 20, stream.len()] {
            let mut assembler = FrameAssembler::new(100);
            let mut seen = Vec::new();
            let mut one = |frame: &[u8]| {
                seen.push(frame[PREFIX_BYTES]);
                ControlFlow::Break(())
            };
            for part in stream.chunks(piece) {
                assembler.feed(part, &mut one).expect("a good stream");
            }
            for _ in 0..5 {
                assembler.feed(&[], &mut one).expect("a good stream");
            }
            assert_eq!(seen, [0, 1, 2, 3, 4], "pieces of {piece}");
        }
    }

    #[test]
    fn lengths_out_of_bounds_fail_for_good_after_the_good_frames() {
        for (length, expected) in [
            (101u32, FrameError::TooLong { bytes: 101, limit: 100 }),
            (0x7FFF_FFFF, FrameError::TooLong { bytes: 0x7FFF_FFFF, limit: 100 }),
            (u32::MAX, FrameError::TooLong { bytes: u32::MAX, limit: 100 }),
            (3, FrameError::TooShort { bytes: 3 }),
        ] {
            let mut stream = frame(b"good");
            stream.extend_from_slice(&length.to_be_bytes());
            for piece in [1, 13, stream.len()] {
                let mut assembler = FrameAssembler::new(100);
                let mut frames = 0;
                let mut last = Ok(());
                for part in stream.chunks(piece) {
                    last = assembler.feed(part, |_| {
                        frames += 1;
                        ControlFlow::Continue(())
                    });
                }
                assert_eq!((frames, last), (1, Err(expected.clone())));
                assert_eq!(assembler.feed(&frame(b"late"), |_| panic!("failed")), Err(expected.clone()));
                assert_eq!(assembler.pending_bytes(), 0);
            }
        }
    }

    #[test]
    fn an_announced_length_alone_takes_no_memory() {
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        let announced = (FRAME_BYTES_MAX as u32).to_be_bytes();
        assembler.feed(&announced, |_| panic!("not complete")).expect("within the limit");
        assert!(assembler.rest.capacity() < 1024, "{}", assembler.rest.capacity());
    }

    #[test]
    fn a_large_frame_takes_no_more_than_itself_and_does_not_keep_its_buffer() {
        let stream = frame(&vec![1; 300_000]);
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        for part in stream.chunks(4096) {
            assembler.feed(part, |_| ControlFlow::Continue(())).expect("a good stream");
            assert!(assembler.rest.capacity() <= stream.len(), "{}", assembler.rest.capacity());
        }
        assert!(assembler.rest.capacity() <= IDLE_BUFFER_BYTES, "{}", assembler.rest.capacity());
    }
}
