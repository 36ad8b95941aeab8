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
//! **No wake-up is lost.** The two fences have one order for everybody.
//!
//! * M2 before S2: S3 sees the message, the sleeper does not sleep.
//! * S2 before M2: M3 reads S1's write or a later one. If that is `true`, the doorbell rings. If it is `false`, either another
//!   sender has taken the flag, and rings, or S5 has lowered it. In both cases the sleeper runs another turn and then comes
//!   to S1–S3 again, where the same argument holds with the message already in the mailbox: M3 has read a value older than
//!   the new S1, so M2 is before the new S2, so the new S3 sees the message.
//!
//! A doorbell between S1 and S4 is a completion in the sleeper's ring: the sleep of S4 ends at once. A needless doorbell
//! costs a turn, never correctness. `tests/parking_model.rs` tries all interleavings.

// By way of the parent, so that `tests/parking_model.rs` can put this file over loom's atomics.
use super::atomic::{AtomicBool, Ordering, fence};

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
        self.parked.load(Ordering::Relaxed)
            && self.parked.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
