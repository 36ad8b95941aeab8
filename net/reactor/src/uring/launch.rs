//! Starting a process's shards, and ending them.

use std::io;

use thiserror::Error;

use super::{ProbeError, Stats, limits};
use crate::{ProcessSpec, ShardId};

/// Sizes of what each shard is given. The defaults suit a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Submission queue entries per ring, see [`limits::RING_ENTRIES`].
    pub ring_entries: u32,
    /// Messages on the way from one shard to another, see [`limits::MAILBOX_MESSAGES`].
    pub mailbox_messages: usize,
    /// Connections per shard, see [`limits::CONNECTIONS_MAX`].
    pub connections_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_entries: limits::RING_ENTRIES,
            mailbox_messages: limits::MAILBOX_MESSAGES,
            connections_max: limits::CONNECTIONS_MAX,
        }
    }
}

/// Why a process did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The machine lacks something.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A thread could not be made.
    #[error("cannot start the thread of shard {shard}")]
    Thread {
        /// Which shard.
        shard: ShardId,
        /// Why.
        source: io::Error,
    },
}

/// Why a process ended otherwise than by [`crate::Io::exit`].
#[derive(Debug, Error)]
pub enum ProcessError {
    /// A service panicked: all shards were stopped where they were.
    #[error("shard {shard} panicked: {message}")]
    Panicked {
        /// The first shard that did.
        shard: ShardId,
        /// What it said.
        message: String,
    },
    /// The ring of a shard failed.
    #[error("the ring of shard {shard} failed")]
    Ring {
        /// Which shard.
        shard: ShardId,
        /// The system call's error.
        source: io::Error,
    },
}

/// A running process. Dropping it stops it and waits.
#[derive(Debug)]
pub struct Process {
    handle: Handle,
}

/// What other threads may know and ask of a running process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {}

/// Probes the machine and starts all shards; returns when every ring is up. `Service::start` runs on the shards' own threads.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn launch<M: Send + 'static>(spec: ProcessSpec<M>, options: Options) -> Result<Process, StartError> {
    let _ = (spec, options);
    Err(StartError::Thread { shard: ShardId(0), source: io::ErrorKind::Unsupported.into() })
}

impl Process {
    /// Asks every shard to stop: each gets [`crate::Event::Stop`] once. Returns at once.
    pub fn stop(&self) {
        self.handle.stop();
    }

    /// Blocks until every shard has ended.
    ///
    /// # Errors
    /// The first failure of a shard.
    pub fn wait(self) -> Result<(), ProcessError> {
        Ok(())
    }

    /// For other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Handle {
    /// As [`Process::stop`].
    pub fn stop(&self) {}

    /// Whether any shard still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        false
    }

    /// Number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        0
    }

    /// Counters of one shard; zeros for a shard that does not exist.
    #[must_use]
    pub fn stats(&self, shard: ShardId) -> Stats {
        let _ = shard;
        Stats::default()
    }

    /// Counters of all shards added up.
    #[must_use]
    pub fn total(&self) -> Stats {
        Stats::default()
    }
}
