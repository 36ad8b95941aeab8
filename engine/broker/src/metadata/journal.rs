//! From changes to files: one writer task, group commit, generations, snapshots.
//!
//! ```text
//!   append ──▶ queue ──▶ one frame ──▶ durable ──▶ State::committed ──▶ whoever waits
//!                          │ no space: taken back, all that waits is refused, the log goes on
//!                          │ any other failure: all that waits is refused, a new generation is begun
//!                          └ log large enough: the next generation is begun, its snapshot is written beside it
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ringmq_reactor::task::{Notify, OneshotReceiver, OneshotSender, oneshot};
use ringmq_reactor::{FileId, OpenOptions, TaskIo, WriteData};
use tracing::{error, info, warn};

use super::change::{Change, FORMAT};
use super::error::SaveError;
use super::files::{self, Role};
use super::frame::{self, Kind};
use super::recover::Recovered;
use super::snapshot;

/// A batch takes no further transaction once it has this many bytes.
pub const BATCH_BYTES: usize = 1 << 20;
/// After a failure, a new file is tried this much later.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);
/// After this long without a change, a mark is written behind the last one: should that be damaged later, it is known to have been
/// written.
pub const MARK_AFTER: Duration = Duration::from_millis(500);
/// A log is followed by the next generation when it has this many times the size of its snapshot: what is written for snapshots
/// then stays below half of what is written for changes.
pub const LOG_TO_SNAPSHOT: u64 = 2;
/// A log is never followed before it has this many bytes, however small the state is.
pub const LOG_BYTES_MIN: u64 = 4 << 20;

/// What the journal keeps durable. Called on the coordination shard's thread, never while it is being called.
pub trait State: 'static {
    /// How far the writing of a snapshot has come.
    type Cursor: Default;

    /// These changes are durable: they take effect now, before whoever asked for them is told.
    fn committed(&self, changes: Vec<Change>);

    /// No change that was appended and not committed will be.
    fn refused(&self);

    /// The next part of the whole state, as changes: some thousands at a time. Empty: that was all. Changes that are committed between
    /// two calls may or may not be seen.
    fn part(&self, cursor: &mut Self::Cursor) -> Vec<Change>;
}

/// Settings of a journal.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// The folder; it exists.
    pub dir: PathBuf,
    /// See [`LOG_BYTES_MIN`].
    pub log_bytes_min: u64,
}

impl JournalOptions {
    /// As it should be.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, log_bytes_min: LOG_BYTES_MIN }
    }
}

/// What has been written since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Frames of changes.
    pub batches: u64,
    /// Bytes of logs.
    pub log_bytes: u64,
    /// Snapshots that became durable.
    pub snapshots: u64,
    /// Size of the last of them.
    pub snapshot_bytes: u64,
}

/// See the module's text. Cheap calls from handlers; [`Journal::run`] is the task that writes.
#[derive(Debug)]
pub struct Journal {
    pub(super) io: TaskIo,
    pub(super) options: JournalOptions,
    queue: RefCell<VecDeque<Transaction>>,
    wake: Notify,
    is_writing: Cell<bool>,
    is_closing: Cell<bool>,
    is_closed: Cell<bool>,
    closed: Notify,
    /// Generation and first sequence of the log whose snapshot is wanted, while a task sees to it.
    snapshot_wanted: Cell<Option<(u64, u64)>>,
    pub(super) stats: Cell<JournalStats>,
}

#[derive(Debug)]
struct Transaction {
    changes: Vec<Change>,
    sender: OneshotSender<Result<(), SaveError>>,
}

struct Log {
    generation: u64,
    path: PathBuf,
    file: FileId,
    /// Its first sequence.
    first: u64,
    /// Sequence of the next frame.
    next: u64,
    /// Bytes that are durable.
    end: u64,
    /// Nothing stands there that no later frame vouches for.
    is_vouched_for: bool,
}

enum End {
    /// The journal is closed.
    Closed,
    /// It is large enough.
    Large,
    /// It cannot be written any more.
    Failed(SaveError),
}

/// Waits until a transaction is durable.
#[derive(Debug)]
pub struct Saved(OneshotReceiver<Result<(), SaveError>>);

impl Saved {
    /// The outcome. Not waiting for it changes nothing about it.
    ///
    /// # Errors
    /// See [`SaveError`].
    pub async fn outcome(self) -> Result<(), SaveError> {
        self.0.await.unwrap_or(Err(SaveError::Stopping))
    }
}

impl Journal {
    /// Nothing is written before [`Journal::run`].
    #[must_use]
    pub fn new(io: TaskIo, options: JournalOptions) -> Self {
        Self {
            io,
            options,
            queue: RefCell::default(),
            wake: Notify::new(),
            is_writing: Cell::new(false),
            is_closing: Cell::new(false),
            is_closed: Cell::new(false),
            closed: Notify::new(),
            snapshot_wanted: Cell::new(None),
            stats: Cell::default(),
        }
    }

    /// Appends changes that take effect together. Without any: waits for what was appended before.
    pub fn append(&self, changes: Vec<Change>) -> Saved {
        let (sender, receiver) = oneshot();
        // Once it is closing nobody may be left to write: the sender is dropped, which says so.
        if !self.is_closing.get() {
            self.queue.borrow_mut().push_back(Transaction { changes, sender });
            self.wake.notify_one();
        }
        Saved(receiver)
    }

    /// Whether something was appended whose fate is not known.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_writing.get() || !self.queue.borrow().is_empty()
    }

    /// What has been written.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.stats.get()
    }

    /// Writes what was appended, then the end of the log; ends when all files are closed. What is appended from now on is refused.
    pub async fn close(&self) {
        self.is_closing.set(true);
        self.wake.notify_one();
        while !self.is_closed.get() {
            self.closed.notified().await;
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// The writer, a task for as long as the shard. `state` has what was recovered.
    pub async fn run<S: State>(self: Rc<Self>, state: Rc<S>, recovered: Recovered) {
        let mut generation = recovered.next_generation;
        let mut sequence = recovered.next_sequence;
        // What was recovered may be in the page cache only, without the kernel knowing that it is not on the disk (a write-back that
        // failed in an earlier life). So nothing is promised on top of it before it has been written anew.
        let mut has_snapshot = false;
        let mut failed = false;
        loop {
            let begun = self.begin(generation, sequence, (!has_snapshot).then_some(&*state)).await;
            let end = match begun {
                Ok(mut log) => {
                    if std::mem::take(&mut failed) {
                        info!(file = %log.path.display(), "metadata can be written again");
                    }
                    if has_snapshot {
                        self.want_snapshot(&state, &recovered.damaged, &log);
                    } else {
                        snapshot::remove_old(&self.io, &self.options.dir, generation, &recovered.damaged)
                            .await;
                    }
                    has_snapshot = true;
                    let end = self.write(&mut log, &*state).await;
                    sequence = log.next;
                    // Whatever is not durable now was never promised.
                    let _ = self.io.close(log.file).await;
                    end
                }
                Err(error) => End::Failed(error),
            };
            generation += 1;
            match end {
                End::Closed => break,
                End::Large => {}
                End::Failed(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        error!(%error, "METADATA CANNOT BE WRITTEN: changes are refused until a new file can be begun");
                    }
                    self.refuse_all(&*state, &error);
                    if self.is_closing.get() {
                        break;
                    }
                    // What comes meanwhile waits for the next attempt.
                    self.io.sleep(RETRY_AFTER).await;
                }
            }
        }
        self.is_closed.set(true);
        self.closed.notify_all();
    }

    /// Makes a log, and its snapshot with it if one is asked for.
    async fn begin<S: State>(
        &self,
        generation: u64,
        sequence: u64,
        snapshot_of: Option<&S>,
    ) -> Result<Log, SaveError> {
        let path = files::path(&self.options.dir, generation, Role::Log);
        let options = OpenOptions { create: true, truncate: true, ..OpenOptions::default() };
        let opened = self.io.open(&path, options).await;
        let (file, _) = opened.map_err(|source| save_error("make", &path, source))?;
        let mut log =
            Log { generation, path, file, first: sequence, next: sequence, end: 0, is_vouched_for: true };
        let begun = async {
            self.put(&mut log, Kind::LogBegin, &FORMAT.to_le_bytes()).await?;
            let synced = self.io.sync_dir(&*self.options.dir).await;
            synced.map_err(|source| save_error("sync", &self.options.dir, source))?;
            if let Some(state) = snapshot_of {
                snapshot::write(self, state, generation, sequence).await?;
            }
            Ok(())
        };
        match begun.await {
            Ok(()) => Ok(log),
            Err(error) => {
                // It has nothing that anybody was promised.
                let _ = self.io.close(log.file).await;
                let _ = self.io.remove(&log.path).await;
                Err(error)
            }
        }
    }

    /// Appends batches until the log ends.
    async fn write<S: State>(&self, log: &mut Log, state: &S) -> End {
        loop {
            if self.is_large(log) {
                return End::Large;
            }
            let Some(batch) = self.take_batch() else {
                if self.is_closing.get() {
                    if let Err(error) = self.put(log, Kind::Close, &[]).await {
                        warn!(%error, "the metadata log has no end; nothing is lost");
                    }
                    return End::Closed;
                }
                match self.idle(log).await {
                    Ok(()) => continue,
                    Err(error) => return End::Failed(error),
                }
            };
            self.is_writing.set(true);
            let outcome = match &batch.payload[..] {
                [] => Ok(()),
                payload => self.put(log, Kind::Changes, payload).await,
            };
            self.is_writing.set(false);
            match outcome {
                Ok(()) => {
                    if !batch.changes.is_empty() {
                        self.count(|stats| stats.batches += 1);
                        state.committed(batch.changes);
                    }
                    // Whoever asked may be gone.
                    batch.senders.into_iter().for_each(|sender| drop(sender.send(Ok(()))));
                }
                Err(error) => {
                    batch.senders.into_iter().for_each(|sender| drop(sender.send(Err(error.clone()))));
                    let taken_back = matches!(error, SaveError::NoSpace { .. })
                        && self.io.truncate(log.file, log.end).await.is_ok();
                    if !taken_back {
                        return End::Failed(error);
                    }
                    warn!(%error, "no space for metadata");
                    self.refuse_all(state, &error);
                }
            }
        }
    }

    /// Waits for work; writes a mark meanwhile if the last changes have none behind them.
    async fn idle(&self, log: &mut Log) -> Result<(), SaveError> {
        if log.is_vouched_for {
            self.wake.notified().await;
            return Ok(());
        }
        if self.io.timeout(MARK_AFTER, self.wake.notified()).await.is_ok() {
            return Ok(());
        }
        let marked = self.put(log, Kind::Mark, &[]).await;
        // Not tried again before the next change: a full disk must not be asked for ever.
        log.is_vouched_for = true;
        match marked {
            Err(error @ SaveError::NoSpace { .. }) => {
                let cut = self.io.truncate(log.file, log.end).await;
                cut.map_err(|_| error)
            }
            other => other,
        }
    }

    /// Appends one frame, durably.
    async fn put(&self, log: &mut Log, kind: Kind, payload: &[u8]) -> Result<(), SaveError> {
        let mut bytes = BytesMut::new();
        frame::encode(&mut bytes, kind, log.generation, log.next, payload);
        let length = bytes.len() as u64;
        let data = WriteData::Bytes(bytes.freeze());
        let written = self.io.write_at(log.file, log.end, data, true).await;
        written.map_err(|source| save_error("write", &log.path, source))?;
        log.end += length;
        log.next += 1;
        log.is_vouched_for = kind != Kind::Changes;
        self.count(|stats| stats.log_bytes += length);
        Ok(())
    }

    fn is_large(&self, log: &Log) -> bool {
        let due = self.options.log_bytes_min.max(LOG_TO_SNAPSHOT * self.stats.get().snapshot_bytes);
        // One snapshot at a time: until it is durable the log may well grow.
        log.end > due && self.snapshot_wanted.get().is_none()
    }

    fn take_batch(&self) -> Option<Batch> {
        let mut queue = self.queue.borrow_mut();
        let mut batch = Batch::default();
        while batch.payload.len() < BATCH_BYTES
            && let Some(transaction) = queue.pop_front()
        {
            transaction.changes.iter().for_each(|change| change.encode(&mut batch.payload));
            batch.changes.extend(transaction.changes);
            batch.senders.push(transaction.sender);
        }
        (!batch.senders.is_empty()).then_some(batch)
    }

    /// What waits was made on top of what failed: all of it is refused.
    fn refuse_all<S: State>(&self, state: &S, error: &SaveError) {
        let refused = std::mem::take(&mut *self.queue.borrow_mut());
        state.refused();
        refused.into_iter().for_each(|transaction| drop(transaction.sender.send(Err(error.clone()))));
    }

    /// Has the snapshot of a generation written by a task; if one is at it already, that one goes on with this generation.
    fn want_snapshot<S: State>(self: &Rc<Self>, state: &Rc<S>, damaged: &[u64], log: &Log) {
        let is_running = self.snapshot_wanted.replace(Some((log.generation, log.first))).is_some();
        if is_running {
            return;
        }
        let (this, state, damaged) = (Rc::clone(self), Rc::clone(state), damaged.to_vec());
        self.io.spawn(async move {
            while let Some((generation, first)) = this.snapshot_wanted.get() {
                match snapshot::write(&this, &*state, generation, first).await {
                    Ok(()) => {
                        if this.snapshot_wanted.get() == Some((generation, first)) {
                            this.snapshot_wanted.set(None);
                        }
                        snapshot::remove_old(&this.io, &this.options.dir, generation, &damaged).await;
                    }
                    Err(SaveError::Stopping) => this.snapshot_wanted.set(None),
                    Err(error) => {
                        warn!(%error, "a metadata snapshot cannot be written: the log grows instead");
                        this.io.sleep(snapshot::RETRY_AFTER).await;
                    }
                }
            }
        });
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut JournalStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }
}

#[derive(Default)]
struct Batch {
    payload: Vec<u8>,
    changes: Vec<Change>,
    senders: Vec<OneshotSender<Result<(), SaveError>>>,
}

pub(super) fn save_error(what: &'static str, path: &Path, source: io::Error) -> SaveError {
    let (path, full) = (path.to_owned(), is_no_space(&source));
    let source = Arc::new(source);
    if full { SaveError::NoSpace { path, source } } else { SaveError::Failed { what, path, source } }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
