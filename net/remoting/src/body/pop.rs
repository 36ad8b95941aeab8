//! Consuming by message (pop), and who consumes which queues.

use std::collections::BTreeMap;

use super::MessageQueue;
use crate::json::{FromJson, JsonError, ToJson, Value, Writer};

beans! {
    /// Body of 200151.
    BatchAck {
        /// Acknowledgements, one per popped batch.
        acks: Vec<BatchAckEntry> = "acks";
        /// Broker name.
        broker_name: String = "brokerName";
    }

    /// Messages of one popped batch that were consumed.
    BatchAckEntry {
        /// Which messages: bit `i` is offset `start_offset + i`.
        bits: BitSet = "b" | "bitSet";
        /// Group.
        consumer_group: String = "c" | "consumerGroup";
        /// How long the batch is invisible, ms.
        invisible_time: i64 = "it" | "invisibleTime";
        /// When it was popped, ms.
        pop_time: i64 = "pt" | "popTime";
        /// Queue.
        queue_id: i32 = "q" | "queueId";
        /// As in [`crate::pop::Origin::mark`].
        retry: String = "r" | "retry";
        /// As in the receipt handle.
        revive_queue_id: i32 = "rq" | "reviveQueueId";
        /// First offset of the batch.
        start_offset: i64 = "so" | "startOffset";
        /// Topic that was popped, not its retry topic.
        topic: String = "t" | "topic";
    }

    /// Body of 401, and what is kept of it: how a group consumes a topic when brokers share out the queues.
    MessageRequestMode {
        /// Group.
        consumer_group: String = "consumerGroup";
        /// `PULL` or `POP`.
        mode: String = "mode", or "PULL".to_owned();
        /// With `POP`: so many further members share a member's queues; below 1: all members share all queues.
        pop_share_queue_num: i32 = "popShareQueueNum";
        /// Topic.
        topic: String = "topic";
    }

    /// Answer to 402, and content of `messageRequestMode.json`.
    MessageRequestModes {
        /// Topic → group → mode.
        message_request_mode_map: BTreeMap<String, BTreeMap<String, MessageRequestMode>> = "messageRequestModeMap";
    }

    /// Body of 400.
    QueryAssignment {
        /// Who asks.
        client_id: String = "clientId";
        /// Group.
        consumer_group: String = "consumerGroup";
        /// `CLUSTERING` or `BROADCASTING`.
        message_model: String = "messageModel", or "CLUSTERING".to_owned();
        /// `AVG` or `AVG_BY_CIRCLE`.
        strategy_name: String = "strategyName";
        /// Topic.
        topic: String = "topic";
    }

    /// Answer to 400; without a list nothing is known, and the client keeps what it has.
    QueueAssignments {
        /// The client's share.
        message_queue_assignments: Option<Vec<QueueAssignment>> = "messageQueueAssignments";
    }

    /// One queue, or with id -1 all queues of a topic at a broker.
    QueueAssignment {
        /// The queue.
        message_queue: MessageQueue = "messageQueue";
        /// `PULL` or `POP`.
        mode: String = "mode", or "PULL".to_owned();
    }
}

/// A set of small numbers, on the wire the base64 text of its bytes: bit `i` is bit `i % 8` of byte `i / 8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitSet(pub Vec<u8>);

impl BitSet {
    /// The numbers in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| index * 8 + bit)
        })
    }
}

impl FromIterator<usize> for BitSet {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        let mut bytes = Vec::new();
        for number in numbers {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
        Self(bytes)
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl ToJson for BitSet {
    fn write(&self, out: &mut Writer) {
        let mut text = String::with_capacity(self.0.len().div_ceil(3) * 4);
        for chunk in self.0.chunks(3) {
            let bits =
                (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
            for at in 0..4 {
                let is_padding = at > chunk.len();
                let digit = BASE64[(bits >> (18 - 6 * at) & 63) as usize];
                text.push(if is_padding { '=' } else { char::from(digit) });
            }
        }
        out.string(&text);
    }
}

impl FromJson for BitSet {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        let wrong = || JsonError::wrong_type("base64 text", value);
        let Value::Str(text) = value else { return Err(wrong()) };
        let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
        for digit in text.trim_end_matches('=').bytes() {
            let digit = BASE64.iter().position(|&known| known == digit).ok_or_else(wrong)?;
            bits = bits << 6 | u32::try_from(digit).expect("below 64");
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count & 0xFF) as u8);
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_acks_is_read_in_short_and_long_form() {
        let short = r#"{"brokerName":"b","acks":[{"c":"g","t":"T","r":"1","so":7,"q":2,"rq":3,"pt":10,"it":20,"b":"BQ=="}]}"#;
        let long = r#"{"acks":[{"consumerGroup":"g","topic":"T","retry":"1","startOffset":7,"queueId":2,"reviveQueueId":3,
            "popTime":10,"invisibleTime":20,"bitSet":"BQ=="}]}"#;
        let acks = BatchAck::from_json(short.as_bytes()).expect("readable").acks;
        assert_eq!(acks, BatchAck::from_json(long.as_bytes()).expect("readable").acks);
        assert_eq!(acks[0].bits.iter().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((acks[0].start_offset, acks[0].queue_id, &*acks[0].retry), (7, 2, "1"));
    }

    #[test]
    fn sets_of_any_size_come_back() {
        for numbers in [vec![], vec![0], vec![7, 8], vec![1, 15, 16, 31], (0..40).collect()] {
            let set: BitSet = numbers.iter().copied().collect();
            let text = crate::json::to_text(&set);
            let value = crate::json::parse(text.as_bytes()).expect("JSON");
            let again = BitSet::read(&value).expect("a set");
            assert_eq!(again.iter().collect::<Vec<_>>(), numbers, "{text}");
        }
        assert!(BitSet::read(&Value::Str("?".into())).is_err());
    }
}
