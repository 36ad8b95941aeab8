//! The simulated twin of the kernel driver: any number of processes on any number of hosts, in one thread, on virtual
//! time, every choice drawn from one seed.
//!
//! ```text
//!   World ── queue of (time, event) ──┬─▶ a shard's turn: mail, completions, end_of_turn   (process)
//!                                     ├─▶ bytes that reach the other end of a connection   (net)
//!                                     └─▶ an operation that reaches the disk, or ends      (disk)
//! ```
//!
//! What it promises to a [`crate::Service`] is what the kernel driver promises, no more: completions of different sources in any
//! order, bytes in pieces of any size, operations in flight at the same time in any order, writes that take the content
//! of their pages at some moment before they complete. What it can do to a process that the kernel seldom does: kill
//! it, cut its host's power, fail or delay its disk, cut, delay and reset its network.
//!
//! **Equal seeds give equal runs**: [`World::trace_hash`] mixes every delivered event, so two runs of the same seed that
//! differ anywhere show it. Services must not ask anything but [`crate::Io`] for that to hold.
//!
//! ```
//! # use std::time::Duration;
//! # use ringmq_reactor::sim::{SimOptions, World};
//! let mut world = World::new(42, SimOptions::default());
//! let host = world.add_host("10.0.0.1".parse().unwrap());
//! // world.start(host, spec); world.run_for(..); world.power_cut(host); …
//! world.run_for(Duration::from_secs(1));
//! ```

mod context;
mod core;
mod disk;
mod faults;
mod files;
mod memory;
mod names;
mod net;
mod options;
mod process;
mod rng;
#[cfg(test)]
mod tests;
mod trace;
mod transfer;
mod world;

pub use faults::{DiskFaults, FaultKind};
pub use options::{Latency, SimOptions};
pub use process::ProcessState;
pub use rng::Rng;
pub use world::{HostId, ProcessId, World};
