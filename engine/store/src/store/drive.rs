//! What happens by itself: log writes, acknowledgement, and the completions of everything in flight.

use std::io;
use std::sync::Arc;

use ringmq_reactor::{FileOp, FileValue, Io, Token, WriteData};

use super::{Arrival, LogWrite, Store};
use crate::config::Flush;
use crate::error::{Stage, StoreError};
use crate::offset::LogOffset;
use crate::token::Kind;

impl Store {
    /// Acknowledges what was appended or starts its write, and starts background work that is due. Call at the end of every turn,
    /// before what depends on [`Store::acknowledged`].
    pub fn end_of_turn(&mut self, io: &mut dyn Io) {
        if self.closing.files_are_closing() {
            return;
        }
        if self.poison.is_none() {
            // First: what it appends goes with this turn's write.
            if !self.closing.has_begun() {
                self.drive_retention(io);
            }
            self.seal_turn();
            self.start_write(io);
            self.tail.prepare_spare(io, self.complete);
            self.drive_background(io);
        }
        self.keys.end_of_turn(&self.segments, self.durable());
        self.drive_close(io);
    }

    fn drive_background(&mut self, io: &mut dyn Io) {
        let (head, closing) = (self.tail.head(), self.closing.has_begun());
        if !closing || self.segments.find(head).is_none() {
            self.preparation.drive(io, self.tokens, &self.segments, &mut self.spares, head);
        }
        if !closing {
            self.zeroing.drive(io, self.tokens, &self.segments, head);
            let (indexing, parts) = self.indexing();
            indexing.drive(io, parts);
        }
        let closing = closing && self.complete == head;
        self.flusher.drive(io, self.tokens, &self.segments, self.complete, closing);
    }

    /// Whether an acknowledgement follows the seal, not the write.
    fn acknowledges_at_seal(&self) -> bool {
        self.config.flush != Flush::Sync && self.tail.outlives_process()
    }

    /// Seals the turn's batch where it survives the process. Under ASYNC_FLUSH that is all that was promised.
    fn seal_turn(&mut self) {
        // The broken build never seals in time.
        let nothing_new = self.tail.head() == self.marked && self.batch.is_empty();
        if !self.tail.outlives_process() || nothing_new || self.config.fault_acknowledge_early {
            return;
        }
        self.seal();
        self.tail.mark();
        self.marked = self.tail.head();
        if self.acknowledges_at_seal() {
            self.acknowledge(self.marked);
        }
    }

    /// Whether a write has to start now; sets the timer for it otherwise.
    fn write_is_due(&mut self, io: &mut dyn Io) -> bool {
        let (now, delay) = (io.now(), self.config.write_delay());
        let since = *self.lazy.unwritten_since.get_or_insert(now);
        let enough = self.tail.head().since(self.written) >= self.config.lazy_write_bytes;
        let wanted = self.flusher.wanted() > self.written;
        if enough
            || wanted
            || self.closing.has_begun()
            || !self.acknowledges_at_seal()
            || now.since(since) >= delay
        {
            return true;
        }
        if !self.lazy.timer_is_set {
            self.lazy.timer_is_set = true;
            io.timer(since + delay, self.tokens.of(Kind::WriteTimer, 0));
        }
        false
    }

    /// One write in flight: what is appended meanwhile rides on the next, as one batch.
    fn start_write(&mut self, io: &mut dyn Io) {
        if self.write.is_some() || self.written == self.tail.head() || !self.write_is_due(io) {
            return;
        }
        self.seal();
        let Some(limit) = self.write_limit() else { return };
        let Some(next) = self.tail.next_write(self.written, self.config.write_bytes_max, limit) else {
            return;
        };
        // Not there yet: the next segment is being made.
        let Some(segment) = self.segments.find(next.from) else { return };
        assert!(next.to <= segment.end, "a write ends at its segment's end: {next:?}");
        let write = FileOp::Write {
            file: segment.file,
            offset: next.from.since(segment.start),
            data: WriteData::Block(next.pages),
            durable: self.config.flush == Flush::Sync,
        };
        io.file(self.tokens.of(Kind::Write, 0), write);
        self.write = Some(LogWrite {
            from: next.from,
            to: next.to,
            written_after: next.written_after,
            since: io.now(),
        });
    }

    /// Where the next write must end: at pages that zeros are being written to, and at what the checkpoint allows.
    fn write_limit(&self) -> Option<LogOffset> {
        let from = self.written.page_floor();
        let allowed = self.flusher.written_max();
        match self.zeroing.pages_in_flight() {
            Some((zeros_from, zeros_to)) if from < zeros_to => {
                (from < zeros_from).then_some(allowed.min(zeros_from))
            }
            _ => Some(allowed),
        }
    }

    /// Brings everything below `end`, the end of a record, to stable media as soon as the device can, whatever the flush interval says.
    /// One flush at a time: who asks during one rides on the next.
    pub fn flush_soon(&mut self, io: &mut dyn Io, end: LogOffset) {
        self.flusher.want(end);
        if self.poison.is_none() && !self.closing.has_begun() {
            self.flusher.drive(io, self.tokens, &self.segments, self.complete, false);
        }
    }

    /// Completion of a file operation whose token carries the store's owner byte.
    pub fn on_file(&mut self, io: &mut dyn Io, token: Token, result: io::Result<FileValue>) {
        let (kind, detail) = self.tokens.read(token);
        match kind {
            Kind::Write => self.on_write(io, result),
            Kind::Zero => self.zeroing.on_file(io, self.tokens, result),
            Kind::Flush => {
                let done = self.flusher.on_sync(io, self.tokens, &self.segments, result.map(drop));
                self.poison_on_error(done);
            }
            Kind::Checkpoint => {
                let done = self.flusher.on_checkpoint(result.map(drop));
                self.poison_on_error(done);
            }
            Kind::Prepare => {
                if let Some(segment) = self.preparation.on_file(io, self.tokens, &self.segments, result) {
                    self.stats.recycled_segments += u64::from(segment.recycled);
                    self.segments.push(segment);
                }
            }
            Kind::ColdRead => {
                self.cold.on_file(io, self.tokens, &self.segments, self.written, detail, result);
            }
            Kind::KeyRead => self.keys.on_file(io, self.tokens, detail, result),
            Kind::IndexRun => {
                let (indexing, mut parts) = self.indexing();
                indexing.on_file(io, &mut parts, result);
            }
            Kind::IndexRead => self.reader.cache.on_file(io, self.tokens, detail, result),
            Kind::IndexRemove => self.indexing.on_removed(result),
            Kind::Space => {
                self.stats.space = match result {
                    Ok(FileValue::Space(space)) => Some(space),
                    _ => None,
                };
                self.on_space(io);
            }
            Kind::Close | Kind::RemoveMemory => self.closing.on_file(),
            Kind::Remove => self.on_removed(io, detail, result.map(drop)),
            Kind::FlushTimer
            | Kind::ZeroTimer
            | Kind::PrepareTimer
            | Kind::RetentionTimer
            | Kind::IndexTimer
            | Kind::WriteTimer => {
                unreachable!("a timer's token on a file operation")
            }
        }
    }

    /// Timer whose token carries the store's owner byte.
    pub fn on_timer(&mut self, io: &mut dyn Io, token: Token) {
        if self.closing.files_are_closing() {
            return;
        }
        let (kind, detail) = self.tokens.read(token);
        match kind {
            Kind::FlushTimer if self.poison.is_none() => {
                self.flusher.on_timer(io, self.tokens, &self.segments, self.complete);
            }
            // The turn's end does the rest.
            Kind::WriteTimer => self.lazy.timer_is_set = false,
            Kind::ZeroTimer => self.zeroing.on_timer(),
            Kind::PrepareTimer => self.preparation.on_timer(),
            Kind::RetentionTimer => self.on_retention_timer(io, detail),
            Kind::IndexTimer => self.indexing.on_timer(),
            _ => {}
        }
    }

    fn on_write(&mut self, io: &mut dyn Io, result: io::Result<FileValue>) {
        let write = self.write.take().expect("a log write was in flight");
        let bytes = write.to.since(write.from);
        let failed = match result {
            Ok(FileValue::Written { bytes: written }) if written == bytes => None,
            Ok(other) => {
                Some(io::Error::other(format!("a write of {bytes} bytes was answered with {other:?}")))
            }
            Err(error) => Some(error),
        };
        if let Some(source) = failed {
            let error = StoreError { stage: Stage::Write, at: write.from, source: Arc::new(source) };
            self.poison_on_error(Err(error));
            return;
        }
        self.stats.writes += 1;
        self.stats.written_bytes += bytes;
        self.stats.write_latency.record(io.now().since(write.since));
        self.written = write.written_after;
        // What is left was appended after this write began.
        self.lazy.unwritten_since = (self.written < self.tail.head()).then_some(write.since);
        while let Some(sealed) = self.seals.pop_front_if(|sealed| *sealed <= self.written) {
            self.complete = sealed;
        }
        // After a failed flush the promise cannot be kept any more, whatever this write says.
        if self.poison.is_none() {
            self.acknowledge(self.complete);
            if self.config.flush == Flush::Sync {
                // Not at the turn's end: the device would be idle while this turn answers and parses.
                self.seal_turn();
                self.start_write(io);
            }
        }
    }

    /// Keeps the first failure. From here on nothing is appended, written or acknowledged.
    pub(super) fn poison_on_error(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result
            && self.poison.is_none()
        {
            tracing::error!(shard = self.shard.0, %error, "the log of this shard has failed");
            self.poison = Some(error);
        }
    }

    /// Shows readers everything up to `to`.
    pub(super) fn acknowledge(&mut self, to: LogOffset) {
        self.acknowledged = self.acknowledged.max(to);
        while let Some(next) = self.unacknowledged.pop_front_if(|next| next.end <= to) {
            let queue = self.index.queue_mut(next.slot);
            queue.reveal(next.queue_offset + 1);
            self.arrivals.push(Arrival {
                topic: Arc::clone(queue.topic()),
                queue_id: queue.queue_id(),
                queue_offset: next.queue_offset,
                tags_code: next.tags_code,
                store_timestamp: next.store_timestamp,
            });
        }
    }
}
