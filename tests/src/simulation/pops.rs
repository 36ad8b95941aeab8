//! The oracle's part about pops: who has popped what, until when it is invisible, and what was acknowledged.
//!
//! - A record is given out at most once: what is not acknowledged comes again as a copy in the retry topic.
//! - A copy is not given out before the invisible time of the delivery it follows has passed.
//! - A message whose first delivery was acknowledged in time does not come again.
//! - In the end every message has been popped and acknowledged.
//!
//! Where a crash may have taken what was promised (a power cut under ASYNC_FLUSH) the first starts anew, and the third ends. Copies are made
//! again when a crash or a failing disk hides that they were made, so the second is held only against one life of the broker with a good disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmq_reactor::Monotonic;

use super::ledger::MessageId;
use super::plan::Weights;

/// A popped record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popped {
    /// Whose body it holds.
    pub id: MessageId,
    /// Topic that holds it: possibly a retry topic.
    pub topic: String,
    /// Queue.
    pub queue_id: i32,
    /// Queue offset.
    pub offset: i64,
    /// How often it was popped in vain.
    pub reconsumed: i32,
    /// Receipt handle.
    pub handle: String,
    /// By the broker's clock, ms.
    pub pop_time: i64,
    /// ms
    pub invisible: i64,
}

/// An answer of a process that has died arrives within this time.
const LATE_ANSWER: Duration = Duration::from_millis(200);
/// The clocks of two hosts, at most, and milliseconds that are cut off.
const CLOCKS_DIFFER_MS: i64 = 101;

#[derive(Debug, Clone, Copy)]
struct Delivery {
    life: u64,
    /// Not again before; wall clock of the broker, ms.
    until: i64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct PopBook {
    /// Of the broker's process.
    life: u64,
    /// Counts what may have taken records of pops.
    losses: u64,
    lost_at: Option<Monotonic>,
    disk_is_good: bool,
    /// By record: the losses at the time when it was given out.
    given: BTreeMap<(String, i32, i64), u64>,
    /// By message and number of vain deliveries: the earliest end.
    ends: BTreeMap<(MessageId, i32), Delivery>,
    /// Messages that must not come again.
    done: BTreeSet<MessageId>,
    /// Whose acknowledgement was sent: it may have been taken, whatever became of the answer and of who asked.
    perhaps_acked: BTreeSet<MessageId>,
    /// Poppers acknowledge everything now.
    pub finishing: bool,
}

impl PopBook {
    /// For a run with these faults.
    #[must_use]
    pub fn new(weights: &Weights) -> Self {
        let Weights { disk_errors, fail_once, bit_flip, slow_disk, disk_full, .. } = weights;
        let trouble = disk_errors + fail_once + bit_flip + slow_disk + disk_full;
        Self { disk_is_good: trouble == 0, ..Self::default() }
    }

    /// The broker's process has ended.
    pub fn life_ended(&mut self) {
        self.life += 1;
    }

    /// Something that was promised may be gone.
    pub fn lost(&mut self, now: Monotonic) {
        self.losses += 1;
        self.done.clear();
        self.lost_at = Some(now);
    }

    /// A record was given out; `wall_ms`: by the client's clock.
    ///
    /// # Errors
    /// It must not have been.
    pub fn popped(&mut self, popped: &Popped, now: Monotonic, wall_ms: i64) -> Result<(), String> {
        if self.lost_at.is_some_and(|at| now.since(at) < LATE_ANSWER) {
            // Perhaps of the process that has died.
            return Ok(());
        }
        if self.done.contains(&popped.id) {
            return Err(format!("popped although it was acknowledged: {popped:?}"));
        }
        let place = (popped.topic.clone(), popped.queue_id, popped.offset);
        if self.given.insert(place, self.losses) == Some(self.losses) {
            return Err(format!("popped a second time: {popped:?}"));
        }
        let before = self.ends.get(&(popped.id, popped.reconsumed - 1));
        if let Some(Delivery { life, until }) = before
            && self.disk_is_good
            && *life == self.life
            && wall_ms + CLOCKS_DIFFER_MS < *until
        {
            return Err(format!("popped again at {wall_ms}, its invisible time ends at {until}: {popped:?}"));
        }
        let until = popped.pop_time + popped.invisible;
        let end = self.ends.entry((popped.id, popped.reconsumed));
        let end = end.or_insert(Delivery { life: self.life, until });
        *end = Delivery { life: self.life, until: until.min(end.until) };
        Ok(())
    }

    /// Its invisible time may be another one from now on.
    pub fn changing(&mut self, popped: &Popped) {
        self.ends.remove(&(popped.id, popped.reconsumed));
    }

    /// An acknowledgement is on its way.
    pub fn acknowledging(&mut self, id: MessageId) {
        self.perhaps_acked.insert(id);
    }

    /// It was answered with success; `wall_ms`: by the client's clock.
    pub fn acked(&mut self, popped: &Popped, wall_ms: i64) {
        // Of what was popped in vain before there may be several copies.
        let is_only = popped.reconsumed == 0 && self.losses == 0;
        let in_time = |end: &Delivery| wall_ms + CLOCKS_DIFFER_MS < end.until;
        if is_only && self.ends.get(&(popped.id, 0)).is_some_and(in_time) {
            self.done.insert(popped.id);
        }
    }

    /// What became of a message, for people.
    #[must_use]
    pub fn history(&self, id: MessageId) -> String {
        let deliveries = self.ends.range((id, i32::MIN)..=(id, i32::MAX));
        let deliveries: Vec<_> = deliveries
            .map(|((_, vain), end)| format!("delivery {vain} in life {}, until {}", end.life, end.until))
            .collect();
        if deliveries.is_empty() { format!("{id:?} never popped") } else { format!("{id:?} {deliveries:?}") }
    }

    /// Whether it need not come again.
    #[must_use]
    pub fn is_acked(&self, id: MessageId) -> bool {
        self.perhaps_acked.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(offset: i64, reconsumed: i32, pop_time: i64) -> Popped {
        Popped {
            id: MessageId(1),
            topic: format!("T{reconsumed}"),
            queue_id: 0,
            offset,
            reconsumed,
            handle: String::new(),
            pop_time,
            invisible: 100,
        }
    }

    #[test]
    fn a_second_delivery_and_one_too_early_are_found() {
        let mut book = PopBook::new(&Weights::default());
        let pop = |book: &mut PopBook, offset, reconsumed, at| {
            book.popped(&popped(offset, reconsumed, at), Monotonic(0), at)
        };
        pop(&mut book, 0, 0, 1_000).expect("the first");
        assert!(pop(&mut book, 0, 0, 2_000).is_err());
        assert!(pop(&mut book, 0, 1, 998).is_err());
        pop(&mut book, 1, 1, 1_100).expect("in time");
        book.life_ended();
        pop(&mut book, 2, 1, 998).expect("a copy may have been made twice");
        book.lost(Monotonic(0));
        let later = Monotonic(1_000_000_000);
        book.popped(&popped(0, 0, 1_200), later, 1_200).expect("what was promised may be gone");
    }
    #[test]
    fn what_was_acknowledged_in_time_must_not_come_again() {
        let mut book = PopBook::new(&Weights::default());
        let pop = |id, offset, reconsumed, at| Popped {
            id: MessageId(id),
            invisible: 1_000,
            ..popped(offset, reconsumed, at)
        };
        let (late, early) = (pop(1, 0, 0, 1_000), pop(2, 1, 0, 1_000));
        for first in [&late, &early] {
            book.popped(first, Monotonic(0), 1_000).expect("the first");
        }
        book.acked(&late, 1_950);
        book.acked(&early, 1_500);
        book.popped(&pop(1, 2, 1, 2_000), Monotonic(0), 2_000).expect("perhaps the broker's clock is ahead");
        assert!(book.popped(&pop(2, 3, 1, 2_000), Monotonic(0), 2_000).is_err());
        book.lost(Monotonic(0));
        let later = Monotonic(1_000_000_000);
        book.popped(&pop(2, 3, 1, 2_000), later, 3_000).expect("what was promised may be gone");
    }
}
