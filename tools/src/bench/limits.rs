//! What this machine can do without a broker: the figures that a broker's throughput is held against.
//!
//! Disk: direct writes into a file written before, one after the other in place, with so many in flight: the store's own
//! way of writing, through the same reactor, and nothing else. Both together: [`exchange`]. Loopback: one connection, one thread on each end. Memory: one
//! thread that copies between buffers larger than the caches.

#![allow(clippy::disallowed_methods, reason = "a measurement outside any shard")]

mod exchange;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use ringmq_reactor::{
    Block, Context, Event, FileId, FileOp, FileValue, Monotonic, OpenOptions, PAGE_BYTES, ProcessSpec,
    Service, ShardId, ShardSpec, Token, WriteData, uring,
};

use super::measure::histogram;
use super::options::{Limits, WriteShape};
use super::run::{RunError, write_file};
pub use exchange::{ExchangeShape, parse_exchange};
use exchange::{Exchanged, exchange};

/// Size of the file that is written in place.
const FILE_BYTES: u64 = 256 << 20;
/// Bytes of one loopback send.
const SEND_BYTES: usize = 64 << 10;
/// Bytes of each buffer of the copy.
const COPY_BYTES: usize = 64 << 20;
const OPEN: Token = Token::new(0, 0);

struct Written {
    shape: WriteShape,
    durable: bool,
    per_second: f64,
    latency_us: Histogram<u64>,
}

/// Measures and returns the text for the terminal.
///
/// # Errors
/// The reactor, the disk or the loopback refuses; the result cannot be written.
pub fn run(options: &Limits) -> Result<String, RunError> {
    let duration = Duration::from_secs_f64(options.seconds.clamp(0.05, 3_600.0));
    let at_folder = |source| RunError::Write { path: options.folder.display().to_string(), source };
    let file = make_file(&options.folder).map_err(at_folder)?;
    let mut writes = Vec::new();
    for &shape in &options.write {
        for durable in [true, false] {
            let written = write(file.path.clone(), shape, durable, options.cpu, duration)?;
            writes.push(written);
        }
    }
    let mut exchanges = Vec::new();
    for &shape in &options.exchange {
        for durable in [true, false] {
            exchanges.push(exchange(file.path.clone(), shape, durable, options, duration)?);
        }
    }
    drop(file);
    let at_loopback = |source| RunError::Write { path: "the loopback connection".to_owned(), source };
    let loopback = loopback(duration).map_err(at_loopback)?;
    let copy = copy(duration);
    if let Some(path) = &options.json {
        write_file(path, &json(&writes, &exchanges, loopback, copy))?;
    }
    Ok(text(&writes, &exchanges, loopback, copy))
}

/// Of the same width.
fn flushed(durable: bool) -> &'static str {
    if durable { "flushed  " } else { "unflushed" }
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

fn text(writes: &[Written], exchanges: &[Exchanged], loopback: f64, copy: f64) -> String {
    let mut out = format!(
        "loopback, one connection: {:.2} GB/s\nmemory copy, one thread: {:.2} GB/s\ndirect writes into a written file:\n",
        loopback / 1e9,
        copy / 1e9
    );
    for w in writes {
        let _ = writeln!(
            out,
            "  {:>8} B x {:>3} in flight, {}: {:>8.0}/s  {:>7.1} MB/s  p50 {} us  p99 {} us",
            w.shape.bytes,
            w.shape.in_flight,
            flushed(w.durable),
            w.per_second,
            w.per_second * w.shape.bytes as f64 / 1e6,
            w.latency_us.value_at_quantile(0.5),
            w.latency_us.value_at_quantile(0.99)
        );
    }
    out += "bare exchanges, each with its part of a direct write:\n";
    for e in exchanges {
        let _ = writeln!(
            out,
            "  {:>3} connections x {:>3} in flight, {}: {:>8.0}/s",
            e.shape.connections,
            e.shape.in_flight,
            flushed(e.durable),
            e.per_second
        );
    }
    out
}

fn json(writes: &[Written], exchanges: &[Exchanged], loopback: f64, copy: f64) -> String {
    let mut out = format!(
        "{{\"loopback_bytes_per_second\":{loopback:.0},\"copy_bytes_per_second\":{copy:.0},\"writes\":["
    );
    for (index, w) in writes.iter().enumerate() {
        let _ = write!(
            out,
            "{}{{\"bytes\":{},\"in_flight\":{},\"durable\":{},\"per_second\":{:.1},\"p50_us\":{},\"p99_us\":{}}}",
            comma(index),
            w.shape.bytes,
            w.shape.in_flight,
            w.durable,
            w.per_second,
            w.latency_us.value_at_quantile(0.5),
            w.latency_us.value_at_quantile(0.99)
        );
    }
    out.push_str("],\"exchanges\":[");
    for (index, e) in exchanges.iter().enumerate() {
        let _ = write!(
            out,
            "{}{{\"connections\":{},\"in_flight\":{},\"durable\":{},\"per_second\":{:.1}}}",
            comma(index),
            e.shape.connections,
            e.shape.in_flight,
            e.durable,
            e.per_second
        );
    }
    out.push_str("]}\n");
    out
}

/// Removed when dropped.
struct Scratch {
    path: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A left-over costs space only.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Written, not only allocated, so that no later write has metadata to flush.
fn make_file(folder: &Path) -> std::io::Result<Scratch> {
    let scratch = Scratch { path: folder.join(format!("rmq-bench-limits-{}.tmp", std::process::id())) };
    let mut file = File::create(&scratch.path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    Ok(scratch)
}

type MakeService = Box<dyn FnOnce(ShardId) -> Box<dyn Service<()>> + Send>;

/// One shard, on this processor if one is named.
fn launch(name: &str, cpu: Option<usize>, service: MakeService) -> Result<uring::Process, RunError> {
    let shard = ShardSpec { name: name.to_owned(), cpu, service };
    let process = ProcessSpec { name: "limits".to_owned(), shards: vec![shard] };
    Ok(uring::launch(process, uring::Options::default())?)
}

fn write(
    path: PathBuf,
    shape: WriteShape,
    durable: bool,
    cpu: Option<usize>,
    duration: Duration,
) -> Result<Written, RunError> {
    let (report, reports) = mpsc::channel();
    let service = move |_| {
        Box::new(Writer {
            path,
            shape,
            durable,
            duration,
            file: FileId(0),
            offset: 0,
            block: None,
            begun: Monotonic(0),
            due: vec![Monotonic(0); shape.in_flight],
            under_way: 0,
            latency_us: histogram(),
            report,
        }) as Box<dyn Service<()>>
    };
    launch("writer", cpu, Box::new(service))?.wait()?;
    let (elapsed, latency_us) = reports.recv().map_err(|_| RunError::Nothing)?;
    let per_second = latency_us.len() as f64 / elapsed.as_secs_f64();
    Ok(Written { shape, durable, per_second, latency_us })
}

/// Keeps writes in flight for a while.
struct Writer {
    path: PathBuf,
    shape: WriteShape,
    durable: bool,
    duration: Duration,
    file: FileId,
    offset: u64,
    block: Option<Block>,
    begun: Monotonic,
    /// When each write in flight was started; a write's token is its place.
    due: Vec<Monotonic>,
    under_way: usize,
    latency_us: Histogram<u64>,
    report: mpsc::Sender<(Duration, Histogram<u64>)>,
}

impl Writer {
    fn write(&mut self, io: &mut dyn Context<()>, place: usize) {
        let bytes = self.shape.bytes;
        if self.offset + bytes as u64 > FILE_BYTES {
            self.offset = 0;
        }
        let data = WriteData::Block(self.block.as_ref().expect("made at the start").pages(0, bytes));
        let op = FileOp::Write { file: self.file, offset: self.offset, data, durable: self.durable };
        io.file(Token::new(1, place as u64), op);
        self.due[place] = io.now();
        self.offset += bytes as u64;
        self.under_way += 1;
    }
}

impl Service<()> for Writer {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.block = Some(io.block(self.shape.bytes).expect("memory for one write"));
        let options = OpenOptions { direct: true, ..OpenOptions::default() };
        io.file(OPEN, FileOp::Open { path: self.path.clone(), options });
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        let Event::File { token, result } = event else { return };
        match result {
            Ok(FileValue::Opened { file, .. }) => {
                self.file = file;
                self.begun = io.now();
                for place in 0..self.shape.in_flight {
                    self.write(io, place);
                }
            }
            Ok(_) => {
                let place = usize::try_from(token.value()).expect("own token");
                let latency = io.now().since(self.due[place]).as_micros();
                self.latency_us.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX).max(1));
                self.under_way -= 1;
                let elapsed = io.now().since(self.begun);
                if elapsed < self.duration {
                    self.write(io, place);
                } else if self.under_way == 0 {
                    // main waits for the report, or has given up
                    let _ = self.report.send((elapsed, self.latency_us.clone()));
                    io.exit();
                }
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "direct writes do not work here");
                io.exit();
            }
        }
    }

    fn end_of_turn(&mut self, _io: &mut dyn Context<()>) {}
}

/// Bytes per second over one loopback connection.
fn loopback(duration: Duration) -> std::io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let reading = std::thread::spawn(move || -> std::io::Result<u64> {
        let (mut buffer, mut bytes) = (vec![0; SEND_BYTES], 0);
        loop {
            match receiver.read(&mut buffer)? {
                0 => return Ok(bytes),
                read => bytes += read as u64,
            }
        }
    });
    let (chunk, begun) = (vec![b'x'; SEND_BYTES], Instant::now());
    while begun.elapsed() < duration {
        sender.write_all(&chunk)?;
    }
    drop(sender);
    let bytes = reading.join().expect("the reading thread")?;
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

/// Bytes per second that one thread copies.
fn copy(duration: Duration) -> f64 {
    let (from, mut to) = (vec![1_u8; COPY_BYTES], vec![0_u8; COPY_BYTES]);
    to.copy_from_slice(&from); // page faults before the clock runs
    let (begun, mut bytes) = (Instant::now(), 0_u64);
    while begun.elapsed() < duration {
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        bytes += COPY_BYTES as u64;
    }
    bytes as f64 / begun.elapsed().as_secs_f64()
}

/// `BYTESxINFLIGHT`, for the command line.
///
/// # Errors
/// What is wrong with it.
pub fn parse_shape(text: &str) -> Result<WriteShape, String> {
    let (bytes, in_flight) = text.split_once('x').ok_or("BYTESxINFLIGHT is expected, such as 4096x1")?;
    let bytes: usize = bytes.parse().map_err(|error| format!("{bytes}: {error}"))?;
    let in_flight: usize = in_flight.parse().map_err(|error| format!("{in_flight}: {error}"))?;
    if bytes == 0 || !bytes.is_multiple_of(PAGE_BYTES) || bytes as u64 > FILE_BYTES / 2 {
        return Err(format!("{bytes}: a multiple of {PAGE_BYTES} up to {} is expected", FILE_BYTES / 2));
    }
    if !(1..=512).contains(&in_flight) {
        return Err(format!("{in_flight}: 1 to 512 in flight are expected"));
    }
    Ok(WriteShape { bytes, in_flight })
}
