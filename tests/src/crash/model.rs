//! What the broker has promised, and the check that it holds.
//!
//! The content of a queue, once read after a restart, is final: later reads must find the same messages at the same
//! offsets, more may follow. An acknowledged message must be at its acknowledged offset. A message whose answer never
//! came may be there or not, but at most once.

use std::collections::BTreeMap;

use ringmq_remoting::FieldValue;
use ringmq_remoting::code::{request, response};
use ringmq_remoting::record::RecordView;
use rustc_hash::FxHashSet;

use super::load::{Acknowledged, Outcome};
use super::{QUEUES, TOPICS};
use crate::wire::{Connection, Pull};

/// A queue's place in [`TOPICS`], and its id.
pub type Queue = (usize, i32);

/// Number of a message, unique over all rounds; part of its body.
pub type MessageNumber = u64;

/// How much of the queues a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From the first offset.
    Everything,
    /// What lies behind the content known before.
    News,
}

/// The oracle of one store.
#[derive(Debug, Default)]
pub struct Model {
    /// Message at each offset, as found after the newest restart.
    content: BTreeMap<Queue, Vec<MessageNumber>>,
    /// Acknowledged since then.
    promised: Vec<Acknowledged>,
    /// Sent since the start, acknowledged or not.
    sent: FxHashSet<MessageNumber>,
}

impl Model {
    /// Takes in what a round of load was promised; gives the number of acknowledged messages.
    pub fn add(&mut self, outcome: Outcome) -> u64 {
        self.sent.extend(outcome.sent);
        let count = outcome.acknowledged.len() as u64;
        self.promised.extend(outcome.acknowledged);
        count
    }

    /// Messages found at the last check.
    pub fn stored(&self) -> u64 {
        self.content.values().map(|queue| queue.len() as u64).sum()
    }

    /// One past the last offset of a queue, as found at the last check.
    pub fn max_offset(&self, queue: Queue) -> i64 {
        self.content.get(&queue).map_or(0, |content| content.len() as i64)
    }

    /// Reads every queue, as far as `reach` says, and compares it with the promises; gives the number of messages read.
    ///
    /// # Panics
    /// A promise is broken.
    pub fn check(&mut self, connection: &mut Connection, reach: Reach) -> u64 {
        let mut read = 0;
        let mut seen = FxHashSet::default();
        if reach == Reach::News {
            seen.extend(self.content.values().flatten().copied());
        }
        let mut physical = FxHashSet::default();
        for (index, topic) in TOPICS.iter().enumerate() {
            for queue_id in 0..QUEUES {
                let known = self.content.entry((index, queue_id)).or_default();
                let first = if reach == Reach::News { known.len() } else { 0 };
                let found = read_queue(connection, topic, queue_id, first, &mut physical);
                for number in &found {
                    assert!(
                        self.sent.contains(number),
                        "{topic}/{queue_id} holds {number}, which was never sent"
                    );
                    assert!(
                        seen.insert(*number),
                        "{number} is in the log twice, the second time in {topic}/{queue_id}"
                    );
                }
                read += found.len() as u64;
                assert!(
                    found.starts_with(&known[first..]),
                    "{topic}/{queue_id} changed: {} messages were there, {} are, the first other one at {:?}",
                    known.len(),
                    found.len(),
                    known.iter().zip(&found).position(|(before, now)| before != now)
                );
                known.truncate(first);
                known.extend(found);
            }
        }
        for promise in self.promised.drain(..) {
            let there = self.content[&promise.queue].get(usize::try_from(promise.offset).expect("an offset"));
            assert_eq!(
                there,
                Some(&promise.number),
                "message {} was acknowledged at {}/{} offset {}, where the queue has {} messages",
                promise.number,
                TOPICS[promise.queue.0],
                promise.queue.1,
                promise.offset,
                self.content[&promise.queue].len()
            );
        }
        read
    }
}

/// The numbers of a queue's messages from offset `first` to its last; every record is checked on the way.
fn read_queue(
    connection: &mut Connection,
    topic: &str,
    queue_id: i32,
    first: usize,
    physical: &mut FxHashSet<i64>,
) -> Vec<MessageNumber> {
    let fields = [("topic", FieldValue::Str(topic)), ("queueId", FieldValue::Int(queue_id.into()))];
    let max = connection.call(request::GET_MAX_OFFSET, &fields, &[]).expect("the max offset").long("offset");
    let mut next = first as i64;
    assert!(max >= next, "{topic}/{queue_id} ends at {max}, {next} messages were there");
    let mut numbers = Vec::new();
    while next < max {
        let offset = next;
        let pull = Pull { group: "checker", topic, queue_id, offset, count: 256 };
        let answer = connection.call_pull(&pull).expect("an answer to a pull");
        assert_eq!(answer.code, response::SUCCESS, "{topic}/{queue_id} at {offset} of {max}: {answer:?}");
        for record in ringmq_remoting::record::records(&answer.body) {
            let record = record.unwrap_or_else(|error| panic!("{topic}/{queue_id} at {next}: {error}"));
            record.check_crc().unwrap_or_else(|error| panic!("{topic}/{queue_id} at {next}: {error}"));
            assert_eq!(record.queue_offset(), next, "{topic}/{queue_id} has a gap or a repeat");
            assert_eq!((record.topic(), record.queue_id()), (topic, queue_id));
            let place = record.physical_offset();
            assert!(
                physical.insert(place),
                "{topic}/{queue_id} at {next}: its record at {place} belongs to another"
            );
            numbers.push(number_in(&record));
            next += 1;
        }
        assert!(next > offset, "{topic}/{queue_id}: a pull that finds nothing at {offset} of {max}");
        assert_eq!(answer.long("nextBeginOffset"), next, "{topic}/{queue_id}: next offset");
    }
    assert_eq!(next, max, "{topic}/{queue_id}: more messages than the max offset tells");
    numbers
}

/// The number in a body, and the proof that the rest of the body belongs to it.
fn number_in(record: &RecordView<'_>) -> MessageNumber {
    let body = record.body();
    let number = MessageNumber::from_be_bytes(body[..8].try_into().expect("a body of the load"));
    assert_eq!(body, super::load::body_of(number), "the body of message {number} is another's");
    number
}
