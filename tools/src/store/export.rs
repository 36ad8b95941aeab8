//! `rmq-store export`: the messages of a topic as JSON lines; members as in [`super::record::Shown`], bodies in base64.
//!
//! It reads the log, not the index, so it works on a damaged store as far as batches are whole. Messages of a topic that was deleted
//! and made again are left out up to the deletion.

use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ringmq_reactor::TaskIo;
use ringmq_remoting::record::RecordView;
use ringmq_store::LogOffset;
use ringmq_store::inspect::{Inspection, Piece, deleted_topic, is_indexed};

use super::record::{BodyForm, Shown};
use super::{Out, StoreDir, StoreToolError, place};

/// Which messages, and where to.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    store: StoreDir,
    /// Topic.
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Of this queue only.
    #[arg(long, value_name = "N")]
    queue: Option<i32>,
    /// From here on: a queue offset, `@` and milliseconds since 1970, or a local time such as 2026-11-21T10:00:00 (store time).
    #[arg(long, value_name = "OFFSET|TIME")]
    from: Option<Bound>,
    /// Up to here, not included.
    #[arg(long, value_name = "OFFSET|TIME")]
    to: Option<Bound>,
    /// File to write, which must not exist; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// By queue offset.
    Offset(i64),
    /// By store time, ms.
    Time(i64),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(offset) = text.parse() {
            return Ok(Self::Offset(offset));
        }
        if let Some(ms) = text.strip_prefix('@') {
            return ms.parse().map(Self::Time).map_err(|error| error.to_string());
        }
        let zoned = DateTime::from_str(text).and_then(|time| time.to_zoned(TimeZone::system()));
        zoned.map(|time| Self::Time(time.timestamp().as_millisecond())).map_err(|error| error.to_string())
    }
}

impl Bound {
    fn is_reached(self, record: &RecordView<'_>) -> bool {
        match self {
            Self::Offset(offset) => record.queue_offset() >= offset,
            Self::Time(time) => record.store_timestamp() >= time,
        }
    }
}

pub(super) async fn run(io: &TaskIo, options: &Options, out: &mut Out) -> Result<(), StoreToolError> {
    let to_stdout = options.out.as_os_str() == "-";
    let mut file;
    let out = if to_stdout {
        out
    } else {
        file = create(options)?;
        &mut file
    };
    let mut count = 0;
    for place in place::shards(io, &options.store.dir).await? {
        let inspection = place.open(io).await?;
        let exported = shard(&inspection, options, out).await;
        inspection.close().await;
        count += exported?;
    }
    out.flush().map_err(StoreToolError::Output)?;
    if !to_stdout {
        println!("{count} messages of {} written to {}", options.topic, options.out.display());
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a tool's output; nothing else runs on this thread")]
fn create(options: &Options) -> Result<Out, StoreToolError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&options.out);
    let file = file.map_err(|source| StoreToolError::Io {
        what: format!("cannot make {}", options.out.display()),
        source,
    })?;
    Ok(io::BufWriter::new(Box::new(file)))
}

async fn shard(inspection: &Inspection, options: &Options, out: &mut Out) -> Result<u64, StoreToolError> {
    let start = last_deletion(inspection, &options.topic).await?;
    let mut count = 0;
    let mut walk = inspection.walk(LogOffset(0));
    while let Some(piece) = walk.next().await? {
        if let Piece::Damage { start, end, cause } = &piece {
            let shard = inspection.shard();
            eprintln!(
                "shard {shard}: damaged from log offset {start} to {end}, messages there are missing: {cause}"
            );
        }
        for (at, record) in piece.records() {
            let Ok(record) = record else { break };
            let wanted = at >= start
                && record.topic() == options.topic
                && is_indexed(record.sys_flag())
                && options.queue.is_none_or(|queue| queue == record.queue_id())
                && options.from.is_none_or(|from| from.is_reached(&record))
                && !options.to.is_some_and(|to| to.is_reached(&record));
            if wanted {
                let shown = Shown { record: &record, body: BodyForm::Base64 };
                writeln!(out, "{}", shown.json()).map_err(StoreToolError::Output)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Where the topic was last deleted; 0 if it never was.
async fn last_deletion(inspection: &Inspection, topic: &str) -> Result<LogOffset, StoreToolError> {
    let (mut walk, mut last) = (inspection.walk(LogOffset(0)), LogOffset(0));
    while let Some(piece) = walk.next().await? {
        for (at, record) in piece.records() {
            if record.is_ok_and(|record| deleted_topic(&record) == Some(topic)) {
                last = at;
            }
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_offsets_or_times() {
        assert_eq!("17".parse(), Ok(Bound::Offset(17)));
        assert_eq!("@1700000000000".parse(), Ok(Bound::Time(1_700_000_000_000)));
        let day = "2026-11-21T00:00:00".parse::<Bound>().expect("a time");
        let next = "2026-11-22 00:00".parse::<Bound>().expect("a time");
        match (day, next) {
            (Bound::Time(day), Bound::Time(next)) => assert!((next - day - 86_400_000).abs() <= 3_600_000),
            other => panic!("{other:?}"),
        }
        assert!("yesterday".parse::<Bound>().is_err());
    }
}
