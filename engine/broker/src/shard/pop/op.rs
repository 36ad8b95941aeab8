//! What can happen to popped messages, and its binary form: bodies of records in the revive topic.
//!
//! Numbers are LEB128, signed ones in zigzag, and deliveries hold differences to the one before: a pop of 32 neighbouring messages takes about
//! 100 bytes beside the names. Every operation is *absolute*: it says what is so from now on. What is still in flight can therefore be
//! written down again at any time ([`Op::Taken`]), and reading may begin at any operation behind which everything was.

use std::borrow::Cow;
use std::sync::Arc;

use super::order::{OrderBatch, OrderEntry};
use super::table::QueueKey;

/// First byte of every record: an older broker refuses what it could misread.
const FORMAT: u8 = 1;

/// A delivery of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) offset: i64,
    /// Wall clock ms.
    pub(crate) pop_time: i64,
    /// End of its invisible time, wall clock ms.
    pub(crate) visible_at: i64,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    /// These deliveries are in flight, in place of older ones of the same messages; the next pop begins there.
    Taken { key: Cow<'a, QueueKey>, next: i64, deliveries: Cow<'a, [Delivery]> },
    /// These deliveries (offset, pop time) are no longer in flight.
    Done { key: Cow<'a, QueueKey>, deliveries: Cow<'a, [(i64, i64)]> },
    /// The group consumes the queue in order: the newest batch, and the first offset that is not acknowledged.
    Ordered { key: Cow<'a, QueueKey>, next: i64, batch: Cow<'a, OrderBatch> },
    /// The group's offset was set from outside: nothing is in flight, the next pop begins there.
    Reset { key: Cow<'a, QueueKey>, next: i64 },
    /// Nothing is known of the group in the queue but its committed offset.
    Forgotten { key: Cow<'a, QueueKey> },
}

/// A record of the revive topic that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpError {
    /// It ends too early.
    #[error("the record ends within an operation")]
    Short,
    /// Another broker wrote it, or a newer one.
    #[error("it has format {0}, which this broker does not know")]
    Format(u8),
    /// No operation has this number.
    #[error("no operation has the number {0}")]
    Tag(u8),
    /// A name is not UTF-8, or a number has too many bytes.
    #[error("a name or a number is damaged")]
    Damaged,
}

impl Op<'_> {
    /// Replaces what is in `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(FORMAT);
        match self {
            Op::Taken { key, next, deliveries } => {
                begin(out, 1, key);
                signed(out, *next);
                unsigned(out, deliveries.len() as u64);
                let mut before = Delivery { offset: 0, pop_time: 0, visible_at: 0 };
                for delivery in deliveries.iter() {
                    signed(out, delivery.offset.wrapping_sub(before.offset));
                    signed(out, delivery.pop_time.wrapping_sub(before.pop_time));
                    signed(out, delivery.visible_at.wrapping_sub(before.visible_at));
                    before = *delivery;
                }
            }
            Op::Done { key, deliveries } => {
                begin(out, 2, key);
                unsigned(out, deliveries.len() as u64);
                let mut before = (0, 0);
                for &(offset, pop_time) in deliveries.iter() {
                    signed(out, i64::wrapping_sub(offset, before.0));
                    signed(out, i64::wrapping_sub(pop_time, before.1));
                    before = (offset, pop_time);
                }
            }
            Op::Ordered { key, next, batch } => {
                begin(out, 3, key);
                signed(out, *next);
                signed(out, batch.pop_time);
                text(out, batch.attempt_id.as_deref().unwrap_or_default());
                unsigned(out, batch.entries.len() as u64);
                for entry in &batch.entries {
                    signed(out, entry.offset);
                    signed(out, entry.visible_at);
                    unsigned(out, u64::from(entry.consumed) << 1 | u64::from(entry.acked));
                }
            }
            Op::Reset { key, next } => {
                begin(out, 4, key);
                signed(out, *next);
            }
            Op::Forgotten { key } => begin(out, 5, key),
        }
    }

    /// Reads a record's body.
    ///
    /// # Errors
    /// See [`OpError`].
    pub(crate) fn decode(body: &[u8]) -> Result<Op<'static>, OpError> {
        let mut reader = Reader(body);
        match reader.byte()? {
            FORMAT => {}
            other => return Err(OpError::Format(other)),
        }
        let tag = reader.byte()?;
        let key = Cow::Owned(reader.key()?);
        Ok(match tag {
            1 => {
                let next = reader.signed()?;
                let mut before = Delivery { offset: 0, pop_time: 0, visible_at: 0 };
                let mut deliveries = Vec::new();
                for _ in 0..reader.unsigned()? {
                    before.offset = before.offset.wrapping_add(reader.signed()?);
                    before.pop_time = before.pop_time.wrapping_add(reader.signed()?);
                    before.visible_at = before.visible_at.wrapping_add(reader.signed()?);
                    deliveries.push(before);
                }
                Op::Taken { key, next, deliveries: Cow::Owned(deliveries) }
            }
            2 => {
                let mut before = (0_i64, 0_i64);
                let mut deliveries = Vec::new();
                for _ in 0..reader.unsigned()? {
                    before.0 = before.0.wrapping_add(reader.signed()?);
                    before.1 = before.1.wrapping_add(reader.signed()?);
                    deliveries.push(before);
                }
                Op::Done { key, deliveries: Cow::Owned(deliveries) }
            }
            3 => {
                let (next, pop_time) = (reader.signed()?, reader.signed()?);
                let attempt_id = Some(reader.text()?).filter(|id| !id.is_empty()).map(Box::from);
                let mut entries = Vec::new();
                for _ in 0..reader.unsigned()? {
                    let (offset, visible_at) = (reader.signed()?, reader.signed()?);
                    let bits = reader.unsigned()?;
                    let consumed = u32::try_from(bits >> 1).map_err(|_| OpError::Damaged)?;
                    entries.push(OrderEntry { offset, visible_at, consumed, acked: bits & 1 != 0 });
                }
                Op::Ordered { key, next, batch: Cow::Owned(OrderBatch { pop_time, attempt_id, entries }) }
            }
            4 => Op::Reset { key, next: reader.signed()? },
            5 => Op::Forgotten { key },
            other => return Err(OpError::Tag(other)),
        })
    }
}

fn begin(out: &mut Vec<u8>, tag: u8, key: &QueueKey) {
    out.push(tag);
    text(out, &key.group);
    text(out, &key.topic);
    signed(out, key.queue_id.into());
}

fn text(out: &mut Vec<u8>, text: &str) {
    unsigned(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn signed(out: &mut Vec<u8>, number: i64) {
    unsigned(out, (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned());
}

fn unsigned(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, OpError> {
        let (&first, rest) = self.0.split_first().ok_or(OpError::Short)?;
        self.0 = rest;
        Ok(first)
    }

    fn unsigned(&mut self) -> Result<u64, OpError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return Err(OpError::Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(OpError::Damaged)
    }

    fn signed(&mut self) -> Result<i64, OpError> {
        let number = self.unsigned()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn text(&mut self) -> Result<&'a str, OpError> {
        let length = usize::try_from(self.unsigned()?).map_err(|_| OpError::Short)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(OpError::Short)?;
        self.0 = rest;
        std::str::from_utf8(taken).map_err(|_| OpError::Damaged)
    }

    fn key(&mut self) -> Result<QueueKey, OpError> {
        let (group, topic) = (Arc::from(self.text()?), Arc::from(self.text()?));
        let queue_id = i32::try_from(self.signed()?).map_err(|_| OpError::Damaged)?;
        Ok(QueueKey { group, topic, queue_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_kinds() -> Vec<Op<'static>> {
        let key = || {
            Cow::Owned(QueueKey { group: Arc::from("Größe"), topic: Arc::from("%RETRY%g_T"), queue_id: 3 })
        };
        let delivery =
            |offset| Delivery { offset, pop_time: 1_700_000_000_000, visible_at: 1_700_000_060_000 };
        let entry = |offset, acked| OrderEntry { offset, visible_at: 7, acked, consumed: 2 };
        vec![
            Op::Taken { key: key(), next: 12, deliveries: (5..12).map(delivery).collect() },
            Op::Taken {
                key: key(),
                next: i64::MAX,
                deliveries: Cow::Owned(vec![delivery(i64::MIN), delivery(i64::MAX)]),
            },
            Op::Done { key: key(), deliveries: Cow::Owned(vec![(5, 1), (3, -9)]) },
            Op::Ordered {
                key: key(),
                next: 1,
                batch: Cow::Owned(OrderBatch {
                    pop_time: 9,
                    attempt_id: Some("a".into()),
                    entries: vec![entry(1, true), entry(2, false)],
                }),
            },
            Op::Reset { key: key(), next: 0 },
            Op::Forgotten { key: key() },
        ]
    }

    #[test]
    fn every_operation_is_read_back() {
        for op in all_kinds() {
            let mut body = Vec::new();
            op.encode(&mut body);
            assert_eq!(Op::decode(&body), Ok(op));
        }
    }

    #[test]
    fn what_is_cut_or_strange_is_an_error_and_no_panic() {
        for op in all_kinds() {
            let mut body = Vec::new();
            op.encode(&mut body);
            for length in 0..body.len() {
                assert_eq!(Op::decode(&body[..length]), Err(OpError::Short), "{op:?} cut to {length}");
            }
        }
        assert_eq!(Op::decode(&[2, 1]), Err(OpError::Format(2)));
        assert_eq!(Op::decode(&[1, 9, 0, 0, 0]), Err(OpError::Tag(9)));
        assert_eq!(Op::decode(&[&[1, 1][..], &[0xFF; 10]].concat()), Err(OpError::Damaged));
    }

    #[test]
    fn neighbours_take_little_room() {
        let key = QueueKey { group: Arc::from("g"), topic: Arc::from("T"), queue_id: 0 };
        let delivery =
            |offset| Delivery { offset, pop_time: 1_700_000_000_000, visible_at: 1_700_000_060_000 };
        let op = Op::Taken {
            key: Cow::Owned(key),
            next: 1_000_032,
            deliveries: (1_000_000..1_000_032).map(delivery).collect(),
        };
        let mut body = Vec::new();
        op.encode(&mut body);
        assert!(body.len() <= 125, "{} bytes", body.len());
    }
}
