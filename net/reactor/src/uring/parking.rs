//! The hand-shake between a shard that goes to sleep and those that have work for it.
//!
//! Sleeper and sender each write one thing and then read the other's:
//!
//! ```text
//!   sleeper                               sender
//!   S1  parked = true                     M1  put the message into the mailbox
//!   S2  fence(SeqCst)                     M2  fence(SeqCst)
//!   S3  look into all mailboxes           M3  parked? ─ yes: parked = false, ring the doorbell
//!   S4  empty: sleep in the kernel
//!   S5  parked = false
//! ```
//!
//! **No wake-up is lost.** The two fences have one order for everybody. If S2 comes first, M3 reads what S1 wrote (or
//! something later): either `parked`, and the doorbell rings; or `false`, because another sender took the flag, and then that
//! sender rings; or `false` from S5, and then the sleeper is awake and looks into its mailboxes in the turn it is
//! about to begin, after S5, which reads M1's write: M3 read S5's value only after it happened, and if that read is
//! *not* ordered before the look (it need not be), the sleeper's next S1–S3 repeats this argument with the message already in
//! the mailbox. If M2 comes first, S3 sees the message and the sleeper does not sleep.
//! A doorbell between S1 and S4 is a completion in the sleeper's ring: the sleep of S4 ends at once.
//! The flag is only a hint about *ringing*: a needless doorbell costs a turn, never correctness.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// One shard's "I am asleep, ring if you have something" flag.
#[derive(Debug)]
pub(super) struct Parking {
    parked: AtomicBool,
}

impl Parking {
    pub(super) fn new() -> Self {
        Self { parked: AtomicBool::new(false) }
    }

    /// S1, S2. The caller then looks for work once more; if there is any, it must not sleep.
    pub(super) fn prepare(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// S5, also when the shard found work and did not sleep.
    pub(super) fn leave(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// M3; the caller has executed a SeqCst fence after making its work visible. True: ring, it is up to you.
    pub(super) fn claim_doorbell(&self) -> bool {
        // The load spares the cache line a write when the shard is awake, which is the loaded case.
        self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed)
    }
}
