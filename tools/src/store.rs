//! `rmq-store`: what lies in a store, without a broker.
//!
//! Everything but `import` only reads. A store that a broker has open is refused: its end is being written, and what is
//! read there would look damaged. Formats and judgement are those of [`ringmq_store::inspect`], that is, of recovery.

mod export;
mod import;
mod metadata;
mod offsets;
mod place;
mod queues;
mod record;
mod records;
mod show;
mod topics;
mod verify;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringmq_broker::metadata::RecoverError;
use ringmq_store::OpenError;

use crate::block_on::{BlockOnError, block_on};

/// Exit status of a command that could not do its work. `verify` also gives 0 (sound), 1 (torn tail), 2 (corruption)
/// and 4 (damaged files that are made again).
pub const EXIT_FAILED: u8 = 3;

/// Explains, checks and exports a RingMQ store without a broker.
#[derive(Debug, Parser)]
#[command(name = "rmq-store", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Command.
    #[command(subcommand)]
    pub command: Command,
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreDir {
    /// The broker's storePathRootDir, one shard's folder in it, or the --data folder of `ringmq`.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// Which topic.
#[derive(Debug, Clone, Args)]
struct OfTopic {
    /// Of this topic only.
    #[arg(long = "topic", value_name = "NAME")]
    name: Option<String>,
}

impl OfTopic {
    fn takes(&self, topic: &str) -> bool {
        self.name.as_ref().is_none_or(|name| name == topic)
    }
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows shards, segments, checkpoints, what a killed broker has left in memory, and what recovery would say.
    Show(StoreDir),
    /// Lists queues with their offsets.
    Queues(queues::Options),
    /// Lists topics with their configurations.
    Topics(topics::Options),
    /// Lists consumer offsets, with what is left to consume.
    Offsets(offsets::Options),
    /// Prints decoded records in the order of the log.
    Records(records::Options),
    /// Reads everything and compares. Exit status: 0 sound, 1 torn tail only, 2 corruption, 3 could not be read, 4 damaged files that are
    /// made again, so that nothing is lost.
    Verify(StoreDir),
    /// Writes a topic's messages as JSON lines.
    ///
    /// Members: topic, queueId, queueOffset; physicalOffset and msgId (place in this store); storeTimestamp, bornTimestamp (ms since
    /// 1970); storeHost, bornHost; sysFlag, flag, reconsumeTimes, preparedTransactionOffset; properties (object of strings);
    /// bodyBytes, body (base64, as stored: compressed bodies stay compressed, see sysFlag).
    Export(export::Options),
    /// Moves the store of an Apache broker (4.9, 5.x) into a new RingMQ store.
    Import(import::Options),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreToolError {
    /// The reactor did not start.
    #[error(transparent)]
    Reactor(#[from] BlockOnError),
    /// A shard cannot be read, or is damaged where that ends the command.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The metadata store cannot be read, or is damaged where that ends the command.
    #[error(transparent)]
    Metadata(#[from] RecoverError),
    /// What is asked for is not a shard's.
    #[error("{} is one shard's folder: give the broker's storePathRootDir", .0.display())]
    NeedsRoot(PathBuf),
    /// A broker is running on it.
    #[error("{} is open in a broker: stop the broker, or look at a copy", .0.display())]
    InUse(PathBuf),
    /// A message was not taken.
    #[error("the import stopped, and nothing of it is to be used")]
    Import(#[from] ringmq_store::ImportError),
    /// A file or folder.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The folder is none.
    #[error(
        "{} is not a store: it has neither shard-NN folders nor a log folder (give the broker's storePathRootDir)",
        .0.display()
    )]
    NotAStore(PathBuf),
    /// The store has no such thing.
    #[error("{0}")]
    Missing(String),
    /// The result cannot be written.
    #[error("writing the output")]
    Output(#[source] io::Error),
}

/// Where results go.
pub(crate) type Out = io::BufWriter<Box<dyn Write>>;

/// Runs a command, printing to standard output; gives the exit status.
///
/// # Errors
/// See [`StoreToolError`].
pub fn run(cli: Cli) -> Result<u8, StoreToolError> {
    let cli = match cli.command {
        Command::Import(options) => return import::run(options).map(|()| 0),
        command => Cli { command },
    };
    let result = block_on(move |io| async move {
        let mut out = Out::new(Box::new(io::stdout()));
        let status = match cli.command {
            Command::Show(o) => show::run(&io, &o.dir, &mut out).await.map(|()| 0),
            Command::Queues(o) => queues::run(&io, &o, &mut out).await.map(|()| 0),
            Command::Topics(o) => topics::run(&io, &o, &mut out).await.map(|()| 0),
            Command::Offsets(o) => offsets::run(&io, &o, &mut out).await.map(|()| 0),
            Command::Records(o) => records::run(&io, &o, &mut out).await.map(|()| 0),
            Command::Verify(o) => verify::run(&io, &o.dir, &mut out).await,
            Command::Export(o) => export::run(&io, &o, &mut out).await.map(|()| 0),
            Command::Import(_) => unreachable!("it has a reactor of its own"),
        }?;
        out.flush().map_err(StoreToolError::Output)?;
        Ok(status)
    })?;
    match result {
        // `rmq-store records … | head`
        Err(StoreToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        other => other,
    }
}
