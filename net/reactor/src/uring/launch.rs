//! Starting a process's shards, and ending them.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use thiserror::Error;

use super::core::ProcessClock;
use super::mailbox::{Counter, PostOffice};
use super::shutdown::KernelHolds;
use super::stats::Published;
use super::turn::{Ended, Shard};
use super::{Capabilities, ProbeError, Stats, limits, probe, signal};
use crate::{ProcessSpec, ShardId, ShardSpec};

/// Sizes of what each shard is given. The defaults suit a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Submission queue entries per ring, see [`limits::RING_ENTRIES`].
    pub ring_entries: u32,
    /// Messages on the way from one shard to another, see [`limits::MAILBOX_MESSAGES`].
    pub mailbox_messages: usize,
    /// Connections per shard, see [`limits::CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// Receive buffers per shard, a power of two, see [`limits::RECEIVE_BUFFERS`].
    pub receive_buffers: u16,
    /// Size of each, bytes, see [`limits::RECEIVE_BUFFER_BYTES`].
    pub receive_buffer_bytes: usize,
    /// Blocks registered with a ring at a time (0: none), see [`limits::REGISTERED_BLOCKS_MAX`].
    pub registered_blocks: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_entries: limits::RING_ENTRIES,
            mailbox_messages: limits::MAILBOX_MESSAGES,
            connections_max: limits::CONNECTIONS_MAX,
            receive_buffers: limits::RECEIVE_BUFFERS,
            receive_buffer_bytes: limits::RECEIVE_BUFFER_BYTES,
            registered_blocks: limits::REGISTERED_BLOCKS_MAX,
        }
    }
}

/// Why a process did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The machine lacks something.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The specification has no shard, or too many.
    #[error("{shards} shards: between 1 and {} are possible", limits::SHARDS_MAX)]
    Shards {
        /// How many it has.
        shards: usize,
    },
    /// Mailboxes or their event descriptors could not be made.
    #[error(
        "cannot make the mailboxes of {shards} shards; if descriptors ran out, raise the limit (ulimit -n)"
    )]
    Mailboxes {
        /// How many shards.
        shards: usize,
        /// Why.
        source: io::Error,
    },
    /// A thread could not be made.
    #[error("cannot start the thread of shard {shard}")]
    Thread {
        /// Which shard.
        shard: ShardId,
        /// Why.
        source: io::Error,
    },
    /// A thread could not be pinned.
    #[error(
        "cannot pin shard {shard} to processor {cpu}; is it within the process's set (taskset -p, cpuset)?"
    )]
    Pin {
        /// Which shard.
        shard: ShardId,
        /// Which processor.
        cpu: usize,
        /// Why.
        source: io::Error,
    },
    /// A ring could not be made although the probe made one: with many shards, locked memory runs out.
    #[error(
        "cannot make the ring of shard {shard}; locked memory is limited to {limit}: raise it (LimitMEMLOCK=, ulimit -l, \
         --ulimit memlock=) or start fewer shards"
    )]
    Ring {
        /// Which shard.
        shard: ShardId,
        /// The present limit.
        limit: String,
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

/// What all threads of a process share, whatever its message type.
#[derive(Debug)]
pub(super) struct Shared {
    name: String,
    clock: Arc<ProcessClock>,
    counters: Arc<[Counter]>,
    stats: Box<[Published]>,
    failure: Mutex<Option<ProcessError>>,
    abandoned: AtomicBool,
    /// Shards that have not ended. Not below zero: counted down once by each thread.
    running: AtomicUsize,
    ended: (Mutex<()>, Condvar),
}

impl Shared {
    pub(super) fn clock(&self) -> &Arc<ProcessClock> {
        &self.clock
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(super) fn publish(&self, shard: ShardId, stats: &Stats) {
        self.stats[usize::from(shard.0)].store(stats);
    }

    pub(super) fn wake_all(&self) {
        self.counters.iter().for_each(Counter::wake);
    }

    /// Ends all shards where they are.
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.wake_all();
    }

    fn fail(&self, error: ProcessError) {
        tracing::error!(process = %self.name, error = &error as &dyn std::error::Error, "stopping at once");
        lock(&self.failure).get_or_insert(error);
        self.abandon();
    }

    /// A shard has ended; returns when all have. Until then each keeps its ring, since others may still ring it.
    fn wait_for_all(&self) {
        let (mutex, condition) = &self.ended;
        let mut guard = lock(mutex);
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            condition.notify_all();
            signal::process_ended();
            return;
        }
        while self.running.load(Ordering::Acquire) > 0 {
            guard = condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A thread that panicked while it held one of these locks has left them consistent: they guard single values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running process. Dropping it cuts it off: shards end where they are, connections are closed at once. For a graceful
/// end, [`Process::stop`] and [`Process::wait`].
#[derive(Debug)]
pub struct Process {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// What other threads may know and ask of a running process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Probes the machine and starts all shards; returns when every ring is up. The service factories and
/// [`crate::Service::start`] run on the shards' own threads, after that. Raises the soft limit of open files to the hard one.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn launch<M: Send + 'static>(spec: ProcessSpec<M>, options: Options) -> Result<Process, StartError> {
    let count = spec.shards.len();
    if count == 0 || count > limits::SHARDS_MAX {
        return Err(StartError::Shards { shards: count });
    }
    let capabilities = probe()?;
    raise_open_files();
    let office = PostOffice::<M>::new(count, options.mailbox_messages)
        .map_err(|source| StartError::Mailboxes { shards: count, source })?;
    let shared = Arc::new(Shared {
        name: spec.name,
        clock: Arc::new(ProcessClock::new()),
        counters: office.counters(),
        stats: (0..count).map(|_| Published::default()).collect(),
        failure: Mutex::new(None),
        abandoned: AtomicBool::new(false),
        running: AtomicUsize::new(count),
        ended: (Mutex::new(()), Condvar::new()),
    });
    let office = Arc::new(office);
    // Threads inherit the mask: a signal to stop must reach the thread that waits for it, not interrupt a shard.
    let _masked = signal::mask_stop_signals();
    let (ready, became_ready) = mpsc::channel();
    let mut threads = Vec::with_capacity(count);
    let mut gates = Vec::with_capacity(count);
    for (index, spec) in spec.shards.into_iter().enumerate() {
        let shard = ShardId(index as u16);
        let (gate, opened) = mpsc::channel();
        let start = Start {
            shard,
            spec,
            office: Arc::clone(&office),
            shared: Arc::clone(&shared),
            options: options.clone(),
            capabilities: capabilities.clone(),
        };
        let ready = ready.clone();
        let name = start.spec.name.chars().filter(|c| *c != '\0').take(15).collect();
        let thread = std::thread::Builder::new().name(name).spawn(move || start.run(&ready, &opened));
        threads.push(thread.map_err(|source| StartError::Thread { shard, source })?);
        gates.push(gate);
    }
    drop(ready);
    // An error drops the gates: the threads that wait behind them end.
    for _ in 0..count {
        became_ready.recv().expect("every thread reports once")?;
    }
    for gate in gates {
        gate.send(()).expect("a thread that reported ready waits for this");
    }
    Ok(Process { handle: Handle { shared }, threads })
}

/// What a shard's thread begins with.
struct Start<M> {
    shard: ShardId,
    spec: ShardSpec<M>,
    office: Arc<PostOffice<M>>,
    shared: Arc<Shared>,
    options: Options,
    capabilities: Capabilities,
}

impl<M: Send + 'static> Start<M> {
    /// The whole life of a shard's thread.
    fn run(self, ready: &mpsc::Sender<Result<(), StartError>>, opened: &mpsc::Receiver<()>) {
        let Self { shard: id, spec, office, shared, options, capabilities } = self;
        let made = pin(id, spec.cpu).and_then(|()| {
            // After pinning, so that the memory is near the processor.
            Shard::new(id, office, Arc::clone(&shared), options, capabilities).map_err(|source| {
                StartError::Ring { shard: id, limit: super::probe::locked_memory_limit().to_string(), source }
            })
        });
        let mut shard = match made {
            Ok(shard) => shard,
            Err(error) => return drop(ready.send(Err(error))),
        };
        if ready.send(Ok(())).is_err() || opened.recv().is_err() {
            return;
        }
        let factory = spec.service;
        let outcome = catch_unwind(AssertUnwindSafe(|| shard.run(&mut *factory(id))));
        let ended = match outcome {
            Ok(Ok(ended)) => ended,
            Ok(Err(source)) => {
                shared.fail(ProcessError::Ring { shard: id, source });
                Ended::Abandoned
            }
            Err(panic) => {
                shared.fail(ProcessError::Panicked { shard: id, message: message_of(&*panic) });
                Ended::Abandoned
            }
        };
        // The driver itself may be what panicked: then its state cannot be trusted to say what the kernel holds.
        let holds =
            catch_unwind(AssertUnwindSafe(|| shard.shut_down(ended))).unwrap_or(KernelHolds::Something);
        shared.wait_for_all();
        match holds {
            KernelHolds::Nothing => drop(shard),
            KernelHolds::Something => {
                tracing::error!(shard = %id, "operations did not end; their memory is left to the kernel");
                std::mem::forget(shard);
            }
        }
    }
}

fn pin(shard: ShardId, cpu: Option<usize>) -> Result<(), StartError> {
    let Some(cpu) = cpu else { return Ok(()) };
    let pinned = || {
        let mut set = CpuSet::new();
        set.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &set)
    };
    pinned().map_err(|error| StartError::Pin { shard, cpu, source: error.into() })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no message)".to_owned())
}

fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, soft, hard, "the limit of open files cannot be raised");
    }
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
    pub fn wait(mut self) -> Result<(), ProcessError> {
        self.join();
        lock(&self.handle.shared.failure).take().map_or(Ok(()), Err)
    }

    /// For other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // The thread catches its service's panics; one outside of that has printed its message.
            let _ = thread.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.handle.shared.abandon();
            self.join();
        }
    }
}

impl Handle {
    /// As [`Process::stop`].
    pub fn stop(&self) {
        self.shared.counters.iter().for_each(Counter::stop);
    }

    /// Whether any shard still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire) > 0
    }

    /// Number of shards.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shared.stats.len()
    }

    /// Counters of one shard; zeros for a shard that does not exist.
    #[must_use]
    pub fn stats(&self, shard: ShardId) -> Stats {
        self.shared.stats.get(usize::from(shard.0)).map(Published::load).unwrap_or_default()
    }

    /// Counters of all shards added up.
    #[must_use]
    pub fn total(&self) -> Stats {
        self.shared.stats.iter().map(Published::load).fold(Stats::default(), Stats::plus)
    }
}
