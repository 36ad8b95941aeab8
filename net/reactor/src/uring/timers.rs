//! Timers of one shard: a heap by time, then by age.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::{ConnectionId, ListenerId, Monotonic, TimerId, Token};

/// What happens when a timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The service is told.
    Service(Token),
    /// A connection attempt has taken too long.
    Connect(ConnectionId),
    /// A closing connection has taken too long.
    Close(ConnectionId),
    /// A listener that ran out of descriptors tries again.
    Accept(ListenerId),
}

#[derive(Default)]
pub(super) struct Timers {
    /// May hold taken-back timers, which are not in `live`.
    heap: BinaryHeap<Reverse<(Monotonic, u64)>>,
    live: FxHashMap<u64, Due>,
    next: u64,
}

impl Timers {
    /// Adds a timer. Timers of the same time fire in the order in which they were added.
    pub(super) fn add(&mut self, at: Monotonic, due: Due) -> TimerId {
        let id = self.next;
        self.next += 1;
        self.heap.push(Reverse((at, id)));
        self.live.insert(id, due);
        TimerId(id)
    }

    /// Takes a timer back; nothing happens if it has fired.
    pub(super) fn cancel(&mut self, timer: TimerId) {
        self.live.remove(&timer.0);
        // Cancelled entries leave the heap when their time comes; a service that sets and cancels far-off timers all the
        // time must not fill it meanwhile. Amortised: a rebuild of n entries follows at least n/2 cancellations.
        if self.heap.len() > 64 && self.heap.len() > 2 * self.live.len() {
            let live = &self.live;
            self.heap.retain(|Reverse((_, id))| live.contains_key(id));
        }
    }

    /// When the next timer is due.
    pub(super) fn next_at(&mut self) -> Option<Monotonic> {
        while let Some(Reverse((at, id))) = self.heap.peek().copied() {
            if self.live.contains_key(&id) {
                return Some(at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the next timer that is due at `now` and was added before `fence` (see [`Timers::fence`]).
    pub(super) fn pop(&mut self, now: Monotonic, fence: u64) -> Option<Due> {
        let at = self.next_at()?;
        let Reverse((_, id)) = *self.heap.peek()?;
        if at > now || id >= fence {
            return None;
        }
        self.heap.pop();
        self.live.remove(&id)
    }

    /// Separates the timers that exist from those added later: what a firing timer adds waits for the next turn.
    pub(super) fn fence(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(value: u64) -> Due {
        Due::Service(Token::new(1, value))
    }

    #[test]
    fn timers_fire_by_time_then_by_age() {
        let mut timers = Timers::default();
        timers.add(Monotonic(30), due(1));
        timers.add(Monotonic(10), due(2));
        let taken_back = timers.add(Monotonic(10), due(3));
        timers.add(Monotonic(10), due(4));
        timers.cancel(taken_back);
        let fence = timers.fence();
        assert_eq!(timers.pop(Monotonic(9), fence), None);
        assert_eq!(timers.pop(Monotonic(10), fence), Some(due(2)));
        assert_eq!(timers.pop(Monotonic(10), fence), Some(due(4)));
        assert_eq!(timers.pop(Monotonic(10), fence), None);
        assert_eq!(timers.next_at(), Some(Monotonic(30)));
        assert_eq!(timers.pop(Monotonic(31), fence), Some(due(1)));
        assert_eq!(timers.next_at(), None);
    }

    #[test]
    fn a_timer_added_while_timers_fire_waits_for_the_next_turn() {
        let mut timers = Timers::default();
        timers.add(Monotonic(1), due(1));
        let fence = timers.fence();
        assert_eq!(timers.pop(Monotonic(5), fence), Some(due(1)));
        timers.add(Monotonic(2), due(2));
        assert_eq!(timers.pop(Monotonic(5), fence), None);
        assert_eq!(timers.pop(Monotonic(5), timers.fence()), Some(due(2)));
    }

    #[test]
    fn cancelled_timers_do_not_pile_up() {
        let mut timers = Timers::default();
        for n in 0..100_000 {
            let id = timers.add(Monotonic(u64::MAX - n), due(n));
            timers.cancel(id);
        }
        assert!(timers.heap.len() <= 65, "{} entries of no live timer", timers.heap.len());
    }
}
