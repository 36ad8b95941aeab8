//! The task that keeps the key files: writes tables, merges runs, fills gaps, loads filters, removes what is useless. One step
//! at a time; every step is safe to lose.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Shared;
use super::rebuild;
use super::run::{Run, RunError, RunReader};
use super::state::Job;
use super::table::{Entry, KeyTable, Span};
use super::writer::RunWriter;

/// After a failed step (no space, mostly) the next one waits this long. Meanwhile tables that find no room are dropped: gaps.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Entries merged between two looks at what else is to be done.
const MERGE_STRETCH: u64 = 4096;

/// Runs until the store closes.
pub(crate) async fn work(shared: Rc<Shared>) {
    loop {
        let job = shared.state.borrow_mut().next_job(shared.filter_bytes_max);
        let done = match job {
            Job::Stop => break,
            Job::Wait => {
                shared.notify.notified().await;
                Ok(())
            }
            Job::Remove(path) => match shared.io.remove(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            Job::Write(table) => shared.write(&table).await,
            Job::LoadFilter(run) => shared.load_filter(&run).await,
            Job::Merge(runs) => shared.merge(&runs).await,
            Job::Rebuild(segment, from, to) => rebuild::rebuild(&shared, segment, from, to).await,
        };
        if let Err(error) = done {
            tracing::warn!(dir = %shared.dir.display(), %error, "a step of the key index failed; trying again");
            if shared.state.borrow().is_stopping() {
                shared.state.borrow_mut().stop_now();
            } else {
                shared.io.sleep(RETRY_PAUSE).await;
            }
        }
    }
    shared.state.borrow_mut().set_ended();
    // The store looks at the end of each turn: this makes another one happen.
    shared.io.yield_now().await;
}

impl Shared {
    /// Writes a table as a run.
    pub(super) async fn write(&self, table: &Rc<KeyTable>) -> Result<(), RunError> {
        let keys = table.entry_count() as u64;
        let mut writer = self.writer(table.span(), keys).await?;
        for bucket in table.sorted() {
            for entry in bucket {
                writer.push(entry).await?;
            }
        }
        self.finish(writer).await?;
        self.state.borrow_mut().tables.forget(table);
        Ok(())
    }

    /// Writes tables that are due, in the middle of a longer step: they wait in small number only.
    pub(super) async fn write_waiting(&self) -> Result<(), RunError> {
        loop {
            let due = self.state.borrow().table_to_write();
            let Some(table) = due else { return Ok(()) };
            self.write(&table).await?;
        }
    }

    async fn writer(&self, span: Span, keys: u64) -> io::Result<RunWriter<'_>> {
        RunWriter::create(&self.io, &self.dir, self.shard, span, keys, self.filter_bytes_max).await
    }

    async fn finish(&self, writer: RunWriter<'_>) -> Result<(), RunError> {
        let id = self.state.borrow_mut().next_run_id();
        let run = writer.finish(id).await?;
        self.state.borrow_mut().install(run, self.filter_bytes_max);
        Ok(())
    }

    async fn load_filter(&self, run: &Run) -> Result<(), RunError> {
        let loaded = run.load_filter(&self.io).await;
        if loaded.is_err() {
            self.state.borrow_mut().condemn(run.id);
        }
        loaded
    }

    /// Makes one run of several that follow each other in the log.
    async fn merge(&self, runs: &[Rc<Run>]) -> Result<(), RunError> {
        let span = merged_span(runs);
        let keys = runs.iter().map(|run| run.header.entries).sum();
        let mut writer = self.writer(span, keys).await?;
        let mut readers: Vec<_> = runs.iter().map(|run| RunReader::new(&self.io, run)).collect();
        let mut heap = BinaryHeap::new();
        for number in 0..runs.len() {
            if let Some(entry) = self.next_of(runs, &mut readers, number, span).await? {
                heap.push(Reverse((entry, number)));
            }
        }
        let mut merged = 0_u64;
        while let Some(Reverse((entry, number))) = heap.pop() {
            writer.push(entry).await?;
            merged += 1;
            if merged.is_multiple_of(MERGE_STRETCH) {
                self.write_waiting().await?;
            }
            if let Some(entry) = self.next_of(runs, &mut readers, number, span).await? {
                heap.push(Reverse((entry, number)));
            }
            if self.state.borrow().is_stopping() {
                return Ok(());
            }
        }
        self.finish(writer).await
    }

    /// The next entry of a run, as it reads in the merged one. A run that cannot be read is given up.
    async fn next_of(
        &self,
        runs: &[Rc<Run>],
        readers: &mut [RunReader<'_>],
        number: usize,
        merged: Span,
    ) -> Result<Option<Entry>, RunError> {
        let run = &runs[number];
        match readers[number].next().await {
            Ok(entry) => Ok(entry.map(|entry| moved(entry, run.span(), merged))),
            Err(error) => {
                self.state.borrow_mut().condemn(run.id);
                Err(error)
            }
        }
    }
}

fn merged_span(runs: &[Rc<Run>]) -> Span {
    let (first, last) = (runs[0].span(), runs[runs.len() - 1].span());
    let with_entries = || runs.iter().filter(|run| run.header.entries > 0).map(|run| run.span());
    Span {
        from: first.from,
        to: last.to,
        first_time: with_entries().next().unwrap_or(first).first_time,
        last_time: with_entries().next_back().unwrap_or(last).last_time,
    }
}

/// An entry of one span in terms of another that contains it.
fn moved(entry: Entry, from: Span, to: Span) -> Entry {
    let candidate = from.candidate(&entry);
    let moved = to.entry(entry.hash, candidate.offset, candidate.time);
    // A bound stays a bound.
    if candidate.exact { moved } else { Entry { time: u32::MAX, ..moved } }
}
