//! Going through a log batch by batch, across damage.

use ringmq_remoting::record::{RecordError, RecordView, records};

use super::Inspection;
use crate::error::OpenError;
use crate::offset::LogOffset;
use crate::recover::reader::SegmentReader;
use crate::recover::stray::{self, Until};
use crate::recover::walk::{Invalid, Step, step};
use crate::recover::{FoundSegment, failed};
use crate::seal::SEAL_BYTES;

/// A piece of a log.
#[derive(Debug)]
pub enum Piece<'w> {
    /// A whole batch: records whose seal is right.
    Batch {
        /// Position of its first record.
        start: LogOffset,
        /// Its records, one behind the other, without the seal.
        bytes: &'w [u8],
    },
    /// The rest of a segment was left empty, in order.
    Blank {
        /// Where the blank starts.
        start: LogOffset,
        /// The next segment's start.
        end: LogOffset,
    },
    /// Bytes that are no whole batch, with a whole batch behind them.
    Damage {
        /// First bad byte.
        start: LogOffset,
        /// Start of the next whole batch.
        end: LogOffset,
        /// What is wrong at `start`.
        cause: String,
    },
    /// Nothing valid follows.
    End {
        /// End of the last whole batch (or blank).
        at: LogOffset,
        /// What stands there.
        cause: String,
    },
}

impl<'w> Piece<'w> {
    /// The records of a batch with their positions; nothing for other pieces.
    pub fn records(
        &self,
    ) -> impl Iterator<Item = (LogOffset, Result<RecordView<'w>, RecordError>)> + use<'w> {
        let (start, bytes) = match *self {
            Piece::Batch { start, bytes } => (start, bytes),
            _ => (LogOffset(0), &[][..]),
        };
        let mut at = start;
        records(bytes).map(move |record| {
            let place = at;
            at = at.plus(record.as_ref().map_or(0, RecordView::total_bytes));
            (place, record)
        })
    }
}

/// What comes next, without borrowed bytes.
enum Found {
    Batch(usize),
    Blank(LogOffset),
    Damage(LogOffset, String),
    End(String),
}

/// See [`Inspection::walk`].
pub struct LogWalk<'a> {
    inspection: &'a Inspection,
    /// Place of the running segment.
    segment: usize,
    head: LogOffset,
    reader: Option<SegmentReader<'a>>,
    /// Bytes of the batch handed out last, not yet consumed.
    lent: usize,
    ended: bool,
}

impl<'a> LogWalk<'a> {
    pub(super) fn new(inspection: &'a Inspection, from: LogOffset) -> Self {
        let segments = &inspection.files.segments;
        let segment = segments.partition_point(|s| s.start <= from).saturating_sub(1);
        let head = segments.get(segment).map_or(LogOffset(0), |s| s.start);
        Self { inspection, segment, head, reader: None, lent: 0, ended: false }
    }

    /// The next piece; `None` behind the end.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn next(&mut self) -> Result<Option<Piece<'_>>, OpenError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(reader) = &mut self.reader {
            reader.consume(self.lent);
            self.lent = 0;
        }
        let start = self.head;
        Ok(Some(match self.find().await? {
            Found::Batch(record_bytes) => {
                self.lent = record_bytes + SEAL_BYTES;
                self.head = start.plus(self.lent);
                let reader = self.reader.as_ref().expect("a batch was read from it");
                Piece::Batch { start, bytes: &reader.bytes()[..record_bytes] }
            }
            Found::Blank(end) => {
                self.next_segment(end);
                Piece::Blank { start, end }
            }
            Found::Damage(end, cause) => {
                self.go_on_at(end).await?;
                Piece::Damage { start, end, cause }
            }
            Found::End(cause) => {
                self.ended = true;
                Piece::End { at: start, cause }
            }
        }))
    }

    async fn find(&mut self) -> Result<Found, OpenError> {
        let Some(segment) = self.inspection.files.segments.get(self.segment).copied() else {
            return Ok(Found::End("there is no further segment".to_owned()));
        };
        if segment.start > self.head {
            return self.behind_damage(self.segment, "the segment that should start there is missing").await;
        }
        loop {
            let left = segment.end.since(self.head);
            let found = if left == 0 {
                Step::Stop(Invalid::SegmentEnd)
            } else {
                let head = self.head;
                step(self.reader(&segment).bytes(), head, left)
            };
            match found {
                Step::Batch { record_bytes, .. } => return Ok(Found::Batch(record_bytes)),
                Step::Blank => return Ok(Found::Blank(segment.end)),
                Step::Stop(invalid) => return self.behind_damage(self.segment, invalid).await,
                Step::More => {
                    let path = self.inspection.recovery().path(segment.start);
                    if !self.reader(&segment).more().await.map_err(failed("read", path))? {
                        return self.behind_damage(self.segment, Invalid::SegmentEnd).await;
                    }
                }
            }
        }
    }

    fn reader(&mut self, segment: &FoundSegment) -> &mut SegmentReader<'a> {
        let (inspection, head) = (self.inspection, self.head);
        let io = &inspection.io;
        self.reader.get_or_insert_with(|| {
            assert_eq!(head, segment.start, "another start has a reader already");
            SegmentReader::new(io, segment.file, segment.end.since(segment.start))
        })
    }

    /// Looks for the next whole batch in the segments from `from` on.
    async fn behind_damage(&self, from: usize, cause: impl ToString) -> Result<Found, OpenError> {
        let segments = &self.inspection.files.segments[from..];
        let limit = self.inspection.search_limit(self.head);
        let strays = stray::search(&self.inspection.io, segments, self.head, limit, Until::FirstBatch).await;
        let strays = strays.map_err(failed("read", self.inspection.recovery().path(self.head)))?;
        Ok(match strays.first_batch {
            Some(start) => Found::Damage(start, cause.to_string()),
            None => Found::End(cause.to_string()),
        })
    }

    fn next_segment(&mut self, start: LogOffset) {
        self.segment += 1;
        self.head = start;
        self.reader = None;
    }

    async fn go_on_at(&mut self, at: LogOffset) -> Result<(), OpenError> {
        let inspection = self.inspection;
        let segments = &inspection.files.segments;
        self.segment = segments.partition_point(|s| s.start <= at).saturating_sub(1);
        self.head = at;
        let segment = segments[self.segment];
        let (page, bytes) = (at.page_floor(), segment.end.since(segment.start));
        let mut reader = SegmentReader::from(&inspection.io, segment.file, bytes, page.since(segment.start));
        let path = inspection.recovery().path(segment.start);
        reader.more().await.map_err(failed("read", path))?;
        reader.consume(usize::try_from(at.since(page)).expect("below a page"));
        self.reader = Some(reader);
        Ok(())
    }
}
