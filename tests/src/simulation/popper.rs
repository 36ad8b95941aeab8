//! A consumer that pops: takes messages of whole topics, acknowledges most, keeps some for longer, forgets some.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_reactor::{ProcessSpec, TaskIo, task};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{Client, ClientOptions};

use super::cluster::find_broker;
use super::ledger::Shared;
use super::plan::TOPICS;
use super::pops::Popped;
use super::wire;

const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the broker may hold a pop.
const POLL: Duration = Duration::from_secs(2);
/// The group.
pub const GROUP: &str = "poppers";
/// Loops of a process.
const WORKERS: u32 = 2;

/// A popper process to be started.
#[must_use]
pub fn process(shared: &Shared) -> ProcessSpec<()> {
    let shared = shared.clone();
    task::process("popper", move |io| async move {
        for _ in 0..WORKERS {
            // Each on a connection of its own, which lie on different shards.
            let client = Client::new(io.clone(), ClientOptions::default());
            io.spawn(work(io.clone(), client, shared.clone()));
        }
    })
}

async fn work(io: TaskIo, client: Client, shared: Shared) {
    let mut broker = find_broker(&io, &client).await;
    loop {
        let topic = TOPICS[usize::from(io.random().is_multiple_of(3))].0;
        let invisible = Duration::from_millis(500 + io.random() % 2_500);
        let Ok(answer) =
            client.call(broker, &wire::pop(topic, GROUP, 16, invisible, POLL), POLL + CALL_TIMEOUT).await
        else {
            io.sleep(Duration::from_millis(200)).await;
            broker = find_broker(&io, &client).await;
            continue;
        };
        match answer.code() {
            response::SUCCESS => {}
            response::POLLING_TIMEOUT => continue,
            // Topic not there yet, starting, stopping, no room.
            _ => {
                io.sleep(Duration::from_millis(100)).await;
                continue;
            }
        }
        let popped = match wire::popped(&answer, topic, GROUP) {
            Ok(popped) => popped,
            Err(what) => {
                shared.ledger().violation(io.now(), what);
                io.sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for popped in &popped {
            let mut ledger = shared.ledger();
            if let Err(what) = ledger.pops.popped(popped, io.now(), io.wall_ms().cast_signed()) {
                ledger.violation(io.now(), what);
            }
        }
        let mut consumed = Vec::new();
        for popped in popped {
            consumed.extend(consume(&io, &client, broker, &shared, popped).await);
        }
        acknowledge(&io, &client, broker, &shared, &consumed).await;
    }
}

/// Singly, or all at once.
async fn acknowledge(io: &TaskIo, client: &Client, broker: SocketAddr, shared: &Shared, consumed: &[Popped]) {
    if consumed.is_empty() {
        return;
    }
    let parts: Vec<_> =
        if io.random().is_multiple_of(8) { consumed.chunks(1) } else { consumed.chunks(64) }.collect();
    for part in parts {
        let request = match part {
            [one] => wire::about_popped(request::ACK_MESSAGE, one, GROUP),
            many => wire::batch_ack(many, GROUP),
        };
        part.iter().for_each(|popped| shared.ledger().pops.acknowledging(popped.id));
        let answer = client.call(broker, &request, CALL_TIMEOUT).await;
        if answer.is_ok_and(|answer| answer.code() == response::SUCCESS) {
            let wall_ms = io.wall_ms().cast_signed();
            part.iter().for_each(|popped| shared.ledger().pops.acked(popped, wall_ms));
        }
    }
}

/// `None`: it is forgotten, and comes again.
async fn consume(
    io: &TaskIo,
    client: &Client,
    broker: SocketAddr,
    shared: &Shared,
    mut popped: Popped,
) -> Option<Popped> {
    let dice = if shared.ledger().pops.finishing { 0 } else { io.random() % 20 };
    match dice {
        18 | 19 => return None,
        16 | 17 => {
            shared.ledger().pops.changing(&popped);
            let invisible = 200 + io.random() % 2_000;
            let change = wire::about_popped(request::CHANGE_MESSAGE_INVISIBLETIME, &popped, GROUP)
                .int("invisibleTime", invisible.cast_signed());
            let answer = client.call(broker, &change, CALL_TIMEOUT).await.ok()?;
            if answer.code() != response::SUCCESS {
                return None;
            }
            match wire::changed_handle(&answer, &popped) {
                Ok(handle) => popped.handle = handle,
                Err(what) => shared.ledger().violation(io.now(), what),
            }
        }
        _ => {}
    }
    Some(popped)
}
