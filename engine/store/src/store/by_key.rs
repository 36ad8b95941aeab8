//! Queries by key.

use ringmq_reactor::Io;

use super::Store;
use crate::keys::{KeyError, KeyFind, KeyIndexEnd, KeyLookup, KeyQuery, Step};
use crate::limits::COLD_READS_IN_FLIGHT_MAX;
use crate::offset::PhysicalOffset;
use crate::read::RecordRead;

impl Store {
    /// Begins a query by key; [`Store::find_by_key`] takes it on.
    #[must_use]
    pub fn key_lookup(query: KeyQuery) -> KeyLookup {
        KeyLookup::new(query)
    }

    /// Takes a query on until it is answered or has to wait for the disk. Records are visible and verified: topic, key and store
    /// time are compared with the record itself. With the key index switched off nothing is found.
    pub fn find_by_key(&mut self, io: &mut dyn Io, lookup: &mut KeyLookup) -> KeyFind {
        loop {
            if let Some(find) = self.verify_candidates(io, lookup) {
                return find;
            }
            match self.keys.advance(io, self.tokens, lookup) {
                Step::More => {}
                Step::End => return lookup.finish(),
                Step::Wait(ticket) => return KeyFind::Wait(ticket),
                Step::Failed(error) => return KeyFind::Failed(error),
            }
        }
    }

    /// The newest record that queries by key can find (or could, if it is not acknowledged yet).
    #[must_use]
    pub fn key_index_end(&self) -> KeyIndexEnd {
        self.keys.end()
    }

    /// Compares candidates with their records. `None`: there are none left, and room for more.
    fn verify_candidates(&mut self, io: &mut dyn Io, lookup: &mut KeyLookup) -> Option<KeyFind> {
        if lookup.is_full() {
            return Some(lookup.finish());
        }
        for candidate in lookup.candidates.iter().take(COLD_READS_IN_FLIGHT_MAX) {
            if candidate.offset < self.tail.oldest()
                && let Some(key) = self.cold.key(&self.segments, candidate.offset)
            {
                self.cold.prefetch(io, self.tokens, &self.segments, self.written, key);
            }
        }
        while let Some(candidate) = lookup.candidates.front() {
            let at = PhysicalOffset::new(self.shard, candidate.offset);
            let has_room = match self.record_at(io, at) {
                RecordRead::Ready(record) => lookup.take(at, &record),
                // Not acknowledged yet, or removed since.
                RecordRead::Missing => true,
                RecordRead::Wait(ticket) => return Some(KeyFind::Wait(ticket)),
                RecordRead::Failed(error) => return Some(KeyFind::Failed(KeyError::Record(error))),
            };
            lookup.candidates.pop_front();
            if !has_room || lookup.is_full() {
                return Some(lookup.finish());
            }
        }
        None
    }
}
