//! Connections: order, pieces, back-pressure, and every way to end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::{Log, SECOND, address, log, note, taken, world};
use crate::outbox::{OUTBOX_HIGH_BYTES, OUTBOX_LOW_BYTES};
use crate::sim::{ProcessState, SimOptions, World};
use crate::{
    AcceptTo, CloseCause, CloseMode, ConnectionId, Context, Event, ProcessSpec, Service, ShardSpec, Token,
    task,
};

/// Sends back what it receives.
struct Echo {
    listen: SocketAddr,
}

impl Service<()> for Echo {
    fn start(&mut self, io: &mut dyn Context<()>) {
        io.listen(self.listen, AcceptTo::Here, Token::new(1, 0)).expect("free port");
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Received { connection, bytes } => {
                if let Some(outbox) = io.outbox(connection) {
                    outbox.push(Bytes::copy_from_slice(bytes));
                }
            }
            Event::Stop => io.exit(),
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

fn single(name: &str, service: impl Service<()> + Send + 'static) -> ProcessSpec<()> {
    let shard = ShardSpec { name: name.to_owned(), cpu: None, service: Box::new(move |_| Box::new(service)) };
    ProcessSpec { name: name.to_owned(), shards: vec![shard] }
}

pub(super) fn echo_server(listen: SocketAddr) -> ProcessSpec<()> {
    single("echo", Echo { listen })
}

/// Sends numbered pieces of random length one after the other and checks what comes back.
pub(super) fn chatty_client(server: SocketAddr, rounds: u64, heard: &Log<String>) -> ProcessSpec<()> {
    let heard = heard.clone();
    task::process("client", move |io| async move {
        io.sleep(Duration::from_millis(1)).await;
        let connection = match io.connect(server).await {
            Ok(connection) => connection,
            Err(error) => return note(&heard, format!("connect: {:?}", error.kind())),
        };
        let (mut sent, mut received) = (0u64, 0u64);
        for round in 0..rounds {
            let length = io.random() % 3000 + 1;
            let piece: Vec<u8> = (sent..sent + length).map(|n| (n % 251) as u8).collect();
            sent += length;
            if let Err(error) = connection.send(piece.into()) {
                return note(&heard, format!("send: {:?}", error.kind()));
            }
            while received < sent {
                match connection.recv().await {
                    Ok(Some(bytes)) => {
                        for byte in &bytes[..] {
                            assert_eq!(u64::from(*byte), received % 251, "round {round}, byte {received}");
                            received += 1;
                        }
                    }
                    Ok(None) => return note(&heard, "closed".to_owned()),
                    Err(error) => return note(&heard, format!("recv: {:?}", error.kind())),
                }
            }
        }
        connection.close();
        note(&heard, "done".to_owned());
    })
}

/// Runs a client against the echo server, doing `harm` in between; gives what the client heard.
fn check(seed: u64, rounds: u64, harm: impl FnOnce(&mut World, &[crate::sim::HostId])) -> Vec<String> {
    let (mut world, hosts) = world(seed, 2);
    world.start(hosts[0], echo_server(address(1, 1000)));
    let heard = log();
    world.start(hosts[1], chatty_client(address(1, 1000), rounds, &heard));
    world.run_for(Duration::from_millis(5));
    harm(&mut world, &hosts);
    world.run_for(100 * SECOND);
    taken(&heard)
}

#[test]
fn bytes_arrive_in_order_in_pieces_of_any_size() {
    for seed in 0..50 {
        assert_eq!(check(seed, 200, |_, _| {}), ["done"], "seed {seed}");
    }
}

#[test]
fn a_short_cut_delays_and_a_long_one_fails() {
    for seed in 0..20 {
        let short = check(seed, 500, |world, hosts| {
            world.cut(hosts[0], hosts[1]);
            world.run_for(2 * SECOND);
            world.heal(hosts[0], hosts[1]);
        });
        assert_eq!(short, ["done"], "seed {seed}");
        // The client waits for an answer that is lost and sends nothing: it hears nothing. The server gives up.
        let answer_lost = check(seed, 500, |world, hosts| world.cut(hosts[0], hosts[1]));
        assert!(answer_lost.is_empty(), "seed {seed}: {answer_lost:?}");
        let request_lost = check(seed, 500, |world, hosts| world.cut(hosts[1], hosts[0]));
        assert!(
            request_lost.is_empty() || request_lost == ["recv: TimedOut"],
            "seed {seed}: {request_lost:?}"
        );
    }
}

#[test]
fn a_reset_is_told_and_what_was_under_way_is_lost() {
    for seed in 0..20 {
        let heard = check(seed, 500, |world, hosts| world.reset_connections(hosts[0], hosts[1]));
        assert_eq!(heard, ["recv: ConnectionReset"], "seed {seed}");
    }
}

#[test]
fn a_power_cut_is_silent_until_the_host_lives_again() {
    for seed in 0..20 {
        let gone = check(seed, 500, |world, hosts| world.power_cut(hosts[0]));
        assert!(gone.is_empty() || gone == ["recv: TimedOut"], "seed {seed}: {gone:?}");
        let back = check(seed, 5000, |world, hosts| {
            world.power_cut(hosts[0]);
            world.run_for(SECOND);
            world.power_on(hosts[0]);
        });
        assert!(back.is_empty() || back == ["recv: ConnectionReset"], "seed {seed}: {back:?}");
    }
}

#[test]
fn a_killed_server_is_noticed_and_refuses_until_it_is_back() {
    let (mut ended, mut reset) = (0, 0);
    for seed in 0..40 {
        let (mut world, hosts) = world(seed, 2);
        let server = world.start(hosts[0], echo_server(address(1, 1000)));
        let heard = log();
        world.start(hosts[1], chatty_client(address(1, 1000), 1000, &heard));
        world.run_for(Duration::from_millis(20));
        world.kill(server);
        assert_eq!(world.state(server), ProcessState::Killed);
        world.run_for(SECOND);
        match taken(&heard).as_slice() {
            [one] if one == "closed" => ended += 1,
            [one] if one == "recv: ConnectionReset" || one == "send: NotConnected" => reset += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
        world.start(hosts[1], chatty_client(address(1, 1000), 10, &heard));
        world.run_for(SECOND);
        assert_eq!(taken(&heard), ["connect: ConnectionRefused"]);
        let server = world.start(hosts[0], echo_server(address(1, 1000)));
        world.run_for(Duration::from_millis(10));
        world.start(hosts[1], chatty_client(address(1, 1000), 10, &heard));
        world.run_for(10 * SECOND);
        assert_eq!(taken(&heard), ["done"]);
        world.stop(server);
        world.run_for(SECOND);
        assert_eq!(world.state(server), ProcessState::Exited);
    }
    assert!(ended > 3 && reset > 3, "ended {ended}, reset {reset}");
}

#[test]
fn connecting_to_nobody_times_out_after_three_seconds() {
    let (mut world, hosts) = world(1, 2);
    let heard = log();
    world.start(hosts[0], chatty_client(address(9, 1000), 1, &heard));
    world.run_for(Duration::from_millis(2_900));
    assert!(taken(&heard).is_empty());
    world.run_for(Duration::from_millis(300));
    assert_eq!(taken(&heard), ["connect: TimedOut"]);
    world.partition(hosts[0], hosts[1]);
    world.start(hosts[1], echo_server(address(2, 1000)));
    world.start(hosts[0], chatty_client(address(2, 1000), 1, &heard));
    world.run_for(4 * SECOND);
    assert_eq!(taken(&heard), ["connect: TimedOut"]);
}

/// Pushes far more than a socket holds to a peer that does not read; tells what it sees.
struct Pusher {
    to: SocketAddr,
    bytes: usize,
    seen: Log<String>,
    connection: Option<ConnectionId>,
    close: Option<CloseMode>,
}

impl Service<()> for Pusher {
    fn start(&mut self, io: &mut dyn Context<()>) {
        io.timer(io.now() + Duration::from_millis(1), Token::new(2, 0));
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Timer { .. } => io.connect(self.to, Token::new(1, 0)),
            Event::Connected { result, .. } => {
                let connection = result.expect("server is there");
                self.connection = Some(connection);
                io.outbox(connection).expect("open").push(vec![1; self.bytes].into());
                if let Some(mode) = self.close {
                    io.close(connection, mode);
                    assert!(io.outbox(connection).is_none(), "closing");
                }
            }
            Event::Drained { connection } => {
                note(&self.seen, format!("drained {}", io.unsent_bytes(connection) < OUTBOX_LOW_BYTES));
            }
            Event::Closed { cause, .. } => note(&self.seen, format!("closed {cause:?}")),
            _ => {}
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        if let Some(connection) = self.connection {
            note(&self.seen, format!("unsent {}", io.unsent_bytes(connection)));
        }
    }
}

/// Reads nothing for a second, then everything.
struct Lazy {
    listen: SocketAddr,
    seen: Log<String>,
    received: usize,
    connection: Option<ConnectionId>,
}

impl Service<()> for Lazy {
    fn start(&mut self, io: &mut dyn Context<()>) {
        io.listen(self.listen, AcceptTo::Here, Token::new(1, 0)).expect("free port");
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Accepted { connection, .. } => {
                io.set_receiving(connection, false);
                self.connection = Some(connection);
                io.timer(io.now() + SECOND, Token::new(2, 0));
            }
            Event::Timer { .. } => io.set_receiving(self.connection.expect("accepted"), true),
            Event::Received { bytes, .. } => self.received += bytes.len(),
            Event::Closed { cause: CloseCause::Peer, .. } => {
                note(&self.seen, format!("got {}", self.received))
            }
            Event::Closed { cause: CloseCause::Failed(error), .. } => {
                note(&self.seen, format!("{:?} after {}", error.kind(), self.received));
            }
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

fn push_to_lazy(bytes: usize, close: Option<CloseMode>) -> (Vec<String>, Vec<String>) {
    let (mut world, hosts) = world(5, 2);
    let (sender, receiver) = (log(), log());
    let lazy = Lazy { listen: address(1, 1000), seen: receiver.clone(), received: 0, connection: None };
    world.start(hosts[0], single("lazy", lazy));
    let pusher = Pusher { to: address(1, 1000), bytes, seen: sender.clone(), connection: None, close };
    world.start(hosts[1], single("pusher", pusher));
    world.run_for(20 * SECOND);
    (taken(&sender), taken(&receiver))
}

#[test]
fn a_slow_receiver_holds_the_sender_and_drained_tells_when_it_is_over() {
    let (sender, receiver) = push_to_lazy(OUTBOX_HIGH_BYTES + (1 << 20), None);
    assert_eq!(sender.iter().filter(|s| *s == "drained true").count(), 1, "{sender:?}");
    assert!(receiver.is_empty(), "nobody closed: {receiver:?}");
    // Below the high mark nothing is told.
    let (sender, _) = push_to_lazy(OUTBOX_LOW_BYTES, None);
    assert!(sender.iter().all(|s| !s.starts_with("drained")), "{sender:?}");
}

#[test]
fn close_after_flush_sends_everything_and_close_now_only_what_the_socket_took() {
    let (sender, receiver) = push_to_lazy(2 << 20, Some(CloseMode::AfterFlush));
    assert_eq!(receiver, [format!("got {}", 2 << 20)]);
    assert!(sender.contains(&"closed Local".to_owned()), "{sender:?}");
    let (sender, receiver) = push_to_lazy(2 << 20, Some(CloseMode::Now));
    assert!(sender.contains(&"closed Local".to_owned()), "{sender:?}");
    assert_eq!(receiver, ["got 0"], "the outbox had not been handed over yet");
}

#[test]
fn ports_are_taken_once_and_ephemeral_ones_are_given() {
    struct Listener;
    impl Service<()> for Listener {
        fn start(&mut self, io: &mut dyn Context<()>) {
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            let first = io.listen(any, AcceptTo::Here, Token::new(1, 0)).expect("any port");
            let bound = io.local_address(first).expect("bound");
            assert_ne!(bound.port(), 0);
            let again = io.listen(bound, AcceptTo::Here, Token::new(1, 0)).expect_err("taken");
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
            let foreign = io.listen(address(7, 99), AcceptTo::Here, Token::new(1, 0)).expect_err("not ours");
            assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
            io.close_listener(first);
            io.listen(bound, AcceptTo::Here, Token::new(1, 0)).expect("free again");
            io.exit();
        }
        fn handle(&mut self, _: &mut dyn Context<()>, _: Event<'_, ()>) {}
        fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
    }
    let mut world = World::new(1, SimOptions::default());
    let host = world.add_host([10, 0, 0, 1].into());
    let process = world.start(host, single("listener", Listener));
    world.run_for(SECOND);
    assert_eq!(world.state(process), ProcessState::Exited);
}
