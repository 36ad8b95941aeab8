//! `rmq-store verify`.

use std::io::Write;
use std::path::Path;

use ringmq_reactor::TaskIo;
use ringmq_store::inspect::{Severity, Verification};

use super::{Out, StoreToolError, place};

/// Gives the exit status: 0 sound, 1 torn tail only, 2 corruption, 4 damaged files that are made again (and perhaps a torn tail).
pub(super) async fn run(io: &TaskIo, dir: &Path, out: &mut Out) -> Result<u8, StoreToolError> {
    let mut worst = None;
    for place in place::shards(io, dir).await? {
        let inspection = place.open(io).await?;
        let verification = inspection.verify().await;
        let shard = inspection.shard();
        inspection.close().await;
        let verification = verification?;
        worst = worst.max(verification.severity());
        print(&format!("shard {shard}"), &verification, out).map_err(StoreToolError::Output)?;
    }
    let (status, text) = match worst {
        None => (0, "sound"),
        Some(Severity::TornTail) => {
            (1, "a torn tail, which the next start cuts; nothing that was promised is lost")
        }
        Some(Severity::Derived) => (
            4,
            "damaged where nothing is lost: the broker makes these files again where it meets the damage, or, if they are removed, \
             at its next start. Something damaged them: check the disk",
        ),
        Some(Severity::Corruption) => {
            (2, "CORRUPT; the broker refuses it. Restore the files named above from a copy")
        }
    };
    writeln!(out, "{}: {text}", dir.display()).map_err(StoreToolError::Output)?;
    Ok(status)
}

fn print(shard: &str, verification: &Verification, out: &mut Out) -> std::io::Result<()> {
    let tail = match &verification.recovery {
        Ok(forecast) => format!("{:?}", forecast.report.tail),
        Err(_) => "recovery refuses it".to_owned(),
    };
    writeln!(
        out,
        "{shard}: {} records, {} bytes read whole; {tail}",
        verification.records, verification.bytes
    )?;
    let index = &verification.index;
    writeln!(
        out,
        "{shard}: {} index runs with {} entries compared with the log, up to log offset {}",
        index.runs, index.entries, index.end
    )?;
    let keys = &verification.keys;
    writeln!(out, "{shard}: {} key runs with {} entries compared with the log", keys.runs, keys.entries)?;
    for (from, to) in &keys.gaps {
        writeln!(
            out,
            "{shard}: keys of log offsets {from} to {to} are in no file: read from the log when it is open"
        )?;
    }
    for finding in &verification.findings {
        let kind = match finding.severity {
            Severity::TornTail => "torn tail",
            Severity::Derived => "damaged, will be made again:",
            Severity::Corruption => "CORRUPTION",
        };
        let (from, to) = (finding.bytes.start, finding.bytes.end);
        writeln!(
            out,
            "{shard}: {kind} in {} at bytes {from} to {to}: {}",
            finding.file.display(),
            finding.text
        )?;
    }
    Ok(())
}
