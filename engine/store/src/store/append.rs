//! Appending.

use ringmq_reactor::Io;
use ringmq_remoting::record::{RecordDraft, sys_flag};

use super::{Store, Unacknowledged};
use crate::deletion::{DELETED_TOPIC_RECORDS, deletion_record};
use crate::ends::QUEUE_ENDS_RECORDS;
use crate::error::AppendError;
use crate::index::Entry;
use crate::index::format::ROW_TOPIC_BYTES_MAX;
use crate::limits::{BLANK_BYTES, FOOTER_BYTES};
use crate::offset::{LogOffset, PhysicalOffset};
use crate::seal::{Batch, SEAL_BYTES};

/// Where an appended record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in its queue; 0 for a record that is not indexed.
    pub queue_offset: i64,
    /// Its place in the log, as clients see it.
    pub physical_offset: PhysicalOffset,
    /// End of the record: it is acknowledged when [`Store::acknowledged`] reaches this.
    pub end: LogOffset,
    /// Assigned at append, ms since 1970; never goes back within a log.
    pub store_timestamp: i64,
}

/// Whether a record with these flags has a place in a queue: prepared and rolled-back ones are in the log only.
#[must_use]
pub fn is_indexed(sys_flags: i32) -> bool {
    let kind = sys_flags & sys_flag::TRANSACTION_MASK;
    kind != sys_flag::TRANSACTION_PREPARED && kind != sys_flag::TRANSACTION_ROLLBACK
}

/// Topics of records that the store writes for itself.
#[must_use]
pub fn is_own_topic(topic: &str) -> bool {
    topic == DELETED_TOPIC_RECORDS || topic == QUEUE_ENDS_RECORDS
}

impl Store {
    /// Appends one record and indexes it (unless its transaction type is prepared or rollback). The reply may go when
    /// [`Store::acknowledged`] reaches `end`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn append(
        &mut self,
        io: &mut dyn Io,
        draft: &RecordDraft<'_>,
        tags_code: i64,
    ) -> Result<Appended, AppendError> {
        self.check_append(io, draft)?;
        let store_timestamp = self.store_timestamp(io);
        let appended = self.place(draft, tags_code, store_timestamp, 0);
        self.acknowledge_early();
        Ok(appended)
    }

    /// A message for this queue will be appended soon: begins to load what the index has of it. Changes nothing.
    pub fn expect_append(&self, topic: &str, queue_id: i32) {
        if let Some(slot) = self.index.find(topic, queue_id) {
            self.index.prefetch(slot);
        }
    }

    /// Everything that can refuse one record; makes room for it.
    pub(super) fn check_append(
        &mut self,
        io: &mut dyn Io,
        draft: &RecordDraft<'_>,
    ) -> Result<(), AppendError> {
        let room = self
            .check_topic(draft.topic)
            .and_then(|()| self.check_space())
            .and_then(|()| self.make_room(io, draft.encoded_bytes()));
        self.count_refusal(room)
    }

    /// Appends records of one topic and queue with consecutive offsets into one segment, all or none. `appended` is cleared and
    /// then holds one element for each. Together they are bounded by `record_bytes_max`.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn append_batch(
        &mut self,
        io: &mut dyn Io,
        drafts: &[(RecordDraft<'_>, i64)],
        appended: &mut Vec<Appended>,
    ) -> Result<(), AppendError> {
        appended.clear();
        let room = Self::check_batch(drafts)
            .and_then(|first| self.check_topic(first.topic))
            .and_then(|()| self.check_space())
            .and_then(|()| self.make_room(io, drafts.iter().map(|(draft, _)| draft.encoded_bytes()).sum()));
        self.count_refusal(room)?;
        let store_timestamp = self.store_timestamp(io);
        appended.extend(
            drafts.iter().map(|(draft, tags_code)| self.place(draft, *tags_code, store_timestamp, 0)),
        );
        self.acknowledge_early();
        Ok(())
    }

    /// Removes a topic's queues from the index, durably: the deletion is itself a record of the log, so it takes place again at the
    /// same point whenever the log is scanned. The answer may go when [`Store::acknowledged`] reaches the returned offset.
    /// A topic made again under the name starts at offset 0.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was changed.
    pub fn delete_topic(&mut self, io: &mut dyn Io, topic: &str) -> Result<LogOffset, AppendError> {
        if !self.index.has_topic(topic) {
            // Perhaps deleted a moment ago: that deletion is at or below the head.
            return Ok(self.tail.head());
        }
        let store_timestamp = self.store_timestamp(io);
        let draft = deletion_record(topic, store_timestamp);
        let room = self.make_room(io, draft.encoded_bytes());
        self.count_refusal(room)?;
        let appended = self.place(&draft, 0, store_timestamp, 0);
        let dead = self.index.remove_topic(topic, appended.physical_offset.log_offset());
        // Their slots may be used again at once: nothing may point there any more.
        self.unacknowledged.retain(|pending| !dead.contains(&pending.slot));
        self.acknowledge_early();
        Ok(appended.end)
    }

    fn check_topic(&self, topic: &str) -> Result<(), AppendError> {
        if topic.len() > ROW_TOPIC_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: topic.len(), limit: ROW_TOPIC_BYTES_MAX });
        }
        if is_own_topic(topic) { Err(AppendError::ReservedTopic) } else { Ok(()) }
    }

    /// Only messages are refused on a disk that is almost full: what the store itself writes down helps to make room.
    pub(super) fn check_space(&self) -> Result<(), AppendError> {
        match self.keeper.refusal() {
            Some((used, limit)) => Err(AppendError::DiskFull { used, limit }),
            None => Ok(()),
        }
    }

    fn check_batch<'a, 'd>(drafts: &'a [(RecordDraft<'d>, i64)]) -> Result<&'a RecordDraft<'d>, AppendError> {
        let (first, _) = drafts.first().ok_or(AppendError::MixedBatch)?;
        let same = |d: &RecordDraft<'_>| {
            d.topic == first.topic && d.queue_id == first.queue_id && is_indexed(d.sys_flag)
        };
        if drafts.iter().all(|(draft, _)| same(draft)) { Ok(first) } else { Err(AppendError::MixedBatch) }
    }

    pub(super) fn count_refusal(&mut self, result: Result<(), AppendError>) -> Result<(), AppendError> {
        if result.is_err() {
            self.stats.refused_appends += 1;
        }
        result
    }

    /// Everything that can refuse an append: afterwards `bytes` fit behind the head, in one segment and one block.
    pub(super) fn make_room(&mut self, io: &mut dyn Io, bytes: usize) -> Result<(), AppendError> {
        if let Some(poison) = &self.poison {
            return Err(AppendError::Poisoned(poison.clone()));
        }
        if self.closing.has_begun() {
            return Err(AppendError::Closing);
        }
        if bytes > self.config.record_bytes_max {
            return Err(AppendError::TooLarge { bytes, limit: self.config.record_bytes_max });
        }
        if self.tail.head().since(self.batch.start()) >= self.config.write_bytes_max as u64 {
            self.seal();
        }
        if (bytes + FOOTER_BYTES) as u64 > self.segment_end.since(self.tail.head()) {
            self.roll(io)?;
        }
        self.tail.reserve(io, bytes, self.complete)
    }

    /// Goes on in the next segment. Its file may still be in the making: writes wait for it, appends do not.
    fn roll(&mut self, io: &mut dyn Io) -> Result<(), AppendError> {
        let next = self.segments.find(self.segment_end).map(|segment| segment.end);
        if next.is_none()
            && let Some(source) = self.preparation.failure()
        {
            return Err(AppendError::NoSegment { source: source.clone() });
        }
        let next = next.unwrap_or(LogOffset(self.segment_end.0 + self.config.segment_bytes));
        self.seal();
        self.tail.roll(io, next, self.complete)?;
        self.segment_end = next;
        self.batch = Batch::new(self.tail.head());
        self.keys.segment_began(self.tail.head());
        Ok(())
    }

    /// Closes the batch that is growing. Every record left room for it.
    pub(super) fn seal(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let seal = self.batch.seal(self.tail.head());
        self.tail.spare()[..SEAL_BYTES].copy_from_slice(&seal);
        self.tail.publish(SEAL_BYTES);
        assert!(
            self.tail.head().plus(BLANK_BYTES) <= self.segment_end,
            "no room for a blank behind the seal"
        );
        self.batch = Batch::new(self.tail.head());
        self.seals.push_back(self.tail.head());
        self.keys.batch_ended(self.tail.head());
    }

    /// Wall time, held back from going backwards: searches by time rely on it.
    pub(super) fn store_timestamp(&mut self, io: &dyn Io) -> i64 {
        let now = i64::try_from(io.wall_ms()).expect("a date before the year 292 million");
        self.last_store_timestamp = self.last_store_timestamp.max(now);
        self.last_store_timestamp
    }

    /// Encodes a record at the head and indexes it; a queue that is not known begins at `first`. Room was made before.
    pub(super) fn place(
        &mut self,
        draft: &RecordDraft<'_>,
        tags_code: i64,
        store_timestamp: i64,
        first: i64,
    ) -> Appended {
        let offset = self.tail.head();
        let physical_offset = PhysicalOffset::new(self.shard, offset);
        let indexed = is_indexed(draft.sys_flag) && !is_own_topic(draft.topic);
        let slot = indexed.then(|| self.index.find_or_insert(draft.topic, draft.queue_id, first, offset));
        let queue_offset = slot.map_or(0, |slot| {
            let queue = self.index.queue(slot);
            queue.prefetch_newest();
            queue.next_offset()
        });
        let bytes = draft.encode(self.tail.spare(), queue_offset, physical_offset.signed(), store_timestamp);
        let crc = crc32fast::hash(&self.tail.spare()[..bytes]);
        self.tail.publish(bytes);
        self.batch.add(crc);
        self.ages.note(self.segment_end, store_timestamp);
        self.newest_durable.note(offset, store_timestamp);
        self.keys.add(draft.topic, draft.sys_flag, draft.properties, offset, store_timestamp);
        let end = self.tail.head();
        if let Some(slot) = slot {
            let bytes = u32::try_from(bytes).expect("below RECORD_BYTES_MAX");
            self.index.push(slot, Entry { offset, bytes, crc, tags_code, store_timestamp });
            self.unacknowledged.push_back(Unacknowledged {
                end,
                slot,
                queue_offset,
                tags_code,
                store_timestamp,
            });
        }
        self.stats.appended_messages += 1;
        self.stats.appended_bytes += bytes as u64;
        Appended { queue_offset, physical_offset, end, store_timestamp }
    }

    /// See [`crate::StoreConfig::fault_acknowledge_early`].
    fn acknowledge_early(&mut self) {
        if self.config.fault_acknowledge_early {
            self.acknowledge(self.tail.head());
        }
    }
}
