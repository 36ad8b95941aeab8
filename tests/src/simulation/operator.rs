//! An operator: a process that makes topics and changes them, one after the other, for as long as there are faults.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_reactor::{ProcessSpec, TaskIo, task};
use ringmq_remoting::body::TopicConfig;
use ringmq_remoting::code::{request, response};
use ringmq_transport::{Client, ClientOptions, Request};

use super::cluster::{BROKER, find_broker};
use super::ledger::Shared;
use super::wire;

const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Topics it deals with.
const TOPICS: u64 = 12;
/// Most queues it gives them.
const QUEUES_MAX: u64 = 1_000;

/// The process to be started.
#[must_use]
pub fn process(shared: &Shared) -> ProcessSpec<()> {
    let shared = shared.clone();
    task::process("operator", move |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        let broker: SocketAddr = BROKER.parse().expect("an address");
        while shared.ledger().producing {
            io.sleep(Duration::from_millis(io.random() % 60)).await;
            let name = format!("operated-{}", io.random() % TOPICS);
            let queues = (1 + io.random() % QUEUES_MAX) as i32;
            shared.ledger().topics.tried(&name, queues);
            let made = client.call(broker, &wire::create_topic(&name, queues), CALL_TIMEOUT).await;
            if made.is_ok_and(|answer| answer.code() == response::SUCCESS) {
                shared.ledger().topics.confirmed(&name, queues);
            }
        }
    })
}

/// Asks the broker how all these topics are, and holds it to what it confirmed.
pub async fn check(io: &TaskIo, client: &Client, shared: &Shared) {
    let names: Vec<String> = shared.ledger().topics.names();
    for name in names {
        let queues = loop {
            let broker = find_broker(io, client).await;
            let question = Request::new(request::GET_TOPIC_CONFIG).str("topic", &*name);
            match client.call(broker, &question, CALL_TIMEOUT).await {
                Ok(answer) if answer.code() == response::SUCCESS => {
                    match TopicConfig::from_json(&answer.body()) {
                        Ok(topic) => break Some(topic.read_queue_nums),
                        Err(error) => {
                            return shared.ledger().violation(io.now(), format!("topic {name}: {error}"));
                        }
                    }
                }
                Ok(answer) if answer.code() == response::TOPIC_NOT_EXIST => break None,
                _ => io.sleep(Duration::from_millis(200)).await,
            }
        };
        let mut ledger = shared.ledger();
        if let Err(what) = ledger.topics.compare(&name, queues) {
            ledger.violation(io.now(), what);
        }
    }
}
