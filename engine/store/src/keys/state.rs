//! What the index knows, and what its task should do next.

use std::path::PathBuf;
use std::rc::Rc;

use super::KeyFigures;
use super::files::FoundRuns;
use super::lookup::{KeyIndexEnd, Source};
use super::run::Run;
use super::table::{KeyTable, Span, Tables};
use crate::limits::KEY_MERGE_RUNS_MAX;
use crate::offset::LogOffset;
use crate::segments::Segments;

/// A step of the task.
pub(crate) enum Job {
    /// A file that nothing needs any more.
    Remove(PathBuf),
    Write(Rc<KeyTable>),
    LoadFilter(Rc<Run>),
    /// Neighbouring runs of one finished segment, oldest first.
    Merge(Vec<Rc<Run>>),
    /// A piece of one segment that is not indexed: segment start, from, to.
    Rebuild(LogOffset, LogOffset, LogOffset),
    /// Nothing now.
    Wait,
    /// The store closes, and everything is written.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Working,
    /// Writes what is closed, nothing else.
    Stopping,
    /// Ends as soon as possible.
    Stopped,
    Ended,
}

pub(crate) struct State {
    pub tables: Tables,
    /// Oldest first, without overlaps, all before the tables.
    runs: Vec<Rc<Run>>,
    useless: Vec<PathBuf>,
    /// Pieces of the log that could not be read again: not tried until the next start.
    unreadable: Vec<(LogOffset, LogOffset)>,
    /// Start and end of each.
    segments: Vec<(LogOffset, LogOffset)>,
    durable: LogOffset,
    life: Life,
    next_run: u64,
}

impl State {
    pub fn new(found: FoundRuns, tables: Tables) -> Self {
        let FoundRuns { runs, useless, next_run, .. } = found;
        Self {
            tables,
            runs,
            useless,
            unreadable: Vec::new(),
            segments: Vec::new(),
            durable: LogOffset(0),
            life: Life::Working,
            next_run,
        }
    }

    /// Takes note; gives whether the task may have something to do.
    pub fn log_changed(&mut self, segments: &Segments, durable: LogOffset) -> bool {
        let before = std::mem::replace(&mut self.durable, durable);
        let known = self.segments.first().map(|first| first.0).zip(self.segments.last().map(|last| last.1));
        let changed = known != Some((segments.start(), segments.end()));
        if changed {
            self.segments = segments.iter().map(|segment| (segment.start, segment.end)).collect();
        }
        let waiting = self.tables.closed().front().map(|table| table.span().to);
        changed || waiting.is_some_and(|to| to <= durable && before < durable)
    }

    /// `true` when the task has to be told.
    pub fn begin_stop(&mut self, head: LogOffset, log_failed: bool) -> bool {
        if self.life != Life::Working {
            return false;
        }
        self.life = if log_failed { Life::Stopped } else { Life::Stopping };
        self.tables.rotate(head);
        true
    }

    /// Long steps end early when this is true.
    pub fn is_stopping(&self) -> bool {
        self.life != Life::Working
    }

    /// The task gives up: what it could not write is built again at the next start.
    pub fn stop_now(&mut self) {
        self.life = Life::Stopped;
    }

    pub fn set_ended(&mut self) {
        self.life = Life::Ended;
        self.runs.clear();
    }

    pub fn has_ended(&self) -> bool {
        self.life == Life::Ended
    }

    fn log_min(&self) -> LogOffset {
        self.segments.first().map_or(LogOffset(0), |first| first.0)
    }

    pub fn next_run_id(&mut self) -> u64 {
        self.next_run += 1;
        self.next_run - 1
    }

    /// What to do now, the most pressing first.
    pub fn next_job(&mut self, filter_bytes_max: usize) -> Job {
        match self.life {
            Life::Stopped | Life::Ended => return Job::Stop,
            Life::Working | Life::Stopping => {}
        }
        if let Some(table) = self.table_to_write() {
            return Job::Write(table);
        }
        if self.life == Life::Stopping {
            return Job::Stop;
        }
        let log_min = self.log_min();
        let useless = &mut self.useless;
        self.runs.retain(|run| {
            let needed = run.span().to > log_min;
            if !needed {
                useless.push(run.path.clone());
            }
            needed
        });
        if let Some(path) = self.useless.pop() {
            return Job::Remove(path);
        }
        if let Some(run) = self.filter_to_load(filter_bytes_max) {
            return Job::LoadFilter(run);
        }
        if let Some(runs) = self.runs_to_merge() {
            return Job::Merge(runs);
        }
        self.piece_to_rebuild().unwrap_or(Job::Wait)
    }

    /// The oldest closed table, once the log is durable up to its end.
    pub fn table_to_write(&self) -> Option<Rc<KeyTable>> {
        self.tables.closed().front().filter(|table| table.span().to <= self.durable).cloned()
    }

    fn filter_to_load(&self, filter_bytes_max: usize) -> Option<Rc<Run>> {
        let mut bytes = 0;
        for run in self.runs.iter().rev() {
            let missing = run.missing_filter();
            bytes += missing.unwrap_or_else(|| run.filter_bytes());
            if bytes > filter_bytes_max {
                return None;
            }
            if missing.is_some() {
                return Some(Rc::clone(run));
            }
        }
        None
    }

    /// The oldest finished segment that is indexed as a whole, by more than one run.
    fn runs_to_merge(&self) -> Option<Vec<Rc<Run>>> {
        self.segments.iter().find_map(|&(start, end)| {
            let inside = |run: &&Rc<Run>| run.span().from >= start && run.span().to <= end;
            let runs: Vec<_> = self.runs.iter().filter(inside).cloned().collect();
            let neighbours = runs.windows(2).all(|pair| pair[0].span().to == pair[1].span().from);
            let whole = runs.len() > 1
                && neighbours
                && runs[0].span().from == start
                && runs[runs.len() - 1].span().to == end
                && u32::try_from(end.since(start)).is_ok();
            whole.then(|| runs.into_iter().take(KEY_MERGE_RUNS_MAX).collect())
        })
    }

    /// The newest piece of the log that is not indexed although it is durable.
    fn piece_to_rebuild(&self) -> Option<Job> {
        let readable = |from, to| !self.unreadable.iter().any(|&(start, end)| start < to && from < end);
        for gap in self.gaps().rev() {
            for &(start, end) in self.segments.iter().rev() {
                let (from, to) = (gap.from.max(start), gap.to.min(end));
                if from < to && to <= self.durable && readable(from, to) {
                    return Some(Job::Rebuild(start, from, to));
                }
            }
        }
        None
    }

    /// All pieces of the log that neither a run nor a table covers, oldest first. Times are bounds.
    fn gaps(&self) -> impl DoubleEndedIterator<Item = Span> {
        let mut gaps = Vec::new();
        let mut end = self.log_min();
        let mut time = i64::MIN;
        for (span, _) in self.covered() {
            if span.from > end {
                gaps.push(Span { from: end, to: span.from, first_time: time, last_time: i64::MAX });
            }
            end = end.max(span.to);
            time = time.max(span.last_time);
        }
        let mut newest_first = self.covered().rev().filter(|(_, has_entries)| *has_entries).peekable();
        let mut latest = i64::MAX;
        for gap in gaps.iter_mut().rev() {
            while let Some((span, _)) = newest_first.next_if(|(span, _)| span.from >= gap.to) {
                latest = span.first_time;
            }
            gap.last_time = latest;
        }
        gaps.into_iter()
    }

    /// Every run and table, oldest first, and whether it has entries.
    fn covered(&self) -> impl DoubleEndedIterator<Item = (Span, bool)> {
        let runs = self.runs.iter().map(|run| (run.span(), run.header.entries > 0));
        let closed = self.tables.closed().iter().map(|table| (table.span(), table.entry_count() > 0));
        let active = self.tables.active();
        runs.chain(closed).chain([(active.span(), active.entry_count() > 0)])
    }

    /// What a query has to look at besides the growing table, newest first.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let tables = self.tables.closed().iter().map(|table| Source::Table(Rc::clone(table)));
        let runs = self.runs.iter().map(|run| Source::Run(Rc::clone(run)));
        let mut all: Vec<_> = tables.chain(runs).chain(self.gaps().map(Source::Gap)).collect();
        all.sort_by_key(|source| std::cmp::Reverse(source.span().from));
        all.into_iter()
    }

    /// Adds a run that replaces those within its span.
    pub fn install(&mut self, run: Run, filter_bytes_max: usize) {
        let span = run.span();
        if self.has_ended() {
            return;
        }
        let useless = &mut self.useless;
        self.runs.retain(|old| {
            let replaced = old.span().from >= span.from && old.span().to <= span.to;
            if replaced && old.path != run.path {
                useless.push(old.path.clone());
            }
            !replaced
        });
        self.useless.retain(|path| *path != run.path);
        let place = self.runs.partition_point(|old| old.span().from < span.from);
        self.runs.insert(place, Rc::new(run));
        let mut bytes = 0;
        for run in self.runs.iter().rev() {
            bytes += run.filter_bytes();
            if bytes > filter_bytes_max {
                run.drop_filter();
            }
        }
    }

    /// Gives up a run whose file cannot be relied on: its piece of the log is a gap from now on.
    pub fn condemn(&mut self, id: u64) {
        let useless = &mut self.useless;
        self.runs.retain(|run| {
            if run.id == id {
                useless.push(run.path.clone());
            }
            run.id != id
        });
    }

    /// The log itself cannot be read there.
    pub fn set_unreadable(&mut self, from: LogOffset, to: LogOffset) {
        self.unreadable.push((from, to));
    }

    pub fn end(&self) -> KeyIndexEnd {
        let (offset, store_timestamp) = self.tables.newest().unwrap_or_else(|| {
            let times =
                self.covered().filter(|(_, has_entries)| *has_entries).map(|(span, _)| span.last_time);
            (self.tables.active().span().from, times.max().unwrap_or(0))
        });
        KeyIndexEnd { offset, store_timestamp }
    }

    pub fn figures(&self) -> KeyFigures {
        let tables = self.tables.closed().iter().map(|table| table.entry_count());
        let in_tables: usize = tables.chain([self.tables.active().entry_count()]).sum();
        let filter_bytes: usize = self.runs.iter().map(|run| run.filter_bytes()).sum();
        let fences: u64 = self.runs.iter().map(|run| 4 * u64::from(run.header.entry_pages())).sum();
        KeyFigures {
            entries: in_tables as u64 + self.runs.iter().map(|run| run.header.entries).sum::<u64>(),
            runs: self.runs.len(),
            memory_bytes: self.tables.bytes() + filter_bytes + usize::try_from(fences).unwrap_or(usize::MAX),
            filter_bytes,
            gap_bytes: self.gaps().map(|gap| gap.to.since(gap.from)).sum(),
            pages_read: 0,
        }
    }
}
