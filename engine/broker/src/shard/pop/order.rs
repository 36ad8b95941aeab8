//! Popping in order (FIFO): one batch of a queue at a time.

use super::op::Delivery;

/// A message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrderEntry {
    pub(crate) offset: i64,
    /// End of its invisible time, wall clock ms.
    pub(crate) visible_at: i64,
    pub(crate) acked: bool,
    /// How often it was popped before.
    pub(crate) consumed: u32,
}

/// The newest batch that a group popped from a queue. While a message of it is neither acknowledged nor visible again, nothing
/// more is popped from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderBatch {
    /// Wall clock ms; names the batch in receipt handles.
    pub(crate) pop_time: i64,
    /// The attempt that may have the batch again at once: its answer may have been lost.
    pub(crate) attempt_id: Option<Box<str>>,
    /// By offset, ascending; never empty.
    pub(crate) entries: Vec<OrderEntry>,
}

/// What an acknowledgement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderAck {
    /// The first offset that is not acknowledged now.
    Next(i64),
    /// It is of an older batch: nothing.
    Stale,
    /// The batch has no such message.
    Unknown,
}

impl OrderBatch {
    /// The batch that takes the place of `before`.
    pub(crate) fn new(deliveries: &[Delivery], attempt_id: Option<&str>, before: Option<&Self>) -> Self {
        let is_same_attempt = before.is_some_and(|before| before.is_of(attempt_id));
        let consumed = |offset| {
            let found = before.and_then(|before| before.entries.iter().find(|entry| entry.offset == offset));
            found.map_or(0, |entry| entry.consumed + u32::from(!is_same_attempt))
        };
        let entry = |delivery: &Delivery| OrderEntry {
            offset: delivery.offset,
            visible_at: delivery.visible_at,
            acked: false,
            consumed: consumed(delivery.offset),
        };
        Self {
            pop_time: deliveries.first().map_or(0, |delivery| delivery.pop_time),
            attempt_id: attempt_id.map(Box::from),
            entries: deliveries.iter().map(entry).collect(),
        }
    }

    fn is_of(&self, attempt_id: Option<&str>) -> bool {
        self.attempt_id.is_some() && self.attempt_id.as_deref() == attempt_id
    }

    /// Whether nothing may be popped now by that attempt.
    pub(crate) fn blocks(&self, attempt_id: Option<&str>, now_ms: i64) -> bool {
        !self.is_of(attempt_id) && self.unlock_at().is_some_and(|at| now_ms < at)
    }

    /// Until when it blocks the queue if nothing happens, wall clock ms; `None`: everything is acknowledged.
    pub(crate) fn unlock_at(&self) -> Option<i64> {
        self.entries.iter().filter(|entry| !entry.acked).map(|entry| entry.visible_at).max()
    }

    /// Everything is acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.entries.iter().all(|entry| entry.acked)
    }

    /// Marks a message as consumed.
    pub(crate) fn ack(&mut self, offset: i64, pop_time: i64) -> OrderAck {
        if pop_time != self.pop_time {
            return OrderAck::Stale;
        }
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.offset == offset) else {
            return OrderAck::Unknown;
        };
        entry.acked = true;
        let first = self.entries.iter().find(|entry| !entry.acked);
        let behind = self.entries.last().map_or(offset, |last| last.offset) + 1;
        OrderAck::Next(first.map_or(behind, |entry| entry.offset))
    }

    /// Sets the end of a message's invisible time. False: it is not of this batch.
    pub(crate) fn set_visible_at(&mut self, offset: i64, pop_time: i64, visible_at: i64) -> bool {
        let entry = self.entries.iter_mut().find(|entry| entry.offset == offset);
        let Some(entry) = entry.filter(|_| pop_time == self.pop_time) else { return false };
        entry.visible_at = visible_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(
        offsets: &[i64],
        pop_time: i64,
        attempt: Option<&str>,
        before: Option<&OrderBatch>,
    ) -> OrderBatch {
        let delivery = |&offset| Delivery { offset, pop_time, visible_at: pop_time + 100 };
        OrderBatch::new(&offsets.iter().map(delivery).collect::<Vec<_>>(), attempt, before)
    }

    #[test]
    fn a_batch_blocks_until_it_is_acknowledged_or_visible_again() {
        let mut batch = batch(&[5, 6, 8], 1_000, None, None);
        assert!(batch.blocks(None, 1_099) && !batch.blocks(None, 1_100));
        assert_eq!(batch.ack(6, 1_000), OrderAck::Next(5));
        assert_eq!(batch.ack(5, 1_000), OrderAck::Next(8));
        assert_eq!(batch.ack(7, 1_000), OrderAck::Unknown);
        assert_eq!(batch.ack(8, 999), OrderAck::Stale);
        assert!(batch.blocks(None, 1_050));
        assert_eq!(batch.ack(8, 1_000), OrderAck::Next(9));
        assert!(batch.is_done() && !batch.blocks(None, 1_050));
    }

    #[test]
    fn the_same_attempt_may_have_it_again_and_only_others_count() {
        let first = batch(&[1, 2], 10, Some("a"), None);
        assert!(!first.blocks(Some("a"), 20) && first.blocks(Some("b"), 20) && first.blocks(None, 20));
        let again = batch(&[1, 2], 20, Some("a"), Some(&first));
        assert_eq!(again.entries[0].consumed, 0);
        let other = batch(&[2, 3], 200, Some("b"), Some(&again));
        assert_eq!(other.entries.iter().map(|entry| entry.consumed).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn one_message_can_stay_invisible_for_longer() {
        let mut batch = batch(&[1, 2], 10, None, None);
        assert!(batch.set_visible_at(2, 10, 500) && !batch.set_visible_at(2, 11, 900));
        assert_eq!(batch.unlock_at(), Some(500));
        batch.ack(2, 10);
        assert_eq!(batch.unlock_at(), Some(110));
    }
}
