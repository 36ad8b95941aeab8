//! The key index against the log: every page of every run, and every key of every record of its stretch, found as a query finds it.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use ringmq_remoting::record::RecordView;

use super::{Finding, Severity};
use crate::error::OpenError;
use crate::inspect::Inspection;
use crate::keys::verify::{Expected, Wrong, check_pages};
use crate::keys::{FoundRuns, KEYS_DIR, KeyRun};
use crate::offset::LogOffset;
use crate::recover::failed;

/// What was found of the key index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFigures {
    /// Runs that are what the log says.
    pub runs: u64,
    /// Their entries.
    pub entries: u64,
    /// Pieces of the log that no usable run covers, by position: they are indexed from the log when the store is open. The
    /// newest piece mostly is one: it was in memory.
    pub gaps: Vec<(LogOffset, LogOffset)>,
}

/// See the module's text.
pub(super) struct KeyCheck<'a> {
    inspection: &'a Inspection,
    /// Those whose ends the walk has not reached, by position.
    runs: VecDeque<(Rc<KeyRun>, Expected)>,
    pub figures: KeyFigures,
    pub findings: Vec<Finding>,
    /// Runs were usable up to here without a gap, or with one that was noted.
    covered: LogOffset,
}

impl<'a> KeyCheck<'a> {
    /// Finds the runs of a log that starts at `start`.
    pub async fn begin(inspection: &'a Inspection, start: LogOffset) -> Result<Self, OpenError> {
        let dir = inspection.config.dir.join(KEYS_DIR);
        let found = match FoundRuns::look(&inspection.io, inspection.shard, &inspection.config).await {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FoundRuns::default(),
            Err(error) => return Err(failed("list", dir)(error)),
        };
        let findings = found.damaged.into_iter().map(|damaged| {
            let (from, to) = damaged.span;
            let wrong = Wrong::from(damaged.error);
            Finding {
                severity: Severity::Derived,
                at: from,
                bytes: wrong.bytes(0),
                file: damaged.path,
                text: format!("{} (keys of log offsets {from} to {to})", wrong.what),
            }
        });
        // What retention has left behind is removed when the store is open.
        let runs = found.runs.into_iter().filter(|run| run.span().from >= start);
        Ok(Self {
            inspection,
            findings: findings.collect(),
            runs: runs.map(|run| (Rc::clone(&run), Expected::new(&run))).collect(),
            figures: KeyFigures::default(),
            covered: start,
        })
    }

    /// The next record of the log.
    pub fn record(&mut self, at: LogOffset, record: &RecordView<'_>) {
        if let Some((run, expected)) = self.runs.front_mut()
            && at >= run.span().from
        {
            expected.add(record, at);
        }
    }

    /// The walk, which saw everything from `since` on, has come to `head`, the end of a batch: compares the run that ends there.
    pub async fn reached(&mut self, head: LogOffset, since: LogOffset) {
        while let Some((run, expected)) = self.runs.pop_front_if(|(run, _)| run.span().to <= head) {
            let span = run.span();
            let io = &self.inspection.io;
            let compared = if span.from < since {
                check_pages(io, &run).await.map(|()| None)
            } else if span.to == head {
                expected.compare(io, &run).await.map(Some)
            } else {
                let what = format!("no batch of the log ends at {}, where it ends", span.to);
                Err(Wrong { page: Some(0), what })
            };
            match compared {
                Ok(entries) => {
                    self.figures.runs += u64::from(entries.is_some());
                    self.figures.entries += entries.unwrap_or(0);
                    self.cover(span.from, span.to);
                }
                Err(wrong) => self.add(&run, &wrong),
            }
        }
    }

    /// The log ends at `head`; `is_whole`: so it should.
    pub async fn end(&mut self, head: LogOffset, is_whole: bool) {
        for (run, _) in std::mem::take(&mut self.runs) {
            if is_whole {
                let what = format!("it knows more than the log, which ends at {head}: it is of another log");
                self.add(&run, &Wrong { page: None, what });
            } else if let Err(wrong) = check_pages(&self.inspection.io, &run).await {
                self.add(&run, &wrong);
            }
        }
        self.cover(head, head);
    }

    fn cover(&mut self, from: LogOffset, to: LogOffset) {
        if from > self.covered {
            self.figures.gaps.push((self.covered, from));
        }
        self.covered = self.covered.max(to);
    }

    fn add(&mut self, run: &KeyRun, wrong: &Wrong) {
        let span = run.span();
        self.findings.push(Finding {
            severity: Severity::Derived,
            at: span.from,
            file: run.path.clone(),
            bytes: wrong.bytes(run.file_bytes()),
            text: format!("{} (keys of log offsets {} to {})", wrong.what, span.from, span.to),
        });
    }
}
