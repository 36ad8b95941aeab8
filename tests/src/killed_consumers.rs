//! Many messages through pop, taken by consumers that are killed at random moments; one simulated world, from one seed.
//!
//! Every consumer is a process with one connection: it pops, acknowledges what it got, singly or all at once, and pops again. The harness
//! kills one after the other, wherever it stands, and starts another in its place. What must hold:
//!
//! - every message is acknowledged in the end, and the group stands at the end of every queue, that of the retry topic included;
//! - no message comes again before the invisible time of the delivery before is over, by the broker's clock;
//! - none comes again whose acknowledgement was answered within that time, and no delivery is given out twice;
//! - what comes again is what consumers had when they were killed: at most one pop each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ringmq_broker::config::HostFacts;
use ringmq_broker::{Broker, BrokerConfig};
use ringmq_reactor::sim::{HostId, ProcessId, SimOptions, World};
use ringmq_reactor::{Monotonic, ProcessSpec, TaskIo, task};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{Client, ClientOptions};

use crate::simulation::ledger::{MessageId, Queue};
use crate::simulation::plan::TOPICS;
use crate::simulation::pops::Popped;
use crate::simulation::wire;

const BROKER: &str = "10.0.0.1:10911";
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
const GROUP: &str = "mortals";
const TOPIC: &str = TOPICS[0].0;
const QUEUES: i32 = TOPICS[0].1;
const RETRY_TOPIC: &str = "%RETRY%mortals_orders";
/// Consumers at a time.
const CONSUMERS: usize = 8;
/// Messages of a pop.
const POP_MAX: i64 = 32;
/// Of every delivery.
const INVISIBLE: Duration = Duration::from_secs(2);
/// How long the broker may hold a pop.
const POLL: Duration = Duration::from_secs(1);
/// Longest time between two kills.
const KILL_WITHIN: Duration = Duration::from_millis(20);
/// Messages of one send, which is a batch.
const SEND_BATCH: u64 = 100;
/// When nothing comes for so long, nothing is in flight any more.
const QUIET: Duration = Duration::from_secs(6);
/// Simulated time within which all of it must be over.
const LIMIT: Duration = Duration::from_secs(3_600);

/// What became of one message.
#[derive(Clone, Debug, Default)]
struct Fate {
    /// Deliveries that reached a consumer.
    heard: u32,
    /// Vain deliveries before the newest of those.
    vain: u32,
    /// It must not come again before, broker's clock, ms.
    until: i64,
    /// An acknowledgement was sent.
    acknowledging: bool,
    /// It was answered, in time.
    acknowledged: bool,
}

/// What came of it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sent, and acknowledged in the end.
    pub messages: u64,
    /// Consumers killed.
    pub kills: u64,
    /// Times that a message came again.
    pub again: u64,
    /// Deliveries that no consumer lived to see.
    pub unseen: u64,
    /// Acknowledgements that took effect although nobody lived to see the answer.
    pub unanswered: u64,
    /// Until the last one was acknowledged, simulated.
    pub took: Duration,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages popped and acknowledged in {:.1} simulated s, {} consumers killed, {} deliveries came again, {} were \
             never seen, {} acknowledgements counted without an answer",
            self.messages,
            self.took.as_secs_f64(),
            self.kills,
            self.again,
            self.unseen,
            self.unanswered
        )
    }
}

/// Of all messages, by number.
#[derive(Debug)]
struct Book {
    fates: Vec<Fate>,
    /// Without an acknowledgement under way.
    left: usize,
    newest_delivery: Monotonic,
    violation: Option<String>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Book>>);

impl Shared {
    /// Never held over an `await`.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no holder panicked")
    }
}

impl Book {
    fn new(messages: u64) -> Self {
        let count = usize::try_from(messages).expect("64 bits");
        let fates = vec![Fate::default(); count];
        Self { fates, left: count, newest_delivery: Monotonic(0), violation: None }
    }

    /// Keeps the first.
    fn violation(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn delivered(&mut self, popped: &Popped, now: Monotonic) {
        self.newest_delivery = now;
        let vain = popped.reconsumed.unsigned_abs();
        let Some(fate) = self.fates.get_mut(popped.id.0 as usize) else {
            return self.violation(format!("nobody sent {popped:?}"));
        };
        let wrong = if fate.acknowledged {
            Some("acknowledged before")
        } else if fate.heard > 0 && vain <= fate.vain {
            Some("given out before")
        } else if popped.pop_time < fate.until {
            Some("too early")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let what = format!("{wrong}: {popped:?} after {fate:?}");
            return self.violation(what);
        }
        fate.heard += 1;
        fate.vain = vain;
        fate.until = popped.pop_time + popped.invisible;
    }

    fn acknowledging(&mut self, popped: &Popped) {
        let fate = &mut self.fates[popped.id.0 as usize];
        self.left -= usize::from(!fate.acknowledging);
        fate.acknowledging = true;
    }

    /// Answered with success at `now_ms`.
    fn acknowledged(&mut self, popped: &Popped, now_ms: i64) {
        let fate = &mut self.fates[popped.id.0 as usize];
        fate.acknowledged |= now_ms < fate.until;
    }

    fn totals(&self, kills: u64, took: Duration) -> Totals {
        let again = self.fates.iter().map(|fate| u64::from(fate.vain)).sum();
        let unseen = self.fates.iter().map(|fate| u64::from(fate.vain + 1 - fate.heard)).sum();
        let unanswered = self.fates.iter().filter(|fate| !fate.acknowledged).count() as u64;
        Totals { messages: self.fates.len() as u64, kills, again, unseen, unanswered, took }
    }
}

/// Runs it with so many messages.
///
/// # Errors
/// What the broker did wrong.
pub fn run(seed: u64, messages: u64) -> Result<Totals, String> {
    let mut world = World::new(seed, SimOptions::default());
    let broker_host = world.add_host([10, 0, 0, 1].into());
    let client_host = world.add_host([10, 0, 0, 2].into());
    world.start(broker_host, Broker::process(broker_config()));
    let shared = Shared(Arc::new(Mutex::new(Book::new(messages))));
    script(&mut world, client_host, prepare);
    let sends = messages;
    let producer = world.start(client_host, task::process("producer", move |io| produce(io, sends)));
    let mut consumers: Vec<ProcessId> =
        (0..CONSUMERS).map(|_| world.start(client_host, consumer(&shared))).collect();

    let began = world.now();
    let mut kills = 0;
    while shared.book().left > 0 {
        let pause = world.random().below(KILL_WITHIN.as_nanos() as u64);
        world.run_for(Duration::from_nanos(pause));
        stop_if_wrong(&shared)?;
        let victim = world.random().index(CONSUMERS);
        world.kill(consumers[victim]);
        consumers[victim] = world.start(client_host, consumer(&shared));
        kills += 1;
        if world.now().since(began) > LIMIT {
            return Err(format!("{} messages were not acknowledged within {LIMIT:?}", shared.book().left));
        }
    }
    let took = world.now().since(began);
    // Whose acknowledgement did not arrive comes again.
    while world.now().since(shared.book().newest_delivery) < QUIET {
        world.run_for(Duration::from_millis(100));
        stop_if_wrong(&shared)?;
    }
    world.kill(producer);
    for (topic, queues) in [(TOPIC, QUEUES), (RETRY_TOPIC, 1)] {
        let places = script(&mut world, client_host, move |io| where_the_group_stands(io, topic, queues));
        if let Some((queue, (stands, end))) = (0..).zip(places).find(|(_, (stands, end))| stands != end) {
            return Err(format!(
                "the group stands at {stands} in queue {queue} of {topic}, which ends at {end}"
            ));
        }
    }
    Ok(shared.book().totals(kills, took))
}

fn stop_if_wrong(shared: &Shared) -> Result<(), String> {
    shared.book().violation.take().map_or(Ok(()), Err)
}

fn broker_config() -> BrokerConfig {
    let text = "shards=3\npinShards=false\nbrokerName=broker-a\nbrokerIP1=10.0.0.1\nlistenPort=10911\nnamesrvAddr=\n\
                storePathRootDir=/store\nmappedFileSizeCommitLog=67108864\n";
    BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect("a valid configuration").0
}

fn broker() -> SocketAddr {
    BROKER.parse().expect("an address")
}

/// Runs a program to its end; gives what it gives.
fn script<T: Send + 'static, F: Future<Output = T> + 'static>(
    world: &mut World,
    host: HostId,
    program: impl FnOnce(TaskIo) -> F + Send + 'static,
) -> T {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    world.start(
        host,
        task::process("script", move |io| async move {
            let given = program(io).await;
            *place.lock().expect("one thread") = Some(given);
        }),
    );
    let is_there = world.run_until(LIMIT, |_| result.lock().expect("one thread").is_some());
    assert!(is_there, "a script hangs");
    result.lock().expect("one thread").take().expect("just seen")
}

/// Makes the topic, as soon as the broker serves.
async fn prepare(io: TaskIo) {
    let client = Client::new(io.clone(), ClientOptions::default());
    loop {
        let made = client.call(broker(), &wire::create_topic(TOPIC, QUEUES), CALL_TIMEOUT).await;
        if made.is_ok_and(|answer| answer.code() == response::SUCCESS) {
            return;
        }
        io.sleep(Duration::from_millis(100)).await;
    }
}

async fn produce(io: TaskIo, messages: u64) {
    let client = Client::new(io.clone(), ClientOptions::default());
    for first in (0..messages).step_by(SEND_BATCH as usize) {
        let ids: Vec<_> = (first..messages.min(first + SEND_BATCH)).map(MessageId).collect();
        let queue = Queue { topic: 0, id: (io.random() % QUEUES.unsigned_abs() as u64) as i32 };
        // The broker refuses while it has no room, and stores nothing then.
        while !client
            .call(broker(), &wire::send_batch(queue, &ids, 0, io.wall_ms()), CALL_TIMEOUT)
            .await
            .is_ok_and(|answer| answer.code() == response::SUCCESS)
        {
            io.sleep(Duration::from_millis(5)).await;
        }
    }
}

fn consumer(shared: &Shared) -> ProcessSpec<()> {
    let shared = shared.clone();
    task::process("consumer", move |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        let pop = wire::pop(TOPIC, GROUP, POP_MAX, INVISIBLE, POLL);
        loop {
            let Ok(answer) = client.call(broker(), &pop, POLL + CALL_TIMEOUT).await else { continue };
            let popped = match answer.code() {
                response::SUCCESS => wire::popped(&answer, TOPIC, GROUP),
                response::POLLING_TIMEOUT => continue,
                code => Err(format!("a pop was refused with code {code}: {}", answer.remark())),
            };
            let popped = match popped {
                Ok(popped) => popped,
                Err(what) => return shared.book().violation(what),
            };
            popped.iter().for_each(|popped| shared.book().delivered(popped, io.now()));
            let at_once = if io.random().is_multiple_of(8) { 1 } else { popped.len() };
            for part in popped.chunks(at_once) {
                acknowledge(&io, &client, &shared, part).await;
            }
        }
    })
}

async fn acknowledge(io: &TaskIo, client: &Client, shared: &Shared, part: &[Popped]) {
    let request = match part {
        [one] => wire::about_popped(request::ACK_MESSAGE, one, GROUP),
        many => wire::batch_ack(many, GROUP),
    };
    part.iter().for_each(|popped| shared.book().acknowledging(popped));
    match client.call(broker(), &request, CALL_TIMEOUT).await {
        Ok(answer) if answer.code() == response::SUCCESS => {
            let now_ms = io.wall_ms().cast_signed();
            part.iter().for_each(|popped| shared.book().acknowledged(popped, now_ms));
        }
        other => shared.book().violation(format!("an acknowledgement was answered with {other:?}")),
    }
}

/// Committed offset and end of every queue.
async fn where_the_group_stands(io: TaskIo, topic: &'static str, queues: i32) -> Vec<(i64, i64)> {
    let client = Client::new(io, ClientOptions::default());
    let mut places = Vec::new();
    for queue in 0..queues {
        let mut place = [0; 2];
        for (code, offset) in
            [request::QUERY_CONSUMER_OFFSET, request::GET_MAX_OFFSET].into_iter().zip(&mut place)
        {
            let ask = wire::about_queue_of(code, topic, queue, GROUP);
            let answer = client.call(broker(), &ask, CALL_TIMEOUT).await.expect("answered");
            *offset = wire::number(&answer, "offset").expect("an offset");
        }
        places.push((place[0], place[1]));
    }
    places
}
