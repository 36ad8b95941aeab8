//! The least that a broker does for a message, and nothing else: a request comes over loopback, its bytes are copied once, a direct write
//! takes it to the disk, an answer goes back. No protocol, no index. Two shards of the same reactor, one for each end.
//!
//! Flushed: one write in flight, what arrives meanwhile rides on the next, the answer follows the write. Unflushed: the answer goes at
//! once, writes follow in the background.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use ringmq_reactor::{
    AcceptTo, Block, ConnectionId, Context, Event, FileId, FileOp, FileValue, Monotonic, OpenOptions,
    PAGE_BYTES, Service, Token, WriteData,
};

use super::super::options::Limits;
use super::super::run::RunError;
use super::{FILE_BYTES, launch};

/// What a send of rmq-bench has around its body: lengths and a JSON header.
const REQUEST_OVERHEAD: usize = 350;
/// The answer to it.
const REPLY_BYTES: usize = 330;
/// What the log has around a body.
const RECORD_OVERHEAD: usize = 222;
/// The largest write.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// Unflushed, as much is gathered for one write.
const LAZY_BYTES: usize = 256 << 10;
const OPEN: Token = Token::new(0, 0);
const LISTEN: Token = Token::new(0, 1);
const WRITE: Token = Token::new(0, 2);
const CONNECT: Token = Token::new(1, 0);

/// Connections and requests in flight on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeShape {
    pub connections: usize,
    pub in_flight: usize,
}

/// Exchanges per second.
pub(super) struct Exchanged {
    pub shape: ExchangeShape,
    pub durable: bool,
    pub per_second: f64,
}

/// `CONNECTIONSxINFLIGHT`, for the command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse_exchange(text: &str) -> Result<ExchangeShape, String> {
    let (connections, in_flight) =
        text.split_once('x').ok_or("CONNECTIONSxINFLIGHT is expected, such as 16x1")?;
    let number = |text: &str| match text.parse() {
        Ok(number @ 1..=512) => Ok(number),
        Ok(other) => Err(format!("{other}: 1 to 512 are expected")),
        Err(error) => Err(format!("{text}: {error}")),
    };
    Ok(ExchangeShape { connections: number(connections)?, in_flight: number(in_flight)? })
}

/// Measures one shape.
pub(super) fn exchange(
    path: PathBuf,
    shape: ExchangeShape,
    durable: bool,
    options: &Limits,
    duration: Duration,
) -> Result<Exchanged, RunError> {
    let (address, addresses) = mpsc::channel();
    let body = options.size;
    let serve = move |_| {
        Box::new(Server {
            path,
            body,
            durable,
            address,
            file: None,
            offset: 0,
            block: None,
            log: vec![0; WRITE_BYTES_MAX],
            log_at: 0,
            partial: Vec::new(),
            waiting: Vec::new(),
            writing: Vec::new(),
            unwritten: 0,
            write_in_flight: false,
            open: 0,
        }) as Box<dyn Service<()>>
    };
    let server = launch("server", options.cpu, Box::new(serve))?;
    let address = addresses.recv().map_err(|_| RunError::Nothing)?;
    let (report, reports) = mpsc::channel();
    let load = move |_| {
        Box::new(Load {
            address,
            shape,
            request: vec![b'r'; body + REQUEST_OVERHEAD],
            warm_up: duration / 4,
            duration,
            begun: None,
            answered: 0,
            partial: Vec::new(),
            report,
        }) as Box<dyn Service<()>>
    };
    let load = launch("load", options.load_cpu, Box::new(load))?;
    load.wait()?;
    // Its peers are gone.
    server.wait()?;
    let per_second = reports.recv().map_err(|_| RunError::Nothing)?;
    Ok(Exchanged { shape, durable, per_second })
}

/// Whole messages of `size` in what has arrived on a connection so far.
fn complete(partial: &mut Vec<usize>, connection: ConnectionId, bytes: usize, size: usize) -> usize {
    let slot = connection.index as usize;
    partial.resize(partial.len().max(slot + 1), 0);
    let total = partial[slot] + bytes;
    partial[slot] = total % size;
    total / size
}

struct Server {
    path: PathBuf,
    body: usize,
    durable: bool,
    address: mpsc::Sender<SocketAddr>,
    file: Option<FileId>,
    offset: u64,
    block: Option<Block>,
    /// Where requests are copied to.
    log: Vec<u8>,
    log_at: usize,
    partial: Vec<usize>,
    /// A connection for each request that the next write takes.
    waiting: Vec<ConnectionId>,
    /// As above, for the write in flight.
    writing: Vec<ConnectionId>,
    unwritten: usize,
    write_in_flight: bool,
    open: usize,
}

impl Server {
    fn answer(io: &mut dyn Context<()>, to: &mut Vec<ConnectionId>) {
        for connection in to.drain(..) {
            if let Some(outbox) = io.outbox(connection) {
                outbox.tail().extend_from_slice(&[b'a'; REPLY_BYTES]);
            }
        }
    }

    fn start_write(&mut self, io: &mut dyn Context<()>) {
        let least = if self.durable { 1 } else { LAZY_BYTES };
        let Some(file) = self.file else { return };
        if self.write_in_flight || self.unwritten < least {
            return;
        }
        // It begins with a page that is half full, on average.
        let bytes = (self.unwritten + PAGE_BYTES / 2).next_multiple_of(PAGE_BYTES).min(WRITE_BYTES_MAX);
        if self.offset + bytes as u64 > FILE_BYTES {
            self.offset = 0;
        }
        let data = WriteData::Block(self.block.as_ref().expect("made at the start").pages(0, bytes));
        io.file(WRITE, FileOp::Write { file, offset: self.offset, data, durable: self.durable });
        self.offset += bytes as u64;
        self.unwritten = 0;
        self.write_in_flight = true;
        std::mem::swap(&mut self.waiting, &mut self.writing);
    }
}

impl Service<()> for Server {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.block = Some(io.block(WRITE_BYTES_MAX).expect("memory for one write"));
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        io.file(OPEN, FileOp::Open { path: self.path.clone(), options });
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = io.listen(any_port, AcceptTo::Here, LISTEN).expect("a free port");
        // main waits for it, or has given up
        let _ = self.address.send(io.local_address(listener).expect("just bound"));
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Accepted { .. } => self.open += 1,
            Event::Received { connection, bytes } => {
                if self.log_at + bytes.len() > self.log.len() {
                    self.log_at = 0;
                }
                self.log[self.log_at..self.log_at + bytes.len()].copy_from_slice(bytes);
                self.log_at += bytes.len();
                let request = self.body + REQUEST_OVERHEAD;
                for _ in 0..complete(&mut self.partial, connection, bytes.len(), request) {
                    self.waiting.push(connection);
                    self.unwritten += self.body + RECORD_OVERHEAD;
                }
            }
            Event::File { token: WRITE, result } => {
                self.write_in_flight = false;
                if let Err(error) = result {
                    tracing::error!(path = %self.path.display(), %error, "direct writes do not work here");
                    io.exit();
                    return;
                }
                let mut written = std::mem::take(&mut self.writing);
                self.start_write(io);
                if self.durable {
                    Self::answer(io, &mut written);
                }
            }
            Event::File { result: Ok(FileValue::Opened { file, .. }), .. } => self.file = Some(file),
            Event::Closed { .. } => {
                self.open -= 1;
                if self.open == 0 {
                    io.exit();
                }
            }
            _ => {}
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        if !self.durable {
            Self::answer(io, &mut self.waiting);
        }
        self.start_write(io);
    }
}

struct Load {
    address: SocketAddr,
    shape: ExchangeShape,
    request: Vec<u8>,
    warm_up: Duration,
    duration: Duration,
    /// Of the measured time, with the answers before it.
    begun: Option<(Monotonic, u64)>,
    answered: u64,
    partial: Vec<usize>,
    report: mpsc::Sender<f64>,
}

impl Load {
    fn send(&self, io: &mut dyn Context<()>, connection: ConnectionId, requests: usize) {
        if let Some(outbox) = io.outbox(connection) {
            for _ in 0..requests {
                outbox.tail().extend_from_slice(&self.request);
            }
        }
    }
}

impl Service<()> for Load {
    fn start(&mut self, io: &mut dyn Context<()>) {
        for _ in 0..self.shape.connections {
            io.connect(self.address, CONNECT);
        }
        io.timer(io.now() + self.warm_up, Token::new(2, 0));
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Connected { result: Ok(connection), .. } => {
                self.send(io, connection, self.shape.in_flight)
            }
            Event::Connected { result: Err(error), .. } => {
                tracing::error!(%error, "the loopback connection does not work here");
                io.exit();
            }
            Event::Received { connection, bytes } => {
                let answers = complete(&mut self.partial, connection, bytes.len(), REPLY_BYTES);
                self.answered += answers as u64;
                self.send(io, connection, answers);
            }
            Event::Timer { .. } => match self.begun {
                None => {
                    self.begun = Some((io.now(), self.answered));
                    io.timer(io.now() + self.duration, Token::new(2, 0));
                }
                Some((begun, before)) => {
                    let seconds = io.now().since(begun).as_secs_f64();
                    // main waits for the report, or has given up
                    let _ = self.report.send((self.answered - before) as f64 / seconds);
                    io.exit();
                }
            },
            _ => {}
        }
    }

    fn end_of_turn(&mut self, _io: &mut dyn Context<()>) {}
}
