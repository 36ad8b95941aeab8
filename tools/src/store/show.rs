//! `rmq-store show`.

use std::io::Write;
use std::path::Path;

use ringmq_reactor::TaskIo;
use ringmq_store::inspect::{FlushKind, Forecast, Inspection, Piece, SegmentInfo};
use ringmq_store::{LogOffset, OpenError, TailCacheFound};

use super::{Out, StoreToolError, place};
use crate::admin::format::local_time;

/// What a segment holds.
#[derive(Default)]
struct Content {
    records: u64,
    bytes: u64,
    first: Option<LogOffset>,
    last: LogOffset,
    earliest: i64,
    newest: i64,
    damaged: u64,
}

pub(super) async fn run(io: &TaskIo, dir: &Path, out: &mut Out) -> Result<(), StoreToolError> {
    for place in place::shards(io, dir).await? {
        let inspection = place.open(io).await?;
        let shown = shard(&inspection, &place.dir, out).await;
        inspection.close().await;
        shown?;
    }
    Ok(())
}

async fn shard(inspection: &Inspection, dir: &Path, out: &mut Out) -> Result<(), StoreToolError> {
    let write = StoreToolError::Output;
    writeln!(out, "shard {}  {}", inspection.shard(), dir.display()).map_err(write)?;
    match inspection.checkpoint() {
        Some(known) => writeln!(
            out,
            "  checkpoint  {}, {}, sequence {}, durable to {}, nothing written from {} on, torn writes reach {} bytes",
            if known.flush == FlushKind::Sync { "SYNC_FLUSH" } else { "ASYNC_FLUSH" },
            if known.closed { "closed in order" } else { "open when it was written" },
            known.sequence,
            known.durable,
            known.written_max,
            known.torn_window,
        ),
        None => writeln!(out, "  checkpoint  missing or damaged"),
    }
    .map_err(write)?;
    match inspection.forecast().await {
        Ok(forecast) => {
            tail_cache(&forecast, out).map_err(write)?;
            let report = forecast.report;
            writeln!(
                out,
                "  recovery    {:?}: {} records, {} bytes, {} queues, log from {} to {}; would cut {} bytes with {} whole records",
                report.tail,
                report.records,
                report.bytes,
                report.queues,
                report.log_min,
                report.log_max,
                report.truncated_bytes,
                report.discarded_records,
            )
        }
        Err(OpenError::Corrupt { corruption, .. }) => writeln!(out, "  recovery    REFUSES: {corruption}"),
        Err(error) => return Err(error.into()),
    }
    .map_err(write)?;
    let segments: Vec<_> = inspection.segments().collect();
    let contents = contents(inspection, &segments).await?;
    for (segment, content) in segments.iter().zip(contents) {
        line(segment, &content, out).map_err(write)?;
    }
    Ok(())
}

/// The file in memory: whether there is one, whose it is, and what only it has.
pub(super) fn tail_cache(forecast: &Forecast, out: &mut Out) -> std::io::Result<()> {
    let file = forecast.tail_file.as_ref().map_or_else(|| "-".to_owned(), |file| file.display().to_string());
    write!(out, "  tail cache  {file}: ")?;
    match (&forecast.tail_error, &forecast.report.tail_cache) {
        (Some(error), _) => writeln!(out, "NOT LOOKED AT, what only it has is not counted here: {error}"),
        (None, TailCacheFound::Nothing) if forecast.tail_file.is_some() => writeln!(out, "gone"),
        (None, TailCacheFound::Nothing) => writeln!(out, "none"),
        (None, TailCacheFound::Refused(refusal)) => writeln!(out, "would be refused: {refusal}"),
        (None, TailCacheFound::Used { records, bytes, warm_bytes, lost }) => {
            let (from, to) = (forecast.disk_end, forecast.report.log_max);
            write!(
                out,
                "this store's, would be taken over; only it has log offsets {from} to {to} ({records} records, {bytes} bytes); seals \
                 verified over {warm_bytes} bytes"
            )?;
            if let Some((at, sealed)) = lost {
                write!(out, "; DAMAGED: whole batches end at {at}, sealed up to {sealed}")?;
            }
            writeln!(out)
        }
    }
}

async fn contents(inspection: &Inspection, segments: &[SegmentInfo]) -> Result<Vec<Content>, StoreToolError> {
    let mut contents: Vec<_> = segments.iter().map(|_| Content::default()).collect();
    let mut walk = inspection.walk(LogOffset(0));
    while let Some(piece) = walk.next().await? {
        let place = |at| segments.partition_point(|segment| segment.start <= at).checked_sub(1);
        if let Piece::Damage { start, .. } = piece
            && let Some(place) = place(start)
        {
            contents[place].damaged += 1;
        }
        for (at, record) in piece.records() {
            let (Some(place), Ok(record)) = (place(at), record) else { continue };
            let content = &mut contents[place];
            content.records += 1;
            content.bytes += record.total_bytes() as u64;
            if content.first.is_none() {
                (content.first, content.earliest) = (Some(at), record.store_timestamp());
            }
            (content.last, content.newest) = (at, record.store_timestamp());
        }
    }
    Ok(contents)
}

fn line(segment: &SegmentInfo, content: &Content, out: &mut Out) -> std::io::Result<()> {
    let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
    write!(out, "  segment     {name}  {} bytes", segment.end.since(segment.start))?;
    match content.first {
        Some(first) => write!(
            out,
            "  {} records, {} bytes, from {first} to {}, stored {} to {}",
            content.records,
            content.bytes,
            content.last,
            local_time(content.earliest, true),
            local_time(content.newest, true),
        )?,
        None => write!(out, "  no records")?,
    }
    if content.damaged > 0 {
        write!(out, "  DAMAGED in {} places", content.damaged)?;
    }
    writeln!(out)
}
