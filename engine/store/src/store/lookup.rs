//! Questions about single entries of the index.

use ringmq_reactor::Io;

use super::Store;
use crate::index::reader::Unanswered;
use crate::index::{Entry, QueueSlot};
use crate::offset::PhysicalOffset;
use crate::read::{Boundary, IndexEntry, Lookup};

impl Store {
    /// Search by store time, see [`Boundary`]; clamped to [min, max]. `None` if the queue is unknown.
    pub fn offset_by_time(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
        timestamp_ms: i64,
        boundary: Boundary,
    ) -> Lookup<Option<i64>> {
        let Some(slot) = self.index.find(topic, queue_id) else { return Lookup::Ready(None) };
        let found = self.reader.offset_by_time(&self.index, slot, timestamp_ms, boundary);
        self.answer(io, found)
    }

    /// Store time of the oldest visible message of a queue, ms; `None` if there is none.
    pub fn earliest_store_time(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
    ) -> Lookup<Option<i64>> {
        let Some(slot) = self.index.find(topic, queue_id) else { return Lookup::Ready(None) };
        let min = self.index.queue(slot).min_offset();
        let first = match self.visible_entry(slot, min) {
            // Retention has just been here.
            Err(Unanswered::Gone(next)) => self.visible_entry(slot, next),
            first => first,
        };
        self.answer(io, first.map(|entry| entry.store_timestamp))
    }

    /// What the index knows of one visible message; `None` if there is none at the offset.
    pub fn entry(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Lookup<Option<IndexEntry>> {
        let Some(slot) = self.index.find(topic, queue_id) else { return Lookup::Ready(None) };
        let shard = self.shard;
        let entry = self.visible_entry(slot, offset).map(|entry| IndexEntry {
            physical_offset: PhysicalOffset::new(shard, entry.offset),
            bytes: entry.bytes,
            tags_code: entry.tags_code,
            store_timestamp: entry.store_timestamp,
        });
        self.answer(io, entry)
    }

    fn visible_entry(&mut self, slot: QueueSlot, offset: i64) -> Result<Entry, Unanswered> {
        let queue = self.index.queue(slot);
        if !(queue.min_offset()..queue.max_offset()).contains(&offset) {
            return Err(Unanswered::Gone(queue.max_offset()));
        }
        self.reader.entry(&self.index, slot, offset)
    }

    /// Nothing is there, or it has to be read first.
    fn answer<T>(&mut self, io: &mut dyn Io, found: Result<T, Unanswered>) -> Lookup<Option<T>> {
        match found {
            Ok(found) => Lookup::Ready(Some(found)),
            Err(Unanswered::Gone(_)) => Lookup::Ready(None),
            Err(Unanswered::Failed(error)) => Lookup::Failed(error),
            Err(Unanswered::Missing(missing)) => {
                let asked = self.reader.cache.request(io, self.tokens, missing);
                asked.map_or_else(Lookup::Failed, Lookup::Wait)
            }
        }
    }
}
