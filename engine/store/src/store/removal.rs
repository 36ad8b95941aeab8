//! Removing the oldest segment.
//!
//! ```text
//!   ahead of need   queues that end in it ─→ written down (see `ends`) ─→ durable
//!   when ordered    index forgets it ─→ off the list ─→ closed, and unlinked or kept as a spare, through the ring
//! ```
//! From then on readers of its messages are told that their offset is too small. Queues that nobody reads learn their new min offsets from
//! the oldest index run that is left, within some turns. A reader that holds slices of cached
//! blocks keeps them: they are memory, not the file. Reads of the file that are in flight end before it is closed.
//!
//! Segments leave in order, each only after the one before it is unlinked: whatever a crash leaves is a log without gaps. A segment
//! that a crash brings back is part of the log again, and is removed again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ringmq_reactor::{FileOp, Io};

use super::Store;
use crate::ends::{BODY_BYTES_MAX, QueueEnd, ends_record};
use crate::offset::LogOffset;
use crate::retention::{Oldest, Order, Retention};
use crate::token::Kind;

/// Queues that one turn looks at: about a quarter of a millisecond.
const QUEUES_PER_TURN: usize = 2_048;
/// What is left goes on after this pause, so that the turn's other work is not held up.
const WORK_PAUSE: Duration = Duration::from_millis(1);
/// A file that could not be unlinked is tried again after this.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Timer details.
const LOOK: u64 = 0;
const WORK: u64 = 1;
const RETRY: u64 = 2;
/// File details.
const UNLINK: u64 = 0;
const CLOSE: u64 = 1;

/// How far the removal of a segment has come.
#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Ordered: the index forgets it at the next occasion.
    Forgetting {
        /// The file may become a spare.
        may_keep: bool,
    },
    /// To a spare's name.
    Renaming {
        from: PathBuf,
        to: PathBuf,
    },
    Unlinking(PathBuf),
    /// So that the room is given back, and a power cut does not bring the segment back.
    SyncingDir {
        spare: Option<PathBuf>,
    },
    /// It could not be unlinked: until the timer.
    Retrying(PathBuf),
}

/// Ends of queues that have been written down for the oldest segment.
#[derive(Debug, Default)]
struct Written {
    /// End of the segment that it was done for.
    segment: LogOffset,
    /// Slots from here on have not been looked at.
    next_slot: usize,
    /// All have; what was in the log then, with the ends just written, lies below.
    done: Option<LogOffset>,
}

/// The removal that is under way, and what it needs.
#[derive(Debug, Default)]
pub(super) struct Removal {
    state: State,
    written: Written,
    closing_files: usize,
    work_timer: bool,
}

impl Removal {
    /// Operations on files are in flight.
    pub fn is_busy(&self) -> bool {
        matches!(self.state, State::Renaming { .. } | State::Unlinking(_) | State::SyncingDir { .. })
            || self.closing_files > 0
    }
}

impl Store {
    /// What is kept from now on; `None`: everything.
    pub fn set_retention(&mut self, retention: Option<Retention>) {
        self.keeper.set_policy(retention);
    }

    /// Removes segments past their time now, whatever the hour: RocketMQ's `deleteExpiredCommitLog`. It happens step by step, in up to
    /// [`crate::MANUAL_ROUNDS`] rounds.
    pub fn clean_expired(&mut self) {
        self.keeper.clean_now();
    }

    /// The used part of the file system at the last look, 0 to 1; 0 without a retention.
    #[must_use]
    pub fn used_space(&self) -> f64 {
        self.keeper.used()
    }

    /// Looks at the room when it is time, and goes on with what is under way.
    pub(super) fn drive_retention(&mut self, io: &mut dyn Io) {
        self.keeper.drive(io, self.tokens, &self.config.dir);
        self.write_ends(io);
        self.forget(io);
    }

    pub(super) fn on_retention_timer(&mut self, io: &mut dyn Io, detail: u64) {
        match detail {
            LOOK => self.keeper.on_timer(),
            WORK => self.removal.work_timer = false,
            _ => {
                if let State::Retrying(path) = std::mem::take(&mut self.removal.state) {
                    self.unlink(io, path);
                }
            }
        }
    }

    /// The room on the file system was asked for.
    pub(super) fn on_space(&mut self, io: &mut dyn Io) {
        let (space, oldest) = (self.stats.space, self.oldest());
        let order = self.keeper.on_space(io, self.tokens, space, oldest, self.spares.count());
        if order != Order::Nothing {
            assert!(matches!(self.removal.state, State::Idle), "one removal at a time");
        }
        match order {
            Order::Nothing => {}
            Order::RemoveSpare => match self.spares.take() {
                Some(path) => self.unlink(io, path),
                None => self.keeper.removed(io, self.tokens),
            },
            Order::Remove { room_is_short } => {
                self.removal.state = State::Forgetting { may_keep: !room_is_short };
            }
        }
    }

    /// Whether the oldest segment may go.
    fn oldest(&self) -> Oldest {
        let segment = self.segments.first();
        if segment.end > self.tail.head() {
            return Oldest::None;
        }
        // Recovery begins at the first segment and expects it at or below the durable mark.
        let durable = self.flusher.checkpointed();
        let written = &self.removal.written;
        let ends_are_durable =
            written.segment == segment.end && written.done.is_some_and(|end| end <= durable);
        // Else what is in memory would have to be looked through at once. A disk that is full must not wait for it.
        let index_is_coming = self.reader.runs.end() < segment.end && !self.indexing.is_failing();
        // Entries that are leaving memory one by one must not leave it with their segment meanwhile.
        let index_is_coming = index_is_coming || self.indexing.is_releasing();
        if segment.end > durable
            || index_is_coming
            || !ends_are_durable
            || !matches!(self.removal.state, State::Idle)
        {
            return Oldest::NotYet;
        }
        Oldest::Ready(self.ages.newest(segment.end).unwrap_or(self.last_store_timestamp))
    }

    /// Writes down the ends of queues that will be left without a message when the oldest segment goes.
    fn write_ends(&mut self, io: &mut dyn Io) {
        let segment_end = self.segments.first().end;
        if !self.keeper.is_on() || segment_end > self.tail.head() || self.closing.has_begun() {
            return;
        }
        if self.removal.written.segment != segment_end {
            self.removal.written = Written { segment: segment_end, ..Written::default() };
        }
        if self.removal.written.done.is_some() || self.removal.work_timer {
            return;
        }
        let from = self.removal.written.next_slot;
        let to = (from + QUEUES_PER_TURN).min(self.index.slot_end() as usize);
        let mut slots = Vec::new();
        let mut body = Vec::new();
        let bytes_max = BODY_BYTES_MAX.min(self.config.record_bytes_max / 2);
        let mut next = to;
        for at in from..to {
            let Some((slot, queue)) = self.index.at(at) else { continue };
            if queue.is_known_beyond(segment_end) {
                continue;
            }
            let (topic, queue_id, next_offset) = (queue.topic(), queue.queue_id(), queue.next_offset());
            if !(QueueEnd { topic, queue_id, next_offset }).write(&mut body, bytes_max) {
                next = at;
                break;
            }
            slots.push(slot);
        }
        if !slots.is_empty() {
            let timestamp = self.store_timestamp(io);
            let draft = ends_record(&body, timestamp);
            match self.make_room(io, draft.encoded_bytes()) {
                Ok(()) => {
                    let at = self.tail.head();
                    self.place(&draft, 0, timestamp, 0);
                    slots.into_iter().for_each(|slot| self.index.queue_mut(slot).end_is_written_at(at));
                }
                // Later: what refuses appends now keeps the segment, too.
                Err(_) => return self.work_later(io, RETRY_PAUSE),
            }
        }
        self.removal.written.next_slot = next;
        if next < self.index.slot_end() as usize {
            self.work_later(io, WORK_PAUSE);
        } else {
            // A queue that has a newer message than the segment's is safe only when that message is.
            self.removal.written.done = Some(self.tail.head());
        }
    }

    fn forget(&mut self, io: &mut dyn Io) {
        let State::Forgetting { may_keep } = self.removal.state else { return };
        let segment = *self.segments.first();
        let (indexing, mut parts) = self.indexing();
        indexing.forget_below(io, &mut parts, segment.end);
        self.segments.remove_first();
        self.ages.forget(segment.end);
        self.stats.removed_segments += 1;
        self.removal.closing_files += 1;
        io.file(self.tokens.of(Kind::Remove, CLOSE), FileOp::Close(segment.file));
        let path = self.segments.path(segment.start);
        tracing::info!(shard = self.shard.0, start = segment.start.0, "removing the oldest segment");
        let whole = segment.end.since(segment.start) == self.config.segment_bytes;
        let spare = self.spares.place_for(self.segments.dir(), segment.start).filter(|_| may_keep && whole);
        match spare {
            Some(to) => {
                let token = self.tokens.of(Kind::Remove, UNLINK);
                io.file(token, FileOp::Rename { from: path.clone(), to: to.clone() });
                self.removal.state = State::Renaming { from: path, to };
            }
            None => self.unlink(io, path),
        }
    }

    fn unlink(&mut self, io: &mut dyn Io, path: PathBuf) {
        io.file(self.tokens.of(Kind::Remove, UNLINK), FileOp::Remove(path.clone()));
        self.removal.state = State::Unlinking(path);
    }

    /// Completion of a close, an unlink, or what makes the unlink durable.
    pub(super) fn on_removed(&mut self, io: &mut dyn Io, detail: u64, result: io::Result<()>) {
        if detail == CLOSE {
            // What counts of this file is over.
            self.removal.closing_files -= 1;
            return;
        }
        match (std::mem::take(&mut self.removal.state), result) {
            (State::Unlinking(_), Ok(())) => self.sync_dir(io, None),
            (State::Unlinking(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.sync_dir(io, None);
            }
            (State::Renaming { to, .. }, Ok(())) => self.sync_dir(io, Some(to)),
            (State::Renaming { from, .. }, Err(error)) => {
                tracing::warn!(shard = self.shard.0, %error, "a segment could not be kept for reuse");
                self.unlink(io, from);
            }
            (State::SyncingDir { spare }, result) => {
                if result.is_ok() {
                    spare.into_iter().for_each(|path| self.spares.add(path));
                }
                if let Err(error) = result {
                    // At worst a power cut brings the segment back, and it is removed again.
                    tracing::warn!(shard = self.shard.0, %error, "the removal of a segment may not be durable yet");
                }
                self.keeper.removed(io, self.tokens);
            }
            (State::Unlinking(path), Err(error)) => {
                tracing::error!(shard = self.shard.0, path = %path.display(), %error, "a segment could not be removed; trying again");
                self.removal.state = State::Retrying(path);
                io.timer(io.now() + RETRY_PAUSE, self.tokens.of(Kind::RetentionTimer, RETRY));
            }
            (state, _) => unreachable!("no operation is in flight in {state:?}"),
        }
    }

    fn sync_dir(&mut self, io: &mut dyn Io, spare: Option<PathBuf>) {
        let dir = self.segments.dir().to_owned();
        io.file(self.tokens.of(Kind::Remove, UNLINK), FileOp::SyncDir(dir));
        self.removal.state = State::SyncingDir { spare };
    }

    /// Sees to another turn.
    fn work_later(&mut self, io: &mut dyn Io, pause: Duration) {
        if !self.removal.work_timer {
            self.removal.work_timer = true;
            io.timer(io.now() + pause, self.tokens.of(Kind::RetentionTimer, WORK));
        }
    }
}
