//! Removing what lies behind the end of the log, and providing the segment that the end is in.

use std::io;
use std::sync::Arc;

use ringmq_reactor::{AlignedBuffer, FileId, FileOp, FileValue, PAGE_BYTES, WriteData};

use super::stray::Strays;
use super::{FoundSegment, Recovery, failed};
use crate::error::OpenError;
use crate::limits::{WRITE_BYTES_MAX, ZERO_WRITE_BYTES};
use crate::offset::LogOffset;
use crate::segments::PAGED_FILE;
use crate::segments::{Segment, Segments};

impl Recovery<'_> {
    /// Removes the segments behind the one that the log ends in (`found[at]`) and zeroes what is not zero in that one.
    pub(super) async fn cut(
        &mut self,
        found: &mut Vec<FoundSegment>,
        at: usize,
        head: LogOffset,
        strays: &Strays,
    ) -> Result<(), OpenError> {
        let keep = found.get(at).is_some_and(|s| s.start <= head);
        let kept = if keep { at + 1 } else { at };
        // Newest first: at any moment, what is left is a log that ends at the same place.
        while found.len() > kept {
            let segment = found.pop().expect("more than kept");
            let path = self.path(segment.start);
            self.close(segment.file).await?;
            self.io.remove(path.clone()).await.map_err(failed("remove", path))?;
            let dir = self.log_dir();
            self.io.sync_dir(dir.clone()).await.map_err(failed("sync", dir))?;
        }
        let Some(segment) = found.get(at).copied() else { return Ok(()) };
        let runs: Vec<_> = strays.dirty.iter().filter(|(from, _)| *from < segment.end).copied().collect();
        for (from, to) in &runs {
            self.zero(&segment, head, *from, *to).await?;
        }
        if !runs.is_empty() {
            let path = self.path(segment.start);
            self.io.sync_data(segment.file).await.map_err(failed("flush", path))?;
        }
        Ok(())
    }

    /// Zeroes pages, except for what the head's page holds before the head.
    async fn zero(
        &self,
        segment: &FoundSegment,
        head: LogOffset,
        mut from: LogOffset,
        to: LogOffset,
    ) -> Result<(), OpenError> {
        let path = self.path(segment.start);
        if from < head {
            let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
            let offset = from.since(segment.start);
            let old = self.io.read_at(segment.file, offset, PAGE_BYTES).await;
            let old = old.map_err(failed("read", path.clone()))?;
            let keep = usize::try_from(head.since(from)).expect("below a page");
            page.as_mut()[..keep].copy_from_slice(&old[..keep]);
            let data = WriteData::Aligned(Arc::new(page));
            let written = self.io.write_at(segment.file, offset, data, true).await;
            written.map_err(failed("write", path.clone()))?;
            from = from.plus(PAGE_BYTES);
        }
        while from < to {
            let bytes = to.since(from).min(ZERO_WRITE_BYTES as u64);
            let zeros = AlignedBuffer::zeroed(usize::try_from(bytes).expect("below ZERO_WRITE_BYTES"));
            let data = WriteData::Aligned(Arc::new(zeros));
            let written = self.io.write_at(segment.file, from.since(segment.start), data, false).await;
            written.map_err(failed("write", path.clone()))?;
            from = LogOffset(from.0 + bytes);
        }
        Ok(())
    }

    /// Writes what the log holds between `from` and `to` once more and flushes it; see the module's text.
    pub(super) async fn persist(
        &self,
        found: &[FoundSegment],
        from: LogOffset,
        to: LogOffset,
    ) -> Result<(), OpenError> {
        for segment in found.iter().filter(|s| from < s.end && s.start < to) {
            let path = self.path(segment.start);
            let mut at = from.max(segment.start).page_floor();
            let end = to.page_ceil().min(segment.end);
            while at < end {
                let (offset, bytes) = (at.since(segment.start), end.since(at).min(WRITE_BYTES_MAX as u64));
                let into = AlignedBuffer::zeroed(usize::try_from(bytes).expect("below WRITE_BYTES_MAX"));
                let read = FileOp::Read { file: segment.file, offset, into };
                let data = match self.io.file(read).await {
                    Ok(FileValue::Read { buffer, bytes: filled }) if filled as u64 == bytes => buffer,
                    Ok(_) => return Err(failed("read", path)(io::ErrorKind::UnexpectedEof.into())),
                    Err(error) => return Err(failed("read", path)(error)),
                };
                let data = WriteData::Aligned(Arc::new(data));
                let written = self.io.write_at(segment.file, offset, data, false).await;
                written.map_err(failed("write", path.clone()))?;
                at = LogOffset(at.0 + bytes);
            }
            self.io.sync_data(segment.file).await.map_err(failed("flush", path))?;
        }
        Ok(())
    }

    /// The log's segments, with one that holds the head, allocated in full.
    pub(super) async fn segment_of_head(
        &mut self,
        found: Vec<FoundSegment>,
        head: LogOffset,
    ) -> Result<Segments, OpenError> {
        let mut list: Vec<_> = found
            .iter()
            .map(|s| Segment { start: s.start, end: s.end, file: s.file, recycled: false })
            .collect();
        match list.last_mut() {
            // A file whose making was cut short: nothing is in it yet.
            Some(last) if last.start == head && last.end.since(head) < self.config.segment_bytes => {
                last.end = self.allocate(head, last.file, self.config.segment_bytes).await?;
            }
            Some(last) if head < last.end => {}
            _ => {
                let (file, _) = self.open(self.path(head), PAGED_FILE).await?;
                let end = self.allocate(head, file, self.config.segment_bytes).await?;
                list.push(Segment { start: head, end, file, recycled: false });
            }
        }
        Ok(Segments::new(self.log_dir(), list))
    }

    pub(super) async fn allocate(
        &self,
        start: LogOffset,
        file: FileId,
        bytes: u64,
    ) -> Result<LogOffset, OpenError> {
        let (path, dir) = (self.path(start), self.log_dir());
        self.io.allocate(file, bytes).await.map_err(failed("allocate", path.clone()))?;
        self.io.sync_data(file).await.map_err(failed("flush", path))?;
        self.io.sync_dir(dir.clone()).await.map_err(failed("sync", dir))?;
        Ok(LogOffset(start.0 + bytes))
    }

    pub(super) async fn close(&mut self, file: FileId) -> Result<(), OpenError> {
        self.open.retain(|open| *open != file);
        self.io.close(file).await.map_err(failed("close a file of", self.log_dir()))
    }
}
