//! Mail between the shards of a process.
//!
//! A [`PostOffice`] is shared by all shards: one bounded queue for each ordered pair, written by one shard and read by
//! one. A [`Desk`] is one shard's end of it, on that shard's thread.
//!
//! **Order.** Mail of one sender stays in the order in which it was sent, even across receivers: once a message has found
//! a full mailbox, everything sent after it, to whomever, queues up behind it. And while any waits, the shard sends nothing to
//! its peers (see `Core::flush`). Otherwise a peer could act on an answer before another shard has seen the mail that was sent
//! before the answer, which the invariant of causal mail forbids. Receivers empty their mailboxes every turn whatever
//! else they do, so the wait is short and no ring of waiting shards can form. Of letters of different senders, those of the higher shard
//! number come first, see [`Desk::look`].
//!
//! **Waking.** See [`super::parking`]. The same hand-shake serves a sender that sleeps while its mail waits for room:
//! it sets `wants_room` where it found no room, and the reader that makes room looks at that flag after its fence.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::parking::Parking;
use crate::{ListenerId, ShardId, Token};

/// An accepted socket on its way to the shard that will own it.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) socket: OwnedFd,
    pub(super) token: Token,
    pub(super) listener: ListenerId,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// What travels in a mailbox.
pub(super) enum Letter<M> {
    Mail(M),
    Connection(Handover),
}

/// State of one shard that others look at. Own cache lines: neighbours are written by other threads.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Counter {
    parking: Parking,
    /// The shard takes no more mail; what is sent to it is dropped.
    ended: AtomicBool,
    stop: AtomicBool,
    /// The shard's ring, once made.
    ring: AtomicI32,
    /// Wakes the shard from threads that have no ring.
    wake: EventFd,
}

/// From one shard to another.
#[repr(align(128))]
struct Mailbox<M> {
    letters: ArrayQueue<Letter<M>>,
    wants_room: AtomicBool,
}

/// All mailboxes of a process.
pub(super) struct PostOffice<M> {
    counters: Arc<[Counter]>,
    /// `[to * shards + from]`
    mailboxes: Box<[Mailbox<M>]>,
}

impl Counter {
    fn new() -> io::Result<Self> {
        Ok(Self {
            parking: Parking::new(),
            ended: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            ring: AtomicI32::new(-1),
            wake: EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// Asks the shard to stop, from any thread.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Makes the shard run a turn, from any thread.
    pub(super) fn wake(&self) {
        // Fails only when the counter is full, and then a wake-up is already under way.
        let _ = self.wake.write(1);
    }

    pub(super) fn wake_descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The shard will read no more mail.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

impl<M> PostOffice<M> {
    pub(super) fn new(shards: usize, messages: usize) -> io::Result<Self> {
        let counters = (0..shards).map(|_| Counter::new()).collect::<io::Result<Vec<_>>>()?;
        let mailboxes = (0..shards * shards)
            .map(|_| Mailbox {
                letters: ArrayQueue::new(messages.max(1)),
                wants_room: AtomicBool::new(false),
            })
            .collect();
        Ok(Self { counters: counters.into(), mailboxes })
    }

    /// The part that needs no message type.
    pub(super) fn counters(&self) -> Arc<[Counter]> {
        Arc::clone(&self.counters)
    }

    fn mailbox(&self, to: ShardId, from: ShardId) -> &Mailbox<M> {
        &self.mailboxes[usize::from(to.0) * self.counters.len() + usize::from(from.0)]
    }
}

/// One shard's mail, on its thread.
pub(super) struct Desk<M> {
    office: Arc<PostOffice<M>>,
    me: ShardId,
    /// Mail to itself.
    own: VecDeque<M>,
    /// Mail that found its mailbox full, and all mail sent after it.
    waiting: VecDeque<(ShardId, Letter<M>)>,
    /// Shards to which something went (or for which room was made) since the last [`Desk::doorbells`].
    touched: Vec<bool>,
    any_touched: bool,
    /// Letters in each mailbox, see [`Desk::look`].
    seen: Vec<usize>,
    pub(super) overflowed: u64,
}

impl<M> Desk<M> {
    pub(super) fn new(office: Arc<PostOffice<M>>, me: ShardId) -> Self {
        let shards = office.counters.len();
        Self {
            office,
            me,
            own: VecDeque::new(),
            waiting: VecDeque::new(),
            touched: vec![false; shards],
            any_touched: false,
            seen: vec![0; shards],
            overflowed: 0,
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.office.counters.len()
    }

    pub(super) fn counter(&self) -> &Counter {
        &self.office.counters[usize::from(self.me.0)]
    }

    /// Says where this shard's doorbell is.
    pub(super) fn open(&self, ring: std::os::fd::RawFd) {
        self.counter().ring.store(ring, Ordering::Release);
    }

    /// Whether mail waits on this side for room.
    pub(super) fn is_held_up(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn has_own_mail(&self) -> bool {
        !self.own.is_empty()
    }

    pub(super) fn send_to_self(&mut self, message: M) {
        self.own.push_back(message);
    }

    pub(super) fn take_own(&mut self) -> VecDeque<M> {
        std::mem::take(&mut self.own)
    }

    /// Sends a letter to another shard.
    pub(super) fn send(&mut self, to: ShardId, letter: Letter<M>) {
        debug_assert!(to != self.me, "mail to oneself does not travel");
        assert!(usize::from(to.0) < self.shards(), "mail to shard {to} of {}", self.shards());
        if self.waiting.is_empty() {
            match self.post(to, letter) {
                Ok(()) => return,
                Err(letter) => self.waiting.push_back((to, letter)),
            }
        } else {
            self.waiting.push_back((to, letter));
        }
        self.overflowed += 1;
    }

    fn post(&mut self, to: ShardId, letter: Letter<M>) -> Result<(), Letter<M>> {
        if self.office.counters[usize::from(to.0)].has_ended() {
            return Ok(());
        }
        self.office.mailbox(to, self.me).letters.push(letter)?;
        self.touch(to);
        Ok(())
    }

    fn touch(&mut self, shard: ShardId) {
        self.touched[usize::from(shard.0)] = true;
        self.any_touched = true;
    }

    /// Moves waiting mail on, as far as there is room.
    pub(super) fn send_waiting(&mut self) {
        while let Some((to, letter)) = self.waiting.pop_front() {
            if let Err(letter) = self.post(to, letter) {
                self.waiting.push_front((to, letter));
                break;
            }
        }
    }

    /// How many more letters the mailbox to `to` takes before they wait.
    pub(super) fn room(&self, to: ShardId) -> usize {
        if to == self.me {
            return self.office.mailbox(to, to).letters.capacity().saturating_sub(self.own.len());
        }
        if self.is_held_up() || usize::from(to.0) >= self.shards() {
            return 0;
        }
        let letters = &self.office.mailbox(to, self.me).letters;
        letters.capacity() - letters.len()
    }

    /// Takes the next letter from `from`.
    pub(super) fn receive(&mut self, from: ShardId) -> Option<Letter<M>> {
        self.office.mailbox(self.me, from).letters.pop()
    }

    /// Looks how many letters there are, from the mailbox of the lowest number up. Letters are to be taken from the highest down, as many as
    /// were seen: if shard 2 has written to us and then to shard 1, and shard 1 therefore writes to us, then who sees the letter of 1 sees
    /// that of 2 after it, and takes it first. The shard that tells all others how things are has the highest number.
    pub(super) fn look(&mut self) {
        for from in 0..self.shards() {
            self.seen[from] = self.office.mailbox(self.me, ShardId(from as u16)).letters.len();
        }
    }

    /// How many letters from `from` there were at the last [`Desk::look`].
    pub(super) fn seen(&self, from: ShardId) -> usize {
        self.seen[usize::from(from.0)]
    }

    /// After letters were received from `from`: a sender that waits for room is told.
    pub(super) fn made_room(&mut self, from: ShardId) {
        // Pairs with the fence in `prepare_to_park` of a sender that is held up: either that sender sees the room, or we
        // see that it wants some.
        fence(Ordering::SeqCst);
        let wants_room = &self.office.mailbox(self.me, from).wants_room;
        if wants_room.load(Ordering::Relaxed) {
            wants_room.store(false, Ordering::Relaxed);
            self.touch(from);
        }
    }

    /// Calls `ring` with the ring of every parked shard for which this turn left something. Once a turn.
    pub(super) fn doorbells(&mut self, mut ring: impl FnMut(ShardId, std::os::fd::RawFd)) {
        if !std::mem::take(&mut self.any_touched) {
            return;
        }
        // M2 of `parking`: after all of this turn's messages.
        fence(Ordering::SeqCst);
        for shard in 0..self.touched.len() {
            if std::mem::take(&mut self.touched[shard]) {
                let counter = &self.office.counters[shard];
                if counter.parking.claim_doorbell() {
                    ring(ShardId(shard as u16), counter.ring.load(Ordering::Acquire));
                }
            }
        }
    }

    /// Rings `shard` again after its doorbell failed: without looking at the flag, which we took down.
    pub(super) fn wake_directly(&self, shard: ShardId) {
        self.office.counters[usize::from(shard.0)].wake();
    }

    /// Announces that this shard is about to sleep. False: there is something to do, it must not.
    /// Either way [`Desk::leave_park`] follows.
    pub(super) fn prepare_to_park(&mut self) -> bool {
        if !self.own.is_empty() || self.any_touched {
            return false;
        }
        if let Some((to, _)) = self.waiting.front() {
            self.office.mailbox(*to, self.me).wants_room.store(true, Ordering::Relaxed);
        }
        self.counter().parking.prepare();
        let mail = (0..self.shards() as u16)
            .any(|from| !self.office.mailbox(self.me, ShardId(from)).letters.is_empty());
        let room = self.waiting.front().is_some_and(|(to, _)| {
            !self.office.mailbox(*to, self.me).letters.is_full()
                || self.office.counters[usize::from(to.0)].has_ended()
        });
        !mail && !room
    }

    pub(super) fn leave_park(&mut self) {
        self.counter().parking.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desks() -> Vec<Desk<&'static str>> {
        let office = Arc::new(PostOffice::new(3, 8).expect("event descriptors"));
        (0..3).map(|shard| Desk::new(Arc::clone(&office), ShardId(shard))).collect()
    }

    /// As a shard does in a turn.
    fn take(desk: &mut Desk<&'static str>, out: &mut Vec<&'static str>) {
        for from in [2, 1].map(ShardId) {
            for _ in 0..desk.seen(from) {
                let Some(Letter::Mail(text)) = desk.receive(from) else { panic!("a letter that was seen") };
                out.push(text);
            }
        }
    }

    #[test]
    fn a_cause_is_taken_before_what_follows_from_it() {
        let mut desks = desks();
        let mut taken = Vec::new();
        desks[2].send(ShardId(0), Letter::Mail("there is a group"));
        desks[1].send(ShardId(0), Letter::Mail("a commit of that group"));
        desks[0].look();
        // Later letters wait for the next turn, with all that they follow from.
        desks[2].send(ShardId(0), Letter::Mail("there is a topic"));
        desks[1].send(ShardId(0), Letter::Mail("a message for that topic"));
        take(&mut desks[0], &mut taken);
        assert_eq!(taken, ["there is a group", "a commit of that group"]);
        desks[0].look();
        take(&mut desks[0], &mut taken);
        assert_eq!(taken[2..], ["there is a topic", "a message for that topic"]);
    }
}
