//! The oracle: what was promised, and whether what is seen agrees with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ringmq_reactor::Monotonic;
use rustc_hash::FxHashMap;

use super::plan::{FlushMode, Plan, SHARDS, SLOWNESS_MAX, STALL_MAX, TOPICS};
use super::pops::PopBook;
use super::topics::Topics;
use super::wire::{Found, topic};

/// One attempt to send one message: never used twice, so each may be in the log once at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// A queue, by the topic's place in [`TOPICS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// Index in [`TOPICS`].
    pub topic: usize,
    /// Queue id.
    pub id: i32,
}

/// All queues.
pub fn queues() -> impl Iterator<Item = Queue> {
    TOPICS.iter().enumerate().flat_map(|(topic, (_, count))| (0..*count).map(move |id| Queue { topic, id }))
}

struct Attempt {
    queue: Queue,
    tried: Monotonic,
    /// Where it was first seen or acknowledged.
    offset: Option<i64>,
}

/// A message known to be in a queue: acknowledged to its producer, or seen by a reader.
struct Known {
    id: MessageId,
    physical: i64,
    since: Monotonic,
    acknowledged: bool,
    /// A power cut may have taken it back.
    doubtful: bool,
}

/// A consumer offset that the broker confirmed.
struct Commit {
    offset: i64,
    confirmed: Monotonic,
    /// A crash followed within the persistence interval.
    doubtful: bool,
}

/// Counts for the report.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Sends that were answered with success, in messages.
    pub acknowledged: u64,
    /// Sends that were refused, failed or timed out.
    pub refused: u64,
    /// Records that consumers were given.
    pub consumed: u64,
    /// Offsets committed.
    pub commits: u64,
    /// Times the broker was started.
    pub lives: u64,
    /// Logs of which one flush failed.
    pub failed_logs: u64,
    /// Bits that turned over.
    pub flips: u64,
    /// Those that ended the broker's start.
    pub flips_told: u64,
}

/// See the module's text.
pub struct Ledger {
    flush: FlushMode,
    /// What a power cut may take back under ASYNC_FLUSH: messages not older than this.
    window: Duration,
    offset_window: Duration,
    attempts: FxHashMap<MessageId, Attempt>,
    known: BTreeMap<Queue, BTreeMap<i64, Known>>,
    commits: BTreeMap<Queue, Vec<Commit>>,
    /// Highest offset a commit was tried with.
    commit_tried: BTreeMap<Queue, i64>,
    next: u64,
    /// Since when flushes may have failed, until a start with a sound disk.
    disk_trouble: Option<Monotonic>,
    /// Shards whose log has failed, and when, until the next start.
    failed_logs: BTreeMap<i64, Monotonic>,
    /// What was at a place before a loss, where something else is now.
    replaced: BTreeMap<(Queue, i64), (MessageId, i64)>,
    /// What a write that was begun may take to fail.
    slack: Duration,
    /// The last end of the broker that was not in order.
    last_crash: Option<Monotonic>,
    /// ASYNC_FLUSH: what is known since then may never have been flushed, since the process that should have done it died. Until
    /// the next one serves: recovery flushes what it believes.
    unflushed_from: Option<Monotonic>,
    started_at: Monotonic,
    /// The broker has acknowledged something since.
    serves: bool,
    /// When the broker got no turns, in order, without overlaps.
    stalls: Vec<(Monotonic, Monotonic)>,
    /// Killed or without power, and not started again: what clients still hear says nothing of the next process.
    is_down: bool,
    /// Between a power cut and the next start: what clients still hear was under way before.
    without_power: bool,
    /// A power cut has taken messages back (or may have): consumers may have to go back.
    pub messages_lost: bool,
    violations: Vec<String>,
    /// What was promised about topics.
    pub topics: Topics,
    /// For the report.
    pub counts: Counts,
    /// Clients go on as long as these hold.
    pub producing: bool,
    /// See `producing`.
    pub consuming: bool,
    /// What [`super::checker`] read last.
    pub snapshot: Option<Snapshot>,
    /// Acknowledgements by producer worker: progress.
    pub progress: BTreeMap<(u32, u32), u64>,
    /// Next offset of each queue's consumer.
    pub consumed_to: BTreeMap<Queue, i64>,
    /// What was popped.
    pub pops: PopBook,
}

/// Every queue as one reader saw it.
pub type Snapshot = BTreeMap<Queue, Vec<Found>>;

/// The ledger, as clients and harness share it: all on one thread, but services must be `Send` when they are made.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// An empty one.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self(Arc::new(Mutex::new(Ledger::new(plan))))
    }

    /// Never held over an `await`.
    ///
    /// # Panics
    /// If a holder panicked.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().expect("no holder panicked")
    }
}

/// An answer of a process that has died arrives within this time.
const LATE_ANSWER: Duration = Duration::from_millis(50);
/// What a process that has died gave a reader arrives within this time, also if the network stood still.
const LATE_SIGHT: Duration = Duration::from_secs(1);

/// What a flush may take: with the exceptions of the simulated disk (30 ms, see `SimOptions`), twice, since one that has begun
/// before must end first; slower on a slow disk, later in a process that gets no processor.
fn flush_slack(plan: &Plan) -> Duration {
    let slowness = if plan.weights.slow_disk > 0 { SLOWNESS_MAX } else { 1 };
    let stall = if plan.weights.stall > 0 { STALL_MAX } else { Duration::ZERO };
    Duration::from_millis(2 * 31 * slowness + 100) + stall
}

impl Ledger {
    fn new(plan: &Plan) -> Self {
        let slack = flush_slack(plan);
        Self {
            flush: plan.flush,
            window: plan.flush_interval + slack,
            // The interval covers the way to the coordination shard and the wait there; then come the write before it and its own,
            // perhaps with the beginning of a new file.
            offset_window: plan.offset_interval + 4 * slack,
            attempts: FxHashMap::default(),
            known: BTreeMap::new(),
            commits: BTreeMap::new(),
            commit_tried: BTreeMap::new(),
            next: 1,
            disk_trouble: None,
            failed_logs: BTreeMap::new(),
            replaced: BTreeMap::new(),
            slack,
            last_crash: None,
            unflushed_from: None,
            started_at: Monotonic(0),
            serves: false,
            is_down: false,
            stalls: Vec::new(),
            without_power: false,
            messages_lost: false,
            violations: Vec::new(),
            topics: Topics::default(),
            counts: Counts::default(),
            producing: true,
            consuming: true,
            snapshot: None,
            progress: BTreeMap::new(),
            consumed_to: BTreeMap::new(),
            pops: PopBook::new(&plan.weights),
        }
    }

    /// Notes that the broker did what it must not do.
    pub fn violation(&mut self, at: Monotonic, what: impl Into<String>) {
        const KEPT: usize = 20;
        if self.violations.len() < KEPT {
            self.violations.push(format!("{:.6} s: {}", at.0 as f64 / 1e9, what.into()));
        }
    }

    /// What was noted.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// New attempts to send to a queue.
    pub fn attempt(&mut self, queue: Queue, count: usize, now: Monotonic) -> Vec<MessageId> {
        let ids: Vec<MessageId> = (self.next..).take(count).map(MessageId).collect();
        self.next += count as u64;
        for id in &ids {
            self.attempts.insert(*id, Attempt { queue, tried: now, offset: None });
        }
        ids
    }

    /// A send was refused, or nobody knows what came of it.
    pub fn refused(&mut self, count: usize) {
        self.counts.refused += count as u64;
    }

    /// The broker acknowledged a send.
    pub fn acknowledged(
        &mut self,
        queue: Queue,
        ids: &[MessageId],
        first: i64,
        physical: &[i64],
        now: Monotonic,
    ) {
        self.counts.acknowledged += ids.len() as u64;
        if !self.is_down && now > self.started_at + LATE_ANSWER {
            // The broker serves: its recovery is over.
            self.unflushed_from = None;
            self.serves = true;
        }
        for ((id, offset), physical) in ids.iter().zip(first..).zip(physical) {
            let tried = self.attempts.get(id).map_or(now, |attempt| attempt.tried);
            if let Some(failed) = self.failed_logs.get(&(physical >> 56))
                && tried > *failed + self.slack
            {
                let what = format!(
                    "{queue:?}: {id:?} acknowledged by a log that failed at {:.6} s",
                    failed.0 as f64 / 1e9
                );
                self.violation(now, what);
            }
            self.learn(queue, Found { offset, id: *id, physical: *physical }, true, now);
        }
    }

    /// A reader saw a message.
    pub fn seen(&mut self, queue: Queue, found: Found, now: Monotonic) {
        self.learn(queue, found, false, now);
    }

    fn learn(&mut self, queue: Queue, found: Found, acknowledged: bool, now: Monotonic) {
        let how = if acknowledged { "acknowledged" } else { "seen" };
        let Found { offset, id, physical } = found;
        let owner = (crc32(topic(queue).as_bytes()).wrapping_add(queue.id as u32) % u32::from(SHARDS)) as i64;
        if physical >> 56 != owner {
            self.violation(
                now,
                format!("{queue:?} offset {offset}: physical offset {physical:#x}, owner is {owner}"),
            );
        }
        match self.attempts.get_mut(&id) {
            None => {
                return self
                    .violation(now, format!("{queue:?} offset {offset}: {id:?} {how}, which nobody sent"));
            }
            Some(attempt) if attempt.queue != queue => {
                let sent = attempt.queue;
                return self.violation(
                    now,
                    format!("{id:?} was sent to {sent:?} and {how} in {queue:?} at {offset}"),
                );
            }
            Some(attempt) => match attempt.offset {
                Some(other) if other != offset => {
                    let what = format!("{queue:?}: {id:?} {how} at {offset}, and before at {other}");
                    return self.violation(now, what);
                }
                _ => attempt.offset = Some(offset),
            },
        }
        let fresh = Known { id, physical, since: now, acknowledged, doubtful: self.without_power };
        let slot = self.known.entry(queue).or_default();
        match slot.get_mut(&offset) {
            Some(known) if known.id == id && known.physical == physical => {
                known.acknowledged |= acknowledged;
            }
            Some(known) if known.doubtful => {
                self.replaced.insert((queue, offset), (known.id, known.physical));
                *known = fresh;
            }
            // An answer of the process that has died, which a cut connection held back.
            Some(_)
                if !acknowledged
                    && now < self.started_at + LATE_SIGHT
                    && self.replaced.get(&(queue, offset)) == Some(&(id, physical)) => {}
            Some(known) => {
                let (was, at) = (known.id, known.physical);
                let what = format!(
                    "{queue:?} offset {offset}: {id:?} at {physical:#x} {how}, but {was:?} at {at:#x} was there before"
                );
                self.violation(now, what);
            }
            None => {
                slot.insert(offset, fresh);
            }
        }
    }

    /// Writes or flushes may fail from now on.
    pub fn disk_trouble(&mut self, now: Monotonic) {
        self.disk_trouble.get_or_insert(now);
    }

    /// A write or flush of a shard's log was made to fail.
    pub fn log_failed(&mut self, shard: i64, now: Monotonic) {
        self.failed_logs.insert(shard, now);
        self.counts.failed_logs += 1;
    }

    /// A bit of the tail cache's file turned over after the broker was killed: what only memory had may be lost, as by a power cut.
    pub fn memory_damaged(&mut self, now: Monotonic) {
        self.lose_unflushed(now);
    }

    /// Where the newest known message of a shard is in its log.
    #[must_use]
    pub fn newest_physical(&self, shard: i64) -> Option<i64> {
        let all = self.known.values().flat_map(BTreeMap::values);
        // A power cut may have taken what is known from an earlier life: the log then is not as far any more.
        let all = all.filter(|known| known.since > self.started_at + LATE_ANSWER).map(|known| known.physical);
        all.filter(|physical| physical >> 56 == shard).map(|physical| physical & !(0xFF << 56)).max()
    }

    /// A bit turned over while the broker did not run; `survived`: it starts all the same.
    pub fn flipped(&mut self, survived: bool) {
        self.counts.flips += 1;
        self.counts.flips_told += u64::from(!survived);
    }

    /// Whether the broker serves with a disk that works: asked to stop, it closes its files in order.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.serves && self.disk_trouble.is_none()
    }

    /// The broker's process was killed.
    pub fn killed(&mut self, now: Monotonic) {
        self.is_down = true;
        self.doubt_commits(now);
        self.unflushed(now);
    }

    /// The process that flushes died, or could not flush any more.
    fn unflushed(&mut self, since: Monotonic) {
        let from = self.disk_trouble.map_or(since, |trouble| trouble.min(since));
        let from = self.awake_before(from, self.window);
        self.unflushed_from = Some(self.unflushed_from.map_or(from, |known| known.min(from)));
    }

    /// The broker gets no turn until then. Called in the order of time.
    pub fn stalled(&mut self, now: Monotonic, until: Monotonic) {
        match self.stalls.last_mut() {
            Some((_, end)) if *end >= now => *end = (*end).max(until),
            _ => self.stalls.push((now, until)),
        }
    }

    /// The moment before `at` from which on the broker was awake for so long: a process without turns flushes nothing.
    fn awake_before(&self, mut at: Monotonic, mut awake: Duration) -> Monotonic {
        for (from, until) in self.stalls.iter().rev() {
            let until = (*until).min(at);
            if until <= *from {
                continue;
            }
            let between = at.since(until);
            if between >= awake {
                break;
            }
            awake -= between;
            at = *from;
        }
        at - awake
    }

    /// What was committed shortly before a crash, or since the disk fails, may be lost.
    fn doubt_commits(&mut self, crash: Monotonic) {
        self.last_crash = self.last_crash.max(Some(crash));
        let from = self.disk_trouble.map_or(crash, |trouble| trouble.min(crash)) - self.offset_window;
        for commit in self.commits.values_mut().flatten() {
            commit.doubtful |= commit.confirmed >= from;
        }
    }

    /// The broker's host lost its power.
    pub fn power_cut(&mut self, now: Monotonic) {
        self.is_down = true;
        self.doubt_commits(now);
        if self.lose_unflushed(now) {
            self.without_power = true;
        }
    }

    /// Whether there may have been anything.
    fn lose_unflushed(&mut self, now: Monotonic) -> bool {
        if self.flush == FlushMode::Sync {
            return false;
        }
        // While flushes fail or nobody flushes, nothing more becomes durable.
        self.unflushed(now);
        let from = self.unflushed_from.take().expect("set by the call above");
        for known in self.known.values_mut().flat_map(BTreeMap::values_mut) {
            known.doubtful |= known.since >= from;
        }
        self.messages_lost = true;
        self.pops.lost(now);
        true
    }

    /// The broker is started; `sound`: with a disk that works.
    pub fn started(&mut self, sound: bool, now: Monotonic) {
        self.started_at = now;
        self.serves = false;
        self.is_down = false;
        self.failed_logs.clear();
        self.counts.lives += 1;
        self.pops.life_ended();
        self.without_power = false;
        if let Some(trouble) = self.disk_trouble {
            // However it ended: it may have been unable to write.
            self.doubt_commits(trouble);
            self.unflushed(trouble);
        }
        if sound {
            self.disk_trouble = None;
        }
    }

    /// A commit is tried.
    pub fn committing(&mut self, queue: Queue, offset: i64) {
        let tried = self.commit_tried.entry(queue).or_default();
        *tried = offset.max(*tried);
    }

    /// A commit that was sent at `sent` was confirmed.
    pub fn committed(&mut self, queue: Queue, offset: i64, sent: Monotonic, now: Monotonic) {
        self.counts.commits += 1;
        // The confirmation may have been under way when the broker died.
        let doubtful = self.last_crash >= Some(sent);
        self.commits.entry(queue).or_default().push(Commit { offset, confirmed: now, doubtful });
    }

    /// The broker says where the group stands in a queue; `None`: it knows of no offset.
    pub fn stands_at(&mut self, queue: Queue, offset: Option<i64>, now: Monotonic) {
        let tried = self.commit_tried.get(&queue).copied().unwrap_or(0);
        if offset.unwrap_or(0) > tried {
            self.violation(
                now,
                format!("{queue:?}: the group stands at {offset:?}, no commit went above {tried}"),
            );
        }
        // Consumers went back with the queue: what was confirmed last is not the greatest.
        if self.messages_lost {
            return;
        }
        // Not the greatest: a consumer that began again at a lost offset commits lower ones than before.
        let commits = self.commits.get(&queue).map_or(&[][..], Vec::as_slice);
        let Some(last) = commits.iter().rposition(|commit| !commit.doubtful) else { return };
        let lowest = commits[last..].iter().map(|commit| commit.offset).min().expect("at least one");
        if offset.is_none_or(|offset| offset < lowest) {
            let confirmed = commits[last].confirmed.0 as f64 / 1e9;
            let what = format!(
                "{queue:?}: the group stands at {offset:?}, but {} was committed at {confirmed:.6} s, more than {:?} before any \
                 crash, and nothing below {lowest} since",
                commits[last].offset, self.offset_window
            );
            self.violation(now, what);
        }
    }

    /// Compares everything that is known with what a reader found.
    pub fn compare(&mut self, snapshot: &Snapshot, when: &str, now: Monotonic) {
        let mut wrong = Vec::new();
        for (queue, known) in &self.known {
            let empty = Vec::new();
            let found = snapshot.get(queue).unwrap_or(&empty);
            for (offset, known) in known {
                let there = found.get(*offset as usize).map(|record| record.id);
                if there != Some(known.id) && !known.doubtful {
                    let how = if known.acknowledged { "acknowledged" } else { "seen" };
                    let since = known.since.0 as f64 / 1e9;
                    wrong.push(format!(
                        "{when}: {queue:?} offset {offset}: {:?}, {how} at {since:.6} s, is gone ({there:?} is there, the \
                         queue ends at {})",
                        known.id,
                        found.len()
                    ));
                }
            }
        }
        for what in wrong {
            self.violation(now, what);
        }
        for (queue, found) in snapshot {
            for record in found {
                self.seen(*queue, *record, now);
            }
        }
    }

    /// What was lost by a power cut is gone for good, once the broker has shown its log: from here on everything counts.
    pub fn settle(&mut self, snapshot: &Snapshot) {
        for (queue, known) in &mut self.known {
            let end = snapshot.get(queue).map_or(0, Vec::len) as i64;
            known.retain(|offset, known| !(known.doubtful && *offset >= end));
            for known in known.values_mut() {
                known.doubtful = false;
            }
        }
    }
}

/// CRC-32 (IEEE), as topics are spread over shards; bit by bit, since the oracle must not share the broker's code.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::Build;
    use super::*;

    const QUEUE: Queue = Queue { topic: 0, id: 0 };

    fn ledger(flush: FlushMode) -> Ledger {
        Ledger::new(&Plan { flush, ..Plan::new(1, Build::Honest) })
    }

    fn physical(n: i64) -> i64 {
        let owner = i64::from(crc32(TOPICS[0].0.as_bytes()) % u32::from(SHARDS));
        owner << 56 | n
    }

    fn acknowledge(ledger: &mut Ledger, offset: i64, at: u64) -> MessageId {
        let ids = ledger.attempt(QUEUE, 1, Monotonic(0));
        ledger.acknowledged(QUEUE, &ids, offset, &[physical(offset)], Monotonic(at));
        ids[0]
    }

    fn snapshot(ids: &[MessageId]) -> Snapshot {
        let found = (0..).zip(ids).map(|(offset, id)| Found { offset, id: *id, physical: physical(offset) });
        Snapshot::from([(QUEUE, found.collect())])
    }

    #[test]
    fn crc_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let mut ledger = ledger(FlushMode::Sync);
        let ids = [acknowledge(&mut ledger, 0, 1), acknowledge(&mut ledger, 1, 2)];
        ledger.power_cut(Monotonic(3));
        ledger.compare(&snapshot(&ids), "whole", Monotonic(4));
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.compare(&snapshot(&ids[..1]), "short", Monotonic(5));
        assert_eq!(ledger.violations().len(), 1);
    }

    #[test]
    fn a_power_cut_may_take_back_what_is_younger_than_the_interval_and_no_more() {
        let mut ledger = ledger(FlushMode::Async);
        let old = acknowledge(&mut ledger, 0, 1);
        let cut = 10_000_000_000;
        acknowledge(&mut ledger, 1, cut - 1_000);
        ledger.power_cut(Monotonic(cut));
        ledger.compare(&snapshot(&[old]), "after", Monotonic(cut));
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        // Its offset is given to another.
        ledger.started(true, Monotonic(cut + 1));
        acknowledge(&mut ledger, 1, cut + 1_000);
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.compare(&snapshot(&[]), "nothing left", Monotonic(cut));
        assert_eq!(ledger.violations().len(), 2);
    }

    #[test]
    fn what_a_killed_process_had_not_flushed_is_lost_by_a_power_cut_before_the_next_serves() {
        let second = 1_000_000_000;
        for serves_before_the_cut in [false, true] {
            let mut ledger = ledger(FlushMode::Async);
            acknowledge(&mut ledger, 0, 20 * second);
            ledger.killed(Monotonic(20 * second + 1));
            ledger.started(true, Monotonic(30 * second));
            if serves_before_the_cut {
                acknowledge(&mut ledger, 1, 31 * second);
            }
            ledger.power_cut(Monotonic(31 * second + 1));
            ledger.compare(&snapshot(&[]), "after", Monotonic(40 * second));
            assert_eq!(
                ledger.violations().len(),
                usize::from(serves_before_the_cut),
                "{:?}",
                ledger.violations()
            );
        }
    }

    #[test]
    fn an_answer_that_was_under_way_at_a_kill_does_not_show_that_the_next_process_serves() {
        let second = 1_000_000_000;
        let mut ledger = ledger(FlushMode::Async);
        ledger.started(true, Monotonic(second));
        acknowledge(&mut ledger, 0, 20 * second);
        ledger.killed(Monotonic(20 * second + 1));
        acknowledge(&mut ledger, 1, 20 * second + 2);
        ledger.power_cut(Monotonic(31 * second));
        ledger.compare(&snapshot(&[]), "after", Monotonic(40 * second));
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
    }

    #[test]
    fn a_broker_without_turns_flushes_nothing() {
        let mut ledger = ledger(FlushMode::Async);
        let window = ledger.window.as_nanos() as u64;
        let at = |windows: u64| Monotonic(windows * window);
        ledger.stalled(at(10), at(12));
        ledger.stalled(at(11), at(13));
        ledger.stalled(at(20), at(21));
        assert_eq!(ledger.awake_before(at(30), ledger.window), at(29));
        assert_eq!(ledger.awake_before(at(21), ledger.window), at(19));
        assert_eq!(ledger.awake_before(at(12), ledger.window), at(9));
        assert_eq!(
            ledger.awake_before(Monotonic(13 * window + window / 2), ledger.window),
            Monotonic(9 * window + window / 2)
        );
    }

    #[test]
    fn committed_offsets_lose_at_most_the_interval() {
        let mut ledger = ledger(FlushMode::Sync);
        let window = ledger.offset_window.as_nanos() as u64;
        ledger.committing(QUEUE, 20);
        ledger.committed(QUEUE, 10, Monotonic(0), Monotonic(1));
        ledger.committed(QUEUE, 20, Monotonic(0), Monotonic(window));
        ledger.killed(Monotonic(window + 10));
        // Long after, and after another crash: what the first one took stays lost.
        ledger.killed(Monotonic(10 * window));
        ledger.stands_at(QUEUE, Some(10), Monotonic(11 * window));
        assert!(ledger.violations().is_empty(), "{:?}", ledger.violations());
        ledger.stands_at(QUEUE, Some(9), Monotonic(11 * window));
        ledger.stands_at(QUEUE, None, Monotonic(11 * window));
        ledger.stands_at(QUEUE, Some(21), Monotonic(11 * window));
        assert_eq!(ledger.violations().len(), 3, "{:?}", ledger.violations());
    }

    #[test]
    fn doubles_strangers_and_changes_are_noticed() {
        let mut ledger = ledger(FlushMode::Sync);
        let first = acknowledge(&mut ledger, 0, 1);
        ledger.seen(QUEUE, Found { offset: 1, id: first, physical: physical(1) }, Monotonic(2));
        ledger.seen(QUEUE, Found { offset: 2, id: MessageId(999), physical: physical(2) }, Monotonic(3));
        let other = ledger.attempt(QUEUE, 1, Monotonic(0))[0];
        ledger.seen(QUEUE, Found { offset: 0, id: other, physical: physical(0) }, Monotonic(4));
        assert_eq!(ledger.violations().len(), 3, "{:?}", ledger.violations());
    }
}
