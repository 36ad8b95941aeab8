//! Making index runs again, from their stretch of the log and the table of the run before it.
//!
//! What a run says follows from these two alone. So one that lies between others in its file comes out with the same size and is
//! written into its old place, pages first, then the header: until that is durable the hole is still there.

use ringmq_reactor::WriteData;

use super::Recovery;
use super::index::Hole;
use super::scan::{Scan, Scanned};
use crate::index::Index;
use crate::index::build::{RunBuilder, Step};
use crate::index::runs::{IndexFile, Runs};
use crate::indexing::run_bytes;
use crate::offset::LogOffset;

impl Recovery<'_> {
    /// Fills a hole that starts where `runs` end, in a log that starts at `start`. `false`: that could not be done, and `runs` end
    /// before the hole's end.
    pub(super) async fn fill(&self, hole: &Hole, runs: &mut Runs, start: LogOffset) -> bool {
        tracing::warn!(
            from = hole.from.0,
            to = hole.to.0,
            "index runs are missing or damaged: made again from the log"
        );
        let mut index = Index::default();
        if let Some(before) = runs.last().copied() {
            if !self.table(&before, |row| index.insert_row(row)).await {
                return false;
            }
        } else if start > LogOffset(0) {
            // Where queues began is not known any more: later runs may say otherwise than this one would.
            return false;
        }
        let mut own = Runs::new(runs.dir().to_owned(), hole.from);
        own.add_file(IndexFile { segment: hole.segment.start, file: hole.file, pages: hole.start_page });
        let mut scan = Scan::behind(self.shard, self.config, start, index, own);
        scan.times.newest = runs.last().map_or(0, |run| run.header.newest_time);
        while scan.head() < hole.to {
            let next = LogOffset(scan.head().0 + run_bytes(self.config.index_run_bytes, runs.last()));
            let pause_at = if hole.room.is_some() { hole.to } else { next.min(hole.to) };
            match scan.segment(self.io, &hole.segment, pause_at).await {
                Ok(Scanned::Whole | Scanned::Paused) => {}
                Ok(Scanned::Stopped(cause)) => {
                    tracing::warn!(at = scan.head().0, %cause, "the log ends inside a hole of the index");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(
                        at = scan.head().0,
                        ?error,
                        "the log cannot be read to fill a hole of the index"
                    );
                    return false;
                }
            }
            if scan.head() > hole.to || !self.fill_run(hole, &mut scan).await {
                return false;
            }
            let run = *scan.runs.last().expect("just written");
            runs.push(hole.segment.start, run.header);
        }
        true
    }

    async fn fill_run(&self, hole: &Hole, scan: &mut Scan) -> bool {
        let Some(room) = hole.room else {
            return self.write_run(scan, hole.segment.start).await;
        };
        // All of it first: what does not fit must not be written.
        let mut builder = RunBuilder::new(&scan.index, self.shard.0, hole.from, hole.to, scan.times.newest);
        let mut writes: Vec<(u32, WriteData)> = Vec::new();
        loop {
            match builder.step(&scan.index, usize::MAX) {
                Step::Working => {}
                Step::Write { page, data } => writes.push((page, data)),
                Step::Done => break,
            }
        }
        let file = scan.runs.file_of(hole.segment.start).expect("added by the caller");
        if builder.header().pages() != room {
            tracing::warn!(from = hole.from.0, "a run that was made again does not fit into its old place");
            return false;
        }
        let written = self.write_whole(file, writes, builder.header()).await;
        if let Err(error) = written {
            tracing::warn!(from = hole.from.0, %error, "a run that was made again could not be written");
            return false;
        }
        scan.runs.push(hole.segment.start, *builder.header());
        true
    }
}
