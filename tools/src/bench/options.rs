//! Command line of `rmq-bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::limits::{ExchangeShape, parse_exchange, parse_shape};
use super::template::QUEUES_MAX;

/// Load for any broker that speaks the RocketMQ remoting protocol, with honest latency histograms.
#[derive(Debug, Parser)]
#[command(name = "rmq-bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A workload.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send messages and measure how long each answer takes.
    Produce(Common),
    /// Pull messages and measure throughput and end-to-end latency.
    Consume(Common),
    /// Both at once, in one process.
    Run(Common),
    /// Measure what this machine can do without a broker: disk, loopback, memory.
    Limits(Limits),
}

/// One way to write: bytes of each write, and how many are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteShape {
    /// Bytes, whole pages.
    pub bytes: usize,
    /// Writes in flight.
    pub in_flight: usize,
}

/// Options of `limits`.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Folder on the disk to measure; needs 256 MiB.
    #[arg(long, default_value = ".")]
    pub folder: PathBuf,
    /// Direct writes to measure, BYTESxINFLIGHT.
    #[arg(long, value_parser = parse_shape, value_delimiter = ',', default_value = "4096x1,4096x16,4096x64,4096x256,65536x1,1048576x1")]
    pub write: Vec<WriteShape>,
    /// Seconds of each measurement.
    #[arg(long, short = 'd', default_value_t = 2.0)]
    pub seconds: f64,
    /// Bare exchanges to measure, CONNECTIONSxINFLIGHT: a request over loopback, a direct write, an answer.
    #[arg(long, value_parser = parse_exchange, value_delimiter = ',', default_value = "1x1,16x1,16x4,16x16")]
    pub exchange: Vec<ExchangeShape>,
    /// Bytes of a body in these exchanges.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Processor of the writing thread.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// Processor of the exchanges' clients.
    #[arg(long)]
    pub load_cpu: Option<usize>,
    /// Write the result as JSON to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// How headers are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// As Java clients send by default.
    Json,
    /// The binary form.
    Rocketmq,
}

/// Which queue a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Each queue of each topic in its turn; with `--threads 1` and as many messages as queues, each exactly once.
    Turn,
    /// By chance.
    Random,
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum From {
    /// The oldest message of each queue.
    First,
    /// What arrives from now on.
    Last,
}

/// Options of every workload.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Name server.
    #[arg(long, short = 'n', default_value = "127.0.0.1:9876")]
    pub namesrv: SocketAddr,
    /// Topic; with --topics above 1, a prefix.
    #[arg(long, short = 't', default_value = "rmq-bench")]
    pub topic: String,
    /// Number of topics.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub topics: u32,
    /// Queues per topic and broker when topics are created here.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(QUEUES_MAX)))]
    pub queues: u32,
    /// Which queue a message goes to.
    #[arg(long, value_enum, default_value_t = Order::Turn)]
    pub order: Order,
    /// Use the topics as they are instead of creating them.
    #[arg(long)]
    pub no_create: bool,
    /// Connections (per direction in `run`).
    #[arg(long, short = 'c', default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Sends in flight per connection.
    #[arg(long, short = 'f', default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub in_flight: u32,
    /// Body size in bytes; at least 16.
    #[arg(long, short = 's', default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=4_194_304))]
    pub size: u32,
    /// Messages in one batch request; 1 sends them singly.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// Offered load in messages per second (open loop: latency counts from the moment a message was due); 0 is a closed loop.
    #[arg(long, short = 'r', default_value_t = 0.0)]
    pub rate: f64,
    /// Measured seconds.
    #[arg(long, short = 'd', default_value_t = 30.0)]
    pub duration: f64,
    /// Seconds before the measurement begins.
    #[arg(long, default_value_t = 3.0)]
    pub warmup: f64,
    /// Load threads, each with its own ring and its share of the connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Pin thread k to the k-th of these processors.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Header encoding.
    #[arg(long, value_enum, default_value_t = Encoding::Json)]
    pub encoding: Encoding,
    /// Consumer group.
    #[arg(long, short = 'g', default_value = "rmq-bench-group")]
    pub group: String,
    /// Where consumers begin; `run` always begins with what arrives from now on.
    #[arg(long, value_enum, default_value_t = From::First)]
    pub from: From,
    /// Messages asked for by one pull.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub pull_batch: u32,
    /// Stop after this many messages (0: only by time).
    #[arg(long, default_value_t = 0)]
    pub count: u64,
    /// Process id of the broker on this host: its CPU time and memory are sampled over the measurement.
    #[arg(long)]
    pub broker_pid: Option<u32>,
    /// Write the result as JSON to this file.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// No line per second.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// Free text stored in the result.
    #[arg(long, default_value = "")]
    pub label: String,
}

impl Common {
    /// Names of all topics.
    #[must_use]
    pub fn topic_names(&self) -> Vec<String> {
        if self.topics == 1 {
            vec![self.topic.clone()]
        } else {
            (0..self.topics).map(|i| format!("{}-{i}", self.topic)).collect()
        }
    }

    /// Warm-up as a duration.
    #[must_use]
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup.clamp(0.0, 86_400.0))
    }

    /// Measured time as a duration.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration.clamp(0.1, 7.0 * 86_400.0))
    }
}
