//! `rmq-store records`.

use std::io::Write;

use clap::Args;
use ringmq_reactor::TaskIo;
use ringmq_store::LogOffset;
use ringmq_store::inspect::{Inspection, Piece};

use super::record::{BodyForm, Shown};
use super::{Format, OfTopic, Out, StoreDir, StoreToolError, place};

/// Which records, and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    store: StoreDir,
    /// Of this shard only.
    #[arg(long, value_name = "N")]
    shard: Option<u16>,
    /// From this log offset on, in each shard.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    topic: OfTopic,
    /// Of this queue only.
    #[arg(long, value_name = "N")]
    queue: Option<i32>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// How they are printed. JSON: one object a line, members as `export` writes them.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// How bodies are printed.
    #[arg(long, value_enum, default_value = "none")]
    body: BodyForm,
}

pub(super) async fn run(io: &TaskIo, options: &Options, out: &mut Out) -> Result<(), StoreToolError> {
    let mut left = options.limit;
    for place in place::selected(io, &options.store.dir, options.shard).await? {
        let inspection = place.open(io).await?;
        let printed = shard(&inspection, options, &mut left, out).await;
        inspection.close().await;
        printed?;
    }
    Ok(())
}

/// Damage and the end of the log go to standard error, so that the output stays what was asked for.
async fn shard(
    inspection: &Inspection,
    options: &Options,
    left: &mut u64,
    out: &mut Out,
) -> Result<(), StoreToolError> {
    let (shard, from) = (inspection.shard(), LogOffset(options.from));
    let mut walk = inspection.walk(from);
    while *left > 0
        && let Some(piece) = walk.next().await?
    {
        if let Piece::Damage { start, end, cause } = &piece {
            eprintln!("shard {shard}: damaged from log offset {start} to {end}: {cause}");
        }
        for (at, record) in piece.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    eprintln!("shard {shard}: log offset {at}: {error}");
                    break;
                }
            };
            let wanted = at >= from
                && options.topic.takes(record.topic())
                && options.queue.is_none_or(|queue| queue == record.queue_id());
            if !wanted || *left == 0 {
                continue;
            }
            *left -= 1;
            let shown = Shown { record: &record, body: options.body };
            match options.format {
                Format::Text => shown.text(out),
                Format::Json => writeln!(out, "{}", shown.json()),
            }
            .map_err(StoreToolError::Output)?;
        }
    }
    Ok(())
}
