//! All interleavings of the hand-shake between a shard that goes to sleep and shards that send to it: the very code of
//! the driver over loom's atomics. A lost wake-up is a deadlock, which loom reports.
#![allow(missing_docs, reason = "a test")]

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[path = "../src/uring/parking.rs"]
mod parking;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Notify};
use loom::thread;
use parking::Parking;

struct Shard {
    parking: Parking,
    /// Messages put in and not yet taken: what a mailbox's indices say.
    mail: [AtomicUsize; 2],
    /// The ring: a doorbell that comes before the sleep ends it at once.
    ring: Notify,
}

impl Shard {
    fn new() -> Self {
        Self {
            parking: Parking::new(),
            mail: [AtomicUsize::new(0), AtomicUsize::new(0)],
            ring: Notify::new(),
        }
    }

    fn send(&self, from: usize) {
        self.mail[from].fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.parking.claim_doorbell() {
            self.ring.notify();
        }
    }

    fn take(&self) -> usize {
        self.mail.iter().map(|mail| mail.swap(0, Ordering::Acquire)).sum()
    }

    fn park(&self) {
        self.parking.prepare();
        if self.mail.iter().all(|mail| mail.load(Ordering::Relaxed) == 0) {
            self.ring.wait();
        }
        self.parking.leave();
    }
}

#[test]
fn two_senders_never_leave_the_sleeper_asleep() {
    // Three threads have too many interleavings for all of them; two forced switches find the classic mistakes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shard = Arc::new(Shard::new());
        let senders = [0, 1].map(|from| {
            let shard = Arc::clone(&shard);
            thread::spawn(move || shard.send(from))
        });
        let mut got = 0;
        while got < 2 {
            shard.park();
            got += shard.take();
        }
        for sender in senders {
            sender.join().expect("sender");
        }
    });
}

#[test]
fn a_sender_of_two_messages_never_leaves_the_sleeper_asleep() {
    loom::model(|| {
        let shard = Arc::new(Shard::new());
        let sender = Arc::clone(&shard);
        let sender = thread::spawn(move || {
            sender.send(0);
            sender.send(0);
        });
        let mut got = 0;
        while got < 2 {
            shard.park();
            got += shard.take();
        }
        sender.join().expect("sender");
    });
}

/// A sender that sleeps because the mailbox is full, and the reader that makes room (`Desk::prepare_to_park`, `Desk::made_room`).
#[test]
fn a_sender_that_waits_for_room_is_woken_by_the_reader() {
    loom::model(|| {
        let sender = Arc::new(Shard::new());
        let full = Arc::new(AtomicBool::new(true));
        let wants_room = Arc::new(AtomicBool::new(false));
        let reader = {
            let (sender, full, wants_room) =
                (Arc::clone(&sender), Arc::clone(&full), Arc::clone(&wants_room));
            thread::spawn(move || {
                full.store(false, Ordering::Release);
                fence(Ordering::SeqCst);
                if wants_room.load(Ordering::Relaxed) {
                    wants_room.store(false, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    if sender.parking.claim_doorbell() {
                        sender.ring.notify();
                    }
                }
            })
        };
        while full.load(Ordering::Acquire) {
            wants_room.store(true, Ordering::Relaxed);
            sender.parking.prepare();
            if full.load(Ordering::Relaxed) {
                sender.ring.wait();
            }
            sender.parking.leave();
        }
        reader.join().expect("reader");
    });
}
