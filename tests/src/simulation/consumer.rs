//! A consumer: a process that sends heartbeats and has a loop for each of its queues: pull, check, commit.

use std::time::Duration;

use ringmq_reactor::{ProcessSpec, TaskIo, task};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{Client, ClientOptions};

use super::cluster::find_broker;
use super::ledger::{Queue, Shared, queues};
use super::plan::Plan;
use super::wire::{self, Pulled};

const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the broker may hold a pull.
const SUSPEND: Duration = Duration::from_secs(5);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
const PULL_COUNT: i64 = 32;

/// A consumer process to be started. Queues are shared out evenly among the plan's consumers, by number.
#[must_use]
pub fn process(number: u32, plan: &Plan, shared: &Shared) -> ProcessSpec<()> {
    let (consumers, shared) = (plan.consumers, shared.clone());
    task::process(&format!("consumer-{number}"), move |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        // One subscription version for the whole group.
        let version = 1;
        io.spawn(heartbeats(io.clone(), client.clone(), number, version));
        for (index, queue) in queues().enumerate() {
            if index as u32 % consumers == number {
                io.spawn(consume(io.clone(), client.clone(), shared.clone(), queue, version));
            }
        }
    })
}

async fn heartbeats(io: TaskIo, client: Client, number: u32, version: u64) {
    loop {
        let broker = find_broker(&io, &client).await;
        let heartbeat = wire::heartbeat(&format!("10.0.0.4@{number}"), version);
        // What comes of it shows in the next one.
        drop(client.call(broker, &heartbeat, CALL_TIMEOUT).await);
        io.sleep(HEARTBEAT_EVERY).await;
    }
}

async fn consume(io: TaskIo, client: Client, shared: Shared, queue: Queue, version: u64) {
    let mut broker = find_broker(&io, &client).await;
    let mut next = loop {
        let question = wire::about_queue(request::QUERY_CONSUMER_OFFSET, queue);
        match client.call(broker, &question, CALL_TIMEOUT).await {
            Ok(answer) if answer.code() == response::SUCCESS => match wire::number(&answer, "offset") {
                Ok(offset) => {
                    shared.ledger().stands_at(queue, Some(offset), io.now());
                    break offset;
                }
                Err(what) => shared.ledger().violation(io.now(), what),
            },
            Ok(answer) if answer.code() == response::QUERY_NOT_FOUND => {
                shared.ledger().stands_at(queue, None, io.now());
                break 0;
            }
            Ok(_) => {}
            Err(_) => broker = find_broker(&io, &client).await,
        }
        io.sleep(Duration::from_millis(100)).await;
    };
    let mut committed = next;
    loop {
        if !shared.ledger().consuming {
            io.sleep(Duration::from_millis(50)).await;
            continue;
        }
        let pull = wire::pull(queue, next, PULL_COUNT, SUSPEND.as_millis() as i64, version);
        let Ok(answer) = client.call(broker, &pull, SUSPEND + CALL_TIMEOUT).await else {
            io.sleep(Duration::from_millis(100)).await;
            broker = find_broker(&io, &client).await;
            continue;
        };
        next = handle(&io, &shared, queue, next, wire::pulled(&answer, queue, next)).await;
        if next != committed && io.random().is_multiple_of(3) {
            commit(&io, &client, broker, &shared, queue, next).await;
            committed = next;
        }
    }
}

/// Checks what a pull brought; gives the next offset.
async fn handle(
    io: &TaskIo,
    shared: &Shared,
    queue: Queue,
    next: i64,
    pulled: Result<Pulled, String>,
) -> i64 {
    let pause = match pulled {
        Ok(Pulled::Found(records, after)) => {
            let mut ledger = shared.ledger();
            ledger.counts.consumed += records.len() as u64;
            for record in records {
                ledger.seen(queue, record, io.now());
            }
            ledger.consumed_to.insert(queue, after);
            return after;
        }
        Ok(Pulled::Moved(to)) => {
            let mut ledger = shared.ledger();
            // Nothing is ever deleted here: only messages that a power cut took back can move a reader, and only down.
            if !ledger.messages_lost || to > next {
                ledger.violation(io.now(), format!("{queue:?}: reader at {next} is sent to {to}"));
            }
            return to;
        }
        Ok(Pulled::Nothing) => 1,
        // Topic not there yet, group not known yet, starting, stopping.
        Ok(Pulled::Refused(..)) => 100,
        Err(what) => {
            shared.ledger().violation(io.now(), what);
            1_000
        }
    };
    io.sleep(Duration::from_millis(pause)).await;
    next
}

async fn commit(
    io: &TaskIo,
    client: &Client,
    broker: std::net::SocketAddr,
    shared: &Shared,
    queue: Queue,
    offset: i64,
) {
    let sent = io.now();
    shared.ledger().committing(queue, offset);
    let outcome = client.call(broker, &wire::commit(queue, offset), CALL_TIMEOUT).await;
    if outcome.is_ok_and(|answer| answer.code() == response::SUCCESS) {
        shared.ledger().committed(queue, offset, sent, io.now());
    }
}
