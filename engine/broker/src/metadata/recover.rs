//! From files to state.
//!
//! The newest snapshot that is whole is read, then every log from its generation on, in order. What is cut and what is corruption:
//!
//! - A log that is not the newest ends where the next one says it does (its first sequence). Anything less is corruption; anything
//!   more was never promised and is left out.
//! - A log without any change that has no snapshot is passed over: the process that began it ended before it could promise anything, and
//!   what it had read may since have been lost (see [`super::journal`]).
//! - The newest log may end in what one interrupted write left: bytes that are no frame, with no frame of this log behind them.
//!   They are left out. A valid frame behind them proves that what is damaged had been written: corruption. A frame of an
//!   orderly close promises that nothing is missing at all.
//! - A damaged snapshot is reported and the one before it is read instead, with the logs since: the same state. With none left, that is
//!   corruption.
//!
//! What could be lost unnoticed is thus a change whose frame is damaged on the media in the very moment in which it is the last
//! frame of the newest log: [`super::journal::MARK_AFTER`] later another stands behind it.

use std::io;
use std::path::{Path, PathBuf};

use ringmq_reactor::TaskIo;
use tracing::{error, warn};

use super::change::{Change, FORMAT};
use super::error::RecoverError;
use super::files::{self, FrameReader, Next, Role};
use super::frame::{Header, Kind};

/// Who takes the state.
pub trait Sink {
    /// Forgets everything taken so far: it came from a file that turned out to be damaged.
    fn reset(&mut self);
    /// Takes a change.
    fn apply(&mut self, change: Change);
}

/// Where the journal goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// There was a state: the sink has it. If not, this is a first start.
    pub found: bool,
    /// No file has this generation or a later one.
    pub next_generation: u64,
    /// Sequence of the next frame.
    pub next_sequence: u64,
    /// Snapshots that were found to be damaged.
    pub damaged: Vec<u64>,
    /// Bytes at the end of the newest log that an interrupted write left.
    pub torn_bytes: u64,
    /// Generation of that log, and where in it they begin.
    pub torn_at: (u64, u64),
    /// The snapshot that was read.
    pub snapshot: Option<u64>,
}

/// What recovery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The journal goes on from what is found: that must be durable.
    Start,
    /// Nothing; nothing is changed. See [`super::inspect`].
    Look,
}

/// Reads the state from `dir`; a folder that does not exist is an empty one.
///
/// # Errors
/// See [`RecoverError`]; what the sink has is then worth nothing.
pub async fn recover(io: &TaskIo, dir: &Path, sink: &mut dyn Sink) -> Result<Recovered, RecoverError> {
    recover_for(Purpose::Start, io, dir, sink).await
}

/// See [`recover`].
pub(super) async fn recover_for(
    purpose: Purpose,
    io: &TaskIo,
    dir: &Path,
    sink: &mut dyn Sink,
) -> Result<Recovered, RecoverError> {
    let recovery = Recovery { io, dir, purpose };
    let (snapshots, logs) = recovery.list().await?;
    let newest = snapshots.iter().chain(&logs).max().copied().unwrap_or(0);
    let mut found = Recovered {
        found: false,
        next_generation: newest + 1,
        next_sequence: 1,
        damaged: Vec::new(),
        torn_bytes: 0,
        torn_at: (0, 0),
        snapshot: None,
    };
    for &generation in snapshots.iter().rev() {
        match recovery.read_from(generation, (&snapshots, &logs), sink, &mut found).await? {
            Ok(()) => return Ok(found),
            Err(damage) => {
                error!(
                    file = %damage.path.display(), at = damage.at, what = damage.what,
                    "METADATA SNAPSHOT DAMAGED: the one before it and the logs since are used; check the disk"
                );
                found.damaged.push(generation);
                sink.reset();
            }
        }
    }
    match found.damaged.first() {
        Some(newest) => {
            let path = recovery.path(*newest, Role::Snapshot);
            Err(recovery.corrupt(path, 0, "no snapshot is whole"))
        }
        None => {
            let begun = recovery.begun(&logs, 0).await?;
            recovery.check_nothing_promised(&begun).await.map(|()| found)
        }
    }
}

/// A log that has been begun.
#[derive(Debug, Clone, Copy)]
struct Begun {
    generation: u64,
    /// Sequence of its first frame.
    first: u64,
    /// It has no other frame.
    is_empty: bool,
}

/// What is wrong with a snapshot.
pub(super) struct Damage {
    pub path: PathBuf,
    pub at: u64,
    pub what: &'static str,
}

pub(super) struct Recovery<'a> {
    pub io: &'a TaskIo,
    pub dir: &'a Path,
    pub purpose: Purpose,
}

impl Recovery<'_> {
    /// Gives a snapshot and everything since to the sink. `files`: generations of snapshots and of logs.
    pub async fn read_from(
        &self,
        generation: u64,
        (snapshots, logs): (&[u64], &[u64]),
        sink: &mut dyn Sink,
        found: &mut Recovered,
    ) -> Result<Result<(), Damage>, RecoverError> {
        let first = match self.read_snapshot(generation, sink).await? {
            Ok(first) => first,
            Err(damage) => return Ok(Err(damage)),
        };
        let mut begun = self.begun(logs, generation).await?;
        begun.retain(|log| !log.is_empty || snapshots.contains(&log.generation));
        found.snapshot = Some(generation);
        self.replay(generation, first, &begun, sink, found).await.map(Ok)
    }

    fn path(&self, generation: u64, role: Role) -> PathBuf {
        files::path(self.dir, generation, role)
    }

    fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecoverError {
        let path = path.to_owned();
        move |source| RecoverError::Io { what, path, source }
    }

    fn corrupt(&self, path: PathBuf, at: u64, what: impl Into<String>) -> RecoverError {
        RecoverError::Corrupt { path, at, what: what.into(), folder: self.dir.to_owned() }
    }

    /// Generations of snapshots and of logs, in order.
    pub async fn list(&self) -> Result<(Vec<u64>, Vec<u64>), RecoverError> {
        let entries = match self.io.list(self.dir).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Self::failed("list", self.dir)(error)),
        };
        let (mut snapshots, mut logs) = (Vec::new(), Vec::new());
        for (generation, role) in entries.iter().filter_map(|entry| files::read_name(&entry.name)) {
            match role {
                Role::Snapshot => snapshots.push(generation),
                Role::Log => logs.push(generation),
            }
        }
        snapshots.sort_unstable();
        logs.sort_unstable();
        Ok((snapshots, logs))
    }

    async fn open(&self, path: &Path) -> Result<FrameReader, RecoverError> {
        FrameReader::open(self.io, path).await.map_err(Self::failed("open", path))
    }

    async fn next(reader: &mut FrameReader, path: &Path) -> Result<Next, RecoverError> {
        reader.next().await.map_err(Self::failed("read", path))
    }

    /// Logs from a generation on, without those whose making was interrupted.
    async fn begun(&self, logs: &[u64], from: u64) -> Result<Vec<Begun>, RecoverError> {
        let mut begun = Vec::new();
        for generation in logs.iter().filter(|log| **log >= from) {
            begun.extend(self.begin_of(*generation).await?);
        }
        Ok(begun)
    }

    /// The first frame of a log; `None`: its making was interrupted, nothing was ever promised by it.
    async fn begin_of(&self, generation: u64) -> Result<Option<Begun>, RecoverError> {
        let path = self.path(generation, Role::Log);
        let mut reader = self.open(&path).await?;
        let begun = match Self::next(&mut reader, &path).await? {
            Next::Frame(header, payload)
                if header.kind == Kind::LogBegin && header.generation == generation =>
            {
                check_format(&path, &payload)?;
                let is_empty = match Self::next(&mut reader, &path).await? {
                    Next::Frame(..) => false,
                    Next::End => true,
                    Next::Invalid => {
                        let later = reader.find_frame(generation).await;
                        later.map_err(Self::failed("read", &path))?.is_none()
                    }
                };
                Some(Begun { generation, first: header.sequence, is_empty })
            }
            Next::Frame(..) => return Err(self.corrupt(path, 0, "another file's frame")),
            Next::End => None,
            Next::Invalid => {
                let later = reader.find_frame(generation).await.map_err(Self::failed("read", &path))?;
                if let Some((_, at)) = later {
                    return Err(self.corrupt(path, 0, format!("no frame, but one follows at byte {at}")));
                }
                None
            }
        };
        reader.close().await;
        Ok(begun)
    }

    /// Gives the snapshot to the sink; gives the sequence of the first frame of its log.
    async fn read_snapshot(
        &self,
        generation: u64,
        sink: &mut dyn Sink,
    ) -> Result<Result<u64, Damage>, RecoverError> {
        let path = self.path(generation, Role::Snapshot);
        let mut reader = self.open(&path).await?;
        let mut first = None;
        let mut parts = 0;
        let outcome = loop {
            let at = reader.position();
            let damage = |what| Err(Damage { path: path.clone(), at, what });
            let (header, payload) = match Self::next(&mut reader, &path).await? {
                Next::Frame(header, payload) if header.generation == generation => (header, payload),
                Next::Frame(..) => break damage("another file's frame"),
                Next::Invalid => break damage("no frame"),
                Next::End => break damage("the end is missing"),
            };
            match (header.kind, first) {
                (Kind::SnapshotBegin, None) => {
                    check_format(&path, &payload)?;
                    first = Some(header.sequence);
                }
                (Kind::Part, Some(_)) if header.sequence == parts => {
                    parts += 1;
                    if Change::decode_all(&payload, |change| sink.apply(change)).is_err() {
                        break damage("changes that make no sense");
                    }
                }
                (Kind::SnapshotEnd, Some(first)) if header.sequence == parts => break Ok(first),
                _ => break damage("a frame that does not belong there"),
            }
        };
        reader.close().await;
        Ok(outcome)
    }

    /// Gives everything since a snapshot to the sink.
    async fn replay(
        &self,
        generation: u64,
        first: u64,
        logs: &[Begun],
        sink: &mut dyn Sink,
        found: &mut Recovered,
    ) -> Result<(), RecoverError> {
        if logs.first().is_none_or(|log| log.generation != generation) {
            let path = self.path(generation, Role::Log);
            return Err(self.corrupt(path, 0, "the log of the newest snapshot is missing"));
        }
        let mut next = first;
        for (index, log) in logs.iter().enumerate() {
            if log.first != next {
                let path = self.path(log.generation, Role::Log);
                let what = format!("it goes on from frame {}, where {next} is due", log.first);
                return Err(self.corrupt(path, 0, what));
            }
            let end = logs.get(index + 1).map(|log| log.first);
            next = self.replay_one(*log, end, sink, found).await?;
        }
        found.found = true;
        found.next_sequence = next;
        Ok(())
    }

    /// One log, up to the frame with sequence `end`, or to its own end; gives the sequence that is due next.
    async fn replay_one(
        &self,
        log: Begun,
        end: Option<u64>,
        sink: &mut dyn Sink,
        found: &mut Recovered,
    ) -> Result<u64, RecoverError> {
        let path = self.path(log.generation, Role::Log);
        let mut reader = self.open(&path).await?;
        let mut next = log.first;
        let mut closed = false;
        while end.is_none_or(|end| next < end) {
            let at = reader.position();
            match Self::next(&mut reader, &path).await? {
                Next::Frame(header, payload) => {
                    if closed || !belongs(&header, log, next) {
                        return Err(self.corrupt(path, at, "a frame that does not belong there"));
                    }
                    if header.kind == Kind::Changes {
                        let read = Change::decode_all(&payload, |change| sink.apply(change));
                        read.map_err(|error| self.corrupt(path.clone(), at, error.to_string()))?;
                    }
                    closed = header.kind == Kind::Close;
                    next += 1;
                }
                Next::End | Next::Invalid if end.is_some() => {
                    let what = format!("frame {next} is missing, and a later log says that there was one");
                    return Err(self.corrupt(path, at, what));
                }
                Next::End => break,
                Next::Invalid => {
                    let later =
                        reader.find_frame(log.generation).await.map_err(Self::failed("read", &path))?;
                    if let Some((_, later)) = later {
                        let what = format!("no frame, but a valid one follows at byte {later}");
                        return Err(self.corrupt(path, at, what));
                    }
                    if closed {
                        return Err(self.corrupt(path, at, "something behind an orderly close"));
                    }
                    found.torn_at = (log.generation, at);
                    found.torn_bytes = reader.position() - at;
                    warn!(
                        file = %path.display(), at, bytes = found.torn_bytes,
                        "the end of an interrupted write was left out; nothing in it had been promised"
                    );
                    break;
                }
            }
        }
        if end.is_none() && self.purpose == Purpose::Start {
            // The process that wrote the last frame may have died before it was on stable media.
            reader.sync().await.map_err(Self::failed("sync", &path))?;
        }
        reader.close().await;
        Ok(next)
    }

    /// Without any snapshot: a first start that was interrupted left logs in which nothing was written yet.
    async fn check_nothing_promised(&self, logs: &[Begun]) -> Result<(), RecoverError> {
        for log in logs {
            let path = self.path(log.generation, Role::Log);
            let mut reader = self.open(&path).await?;
            while let Next::Frame(header, _) = Self::next(&mut reader, &path).await? {
                if header.kind == Kind::Changes {
                    return Err(self.corrupt(
                        path,
                        0,
                        "it has changes, but the snapshot before them is missing",
                    ));
                }
            }
            reader.close().await;
        }
        Ok(())
    }
}

fn belongs(header: &Header, log: Begun, next: u64) -> bool {
    let kind = match header.kind {
        Kind::LogBegin => next == log.first,
        Kind::Changes | Kind::Mark | Kind::Close => next > log.first,
        Kind::SnapshotBegin | Kind::Part | Kind::SnapshotEnd => false,
    };
    kind && header.generation == log.generation && header.sequence == next
}

fn check_format(path: &Path, payload: &[u8]) -> Result<(), RecoverError> {
    let found = payload.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if found == FORMAT {
        return Ok(());
    }
    Err(RecoverError::Format { path: path.to_owned(), found, known: FORMAT })
}
