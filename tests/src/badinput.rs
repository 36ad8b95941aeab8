//! What the tests of bad input share: whom they talk to, and a well-behaved neighbour that must not notice anything.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor: talks to real processes")]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::{Server, fresh_folder, remove_folder, unused_broker_port};
use crate::wire::{Connection, Pull, Send, now_ms};

/// The broker under test: our own process, or any other at the address in `RINGMQ_BADINPUT_BROKER`, such as Apache
/// RocketMQ's to learn the right answers.
#[derive(Debug)]
pub struct Target {
    server: Option<(Server, PathBuf)>,
    address: SocketAddr,
}

impl Target {
    /// Starts the broker, or takes the address from the environment.
    ///
    /// # Panics
    /// It does not start, or the address is none.
    pub fn broker(name: &str) -> Self {
        if let Ok(text) = std::env::var("RINGMQ_BADINPUT_BROKER") {
            let address = text.parse().expect("RINGMQ_BADINPUT_BROKER=address:port");
            return Target { server: None, address };
        }
        let folder = fresh_folder(name);
        let server = Server::broker(
            &folder,
            unused_broker_port(),
            &[("mapedFileSizeCommitLog", "67108864"), ("shards", "2")],
        );
        let address = server.address();
        Target { server: Some((server, folder)), address }
    }

    /// The same for a name server and `RINGMQ_BADINPUT_NAMESRV`.
    ///
    /// # Panics
    /// As [`broker`](Self::broker).
    pub fn name_server(name: &str) -> Self {
        if let Ok(text) = std::env::var("RINGMQ_BADINPUT_NAMESRV") {
            let address = text.parse().expect("RINGMQ_BADINPUT_NAMESRV=address:port");
            return Target { server: None, address };
        }
        let folder = fresh_folder(name);
        let server = Server::name_server(&folder, unused_broker_port());
        let address = server.address();
        Target { server: Some((server, folder)), address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// It does not accept any more.
    pub fn connect(&self) -> Connection {
        Connection::connect(self.address).expect("a connection to the server under test")
    }

    /// The process must have lived through everything; its folder goes when it did.
    ///
    /// # Panics
    /// It has ended.
    pub fn finish(mut self) {
        if let Some((server, folder)) = &mut self.server {
            assert!(server.is_alive(), "the server ended: {}", server.log_tail());
            server.kill();
            remove_folder(folder);
        }
    }
}

/// What became of a connection after bad bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server closed it without an answer.
    Closed,
    /// An answer with this code came; the connection is open.
    Answered(i32),
    /// Nothing within the time.
    Silent,
}

/// Sends bytes over a fresh connection and sees what comes of it within `limit`.
///
/// # Panics
/// No connection, or an answer that is no frame.
pub fn fate_of(target: &Target, bytes: &[u8], limit: Duration) -> Fate {
    let mut connection = target.connect();
    // The server may close while we still write: that is a fate, not a failure.
    let _ = connection.send_bytes(bytes);
    fate(&mut connection, limit)
}

/// What comes over this connection within `limit`.
///
/// # Panics
/// An answer that is no frame.
pub fn fate(connection: &mut Connection, limit: Duration) -> Fate {
    connection.stream().set_read_timeout(Some(limit)).expect("a time-out");
    match connection.receive() {
        Ok(Some(answer)) => Fate::Answered(answer.code),
        Ok(None) => Fate::Closed,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Fate::Silent,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Fate::Closed
            }
            _ => panic!("what came is no frame: {error}"),
        },
    }
}

/// A client that goes on sending and pulling over a connection of its own while others misbehave. Every message must be
/// acknowledged at the next offset and be pulled back whole.
#[derive(Debug)]
pub struct Bystander {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<u64, String>>>,
}

impl Bystander {
    /// Starts it; returns when its first message has gone round.
    ///
    /// # Panics
    /// Not even the first message goes round.
    pub fn start(target: &Target) -> Self {
        let mut connection = target.connect();
        let topic = format!("bystander_{}", now_ms());
        let created = connection.create_topic(&topic, 1).expect("a topic for the bystander");
        assert_eq!(created.code, 0, "{created:?}");
        round(&mut connection, &topic, 0).expect("the bystander's first message");
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut offset = 1;
            while !stopping.load(Ordering::Relaxed) {
                round(&mut connection, &topic, offset)?;
                offset += 1;
            }
            Ok(offset.unsigned_abs())
        });
        Bystander { stop, thread: Some(thread) }
    }

    /// Lets it go on so long, then ends it.
    ///
    /// # Panics
    /// It was disturbed.
    pub fn finish_after(self, time: Duration) -> u64 {
        thread::sleep(time);
        self.finish()
    }

    /// Ends it and gives the number of messages that went round.
    ///
    /// # Panics
    /// It was disturbed.
    pub fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("finished once");
        let rounds = thread
            .join()
            .expect("the bystander's thread")
            .unwrap_or_else(|what| panic!("the bystander was disturbed: {what}"));
        assert!(rounds >= 3, "the bystander got no further than {rounds} messages");
        rounds
    }
}

/// One message there and back.
fn round(connection: &mut Connection, topic: &str, offset: i64) -> Result<(), String> {
    let body = format!("message {offset} of {topic}");
    let send = Send { topic, queue_id: 0, properties: "", batch: false, body: body.as_bytes() };
    let answer = connection.call_send(&send).map_err(|error| format!("send {offset}: {error}"))?;
    if answer.code != 0 || answer.long("queueOffset") != offset {
        return Err(format!("send {offset} was answered {answer:?}"));
    }
    let pull = Pull { group: "bystanders", topic, queue_id: 0, offset, count: 1 };
    // The reference answers a send a moment before the message can be pulled.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = connection.call_pull(&pull).map_err(|error| format!("pull {offset}: {error}"))?;
        if answer.code == 0 {
            let record = ringmq_remoting::record::RecordView::parse(&answer.body)
                .map_err(|error| format!("pull {offset}: {error}"))?;
            return if record.body() == body.as_bytes() {
                Ok(())
            } else {
                Err(format!("pull {offset} gave another body"))
            };
        }
        if answer.code != ringmq_remoting::code::response::PULL_NOT_FOUND || Instant::now() > deadline {
            return Err(format!("pull {offset} was answered {answer:?}"));
        }
    }
}
