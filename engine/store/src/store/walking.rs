//! Reading the log itself in the order in which it was written: for who must go on although the index is damaged.
//!
//! What is read is believed by the seals of its batches, as in recovery. Blocks come through the cache of cold reads.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use ringmq_reactor::Io;

use super::Store;
use crate::cold::Fetch;
use crate::error::ReadError;
use crate::offset::LogOffset;
use crate::read::{Lookup, ReadTicket};
use crate::recover::{Step, step};
use crate::seal::SEAL_BYTES;

/// How far a walk along the log has come: see [`Store::walk`].
#[derive(Debug)]
pub struct LogWalk(Place);

#[derive(Debug)]
enum Place {
    /// The first record that matters is that of a queue; runs from `below` on were asked where it lies.
    Seeking { topic: Arc<str>, queue_id: i32, offset: i64, below: LogOffset },
    /// `bytes` were read from `at` on, which is the start of a batch.
    At { at: LogOffset, bytes: BytesMut },
}

/// Why there is no answer.
enum Unread {
    Wait(ReadTicket),
    Failed(ReadError),
}

impl From<Result<ReadTicket, ReadError>> for Unread {
    fn from(asked: Result<ReadTicket, ReadError>) -> Self {
        asked.map_or_else(Self::Failed, Self::Wait)
    }
}

impl Store {
    /// A walk that meets every record of a queue from `offset` on, and records before it and of other queues: it begins where index runs that
    /// are whole say that nothing can be missed, at the log's start if none says so.
    #[must_use]
    pub fn walk_from(&self, topic: &str, queue_id: i32, offset: i64) -> LogWalk {
        LogWalk(Place::Seeking { topic: Arc::from(topic), queue_id, offset, below: LogOffset(u64::MAX) })
    }

    /// The records of the next batch, whole and verified; `None` at the end of what is written. To be asked again where it waits.
    ///
    /// Retention may remove the log's start meanwhile: the walk goes on behind.
    pub fn walk(&mut self, io: &mut dyn Io, walk: &mut LogWalk) -> Lookup<Option<Bytes>> {
        match self.try_walk(io, walk) {
            Ok(records) => Lookup::Ready(records),
            Err(Unread::Wait(ticket)) => Lookup::Wait(ticket),
            Err(Unread::Failed(error)) => Lookup::Failed(error),
        }
    }

    fn try_walk(&mut self, io: &mut dyn Io, walk: &mut LogWalk) -> Result<Option<Bytes>, Unread> {
        if let Place::Seeking { topic, queue_id, offset, below } = &mut walk.0 {
            let slot = self.index.find(topic, *queue_id);
            let found = match slot.map(|slot| self.index.queue(slot)) {
                Some(queue) => self.reader.run_before(queue, *offset, below),
                None => Ok(None),
            };
            let at = match found {
                Ok(found) => found.unwrap_or(self.segments.start()),
                Err(missing) => return Err(self.reader.cache.request(io, self.tokens, missing).into()),
            };
            walk.0 = Place::At { at, bytes: BytesMut::new() };
        }
        let Place::At { at, bytes } = &mut walk.0 else { unreachable!("found above") };
        while *at < self.complete {
            if *at < self.segments.start() {
                *at = self.segments.start();
                bytes.clear();
            }
            let segment = *self.segments.find(*at).expect("what is written lies in a segment");
            match step(bytes, *at, segment.end.since(*at)) {
                Step::Batch { record_bytes, .. } => {
                    let records = bytes.split_to(record_bytes).freeze();
                    bytes.advance(SEAL_BYTES);
                    *at = at.plus(record_bytes + SEAL_BYTES);
                    return Ok(Some(records));
                }
                Step::Blank => {
                    *at = segment.end;
                    bytes.clear();
                }
                Step::More => {
                    let more = self.next_block(io, at.plus(bytes.len()))?;
                    bytes.extend_from_slice(&more);
                }
                Step::Stop(invalid) => {
                    return Err(Unread::Failed(ReadError::Batch { at: *at, cause: invalid.to_string() }));
                }
            }
        }
        Ok(None)
    }

    /// What is written from `from` on, up to the end of its block of the cache. The block behind it is read ahead.
    fn next_block(&mut self, io: &mut dyn Io, from: LogOffset) -> Result<Bytes, Unread> {
        let key = self.cold.key(&self.segments, from);
        let to = key.map_or(from, |key| self.cold.end_of(&self.segments, key)).min(self.written);
        if to <= from {
            let cause = "it does not end where the log was written".to_owned();
            return Err(Unread::Failed(ReadError::Batch { at: from, cause }));
        }
        let fetched = match self.cold.fetch(&self.segments, from, to) {
            Fetch::Block(_, bytes) | Fetch::Copied(bytes) => Ok(bytes),
            Fetch::Missing(keys) => {
                Err(self.cold.request(io, self.tokens, &self.segments, self.written, &keys).into())
            }
            Fetch::Failed(error) => Err(Unread::Failed(error)),
            Fetch::Gone => unreachable!("its segment holds {from}"),
        };
        if let Some(next) = self.cold.key(&self.segments, to).filter(|_| to < self.written) {
            self.cold.prefetch(io, self.tokens, &self.segments, self.written, next);
        }
        fetched
    }
}
