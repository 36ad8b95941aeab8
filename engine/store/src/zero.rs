//! Writing zeros ahead of the log.
//!
//! Space that is only allocated costs a metadata commit at the first flush of each write into it (84–105 µs against 156–196 µs for
//! a durable 4 KiB write on the machine of design.md §15). So zeros are written first:
//! - the segment being prepared for later, from start to end, while nobody writes to it;
//! - the running segment, where that was not done (the first one, the one after a restart), a fixed distance ahead.
//!
//! A recycled segment needs none: it was written in its earlier life.
//!
//! One write in flight, followed by a pause of four times its duration: at most a fifth of the device. The log never waits for zeros: when
//! it catches up it writes into allocated space. The only wait is for a zero write already in flight on the same pages,
//! because two writes in flight have no order.

use std::io;
use std::sync::Arc;

use ringmq_reactor::{AlignedBuffer, FileOp, FileValue, Io, Monotonic, WriteData};

use crate::limits::{WRITE_BYTES_MAX, ZERO_PAUSE_FACTOR, ZERO_WRITE_BYTES};
use crate::offset::LogOffset;
use crate::segments::{Segment, Segments};
use crate::token::{Kind, Tokens};

#[derive(Debug, Clone, Copy)]
struct InFlight {
    segment: LogOffset,
    from: LogOffset,
    to: LogOffset,
    since: Monotonic,
}

/// How far one segment has been zeroed.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    segment: LogOffset,
    done: LogOffset,
}

impl Cursor {
    fn at(segment: LogOffset) -> Self {
        Self { segment, done: segment }
    }

    /// A recycled segment has been written already.
    fn of(segment: &Segment) -> Self {
        Self { segment: segment.start, done: if segment.recycled { segment.end } else { segment.start } }
    }
}

pub(crate) struct Zeroing {
    /// How far the running segment is kept zeroed ahead; 0: never write zeros.
    ahead_bytes: u64,
    /// Shared by all writes.
    zeros: Arc<AlignedBuffer>,
    /// The segment that the log's end is in.
    current: Cursor,
    /// The one after it.
    next: Cursor,
    in_flight: Option<InFlight>,
    pausing: bool,
    /// Inside a run: from half the distance to all of it, so that metadata commits come in bursts, not all the time.
    running: bool,
    failed: bool,
    written_bytes: u64,
}

impl Zeroing {
    pub fn new(ahead_bytes: u64) -> Self {
        Self {
            ahead_bytes,
            zeros: Arc::new(AlignedBuffer::zeroed(ZERO_WRITE_BYTES)),
            current: Cursor::at(LogOffset(u64::MAX)),
            next: Cursor::at(LogOffset(u64::MAX)),
            in_flight: None,
            pausing: false,
            running: false,
            failed: false,
            written_bytes: 0,
        }
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Pages that a log write must not touch now.
    pub fn pages_in_flight(&self) -> Option<(LogOffset, LogOffset)> {
        self.in_flight.map(|w| (w.from, w.to))
    }

    /// Starts the next write if one is due.
    pub fn drive(&mut self, io: &mut dyn Io, tokens: Tokens, segments: &Segments, head: LogOffset) {
        if self.ahead_bytes == 0 || self.failed || self.pausing || self.in_flight.is_some() {
            return;
        }
        let Some((from, segment)) = self.due(segments, head) else { return };
        let bytes = segment.end.since(from).min(ZERO_WRITE_BYTES as u64);
        let data = if bytes == ZERO_WRITE_BYTES as u64 {
            Arc::clone(&self.zeros)
        } else {
            Arc::new(AlignedBuffer::zeroed(usize::try_from(bytes).expect("below ZERO_WRITE_BYTES")))
        };
        let to = LogOffset(from.0 + bytes);
        self.in_flight = Some(InFlight { segment: segment.start, from, to, since: io.now() });
        let offset = from.since(segment.start);
        let write =
            FileOp::Write { file: segment.file, offset, data: WriteData::Aligned(data), durable: false };
        io.file(tokens.of(Kind::Zero, 0), write);
    }

    /// Where to write zeros next.
    fn due(&mut self, segments: &Segments, head: LogOffset) -> Option<(LogOffset, Segment)> {
        let running = *segments.find(head)?;
        if self.current.segment != running.start {
            let was_next = self.next.segment == running.start;
            self.current = if was_next && !running.recycled { self.next } else { Cursor::of(&running) };
            self.next = Cursor::at(running.end);
        }
        // Not at the head itself: the pages that the log takes during this write are left to it.
        let margin = (self.ahead_bytes / 4).min(WRITE_BYTES_MAX as u64);
        let from = self.current.done.max(LogOffset(head.0 + margin).page_ceil());
        if from < running.end {
            let ahead = from.since(head);
            self.running = ahead < if self.running { self.ahead_bytes } else { self.ahead_bytes / 2 };
            if self.running {
                return Some((from, running));
            }
        }
        let next = *segments.find(running.end)?;
        (!next.recycled && self.next.done < next.end).then_some((self.next.done, next))
    }

    /// The pause is over.
    pub fn on_timer(&mut self) {
        self.pausing = false;
    }

    /// Completion of the write in flight.
    pub fn on_file(&mut self, io: &mut dyn Io, tokens: Tokens, result: io::Result<FileValue>) {
        let write = self.in_flight.take().expect("a zero write was in flight");
        if let Err(error) = result {
            // Zeros are a convenience: the log goes on in allocated space, and will meet the error itself if it lasts.
            tracing::warn!(at = write.from.0, %error, "writing zeros ahead of the log failed; it is given up");
            self.failed = true;
            return;
        }
        for cursor in [&mut self.current, &mut self.next] {
            if cursor.segment == write.segment {
                cursor.done = cursor.done.max(write.to);
            }
        }
        self.written_bytes += write.to.since(write.from);
        self.pausing = true;
        let took = io.now().since(write.since);
        io.timer(io.now() + took * ZERO_PAUSE_FACTOR, tokens.of(Kind::ZeroTimer, 0));
    }
}
