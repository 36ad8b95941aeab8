//! A producer: a process that keeps some sends in flight, single ones and batches, and tries again after errors with new messages.

use std::time::Duration;

use ringmq_reactor::{ProcessSpec, TaskIo, task};
use ringmq_remoting::code::response;
use ringmq_transport::{Client, ClientOptions};

use super::cluster::find_broker;
use super::ledger::{Queue, Shared};
use super::plan::{Plan, TOPICS};
use super::wire;

/// As the Java client's default for sends.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages of one batch.
const BATCH_MAX: u64 = 8;

/// A producer process to be started.
#[must_use]
pub fn process(number: u32, plan: &Plan, shared: &Shared) -> ProcessSpec<()> {
    let (plan, shared) = (plan.clone(), shared.clone());
    task::process(&format!("producer-{number}"), move |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        for worker in 0..plan.sends_in_flight {
            io.spawn(work(io.clone(), client.clone(), plan.clone(), shared.clone(), (number, worker)));
        }
    })
}

async fn work(io: TaskIo, client: Client, plan: Plan, shared: Shared, me: (u32, u32)) {
    let mut broker = find_broker(&io, &client).await;
    shared.ledger().progress.entry(me).or_default();
    loop {
        io.sleep(below(&io, plan.think_max)).await;
        if !shared.ledger().producing {
            continue;
        }
        let topic = usize::from(io.random().is_multiple_of(4));
        let queue = Queue { topic, id: (io.random() % TOPICS[topic].1 as u64) as i32 };
        let batch = plan.batch_one_in != 0 && io.random().is_multiple_of(plan.batch_one_in);
        let count = if batch { 1 + io.random() % BATCH_MAX } else { 1 };
        let large = if io.random().is_multiple_of(64) && !batch { 10 } else { 1 };
        let body_bytes = (io.random() % (plan.body_bytes_max * large)) as usize;
        let ids = shared.ledger().attempt(queue, count as usize, io.now());
        let request = if batch {
            wire::send_batch(queue, &ids, body_bytes, io.wall_ms())
        } else {
            wire::send(queue, ids[0], body_bytes, io.wall_ms())
        };
        match client.call(broker, &request, SEND_TIMEOUT).await {
            Ok(answer) if answer.code() == response::SUCCESS => {
                let mut ledger = shared.ledger();
                match wire::stored_at(&answer, queue, ids.len()) {
                    Ok((first, physical)) => {
                        ledger.acknowledged(queue, &ids, first, &physical, io.now());
                        *ledger.progress.entry(me).or_default() += 1;
                    }
                    Err(what) => ledger.violation(io.now(), what),
                }
            }
            Ok(_) => {
                shared.ledger().refused(ids.len());
                io.sleep(below(&io, Duration::from_millis(100))).await;
            }
            Err(_) => {
                shared.ledger().refused(ids.len());
                io.sleep(below(&io, Duration::from_millis(200))).await;
                broker = find_broker(&io, &client).await;
            }
        }
    }
}

/// Some time below `most`.
fn below(io: &TaskIo, most: Duration) -> Duration {
    Duration::from_nanos(io.random() % (most.as_nanos() as u64).max(1))
}
