//! Texts that travel with popped messages: receipt handles, and what the response's header says about its records.

use std::fmt::Write;

/// `reviveQid` of a batch that was popped in order.
pub const ORDERLY_REVIVE_QUEUE: i32 = 999;
/// Prefix of retry topics.
const RETRY_PREFIX: &str = "%RETRY%";

/// Which queue of a topic a popped message lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A queue of the topic itself.
    Topic,
    /// Its pop retry topic `%RETRY%group_topic`.
    RetryV1,
    /// Its pop retry topic `%RETRY%group+topic` (`enableRetryTopicV2`).
    RetryV2,
}

impl Origin {
    /// As in handles and response headers.
    pub fn mark(self) -> char {
        match self {
            Self::Topic => '0',
            Self::RetryV1 => '1',
            Self::RetryV2 => '2',
        }
    }

    /// From a handle or an acknowledgement.
    pub fn from_mark(mark: &str) -> Option<Self> {
        match mark {
            "0" => Some(Self::Topic),
            "1" => Some(Self::RetryV1),
            "2" => Some(Self::RetryV2),
            _ => None,
        }
    }

    /// The topic that holds the messages. A retry topic stays what it is: its messages are retried in it.
    pub fn topic(self, topic: &str, group: &str) -> String {
        match self {
            _ if topic.starts_with(RETRY_PREFIX) => topic.to_owned(),
            Self::Topic => topic.to_owned(),
            Self::RetryV1 => format!("{RETRY_PREFIX}{group}_{topic}"),
            Self::RetryV2 => format!("{RETRY_PREFIX}{group}+{topic}"),
        }
    }
}

/// A receipt handle (`POP_CK`, `extraInfo`): names one delivery of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptHandle<'a> {
    /// First offset of the popped batch.
    pub start_offset: i64,
    /// When it was popped, ms.
    pub pop_time: i64,
    /// For how long it is invisible, ms.
    pub invisible_time: i64,
    /// See [`ORDERLY_REVIVE_QUEUE`].
    pub revive_queue_id: i32,
    /// Where the message lies.
    pub origin: Origin,
    /// At which broker.
    pub broker_name: &'a str,
    /// In which queue.
    pub queue_id: i32,
    /// Its offset; not part of handles of a whole batch.
    pub queue_offset: Option<i64>,
}

/// A receipt handle that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the receipt handle {handle:?} has no {part}")]
pub struct HandleError {
    /// What was given.
    pub handle: String,
    /// What is missing, or is no number.
    pub part: &'static str,
}

impl<'a> ReceiptHandle<'a> {
    /// Reads a handle; further parts are not looked at.
    ///
    /// # Errors
    /// A part is missing, or is no number where it must be.
    pub fn parse(text: &'a str) -> Result<Self, HandleError> {
        let mut parts = text.split(' ');
        let failed = |part| HandleError { handle: text.to_owned(), part };
        let mut next = |part| parts.next().ok_or_else(|| failed(part));
        fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
            text.parse().ok()
        }
        Ok(Self {
            start_offset: number(next("start offset")?).ok_or_else(|| failed("start offset"))?,
            pop_time: number(next("pop time")?).ok_or_else(|| failed("pop time"))?,
            invisible_time: number(next("invisible time")?).ok_or_else(|| failed("invisible time"))?,
            revive_queue_id: number(next("revive queue")?).ok_or_else(|| failed("revive queue"))?,
            origin: Origin::from_mark(next("retry mark")?).ok_or_else(|| failed("retry mark"))?,
            broker_name: next("broker name")?,
            queue_id: number(next("queue")?).ok_or_else(|| failed("queue"))?,
            queue_offset: next("queue offset").ok().and_then(number),
        })
    }
}

impl std::fmt::Display for ReceiptHandle<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            start_offset,
            pop_time,
            invisible_time,
            revive_queue_id,
            origin,
            broker_name,
            queue_id,
            ..
        } = self;
        let mark = origin.mark();
        write!(
            f,
            "{start_offset} {pop_time} {invisible_time} {revive_queue_id} {mark} {broker_name} {queue_id}"
        )?;
        self.queue_offset.map_or(Ok(()), |offset| write!(f, " {offset}"))
    }
}

/// What a pop's response header says about the records of its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoppedInfo {
    /// `startOffsetInfo`: first offset per queue.
    pub start_offsets: String,
    /// `msgOffsetInfo`: offsets per queue, ascending.
    pub offsets: String,
    /// `orderCountInfo`: how often messages were popped in order before.
    pub order_counts: String,
}

impl PoppedInfo {
    /// Adds the messages of one queue, which may be added once.
    pub fn add(
        &mut self,
        origin: Origin,
        queue_id: i32,
        start_offset: i64,
        offsets: impl Iterator<Item = i64>,
    ) {
        separate(&mut self.start_offsets);
        separate(&mut self.offsets);
        let mark = origin.mark();
        // Writing to a string cannot fail.
        let _ = write!(self.start_offsets, "{mark} {queue_id} {start_offset}");
        let _ = write!(self.offsets, "{mark} {queue_id} ");
        for (index, offset) in offsets.enumerate() {
            let _ = write!(self.offsets, "{}{offset}", if index > 0 { "," } else { "" });
        }
    }

    /// Adds how often a message was popped in order before.
    pub fn add_order_count(&mut self, queue_id: i32, offset: i64, count: i32) {
        separate(&mut self.order_counts);
        let _ = write!(self.order_counts, "0 qo{queue_id}%{offset} {count}");
    }

    /// Adds the lowest of those counts of a queue: what old clients look at.
    pub fn add_queue_order_count(&mut self, queue_id: i32, count: i32) {
        separate(&mut self.order_counts);
        let _ = write!(self.order_counts, "0 {queue_id} {count}");
    }
}

fn separate(text: &mut String) {
    if !text.is_empty() {
        text.push(';');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_they_are_written() {
        let text = "100 1700000000000 60000 3 1 broker-a 2 105";
        let handle = ReceiptHandle::parse(text).expect("a handle");
        assert_eq!(
            (handle.start_offset, handle.queue_offset, handle.origin),
            (100, Some(105), Origin::RetryV1)
        );
        assert_eq!(handle.to_string(), text);
        let whole = "0 1 2 999 0 b 0";
        assert_eq!(ReceiptHandle::parse(whole).expect("a handle").to_string(), whole);
        let error = ReceiptHandle::parse("1 2 x").expect_err("no number");
        assert_eq!(error.to_string(), "the receipt handle \"1 2 x\" has no invisible time");
        assert!(ReceiptHandle::parse("1 2 3 4 7 b 0 1").is_err());
    }

    #[test]
    fn queues_are_listed_one_behind_the_other() {
        let mut info = PoppedInfo::default();
        info.add(Origin::Topic, 3, 10, [10, 11, 14].into_iter());
        info.add(Origin::RetryV2, 0, 5, [5].into_iter());
        info.add_order_count(3, 10, 2);
        info.add_queue_order_count(3, 0);
        assert_eq!(info.start_offsets, "0 3 10;2 0 5");
        assert_eq!(info.offsets, "0 3 10,11,14;2 0 5");
        assert_eq!(info.order_counts, "0 qo3%10 2;0 3 0");
    }

    #[test]
    fn a_retry_topic_is_its_own_retry_topic() {
        assert_eq!(Origin::RetryV1.topic("T", "g"), "%RETRY%g_T");
        assert_eq!(Origin::RetryV2.topic("T", "g"), "%RETRY%g+T");
        assert_eq!(Origin::RetryV1.topic("%RETRY%g_T", "g"), "%RETRY%g_T");
    }
}
