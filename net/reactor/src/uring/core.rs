//! What a shard's driver holds, apart from mail and receive buffers. Parts: [`super::net`], [`super::files`].

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::blocks::BlockTable;
use super::files::Files;
use super::net::Net;
use super::ring::{Completion, Ring};
use super::stats::Stats;
use super::timers::{Due, Timers};
use super::{Capabilities, Options};
use crate::{CloseCause, ConnectionId, FileValue, Monotonic, ShardId, TimerId, Token};

/// Time as all shards of a process tell it.
#[derive(Debug)]
pub(super) struct ProcessClock {
    origin: Instant,
    /// Latest wall time any shard has told, milliseconds: a step back of the system's clock is not passed on.
    wall_ms: AtomicU64,
}

impl ProcessClock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), wall_ms: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall_ms(&self) -> u64 {
        let system = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let system = u64::try_from(system.as_millis()).unwrap_or(u64::MAX);
        let told = self.wall_ms.load(Ordering::Relaxed);
        if system <= told {
            return told;
        }
        system.max(self.wall_ms.fetch_max(system, Ordering::Relaxed))
    }
}

/// Something to tell the service that needs no receive buffer and no mail type.
#[derive(Debug)]
pub(super) enum Notice {
    Connected { token: Token, result: io::Result<ConnectionId> },
    Drained(ConnectionId),
    Closed { connection: ConnectionId, cause: CloseCause },
    File { token: Token, result: io::Result<FileValue> },
}

/// Fields are dropped in order: the ring goes first, then what its operations referred to.
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) shard: ShardId,
    pub(super) options: Options,
    pub(super) capabilities: Capabilities,
    pub(super) net: Net,
    pub(super) files: Files,
    pub(super) blocks: BlockTable,
    pub(super) timers: Timers,
    /// Notices of calls that ended on the spot, for the next turn.
    pub(super) later: VecDeque<Notice>,
    pub(super) clock: Arc<ProcessClock>,
    pub(super) now: Monotonic,
    pub(super) wall_ms: u64,
    random: u64,
    pub(super) exit: bool,
    pub(super) stats: Stats,
}

impl Core {
    pub(super) fn new(
        ring: Ring,
        shard: ShardId,
        options: Options,
        capabilities: Capabilities,
        clock: Arc<ProcessClock>,
    ) -> Self {
        let blocks = BlockTable::new(&ring, options.registered_blocks);
        // The standard library's hash keys come from the system's random source.
        let seed = std::hash::RandomState::new().build_hasher().finish();
        let mut core = Self {
            ring,
            shard,
            options,
            capabilities,
            net: Net::default(),
            files: Files::default(),
            blocks,
            timers: Timers::default(),
            later: VecDeque::new(),
            now: clock.now(),
            wall_ms: 0,
            clock,
            random: seed,
            exit: false,
            stats: Stats::default(),
        };
        core.begin_turn();
        core
    }

    /// Fixes the turn's time.
    pub(super) fn begin_turn(&mut self) {
        self.now = self.clock.now();
        self.wall_ms = self.clock.wall_ms();
    }

    /// SplitMix64.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub(super) fn add_timer(&mut self, at: Monotonic, due: Due) -> TimerId {
        self.timers.add(at, due)
    }

    /// A file completion or a send, connect or cancel completion; receives and accepts need more than this.
    pub(super) fn complete(&mut self, completion: Completion) -> Option<Notice> {
        use super::operation::Kind;
        match completion.data.kind() {
            Kind::Send => self.on_send(completion),
            Kind::Connect => self.on_connect(completion),
            Kind::File => self.on_file(completion),
            _ => None,
        }
    }
}
