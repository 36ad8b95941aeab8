//! Filling a gap: the keys of a piece of the log, from the log itself.
//!
//! Reads the segment through a handle of its own, so retention may remove it meanwhile, and pauses after each read: queries and
//! appends go before.

use std::rc::Rc;
use std::time::Duration;

use ringmq_reactor::OpenOptions;
use ringmq_remoting::record::{RecordView, records};

use super::Shared;
use super::hash::RecordKeys;
use super::run::{OwnedFile, RunError};
use super::table::KeyTable;
use crate::limits::KEY_REBUILD_READ_BYTES;
use crate::offset::LogOffset;
use crate::recover::{SegmentReader, Step, step};
use crate::seal::SEAL_BYTES;
use crate::segments::file_name;

/// After each read: with it, a gap is filled at some hundred MB a second at most.
const PAUSE: Duration = Duration::from_millis(1);

/// Indexes `from..to`, which lies in the segment that starts at `segment`, in runs of the ordinary size.
pub(crate) async fn rebuild(
    shared: &Rc<Shared>,
    segment: LogOffset,
    from: LogOffset,
    to: LogOffset,
) -> Result<(), RunError> {
    let options = OpenOptions { direct: true, read_only: true, ..OpenOptions::default() };
    let path = shared.log_dir.join(file_name(segment));
    let (file, bytes) = OwnedFile::open(&shared.io, &path, options).await?;
    let start = from.page_floor();
    let mut reader =
        SegmentReader::starting_at(&shared.io, file.id, start.since(segment), KEY_REBUILD_READ_BYTES);
    let mut at = start;
    let mut table = KeyTable::new(from, 0);
    while at < to {
        if at < from {
            // The started page belongs to what is indexed already.
            let before = usize::try_from(from.since(at)).expect("less than a page");
            if reader.bytes().len() < before {
                more(shared, &mut reader, at, to).await?;
                continue;
            }
            reader.consume(before);
            at = from;
        }
        match step(reader.bytes(), at, (segment.0 + bytes).saturating_sub(at.0)) {
            Step::Batch { record_bytes, .. } => {
                add(&mut table, &reader.bytes()[..record_bytes], at, to);
                reader.consume(record_bytes + SEAL_BYTES);
                at = at.plus(record_bytes + SEAL_BYTES);
            }
            Step::Blank => at = to,
            Step::More => more(shared, &mut reader, at, to).await?,
            Step::Stop(invalid) => {
                tracing::error!(at = at.0, %invalid, "the log cannot be read there: queries by key that would need it fail");
                shared.state.borrow_mut().set_unreadable(at, to);
                return Ok(());
            }
        }
        let full = table.entry_count() >= shared.limits.entries
            || at.since(table.span().from) >= shared.limits.log_bytes;
        if full && at < to {
            let next = KeyTable::new(at, table.span().last_time);
            write(shared, std::mem::replace(&mut table, next), at).await?;
        }
        if shared.state.borrow().is_stopping() {
            return Ok(());
        }
    }
    write(shared, table, to).await
}

async fn write(shared: &Rc<Shared>, mut table: KeyTable, to: LogOffset) -> Result<(), RunError> {
    table.close(to);
    shared.write(&Rc::new(table)).await
}

async fn more(
    shared: &Rc<Shared>,
    reader: &mut SegmentReader<'_>,
    at: LogOffset,
    to: LogOffset,
) -> Result<(), RunError> {
    if reader.more().await? {
        shared.io.sleep(PAUSE).await;
        shared.write_waiting().await?;
    } else {
        tracing::error!(at = at.0, "a log segment is shorter than the log");
        shared.state.borrow_mut().set_unreadable(at, to);
        return Err(RunError::Mismatch);
    }
    Ok(())
}

/// Adds the records of a batch that lie below `to`.
fn add(table: &mut KeyTable, batch: &[u8], at: LogOffset, to: LogOffset) {
    let mut offset = at;
    for record in records(batch) {
        // A batch that is whole holds records only.
        let Ok(record) = record else { return };
        if offset < to {
            add_record(table, &record, offset);
        }
        offset = offset.plus(record.total_bytes());
    }
}

fn add_record(table: &mut KeyTable, record: &RecordView<'_>, offset: LogOffset) {
    let properties = record.properties();
    let keys = RecordKeys::of(record.sys_flag(), &properties);
    table.add(record.topic(), keys, offset, record.store_timestamp());
}
