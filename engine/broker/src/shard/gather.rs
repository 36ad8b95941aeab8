//! This shard's share of the answers to broker-wide questions.

use std::sync::Arc;

use ringmq_reactor::Monotonic;
use ringmq_store::{Boundary, KeyQuery, Store};

use super::acks::Waiting;
use super::by_key::KeyedWork;
use super::plane::Plane;
use super::wire::Wire;
use crate::message::{
    Answer, ConsumeQueueStats, ConsumeSpan, Question, QueueOffset, QueueStats, ResetTarget, ShardMessage,
    ShardRuntime,
};

impl Plane {
    pub(crate) fn question(&mut self, wire: &mut Wire<'_>, id: u64, question: Question) {
        let now = wire.io.now();
        let answer = match question {
            Question::TopicStats { topic } => Answer::TopicStats(self.topic_stats(&topic)),
            Question::ConsumeStats { group, topics } => self.consume_stats(now, &group, topics.as_deref()),
            Question::ConsumeSpans { group, topic } => {
                Answer::ConsumeSpans(self.consume_spans(&group, &topic, wire.io.wall_ms()))
            }
            Question::CleanExpired => {
                self.store.clean_expired();
                Answer::Done
            }
            Question::Keyed(query) => {
                let lookup = Store::key_lookup(KeyQuery::clone(&query));
                return self.run_keyed(wire, KeyedWork { id, lookup });
            }
            Question::Runtime => Answer::Runtime(Box::new(self.runtime(wire, now))),
            Question::Stats { name, key } => Answer::Stats(self.stats.item(now, &name, &key)),
            Question::GroupOffsets { group, topic } => {
                Answer::Offsets(self.group_offsets(&group, topic.as_deref()))
            }
            Question::TopicGroups { topic } => Answer::Groups(self.offsets.groups_of(&topic)),
            Question::DeleteTopic { topic } => return self.delete_topic(wire, id, &topic),
            Question::DeleteGroupOffsets { group } => {
                self.offsets.delete_group(&group);
                self.stats.forget(&group);
                Answer::Done
            }
            Question::ResetOffsets { group, topic, queue_id, target, force } => {
                let moved = self.reset_offsets(&group, &topic, queue_id, target, force);
                self.report_soon(now);
                Answer::Offsets(moved)
            }
            Question::CloneOffsets { from, to, topic } => {
                self.offsets.clone_group(&from, &to, topic.as_deref());
                self.report_soon(now);
                Answer::Done
            }
        };
        let coordination = self.owner.coordination();
        wire.post.mail(wire.io, coordination, ShardMessage::Answer { id, answer });
    }

    /// The queues of a topic that this shard owns, stored into or not.
    fn own_queues(&self, topic: &str) -> Vec<i32> {
        let configured =
            self.tables.topic(topic).map_or(0, |t| t.config.read_queues.max(t.config.write_queues));
        (0..configured).filter(|&queue| self.owner.of(topic, queue) == self.me).collect()
    }

    fn bounds(&self, topic: &str, queue_id: i32) -> (i64, i64) {
        let min = self.store.min_offset(topic, queue_id).unwrap_or(0);
        (min, self.store.max_offset(topic, queue_id).unwrap_or(min))
    }

    fn store_time(&self, topic: &str, queue_id: i32, offset: i64) -> Option<i64> {
        self.store.entry(topic, queue_id, offset).map(|entry| entry.store_timestamp)
    }

    fn topic_stats(&self, topic: &str) -> Vec<QueueStats> {
        let stats = |queue_id| {
            let (min_offset, max_offset) = self.bounds(topic, queue_id);
            let last_update_ms = self.store_time(topic, queue_id, max_offset - 1).unwrap_or(0);
            QueueStats { queue_id, min_offset, max_offset, last_update_ms }
        };
        self.own_queues(topic).into_iter().map(stats).collect()
    }

    fn consume_stats(&mut self, now: Monotonic, group: &str, topics: Option<&[Arc<str>]>) -> Answer {
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
            tps += self.stats.group_get_tps(now, topic, group);
            queues.extend(self.own_queues(topic).into_iter().map(|queue_id| {
                let position = self.offsets.get(group, topic, queue_id);
                let consumer_offset = position.and_then(|p| p.committed).unwrap_or(0);
                ConsumeQueueStats {
                    topic: Arc::clone(topic),
                    queue_id,
                    broker_offset: self.bounds(topic, queue_id).1,
                    consumer_offset,
                    pull_offset: position.and_then(|p| p.pulled).unwrap_or(0),
                    last_timestamp_ms: self.store_time(topic, queue_id, consumer_offset - 1).unwrap_or(0),
                }
            }));
        }
        Answer::ConsumeStats { queues, tps }
    }

    fn consume_spans(&self, group: &str, topic: &str, wall_ms: u64) -> Vec<ConsumeSpan> {
        let span = |queue_id| {
            let (min, max) = self.bounds(topic, queue_id);
            let time = |offset| self.store_time(topic, queue_id, offset);
            let min_ms = time(min)?;
            let committed = self.offsets.get(group, topic, queue_id).and_then(|p| p.committed).unwrap_or(0);
            let waiting_since = time(committed.max(min)).map(|t| u64::try_from(t).unwrap_or(0));
            Some(ConsumeSpan {
                queue_id,
                min_ms,
                max_ms: time(max - 1).unwrap_or(min_ms),
                consumed_ms: time(committed - 1).unwrap_or(min_ms),
                delay_ms: i64::try_from(waiting_since.map_or(0, |t| wall_ms.saturating_sub(t)))
                    .unwrap_or(i64::MAX),
            })
        };
        self.own_queues(topic).into_iter().filter_map(span).collect()
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
            poisoned: self.store.poisoned().map(ToString::to_string),
        }
    }

    /// Answered when the deletion is acknowledged: after a crash the topic's queues do not come back.
    fn delete_topic(&mut self, wire: &mut Wire<'_>, id: u64, topic: &str) {
        let mut held = Vec::new();
        self.held.take_topic(topic, &mut held);
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

    fn reset_offsets(
        &mut self,
        group: &Arc<str>,
        topic: &Arc<str>,
        queue_id: Option<i32>,
        target: ResetTarget,
        force: bool,
    ) -> Vec<QueueOffset> {
        let queues =
            self.own_queues(topic).into_iter().filter(|&queue| queue_id.is_none_or(|only| only == queue));
        let mut moved = Vec::new();
        for queue_id in queues {
            let (min, max) = self.bounds(topic, queue_id);
            let offset = match target {
                ResetTarget::Offset(offset) if (min..=max + 1).contains(&offset) => offset,
                ResetTarget::Offset(_) => continue,
                ResetTarget::Time(time) => {
                    self.store.offset_by_time(topic, queue_id, time, Boundary::Lower).unwrap_or(0)
                }
                ResetTarget::Max => max,
            };
            let committed = self.offsets.get(group, topic, queue_id).and_then(|p| p.committed);
            if !force && committed.is_some_and(|committed| committed < offset) {
                continue;
            }
            self.offsets.reset(group, topic, queue_id, offset);
            moved.push(QueueOffset { group: Arc::clone(group), topic: Arc::clone(topic), queue_id, offset });
        }
        moved
    }
}
