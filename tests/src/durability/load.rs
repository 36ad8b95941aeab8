//! Load with many requests in flight: each connection keeps a window of sends open and notes every acknowledgement.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringmq_remoting::code::response;
use ringmq_remoting::record::batch;

use super::model::{MessageNumber, Queue};
use super::{QUEUES, Random, Refusal, SENDERS, TOPICS, expect_after};
use crate::wire::{ANSWER_TIMEOUT, Answer, Connection, Send};

/// One request of so many is a batch.
const BATCH_EVERY: u64 = 8;
/// Messages of a batch.
const BATCH_MESSAGES: u64 = 5;
/// Refusals after which a sender only waits for the end.
const REFUSALS_MAX: usize = 1_000;

/// How hard the load drives.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Requests that one connection has in flight.
    pub window: usize,
    /// Messages that one connection sends at most in one round.
    pub messages_max: u64,
}

impl Effort {
    /// As fast as it goes.
    pub const FULL: Effort = Effort { window: 64, messages_max: 20_000 };
    /// Lasts for a second without filling the disk.
    pub const LASTING: Effort = Effort { window: 4, messages_max: 20_000 };
}

/// A message that the broker has promised to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Where.
    pub queue: Queue,
    /// At which queue offset.
    pub offset: i64,
    /// Which.
    pub number: MessageNumber,
    /// When the acknowledgement came.
    pub at: Instant,
}

/// What became of one round's load.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Everything sent.
    pub sent: Vec<MessageNumber>,
    /// What was acknowledged of it.
    pub acknowledged: Vec<Acknowledged>,
    /// Answers that were neither success nor a refusal for load.
    pub refused: Vec<Refusal>,
}

/// Running senders; they end when the broker does.
#[derive(Debug)]
pub struct Load {
    threads: Vec<JoinHandle<Outcome>>,
    acknowledged: Arc<AtomicU64>,
}

impl Load {
    /// Starts the connections. Numbers of messages are unique over rounds and connections.
    pub fn start(address: SocketAddr, effort: Effort, seed: u64, round: u32) -> Self {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads = (0..SENDERS)
            .map(|sender| {
                let count = Arc::clone(&acknowledged);
                let first = (u64::from(round) * SENDERS + sender + 1) << 32;
                thread::spawn(move || {
                    send_until_killed(address, effort, Random::new(seed ^ sender), first, &count)
                })
            })
            .collect();
        Load { threads, acknowledged }
    }

    /// Waits for the first acknowledgement: the start of a JVM's first requests is no load.
    ///
    /// # Panics
    /// It does not come within [`ANSWER_TIMEOUT`].
    pub fn await_first(&self) {
        let began = Instant::now();
        while self.acknowledged.load(Ordering::Relaxed) == 0 {
            assert!(began.elapsed() < ANSWER_TIMEOUT, "no message was acknowledged in {ANSWER_TIMEOUT:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the senders, after the broker was killed; `ended` is when its trouble began.
    ///
    /// # Panics
    /// A sender was refused before that, or answered what it had not asked.
    pub fn finish(self, ended: Instant) -> Outcome {
        let mut all = Outcome::default();
        for thread in self.threads {
            let outcome = thread.join().expect("a sender");
            all.sent.extend(outcome.sent);
            all.acknowledged.extend(outcome.acknowledged);
            all.refused.extend(outcome.refused);
        }
        expect_after(ended, &all.refused);
        all
    }
}

/// A body that proves itself: its number, then bytes that follow from the number; 8 B to 2 KiB.
pub fn body_of(number: MessageNumber) -> Vec<u8> {
    let mut random = Random::new(number);
    let bytes = 8 + (random.number() % 2_041) as usize;
    let mut body = number.to_be_bytes().to_vec();
    while body.len() < bytes {
        body.extend(random.number().to_le_bytes());
    }
    body.truncate(bytes);
    body
}

/// A request whose answer has not come.
struct InFlight {
    queue: Queue,
    numbers: std::ops::Range<MessageNumber>,
}

fn send_until_killed(
    address: SocketAddr,
    effort: Effort,
    mut random: Random,
    first: MessageNumber,
    count: &AtomicU64,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut in_flight: BTreeMap<i32, InFlight> = BTreeMap::new();
    let mut connection = Connection::connect(address).expect("a connection for the load");
    let mut next = first;
    loop {
        while in_flight.len() < effort.window
            && next - first < effort.messages_max
            && outcome.refused.len() < REFUSALS_MAX
        {
            let queue =
                ((random.number() % TOPICS.len() as u64) as usize, (random.number() % QUEUES as u64) as i32);
            let count = if random.number().is_multiple_of(BATCH_EVERY) { BATCH_MESSAGES } else { 1 };
            let numbers = next..next + count;
            next = numbers.end;
            outcome.sent.extend(numbers.clone());
            match send(&mut connection, queue, numbers.clone()) {
                Ok(opaque) => in_flight.insert(opaque, InFlight { queue, numbers }),
                Err(_) => break, // killed; answers may still lie in the socket
            };
        }
        match connection.receive() {
            Ok(Some(answer)) => {
                note(&mut outcome, &mut in_flight, &answer);
                count.store(outcome.acknowledged.len() as u64, Ordering::Relaxed);
            }
            Ok(None) | Err(_) => return outcome,
        }
    }
}

fn send(
    connection: &mut Connection,
    queue: Queue,
    numbers: std::ops::Range<MessageNumber>,
) -> std::io::Result<i32> {
    let is_batch = numbers.end - numbers.start > 1;
    let mut body = Vec::new();
    for number in numbers {
        if is_batch {
            batch::write_entry(&mut body, 0, &body_of(number), "TAGS\u{1}crash\u{2}");
        } else {
            body = body_of(number);
        }
    }
    connection.send_message(&Send {
        topic: TOPICS[queue.0],
        queue_id: queue.1,
        properties: "TAGS\u{1}crash\u{2}",
        batch: is_batch,
        body: &body,
    })
}

/// Notes an answer. A refusal for load is no promise, and nothing to be told.
fn note(outcome: &mut Outcome, in_flight: &mut BTreeMap<i32, InFlight>, answer: &Answer) {
    let asked =
        in_flight.remove(&answer.opaque).unwrap_or_else(|| panic!("answered what was not asked: {answer:?}"));
    let at = Instant::now();
    match answer.code {
        response::SUCCESS => {
            assert_eq!(answer.long("queueId"), i64::from(asked.queue.1), "{answer:?}");
            let offsets = answer.long("queueOffset")..;
            for (offset, number) in offsets.zip(asked.numbers) {
                outcome.acknowledged.push(Acknowledged { queue: asked.queue, offset, number, at });
            }
        }
        response::SYSTEM_BUSY => {}
        _ => outcome.refused.push(Refusal { at, answer: answer.clone() }),
    }
}
