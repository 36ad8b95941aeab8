//! Waiting for the order to stop.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Why [`wait_for_signal`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// This signal (SIGINT or SIGTERM) came.
    Signal(i32),
    /// A process started by [`super::launch`] ended of itself (all its shards exited, or one failed).
    Ended,
}

/// Written when the last shard of any launched process has ended.
static ENDED: OnceLock<Option<EventFd>> = OnceLock::new();

fn ended() -> Option<&'static EventFd> {
    let make = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok();
    ENDED.get_or_init(make).as_ref()
}

/// The last shard of a process has ended.
pub(super) fn process_ended() {
    if let Some(ended) = ended() {
        // Fails only when the counter is full, and then the waiter is already being told.
        let _ = ended.write(1);
    }
}

fn stop_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals
}

/// Keeps the signals to stop from the calling thread, and from threads that it starts, until dropped.
pub(super) struct Masked(Option<SigSet>);

pub(super) fn mask_stop_signals() -> Masked {
    let mut before = SigSet::empty();
    let masked = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&stop_signals()), Some(&mut before));
    Masked(masked.ok().map(|()| before))
}

impl Drop for Masked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(before), None);
        }
    }
}

/// Blocks the calling thread until SIGINT or SIGTERM comes, or a launched process ends of itself. To be called once the
/// process is launched, from the main thread; other threads that are not shards must have these signals masked.
/// Afterwards the signals have their former effect again, so that a second Ctrl-C ends a program that does not stop.
///
/// # Errors
/// When the kernel refuses a signalfd.
pub fn wait_for_signal() -> io::Result<Wake> {
    let _masked = mask_stop_signals();
    let signals = SignalFd::with_flags(&stop_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let ended = ended().ok_or_else(|| io::Error::other("no event descriptor"))?;
    loop {
        let mut ready =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(signal) = signals.read_signal()? {
            return Ok(Wake::Signal(signal.ssi_signo as i32));
        }
        if ended.read().is_ok() {
            return Ok(Wake::Ended);
        }
    }
}
