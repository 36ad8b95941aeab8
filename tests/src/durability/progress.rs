//! A consumer that reads every queue in turn and commits how far it came, and what must be left of its offsets after a
//! restart: never more than it committed, never more than the queue has, and no older than the persistence interval.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringmq_remoting::FieldValue;
use ringmq_remoting::code::{request, response};

use super::model::{Model, Queue};
use super::{Fault, FaultKind, QUEUES, Refusal, TOPICS, expect_after};
use crate::wire::{Connection, Pull};

/// Messages asked for by one pull, so many that the consumer keeps up where the broker allows it: offsets that run ahead of
/// the log then show.
const PULL_COUNT: i32 = 256;
const GROUP: &str = "crash_consumer";
/// A commit acknowledged so long before the kill must be kept: the interval of 200 ms that the broker is set to, the
/// time to write, and room for a machine that does other work.
pub const LOSS_MAX: Duration = Duration::from_millis(1_500);

/// One acknowledged commit.
#[derive(Clone, Copy, Debug)]
struct Commit {
    queue: Queue,
    offset: i64,
    at: Instant,
}

/// What the consumer knows over all rounds.
#[derive(Debug, Default)]
pub struct Progress {
    /// Where each queue must be at least, by commits that are old enough.
    least: BTreeMap<Queue, i64>,
    /// The highest offset ever asked to be committed.
    most: BTreeMap<Queue, i64>,
    /// Where the broker said that the group stands, after the newest restart.
    resume: BTreeMap<Queue, i64>,
    commits: u64,
}

/// A running consumer; it ends when the broker does.
#[derive(Debug)]
pub struct Consumer {
    thread: JoinHandle<Consumed>,
}

/// What one round's consumer did.
#[derive(Debug)]
struct Consumed {
    commits: Vec<Commit>,
    /// The last offset asked to be committed, acknowledged or not.
    asked: BTreeMap<Queue, i64>,
    /// Why it stopped, if the broker told it.
    refused: Option<Refusal>,
}

impl Progress {
    /// Commits acknowledged so far.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Compares the broker's offsets after a restart with what was committed.
    ///
    /// # Panics
    /// The broker does not answer.
    pub fn check_after_restart(&mut self, connection: &mut Connection, model: &Model) -> Vec<Fault> {
        let mut faults = Vec::new();
        for queue in queues() {
            let offset = committed(connection, queue);
            let least = self.least.get(&queue).copied().unwrap_or(0);
            let most = self.most.get(&queue).copied().unwrap_or(0);
            let max = model.max_offset(queue);
            let mut note = |detail: String| faults.push(Fault::new(FaultKind::Offset, detail));
            if offset < least {
                note(format!("{queue:?}: offset {least} was committed and due, {offset} is left"));
            }
            if offset > most {
                note(format!("{queue:?}: offset {offset}, but never more than {most} was committed"));
            }
            if offset > max {
                note(format!("{queue:?}: offset {offset} is beyond the queue's {max} messages"));
            }
            self.resume.insert(queue, offset);
            self.least.insert(queue, offset);
        }
        faults
    }

    /// Goes on consuming from where the broker said.
    pub fn start(&mut self, address: SocketAddr) -> Consumer {
        let resume = self.resume.clone();
        Consumer { thread: thread::spawn(move || consume_until_killed(address, resume)) }
    }

    /// Waits for the consumer after the broker was killed. `ended` is when its trouble began; commits acknowledged before `due` must
    /// have been kept.
    ///
    /// # Panics
    /// A pull or a commit was refused before that.
    pub fn finish(&mut self, consumer: Consumer, ended: Instant, due: Option<Instant>) {
        let consumed = consumer.thread.join().expect("the consumer");
        expect_after(ended, consumed.refused.as_slice());
        self.commits += consumed.commits.len() as u64;
        for commit in consumed.commits {
            if due.is_some_and(|due| commit.at < due) {
                let least = self.least.entry(commit.queue).or_insert(0);
                *least = (*least).max(commit.offset);
            }
        }
        for (queue, offset) in consumed.asked {
            let most = self.most.entry(queue).or_insert(0);
            *most = (*most).max(offset);
        }
    }
}

fn queues() -> impl Iterator<Item = Queue> {
    (0..TOPICS.len()).flat_map(|topic| (0..QUEUES).map(move |queue_id| (topic, queue_id)))
}

/// The group's committed offset; 0 when it has none.
fn committed(connection: &mut Connection, queue: Queue) -> i64 {
    let fields = [
        ("consumerGroup", FieldValue::Str(GROUP)),
        ("topic", FieldValue::Str(TOPICS[queue.0])),
        ("queueId", FieldValue::Int(queue.1.into())),
        ("setZeroIfNotFound", FieldValue::Bool(false)),
    ];
    let answer =
        connection.call(request::QUERY_CONSUMER_OFFSET, &fields, &[]).expect("an answer to an offset query");
    match answer.code {
        response::SUCCESS => answer.long("offset"),
        response::QUERY_NOT_FOUND => 0,
        _ => panic!("an offset query was refused: {answer:?}"),
    }
}

fn consume_until_killed(address: SocketAddr, mut next: BTreeMap<Queue, i64>) -> Consumed {
    let mut consumed = Consumed { commits: Vec::new(), asked: next.clone(), refused: None };
    let mut connection = Connection::connect(address).expect("a connection for the consumer");
    loop {
        for queue in queues() {
            let offset = next[&queue];
            let pull =
                Pull { group: GROUP, topic: TOPICS[queue.0], queue_id: queue.1, offset, count: PULL_COUNT };
            let Ok(answer) = connection.call_pull(&pull) else { return consumed };
            let reached = match answer.code {
                response::SUCCESS => answer.long("nextBeginOffset"),
                response::PULL_NOT_FOUND => continue,
                _ => {
                    consumed.refused = Some(Refusal { at: Instant::now(), answer });
                    return consumed;
                }
            };
            consumed.asked.insert(queue, reached);
            let fields = [
                ("consumerGroup", FieldValue::Str(GROUP)),
                ("topic", FieldValue::Str(TOPICS[queue.0])),
                ("queueId", FieldValue::Int(queue.1.into())),
                ("commitOffset", FieldValue::Int(reached)),
            ];
            let Ok(answer) = connection.call(request::UPDATE_CONSUMER_OFFSET, &fields, &[]) else {
                return consumed;
            };
            let at = Instant::now();
            if answer.code != response::SUCCESS {
                consumed.refused = Some(Refusal { at, answer });
                return consumed;
            }
            consumed.commits.push(Commit { queue, offset: reached, at });
            next.insert(queue, reached);
        }
    }
}
