//! Taking over the messages of another store (`rmq-store import`).
//!
//! An imported message keeps its queue offset and its store time, so that consumers go on where they stood and searches by time
//! still find it. What makes this safe is not checked message by message but stands in the log: it begins at a
//! [`crate::StoreConfig::log_start`] above 0, as if older segments had been removed, and recovery lets each queue of such
//! a log begin at whatever offset its first record has.

use ringmq_reactor::Io;
use ringmq_remoting::record::RecordDraft;

use super::{Appended, Store, is_indexed};
use crate::ends::{BODY_BYTES_MAX, QueueEnd, ends_record};
use crate::error::AppendError;
use crate::offset::LogOffset;

/// Where an imported message stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedPlace {
    /// Its place in its queue; not looked at for a record that is not indexed.
    pub queue_offset: i64,
    /// When it was stored, ms since 1970. Held back from going backwards, as appends are.
    pub store_timestamp: i64,
}

/// Why a message was not imported. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// As for any append; [`AppendError::TailCacheFull`] passes when the disk has caught up.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Messages of a queue come in order and without gaps.
    #[error("{topic} queue {queue_id}: offset {found} instead of {expected}")]
    QueueOffset {
        /// Topic.
        topic: String,
        /// Queue.
        queue_id: i32,
        /// What the queue goes on with.
        expected: i64,
        /// What was to be imported.
        found: i64,
    },
}

impl Store {
    /// As [`Store::append`], for a message that another store held. The first one of a queue says where the queue begins, if
    /// the log begins above 0; every further one follows its predecessor without a gap.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn append_imported(
        &mut self,
        io: &mut dyn Io,
        draft: &RecordDraft<'_>,
        tags_code: i64,
        place: ImportedPlace,
    ) -> Result<Appended, ImportError> {
        let first = if is_indexed(draft.sys_flag) { self.check_place(draft, place)? } else { 0 };
        self.check_append(io, draft)?;
        self.last_store_timestamp = self.last_store_timestamp.max(place.store_timestamp);
        let store_timestamp = self.last_store_timestamp;
        Ok(self.place(draft, tags_code, store_timestamp, first))
    }

    /// Notes where a queue goes on that has no message left: its next one gets `next_offset`.
    ///
    /// # Errors
    /// See [`ImportError`]; a queue that is known ends where it ends.
    pub fn import_queue_end(
        &mut self,
        io: &mut dyn Io,
        topic: &str,
        queue_id: i32,
        next_offset: i64,
    ) -> Result<Appended, ImportError> {
        let mut body = Vec::new();
        QueueEnd { topic, queue_id, next_offset }.write(&mut body, BODY_BYTES_MAX);
        let draft = ends_record(&body, self.last_store_timestamp);
        let place = ImportedPlace { queue_offset: next_offset, store_timestamp: self.last_store_timestamp };
        self.check_place(&RecordDraft { topic, queue_id, ..draft }, place)?;
        let room = self.check_space().and_then(|()| self.make_room(io, draft.encoded_bytes()));
        self.count_refusal(room)?;
        let at = self.tail.head();
        let slot = self.index.find_or_insert(topic, queue_id, next_offset, at);
        self.index.queue_mut(slot).end_is_written_at(at);
        Ok(self.place(&draft, 0, self.last_store_timestamp, 0))
    }

    fn check_place(&self, draft: &RecordDraft<'_>, place: ImportedPlace) -> Result<i64, ImportError> {
        let found = place.queue_offset;
        let expected = match self.index.find(draft.topic, draft.queue_id) {
            Some(slot) => self.index.queue(slot).next_offset(),
            None if self.segments.start() == LogOffset(0) => 0,
            None => found.max(0),
        };
        if found == expected {
            return Ok(found);
        }
        let (topic, queue_id) = (draft.topic.to_owned(), draft.queue_id);
        Err(ImportError::QueueOffset { topic, queue_id, expected, found })
    }
}
