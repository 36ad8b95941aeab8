//! The work on RingMQ's reactor.

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use ringmq_reactor::uring::{self, Options};
use ringmq_reactor::{
    AcceptTo, Block, Context, Event, FileId, FileOp, FileValue, Monotonic, OpenOptions, ProcessSpec, Service,
    ShardSpec, Token, WriteData,
};

use super::append::Samples;
use super::{FILE_BYTES, REPLY_BYTES, complete_requests};

fn spec(cpu: usize, service: impl FnOnce() -> Box<dyn Service<()>> + Send + 'static) -> ProcessSpec<()> {
    let shard = ShardSpec { name: "shard".to_owned(), cpu: Some(cpu), service: Box::new(move |_| service()) };
    ProcessSpec { name: "bench".to_owned(), shards: vec![shard] }
}

struct Echo {
    port: mpsc::Sender<SocketAddr>,
    /// Bytes of an incomplete request, by connection slot.
    partial: Vec<usize>,
}

impl Service<()> for Echo {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = io.listen(address, AcceptTo::Here, Token::new(0, 0)).expect("a free port");
        self.port.send(io.local_address(listener).expect("just bound")).expect("main waits");
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Accepted { connection, .. } => {
                let slot = connection.index as usize;
                self.partial.resize(self.partial.len().max(slot + 1), 0);
                self.partial[slot] = 0;
            }
            Event::Received { connection, bytes } => {
                let complete = complete_requests(&mut self.partial[connection.index as usize], bytes.len());
                if complete > 0
                    && let Some(outbox) = io.outbox(connection)
                {
                    let tail = outbox.tail();
                    for _ in 0..complete {
                        tail.extend_from_slice(&[b'a'; REPLY_BYTES]);
                    }
                }
            }
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

/// Serves echo until the standard input ends; each line on it is answered with the reactor's counters.
///
/// # Errors
/// When the reactor does not start.
pub fn echo(cpu: usize) -> Result<(), Box<dyn std::error::Error>> {
    let (port, ports) = mpsc::channel();
    let process =
        uring::launch(spec(cpu, || Box::new(Echo { port, partial: Vec::new() })), Options::default())?;
    println!("{}", ports.recv()?);
    for line in io::stdin().lock().lines() {
        line?;
        let counters: Vec<String> =
            process.handle().total().iter().map(|(name, n)| format!("{name}={n}")).collect();
        println!("{}", counters.join(" "));
    }
    Ok(())
}

struct Append {
    path: PathBuf,
    bytes: usize,
    duration: Duration,
    file: FileId,
    offset: u64,
    block: Option<Block>,
    started: Monotonic,
    written_at: Option<std::time::Instant>,
    samples: Samples,
    report: mpsc::Sender<Samples>,
}

impl Append {
    fn write(&mut self, io: &mut dyn Context<()>) {
        if self.offset + self.bytes as u64 > FILE_BYTES {
            self.offset = 0;
        }
        let data = WriteData::Block(self.block.as_ref().expect("made in start").pages(0, self.bytes));
        self.written_at = Some(std::time::Instant::now());
        io.file(
            Token::new(0, 1),
            FileOp::Write { file: self.file, offset: self.offset, data, durable: true },
        );
        self.offset += self.bytes as u64;
    }
}

impl Service<()> for Append {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.block = Some(io.block(self.bytes).expect("memory"));
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        io.file(Token::new(0, 0), FileOp::Open { path: self.path.clone(), options });
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        let Event::File { result, .. } = event else { return };
        match result.expect("the disk works") {
            FileValue::Opened { file, .. } => {
                self.file = file;
                self.started = io.now();
                self.samples.begin();
                self.write(io);
            }
            _ => {
                self.samples.add(self.written_at.expect("a write was under way").elapsed());
                if io.now().since(self.started) < self.duration {
                    self.write(io);
                } else {
                    self.samples.end();
                    self.report.send(std::mem::take(&mut self.samples)).expect("main waits");
                    io.exit();
                }
            }
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

/// Appends for `duration`.
///
/// # Errors
/// When the reactor does not start or a write fails.
pub fn append(
    cpu: usize,
    path: PathBuf,
    bytes: usize,
    duration: Duration,
) -> Result<Samples, Box<dyn std::error::Error>> {
    let (report, reports) = mpsc::channel();
    let service = move || {
        Box::new(Append {
            path,
            bytes,
            duration,
            file: FileId(0),
            offset: 0,
            block: None,
            started: Monotonic(0),
            written_at: None,
            samples: Samples::default(),
            report,
        }) as Box<dyn Service<()>>
    };
    let process = uring::launch(spec(cpu, service), Options::default())?;
    process.wait()?;
    Ok(reports.recv()?)
}
