//! Sockets on the kernel driver, with plain blocking sockets as peers.
#![allow(clippy::disallowed_methods, reason = "the peers are ordinary threads with ordinary sockets")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmq_reactor::uring::Options;
use ringmq_reactor::{AcceptTo, CloseCause, CloseMode, Context, Event, ShardId, Token};
use support::{PATIENCE, Script, channel, expect, finish, launch, launch_with};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LISTEN: Token = Token::new(1, 1);

/// Listens on a free port and reports it.
fn listen<M: Send + 'static>(io: &mut dyn Context<M>, accept: AcceptTo, port: &Sender<SocketAddr>) {
    let listener = io.listen(ANY_PORT, accept, LISTEN).expect("a free port");
    port.send(io.local_address(listener).expect("it is bound")).expect("the test listens");
}

fn echo(port: Sender<SocketAddr>) -> Script<()> {
    Script::new(
        move |io| listen(io, AcceptTo::Here, &port),
        |io, event| {
            if let Event::Received { connection, bytes } = event
                && let Some(outbox) = io.outbox(connection)
            {
                outbox.tail().extend_from_slice(bytes);
            }
        },
    )
}

fn client(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Bytes that differ everywhere, so that a swap or a loss shows.
fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn many_connections_get_their_own_bytes_back() {
    let (port, ports) = channel();
    let process = launch(vec![echo(port)]);
    let address = expect(&ports);
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut streams: Vec<_> = (0..25).map(|_| client(address)).collect();
                for round in 0..20 {
                    for (n, stream) in streams.iter_mut().enumerate() {
                        let sent = pattern(thread * 1000 + n as u64 * 31 + round, 1 + (n * 97) % 3000);
                        stream.write_all(&sent).expect("send");
                        let mut got = vec![0; sent.len()];
                        stream.read_exact(&mut got).expect("receive");
                        assert!(got == sent, "thread {thread} connection {n} round {round}");
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("client"));
    assert_eq!(process.handle().total().accepted, 200);
    finish(process);
}

/// What a peer asks for with one byte, and the service's answer.
const PARTS: usize = 700;
const PART_BYTES: usize = 40_000;

/// 28 MB in small copies and large slices, more than any socket buffer and than one vectored send, to a peer that reads slowly.
#[test]
fn large_sends_arrive_whole_and_in_order() {
    let (port, ports) = channel();
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        |io, event| {
            let Event::Received { connection, .. } = event else { return };
            for part in 0..PARTS {
                let bytes = pattern(part as u64, PART_BYTES);
                let outbox = io.outbox(connection).expect("an open connection");
                outbox.tail().extend_from_slice(&bytes[..100]);
                outbox.push(Bytes::from(bytes).slice(100..));
            }
            assert!(io.unsent_bytes(connection) >= PARTS * PART_BYTES);
        },
    );
    let process = launch(vec![script]);
    let mut stream = client(expect(&ports));
    stream.write_all(b"x").expect("ask");
    let mut got = vec![0; PART_BYTES];
    for part in 0..PARTS {
        if part % 100 == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        stream.read_exact(&mut got).expect("all of it");
        assert!(got == pattern(part as u64, PART_BYTES), "part {part}");
    }
    let stats = process.handle().total();
    assert_eq!(stats.sent_bytes, (PARTS * PART_BYTES) as u64);
    finish(process);
}

/// 64 MB into few small buffers, on several connections at once: receives starve and are armed again.
#[test]
fn receives_go_on_after_the_buffers_ran_out() {
    const BYTES: usize = 8 << 20;
    let (port, ports) = channel();
    let (report, reports) = channel();
    let mut open = std::collections::BTreeMap::new();
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |_, event| match event {
            Event::Received { connection, bytes } => {
                open.entry(connection).or_insert_with(Vec::new).extend_from_slice(bytes);
            }
            Event::Closed { connection, .. } => {
                report.send(open.remove(&connection).expect("bytes came")).expect("the test listens");
            }
            _ => {}
        },
    );
    let options = Options { receive_buffers: 4, receive_buffer_bytes: 4096, ..Options::default() };
    let process = launch_with(vec![script], options);
    let address = expect(&ports);
    let senders: Vec<_> = (0..8_u64)
        .map(|n| std::thread::spawn(move || client(address).write_all(&pattern(n, BYTES)).expect("send")))
        .collect();
    let mut got: Vec<Vec<u8>> = (0..8).map(|_| expect(&reports)).collect();
    senders.into_iter().for_each(|sender| sender.join().expect("sender"));
    let mut sent: Vec<Vec<u8>> = (0..8).map(|n| pattern(n, BYTES)).collect();
    got.sort();
    sent.sort();
    assert!(got == sent, "every stream is whole");
    assert!(process.handle().total().receive_starved > 0, "the test is to starve receives");
    finish(process);
}

/// Says "bye" and closes in `mode` at the first byte; reports causes and whether the id is dead.
fn closer(
    mode: CloseMode,
    bye: usize,
    port: Sender<SocketAddr>,
    report: Sender<(CloseCause, bool)>,
) -> Script<()> {
    Script::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |io, event| match event {
            Event::Received { connection, .. } => {
                io.outbox(connection).expect("an open connection").push(Bytes::from(vec![b'b'; bye]));
                io.close(connection, mode);
                assert!(io.outbox(connection).is_none(), "nothing more can be said");
                io.close(connection, CloseMode::AfterFlush);
            }
            Event::Closed { connection, cause } => {
                let dead = io.outbox(connection).is_none() && io.unsent_bytes(connection) == 0;
                io.close(connection, CloseMode::Now);
                report.send((cause, dead)).expect("the test listens");
            }
            _ => {}
        },
    )
}

/// The peer keeps sending while it is being told goodbye; without lingering, a reset would destroy the answer.
#[test]
fn close_after_flush_delivers_everything_first() {
    const BYE: usize = 9 << 20;
    let (port, ports) = channel();
    let (report, reports) = channel();
    let process = launch(vec![closer(CloseMode::AfterFlush, BYE, port, report)]);
    let mut stream = client(expect(&ports));
    stream.write_all(b"x").expect("ask");
    let mut writer = stream.try_clone().expect("a second handle");
    let noise = std::thread::spawn(move || {
        for _ in 0..50 {
            if writer.write_all(&[0; 1000]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    std::thread::sleep(Duration::from_millis(30));
    let mut got = vec![0; BYE];
    stream.read_exact(&mut got).expect("all of the answer");
    assert_eq!(stream.read(&mut [0; 10]).expect("then the end, not a reset"), 0);
    noise.join().expect("writer");
    drop(stream);
    let (cause, dead) = expect(&reports);
    assert!(matches!(cause, CloseCause::Local) && dead, "{cause:?}");
    finish(process);
}

#[test]
fn close_after_flush_gives_up_on_a_peer_that_does_not_read() {
    let (port, ports) = channel();
    let (report, reports) = channel();
    let process = launch(vec![closer(CloseMode::AfterFlush, 64 << 20, port, report)]);
    let mut stream = client(expect(&ports));
    stream.write_all(b"x").expect("ask");
    let asked = Instant::now();
    let (cause, dead) = expect(&reports);
    assert!(matches!(cause, CloseCause::Local) && dead, "{cause:?}");
    let took = asked.elapsed();
    assert!(took > Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
    finish(process);
}

#[test]
fn close_now_drops_what_is_unsent() {
    const BYE: usize = 64 << 20;
    let (port, ports) = channel();
    let (report, reports) = channel();
    let process = launch(vec![closer(CloseMode::Now, BYE, port, report)]);
    let mut stream = client(expect(&ports));
    stream.write_all(b"x").expect("ask");
    let (cause, dead) = expect(&reports);
    assert!(matches!(cause, CloseCause::Local) && dead, "{cause:?}");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() < BYE, "{} bytes", got.len());
    finish(process);
}

/// Reports how each connection ended, and whether slot and generation were used before.
fn observer(
    port: Sender<SocketAddr>,
    report: Sender<(ringmq_reactor::ConnectionId, CloseCause)>,
) -> Script<()> {
    Script::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |io, event| match event {
            Event::Accepted { connection, .. } => {
                // A send that cannot finish is in flight when the peer goes.
                io.outbox(connection).expect("open").push(Bytes::from(vec![1; 32 << 20]));
            }
            Event::Closed { connection, cause } => {
                report.send((connection, cause)).expect("the test listens")
            }
            _ => {}
        },
    )
}

#[test]
fn a_reset_by_the_peer_is_told_with_its_error() {
    let (port, ports) = channel();
    let (report, reports) = channel();
    let process = launch(vec![observer(port, report)]);
    let mut stream = client(expect(&ports));
    stream.read_exact(&mut [0]).expect("the connection is known to the service");
    // Closing without lingering resets.
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
    let (_, cause) = expect(&reports);
    let CloseCause::Failed(error) = cause else { panic!("{cause:?}") };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    finish(process);
}

#[test]
fn a_peer_that_ends_its_stream_is_told_as_such_and_its_slot_is_reused_under_a_new_generation() {
    let (port, ports) = channel();
    let (report, reports) = channel();
    let process = launch(vec![observer(port, report)]);
    let address = expect(&ports);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let stream = client(address);
        stream.shutdown(std::net::Shutdown::Write).expect("half close");
        let (id, cause) = expect(&reports);
        assert!(matches!(cause, CloseCause::Peer), "{cause:?}");
        ids.push(id);
    }
    assert!(
        ids.windows(2).all(|pair| pair[0].index == pair[1].index && pair[0].generation < pair[1].generation)
    );
    finish(process);
}

#[test]
fn a_stale_id_reaches_nobody() {
    let (port, ports) = channel();
    let (report, reports) = channel();
    let mut first = None;
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |io, event| match event {
            Event::Accepted { connection, .. } => {
                let Some(old) = first.replace(connection) else { return };
                assert_eq!(old.index, connection.index, "the slot is used again");
                assert!(io.outbox(old).is_none());
                io.close(old, CloseMode::Now);
                io.set_receiving(old, false);
                io.outbox(connection).expect("the new one is untouched").tail().extend_from_slice(b"new");
            }
            Event::Closed { .. } => report.send(()).expect("the test listens"),
            _ => {}
        },
    );
    let process = launch(vec![script]);
    let address = expect(&ports);
    drop(client(address));
    expect(&reports);
    let mut got = [0; 3];
    client(address).read_exact(&mut got).expect("the new connection lives");
    assert_eq!(&got, b"new");
    finish(process);
}

#[test]
fn connections_are_dealt_out_in_turn() {
    let (port, ports) = channel();
    let scripts = (0..3_u16)
        .map(|me| {
            let port = port.clone();
            Script::<()>::new(
                move |io| {
                    if me == 0 {
                        let shards = vec![ShardId(1), ShardId(2), ShardId(0)];
                        listen(io, AcceptTo::RoundRobin(shards), &port);
                    }
                },
                move |io, event| {
                    if let Event::Accepted { connection, token, local, peer, .. } = event {
                        assert_eq!(token, LISTEN);
                        assert!(local.port() != 0 && peer.port() != 0 && local != peer);
                        io.outbox(connection).expect("open").tail().extend_from_slice(&[me as u8]);
                    }
                },
            )
        })
        .collect();
    let process = launch(scripts);
    let address = expect(&ports);
    let mut counts = [0; 3];
    let mut streams = Vec::new();
    for _ in 0..30 {
        let mut stream = client(address);
        let mut shard = [0];
        stream.read_exact(&mut shard).expect("a shard answers");
        counts[usize::from(shard[0])] += 1;
        streams.push(stream);
    }
    assert_eq!(counts, [10, 10, 10]);
    finish(process);
}

#[test]
fn a_slow_reader_is_told_drained_once_it_has_read() {
    const FILL: usize = 24 << 20;
    let (port, ports) = channel();
    let (report, reports) = channel();
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |io, event| match event {
            Event::Accepted { connection, .. } => {
                io.outbox(connection).expect("open").push(Bytes::from(vec![5; FILL]));
            }
            Event::Drained { connection } => {
                report.send(io.unsent_bytes(connection)).expect("the test listens");
            }
            _ => {}
        },
    );
    let process = launch(vec![script]);
    let mut stream = client(expect(&ports));
    assert!(reports.recv_timeout(Duration::from_millis(200)).is_err(), "nobody has read");
    let mut got = vec![0; FILL];
    stream.read_exact(&mut got).expect("all of it");
    assert!(expect(&reports) <= ringmq_reactor::outbox::OUTBOX_LOW_BYTES);
    assert!(reports.recv_timeout(Duration::from_millis(100)).is_err(), "told once");
    finish(process);
}

/// While receiving is off the peer is held by TCP; switched on again, every byte arrives.
#[test]
fn set_receiving_holds_the_peer_and_lets_it_go() {
    const BYTES: usize = 32 << 20;
    let (port, ports) = channel();
    let (report, reports) = channel();
    let mut got = 0;
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        move |io, event| match event {
            Event::Accepted { connection, .. } => {
                io.set_receiving(connection, false);
                io.set_receiving(connection, true);
                io.timer(io.now() + Duration::from_millis(600), Token::new(0, u64::from(connection.index)));
            }
            Event::Received { connection, bytes } => {
                if got == 0 {
                    io.set_receiving(connection, false);
                }
                got += bytes.len();
                if got >= BYTES {
                    report.send(got).expect("the test listens");
                }
            }
            Event::Timer { token } => {
                report.send(got).expect("the test listens");
                let connection = ringmq_reactor::ConnectionId { index: token.value() as u32, generation: 0 };
                io.set_receiving(connection, true);
            }
            _ => {}
        },
    );
    let process = launch(vec![script]);
    let mut stream = client(expect(&ports));
    let sender = std::thread::spawn(move || {
        stream.write_all(&vec![9; BYTES]).expect("send");
        stream
    });
    let held = expect(&reports);
    assert!(held > 0 && held < BYTES / 2, "{held} bytes while receiving was off");
    assert_eq!(expect(&reports), BYTES);
    drop(sender.join().expect("sender"));
    finish(process);
}

/// Connects to `to` and reports what came of it; sends "hi" when connected.
fn connector(to: SocketAddr, report: Sender<std::io::Result<()>>) -> Script<()> {
    Script::new(
        move |io| io.connect(to, Token::new(4, 5)),
        move |io, event| {
            if let Event::Connected { token, result } = event {
                assert_eq!(token, Token::new(4, 5));
                let result = result.map(|connection| {
                    io.outbox(connection).expect("open").tail().extend_from_slice(b"hi");
                });
                report.send(result).expect("the test listens");
            }
        },
    )
}

#[test]
fn connect_gives_a_connection() {
    let peer = TcpListener::bind(ANY_PORT).expect("a listener");
    let (report, reports) = channel();
    let process = launch(vec![connector(peer.local_addr().expect("bound"), report)]);
    expect(&reports).expect("connected");
    let (mut stream, _) = peer.accept().expect("accept");
    let mut got = [0; 2];
    stream.read_exact(&mut got).expect("the greeting");
    assert_eq!(&got, b"hi");
    finish(process);
}

#[test]
fn a_refused_connect_names_the_address() {
    let port = TcpListener::bind(ANY_PORT).expect("a listener").local_addr().expect("bound");
    let (report, reports) = channel();
    let process = launch(vec![connector(port, report)]);
    let error = expect(&reports).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    finish(process);
}

#[test]
fn a_connect_without_an_answer_fails_after_three_seconds() {
    // A full backlog drops further connection requests.
    let peer = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    peer.bind(&ANY_PORT.into()).expect("bind");
    peer.listen(0).expect("listen");
    let address = peer.local_addr().expect("bound").as_socket().expect("an address");
    let _first = TcpStream::connect(address).expect("fills the backlog");
    let (report, reports) = channel();
    let asked = Instant::now();
    let process = launch(vec![connector(address, report)]);
    let error = expect(&reports).expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
    finish(process);
}

#[test]
fn listening_twice_on_a_port_names_it() {
    let (report, reports) = channel();
    let script = Script::<()>::new(
        move |io| {
            let first = io.listen(ANY_PORT, AcceptTo::Here, LISTEN).expect("a free port");
            let address = io.local_address(first).expect("bound");
            let error = io.listen(address, AcceptTo::Here, LISTEN).expect_err("taken");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            let unknown = AcceptTo::RoundRobin(vec![ShardId(9)]);
            assert_eq!(
                io.listen(ANY_PORT, unknown, LISTEN).expect_err("no shard 9").kind(),
                ErrorKind::InvalidInput
            );
            report.send((error.kind(), address)).expect("the test listens");
            io.close_listener(first);
            assert_eq!(io.local_address(first), None);
        },
        |_, _| {},
    );
    let process = launch(vec![script]);
    let (kind, address) = expect(&reports);
    assert_eq!(kind, ErrorKind::AddrInUse);
    let refused = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(address).is_err()
    });
    assert!(refused, "the listener is closed");
    finish(process);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let (port, ports) = channel();
    let options = Options { connections_max: 2, ..Options::default() };
    let process = launch_with(vec![echo(port)], options);
    let address = expect(&ports);
    let mut kept: Vec<_> = (0..2).map(|_| client(address)).collect();
    for stream in &mut kept {
        stream.write_all(b"x").expect("send");
        stream.read_exact(&mut [0]).expect("served");
    }
    assert_eq!(client(address).read(&mut [0; 8]).unwrap_or(0), 0, "the third is closed");
    drop(kept.pop());
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let mut stream = client(address);
        stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
    });
    assert!(served, "there is room again");
    finish(process);
}

/// Replies that are in the outbox when the service exits are sent.
#[test]
fn exit_sends_what_was_promised() {
    const LAST: usize = 3 << 20;
    let (port, ports) = channel();
    let script = Script::<()>::new(
        move |io| listen(io, AcceptTo::Here, &port),
        |io, event| {
            if let Event::Received { connection, .. } = event {
                io.outbox(connection).expect("open").push(Bytes::from(vec![3; LAST]));
                io.exit();
            }
        },
    );
    let process = launch(vec![script]);
    let mut stream = client(expect(&ports));
    stream.write_all(b"x").expect("ask");
    let mut got = vec![0; LAST];
    stream.read_exact(&mut got).expect("the last answer");
    process.wait().expect("a good end");
}

/// What shard 0 mails before it answers a peer is seen by shard 1 before anything that peer does next, even when the
/// mailbox is too small for it.
fn mail_is_causal(mailbox_messages: usize) {
    const ROUNDS: u64 = 2000;
    let (port, ports) = channel();
    let (other_port, other_ports) = channel();
    let mut round = 0_u64;
    let first = Script::new(
        move |io: &mut dyn Context<u64>| listen(io, AcceptTo::Here, &port),
        move |io, event| {
            if let Event::Received { connection, .. } = event {
                round += 1;
                // Padding takes the room, the last message tells.
                for _ in 0..5 {
                    io.mail(ShardId(1), 0);
                }
                io.mail(ShardId(1), round);
                io.outbox(connection).expect("open").tail().extend_from_slice(&round.to_le_bytes());
            }
        },
    );
    let mut told = 0_u64;
    let second = Script::new(
        move |io: &mut dyn Context<u64>| listen(io, AcceptTo::Here, &other_port),
        move |io, event| match event {
            Event::Mail { message, .. } => told = told.max(message),
            Event::Received { connection, .. } => {
                io.outbox(connection).expect("open").tail().extend_from_slice(&told.to_le_bytes());
            }
            _ => {}
        },
    );
    let process = launch_with(vec![first, second], Options { mailbox_messages, ..Options::default() });
    let (mut one, mut two) = (client(expect(&ports)), client(expect(&other_ports)));
    let mut answer = [0; 8];
    for round in 1..=ROUNDS {
        one.write_all(b"x").expect("ask");
        one.read_exact(&mut answer).expect("answer");
        assert_eq!(u64::from_le_bytes(answer), round);
        two.write_all(b"x").expect("ask");
        two.read_exact(&mut answer).expect("answer");
        assert_eq!(u64::from_le_bytes(answer), round, "shard 1 has not seen the mail of round {round}");
    }
    finish(process);
}

#[test]
fn mail_before_an_answer_is_seen_before_what_the_answer_causes() {
    mail_is_causal(1024);
}

#[test]
fn mail_that_waits_for_room_holds_back_the_answer() {
    mail_is_causal(2);
}
