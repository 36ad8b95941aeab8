//! The queue index against the log: every page of every run, and all that its table and its entries say of their stretch of the log.
//!
//! The runs are found by recovery's own code. What they should say comes from the scan that verifies the log, at the moment when it has
//! reached a run's end. Where the log before is gone or damaged, queues that a run knows from there cannot be compared.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;

use ringmq_reactor::{FileId, PAGE_BYTES};

use super::{Finding, Severity, run};
use crate::error::OpenError;
use crate::index::format::RunHeader;
use crate::index::runs::Run;
use crate::inspect::Inspection;
use crate::offset::LogOffset;
use crate::recover::index::{FoundIndex, Piece};
use crate::recover::scan::Scan;
use crate::recover::{FoundSegment, Recovery};

/// What was found of the queue index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Runs that are what the log says.
    pub runs: u64,
    /// Their entries.
    pub entries: u64,
    /// End of the newest run: the log behind it is not in files yet.
    pub end: LogOffset,
}

/// A stretch of the log, and where its run is or should be.
struct Stretch {
    from: LogOffset,
    to: LogOffset,
    path: PathBuf,
    /// `None`: there is none.
    file: Option<FileId>,
    /// Places in the file.
    pages: Range<u32>,
    run: Option<Run>,
}

/// See the module's text.
pub(super) struct IndexCheck<'a> {
    recovery: Recovery<'a>,
    /// Those whose ends the scan has not reached, by position.
    stretches: VecDeque<Stretch>,
    pub figures: IndexFigures,
    findings: Vec<Finding>,
}

impl<'a> IndexCheck<'a> {
    /// Finds the runs. To be ended with [`IndexCheck::close`].
    pub async fn begin(inspection: &'a Inspection) -> Result<Self, OpenError> {
        let mut recovery = inspection.recovery();
        let mut stretches = Vec::new();
        for segment in &inspection.files.segments {
            match recovery.index_file(segment).await {
                Ok(found) => lay_out(segment, found, &mut stretches),
                Err(error) => {
                    recovery.close_all().await;
                    return Err(error);
                }
            }
        }
        let mut check = Self {
            recovery,
            stretches: VecDeque::new(),
            figures: IndexFigures::default(),
            findings: Vec::new(),
        };
        check.judge(&stretches).await;
        check.stretches = stretches.into();
        Ok(check)
    }

    /// Closes the files; gives what was found.
    pub async fn close(self) -> Vec<Finding> {
        self.recovery.close_all().await;
        self.findings
    }

    /// What is missing between runs, or was found damaged before.
    async fn judge(&mut self, stretches: &[Stretch]) {
        let is_usable = |s: &Stretch| s.run.is_some_and(|run| !run.header.damaged);
        let last = stretches.iter().rposition(is_usable);
        self.figures.end = last.map_or(LogOffset(0), |last| stretches[last].to);
        for (place, stretch) in stretches.iter().enumerate() {
            let what = match &stretch.run {
                Some(run) if run.header.damaged => "the broker found a page of this run damaged",
                None if Some(place) < last => "a run is missing or its header is damaged",
                // Behind the last run nothing is missed; but something may have been there.
                None if self.is_damaged_header(stretch).await => "the header of a run is damaged",
                _ => continue,
            };
            self.add(stretch, stretch.pages.clone(), what.to_owned());
        }
    }

    async fn is_damaged_header(&self, stretch: &Stretch) -> bool {
        let (path, Some(file)) = (&stretch.path, stretch.file) else { return false };
        match self.recovery.index_page(file, stretch.pages.start).await {
            Ok(Some(page)) => RunHeader::is_meant(&page, stretch.from),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "an index file cannot be read");
                true
            }
        }
    }

    /// The scan, which knows everything from `since` on, has come to its head: compares the runs that end there or before.
    pub async fn reached(&mut self, scan: &mut Scan, since: LogOffset) {
        while let Some(stretch) = self.stretches.pop_front_if(|stretch| stretch.to <= scan.head()) {
            let newest = self.compare(&stretch, scan, since).await;
            scan.mark_indexed(stretch.to, newest.unwrap_or_default());
        }
    }

    /// The log ends at `head`; `is_whole`: recovery finds nothing wrong with that.
    pub async fn end(&mut self, head: LogOffset, is_whole: bool) {
        for stretch in std::mem::take(&mut self.stretches) {
            let Some(run) = stretch.run.filter(|run| !run.header.damaged) else { continue };
            if let Err(wrong) = run::check_pages(&self.recovery, &run).await {
                self.add_wrong(&stretch, &run, wrong);
            }
            if !is_whole {
                continue;
            }
            // It is written when the log is durable up to its end.
            self.findings.push(Finding {
                severity: Severity::Corruption,
                at: head,
                file: stretch.path.clone(),
                bytes: bytes(&stretch.pages),
                text: format!("the log ends at {head}, but it is indexed up to {}", stretch.to),
            });
        }
    }

    /// Gives the store time of the newest record below the run's end.
    async fn compare(&mut self, stretch: &Stretch, scan: &Scan, since: LogOffset) -> Option<i64> {
        let run = stretch.run.filter(|run| !run.header.damaged)?;
        let compared = if stretch.from < since {
            // Part of what it speaks of could not be read.
            run::check_pages(&self.recovery, &run).await.map(|()| None)
        } else if stretch.to == scan.head() {
            run::check(&self.recovery, &run, scan, since).await.map(Some)
        } else {
            let what = format!("no batch of the log ends at {}, where the run ends", stretch.to);
            Err(run::Wrong { page: 0, what })
        };
        match compared {
            Ok(Some(entries)) => {
                self.figures.runs += 1;
                self.figures.entries += u64::from(entries);
                Some(run.header.newest_time)
            }
            Ok(None) => None,
            Err(wrong) => {
                self.add_wrong(stretch, &run, wrong);
                None
            }
        }
    }

    fn add_wrong(&mut self, stretch: &Stretch, run: &Run, wrong: run::Wrong) {
        let page = run.start_page + wrong.page;
        self.add(stretch, page..page + 1, wrong.what);
    }

    fn add(&mut self, stretch: &Stretch, pages: Range<u32>, what: String) {
        self.findings.push(Finding {
            severity: Severity::Derived,
            at: stretch.from,
            file: stretch.path.clone(),
            bytes: bytes(&pages),
            text: format!("{what} (log offsets {} to {})", stretch.from, stretch.to),
        });
    }
}

/// Adds what the index file of a segment holds and lacks.
fn lay_out(segment: &FoundSegment, found: FoundIndex, into: &mut Vec<Stretch>) {
    let FoundIndex { path, file, pieces } = found;
    let Some(file) = file else {
        let (from, to) = (segment.start, segment.end);
        return into.push(Stretch { from, to, path, file: None, pages: 0..0, run: None });
    };
    let mut at = 0;
    for piece in pieces {
        let (from, to, pages, run) = match piece {
            Piece::Run(header) => (header.from, header.to, header.pages(), Some(header)),
            Piece::Hole(hole) => (hole.from, hole.to, hole.room.unwrap_or(0), None),
        };
        let run = run.map(|header| Run { header, file, start_page: at });
        into.push(Stretch { from, to, path: path.clone(), file: Some(file), pages: at..at + pages, run });
        at += pages;
    }
}

fn bytes(pages: &Range<u32>) -> Range<u64> {
    let at = |page: u32| u64::from(page) * PAGE_BYTES as u64;
    at(pages.start)..at(pages.end)
}
