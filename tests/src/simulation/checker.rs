//! Reads everything back: every queue from its lowest to its highest offset.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_reactor::{ProcessSpec, TaskIo, task};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{Client, ClientOptions};

use super::cluster::find_broker;
use super::ledger::{Queue, Shared, Snapshot, queues};
use super::operator;
use super::wire::{self, Found, Pulled};

const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A process that reads all queues once, however often it has to try, asks where the group stands in each, and puts what it found
/// into [`super::ledger::Ledger::snapshot`].
#[must_use]
pub fn process(shared: &Shared) -> ProcessSpec<()> {
    let shared = shared.clone();
    task::process("checker", move |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        let broker = find_broker(&io, &client).await;
        let mut snapshot = Snapshot::new();
        for queue in queues() {
            let records = loop {
                match read(&client, broker, queue).await {
                    Ok(records) => break records,
                    Err(Trouble::NotNow) => io.sleep(Duration::from_millis(200)).await,
                    Err(Trouble::Wrong(what)) => {
                        shared.ledger().violation(io.now(), what);
                        break Vec::new();
                    }
                }
            };
            snapshot.insert(queue, records);
            ask_where_the_group_stands(&io, &client, broker, &shared, queue).await;
        }
        operator::check(&io, &client, &shared).await;
        shared.ledger().snapshot = Some(snapshot);
    })
}

enum Trouble {
    /// No answer, or a refusal: later.
    NotNow,
    /// What no broker should say.
    Wrong(String),
}

async fn read(client: &Client, broker: SocketAddr, queue: Queue) -> Result<Vec<Found>, Trouble> {
    let min = ask(client, broker, request::GET_MIN_OFFSET, queue).await?;
    let max = ask(client, broker, request::GET_MAX_OFFSET, queue).await?;
    // A queue that never had a message begins at -1, as in the reference.
    if min != 0 && !(min == -1 && max <= 0) {
        return Err(Trouble::Wrong(format!("{queue:?} begins at {min}: nothing was deleted")));
    }
    let mut all = Vec::new();
    while (all.len() as i64) < max {
        let next = all.len() as i64;
        let answer = client.call(broker, &wire::pull(queue, next, 32, 0, 1), CALL_TIMEOUT).await;
        match wire::pulled(&answer.map_err(|_| Trouble::NotNow)?, queue, next).map_err(Trouble::Wrong)? {
            Pulled::Found(records, _) => all.extend(records),
            Pulled::Refused(..) => return Err(Trouble::NotNow),
            other => {
                let what = format!("{queue:?} ends at {max}, but at {next} the answer is {other:?}");
                return Err(Trouble::Wrong(what));
            }
        }
    }
    Ok(all)
}

async fn ask(client: &Client, broker: SocketAddr, code: i32, queue: Queue) -> Result<i64, Trouble> {
    let answer = client.call(broker, &wire::about_queue(code, queue), CALL_TIMEOUT).await;
    let answer = answer.map_err(|_| Trouble::NotNow)?;
    if answer.code() != response::SUCCESS {
        return Err(Trouble::NotNow);
    }
    wire::number(&answer, "offset").map_err(Trouble::Wrong)
}

async fn ask_where_the_group_stands(
    io: &TaskIo,
    client: &Client,
    broker: SocketAddr,
    shared: &Shared,
    queue: Queue,
) {
    loop {
        let question = wire::about_queue(request::QUERY_CONSUMER_OFFSET, queue);
        match client.call(broker, &question, CALL_TIMEOUT).await {
            Ok(answer) if answer.code() == response::SUCCESS => {
                let mut ledger = shared.ledger();
                match wire::number(&answer, "offset") {
                    Ok(offset) => ledger.stands_at(queue, Some(offset), io.now()),
                    Err(what) => ledger.violation(io.now(), what),
                }
                return;
            }
            Ok(answer) if answer.code() == response::QUERY_NOT_FOUND => {
                shared.ledger().stands_at(queue, None, io.now());
                return;
            }
            _ => io.sleep(Duration::from_millis(200)).await,
        }
    }
}
