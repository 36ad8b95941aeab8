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
