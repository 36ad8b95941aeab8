//! Looking behind the end of the log for what unfinished writes left there.

use std::io;

use ringmq_reactor::{AlignedBuffer, FileOp, FileValue, PAGE_BYTES, TaskIo};

use super::FoundSegment;
use super::walk::{Step, step};
use crate::limits::{BATCH_BYTES_MAX, RECOVERY_READ_BYTES};
use crate::offset::LogOffset;
use crate::seal::{SEAL_BYTES, batch_start, signature};

/// What lies behind the end.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// Runs of pages (start, end) that are not all zero; a run lies in one segment.
    pub dirty: Vec<(LogOffset, LogOffset)>,
    /// Start of the first whole batch.
    pub first_batch: Option<LogOffset>,
    /// Position of the last seal of a whole batch.
    pub last_seal: Option<LogOffset>,
    /// Records in whole batches.
    pub records: u64,
}

impl Strays {
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty.iter().map(|(from, to)| to.since(*from)).sum()
    }

    fn add_dirty(&mut self, page: LogOffset, segment: LogOffset) {
        let end = page.plus(PAGE_BYTES);
        match self.dirty.last_mut() {
            Some((_, last)) if *last == page && page != segment => *last = end,
            _ => self.dirty.push((page, end)),
        }
    }
}

/// How far a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Limit,
    /// Little further than the first whole batch.
    FirstBatch,
}

/// Searches from `head` to `limit` (page-aligned) in those segments.
pub(crate) async fn search(
    io: &TaskIo,
    segments: &[FoundSegment],
    head: LogOffset,
    limit: LogOffset,
    until: Until,
) -> io::Result<Strays> {
    let mut strays = Strays::default();
    for segment in segments {
        let mut from = head.max(segment.start).page_floor();
        let end = limit.min(segment.end);
        while from < end {
            let to = from.plus(RECOVERY_READ_BYTES).min(end);
            // A page of context on both sides: seals do not end at page borders.
            let first = LogOffset(from.0.saturating_sub(PAGE_BYTES as u64)).max(segment.start);
            let bytes = read(io, segment, first, to.plus(PAGE_BYTES).min(segment.end)).await?;
            search_chunk(io, segment, head, (from, to), first, bytes.as_ref(), &mut strays).await?;
            from = to;
            if until == Until::FirstBatch && strays.first_batch.is_some() {
                return Ok(strays);
            }
        }
    }
    Ok(strays)
}

async fn search_chunk(
    io: &TaskIo,
    segment: &FoundSegment,
    head: LogOffset,
    (from, to): (LogOffset, LogOffset),
    first: LogOffset,
    bytes: &[u8],
    strays: &mut Strays,
) -> io::Result<()> {
    let place = |at: LogOffset| usize::try_from(at.since(first)).expect("inside a chunk");
    let mut page = from;
    while page < to {
        let next = page.plus(PAGE_BYTES);
        let content = &bytes[place(page.max(head))..place(next)];
        if content.iter().any(|b| *b != 0) {
            strays.add_dirty(page, segment.start);
            // A seal starts with zeros: its first bytes may lie in the page before.
            let start = LogOffset(page.0.saturating_sub(SEAL_BYTES as u64)).max(head).max(first);
            for at in start.0..next.0 {
                let seal = &bytes[place(LogOffset(at))..];
                if seal.starts_with(&signature()) {
                    whole_batch(io, segment, head, LogOffset(at), seal, strays).await?;
                }
            }
        }
        page = next;
    }
    Ok(())
}

/// Counts the batch that the seal at `at` closes, if it is whole.
async fn whole_batch(
    io: &TaskIo,
    segment: &FoundSegment,
    head: LogOffset,
    at: LogOffset,
    seal: &[u8],
    strays: &mut Strays,
) -> io::Result<()> {
    let Some(start) = batch_start(seal, at) else { return Ok(()) };
    let seen = strays.last_seal.is_some_and(|last| last >= at);
    let possible =
        start >= head.max(segment.start) && start < at && at.since(start) <= BATCH_BYTES_MAX as u64;
    if seen || !possible {
        return Ok(());
    }
    let first = start.page_floor();
    let end = at.plus(SEAL_BYTES).page_ceil().min(segment.end);
    let bytes = read(io, segment, first, end).await?;
    let from = usize::try_from(start.since(first)).expect("below a page");
    let whole = step(&bytes.as_ref()[from..], start, segment.end.since(start));
    if let Step::Batch { record_bytes, records } = whole
        && start.plus(record_bytes) == at
    {
        strays.first_batch.get_or_insert(start);
        strays.last_seal = Some(at);
        strays.records += u64::from(records);
    }
    Ok(())
}

/// Bytes of a segment between two page borders; what the file does not hold reads as zeros.
async fn read(
    io: &TaskIo,
    segment: &FoundSegment,
    from: LogOffset,
    to: LogOffset,
) -> io::Result<AlignedBuffer> {
    let into = AlignedBuffer::zeroed(usize::try_from(to.since(from)).map_err(io::Error::other)?);
    let read = FileOp::Read { file: segment.file, offset: from.since(segment.start), into };
    match io.file(read).await? {
        FileValue::Read { buffer, .. } => Ok(buffer),
        other => Err(io::Error::other(format!("the driver answered a read with {other:?}"))),
    }
}
