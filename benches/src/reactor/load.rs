//! The echo load: one thread, epoll, a fixed number of requests in flight on each connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{REPLY_BYTES, REQUEST_BYTES};

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
    /// Time before counting begins.
    pub warm_up: Duration,
    /// Time counted.
    pub measured: Duration,
}

/// What was answered while counting.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Requests.
    pub requests: u64,
    /// Time.
    pub elapsed: Duration,
}

/// Runs the load. `at_start` and `at_end` are called when counting begins and ends.
///
/// # Errors
/// Of the sockets, or if the server ends a connection.
pub fn run(
    address: SocketAddr,
    plan: Plan,
    mut at_start: impl FnMut() -> io::Result<()>,
    mut at_end: impl FnMut() -> io::Result<()>,
) -> io::Result<Answered> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let requests = vec![b'r'; REQUEST_BYTES * plan.in_flight];
    let mut connections = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        connections.push((stream, 0_usize));
    }
    // Sockets block: a read follows epoll's word that there is something, and the server reads whatever it answers.
    for (stream, _) in &mut connections {
        stream.write_all(&requests)?;
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut ready = [EpollEvent::empty(); 64];
    let mut answered = 0;
    let mut started: Option<(Instant, u64)> = None;
    let begin = Instant::now();
    loop {
        let count = epoll.wait(&mut ready, EpollTimeout::from(1000_u16))?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer for a second"));
        }
        for event in &ready[..count] {
            let (stream, partial) = &mut connections[event.data() as usize];
            let bytes = stream.read(&mut buffer)?;
            if bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            *partial += bytes;
            let complete = *partial / REPLY_BYTES;
            *partial %= REPLY_BYTES;
            answered += complete as u64;
            stream.write_all(&requests[..complete * REQUEST_BYTES])?;
        }
        let now = Instant::now();
        match started {
            None if now - begin >= plan.warm_up => {
                at_start()?;
                started = Some((Instant::now(), answered));
            }
            Some((since, before)) if now - since >= plan.measured => {
                let elapsed = since.elapsed();
                at_end()?;
                return Ok(Answered { requests: answered - before, elapsed });
            }
            _ => {}
        }
    }
}
