//! This shard's share of the answers to broker-wide questions.

use std::sync::Arc;

use ringmq_reactor::Monotonic;
use ringmq_store::{Boundary, KeyQuery, Lookup, ReadTicket, Store};
use rustc_hash::FxHashMap;

use super::acks::Waiting;
use super::by_key::KeyedWork;
use super::plane::{Cold, Plane};
use super::wire::Wire;
use crate::message::{
    Answer, ConsumeQueueStats, ConsumeSpan, Question, QueueOffset, QueueStats, ResetTarget, ShardMessage,
    ShardRuntime, Topic,
};

/// A question whose answer needs parts of the queue index that have to be read first. It is asked again with each part that has come;
/// what was learnt is kept, so that every part is read once.
#[derive(Debug)]
pub(crate) struct Gathering {
    id: u64,
    question: Question,
    times: Times,
}

/// What the reference shows for the time of a message that is not there.
const NO_TIME: i64 = -1;

/// Store times that were learnt: (topic, queue, offset).
type Times = FxHashMap<(Arc<str>, i32, i64), Option<i64>>;

impl Plane {
    /// Asks again.
    pub(crate) fn gather(&mut self, wire: &mut Wire<'_>, gathering: Gathering) {
        let Gathering { id, question, mut times } = gathering;
        let now = wire.io.now();
        let answer = match &question {
            Question::ConsumeStats { group, topics } => {
                self.consume_stats(wire, &mut times, group, topics.as_deref())
            }
            Question::ConsumeSpans { group, topic } => {
                self.consume_spans(wire, &mut times, group, topic).map(Answer::ConsumeSpans)
            }
            Question::ResetTargets { group, topic, target } => {
                let queues = self.queues_below(topic, |topic| topic.write_queues);
                self.reset_targets(wire, &mut times, topic, queues, *target).map(|targets| {
                    let offset = |(queue_id, offset)| QueueOffset {
                        group: Arc::clone(group),
                        topic: Arc::clone(topic),
                        queue_id,
                        offset,
                    };
                    Answer::Offsets(targets.into_iter().map(offset).collect())
                })
            }
            Question::ResetOffsets { group, topic, queue_id, target, force } => {
                self.reset_offsets(wire, &mut times, group, topic, *queue_id, *target, *force).map(|moved| {
                    self.report_soon(now);
                    for QueueOffset { group, topic, queue_id, .. } in &moved {
                        self.adopt_offset(wire, group, topic, *queue_id);
                    }
                    Answer::Offsets(moved)
                })
            }
            question => unreachable!("{question:?} needs nothing from disk"),
        };
        match answer {
            Ok(answer) => {
                let coordination = self.owner.coordination();
                wire.post.mail(wire.io, coordination, ShardMessage::Answer { id, answer });
            }
            Err(ticket) => {
                self.cold.insert(ticket, Cold::Gather(Box::new(Gathering { id, question, times })));
            }
        }
    }

    pub(crate) fn question(&mut self, wire: &mut Wire<'_>, id: u64, question: Question) {
        let now = wire.io.now();
        let answer = match question {
            Question::TopicStats { topic } => Answer::TopicStats(self.topic_stats(&topic)),
            Question::ConsumeStats { .. }
            | Question::ConsumeSpans { .. }
            | Question::ResetTargets { .. }
            | Question::ResetOffsets { .. } => {
                return self.gather(wire, Gathering { id, question, times: Times::default() });
            }
            Question::CleanExpired => {
                self.store.clean_expired();
                Answer::Done
            }
            Question::Keyed(query) => {
                let lookup = Store::key_lookup(KeyQuery::clone(&query));
                return self.run_keyed(wire, KeyedWork { id, lookup });
            }
            Question::Record(offset) => return self.record_for_coordination(wire, id, offset),
            Question::Runtime => Answer::Runtime(Box::new(self.runtime(wire, now))),
            Question::Stats { name, key } => Answer::Stats(self.stats.item(now, &name, &key)),
            Question::GroupOffsets { group, topic } => {
                Answer::Offsets(self.group_offsets(&group, topic.as_deref()))
            }
            Question::TopicOffsets { topic } => Answer::Offsets(self.offsets.in_topic(&topic)),
            Question::TopicGroups { topic } => Answer::Groups(self.offsets.groups_of(&topic)),
            Question::DeleteTopic { topic } => return self.delete_topic(wire, id, &topic),
            Question::DeleteGroupOffsets { group } => {
                self.forget_pops(wire, |key| *key.group == *group);
                self.offsets.delete_group(&group);
                self.stats.forget(&group);
                Answer::Done
            }
            Question::CloneOffsets { from, to, topic } => {
                self.offsets.clone_group(&from, &to, topic.as_deref());
                self.adopt_cloned(wire, &from, &to, topic.as_deref());
                self.report_soon(now);
                Answer::Done
            }
        };
        let coordination = self.owner.coordination();
        wire.post.mail(wire.io, coordination, ShardMessage::Answer { id, answer });
    }

    /// The queues of a topic that this shard owns, stored into or not.
    fn own_queues(&self, topic: &str) -> Vec<i32> {
        self.queues_below(topic, |topic| topic.read_queues.max(topic.write_queues))
    }

    /// Those of the topic's first so many queues that this shard owns.
    fn queues_below(&self, topic: &str, count: impl Fn(&Topic) -> i32) -> Vec<i32> {
        let configured = self.tables.topic(topic).map_or(0, |entry| count(&entry.config));
        (0..configured).filter(|&queue| self.owner.of(topic, queue) == self.me).collect()
    }

    /// Oldest offset of a queue, and one past its newest visible one; 0 and 0 for a queue that was never stored into.
    pub(super) fn bounds(&self, topic: &str, queue_id: i32) -> (i64, i64) {
        let min = self.store.min_offset(topic, queue_id).unwrap_or(0);
        (min, self.store.max_offset(topic, queue_id).unwrap_or(min))
    }

    /// Store time of a message; `None` if there is none. The error: what has to be waited for.
    fn store_time(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        topic: &Arc<str>,
        queue_id: i32,
        offset: i64,
    ) -> Result<Option<i64>, ReadTicket> {
        let (min, max) = self.bounds(topic, queue_id);
        if !(min..max).contains(&offset) {
            return Ok(None);
        }
        if offset == max - 1 {
            return Ok(self.store.newest_store_time(topic, queue_id));
        }
        let key = (Arc::clone(topic), queue_id, offset);
        if let Some(time) = times.get(&key) {
            return Ok(*time);
        }
        let time = match self.store.entry(wire.io, topic, queue_id, offset) {
            Lookup::Ready(entry) => entry.map(|entry| entry.store_timestamp),
            Lookup::Wait(ticket) => return Err(ticket),
            Lookup::Failed(error) => {
                tracing::warn!(%topic, queue_id, offset, %error, "a time for statistics could not be read");
                None
            }
        };
        times.insert(key, time);
        Ok(time)
    }

    fn topic_stats(&self, topic: &str) -> Vec<QueueStats> {
        let stats = |queue_id| {
            let (min_offset, max_offset) = self.bounds(topic, queue_id);
            let last_update_ms = self.store.newest_store_time(topic, queue_id).unwrap_or(0);
            QueueStats { queue_id, min_offset, max_offset, last_update_ms }
        };
        self.own_queues(topic).into_iter().map(stats).collect()
    }

    fn consume_stats(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        group: &str,
        topics: Option<&[Arc<str>]>,
    ) -> Result<Answer, ReadTicket> {
        let topics: Vec<Arc<str>> = match topics {
            Some(topics) => topics.to_vec(),
            None => {
                let mut topics: Vec<_> =
                    self.offsets.of_group(group, None).map(|(topic, ..)| Arc::clone(topic)).collect();
                topics.dedup();
                topics
            }
        };
        let mut queues = Vec::new();
        let mut tps = 0.0;
        for topic in &topics {
            tps += self.stats.group_get_tps(wire.io.now(), topic, group);
            for queue_id in self.own_queues(topic) {
                let position = self.offsets.get(group, topic, queue_id);
                let consumer_offset = position.and_then(|p| p.committed).unwrap_or(0).max(0);
                let pull_offset = position.and_then(|p| p.pulled).unwrap_or(0);
                let last_time = self.store_time(wire, times, topic, queue_id, consumer_offset - 1)?;
                queues.push(ConsumeQueueStats {
                    topic: Arc::clone(topic),
                    queue_id,
                    broker_offset: self.bounds(topic, queue_id).1,
                    consumer_offset,
                    pull_offset: pull_offset.max(consumer_offset),
                    last_timestamp_ms: last_time.unwrap_or(0),
                });
            }
        }
        Ok(Answer::ConsumeStats { queues, tps })
    }

    fn consume_spans(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        group: &str,
        topic: &Arc<str>,
    ) -> Result<Vec<ConsumeSpan>, ReadTicket> {
        let wall_ms = i64::try_from(wire.io.wall_ms()).unwrap_or(i64::MAX);
        let mut spans = Vec::new();
        for queue_id in self.queues_below(topic, |topic| topic.write_queues) {
            let (min, max) = self.bounds(topic, queue_id);
            let min_ms = self.store_time(wire, times, topic, queue_id, min)?.unwrap_or(NO_TIME);
            let committed = self.offsets.get(group, topic, queue_id).and_then(|p| p.committed).unwrap_or(0);
            let consumed_ms = match committed {
                1.. => self.store_time(wire, times, topic, queue_id, committed - 1)?.unwrap_or(NO_TIME),
                _ => min_ms,
            };
            let waiting_since = self.store_time(wire, times, topic, queue_id, committed.max(min))?;
            spans.push(ConsumeSpan {
                queue_id,
                min_ms,
                max_ms: self.store_time(wire, times, topic, queue_id, max - 1)?.unwrap_or(NO_TIME),
                consumed_ms,
                delay_ms: waiting_since.map_or(0, |since| wall_ms.saturating_sub(since).max(0)),
            });
        }
        Ok(spans)
    }

    fn group_offsets(&self, group: &str, topic: Option<&str>) -> Vec<QueueOffset> {
        let name: Arc<str> = Arc::from(group);
        let offset = |(topic, queue_id, position): (&Arc<str>, i32, &super::offsets::Position)| {
            let offset = position.committed?;
            Some(QueueOffset { group: Arc::clone(&name), topic: Arc::clone(topic), queue_id, offset })
        };
        self.offsets.of_group(group, topic).filter_map(offset).collect()
    }

    fn runtime(&mut self, wire: &Wire<'_>, now: Monotonic) -> ShardRuntime {
        let store = self.store.stats();
        let stats = &mut self.stats;
        ShardRuntime {
            put_messages: stats.put_messages,
            put_bytes: stats.put_bytes,
            put_failed: stats.put_failed,
            get_messages: stats.get_messages,
            put_rates: stats.put.rates(now),
            get_found_rates: stats.get_found.rates(now),
            get_miss_rates: stats.get_miss.rates(now),
            get_transferred_rates: stats.get_transferred.rates(now),
            put_latency: stats.put_latency.clone(),
            get_max_ms: stats.get_max_ms,
            log_min: self.store.log_min().0,
            log_max: self.store.log_max().0,
            log_durable: self.store.durable().0,
            earliest_store_ms: self.store.log_earliest_store_time(),
            connections: wire.connections.len(),
            held_pulls: self.held.len(),
            pending_sends: self.acks.len(),
            pending_send_oldest_ms: u64::try_from(self.acks.oldest(now).as_millis()).unwrap_or(u64::MAX),
            delay: self.delay.progress(&self.store),
            tail_outlives_process: store.tail_outlives_process,
            unwritten_bytes: store.unwritten_bytes,
            poisoned: self.store.poisoned().map(ToString::to_string),
        }
    }

    /// Answered when the deletion is acknowledged: after a crash the topic's queues do not come back.
    fn delete_topic(&mut self, wire: &mut Wire<'_>, id: u64, topic: &str) {
        let mut held = Vec::new();
        self.held.take_topic(topic, &mut held);
        self.forget_popped_topic(wire, topic);
        let deleted = self.store.delete_topic(wire.io, topic);
        self.offsets.delete_topic(topic);
        self.stats.forget(topic);
        for pull in held {
            self.run_pull(wire, pull);
        }
        match deleted {
            Ok(end) => self.acks.push(end, wire.io.now(), Waiting::Question { id }),
            Err(error) => {
                tracing::error!(topic, %error, "the topic's queues could not be deleted");
                self.answer_done(wire, id);
            }
        }
    }

    pub(crate) fn answer_done(&mut self, wire: &mut Wire<'_>, id: u64) {
        let coordination = self.owner.coordination();
        wire.post.mail(wire.io, coordination, ShardMessage::Answer { id, answer: Answer::Done });
    }

    #[allow(clippy::too_many_arguments, reason = "the question's fields, and what it is answered with")]
    fn reset_offsets(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        group: &Arc<str>,
        topic: &Arc<str>,
        queue_id: Option<i32>,
        target: ResetTarget,
        force: bool,
    ) -> Result<Vec<QueueOffset>, ReadTicket> {
        let mut queues = self.queues_below(topic, |topic| topic.read_queues);
        queues.retain(|&queue| queue_id.is_none_or(|only| only == queue));
        // Nothing is moved before everything is known.
        let mut moved = Vec::new();
        for (queue_id, offset) in self.reset_targets(wire, times, topic, queues, target)? {
            let committed = self.offsets.get(group, topic, queue_id).and_then(|p| p.committed);
            if !force && committed.is_some_and(|committed| committed < offset) {
                continue;
            }
            self.offsets.reset(group, topic, queue_id, offset);
            moved.push(QueueOffset { group: Arc::clone(group), topic: Arc::clone(topic), queue_id, offset });
        }
        Ok(moved)
    }

    /// Queue and offset for each of the queues that has what is asked for.
    fn reset_targets(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        topic: &Arc<str>,
        queues: Vec<i32>,
        target: ResetTarget,
    ) -> Result<Vec<(i32, i64)>, ReadTicket> {
        let mut targets = Vec::new();
        for queue_id in queues {
            let (min, max) = self.bounds(topic, queue_id);
            let offset = match target {
                ResetTarget::Offset(offset) if (min..=max + 1).contains(&offset) => offset,
                ResetTarget::Offset(_) => continue,
                ResetTarget::Time(time) => self.offset_at(wire, times, topic, queue_id, time)?,
                ResetTarget::Max => max,
            };
            targets.push((queue_id, offset));
        }
        Ok(targets)
    }

    /// The first message of a queue that was stored at `time` or later. Kept in `times` by the time: there is one for a question.
    fn offset_at(
        &mut self,
        wire: &mut Wire<'_>,
        times: &mut Times,
        topic: &Arc<str>,
        queue_id: i32,
        time: i64,
    ) -> Result<i64, ReadTicket> {
        let key = (Arc::clone(topic), queue_id, time);
        if let Some(offset) = times.get(&key) {
            return Ok(offset.unwrap_or(0));
        }
        let offset = match self.store.offset_by_time(wire.io, topic, queue_id, time, Boundary::Lower) {
            Lookup::Ready(offset) => offset.unwrap_or(0),
            Lookup::Wait(ticket) => return Err(ticket),
            Lookup::Failed(error) => {
                tracing::error!(%topic, queue_id, time, %error, "an offset could not be found by time; the oldest is taken");
                self.bounds(topic, queue_id).0
            }
        };
        times.insert(key, Some(offset));
        Ok(offset)
    }
}
