//! Pulls that wait at the end of a queue.
//!
//! A held pull is found by its queue when a message arrives, by its deadline, and by its connection when that ends.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{ConnectionId, Monotonic, ShardId};
use ringmq_remoting::record::RecordView;
use ringmq_store::{Arrival, RecordFilter};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::chain::{Chain, Links};
use super::pull::Pull;

/// Pulls that one shard holds. Above it a pull that finds nothing is answered at once, as if it could not wait:
/// consumers then ask again and again, but no memory is lost. RocketMQ's queue of waiting pulls holds 100 000 too.
pub(crate) const HELD_PULLS_MAX: usize = 100_000;

#[derive(Debug)]
struct Held {
    pull: Pull,
    deadline: Monotonic,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct HeldPulls {
    held: Slab<Held>,
    /// topic → queue → held pulls in order of arrival. Chains, not vectors: tens of thousands may wait on one queue, or come over one
    /// connection (a proxy's), and each leaves on its own.
    by_queue: FxHashMap<Arc<str>, FxHashMap<i32, Chain>>,
    queue_links: Links,
    by_connection: FxHashMap<(ShardId, ConnectionId), Chain>,
    connection_links: Links,
    by_deadline: BTreeSet<(Monotonic, usize)>,
}

impl HeldPulls {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= HELD_PULLS_MAX
    }

    /// When the first one is due.
    pub(crate) fn next_deadline(&self) -> Option<Monotonic> {
        self.by_deadline.first().map(|&(deadline, _)| deadline)
    }

    /// # Panics
    /// If [`HeldPulls::is_full`].
    pub(crate) fn hold(&mut self, pull: Pull, deadline: Monotonic) {
        assert!(!self.is_full(), "{HELD_PULLS_MAX} pulls are held already");
        let origin = pull.caller.origin;
        let (topic, queue_id) = (Arc::clone(&pull.topic), pull.queue_id);
        let id = self.held.insert(Held { pull, deadline });
        self.queue_links.add_to(self.by_queue.entry(topic).or_default(), queue_id, id);
        self.connection_links.add_to(&mut self.by_connection, (origin.shard, origin.connection), id);
        self.by_deadline.insert((deadline, id));
    }

    /// A message arrived: moves the pulls that want it into `woken` (appended). `record` gives the message, once, if a filter has to
    /// look at it; if it cannot, such pulls are woken to look for themselves.
    pub(crate) fn wake(
        &mut self,
        arrival: &Arrival,
        record: impl FnOnce() -> Option<Bytes>,
        woken: &mut Vec<Pull>,
    ) {
        let queues = self.by_queue.get(&arrival.topic);
        let Some(&waiting) = queues.and_then(|queues| queues.get(&arrival.queue_id)) else { return };
        let bytes = LazyCell::new(record);
        let view = LazyCell::new(|| RecordView::parse(bytes.as_ref()?).ok());
        let wants = |id: &usize| {
            let Pull { offset, filter, .. } = &self.held[*id].pull;
            *offset <= arrival.queue_offset
                && filter.may_want(arrival.tags_code)
                && (!filter.looks_at_records() || view.as_ref().is_none_or(|record| filter.wants(record)))
        };
        let ids: Vec<usize> = self.queue_links.iter(waiting).filter(wants).collect();
        woken.extend(ids.into_iter().map(|id| self.remove(id)));
    }

    /// Moves the pulls that have waited long enough into `due` (appended).
    pub(crate) fn take_due(&mut self, now: Monotonic, due: &mut Vec<Pull>) {
        while let Some(&(deadline, id)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            due.push(self.remove(id));
        }
    }

    /// Moves all pulls of a topic into `out` (appended).
    pub(crate) fn take_topic(&mut self, topic: &str, out: &mut Vec<Pull>) {
        let Some(queues) = self.by_queue.get(topic) else { return };
        let mut ids: Vec<usize> =
            queues.values().flat_map(|&waiting| self.queue_links.iter(waiting)).collect();
        ids.sort_unstable();
        out.extend(ids.into_iter().map(|id| self.remove(id)));
    }

    /// Moves all pulls into `out` (appended), the first due first.
    pub(crate) fn take_all(&mut self, out: &mut Vec<Pull>) {
        self.take_due(Monotonic(u64::MAX), out);
    }

    /// Forgets the pulls of a connection that has ended.
    pub(crate) fn drop_connection(&mut self, shard: ShardId, connection: ConnectionId) {
        while let Some(&waiting) = self.by_connection.get(&(shard, connection)) {
            self.remove(waiting.first());
        }
    }

    fn remove(&mut self, id: usize) -> Pull {
        let Held { pull, deadline } = self.held.remove(id);
        let origin = pull.caller.origin;
        if let Some(queues) = self.by_queue.get_mut(&pull.topic) {
            self.queue_links.take_from(queues, &pull.queue_id, id);
            if queues.is_empty() {
                self.by_queue.remove(&pull.topic);
            }
        }
        self.connection_links.take_from(&mut self.by_connection, &(origin.shard, origin.connection), id);
        self.by_deadline.remove(&(deadline, id));
        pull
    }
}

#[cfg(test)]
mod tests {
    use ringmq_remoting::record::{RecordDraft, tags_code};

    use super::*;
    use crate::filter::{Expression, MessageFilter, TagFilter};

    fn pull(connection: u32, queue_id: i32, offset: i64, filter: MessageFilter) -> Pull {
        let mut pull = Pull::for_tests(connection);
        pull.queue_id = queue_id;
        pull.offset = offset;
        pull.filter = filter;
        pull
    }

    fn tags(expression: &str) -> MessageFilter {
        MessageFilter::Tags(TagFilter::parse(expression).expect("expression"))
    }

    fn properties(expression: &str) -> MessageFilter {
        MessageFilter::Properties(Arc::new(Expression::compile(expression).expect("expression")))
    }

    fn arrival(queue_offset: i64, tag: &str) -> Arrival {
        let tags_code = tags_code(tag);
        Arrival { topic: Arc::from("T"), queue_id: 0, queue_offset, tags_code, store_timestamp: 0 }
    }

    fn record(text: &str) -> Bytes {
        let host = "192.0.2.1:1".parse().expect("address");
        let draft = RecordDraft {
            topic: "T",
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 0,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties: text,
        };
        let mut bytes = vec![0; draft.encoded_bytes()];
        draft.encode(&mut bytes, 0, 0, 0);
        bytes.into()
    }

    fn nobody_looks() -> Option<Bytes> {
        panic!("a tag filter needs no record")
    }

    fn connections(pulls: &[Pull]) -> Vec<u32> {
        pulls.iter().map(|pull| pull.caller.origin.connection.index).collect()
    }

    #[test]
    fn a_message_wakes_who_wants_it() {
        let mut held = HeldPulls::default();
        held.hold(pull(1, 0, 5, tags("*")), Monotonic(100));
        held.hold(pull(2, 0, 5, tags("TagB")), Monotonic(100));
        held.hold(pull(3, 1, 5, tags("*")), Monotonic(100));
        held.hold(pull(4, 0, 6, tags("*")), Monotonic(100));
        let mut woken = Vec::new();
        held.wake(&arrival(5, "TagA"), nobody_looks, &mut woken);
        assert_eq!(connections(&woken), [1]);
        held.wake(&arrival(6, "TagB"), nobody_looks, &mut woken);
        assert_eq!(connections(&woken), [1, 2, 4]);
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn filters_on_properties_look_at_the_message() {
        let mut held = HeldPulls::default();
        held.hold(pull(1, 0, 5, properties("k = 1")), Monotonic(100));
        held.hold(pull(2, 0, 5, properties("k = 2")), Monotonic(100));
        held.hold(pull(3, 0, 6, properties("k = 1")), Monotonic(100));
        let mut woken = Vec::new();
        held.wake(&arrival(5, "TagA"), || Some(record("k\u{1}1\u{2}")), &mut woken);
        assert_eq!(connections(&woken), [1]);
        held.wake(&arrival(6, "TagA"), || Some(record("k\u{1}3\u{2}")), &mut woken);
        assert_eq!(connections(&woken), [1], "those that do not match stay held");
        held.wake(&arrival(7, "TagA"), || None, &mut woken);
        assert_eq!(connections(&woken), [1, 2, 3], "no record at hand: they look for themselves");
    }

    #[test]
    fn deadlines_and_closed_connections_end_the_wait() {
        let mut held = HeldPulls::default();
        held.hold(pull(1, 0, 0, tags("*")), Monotonic(30));
        held.hold(pull(2, 0, 0, tags("*")), Monotonic(10));
        held.hold(pull(2, 1, 0, tags("*")), Monotonic(20));
        assert_eq!(held.next_deadline(), Some(Monotonic(10)));
        let mut due = Vec::new();
        held.take_due(Monotonic(10), &mut due);
        assert_eq!(connections(&due), [2]);
        held.drop_connection(ShardId(0), ConnectionId { index: 2, generation: 0 });
        assert_eq!((held.len(), held.next_deadline()), (1, Some(Monotonic(30))));
        held.take_topic("T", &mut due);
        assert_eq!(connections(&due), [2, 1]);
        assert!(held.by_queue.is_empty() && held.by_connection.is_empty() && held.by_deadline.is_empty());
    }
}
