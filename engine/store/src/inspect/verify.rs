//! Comparing everything with everything.

mod index;
mod keys;
mod run;
mod tail;

use std::ops::Range;
use std::path::PathBuf;

use index::IndexCheck;
pub use index::IndexFigures;
use keys::KeyCheck;
pub use keys::KeyFigures;

use super::{Forecast, Inspection, Piece};
use crate::error::{Corruption, OpenError};
use crate::offset::LogOffset;
use crate::recover::scan::{Scan, ScanError};
use crate::report::TailState;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Remains of writes that nothing vouched for: recovery cuts them.
    TornTail,
    /// A file that is made from others is damaged: nothing is lost, and the store makes it again where it meets the damage, or at
    /// its next start if the file is gone. But something damaged it.
    Derived,
    /// Bytes that were promised are not there, or records contradict each other.
    Corruption,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// First bad position of the log, or the first one that a damaged index file speaks of.
    pub at: LogOffset,
    /// The file that holds it, and the bad bytes in it, as far as they can be told.
    pub file: PathBuf,
    /// See `file`.
    pub bytes: Range<u64>,
    /// What is wrong.
    pub text: String,
}

/// What a full check gave: seals and CRCs of all batches and bodies, record positions, density of queue offsets, the checkpoint
/// against the log, recovery's own judgement of the end and of the tail cache, and the queue index and the key index against the
/// log, entry by entry.
#[derive(Debug)]
pub struct Verification {
    /// What recovery would do; its error if it would refuse the store.
    pub recovery: Result<Forecast, Corruption>,
    /// By position.
    pub findings: Vec<Finding>,
    /// Records that were read and are whole.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The queue index.
    pub index: IndexFigures,
    /// The key index.
    pub keys: KeyFigures,
}

impl Verification {
    /// The worst finding; `None`: the store is sound.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

struct Check<'a> {
    inspection: &'a Inspection,
    scan: Scan,
    /// The scan knows everything from here on.
    since: LogOffset,
    index: IndexCheck<'a>,
    keys: KeyCheck<'a>,
    findings: Vec<Finding>,
    records: u64,
    bytes: u64,
}

/// See [`Verification`].
pub(super) async fn verify(inspection: &Inspection) -> Result<Verification, OpenError> {
    let recovery = match inspection.forecast().await {
        Ok(forecast) => Ok(forecast),
        Err(OpenError::Corrupt { corruption, .. }) => Err(corruption),
        Err(other) => return Err(other),
    };
    let start = inspection.segments().next().map_or(LogOffset(0), |segment| segment.start);
    let scan = Scan::new(inspection.shard, &inspection.config, start);
    let keys = KeyCheck::begin(inspection, start).await?;
    let index = IndexCheck::begin(inspection).await?;
    let findings = Vec::new();
    let mut check = Check { inspection, scan, since: start, index, keys, findings, records: 0, bytes: 0 };
    let end = recovery.as_ref().map_or(LogOffset(u64::MAX), |forecast| forecast.disk_end);
    let walked = check.log(end).await;
    let head = check.scan.head();
    check.index.end(head, recovery.is_ok()).await;
    check.keys.end(head, recovery.is_ok()).await;
    check.judgement(&recovery);
    if let Ok(forecast) = &recovery {
        check.findings.extend(tail::check(inspection, forecast));
    }
    let Check { mut findings, records, bytes, index, mut keys, .. } = check;
    let figures = index.figures;
    findings.extend(index.close().await);
    findings.append(&mut keys.findings);
    walked?;
    findings.sort_by_key(|finding| (finding.at, finding.severity));
    Ok(Verification { recovery, findings, records, bytes, index: figures, keys: keys.figures })
}

impl Check<'_> {
    /// Walks to `end`, behind which recovery says that nothing counts.
    async fn log(&mut self, end: LogOffset) -> Result<(), OpenError> {
        let mut walk = self.inspection.walk(LogOffset(0));
        while let Some(piece) = walk.next().await? {
            match &piece {
                Piece::Batch { start, bytes } => {
                    if *start >= end {
                        break;
                    }
                    self.batch(*start, bytes);
                    for (at, record) in piece.records() {
                        self.body(at, record.map_err(|error| error.to_string()));
                    }
                }
                Piece::Blank { end: next, .. } => self.scan.skip_to(*next),
                Piece::Damage { start, end: next, cause } => {
                    if *start >= end {
                        break;
                    }
                    self.add(Severity::Corruption, *start, *next, cause.clone());
                    self.restart(*next);
                }
                Piece::End { .. } => break,
            }
            self.index.reached(&mut self.scan, self.since).await;
            self.keys.reached(self.scan.head(), self.since).await;
        }
        Ok(())
    }

    /// Positions, times and queue offsets, by recovery's scan.
    fn batch(&mut self, start: LogOffset, bytes: &[u8]) {
        assert_eq!(self.scan.head(), start, "the walk goes through the whole log");
        if let Err(error) = self.scan.batch(bytes) {
            let (at, cause) = match error {
                ScanError::Inconsistent { at, cause } => (at, cause),
                ScanError::Io(error) => (start, error.to_string()),
            };
            self.add(Severity::Corruption, at, start.plus(bytes.len()), cause);
            self.restart(start.plus(bytes.len() + crate::seal::SEAL_BYTES));
        }
    }

    fn body(&mut self, at: LogOffset, record: Result<ringmq_remoting::record::RecordView<'_>, String>) {
        // What cannot be parsed was found by the scan.
        let Ok(record) = record else { return };
        self.keys.record(at, &record);
        self.records += 1;
        self.bytes += record.total_bytes() as u64;
        if let Err(error) = record.check_crc() {
            self.add(Severity::Corruption, at, at.plus(record.total_bytes()), error.to_string());
        }
    }

    /// Behind damage nothing is known of what comes before.
    fn restart(&mut self, at: LogOffset) {
        self.scan = Scan::new(self.inspection.shard, &self.inspection.config, at);
        self.since = at;
    }

    fn judgement(&mut self, recovery: &Result<Forecast, Corruption>) {
        match recovery {
            Ok(forecast) if forecast.report.tail == TailState::Torn => {
                let report = &forecast.report;
                let text = format!(
                    "torn tail: {} bytes in pages that are not zero, {} whole records among them; recovery cuts them",
                    report.truncated_bytes, report.discarded_records
                );
                let end = LogOffset(forecast.disk_end.0 + report.truncated_bytes);
                self.add(Severity::TornTail, forecast.disk_end, end, text);
            }
            Ok(_) => {}
            Err(corruption) => {
                let (at, end) = corruption.range();
                // The walk names the same place with its exact end, unless nothing valid follows it.
                if !self.findings.iter().any(|finding| finding.at == at) {
                    self.add(Severity::Corruption, at, end, corruption.to_string());
                }
            }
        }
    }

    fn add(&mut self, severity: Severity, at: LogOffset, end: LogOffset, text: String) {
        let segment = self.inspection.segments().filter(|segment| segment.start <= at).last();
        let (start, segment_end, file) = segment.map_or_else(
            || (at, end, self.inspection.recovery().path(at)),
            |segment| (segment.start, segment.end, segment.path),
        );
        let bytes = at.since(start)..end.min(segment_end).since(start).max(at.since(start));
        self.findings.push(Finding { severity, at, file, bytes, text });
    }
}
