//! Ending a store in order.

use std::sync::Arc;

use ringmq_reactor::{FileOp, Io};

use super::Store;
use crate::error::{Stage, StoreError};
use crate::token::Kind;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// Writing, flushing, marking.
    Begun,
    /// Waiting for this many files to be closed or removed.
    Files(usize),
}

impl Closing {
    pub fn has_begun(self) -> bool {
        self != Self::No
    }

    pub fn files_are_closing(self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// A file was closed; an error there changes nothing: what counts was made durable before.
    pub fn on_file(&mut self) {
        let Self::Files(left) = self else { unreachable!("no file was being closed") };
        *left -= 1;
    }
}

impl Store {
    /// Ends the store in order: refuses appends, writes and flushes everything, marks the log closed, closes the files.
    /// Keep calling [`Store::on_file`], [`Store::on_timer`] and [`Store::end_of_turn`] until [`Store::is_closed`].
    pub fn begin_close(&mut self, io: &mut dyn Io) {
        if self.closing == Closing::No {
            self.closing = Closing::Begun;
            self.end_of_turn(io);
        }
    }

    /// Whether [`Store::begin_close`] has run to its end. A poisoned store closes without the mark.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closing == Closing::Files(0)
    }

    pub(super) fn drive_close(&mut self, io: &mut dyn Io) {
        if self.closing != Closing::Begun {
            return;
        }
        if self.segments.find(self.tail.head()).is_none()
            && let Some(source) = self.preparation.failure()
        {
            // The rest has nowhere to go, and waiting for space could take for ever.
            let source = Arc::clone(source);
            self.poison_on_error(Err(StoreError { stage: Stage::Write, at: self.written, source }));
        }
        let busy = self.write.is_some()
            || self.flusher.is_busy()
            || self.preparation.is_busy()
            || self.zeroing.is_busy()
            || self.indexing.is_busy()
            || self.reader.cache.is_busy()
            || self.cold.is_busy()
            || self.keeper.is_busy()
            || self.removal.is_busy();
        let finished = self.poison.is_some() || self.flusher.is_closed();
        if busy || !finished || !self.keys.close(self.tail.head(), self.poison.is_some()) {
            return;
        }
        let segments = self.segments.iter().map(|segment| segment.file);
        // The lock goes last: who has it may open everything else.
        let indexes = self.reader.runs.files().map(|index| index.file);
        let files: Vec<_> = segments.chain(indexes).chain([self.flusher.file(), self.lock]).collect();
        // In order: nothing is left for anybody to find. A poisoned log leaves what it could not write.
        let memory_file = self.tail.file().filter(|_| self.poison.is_none()).map(|file| file.path().clone());
        self.closing = Closing::Files(files.len() + usize::from(memory_file.is_some()));
        if let Some(path) = memory_file {
            io.file(self.tokens.of(Kind::RemoveMemory, 0), FileOp::Remove(path));
        }
        for file in files {
            io.file(self.tokens.of(Kind::Close, 0), FileOp::Close(file));
        }
    }
}
