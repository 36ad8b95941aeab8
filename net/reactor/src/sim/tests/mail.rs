//! Mail between shards, and connections dealt out to them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Log, SECOND, address, log, note, taken, world};
use crate::sim::SimOptions;
use crate::{
    AcceptTo, Context, Event, Monotonic, ProcessSpec, Service, ShardId, ShardSpec, Token, sim::World, task,
};

fn process<M: Send + 'static, S: Service<M> + 'static>(
    shards: u16,
    make: impl Fn(ShardId) -> S + Send + Clone + 'static,
) -> ProcessSpec<M> {
    let spec = |shard: u16| {
        let make = make.clone();
        ShardSpec {
            name: format!("shard-{shard}"),
            cpu: None,
            service: Box::new(move |id| Box::new(make(id)) as Box<dyn Service<M>>),
        }
    };
    ProcessSpec { name: "process".to_owned(), shards: (0..shards).map(spec).collect() }
}

/// Shards 1 and 2 write numbers to shard 0, which notes them.
struct Writer {
    shard: ShardId,
    next: u64,
    seen: Log<(u16, u64)>,
}

impl Service<u64> for Writer {
    fn start(&mut self, io: &mut dyn Context<u64>) {
        if self.shard != ShardId(0) {
            io.timer(io.now(), Token::new(0, 0));
        }
    }

    fn handle(&mut self, io: &mut dyn Context<u64>, event: Event<'_, u64>) {
        match event {
            Event::Timer { .. } => {
                let before = io.mail_room(ShardId(0));
                for _ in 0..100 {
                    io.mail(ShardId(0), self.next);
                    self.next += 1;
                }
                assert_eq!(io.mail_room(ShardId(0)), before.saturating_sub(100));
                if self.next < 5000 {
                    let pause = io.random() % 1000;
                    io.timer(Monotonic(io.now().0 + pause), Token::new(0, 0));
                }
            }
            Event::Mail { from, message } => note(&self.seen, (from.0, message)),
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<u64>) {}
}

#[test]
fn mail_of_one_shard_stays_in_order_also_when_it_overflows_the_mailbox() {
    let mut world = World::new(3, SimOptions::default());
    let host = world.add_host([10, 0, 0, 1].into());
    let seen = log();
    let for_services = seen.clone();
    world.start(host, process(3, move |shard| Writer { shard, next: 0, seen: for_services.clone() }));
    world.run_for(SECOND);
    let seen = taken(&seen);
    for from in [1, 2] {
        let numbers: Vec<u64> = seen.iter().filter(|(f, _)| *f == from).map(|(_, n)| *n).collect();
        assert!(numbers.iter().copied().eq(0..5000), "from {from}: {} letters", numbers.len());
    }
    assert!(seen.windows(2).any(|pair| pair[0].0 == 2 && pair[1].0 == 1), "senders must mix");
}

/// Accepts on shard 0 for all. A number received on one shard is mailed to the other before it is answered;
/// a question (0) is answered with the last number that mail brought.
struct Causal {
    listen: Option<SocketAddr>,
    last: u8,
}

impl Service<u8> for Causal {
    fn start(&mut self, io: &mut dyn Context<u8>) {
        if let Some(listen) = self.listen {
            let to = AcceptTo::RoundRobin(vec![ShardId(0), ShardId(1)]);
            io.listen(listen, to, Token::new(1, 0)).expect("free port");
        }
    }

    fn handle(&mut self, io: &mut dyn Context<u8>, event: Event<'_, u8>) {
        match event {
            Event::Received { connection, bytes } => {
                for byte in bytes {
                    if *byte > 0 {
                        let other = ShardId(1 - io.shard().0);
                        io.mail(other, *byte);
                    }
                    let answer = if *byte > 0 { *byte } else { self.last };
                    io.outbox(connection).expect("open").tail().extend_from_slice(&[answer]);
                }
            }
            Event::Mail { message, .. } => self.last = message,
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<u8>) {}
}

#[test]
fn mail_sent_before_an_answer_is_seen_before_what_the_answer_causes() {
    for seed in 0..30 {
        let (mut world, hosts) = world(seed, 2);
        let service = |shard| Causal { listen: (shard == ShardId(0)).then_some(address(1, 1000)), last: 0 };
        world.start(hosts[0], process(2, service));
        let seen = log();
        let for_client = seen.clone();
        world.run_for(Duration::from_millis(10));
        world.start(
            hosts[1],
            task::process("client", move |io| async move {
                // Dealt out in turn: one connection each on both shards.
                let first = io.connect(address(1, 1000)).await.expect("listening");
                let second = io.connect(address(1, 1000)).await.expect("listening");
                for number in 1..=200u8 {
                    first.send(vec![number].into()).expect("open");
                    assert_eq!(first.recv().await.expect("open").expect("open")[0], number);
                    second.send(vec![0].into()).expect("open");
                    note(&for_client, (number, second.recv().await.expect("open").expect("open")[0]));
                }
            }),
        );
        world.run_for(10 * SECOND);
        let seen = taken(&seen);
        assert_eq!(seen.len(), 200);
        assert!(seen.iter().all(|(sent, known)| sent == known), "seed {seed}: {seen:?}");
    }
}
