//! Writing index runs as the log grows, and moving the index along when the oldest segments go.
//!
//! ```text
//!   durable log ≥ one run behind the last one, or a segment's end
//!     → open index/<segment> ─→ build a slice each turn, one write in flight ─→ fdatasync ─→ header, durable
//!     → the run counts; its entries leave memory where the tail cache no longer needs them
//! ```
//! Off the append path: a slice is some 100 µs of work, at most one a turn. Nothing depends on a run being written: a failed attempt is
//! reported, dropped, and made again after a pause; until then the entries stay in memory, and recovery finds them in the log. A
//! crash in the middle leaves pages without a header, which the next attempt overwrites.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{AlignedBuffer, FileId, FileOp, FileValue, Io, PAGE_BYTES, WriteData};

use crate::ages::Ages;
use crate::index::Index;
use crate::index::build::{RunBuilder, Step};
use crate::index::format::{self, RunHeader};
use crate::index::reader::RunReader;
use crate::index::runs::{IndexFile, Run};
use crate::limits::{INDEX_RUN_FACTOR, INDEX_SLICE, INDEX_TABLE_FACTOR, INDEX_WRITE_BYTES};
use crate::offset::LogOffset;
use crate::segments::{PAGED_FILE, Segments};
use crate::token::{Kind, Tokens};

/// After a failed attempt the next one waits this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Parts of a run (about 256 queues each) whose entries leave memory in one turn.
const RELEASED_PARTS: usize = 4;

/// How much of the log one run covers, given the newest one: with many queues, whose table every run holds, it is longer, so that
/// tables stay a small part of what is written; up to four times `run_bytes`, so that recovery stays short.
pub(crate) fn run_bytes(run_bytes: u64, newest: Option<&Run>) -> u64 {
    let table = newest.map_or(0, |run| u64::from(run.header.table_pages) * PAGE_BYTES as u64);
    (table * INDEX_TABLE_FACTOR).clamp(run_bytes, run_bytes * INDEX_RUN_FACTOR)
}

enum State {
    Idle,
    Opening,
    /// The name of a new file must be durable before its first run counts.
    SyncingDir,
    /// Nothing in flight: the next slice of the run is due.
    Building,
    Writing,
    Flushing,
    WritingHeader,
    /// The run is durable: entries leave memory, part by part.
    Releasing,
    /// Reading the table of the oldest run, from this page on: it knows where the queues begin now.
    ReadingOldest {
        run: Run,
        page: u32,
    },
    /// Noting in a run's header that it is damaged.
    Marking,
    /// Until the retry timer.
    Waiting,
}

/// The run being made.
struct Job {
    segment: LogOffset,
    builder: RunBuilder,
}

/// What the store lends to its index writer for one call.
pub(crate) struct Parts<'a> {
    pub tokens: Tokens,
    pub shard: u16,
    pub index: &'a mut Index,
    pub reader: &'a mut RunReader,
    pub segments: &'a Segments,
    /// A seal below which the log is durable, as the durable checkpoint says.
    pub durable: LogOffset,
    /// Newest store time below that.
    pub newest_durable: i64,
    pub ages: &'a Ages,
    /// Entries of records from here on stay in memory.
    pub keep_from: LogOffset,
}

/// See the module's text.
pub(crate) struct Indexing {
    run_bytes: u64,
    state: State,
    job: Option<Job>,
    /// Min offsets are to be learnt from the oldest run.
    oldest_changed: bool,
    timer: bool,
    removing: usize,
    failing: bool,
    pub runs_written: u64,
    pub bytes_written: u64,
    pub failures: u64,
}

impl Indexing {
    pub fn new(run_bytes: u64) -> Self {
        Self {
            run_bytes,
            state: State::Idle,
            job: None,
            oldest_changed: false,
            timer: false,
            removing: 0,
            failing: false,
            runs_written: 0,
            bytes_written: 0,
            failures: 0,
        }
    }

    /// Operations are in flight.
    pub fn is_busy(&self) -> bool {
        let idle = matches!(self.state, State::Idle | State::Building | State::Releasing | State::Waiting);
        !idle || self.removing > 0
    }

    /// The last attempt to write a run failed.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// A run was written, and its entries are leaving memory.
    pub fn is_releasing(&self) -> bool {
        matches!(self.state, State::Releasing)
    }

    /// Goes on with what is due.
    pub fn drive(&mut self, io: &mut dyn Io, mut parts: Parts<'_>) {
        if matches!(self.state, State::Idle) {
            self.start(io, &mut parts);
        }
        match self.state {
            State::Building => self.build(io, &parts),
            State::Releasing => self.release(io, &mut parts),
            _ => {}
        }
    }

    fn start(&mut self, io: &mut dyn Io, parts: &mut Parts<'_>) {
        if let Some(from) = parts.reader.cache.take_damaged() {
            if let Some(run) = parts.reader.runs.mark_damaged(from) {
                self.write_header(io, parts.tokens, run.file, run.place(0), &run.header);
                self.state = State::Marking;
            }
            return;
        }
        if std::mem::take(&mut self.oldest_changed) {
            match parts.reader.runs.first() {
                Some(run) => return self.read_oldest(io, parts.tokens, *run, run.header.table_at()),
                None => parts.index.forget_runs(parts.segments.start()),
            }
        }
        let runs = &parts.reader.runs;
        let from = runs.end();
        let Some(segment) = parts.segments.find(from) else { return };
        let due = parts.durable >= segment.end
            || parts.durable.since(from) >= run_bytes(self.run_bytes, runs.last());
        if !due {
            return;
        }
        let to = parts.durable.min(segment.end);
        let newest_time = match parts.ages.newest(to) {
            Some(newest) if to < parts.durable => newest,
            _ => parts.newest_durable,
        };
        let builder = RunBuilder::new(parts.index, parts.shard, from, to, newest_time);
        self.job = Some(Job { segment: segment.start, builder });
        if runs.file_of(segment.start).is_some() {
            self.state = State::Building;
        } else {
            self.state = State::Opening;
            let path = runs.path(segment.start);
            io.file(parts.tokens.of(Kind::IndexRun, 0), FileOp::Open { path, options: PAGED_FILE });
        }
    }

    fn build(&mut self, io: &mut dyn Io, parts: &Parts<'_>) {
        let Some(job) = &mut self.job else {
            self.state = State::Idle;
            return;
        };
        let file = parts.reader.runs.file_of(job.segment).expect("opened before");
        let token = parts.tokens.of(Kind::IndexRun, 0);
        match job.builder.step(parts.index, INDEX_SLICE) {
            Step::Working => self.next_turn(io, parts.tokens),
            Step::Write { page, data } => {
                let offset = u64::from(file.pages + page) * PAGE_BYTES as u64;
                io.file(token, FileOp::Write { file: file.file, offset, data, durable: false });
                self.state = State::Writing;
            }
            Step::Done => {
                io.file(token, FileOp::SyncData(file.file));
                self.state = State::Flushing;
            }
        }
    }

    /// Makes another turn happen although nothing is in flight.
    fn next_turn(&mut self, io: &mut dyn Io, tokens: Tokens) {
        if !self.timer {
            self.timer = true;
            io.timer(io.now(), tokens.of(Kind::IndexTimer, 0));
        }
    }

    fn release(&mut self, io: &mut dyn Io, parts: &mut Parts<'_>) {
        let Some(job) = &mut self.job else {
            self.state = State::Idle;
            return;
        };
        for _ in 0..RELEASED_PARTS {
            if !job.builder.mark_part(parts.index, parts.keep_from) {
                let gone = parts.index.reap(job.builder.header().to);
                parts.reader.forget_slots(&gone);
                self.job = None;
                self.state = State::Idle;
                return;
            }
        }
        self.next_turn(io, parts.tokens);
    }

    /// A timer of the writer fired: another turn happens by that alone.
    pub fn on_timer(&mut self) {
        self.timer = false;
        if matches!(self.state, State::Waiting) {
            self.state = State::Idle;
        }
    }

    /// Completion of a step.
    pub fn on_file(&mut self, io: &mut dyn Io, parts: &mut Parts<'_>, result: io::Result<FileValue>) {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let token = parts.tokens.of(Kind::IndexRun, 0);
        let value = match result {
            Ok(value) => value,
            Err(error) => return self.fail(io, parts.tokens, &state, &error),
        };
        if let (State::Opening, FileValue::Opened { file, .. }, None) = (&state, &value, &self.job) {
            // Its segment is gone.
            self.removing += 1;
            io.file(parts.tokens.of(Kind::IndexRemove, 0), FileOp::Close(*file));
            return;
        }
        if let (State::ReadingOldest { run, page }, FileValue::Read { buffer, bytes }) = (&state, &value) {
            return self.read_rows(io, parts, *run, *page, buffer, *bytes);
        }
        // Without a job: marked, or its segment is gone.
        let Some(job) = &self.job else { return };
        self.state = match (state, value) {
            (State::Opening, FileValue::Opened { file, .. }) => {
                parts.reader.runs.add_file(IndexFile { segment: job.segment, file, pages: 0 });
                io.file(token, FileOp::SyncDir(parts.reader.runs.dir().to_owned()));
                State::SyncingDir
            }
            (State::SyncingDir | State::Writing, _) => State::Building,
            (State::Flushing, _) => {
                let file = parts.reader.runs.file_of(job.segment).expect("opened before");
                let offset = u64::from(file.pages) * PAGE_BYTES as u64;
                self.write_header(io, parts.tokens, file.file, offset, job.builder.header());
                State::WritingHeader
            }
            (State::WritingHeader, _) => {
                let header = *job.builder.header();
                parts.reader.runs.push(job.segment, header);
                self.failing = false;
                self.runs_written += 1;
                self.bytes_written += u64::from(header.pages()) * PAGE_BYTES as u64;
                State::Releasing
            }
            (_, value) => unreachable!("{value:?} answers nothing that the index writer asked for"),
        };
    }

    fn write_header(&self, io: &mut dyn Io, tokens: Tokens, file: FileId, offset: u64, header: &RunHeader) {
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        page.as_mut().copy_from_slice(&header.encode());
        let data = WriteData::Aligned(Arc::new(page));
        io.file(tokens.of(Kind::IndexRun, 0), FileOp::Write { file, offset, data, durable: true });
    }

    fn fail(&mut self, io: &mut dyn Io, tokens: Tokens, state: &State, error: &io::Error) {
        self.failures += 1;
        self.failing = true;
        if matches!(state, State::Marking) {
            tracing::warn!(%error, "a damaged index run could not be marked; the next start does not know of it");
        } else if let State::ReadingOldest { run, .. } = state {
            tracing::warn!(run = run.header.from.0, %error, "the oldest index run could not be read; trying again");
            self.oldest_changed = true;
        } else {
            tracing::warn!(%error, "an index run could not be written; its entries stay in memory, trying again");
        }
        self.job = None;
        self.state = State::Waiting;
        self.timer = true;
        io.timer(io.now() + RETRY_PAUSE, tokens.of(Kind::IndexTimer, 0));
    }

    /// The log will start at `log_min`, a segment's start: older runs and their files go.
    pub fn forget_below(&mut self, io: &mut dyn Io, parts: &mut Parts<'_>, log_min: LogOffset) {
        let releasing = matches!(self.state, State::Releasing);
        if !releasing && self.job.as_ref().is_some_and(|job| job.segment < log_min) {
            // Its operation in flight ends by itself.
            self.job = None;
        }
        for file in parts.reader.forget_below(log_min) {
            self.remove(io, parts.tokens, parts.reader.runs.path(file.segment), file.file);
        }
        if parts.reader.runs.first().is_none() {
            parts.index.forget_runs(log_min);
        } else {
            self.oldest_changed = true;
        }
    }

    fn remove(&mut self, io: &mut dyn Io, tokens: Tokens, path: std::path::PathBuf, file: FileId) {
        let token = tokens.of(Kind::IndexRemove, 0);
        self.removing += 2;
        io.file(token, FileOp::Close(file));
        io.file(token, FileOp::Remove(path));
    }

    /// A file was closed or removed. One that stays is removed by the next recovery.
    pub fn on_removed(&mut self, result: io::Result<FileValue>) {
        self.removing -= 1;
        if let Err(error) = result {
            tracing::warn!(%error, "an index file that is not needed any more stays until the next start");
        }
    }

    fn read_oldest(&mut self, io: &mut dyn Io, tokens: Tokens, run: Run, page: u32) {
        let bytes = ((run.header.pages() - page) as usize * PAGE_BYTES).min(INDEX_WRITE_BYTES);
        let into = AlignedBuffer::zeroed(bytes);
        let read = FileOp::Read { file: run.file, offset: run.place(page), into };
        io.file(tokens.of(Kind::IndexRun, 0), read);
        self.state = State::ReadingOldest { run, page };
    }

    fn read_rows(
        &mut self,
        io: &mut dyn Io,
        parts: &mut Parts<'_>,
        run: Run,
        first: u32,
        buffer: &AlignedBuffer,
        bytes: usize,
    ) {
        if self.oldest_changed {
            // That run is no longer the oldest one.
            return;
        }
        let mut number = first;
        for page in buffer.as_ref()[..bytes].chunks(PAGE_BYTES) {
            if !run.header.is_whole(number, page) {
                parts.reader.cache.note_damaged(run.header.from, number);
                return;
            }
            format::rows(page).for_each(|row| parts.index.apply_oldest_run(&row));
            number += 1;
        }
        if number > first && number < run.header.pages() {
            self.read_oldest(io, parts.tokens, run, number);
        }
    }
}
