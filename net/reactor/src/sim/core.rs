//! What all parts of a world share: time, the queue of what is to come, chance, and the untyped half of every process.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::disk::Disk;
use super::net::Network;
use super::trace::Trace;
use super::{Rng, SimOptions};
use crate::{CloseCause, ConnectionId, FileValue, ListenerId, Monotonic, Token};

/// A shard of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct ShardKey {
    pub(super) process: u32,
    pub(super) shard: u16,
}

/// What a shard is to be told, except mail, whose type only its process knows.
pub(super) enum Completion {
    Start,
    Accepted {
        token: Token,
        listener: ListenerId,
        connection: ConnectionId,
        peer: SocketAddr,
        local: SocketAddr,
    },
    Connected {
        token: Token,
        result: io::Result<ConnectionId>,
    },
    Received {
        connection: ConnectionId,
        bytes: Bytes,
    },
    Drained {
        connection: ConnectionId,
    },
    Closed {
        connection: ConnectionId,
        cause: CloseCause,
    },
    File {
        token: Token,
        result: io::Result<FileValue>,
    },
    Timer {
        timer: u64,
        token: Token,
    },
    Stop,
}

/// What happens at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Turn(ShardKey),
    Timer {
        shard: ShardKey,
        timer: u64,
        token: Token,
    },
    /// A file operation reaches the disk.
    DiskApply {
        host: u32,
        operation: u64,
    },
    /// A file operation ends.
    DiskDone {
        host: u32,
        operation: u64,
    },
    /// A connection attempt reaches its destination.
    Syn(u64),
    /// The answer to it comes back.
    SynAnswer(u64),
    ConnectTimeout(u64),
    /// Bytes (or the end of the stream) sent by that end reach the other.
    Deliver {
        connection: u64,
        from: u8,
    },
    /// A reset reaches that end.
    Reset {
        connection: u64,
        to: u8,
    },
    /// A closing connection has had its time to flush.
    CloseTimeout {
        connection: u64,
        end: u8,
    },
    /// Data sent by that end has found no way for long.
    RetransmitTimeout {
        connection: u64,
        from: u8,
        since: u64,
    },
}

struct Entry {
    at: u64,
    serial: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The heap gives the greatest first: that is the earliest, and of equal times the first that was put in.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

/// The untyped half of a shard.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) ready: VecDeque<Completion>,
    pub(super) turn_at: Option<u64>,
    pub(super) busy_until: u64,
    pub(super) exited: bool,
    pub(super) next_timer: u64,
    /// Timers that have been asked for and neither fired nor been taken back.
    pub(super) timers: FxHashSet<u64>,
    pub(super) next_file: u32,
    pub(super) next_listener: u32,
    pub(super) slots: Vec<Slot>,
    pub(super) free_slots: Vec<u32>,
    /// Connections whose outbox may have grown during the turn.
    pub(super) dirty: Vec<ConnectionId>,
}

/// A connection as its shard knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) generation: u32,
    /// Number of the connection and which end of it is ours, until it has ended.
    pub(super) link: Option<(u64, u8)>,
    /// Ended by ourselves: bytes that wait in `ready` are not delivered any more.
    pub(super) silent: bool,
}

/// The untyped half of a process.
pub(super) struct Process {
    pub(super) name: String,
    pub(super) host: u32,
    pub(super) alive: bool,
    pub(super) shards: Vec<Shard>,
    /// What its wall clock shows more than the world's, milliseconds.
    pub(super) skew_ms: i64,
}

pub(super) struct Host {
    pub(super) address: IpAddr,
    pub(super) up: bool,
    pub(super) disk: Disk,
}

pub(super) struct Core {
    pub(super) now: u64,
    pub(super) options: SimOptions,
    pub(super) rng: Rng,
    queue: BinaryHeap<Entry>,
    serial: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) processes: Vec<Process>,
    pub(super) net: Network,
    pub(super) trace: Trace,
}

impl Core {
    pub(super) fn new(seed: u64, options: SimOptions) -> Self {
        let trace = Trace::new(seed, options.trace_events);
        Self {
            // Not zero: a service that takes zero for "never" must be right for another reason.
            now: 1_000_000_000,
            options,
            rng: Rng::new(seed),
            queue: BinaryHeap::new(),
            serial: 0,
            hosts: Vec::new(),
            processes: Vec::new(),
            net: Network::default(),
            trace,
        }
    }

    pub(super) fn schedule(&mut self, at: u64, due: Due) {
        let serial = self.serial;
        self.serial += 1;
        self.queue.push(Entry { at: at.max(self.now), serial, due });
    }

    pub(super) fn schedule_in(&mut self, delay: u64, due: Due) {
        self.schedule(self.now + delay, due);
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.peek().map(|entry| entry.at)
    }

    /// Goes to the time of the next event.
    pub(super) fn pop(&mut self) -> Option<Due> {
        let entry = self.queue.pop()?;
        self.now = entry.at;
        Some(entry.due)
    }

    pub(super) fn monotonic(&self) -> Monotonic {
        Monotonic(self.now)
    }

    pub(super) fn shard(&mut self, key: ShardKey) -> &mut Shard {
        &mut self.processes[key.process as usize].shards[key.shard as usize]
    }

    /// Whether anything may be delivered to the shard.
    pub(super) fn is_live(&self, key: ShardKey) -> bool {
        let process = &self.processes[key.process as usize];
        process.alive && !process.shards[key.shard as usize].exited
    }

    /// Puts a completion into a shard's next turn.
    pub(super) fn complete(&mut self, key: ShardKey, completion: Completion) {
        if self.is_live(key) {
            self.shard(key).ready.push_back(completion);
            self.wake(key);
        }
    }

    /// Makes sure that the shard has a turn soon.
    pub(super) fn wake(&mut self, key: ShardKey) {
        let delay = self.options.wake.sample(&mut self.rng);
        let now = self.now;
        let shard = self.shard(key);
        let at = (now + delay).max(shard.busy_until);
        if shard.turn_at.is_none_or(|due| due > at) {
            shard.turn_at = Some(at);
            self.schedule(at, Due::Turn(key));
        }
    }

    pub(super) fn host_of(&self, key: ShardKey) -> u32 {
        self.processes[key.process as usize].host
    }

    /// A new connection of a shard.
    pub(super) fn new_slot(&mut self, key: ShardKey, link: (u64, u8)) -> ConnectionId {
        let shard = self.shard(key);
        // The slot freed last is reused first: what mixes up old and new connections shows early.
        if let Some(index) = shard.free_slots.pop() {
            let slot = &mut shard.slots[index as usize];
            slot.generation += 1;
            slot.link = Some(link);
            slot.silent = false;
            return ConnectionId { index, generation: slot.generation };
        }
        let index = shard.slots.len() as u32;
        shard.slots.push(Slot { generation: 1, link: Some(link), silent: false });
        ConnectionId { index, generation: 1 }
    }

    pub(super) fn slot(&mut self, key: ShardKey, connection: ConnectionId) -> Option<&mut Slot> {
        let slot = self.shard(key).slots.get_mut(connection.index as usize)?;
        (slot.generation == connection.generation).then_some(slot)
    }

    /// Connection number and end of a connection that has not ended.
    pub(super) fn link(&self, key: ShardKey, connection: ConnectionId) -> Option<(u64, u8)> {
        let shard = &self.processes[key.process as usize].shards[key.shard as usize];
        let slot = shard.slots.get(connection.index as usize)?;
        if slot.generation == connection.generation { slot.link } else { None }
    }
}
