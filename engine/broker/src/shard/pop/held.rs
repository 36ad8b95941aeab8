//! Pops (and notifications) that wait for messages, on their home shard.
//!
//! A held pop is found by its topic or its retry topic when a message arrives there, by its deadline, and by its connection when that
//! ends. One arrival wakes one pop of each group: a pop that leaves something behind wakes the next one.

#![allow(clippy::vec_box, reason = "a pop stays in its box from the first shard to the answer")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmq_reactor::{ConnectionId, Monotonic, ShardId};
use ringmq_store::RecordFilter;
use rustc_hash::FxHashMap;
use slab::Slab;

use super::super::chain::{Chain, Links};
use super::Pop;

/// Whom a pop waits for: `popPollingSize` counts these.
type Key = (Arc<str>, Arc<str>, Option<i32>);

#[derive(Debug)]
struct Held {
    pop: Box<Pop>,
    deadline: Monotonic,
}

/// What has become possible to pop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopArrival {
    /// Topic, or pop retry topic.
    pub topic: Arc<str>,
    /// Only for this group; `None`: for every one.
    pub group: Option<Arc<str>>,
    /// Queue.
    pub queue_id: i32,
    /// Tag hash of the message; `None`: unknown, any filter may want it.
    pub tags_code: Option<i64>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct HeldPops {
    held: Slab<Held>,
    /// topic or retry topic → group → places of held pops in order of arrival. Chains as for held pulls: tens of thousands may wait for
    /// one topic, or come over one connection (a proxy's), and each leaves on its own.
    by_topic: FxHashMap<Arc<str>, BTreeMap<Arc<str>, Chain>>,
    topic_links: Links,
    by_key: FxHashMap<Key, usize>,
    by_connection: FxHashMap<(ShardId, ConnectionId), Chain>,
    connection_links: Links,
    by_deadline: BTreeSet<(Monotonic, usize)>,
}

impl HeldPops {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Different groups, topics and queues that are waited for.
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// How many wait for that queue; `None`: for any queue of the topic.
    pub(crate) fn count(&self, topic: &Arc<str>, group: &Arc<str>, queue_id: Option<i32>) -> usize {
        self.by_key.get(&(Arc::clone(topic), Arc::clone(group), queue_id)).copied().unwrap_or(0)
    }

    /// When the first one is due.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    pub(crate) fn hold(&mut self, pop: Box<Pop>, deadline: Monotonic) {
        let origin = pop.caller.origin;
        let (key, retry_topic) = (key(&pop), Arc::clone(&pop.retry_topic));
        let id = self.held.insert(Held { pop, deadline });
        for (topic, place) in [&key.0, &retry_topic].into_iter().zip(places(id)) {
            let groups = self.by_topic.entry(Arc::clone(topic)).or_default();
            let chain = groups.get(&key.1).copied();
            groups.insert(Arc::clone(&key.1), self.topic_links.push(chain, place));
        }
        *self.by_key.entry(key).or_default() += 1;
        self.connection_links.add_to(&mut self.by_connection, (origin.shard, origin.connection), id);
        self.by_deadline.insert((deadline, id));
    }

    /// Something may be popped: moves one pop of each group that may want it into `woken` (appended).
    pub(crate) fn wake(&mut self, arrival: &PopArrival, woken: &mut Vec<Box<Pop>>) {
        let Some(groups) = self.by_topic.get(&arrival.topic) else { return };
        let wants = |id: &usize| {
            let pop = &self.held[*id].pop;
            let is_retry = *pop.retry_topic == *arrival.topic;
            // A filter on properties has to look for itself.
            (is_retry || pop.queue_id.is_none_or(|queue| queue == arrival.queue_id))
                && arrival.tags_code.is_none_or(|code| pop.filter.may_want(code))
        };
        let of_group = |group: &Arc<str>| arrival.group.as_ref().is_none_or(|only| only == group);
        let ids: Vec<usize> = groups
            .iter()
            .filter(|(group, _)| of_group(group))
            .filter_map(|(_, &waiting)| self.waiting(waiting).find(wants))
            .collect();
        woken.extend(ids.into_iter().map(|id| self.remove(id)));
    }

    /// A pop of that group left messages behind: moves the next one of the group into `woken` (appended).
    pub(crate) fn wake_next(&mut self, topic: &str, group: &str, woken: &mut Vec<Box<Pop>>) {
        let waiting = self.by_topic.get(topic).and_then(|groups| groups.get(group));
        if let Some(waiting) = waiting {
            woken.push(self.remove(pop_at(waiting.first())));
        }
    }

    /// Moves the pops that have waited long enough into `due` (appended).
    pub(crate) fn take_due(&mut self, now: Monotonic, due: &mut Vec<Box<Pop>>) {
        while let Some(&(deadline, id)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            due.push(self.remove(id));
        }
    }

    /// Moves all pops of a topic into `out` (appended).
    pub(crate) fn take_topic(&mut self, topic: &str, out: &mut Vec<Box<Pop>>) {
        let Some(groups) = self.by_topic.get(topic) else { return };
        let ids: Vec<usize> = groups.values().flat_map(|&waiting| self.waiting(waiting)).collect();
        out.extend(ids.into_iter().map(|id| self.remove(id)));
    }

    /// Takes out the pops of a connection that has ended.
    pub(crate) fn drop_connection(&mut self, shard: ShardId, connection: ConnectionId) -> Vec<Box<Pop>> {
        let mut dropped = Vec::new();
        while let Some(&waiting) = self.by_connection.get(&(shard, connection)) {
            dropped.push(self.remove(waiting.first()));
        }
        dropped
    }

    /// The pops of a chain of places.
    fn waiting(&self, chain: Chain) -> impl Iterator<Item = usize> {
        self.topic_links.iter(chain).map(pop_at)
    }

    fn remove(&mut self, id: usize) -> Box<Pop> {
        let Held { pop, deadline } = self.held.remove(id);
        let origin = pop.caller.origin;
        let key = key(&pop);
        for (topic, place) in [&key.0, &pop.retry_topic].into_iter().zip(places(id)) {
            let groups = self.by_topic.get_mut(topic).expect("the topic of a held pop");
            let chain = groups.get_mut(&key.1).expect("the group of a held pop");
            match self.topic_links.remove(*chain, place) {
                Some(left) => *chain = left,
                None => {
                    groups.remove(&key.1);
                }
            }
            if groups.is_empty() {
                self.by_topic.remove(topic);
            }
        }
        if let Some(count) = self.by_key.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&key);
            }
        }
        self.connection_links.take_from(&mut self.by_connection, &(origin.shard, origin.connection), id);
        self.by_deadline.remove(&(deadline, id));
        pop
    }
}

/// Where a pop stands in the chains by topic, which share their links: once for its topic, once for its retry topic.
fn places(id: usize) -> [usize; 2] {
    [2 * id, 2 * id + 1]
}

/// The pop at a place.
fn pop_at(place: usize) -> usize {
    place / 2
}

fn key(pop: &Pop) -> Key {
    (Arc::clone(&pop.topic), Arc::clone(&pop.group), pop.queue_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{MessageFilter, TagFilter};
    use ringmq_remoting::record::tags_code;

    fn pop(connection: u32, group: &str, queue_id: Option<i32>, tags: &str) -> Box<Pop> {
        let mut pop = Pop::for_tests(connection);
        pop.group = Arc::from(group);
        pop.retry_topic = Arc::from(format!("%RETRY%{group}_T"));
        pop.queue_id = queue_id;
        pop.filter = MessageFilter::Tags(TagFilter::parse(tags).expect("an expression"));
        Box::new(pop)
    }

    fn arrival(topic: &str, queue_id: i32, tag: &str) -> PopArrival {
        PopArrival { topic: Arc::from(topic), group: None, queue_id, tags_code: Some(tags_code(tag)) }
    }

    fn woken(held: &mut HeldPops, arrival: &PopArrival) -> Vec<u32> {
        let mut woken = Vec::new();
        held.wake(arrival, &mut woken);
        woken.iter().map(|pop| pop.caller.origin.connection.index).collect()
    }

    #[test]
    fn an_arrival_wakes_one_pop_of_each_group_that_wants_it() {
        let mut held = HeldPops::default();
        held.hold(pop(1, "g", None, "B"), Monotonic(9));
        held.hold(pop(2, "g", Some(3), "*"), Monotonic(9));
        held.hold(pop(3, "g", None, "*"), Monotonic(9));
        held.hold(pop(4, "h", None, "*"), Monotonic(9));
        assert_eq!(woken(&mut held, &arrival("T", 0, "A")), [3, 4]);
        assert_eq!(woken(&mut held, &arrival("T", 3, "A")), [2]);
        assert_eq!(woken(&mut held, &arrival("%RETRY%h_T", 0, "B")), [0; 0]);
        assert_eq!(woken(&mut held, &arrival("%RETRY%g_T", 0, "B")), [1]);
        assert!(held.is_empty() && held.by_topic.is_empty() && held.by_key.is_empty());
    }

    #[test]
    fn a_retry_topic_may_be_popped_by_its_own_name() {
        let mut held = HeldPops::default();
        let of_retries = |connection| {
            let mut pop = pop(connection, "g", None, "*");
            (pop.topic, pop.retry_topic) = (Arc::clone(&pop.retry_topic), Arc::from("%RETRY%g_%RETRY%g_T"));
            pop
        };
        held.hold(pop(1, "g", None, "*"), Monotonic(9));
        held.hold(of_retries(2), Monotonic(9));
        held.hold(pop(3, "g", None, "*"), Monotonic(9));
        held.hold(of_retries(4), Monotonic(9));
        // Both kinds wait for it, in one order.
        assert_eq!(held.drop_connection(ShardId(0), ConnectionId { index: 1, generation: 0 }).len(), 1);
        for expected in [2, 3, 4] {
            assert_eq!(woken(&mut held, &arrival("%RETRY%g_T", 0, "A")), [expected]);
        }
        assert!(held.is_empty() && held.by_topic.is_empty() && held.by_connection.is_empty());
    }

    #[test]
    fn deadlines_connections_and_topics_end_the_wait() {
        let mut held = HeldPops::default();
        for (connection, deadline) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            held.hold(pop(connection, "g", None, "*"), Monotonic(deadline));
        }
        let (topic, group) = (Arc::from("T"), Arc::from("g"));
        assert_eq!((held.count(&topic, &group, None), held.keys()), (4, 1));
        assert_eq!(held.next_deadline(), Some(Monotonic(10)));
        let mut due = Vec::new();
        held.take_due(Monotonic(10), &mut due);
        assert_eq!(due[0].caller.origin.connection.index, 2);
        assert_eq!(held.drop_connection(ShardId(0), ConnectionId { index: 3, generation: 0 }).len(), 1);
        held.wake_next("T", "g", &mut due);
        assert_eq!(due[1].caller.origin.connection.index, 1);
        held.take_topic("T", &mut due);
        assert_eq!(due.len(), 3);
        assert!(held.is_empty() && held.by_connection.is_empty() && held.by_deadline.is_empty());
    }
}
