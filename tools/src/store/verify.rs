//! `rmq-store verify`.

use std::io::Write;
use std::path::Path;

use ringmq_broker::metadata::{Metadata, RecoverError};
use ringmq_reactor::TaskIo;
use ringmq_store::inspect::{Severity, Verification};

use super::metadata::Root;
use super::{EXIT_FAILED, Out, StoreToolError, place};

/// Gives the exit status: 0 sound, 1 torn tail only, 2 corruption, 4 damaged files that are made again (and perhaps a torn tail).
pub(super) async fn run(io: &TaskIo, dir: &Path, out: &mut Out) -> Result<u8, StoreToolError> {
    let places = place::shards(io, dir).await?;
    let mut worst = None;
    if let Some(root) = Root::open(io, &places).await? {
        let read = root.metadata().await;
        let dir = root.metadata_dir();
        root.close().await;
        worst = metadata(&dir, read, out)?;
    }
    let mut unread = false;
    for place in places {
        let inspection = place.open(io).await?;
        let verification = inspection.verify().await;
        let shard = inspection.shard();
        inspection.close().await;
        let verification = verification?;
        worst = worst.max(verification.severity());
        unread |= verification.recovery.as_ref().is_ok_and(|forecast| forecast.tail_error.is_some());
        print(&format!("shard {shard}"), &verification, out).map_err(StoreToolError::Output)?;
    }
    let (status, text) = match worst {
        None | Some(Severity::TornTail | Severity::Derived) if unread => {
            (EXIT_FAILED, "not read whole: a tail cache in memory could not be looked at, see above")
        }
        None => (0, "sound"),
        Some(Severity::TornTail) => {
            (1, "a torn tail, which the next start cuts; nothing that was promised is lost")
        }
        Some(Severity::Derived) => (
            4,
            "damaged where nothing is lost: the broker makes these files again (those of index and keys where it meets the damage, or \
             at its next start if they are removed). Something damaged them: check the disk",
        ),
        Some(Severity::Corruption) => {
            (2, "CORRUPT: what was promised is not there. Restore the files named above from a copy")
        }
    };
    writeln!(out, "{}: {text}", dir.display()).map_err(StoreToolError::Output)?;
    Ok(status)
}

/// Prints what the metadata store is like; gives the worst that is wrong with it.
fn metadata(
    dir: &Path,
    read: Result<Option<Metadata>, RecoverError>,
    out: &mut Out,
) -> Result<Option<Severity>, StoreToolError> {
    let (write, shown) = (StoreToolError::Output, dir.display());
    let metadata = match read {
        Ok(Some(metadata)) => metadata,
        Ok(None) => {
            writeln!(out, "metadata: none, no broker has started on this store").map_err(write)?;
            return Ok(None);
        }
        Err(RecoverError::Corrupt { path, at, what, .. }) => {
            let path = path.display();
            writeln!(out, "metadata: CORRUPTION in {path} at byte {at}: {what}").map_err(write)?;
            return Ok(Some(Severity::Corruption));
        }
        Err(error) => return Err(error.into()),
    };
    let recovered = &metadata.recovered;
    writeln!(
        out,
        "metadata: {} changes read whole in {shown}, up to frame {}; {} topics, {} groups, {} groups with offsets; snapshots that give \
         this state: {:?}",
        metadata.changes,
        recovered.next_sequence - 1,
        metadata.tables.topics.len(),
        metadata.tables.groups.len(),
        metadata.tables.offsets.len(),
        metadata.snapshots,
    )
    .map_err(write)?;
    for finding in &metadata.findings {
        let (kind, file, at) = (kind(finding.severity), finding.file.display(), finding.bytes.start);
        writeln!(out, "metadata: {kind} {file} from byte {at}: {}", finding.text).map_err(write)?;
    }
    Ok(metadata.findings.iter().map(|finding| finding.severity).max())
}

fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::TornTail => "torn tail in",
        Severity::Derived => "damaged, will be made again:",
        Severity::Corruption => "CORRUPTION in",
    }
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
    if let Ok(forecast) = &verification.recovery {
        super::show::tail_cache(forecast, out)?;
    }
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
        let (from, to) = (finding.bytes.start, finding.bytes.end);
        writeln!(
            out,
            "{shard}: {} {} at bytes {from} to {to}: {}",
            kind(finding.severity),
            finding.file.display(),
            finding.text
        )?;
    }
    Ok(())
}
