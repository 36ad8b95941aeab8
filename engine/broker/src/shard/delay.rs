//! Delayed messages of the queues that this shard owns.
//!
//! A delayed message is parked in the queue `SCHEDULE_TOPIC_XXXX` / level - 1 of this shard; when its level's time has passed
//! since it was stored, it is appended to its real queue. All messages of a level wait equally long, so each level is a queue
//! whose head alone has to be looked at.
//!
//! Progress moves only when a delivery is acknowledged, and goes to the coordination shard when the log is on stable media up to there: a
//! power cut must not keep the progress and take the deliveries. After a crash the messages delivered since the last report are
//! delivered again (at least once).

use std::time::Duration;

use ringmq_reactor::Monotonic;
use ringmq_remoting::record::properties::{self, name};
use ringmq_remoting::record::{RecordDraft, RecordView};
use ringmq_store::{Arrival, LogOffset, Lookup, ReadError, RecordRead, Store};
use tracing::{error, warn};

use super::acks::Waiting;
use super::plane::{Cold, Plane};
use super::reserved::SCHEDULE_TOPIC;
use super::wire::Wire;
use crate::config::DelayLevels;
use crate::message::DelayLevelProgress;

/// Messages that one turn delivers; the rest goes on in the next, so that requests are not held up.
const DELIVERIES_PER_TURN_MAX: usize = 256;
/// After the log refused a delivery, or the disk a read, the level rests for this long.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Level {
    delay_ms: u64,
    /// Next parked message to deliver.
    next: i64,
    /// Messages below it have been delivered and acknowledged.
    done: i64,
    /// `done` as last reported.
    reported: i64,
    /// When the message at `next` is due, wall clock ms; `None`: there is none.
    due_ms: Option<u64>,
    /// `due_ms` (then 0) stands for a message that has to be looked at first.
    unsure: bool,
    /// Its record, or its place in the index, is being read from disk.
    reading: bool,
    /// After a failure: not before.
    paused_until: Monotonic,
}

/// Progress on its way to the coordination shard, as (level, next offset).
#[derive(Debug)]
struct Report {
    /// It may go when the log is durable up to here, which covers the deliveries.
    end: LogOffset,
    progress: Vec<(i32, i64)>,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Delay {
    /// By level - 1.
    levels: Vec<Level>,
    /// One at a time; what is delivered meanwhile goes with the next.
    report: Option<Report>,
    /// Start of the log when the levels were last held against it.
    log_min: LogOffset,
}

impl Delay {
    pub(crate) fn new(levels: &DelayLevels) -> Self {
        let level = |level: u16| Level {
            delay_ms: levels
                .delay(level.into())
                .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            next: 0,
            done: 0,
            reported: 0,
            due_ms: None,
            unsure: false,
            reading: false,
            paused_until: Monotonic(0),
        };
        Self { levels: (1..=levels.count()).map(level).collect(), report: None, log_min: LogOffset(0) }
    }

    /// Persisted progress, at start: (level, next offset).
    pub(crate) fn load(&mut self, progress: &[(i32, i64)]) {
        for &(level, offset) in progress {
            match self.level_mut(level) {
                Some(level) => (level.next, level.done, level.reported) = (offset, offset, offset),
                None => warn!(level, "delay progress of a level that is not configured is ignored"),
            }
        }
    }

    /// Corrects the progress into what the parking queues hold; their heads are looked at next. Once, when everything is loaded.
    pub(crate) fn start(&mut self, store: &Store) {
        for (queue_id, level) in (0..).zip(&mut self.levels) {
            let (Some(min), Some(max)) =
                (store.min_offset(SCHEDULE_TOPIC, queue_id), store.max_offset(SCHEDULE_TOPIC, queue_id))
            else {
                level.next = 0;
                level.done = 0;
                continue;
            };
            level.next = level.next.clamp(min, max);
            level.done = level.next;
            level.be_unsure();
        }
    }

    /// Goes on behind messages that retention has removed before they were due.
    pub(crate) fn skip_removed(&mut self, store: &Store) {
        if self.log_min == store.log_min() {
            return;
        }
        self.log_min = store.log_min();
        // Looking again finds out.
        self.levels.iter_mut().filter(|level| level.due_ms.is_some()).for_each(Level::be_unsure);
    }

    /// A message became visible.
    pub(crate) fn arrived(&mut self, arrival: &Arrival) {
        if &*arrival.topic != SCHEDULE_TOPIC {
            return;
        }
        if let Some(level) = self.level_mut(arrival.queue_id + 1)
            && level.due_ms.is_none()
            && level.next <= arrival.queue_offset
        {
            level.due_ms = Some(due_ms(arrival.store_timestamp, level.delay_ms));
        }
    }

    /// The record of the level's head has come from disk.
    pub(crate) fn read_completed(&mut self, level: i32) {
        if let Some(level) = self.level_mut(level) {
            level.reading = false;
        }
    }

    /// The copy of the parked message at `offset` is acknowledged.
    pub(crate) fn delivered(&mut self, level: i32, offset: i64) {
        if let Some(level) = self.level_mut(level) {
            level.done = level.done.max(offset + 1);
        }
    }

    /// When the next delivery is due, in reactor time. Levels that wait for a read are woken by it.
    pub(crate) fn next_due(&self, now: Monotonic, wall_ms: u64) -> Option<Monotonic> {
        let due = |level: &Level| {
            let due_ms = level.due_ms.filter(|_| !level.reading)?;
            Some((now + Duration::from_millis(due_ms.saturating_sub(wall_ms))).max(level.paused_until))
        };
        self.levels.iter().filter_map(due).min()
    }

    /// Prepares a report of what was not reported yet; gives how far the log, which is acknowledged up to `acknowledged`, has to be
    /// durable for it to go. `None`: there is nothing to report, or one is on its way.
    pub(crate) fn prepare_report(&mut self, acknowledged: LogOffset) -> Option<LogOffset> {
        if self.report.is_some() || !self.has_progress() {
            return None;
        }
        let moved = (1..).zip(&mut self.levels).filter(|(_, level)| level.done != level.reported);
        let progress = moved.map(|(number, level)| {
            level.reported = level.done;
            (number, level.done)
        });
        self.report = Some(Report { end: acknowledged, progress: progress.collect() });
        Some(acknowledged)
    }

    /// The report that waits, if `durable` covers it.
    pub(crate) fn take_report(&mut self, durable: LogOffset) -> Option<Vec<(i32, i64)>> {
        self.report.take_if(|report| report.end <= durable).map(|report| report.progress)
    }

    /// Whether something has to be reported that is in no report yet.
    pub(crate) fn has_progress(&self) -> bool {
        self.levels.iter().any(|level| level.done != level.reported)
    }

    /// Everything is reported.
    pub(crate) fn is_reported(&self) -> bool {
        self.report.is_none() && !self.has_progress()
    }

    /// State of all levels that were ever used.
    pub(crate) fn progress(&self, store: &Store) -> Vec<DelayLevelProgress> {
        let state = |(number, level): (i32, &Level)| {
            let max_offset = store.max_offset(SCHEDULE_TOPIC, number - 1)?;
            Some(DelayLevelProgress { level: number, offset: level.done, max_offset })
        };
        (1..).zip(&self.levels).filter_map(state).collect()
    }

    fn level_mut(&mut self, level: i32) -> Option<&mut Level> {
        self.levels.get_mut(usize::try_from(level).ok()?.checked_sub(1)?)
    }
}

impl Level {
    /// The message at `next` has to be looked at.
    fn be_unsure(&mut self) {
        self.due_ms = Some(0);
        self.unsure = true;
    }
}

fn due_ms(store_timestamp: i64, delay_ms: u64) -> u64 {
    u64::try_from(store_timestamp).unwrap_or(0).saturating_add(delay_ms)
}

/// What became of a level's head.
enum Outcome {
    Delivered,
    /// It cannot be delivered, ever.
    Dropped,
    /// Its record is being read.
    Reading,
    /// Not now.
    Refused,
}

impl Plane {
    /// Delivers what is due.
    pub(crate) fn deliver_due(&mut self, wire: &mut Wire<'_>) {
        if self.draining {
            return;
        }
        let (now, wall_ms) = (wire.io.now(), wire.io.wall_ms());
        let mut left = DELIVERIES_PER_TURN_MAX;
        for index in 0..self.delay.levels.len() {
            let queue_id = i32::try_from(index).expect("at most 64 levels");
            while left > 0 {
                let level = &self.delay.levels[index];
                if level.reading || level.paused_until > now || level.unsure && !self.look(wire, queue_id) {
                    break;
                }
                let level = &self.delay.levels[index];
                if level.due_ms.is_none_or(|due| due > wall_ms) {
                    break;
                }
                let next = level.next;
                let outcome = self.deliver(wire, queue_id, next);
                left -= 1;
                let level = &mut self.delay.levels[index];
                match outcome {
                    Outcome::Delivered => {
                        level.next += 1;
                        level.be_unsure();
                    }
                    Outcome::Dropped => {
                        level.next += 1;
                        // Nothing in flight: progress may pass it at once. Otherwise the next delivery takes it along.
                        if level.done == next {
                            level.done = next + 1;
                        }
                        level.be_unsure();
                        self.report_soon(now);
                    }
                    Outcome::Reading => level.reading = true,
                    Outcome::Refused => level.paused_until = now + PAUSE,
                }
            }
        }
    }

    /// Finds out when a level's head is due; `false`: not now.
    fn look(&mut self, wire: &mut Wire<'_>, queue_id: i32) -> bool {
        let level = self.delay.level_mut(queue_id + 1).expect("a level that is looked at exists");
        match self.store.entry(wire.io, SCHEDULE_TOPIC, queue_id, level.next) {
            Lookup::Ready(entry) => {
                let min = self.store.min_offset(SCHEDULE_TOPIC, queue_id).unwrap_or(0);
                if level.next < min {
                    warn!(
                        level = queue_id + 1,
                        from = level.next,
                        to = min,
                        "delayed messages were removed before they were due"
                    );
                    (level.next, level.done) = (min, level.done.max(min));
                    return false;
                }
                if entry.is_none() && Some(level.next) < self.store.max_offset(SCHEDULE_TOPIC, queue_id) {
                    // Removed, and the queue is about to learn where it begins.
                    level.paused_until = wire.io.now() + PAUSE;
                    return false;
                }
                level.due_ms = entry.map(|entry| due_ms(entry.store_timestamp, level.delay_ms));
                level.unsure = false;
                true
            }
            Lookup::Wait(ticket) => {
                level.reading = true;
                self.cold.insert(ticket, Cold::Delay(queue_id + 1));
                false
            }
            Lookup::Failed(error) => {
                warn!(level = queue_id + 1, %error, "a delayed message cannot be looked at; trying again");
                level.paused_until = wire.io.now() + PAUSE;
                false
            }
        }
    }

    fn deliver(&mut self, wire: &mut Wire<'_>, queue_id: i32, offset: i64) -> Outcome {
        let level = queue_id + 1;
        let entry = match self.store.entry(wire.io, SCHEDULE_TOPIC, queue_id, offset) {
            Lookup::Ready(Some(entry)) => entry,
            Lookup::Ready(None) => {
                warn!(level, offset, "a delayed message was deleted before it was due");
                return Outcome::Dropped;
            }
            Lookup::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Delay(level));
                return Outcome::Reading;
            }
            Lookup::Failed(error) => {
                warn!(level, offset, %error, "a delayed message has to wait longer");
                return Outcome::Refused;
            }
        };
        let record = match self.store.record_at(wire.io, entry.physical_offset) {
            RecordRead::Ready(record) => record,
            RecordRead::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Delay(level));
                return Outcome::Reading;
            }
            RecordRead::Failed(ReadError::Busy | ReadError::Io { .. }) => return Outcome::Refused,
            RecordRead::Failed(error) => {
                error!(level, offset, %error, "a delayed message is lost");
                return Outcome::Dropped;
            }
            RecordRead::Missing => {
                error!(level, offset, at = %entry.physical_offset, "a delayed message is lost: the log does not hold it");
                return Outcome::Dropped;
            }
        };
        let view = match RecordView::parse(&record) {
            Ok(view) => view,
            Err(error) => {
                error!(level, offset, %error, "a delayed message is lost");
                return Outcome::Dropped;
            }
        };
        let text = view.properties();
        let topic = properties::get(&text, name::REAL_TOPIC);
        let queue = properties::get(&text, name::REAL_QUEUE_ID).and_then(|queue| queue.parse::<i32>().ok());
        let (Some(topic), Some(queue_id)) = (topic, queue) else {
            error!(level, offset, "a delayed message does not say where it belongs");
            return Outcome::Dropped;
        };
        if self.tables.topic(topic).is_none() {
            warn!(level, offset, topic, "the topic of a delayed message was deleted before it was due");
            return Outcome::Dropped;
        }
        if self.owner.of(topic, queue_id) != self.me {
            // Properties are not covered by the record's checksum.
            error!(
                level,
                offset, topic, queue_id, "a delayed message says that it belongs to another shard: damaged"
            );
            return Outcome::Dropped;
        }
        let draft = RecordDraft { topic, queue_id, store_host: self.address, ..view.draft(&text) };
        match self.append(wire.io, &draft, 0, view.tags_code()) {
            Ok(appended) => {
                self.stats.put(wire.io.now(), topic, 1, view.body().len());
                let waiting = Waiting::Delivery { level, offset };
                self.acks.push(appended.end, wire.io.now(), waiting);
                Outcome::Delivered
            }
            Err(refusal) => {
                warn!(level, offset, why = refusal.remark, "a delayed message has to wait longer");
                Outcome::Refused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringmq_transport::properties_file::SettingValue;

    use super::*;

    fn delay() -> Delay {
        Delay::new(&DelayLevels::read("k", "1s 5s 10s").expect("levels"))
    }

    fn arrival(queue_id: i32, queue_offset: i64, store_timestamp: i64) -> Arrival {
        Arrival { topic: Arc::from(SCHEDULE_TOPIC), queue_id, queue_offset, tags_code: 0, store_timestamp }
    }

    #[test]
    fn the_head_of_a_level_decides_when_it_is_due() {
        let mut delay = delay();
        assert_eq!(delay.next_due(Monotonic(0), 0), None);
        delay.arrived(&arrival(1, 0, 10_000));
        delay.arrived(&arrival(1, 1, 12_000));
        let second = |s: u64| Monotonic(s * 1_000_000_000);
        assert_eq!(delay.next_due(second(100), 10_000), Some(second(105)));
        delay.arrived(&arrival(0, 0, 11_000));
        assert_eq!(delay.next_due(second(100), 10_000), Some(second(102)));
        assert_eq!(delay.next_due(second(100), 99_000), Some(second(100)), "overdue is now");
    }

    #[test]
    fn progress_is_reported_once_and_only_after_delivery() {
        let mut delay = delay();
        delay.load(&[(2, 7), (9, 1)]);
        assert_eq!(delay.prepare_report(LogOffset(10)), None);
        delay.delivered(2, 7);
        delay.delivered(2, 8);
        assert_eq!(delay.prepare_report(LogOffset(100)), Some(LogOffset(100)));
        assert_eq!(delay.take_report(LogOffset(99)), None, "a power cut could take what was delivered");
        delay.delivered(1, 0);
        assert_eq!(delay.prepare_report(LogOffset(200)), None, "one at a time");
        assert_eq!(delay.take_report(LogOffset(100)), Some(vec![(2, 9)]));
        assert!(delay.has_progress());
        assert_eq!(delay.prepare_report(LogOffset(200)), Some(LogOffset(200)));
        assert_eq!(delay.take_report(LogOffset(300)), Some(vec![(1, 1)]));
        assert!(delay.is_reported());
    }
}
