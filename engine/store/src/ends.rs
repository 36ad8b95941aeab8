//! Where queues end whose messages are all gone.
//!
//! Queue offsets go on for ever, also when retention has removed every message of a queue: a consumer that stands at 1,000 must not
//! meet a queue that begins again at 0. The log alone says what the store holds, so the log has to say this too: before a
//! segment is removed, the queues that would be left without a message are written down in records of a topic of the store's
//! own. Recovery meets them and knows where such a queue goes on. They grow old like every record: before the segment that
//! holds them goes, those that still matter are written down again.
//!
//! It is done ahead of need, as soon as a segment is the oldest: removing one when the disk is full then takes no room.
//!
//! ```text
//!   body   queue id 4 │ next offset 8 │ length of the topic 2 │ topic │ …     big-endian
//! ```

use ringmq_remoting::record::RecordDraft;

use crate::own::own_record;

/// Topic of these records. Appends to it are refused.
pub(crate) const QUEUE_ENDS_RECORDS: &str = "rmq_sys_RINGMQ_QUEUE_ENDS";

/// Most bytes of one body, unless the store's records are smaller.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// Bytes beside the topic.
const FIXED_BYTES: usize = 4 + 8 + 2;

/// Where one queue ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueEnd<'a> {
    pub topic: &'a str,
    pub queue_id: i32,
    /// What its next message gets.
    pub next_offset: i64,
}

impl QueueEnd<'_> {
    /// Adds it to a body; `false` if that would make the body longer than `bytes_max`, unless it is empty.
    pub fn write(&self, body: &mut Vec<u8>, bytes_max: usize) -> bool {
        if !body.is_empty() && body.len() + FIXED_BYTES + self.topic.len() > bytes_max {
            return false;
        }
        let length = u16::try_from(self.topic.len()).expect("topics are shorter than 64 KiB");
        body.extend_from_slice(&self.queue_id.to_be_bytes());
        body.extend_from_slice(&self.next_offset.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(self.topic.as_bytes());
        true
    }
}

/// Reads a body back; an element is `None`, and the last, where it cannot be read.
pub(crate) fn read(mut body: &[u8]) -> impl Iterator<Item = Option<QueueEnd<'_>>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let end = read_one(&mut body);
        if end.is_none() {
            body = &[];
        }
        Some(end)
    })
}

fn read_one<'a>(body: &mut &'a [u8]) -> Option<QueueEnd<'a>> {
    let (queue_id, rest) = body.split_first_chunk()?;
    let (next_offset, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *body = rest;
    Some(QueueEnd {
        topic: std::str::from_utf8(topic).ok()?,
        queue_id: i32::from_be_bytes(*queue_id),
        next_offset: i64::from_be_bytes(*next_offset),
    })
}

/// The record that holds a body.
pub(crate) fn ends_record(body: &[u8], timestamp: i64) -> RecordDraft<'_> {
    own_record(QUEUE_ENDS_RECORDS, body, timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_come_back_as_they_went_in_and_a_body_has_a_limit() {
        let ends = [
            QueueEnd { topic: "orders", queue_id: 0, next_offset: i64::MAX },
            QueueEnd { topic: "%RETRY%группа", queue_id: i32::MAX, next_offset: 7 },
        ];
        let mut body = Vec::new();
        assert!(ends[0].write(&mut body, 1), "the first always fits");
        assert!(!ends[1].write(&mut body, 20));
        assert!(ends[1].write(&mut body, 100));
        assert_eq!(read(&body).collect::<Option<Vec<_>>>(), Some(ends.to_vec()));
        for cut in [1, 13, 19, body.len() - 1] {
            assert_eq!(read(&body[..cut]).collect::<Option<Vec<_>>>(), None, "{cut}");
        }
        assert_eq!(read(&[]).count(), 0);
    }
}
