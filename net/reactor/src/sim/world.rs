//! The world from outside: what a test builds, runs and breaks.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::core::{Completion, Core, Due, Host, Process, Shard, ShardKey};
use super::disk::Disk;
use super::process::{AnyProcess, ProcessState, TypedProcess};
use super::{DiskFaults, FaultKind, Rng, SimOptions};
use crate::{DirEntry, Monotonic, ProcessSpec};

/// A machine of the world: an address and a disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostId(u32);

/// A process of the world, living or dead; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProcessId(u32);

/// See the module's text.
pub struct World {
    core: Core,
    /// Beside `core.processes`; `None` once the process has ended.
    programs: Vec<Option<Box<dyn AnyProcess>>>,
}

impl World {
    /// An empty world. Equal seeds, options and calls give equal runs.
    #[must_use]
    pub fn new(seed: u64, options: SimOptions) -> Self {
        Self { core: Core::new(seed, options), programs: Vec::new() }
    }

    /// Adds a host, powered on, with an empty disk.
    ///
    /// # Panics
    /// If the address is taken.
    pub fn add_host(&mut self, address: IpAddr) -> HostId {
        assert!(self.core.host_by_address(address).is_none(), "two hosts with address {address}");
        let disk = Disk::new(self.core.options.disk_bytes);
        self.core.hosts.push(Host { address, up: true, disk });
        HostId(self.core.hosts.len() as u32 - 1)
    }

    /// Starts a process, powering its host on if need be. Its shards start within the next moments.
    pub fn start<M: Send + 'static>(&mut self, host: HostId, spec: ProcessSpec<M>) -> ProcessId {
        self.power_on(host);
        let process = self.core.processes.len() as u32;
        let skew = self.core.options.clock_skew.as_millis() as u64;
        let skew_ms = self.core.rng.between(0, 2 * skew) as i64 - skew as i64;
        let shards: Vec<Shard> = spec.shards.iter().map(|_| Shard::default()).collect();
        let count = shards.len() as u16;
        self.core.processes.push(Process {
            name: spec.name.clone(),
            host: host.0,
            alive: true,
            shards,
            skew_ms,
        });
        self.programs.push(Some(Box::new(TypedProcess::new(spec))));
        self.core.trace.note(self.core.now, process, || "started".to_owned());
        for shard in 0..count {
            self.core.complete(ShardKey { process, shard }, Completion::Start);
        }
        ProcessId(process)
    }

    /// Asks a process to stop, as SIGTERM does: every shard sees [`crate::Event::Stop`].
    pub fn stop(&mut self, process: ProcessId) {
        self.note(process, "asked to stop");
        for shard in 0..self.core.processes[process.0 as usize].shards.len() as u16 {
            self.core.complete(ShardKey { process: process.0, shard }, Completion::Stop);
        }
    }

    /// Ends a process at once, as SIGKILL does. Its memory is gone; file operations in flight take effect wholly, partly or not
    /// at all; what it had written stays; its sockets are closed by the system. A process that has mapped memory is killed between
    /// two turns or in the middle of one: then some of the turn's stores are there, and nothing else of it.
    pub fn kill(&mut self, process: ProcessId) {
        if self.state(process) != ProcessState::Running {
            return;
        }
        self.note(process, "killed");
        self.last_turn(process.0);
        self.core.processes[process.0 as usize].alive = false;
        self.core.kill_connections(process.0);
        self.end(process);
    }

    /// Every other process that has mapped memory dies in the middle of a turn.
    fn last_turn(&mut self, process: u32) {
        let host = self.core.processes[process as usize].host as usize;
        if !self.core.hosts[host].disk.memory.is_used_by(process) || self.core.rng.one_in(2) {
            return;
        }
        let before = self.core.hosts[host].disk.memory.begin_last_turn(process);
        let newest = self.core.hosts[host].disk.newest_operation();
        for shard in 0..self.core.processes[process as usize].shards.len() as u16 {
            let key = ShardKey { process, shard };
            let program = self.programs[process as usize].as_mut().expect("a running process has a program");
            if !self.core.shard(key).exited {
                program.turn_before_kill(&mut self.core, key);
            }
        }
        let disk = &mut self.core.hosts[host].disk;
        disk.take_back(process, newest);
        disk.memory.keep_part(process, before, &mut self.core.rng);
    }

    fn end(&mut self, process: ProcessId) {
        let host = self.core.processes[process.0 as usize].host as usize;
        self.core.hosts[host].disk.kill(process.0, &mut self.core.rng);
        for shard in &mut self.core.processes[process.0 as usize].shards {
            *shard = Shard { exited: true, ..Shard::default() };
        }
        self.programs[process.0 as usize] = None;
    }

    /// Cuts a host's power: its processes are gone, of every sector not known to be on stable media some version remains, names
    /// not made durable may be lost, peers hear nothing. The host stays down until [`World::power_on`] or
    /// [`World::start`].
    pub fn power_cut(&mut self, host: HostId) {
        self.core.trace.note(self.core.now, u32::MAX, || format!("power cut on host {}", host.0));
        for process in 0..self.core.processes.len() as u32 {
            if self.core.processes[process as usize].host == host.0
                && self.core.processes[process as usize].alive
            {
                self.core.processes[process as usize].alive = false;
                self.core.lose_connections(process);
                self.end(ProcessId(process));
            }
        }
        self.core.hosts[host.0 as usize].up = false;
        self.core.hosts[host.0 as usize].disk.power_cut(&mut self.core.rng);
    }

    /// Powers a host on. Connections of its former life are answered by resets from now on.
    pub fn power_on(&mut self, host: HostId) {
        self.core.hosts[host.0 as usize].up = true;
    }

    /// Where a process is in its life.
    #[must_use]
    pub fn state(&self, process: ProcessId) -> ProcessState {
        let process = &self.core.processes[process.0 as usize];
        if !process.alive {
            ProcessState::Killed
        } else if process.shards.iter().all(|shard| shard.exited) {
            ProcessState::Exited
        } else {
            ProcessState::Running
        }
    }

    /// Stops a process for a while, as a scheduler or a hypervisor may: it gets no turn before the time is over.
    pub fn stall(&mut self, process: ProcessId, duration: Duration) {
        let until = self.core.now + duration.as_nanos() as u64;
        for shard in 0..self.core.processes[process.0 as usize].shards.len() as u16 {
            let key = ShardKey { process: process.0, shard };
            let state = self.core.shard(key);
            state.busy_until = state.busy_until.max(until);
            if state.turn_at.take().is_some() {
                self.core.wake(key);
            }
        }
    }

    /// Lets nothing pass from one host to another (one way) until [`World::heal`].
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.core
            .trace
            .note(self.core.now, u32::MAX, || format!("cut from host {} to host {}", from.0, to.0));
        self.core.net.cuts.insert((from.0, to.0));
    }

    /// Cuts both ways.
    pub fn partition(&mut self, a: HostId, b: HostId) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Ends the cuts between two hosts; what was held up arrives when TCP tries again.
    pub fn heal(&mut self, a: HostId, b: HostId) {
        self.core.trace.note(self.core.now, u32::MAX, || format!("healed hosts {} and {}", a.0, b.0));
        self.core.net.cuts.remove(&(a.0, b.0));
        self.core.net.cuts.remove(&(b.0, a.0));
    }

    /// Ends all cuts.
    pub fn heal_all(&mut self) {
        self.core.net.cuts.clear();
    }

    /// Resets every connection between two hosts, as a firewall or a load balancer may; what was under way is lost.
    pub fn reset_connections(&mut self, a: HostId, b: HostId) {
        for number in self.core.connections_between(a.0, b.0) {
            for side in [0, 1] {
                self.core.fail_end(number, side, std::io::ErrorKind::ConnectionReset);
            }
        }
    }

    /// Sets what can go wrong by chance on a host's disk.
    pub fn set_disk_faults(&mut self, host: HostId, faults: DiskFaults) {
        self.core.hosts[host.0 as usize].disk.faults = faults;
    }

    /// Fails the next `count` operations of a kind on files whose path contains `path_contains`, with `EIO`.
    pub fn fail_next(&mut self, host: HostId, kind: FaultKind, path_contains: &str, count: u32) {
        self.core.hosts[host.0 as usize].disk.scripted.add(kind, path_contains, count);
    }

    /// Operations that [`World::fail_next`] asked to fail and that have not come yet.
    #[must_use]
    pub fn faults_to_come(&self, host: HostId) -> u32 {
        self.core.hosts[host.0 as usize].disk.scripted.pending()
    }

    /// Forgets them.
    pub fn forget_faults(&mut self, host: HostId) {
        self.core.hosts[host.0 as usize].disk.scripted.clear();
    }

    /// Sets the size of a host's disk, bytes: writes beyond it fail with `ENOSPC`.
    pub fn set_disk_capacity(&mut self, host: HostId, bytes: u64) {
        self.core.hosts[host.0 as usize].disk.capacity = bytes;
    }

    /// Lets a host's disk be full for a while: of the requests for room from now on (files that are made or grow), those with
    /// these numbers, counted from 0, fail with `ENOSPC`.
    pub fn refuse_room(&mut self, host: HostId, requests: std::ops::Range<u64>) {
        self.core.hosts[host.0 as usize].disk.no_room.set(requests);
    }

    /// Requests for room on a host's disk since [`World::refuse_room`].
    #[must_use]
    pub fn room_requests(&self, host: HostId) -> u64 {
        self.core.hosts[host.0 as usize].disk.no_room.asked()
    }

    /// Turns bits of a byte over, on the media: bit rot. False if the file has no such byte.
    pub fn flip_bits(&mut self, host: HostId, path: impl AsRef<Path>, offset: u64, mask: u8) -> bool {
        self.core.hosts[host.0 as usize].disk.flip(path.as_ref(), offset, mask)
    }

    /// Content of a file as a reader sees it now; `None` if there is none.
    #[must_use]
    pub fn read_file(&self, host: HostId, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.core.hosts[host.0 as usize].disk.read_all(path.as_ref())
    }

    /// Content of a file that lives in a host's memory; `None` if there is none.
    #[must_use]
    pub fn read_memory_file(&self, host: HostId, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.core.hosts[host.0 as usize].disk.memory.read_all(path.as_ref())
    }

    /// Puts a file into a host's memory, in the place of one that no process has mapped.
    pub fn put_memory_file(&mut self, host: HostId, path: impl AsRef<Path>, bytes: &[u8]) {
        self.core.hosts[host.0 as usize].disk.memory.put(path.as_ref(), bytes);
    }

    /// All files that live in a host's memory.
    #[must_use]
    pub fn memory_files(&self, host: HostId) -> Vec<std::path::PathBuf> {
        self.core.hosts[host.0 as usize].disk.memory.paths()
    }

    /// Entries of a directory; empty if there is none.
    #[must_use]
    pub fn list(&self, host: HostId, directory: impl AsRef<Path>) -> Vec<DirEntry> {
        self.core.hosts[host.0 as usize].disk.list(directory.as_ref())
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Monotonic {
        self.core.monotonic()
    }

    /// The world's chance, for a test's own choices.
    pub fn random(&mut self) -> &mut Rng {
        &mut self.core.rng
    }

    /// Events delivered so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.core.trace.events()
    }

    /// Equal for equal runs, and hardly ever for others.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.core.trace.hash()
    }

    /// The newest events as text, if [`SimOptions::trace_events`] asks for them.
    #[must_use]
    pub fn trace(&self) -> String {
        self.core.trace.text(|process| match self.core.processes.get(process as usize) {
            Some(known) => format!("{}#{process}", known.name),
            None => "world".to_owned(),
        })
    }

    /// Lets the next thing happen. False if there is nothing to happen ever.
    pub fn step(&mut self) -> bool {
        let Some(due) = self.core.pop() else { return false };
        let core = &mut self.core;
        match due {
            Due::Turn(key) => self.turn(key),
            Due::Timer { shard, timer, token } => {
                if core.is_live(shard) && core.shard(shard).timers.contains(&timer) {
                    core.complete(shard, Completion::Timer { timer, token });
                }
            }
            Due::DiskApply { host, operation } => core.disk_apply(host, operation),
            Due::DiskDone { host, operation } => core.disk_done(host, operation),
            Due::Syn(attempt) => core.syn(attempt),
            Due::SynAnswer(attempt) => core.syn_answer(attempt),
            Due::ConnectTimeout(attempt) => core.connect_timeout(attempt),
            Due::Deliver { connection, from } => core.deliver(connection, from),
            Due::Reset { connection, to } => core.reset(connection, to),
            Due::CloseTimeout { connection, end } => core.close_timeout(connection, end),
            Due::RetransmitTimeout { connection, from, since } => {
                core.retransmit_timeout(connection, from, since)
            }
        }
        true
    }

    fn turn(&mut self, key: ShardKey) {
        let now = self.core.now;
        if !self.core.is_live(key) || self.core.shard(key).turn_at != Some(now) {
            return;
        }
        self.core.shard(key).turn_at = None;
        let program = self.programs[key.process as usize].as_mut().expect("a living process has a program");
        program.turn(&mut self.core, key);
        if self.core.processes[key.process as usize].shards.iter().all(|shard| shard.exited) {
            self.core.trace.note(now, key.process, || "exited".to_owned());
            self.programs[key.process as usize] = None;
        }
    }

    /// Lets everything happen that is due within `duration`; time has then advanced by that much.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.core.now + duration.as_nanos() as u64;
        while self.core.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.core.now = end;
    }

    /// Runs until `condition` holds, looking at it after every event; false if it does not within `limit`.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.core.now + limit.as_nanos() as u64;
        loop {
            if condition(self) {
                return true;
            }
            if self.core.next_at().is_none_or(|at| at > end) {
                self.core.now = end;
                return condition(self);
            }
            self.step();
        }
    }

    fn note(&mut self, process: ProcessId, text: &str) {
        self.core.trace.note(self.core.now, process.0, || text.to_owned());
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({} events, {} ns)", self.core.trace.events(), self.core.now)
    }
}
