//! Consumer offsets and delay progress as they are persisted.
//!
//! The queues' owner shards have the truth; what they report in batches is kept here, written every
//! `flushConsumerOffsetInterval`, and handed back to them at the next start.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{ConsumerOffsetTable, DataVersion};
use ringmq_remoting::json::{self, FromJson, JsonError, ToJson, Writer};

use crate::message::QueueOffset;

/// Between the topic and the group in a key; no topic's name contains it.
const SEPARATOR: char = '@';

/// See the module's text.
#[derive(Debug, Default)]
pub struct OffsetBook {
    offsets: ConsumerOffsetTable,
    delay: DelayProgress,
}

/// Content of `delayOffset.json`: the reference's members, and the progress of each shard, which has parking queues of
/// its own.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct DelayProgress {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Shard → delay level (from 1) → next offset in that shard's parking queue.
    pub shards: BTreeMap<i32, BTreeMap<i32, i64>>,
}

impl OffsetBook {
    /// Takes what was read from disk.
    pub fn load(&mut self, offsets: Option<ConsumerOffsetTable>, delay: Option<DelayProgress>) {
        self.offsets = offsets.unwrap_or_default();
        self.delay = delay.unwrap_or_default();
    }

    /// A group's new offset in a queue.
    pub fn commit(&mut self, commit: &QueueOffset) {
        let key = format!("{}{SEPARATOR}{}", commit.topic, commit.group);
        self.offsets.offset_table.entry(key).or_default().insert(commit.queue_id, commit.offset);
    }

    /// A shard's delay levels have moved on.
    pub fn delay_moved(&mut self, shard: u16, levels: &[(i32, i64)]) {
        self.delay.shards.entry(i32::from(shard)).or_default().extend(levels.iter().copied());
    }

    /// Delay progress of one shard.
    #[must_use]
    pub fn delay_of(&self, shard: u16) -> Vec<(i32, i64)> {
        let levels = self.delay.shards.get(&i32::from(shard));
        levels.into_iter().flatten().map(|(level, offset)| (*level, *offset)).collect()
    }

    /// Every offset; entries whose key is no `topic@group` are left out.
    pub fn iter(&self) -> impl Iterator<Item = QueueOffset> {
        self.offsets.offset_table.iter().flat_map(|(key, queues)| {
            let names = key
                .split_once(SEPARATOR)
                .map(|(topic, group)| (Arc::<str>::from(topic), Arc::<str>::from(group)));
            let offset = move |(queue_id, offset): (&i32, &i64)| {
                let (topic, group) = names.clone()?;
                Some(QueueOffset { group, topic, queue_id: *queue_id, offset: *offset })
            };
            queues.iter().filter_map(offset)
        })
    }

    /// Topics in which a group has offsets.
    #[must_use]
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        self.keys().filter(|(_, of)| *of == group).map(|(topic, _)| topic.to_owned()).collect()
    }

    /// Groups that have offsets in a topic.
    #[must_use]
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        self.keys().filter(|(of, _)| *of == topic).map(|(_, group)| group.to_owned()).collect()
    }

    /// Topics in which any group has offsets.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.keys().map(|(topic, _)| topic.to_owned()).collect();
        topics.dedup();
        topics
    }

    fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.offsets.offset_table.keys().filter_map(|key| key.split_once(SEPARATOR))
    }

    /// Forgets a deleted topic. True: there was something.
    pub fn remove_topic(&mut self, topic: &str) -> bool {
        self.remove(|of, _| of == topic)
    }

    /// Forgets a group. True: there was something.
    pub fn remove_group(&mut self, group: &str) -> bool {
        self.remove(|_, of| of == group)
    }

    fn remove(&mut self, gone: impl Fn(&str, &str) -> bool) -> bool {
        let before = self.offsets.offset_table.len();
        self.offsets
            .offset_table
            .retain(|key, _| !key.split_once(SEPARATOR).is_some_and(|(topic, group)| gone(topic, group)));
        self.offsets.offset_table.len() != before
    }

    /// Content of `consumerOffset.json` and of the answer to 43, under a new version.
    pub fn offsets_json(&mut self, now_ms: u64) -> String {
        self.offsets.data_version = self.offsets.data_version.next(i64::try_from(now_ms).unwrap_or(i64::MAX));
        let mut topics = BTreeMap::<String, Vec<String>>::new();
        for (topic, group) in self.offsets.offset_table.keys().filter_map(|key| key.split_once(SEPARATOR)) {
            topics.entry(group.to_owned()).or_default().push(topic.to_owned());
        }
        self.offsets.group_topic_map = Some(topics);
        self.offsets.to_json()
    }

    /// Content of `delayOffset.json` and of the answer to 45, under a new version.
    pub fn delay_json(&mut self, now_ms: u64) -> String {
        self.delay.data_version = self.delay.data_version.next(i64::try_from(now_ms).unwrap_or(i64::MAX));
        json::to_text(&self.delay)
    }
}

impl DelayProgress {
    /// Reads the file. The reference's own file, without shards, gives no progress: its offsets belong to another log.
    ///
    /// # Errors
    /// When the text is not of that shape.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        let value = json::parse(text)?;
        let member = |name: &str| value.get(name);
        Ok(Self {
            data_version: member("dataVersion").map(DataVersion::read).transpose()?.unwrap_or_default(),
            shards: member("shardOffsetTable").map(BTreeMap::read).transpose()?.unwrap_or_default(),
        })
    }
}

impl ToJson for DelayProgress {
    fn write(&self, out: &mut Writer) {
        let mut sums = BTreeMap::<i32, i64>::new();
        for (level, offset) in self.shards.values().flatten() {
            *sums.entry(*level).or_default() += offset;
        }
        out.object(|object| {
            object.member("dataVersion", &self.data_version);
            object.member("offsetTable", &sums);
            object.member("shardOffsetTable", &self.shards);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(topic: &str, group: &str, queue_id: i32, offset: i64) -> QueueOffset {
        QueueOffset { group: Arc::from(group), topic: Arc::from(topic), queue_id, offset }
    }

    /// As the reference writes it: tabs, unquoted queue ids.
    const APACHE: &str = "{\n\t\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1700000000000},\n\
        \t\"groupTopicMap\":{\"g\":[\"T\"]},\n\t\"offsetTable\":{\n\t\t\"T@g\":{0:10,1:7\n\t\t},\n\t\t\"%RETRY%g@g\":{0:0\n\t\t}\n\t}\n}";

    #[test]
    fn the_references_file_is_read_and_written_back() {
        let mut book = OffsetBook::default();
        book.load(Some(ConsumerOffsetTable::from_json(APACHE.as_bytes()).expect("readable")), None);
        let mut all: Vec<_> = book.iter().collect();
        all.sort_by_key(|offset| (offset.topic.clone(), offset.queue_id));
        assert_eq!(all, [commit("%RETRY%g", "g", 0, 0), commit("T", "g", 0, 10), commit("T", "g", 1, 7)]);
        book.commit(&commit("T", "g", 1, 8));
        let text = book.offsets_json(1_700_000_000_001);
        assert_eq!(
            text,
            "{\"dataVersion\":{\"counter\":2,\"stateVersion\":0,\"timestamp\":1700000000001},\
             \"groupTopicMap\":{\"g\":[\"%RETRY%g\",\"T\"]},\"offsetTable\":{\"%RETRY%g@g\":{0:0},\"T@g\":{0:10,1:8}}}"
        );
    }

    #[test]
    fn topics_and_groups_are_forgotten_separately() {
        let mut book = OffsetBook::default();
        for (topic, group) in [("T", "g"), ("T", "h"), ("U", "g")] {
            book.commit(&commit(topic, group, 0, 1));
        }
        assert_eq!(book.groups_of("T"), ["g", "h"]);
        assert_eq!(book.topics_of("g"), ["T", "U"]);
        assert!(book.remove_topic("T"));
        assert!(!book.remove_topic("T"));
        assert_eq!(book.topics_of("g"), ["U"]);
        assert!(book.remove_group("g"));
        assert_eq!(book.iter().count(), 0);
    }

    #[test]
    fn delay_progress_is_kept_per_shard() {
        let mut book = OffsetBook::default();
        book.delay_moved(0, &[(1, 5), (3, 2)]);
        book.delay_moved(1, &[(3, 4)]);
        book.delay_moved(0, &[(1, 6)]);
        let text = book.delay_json(9);
        assert!(text.contains("\"offsetTable\":{1:6,3:6}"), "{text}");
        let mut again = OffsetBook::default();
        again.load(None, Some(DelayProgress::from_json(text.as_bytes()).expect("readable")));
        assert_eq!(again.delay_of(0), [(1, 6), (3, 2)]);
        assert_eq!(again.delay_of(1), [(3, 4)]);
        let apache = DelayProgress::from_json(b"{\"offsetTable\":{1:12,3:4}}").expect("readable");
        assert!(apache.shards.is_empty());
    }
}
