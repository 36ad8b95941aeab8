//! Consumer offsets and delay progress as they are persisted.
//!
//! The queues' owner shards have the truth; what they report in batches is kept here, taken to the journal every
//! `flushConsumerOffsetInterval` (as far as it changed), and handed back to them at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use ringmq_remoting::body::{ConsumerOffsetTable, DataVersion};
use ringmq_remoting::json;

use super::delay_progress::DelayProgress;
use crate::message::QueueOffset;
use crate::metadata::{Change, Table};

/// Between the topic and the group in a key; no topic's name contains it.
pub const SEPARATOR: char = '@';
/// Offsets in one transaction; a group with more queues in a topic makes a larger one.
const OFFSETS_PER_TRANSACTION: usize = 20_000;

/// A topic and a group.
pub type Pair = (Arc<str>, Arc<str>);

/// See the module's text.
#[derive(Debug, Default)]
pub struct OffsetBook {
    /// topic → group → offsets by queue.
    topics: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<Entry>>>,
    version: DataVersion,
    delay: DelayProgress,
    /// Have entries that were not taken to the journal.
    unsaved: BTreeSet<Pair>,
    unsaved_shards: BTreeSet<u16>,
    /// What was forgotten and not taken to the journal, in order. It precedes everything unsaved: forgetting takes that along.
    gone: Vec<Change>,
}

/// A group's offset in a queue. Vectors of them are sorted by queue.
#[derive(Debug, Clone, Copy)]
struct Entry {
    queue_id: i32,
    is_unsaved: bool,
    offset: i64,
}

/// What changed and is on its way to the journal.
#[derive(Debug)]
pub struct Unsaved {
    /// To be appended in this order.
    pub transactions: Vec<Vec<Change>>,
    pairs: BTreeSet<Pair>,
    shards: BTreeSet<u16>,
    gone: Vec<Change>,
}

impl OffsetBook {
    /// A group's new offset in a queue.
    pub fn commit(&mut self, commit: &QueueOffset) {
        let pair = (Arc::clone(&commit.topic), Arc::clone(&commit.group));
        self.set(&pair, commit.queue_id, commit.offset, true);
        self.unsaved.insert(pair);
    }

    /// A shard's delay levels have moved on.
    pub fn delay_moved(&mut self, shard: u16, levels: &[(i32, i64)]) {
        self.delay.moved(shard, levels);
        self.unsaved_shards.insert(shard);
    }

    /// Takes a change that was recovered.
    ///
    /// # Panics
    /// If it is not about offsets or delay.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Offsets { topic, group, queues } => {
                let pair = (topic, group);
                for (queue_id, offset) in queues {
                    self.set(&pair, queue_id, offset, false);
                }
            }
            Change::TopicOffsetsGone(topic) => drop(self.topics.remove(&topic)),
            Change::GroupOffsetsGone(group) => self.retain(|_, of| *of != *group),
            Change::Delay { shard, levels } => self.delay.moved(shard, &levels),
            Change::Version(Table::Offsets, version) => self.version = version,
            Change::Version(Table::Delay, version) => self.delay.data_version = version,
            other => panic!("not about offsets: {other:?}"),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Everything that changed since the last call, under new versions. To be given back with [`OffsetBook::not_saved`] if the
    /// journal refuses.
    pub fn take_unsaved(&mut self, now_ms: u64) -> Unsaved {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let pairs = std::mem::take(&mut self.unsaved);
        let shards = std::mem::take(&mut self.unsaved_shards);
        let gone = std::mem::take(&mut self.gone);
        let mut first = gone.clone();
        if !gone.is_empty() || !pairs.is_empty() {
            self.version = self.version.next(now_ms);
            first.push(Change::Version(Table::Offsets, self.version));
        }
        if !shards.is_empty() {
            self.delay.data_version = self.delay.data_version.next(now_ms);
            first.push(Change::Version(Table::Delay, self.delay.data_version));
        }
        first.extend(
            shards.iter().map(|shard| Change::Delay { shard: *shard, levels: self.delay_of(*shard) }),
        );
        let mut transactions = Vec::new();
        let (mut transaction, mut count) = (first, 0);
        for (topic, group) in &pairs {
            let entries = self.topics.get_mut(topic).and_then(|groups| groups.get_mut(group));
            let Some(entries) = entries else { continue };
            let take = |entry: &mut Entry| {
                std::mem::take(&mut entry.is_unsaved).then_some((entry.queue_id, entry.offset))
            };
            let queues: Vec<_> = entries.iter_mut().filter_map(take).collect();
            count += queues.len();
            transaction.push(Change::Offsets { topic: Arc::clone(topic), group: Arc::clone(group), queues });
            if count >= OFFSETS_PER_TRANSACTION {
                transactions.push(std::mem::take(&mut transaction));
                count = 0;
            }
        }
        if !transaction.is_empty() {
            transactions.push(transaction);
        }
        Unsaved { transactions, pairs, shards, gone }
    }

    /// The journal refused: it is to be taken again.
    pub fn not_saved(&mut self, unsaved: Unsaved) {
        for pair in unsaved.pairs {
            // What was forgotten meanwhile stays so.
            let entries = self.topics.get_mut(&pair.0).and_then(|groups| groups.get_mut(&pair.1));
            if let Some(entries) = entries {
                entries.iter_mut().for_each(|entry| entry.is_unsaved = true);
                self.unsaved.insert(pair);
            }
        }
        self.unsaved_shards.extend(unsaved.shards);
        self.gone.splice(0..0, unsaved.gone);
    }

    /// Whether anything waits for [`OffsetBook::take_unsaved`].
    #[must_use]
    pub fn has_unsaved(&self) -> bool {
        !(self.unsaved.is_empty() && self.unsaved_shards.is_empty() && self.gone.is_empty())
    }

    /// Version of the consumer offsets.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.version
    }

    /// Delay progress of all shards.
    #[must_use]
    pub fn delay(&self) -> &DelayProgress {
        &self.delay
    }

    /// Delay progress of one shard: (level, next offset).
    #[must_use]
    pub fn delay_of(&self, shard: u16) -> Vec<(i32, i64)> {
        let levels = self.delay.shards.get(&i32::from(shard));
        levels.into_iter().flatten().map(|(level, offset)| (*level, *offset)).collect()
    }

    /// Every offset.
    pub fn iter(&self) -> impl Iterator<Item = QueueOffset> {
        self.pairs_after(None).flat_map(|(pair, queues)| {
            let offset = move |(queue_id, offset)| QueueOffset {
                topic: Arc::clone(&pair.0),
                group: Arc::clone(&pair.1),
                queue_id,
                offset,
            };
            queues.into_iter().map(offset)
        })
    }

    /// Offsets by topic and group, in order, behind a pair; `None`: from the beginning.
    pub fn pairs_after(&self, after: Option<&Pair>) -> impl Iterator<Item = (Pair, Vec<(i32, i64)>)> {
        let from = after.map_or(Bound::Unbounded, |(topic, _)| Bound::Included(Arc::clone(topic)));
        let after = after.cloned();
        self.topics.range((from, Bound::Unbounded)).flat_map(move |(topic, groups)| {
            let from = match &after {
                Some((same, group)) if same == topic => Bound::Excluded(Arc::clone(group)),
                _ => Bound::Unbounded,
            };
            groups.range((from, Bound::Unbounded)).map(|(group, entries)| {
                let queues = entries.iter().map(|entry| (entry.queue_id, entry.offset)).collect();
                ((Arc::clone(topic), Arc::clone(group)), queues)
            })
        })
    }

    /// Topics in which any group has offsets.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().map(|topic| topic.to_string()).collect()
    }

    /// Forgets a deleted topic.
    pub fn remove_topic(&mut self, topic: &str) {
        if self.topics.remove(topic).is_some() {
            self.gone.push(Change::TopicOffsetsGone(Arc::from(topic)));
            self.unsaved.retain(|(of, _)| &**of != topic);
        }
    }

    /// Forgets a group.
    pub fn remove_group(&mut self, group: &str) {
        self.retain(|_, of| of != group);
        self.gone.push(Change::GroupOffsetsGone(Arc::from(group)));
        self.unsaved.retain(|(_, of)| &**of != group);
    }

    fn retain(&mut self, stays: impl Fn(&str, &str) -> bool) {
        self.topics.retain(|topic, groups| {
            groups.retain(|group, _| stays(topic, group));
            !groups.is_empty()
        });
    }

    fn set(&mut self, pair: &Pair, queue_id: i32, offset: i64, is_unsaved: bool) {
        if !self.topics.contains_key(&pair.0) {
            self.topics.insert(Arc::clone(&pair.0), BTreeMap::new());
        }
        let groups = self.topics.get_mut(&pair.0).expect("inserted above");
        if !groups.contains_key(&pair.1) {
            groups.insert(Arc::clone(&pair.1), Vec::new());
        }
        let entries = groups.get_mut(&pair.1).expect("inserted above");
        let entry = Entry { queue_id, is_unsaved, offset };
        match entries.binary_search_by_key(&queue_id, |entry| entry.queue_id) {
            Ok(at) => entries[at] = entry,
            Err(at) => entries.insert(at, entry),
        }
    }

    /// The answer to 43.
    #[must_use]
    pub fn offsets_json(&self) -> String {
        let mut table = ConsumerOffsetTable { data_version: self.version, ..ConsumerOffsetTable::default() };
        let mut topics = BTreeMap::<String, Vec<String>>::new();
        for ((topic, group), queues) in self.pairs_after(None) {
            topics.entry(group.to_string()).or_default().push(topic.to_string());
            table.offset_table.insert(format!("{topic}{SEPARATOR}{group}"), queues.into_iter().collect());
        }
        table.group_topic_map = Some(topics);
        table.to_json()
    }

    /// The answer to 45, and `delayOffset.json`.
    #[must_use]
    pub fn delay_json(&self) -> String {
        json::to_text(&self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(topic: &str, group: &str, queue_id: i32, offset: i64) -> QueueOffset {
        QueueOffset { group: Arc::from(group), topic: Arc::from(topic), queue_id, offset }
    }

    fn book(commits: &[QueueOffset]) -> OffsetBook {
        let mut book = OffsetBook::default();
        commits.iter().for_each(|c| book.commit(c));
        book
    }

    /// What a book is that was recovered from these transactions.
    fn recovered(transactions: &[Vec<Change>]) -> OffsetBook {
        let mut book = OffsetBook::default();
        transactions.iter().flatten().for_each(|change| book.apply(change.clone()));
        book
    }

    #[test]
    fn only_what_changed_is_taken_and_the_same_comes_back() {
        let mut book = book(&[commit("T", "g", 1, 7), commit("T", "g", 0, 10), commit("U", "h", 0, 1)]);
        let mut all = book.take_unsaved(5).transactions;
        assert!(!book.has_unsaved());
        book.commit(&commit("T", "g", 1, 8));
        book.delay_moved(1, &[(3, 4)]);
        let more = book.take_unsaved(6).transactions;
        let offsets: Vec<_> = more.iter().flatten().filter(|c| matches!(c, Change::Offsets { .. })).collect();
        let expected = Change::Offsets { topic: Arc::from("T"), group: Arc::from("g"), queues: vec![(1, 8)] };
        assert_eq!(offsets, [&expected], "one queue of one pair");
        all.extend(more);
        let again = recovered(&all);
        assert_eq!(again.offsets_json(), book.offsets_json());
        assert_eq!(again.delay_json(), book.delay_json());
        assert_eq!(
            book.offsets_json(),
            "{\"dataVersion\":{\"counter\":2,\"stateVersion\":0,\"timestamp\":6},\
             \"groupTopicMap\":{\"g\":[\"T\"],\"h\":[\"U\"]},\"offsetTable\":{\"T@g\":{0:10,1:8},\"U@h\":{0:1}}}"
        );
        assert!(book.take_unsaved(7).transactions.is_empty());
    }

    #[test]
    fn what_the_journal_refused_is_taken_again_in_the_right_order() {
        let mut book = book(&[commit("T", "g", 0, 1), commit("U", "g", 0, 2)]);
        let durable = book.take_unsaved(1).transactions;
        book.remove_topic("T");
        book.commit(&commit("U", "g", 0, 3));
        let refused = book.take_unsaved(2);
        // While it was on its way.
        book.commit(&commit("T", "g", 0, 9));
        book.remove_topic("U");
        book.not_saved(refused);
        assert!(book.has_unsaved());
        let again = book.take_unsaved(3).transactions;
        let both = recovered(&[durable, again].concat());
        assert_eq!(both.iter().collect::<Vec<_>>(), [commit("T", "g", 0, 9)]);
    }

    #[test]
    fn topics_and_groups_are_forgotten_separately() {
        let mut book = book(&[commit("T", "g", 0, 1), commit("T", "h", 0, 1), commit("U", "g", 0, 1)]);
        let mut all = book.take_unsaved(1).transactions;
        book.remove_topic("T");
        assert_eq!(book.topics(), ["U"]);
        book.remove_group("g");
        assert_eq!(book.iter().count(), 0);
        all.extend(book.take_unsaved(2).transactions);
        assert_eq!(recovered(&all).iter().count(), 0);
    }

    #[test]
    fn large_batches_are_split() {
        let mut book = OffsetBook::default();
        for topic in 0..OFFSETS_PER_TRANSACTION + 5 {
            book.commit(&commit(&format!("T{topic}"), "g", 0, 1));
        }
        let unsaved = book.take_unsaved(1);
        assert_eq!(unsaved.transactions.len(), 2);
        assert_eq!(recovered(&unsaved.transactions).iter().count(), OFFSETS_PER_TRANSACTION + 5);
    }

    #[test]
    fn a_walk_can_be_interrupted_anywhere() {
        let book = book(&[commit("T", "a", 0, 1), commit("T", "b", 0, 2), commit("U", "a", 0, 3)]);
        let all: Vec<_> = book.pairs_after(None).collect();
        assert_eq!(all.len(), 3);
        for at in 0..all.len() {
            let rest: Vec<_> = book.pairs_after(Some(&all[at].0)).collect();
            assert_eq!(rest, all[at + 1..]);
        }
    }
}
