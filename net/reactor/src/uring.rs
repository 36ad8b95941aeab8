//! The kernel driver: one io_uring and one thread per shard.
//!
//! [`launch`] starts a [`crate::ProcessSpec`]; [`Process`] ends it and waits for it; [`Handle`] is the part that other
//! threads may keep. A program's `main` is
//!
//! ```no_run
//! # use ringmq_reactor::{ProcessSpec, uring};
//! # fn spec() -> ProcessSpec<()> { unimplemented!() }
//! let process = uring::launch(spec(), uring::Options::default())?;
//! uring::wait_for_signal()?;
//! process.stop();
//! process.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(
    clippy::disallowed_methods,
    reason = "this is where the forbidden calls are made, for everybody else"
)]

mod blocks;
mod buffers;
mod core;
mod driver;
mod files;
mod launch;
pub mod limits;
mod mailbox;
mod net;
mod operation;
mod parking;
mod probe;
mod ring;
mod shutdown;
mod signal;
mod stats;
mod timers;
mod turn;

/// What [`parking`] synchronises with.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

pub use launch::{Handle, Options, Process, ProcessError, StartError, launch};
pub use probe::{Capabilities, LockedMemory, ProbeError, probe};
pub use signal::{Wake, wait_for_signal};
pub use stats::Stats;
