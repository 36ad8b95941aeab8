//! What the broker has promised, and the check that it holds.
//!
//! The content of a queue, once read after a restart, is final: later reads must find the same messages at the same
//! offsets, more may follow. An acknowledged message must be at its acknowledged offset. A message whose answer never
//! came may be there or not, but at most once. Where a flush type promises less, an acknowledged message may be gone,
//! but only together with everything behind it in its queue.

use std::collections::BTreeMap;
use std::time::Instant;

use ringmq_remoting::FieldValue;
use ringmq_remoting::code::{request, response};
use ringmq_remoting::record::RecordView;
use rustc_hash::FxHashSet;

use super::load::{Acknowledged, Outcome};
use super::{Fault, FaultKind, QUEUES, TOPICS};
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

/// What an acknowledgement promised, by what happened to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promised {
    /// That the message is kept.
    Everything,
    /// That it is kept if the acknowledgement came before this moment.
    Before(Instant),
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Messages read.
    pub read: u64,
    /// Acknowledged messages that are gone, as their flush type allows.
    pub gone: u64,
    /// Broken promises.
    pub faults: Vec<Fault>,
}

/// The oracle of one store.
#[derive(Debug, Default)]
pub struct Model {
    /// Message at each offset, as found after the newest restart.
    content: BTreeMap<Queue, Vec<MessageNumber>>,
    /// Acknowledged since then, and whether each must be there.
    promised: Vec<(Acknowledged, bool)>,
    /// When the newest cut began; for people who look into a fault.
    cut: Option<Instant>,
    /// Sent since the start, acknowledged or not.
    sent: FxHashSet<MessageNumber>,
}

impl Model {
    /// Takes in what a round of load was promised, and when the cut began; gives the number of acknowledged messages.
    pub fn add(&mut self, outcome: Outcome, promised: Promised, cut: Option<Instant>) -> u64 {
        self.cut = cut;
        self.sent.extend(outcome.sent);
        let count = outcome.acknowledged.len() as u64;
        self.promised.extend(outcome.acknowledged.into_iter().map(|one| match promised {
            Promised::Everything => (one, true),
            Promised::Before(moment) => (one, one.at < moment),
        }));
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

    /// Reads every queue, as far as `reach` says, and compares it with the promises. What is found becomes the content.
    pub fn check(&mut self, connection: &mut Connection, reach: Reach) -> Checked {
        let mut checked = Checked::default();
        let mut seen = FxHashSet::default();
        if reach == Reach::News {
            seen.extend(self.content.values().flatten().copied());
        }
        let mut physical = FxHashSet::default();
        for (index, topic) in TOPICS.iter().enumerate() {
            for queue_id in 0..QUEUES {
                let known = self.content.entry((index, queue_id)).or_default();
                let first = if reach == Reach::News { known.len() } else { 0 };
                let mut found = Vec::new();
                let mut note = |kind, detail| checked.faults.push(Fault::new(kind, detail));
                if let Err(why) = read_queue(connection, topic, queue_id, first, &mut physical, &mut found) {
                    note(FaultKind::Unreadable, format!("{topic}/{queue_id}: {why}"));
                }
                for number in &found {
                    if !self.sent.contains(number) {
                        note(
                            FaultKind::Unsent,
                            format!("{topic}/{queue_id} holds {number}, which was never sent"),
                        );
                    }
                    if !seen.insert(*number) {
                        note(
                            FaultKind::Repeated,
                            format!("{number} is in the log twice, the second time in {topic}/{queue_id}"),
                        );
                    }
                }
                checked.read += found.len() as u64;
                if !found.starts_with(&known[first..]) {
                    note(
                        FaultKind::Changed,
                        format!(
                            "{topic}/{queue_id}: {} messages were there, {} are, the first other one at {:?}",
                            known.len(),
                            found.len(),
                            known.iter().zip(&found).position(|(before, now)| before != now)
                        ),
                    );
                }
                known.truncate(first);
                known.extend(found);
            }
        }
        let cut = self.cut;
        for (promise, must_be_there) in self.promised.drain(..) {
            let queue = &self.content[&promise.queue];
            let there = queue.get(usize::try_from(promise.offset).expect("an offset"));
            if there.is_none() && !must_be_there {
                checked.gone += 1;
            } else if there != Some(&promise.number) {
                let side = match cut {
                    Some(cut) if promise.at >= cut => format!("{:?} after the cut began", promise.at - cut),
                    Some(cut) => format!("{:?} before the cut", cut - promise.at),
                    None => "before a kill".to_owned(),
                };
                let detail = format!(
                    "message {} was acknowledged ({side}) at {}/{} offset {}, where the queue of {} messages \
                     has {there:?}",
                    promise.number,
                    TOPICS[promise.queue.0],
                    promise.queue.1,
                    promise.offset,
                    queue.len()
                );
                checked.faults.push(Fault::new(FaultKind::Lost, detail));
            }
        }
        checked
    }
}

/// Puts the numbers of a queue's messages from offset `first` to its last into `numbers`; every record is checked on the
/// way. The error says why the rest of the queue could not be read.
fn read_queue(
    connection: &mut Connection,
    topic: &str,
    queue_id: i32,
    first: usize,
    physical: &mut FxHashSet<i64>,
    numbers: &mut Vec<MessageNumber>,
) -> Result<(), String> {
    let fields = [("topic", FieldValue::Str(topic)), ("queueId", FieldValue::Int(queue_id.into()))];
    let answer = connection.call(request::GET_MAX_OFFSET, &fields, &[]).expect("the max offset");
    if answer.code != response::SUCCESS {
        return Err(format!("no max offset: {answer:?}"));
    }
    let max = answer.long("offset");
    let mut next = first as i64;
    if max < next {
        return Err(format!("ends at {max}, {next} messages were there"));
    }
    while next < max {
        let offset = next;
        let pull = Pull { group: "checker", topic, queue_id, offset, count: 256 };
        let answer = connection.call_pull(&pull).expect("an answer to a pull");
        if answer.code != response::SUCCESS {
            return Err(format!("a pull at {offset} of {max}: {answer:?}"));
        }
        for record in ringmq_remoting::record::records(&answer.body) {
            let record = record.map_err(|error| format!("at {next}: {error}"))?;
            record.check_crc().map_err(|error| format!("at {next}: {error}"))?;
            if record.queue_offset() != next {
                return Err(format!("a gap or a repeat: {} at {next}", record.queue_offset()));
            }
            if (record.topic(), record.queue_id()) != (topic, queue_id) {
                return Err(format!("at {next}: a record of {}/{}", record.topic(), record.queue_id()));
            }
            let place = record.physical_offset();
            if !physical.insert(place) {
                return Err(format!("at {next}: its record at {place} belongs to another"));
            }
            numbers.push(number_in(&record).map_err(|error| format!("at {next}: {error}"))?);
            next += 1;
        }
        if next == offset {
            return Err(format!("a pull that finds nothing at {offset} of {max}"));
        }
        if answer.long("nextBeginOffset") != next {
            return Err(format!("a pull at {offset} gives {next} as its next offset: {:?}", answer.fields));
        }
    }
    if next == max { Ok(()) } else { Err(format!("{next} messages, the max offset tells {max}")) }
}

/// The number in a body, and the proof that the rest of the body belongs to it.
fn number_in(record: &RecordView<'_>) -> Result<MessageNumber, String> {
    let body = record.body();
    let number =
        body.first_chunk().map(|head| MessageNumber::from_be_bytes(*head)).ok_or("a body without number")?;
    if body == super::load::body_of(number) {
        Ok(number)
    } else {
        Err(format!("the body of {number} is another's"))
    }
}
