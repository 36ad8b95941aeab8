//! Making the next segment ahead of need: create it, or take a spare; allocate, make durable. One step in flight, off the append path.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{FileId, FileOp, FileValue, Io};

use crate::offset::LogOffset;
use crate::segments::{PAGED_FILE, Segment, Segments};
use crate::spares::Spares;
use crate::token::{Kind, Tokens};

/// After a failed attempt (no space, mostly) the next one waits this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    Idle,
    /// A spare gets the segment's name.
    Renaming,
    Opening,
    Allocating(FileId),
    /// The size must be durable before records count on it.
    Syncing(FileId),
    /// So must the name.
    SyncingDir(FileId),
    /// Closing the file of a failed attempt.
    GivingUp,
    /// Removing it: what an allocation took before it failed would be missing elsewhere.
    Removing,
    /// Until the retry timer.
    Waiting,
}

/// Prepares at most one segment at a time.
#[derive(Debug)]
pub(crate) struct Preparation {
    state: State,
    start: LogOffset,
    /// From a spare.
    recycled: bool,
    segment_bytes: u64,
    failure: Option<Arc<io::Error>>,
}

impl Preparation {
    pub fn new(segment_bytes: u64) -> Self {
        Self { state: State::Idle, start: LogOffset(0), recycled: false, segment_bytes, failure: None }
    }

    pub fn is_busy(&self) -> bool {
        !matches!(self.state, State::Idle | State::Waiting)
    }

    /// Why the last attempt failed, while none has succeeded since.
    pub fn failure(&self) -> Option<&Arc<io::Error>> {
        self.failure.as_ref()
    }

    /// Starts on the next segment when the log has passed the middle of the newest one.
    pub fn drive(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        spares: &mut Spares,
        head: LogOffset,
    ) {
        let wanted = segments.end().since(head) <= self.segment_bytes / 2;
        if !wanted || !matches!(self.state, State::Idle) {
            return;
        }
        self.start = segments.end();
        let to = segments.path(self.start);
        let spare = spares.take();
        self.recycled = spare.is_some();
        let token = tokens.of(Kind::Prepare, 0);
        match spare {
            Some(from) => {
                self.state = State::Renaming;
                io.file(token, FileOp::Rename { from, to });
            }
            None => {
                self.state = State::Opening;
                io.file(token, FileOp::Open { path: to, options: PAGED_FILE });
            }
        }
    }

    /// The pause after a failed attempt is over.
    pub fn on_timer(&mut self) {
        self.state = State::Idle;
    }

    /// Completion of a step; gives the segment after the last one.
    pub fn on_file(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        result: io::Result<FileValue>,
    ) -> Option<Segment> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let token = tokens.of(Kind::Prepare, 0);
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                self.fail(io, tokens, &state, error);
                return None;
            }
        };
        self.state = match (state, value) {
            (State::Renaming, _) => {
                let path = segments.path(self.start);
                io.file(token, FileOp::Open { path, options: PAGED_FILE });
                State::Opening
            }
            (State::Opening, FileValue::Opened { file, .. }) => {
                io.file(token, FileOp::Allocate { file, bytes: self.segment_bytes });
                State::Allocating(file)
            }
            (State::Allocating(file), _) => {
                io.file(token, FileOp::SyncData(file));
                State::Syncing(file)
            }
            (State::Syncing(file), _) => {
                io.file(token, FileOp::SyncDir(segments.dir().to_owned()));
                State::SyncingDir(file)
            }
            (State::SyncingDir(file), _) => {
                self.failure = None;
                let end = LogOffset(self.start.0 + self.segment_bytes);
                return Some(Segment { start: self.start, end, file, recycled: self.recycled });
            }
            (State::GivingUp, _) => {
                io.file(token, FileOp::Remove(segments.path(self.start)));
                State::Removing
            }
            (State::Removing, _) => self.wait(io, tokens),
            (state, value) => unreachable!("{value:?} does not answer {state:?}"),
        };
        None
    }

    fn fail(&mut self, io: &mut dyn Io, tokens: Tokens, state: &State, error: io::Error) {
        tracing::warn!(start = self.start.0, ?state, %error, "the next log segment could not be made; trying again");
        self.failure.get_or_insert(Arc::new(error));
        self.state = match *state {
            State::Allocating(file) | State::Syncing(file) | State::SyncingDir(file) => {
                io.file(tokens.of(Kind::Prepare, 0), FileOp::Close(file));
                State::GivingUp
            }
            _ => self.wait(io, tokens),
        };
    }

    fn wait(&self, io: &mut dyn Io, tokens: Tokens) -> State {
        io.timer(io.now() + RETRY_PAUSE, tokens.of(Kind::PrepareTimer, 0));
        State::Waiting
    }
}
