//! One io_uring, owned by the thread that made it.
//!
//! Everything that goes into the ring goes through [`Ring::submit`]; everything that comes out through [`Ring::reap`].
//! The ring counts operations that still owe a completion: at zero, the kernel holds no memory of this shard.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, squeue, types};

use super::limits::{COMPLETION_ENTRIES, KERNEL_WORKERS_MAX};
use super::operation::{Kind, UserData};

/// Whether [`Ring::enter`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Submit, run what is due, come back.
    No,
    /// Sleep until a completion arrives or the time has passed.
    Completion(Option<Duration>),
}

/// A completion, copied out of the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) data: UserData,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Completion {
    /// Whether the same operation will complete again (multishot).
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The result as a byte or descriptor number.
    pub(super) fn value(&self) -> io::Result<u32> {
        if self.result < 0 {
            Err(io::Error::from_raw_os_error(-self.result))
        } else {
            Ok(self.result.unsigned_abs())
        }
    }
}

pub(super) struct Ring {
    ring: IoUring,
    no_iowait: bool,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<squeue::Entry>,
    in_flight: usize,
    pub(super) enters: u64,
    pub(super) submissions: u64,
    pub(super) completions: u64,
}

impl Ring {
    /// Makes a ring for the calling thread, which is the only one that may use it (`SINGLE_ISSUER`).
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            // Completions are posted inside our own enter calls only: no interruption of a running turn.
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            // One refused entry must not hold up those behind it.
            .setup_submit_all()
            .setup_cqsize(COMPLETION_ENTRIES.max(2 * entries.next_power_of_two()))
            .build(entries)?;
        // Workers only do what would block; without a bound, a burst of file operations starts a thread for each.
        ring.submitter().register_iowq_max_workers(&mut [KERNEL_WORKERS_MAX, KERNEL_WORKERS_MAX])?;
        let no_iowait = ring.params().is_feature_no_iowait();
        Ok(Self {
            ring,
            no_iowait,
            backlog: VecDeque::new(),
            in_flight: 0,
            enters: 0,
            submissions: 0,
            completions: 0,
        })
    }

    /// Number of operations that owe a completion.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The descriptor other rings send doorbells to.
    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    pub(super) fn has_no_iowait(&self) -> bool {
        self.no_iowait
    }

    /// For registration calls.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues an operation that will complete under `data`.
    ///
    /// # Safety
    /// Every address in the entry (and what lies behind it) stays valid until the operation's last completion has been
    /// reaped, cancelled or not; every descriptor in it stays open until the entry has been submitted.
    pub(super) unsafe fn submit(&mut self, entry: squeue::Entry, data: UserData) {
        self.in_flight += 1;
        self.queue(entry.user_data(data.0));
    }

    /// Queues an operation that completes only if it fails, and refers to no memory.
    pub(super) fn submit_silent(&mut self, entry: squeue::Entry, on_failure: UserData) {
        self.queue(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(on_failure.0));
    }

    fn queue(&mut self, entry: squeue::Entry) {
        self.submissions += 1;
        if self.backlog.is_empty() {
            if self.push(&entry) {
                return;
            }
            // A refused early submit leaves the entry in the backlog for the enter at the end of the turn, which reports.
            if self.enter_once(0, EnterFlags::empty(), None).is_ok() && self.push(&entry) {
                return;
            }
        }
        self.backlog.push_back(entry);
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: `submit`'s caller keeps what the entry refers to alive; `submit_silent`'s entries refer to nothing.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    /// Submits everything queued, lets the kernel post completions, and sleeps if asked to.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        loop {
            while let Some(entry) = self.backlog.front().cloned() {
                if !self.push(&entry) {
                    break;
                }
                self.backlog.pop_front();
            }
            if self.backlog.is_empty() {
                break;
            }
            self.enter_once(0, EnterFlags::GETEVENTS, None)?;
            if self.is_full() {
                // The kernel takes nothing more before completions are reaped: that comes first in the next turn.
                return Ok(());
            }
        }
        let mut flags = EnterFlags::GETEVENTS;
        match wait {
            Wait::No => self.enter_once(0, flags, None),
            Wait::Completion(timeout) => {
                if self.no_iowait {
                    flags |= EnterFlags::NO_IOWAIT;
                }
                self.enter_once(1, flags, timeout)
            }
        }
    }

    /// Hands what is queued to the kernel before the turn's end. What it does not take now, it takes then; so are errors told.
    pub(super) fn submit_now(&mut self) {
        let _ = self.enter_once(0, EnterFlags::empty(), None);
    }

    fn is_full(&mut self) -> bool {
        let mut queue = self.ring.submission();
        queue.sync();
        queue.is_full()
    }

    fn enter_once(&mut self, want: u32, flags: EnterFlags, timeout: Option<Duration>) -> io::Result<()> {
        let queued = {
            let mut queue = self.ring.submission();
            queue.sync();
            queue.len() as u32
        };
        self.enters += 1;
        let submitter = self.ring.submitter();
        let result = match timeout {
            None => {
                // SAFETY: no argument is passed; the counts and flags are what the man page allows.
                unsafe { submitter.enter::<libc::sigset_t>(queued, want, flags.bits(), None) }
            }
            Some(timeout) => {
                let time = types::Timespec::from(timeout);
                let arguments = types::SubmitArgs::new().timespec(&time);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: EXT_ARG asks for exactly this struct; it and the time it points to live across the call.
                unsafe { submitter.enter(queued, want, flags.bits(), Some(&arguments)) }
            }
        };
        match result {
            Ok(_) => Ok(()),
            // The time has passed; a signal came; completions must be reaped first; the kernel is short of memory for
            // requests: nothing is lost in any of these, the next turn goes on.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Copies out all completions that are there.
    pub(super) fn reap(&mut self, into: &mut VecDeque<Completion>) {
        let before = into.len();
        for entry in self.ring.completion() {
            let completion = Completion {
                data: UserData(entry.user_data()),
                result: entry.result(),
                flags: entry.flags(),
            };
            // Doorbells are other rings' operations, ringing is silent: neither is counted as in flight.
            let counted = !matches!(completion.data.kind(), Kind::Doorbell | Kind::Ringing | Kind::Ignored);
            if counted && !completion.more() {
                self.in_flight = self.in_flight.checked_sub(1).expect("a completion without an operation");
            }
            into.push_back(completion);
        }
        self.completions += (into.len() - before) as u64;
    }
}
