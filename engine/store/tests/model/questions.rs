//! Every kind of question, and the list's answer beside the store's.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use ringmq_reactor::Io;
use ringmq_remoting::record::RecordView;
use ringmq_store::{
    Boundary, IndexEntry, KeyError, KeyKind, KeyMatch, KeyQuery, Lookup, PhysicalOffset, ReadError,
    ReadLimits, ReadResult, ReadStatus, Store,
};

use crate::list::{Logged, Queue, query_key, queue_name, topic_name, unique};
use crate::script::{KEYS, QUEUES};
use crate::support::*;
use crate::system::{MINUTE, System, properties};

/// Attempts after which an answer must be whole: a damaged run is made again at the next start, a failed read is repeated.
const ATTEMPTS_MAX: u32 = 4;
/// Refusals of a query by key, [`PAUSE`] apart, after which the index must be complete.
const REFUSALS_MAX: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(20);
/// Questions asked at once.
const ASKED_AT_ONCE: usize = 16;

impl System {
    /// Asks until nothing is in the way. A damaged index may say so once; the next start must have made it again.
    fn answered<T>(&mut self, mut ask: impl FnMut(&mut Self) -> Result<T, ReadError>) -> T {
        for _ in 0..ATTEMPTS_MAX {
            match ask(self) {
                Ok(answer) => return answer,
                Err(ReadError::Index { .. }) if self.index_harmed => self.restart(),
                Err(ReadError::Io { .. }) if self.read_failed => {}
                Err(other) => panic!("the log is whole: {other}"),
            }
        }
        panic!("what is damaged is never whole again");
    }

    fn wait_for<T>(&mut self, answer: &Receiver<Result<T, ReadError>>) -> Result<T, ReadError> {
        let mut found = None;
        self.world.run_until(MINUTE, |_| {
            found = found.take().or_else(|| answer.try_recv().ok());
            found.is_some()
        });
        found.expect("a question hangs")
    }

    /// Asks the store the same of several things.
    fn look_up<Q: Copy + Send + 'static, T: Send + 'static>(
        &mut self,
        questions: &[Q],
        ask: impl Fn(&mut Store, &mut dyn Io, Q) -> Lookup<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, ReadError> {
        let mut all = Vec::new();
        for some in questions.chunks(ASKED_AT_ONCE) {
            let answers: Vec<_> = some
                .iter()
                .map(|question| {
                    let (question, ask) = (*question, ask.clone());
                    self.remote.ask(move |store, io| ask(store, io, question))
                })
                .collect();
            let answers: Vec<_> = answers.iter().map(|answer| self.wait_for(answer)).collect();
            all.extend(answers.into_iter().collect::<Result<Vec<_>, _>>()?);
        }
        Ok(all)
    }

    fn queue(&self, name: &(String, i32)) -> Queue {
        self.list.lock().expect("list").queues().remove(name).unwrap_or_default()
    }

    fn read(&mut self, name: &(String, i32), offset: i64) -> Result<ReadResult, ReadError> {
        let (topic, queue_id) = name.clone();
        let ask = ReadAsk { topic, queue_id, offset, limits: ReadLimits::default(), tags_code: None };
        let id = self.remote.read(ask);
        let remote = self.remote.clone();
        assert!(
            self.world.run_until(MINUTE, |_| remote.answers(|a| a.reads.contains_key(&id))),
            "a read hangs"
        );
        self.remote.answers(|a| a.reads.remove(&id)).expect("answered")
    }

    /// A read at any time gives visible messages of the list, in order and unchanged, or a typed error.
    pub fn read_any(&mut self, number: u8, offset: i64) {
        let name = queue_name(number);
        let Ok(result) = self.read(&name, offset) else { return };
        compare_records(&result, &self.queue(&name));
    }

    /// What is known of all queues, and every message by reading on from the oldest.
    pub fn check_queues(&mut self) {
        self.settle();
        let queues = self.list.lock().expect("list").queues();
        let expected: Vec<_> = queues
            .iter()
            .map(|((topic, id), queue)| (topic.clone(), *id, queue.min as i64, queue.all.len() as i64))
            .collect();
        self.remote.call(move |store, _, _| {
            let found = store.queues().map(|q| (q.topic.to_string(), q.queue_id, q.min_offset, q.max_offset));
            assert_eq!(found.collect::<Vec<_>>(), expected);
        });
        self.world.run_for(Duration::from_millis(1));
        for (name, queue) in &queues {
            let mut offset = queue.min as i64;
            while offset < queue.all.len() as i64 {
                let result = self.answered(|system| system.read(name, offset));
                assert_eq!(result.status, ReadStatus::Found, "{name:?} {offset}");
                assert_eq!(
                    (result.min_offset, result.max_offset),
                    (queue.min as i64, queue.all.len() as i64)
                );
                let after = offset + compare_records(&result, queue);
                assert_eq!(result.next_begin_offset, after);
                offset = after;
            }
        }
        for name in (0..QUEUES).map(queue_name).filter(|name| !queues.contains_key(name)) {
            let result = self.answered(|system| system.read(&name, 0));
            assert_eq!(result.status, ReadStatus::NoMatchedLogicQueue, "{name:?}");
        }
    }

    /// One message by everything that names it, and all that is near.
    pub fn look(&mut self, number: u8) {
        self.settle();
        let Some(logged) = self.list.lock().expect("list").by_place(number).cloned() else { return };
        self.check_key(&KeyQuery {
            topic: logged.message.topic.clone(),
            key: unique(logged.message.id),
            kind: KeyKind::Unique,
            messages_max: 32,
            begin_ms: i64::MIN,
            end_ms: i64::MAX,
        });
        self.check_physical(&logged);
        let name = (logged.message.topic.clone(), logged.message.queue_id);
        self.check_entries(&name);
        self.check_times(&name, &[logged.time - 1, logged.time, logged.time + 1, i64::MIN, i64::MAX]);
    }

    /// The record that starts at a physical offset, which is what an offset message id names; and none beside it.
    fn check_physical(&mut self, logged: &Logged) {
        let below = self.list.lock().expect("list").log_min.0.checked_sub(1);
        let below = below.map_or(u64::MAX >> 9, |offset| offset);
        let nowhere = PhysicalOffset::new(SHARD, ringmq_store::LogOffset(below));
        let places = [logged.at, PhysicalOffset(logged.at.0 + 1), nowhere];
        let ids = places.map(|place| self.remote.record_at(place));
        let remote = self.remote.clone();
        assert!(
            self.world
                .run_until(MINUTE, |_| remote.answers(|a| ids.iter().all(|id| a.records.contains_key(id)))),
            "a look-up hangs"
        );
        let [here, beside, gone] = ids
            .map(|id| self.remote.answers(|a| a.records.remove(&id)).expect("answered").expect("readable"));
        let bytes = here.expect("there");
        let view = RecordView::parse(&bytes).expect("a record");
        let found = (view.flag() as u64, view.store_timestamp(), view.body().to_vec());
        assert_eq!(found, (logged.message.id, logged.time, logged.message.body()));
        assert!(view.properties() == properties(&logged.message, &logged.words));
        assert!(beside.is_none() && gone.is_none(), "no record starts there");
    }

    /// A queue entry by entry: where each message is, with what tag and time; and nothing outside.
    fn check_entries(&mut self, name: &(String, i32)) {
        let queue = self.queue(name);
        let (min, max) = (queue.min as i64, queue.all.len() as i64);
        let offsets: Vec<_> = (min - 1..=max).collect();
        let found = self.answered(|system| {
            let (topic, queue_id) = name.clone();
            system.look_up(&offsets, move |store, io, offset| store.entry(io, &topic, queue_id, offset))
        });
        for (offset, found) in offsets.into_iter().zip(found) {
            let expected = (min..max).contains(&offset).then(|| {
                let logged = &queue.all[offset as usize];
                (logged.at, logged.message.tags_code(), logged.time)
            });
            let found = found.map(|e: IndexEntry| (e.physical_offset, e.tags_code, e.store_timestamp));
            assert_eq!(found, expected, "{name:?} {offset} of {min}..{max}");
        }
    }

    /// Search by time, both boundaries.
    fn check_times(&mut self, name: &(String, i32), times: &[i64]) {
        let queue = self.queue(name);
        let questions: Vec<_> =
            times.iter().flat_map(|time| [(*time, Boundary::Lower), (*time, Boundary::Upper)]).collect();
        let found = self.answered(|system| {
            let (topic, queue_id) = name.clone();
            system.look_up(&questions, move |store, io, (time, boundary)| {
                store.offset_by_time(io, &topic, queue_id, time, boundary)
            })
        });
        let known = self.list.lock().expect("list").queues().contains_key(name);
        for ((time, boundary), found) in questions.into_iter().zip(found) {
            let expected = known.then(|| queue.by_time(time, boundary));
            assert_eq!(found, expected, "{name:?} {boundary:?} {time}");
        }
    }

    /// A query whose time range ends near the times of two records.
    pub fn query(&mut self, topic: u8, key: u8, messages_max: u8, (one, other): (u8, u8)) {
        self.settle();
        let (first, last) = (one.min(other), one.max(other));
        let query = KeyQuery {
            topic: topic_name(topic),
            key: query_key(key),
            kind: KeyKind::Any,
            messages_max: usize::from(messages_max),
            begin_ms: if first < 40 { i64::MIN } else { self.time(first) },
            end_ms: if last > 200 { i64::MAX } else { self.time(last) },
        };
        self.check_key(&query);
    }

    /// A time near that of a record of the list.
    fn time(&self, number: u8) -> i64 {
        let list = self.list.lock().expect("list");
        list.by_place(number).map_or(0, |logged| logged.time) + i64::from(number % 3) - 1
    }

    pub fn ask_key(&mut self, query: &KeyQuery) -> Result<Vec<KeyMatch>, KeyError> {
        let id = self.remote.find(query.clone());
        let remote = self.remote.clone();
        assert!(
            self.world.run_until(MINUTE, |_| remote.answers(|a| a.found.contains_key(&id))),
            "a query hangs: {query:?}"
        );
        self.remote.answers(|a| a.found.remove(&id)).expect("answered")
    }

    /// Asks until the index is complete, compares with the list.
    pub fn check_key(&mut self, query: &KeyQuery) {
        self.settle();
        let mut refusals = 0;
        let found = loop {
            match self.ask_key(query) {
                Ok(found) => break found,
                Err(KeyError::Record(ReadError::Io { .. }))
                    if self.read_failed && refusals < REFUSALS_MAX =>
                {
                    refusals += 1
                }
                Err(KeyError::Record(error)) => panic!("the log is whole: {error}"),
                Err(error) => {
                    refusals += 1;
                    assert!(refusals < REFUSALS_MAX, "the index is never complete again: {error}");
                    self.world.run_for(PAUSE);
                }
            }
        };
        let expected = self.list.lock().expect("list").by_key(query);
        let ids = |found: &[KeyMatch]| -> Vec<u64> {
            found.iter().map(|m| RecordView::parse(&m.record).expect("a record").flag() as u64).collect()
        };
        assert_eq!(ids(&found), expected.iter().map(|m| m.message.id).collect::<Vec<_>>(), "{query:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found.physical_offset, found.store_timestamp), (expected.at, expected.time));
        }
    }

    /// All keys of all topics.
    pub fn check_keys(&mut self) {
        for (topic, key) in (0..QUEUES / 2).flat_map(|topic| (0..KEYS).map(move |key| (topic, key))) {
            self.query(topic, key, 255, (0, 255));
        }
    }

    pub fn check_everything(&mut self) {
        self.check_queues();
        self.check_keys();
        for name in (0..QUEUES).map(queue_name) {
            let mut times: Vec<_> =
                self.queue(&name).all.iter().flat_map(|m| [m.time - 1, m.time, m.time + 1]).collect();
            times.dedup();
            self.check_times(&name, &times);
            self.check_entries(&name);
        }
    }
}

/// Compares what a read gave with what its queue should hold there; gives the number of records.
fn compare_records(result: &ReadResult, queue: &Queue) -> i64 {
    let found = records(result);
    let first = found.first().map_or(0, |record| record.0);
    for (expected, (offset, flag, body, read)) in (first..).zip(&found) {
        assert_eq!(*offset, expected);
        let logged = &queue.all[*offset as usize];
        assert_eq!((*flag, body), (logged.message.id as i32, &logged.message.body()));
        assert_eq!(read, &properties(&logged.message, &logged.words));
    }
    found.len() as i64
}
