//! What can happen to the metadata, and its binary form.
//!
//! Each change is absolute: it says what a key's value is from now on, not how it differs. Configurations are kept as JSON in the shape
//! in which the protocol shows them, so that a new member needs no new format; offsets, of which there are many, are
//! binary. Numbers are little-endian, texts have a length of four bytes before them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{DataVersion, MessageRequestMode, SubscriptionGroupConfig, TopicConfig};
use ringmq_remoting::json;

/// Version of the form below, in the first frame of each file. To be raised when an older broker could misread what is written.
pub const FORMAT: u32 = 1;

/// Tables with a version that clients and name servers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Topics.
    Topics,
    /// Groups and what they must not read.
    Groups,
    /// Consumer offsets.
    Offsets,
    /// Delay progress.
    Delay,
    /// How groups consume topics.
    RequestModes,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A table has this version.
    Version(Table, DataVersion),
    /// A topic is like this, or does not exist.
    Topic {
        /// Its name.
        name: String,
        /// Its configuration.
        config: Option<Arc<TopicConfig>>,
    },
    /// A consumer group is like this, or does not exist.
    Group {
        /// Its name.
        name: String,
        /// Its configuration.
        config: Option<Arc<SubscriptionGroupConfig>>,
    },
    /// What a group must not do with topics: topic → bits. Empty: nothing is forbidden.
    Forbidden {
        /// The group.
        group: String,
        /// Its topics.
        topics: Arc<BTreeMap<String, i32>>,
    },
    /// A group stands here in these queues of a topic; others stay as they are.
    Offsets {
        /// The topic.
        topic: Arc<str>,
        /// The group.
        group: Arc<str>,
        /// Queue and next offset to consume.
        queues: Vec<(i32, i64)>,
    },
    /// Nobody has an offset in the topic.
    TopicOffsetsGone(Arc<str>),
    /// The group has no offset in any topic.
    GroupOffsetsGone(Arc<str>),
    /// Delay levels of a shard have come this far; others stay as they are.
    Delay {
        /// The shard.
        shard: u16,
        /// Level (from 1) and next offset in its parking queue.
        levels: Vec<(i32, i64)>,
    },
    /// How groups consume a topic. Empty: as by default.
    RequestModes {
        /// The topic.
        topic: String,
        /// By group.
        modes: Arc<BTreeMap<String, MessageRequestMode>>,
    },
}

/// A payload that passed its checksum and still makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends within a change.
    #[error("the payload ends within a change")]
    Short,
    /// No change has this number.
    #[error("no change has the number {0}")]
    Tag(u8),
    /// A text is not UTF-8.
    #[error("a name is not UTF-8")]
    Text,
    /// A configuration does not read.
    #[error(transparent)]
    Config(#[from] ringmq_remoting::body::BodyError),
}

const TABLES: [Table; 5] = [Table::Topics, Table::Groups, Table::Offsets, Table::Delay, Table::RequestModes];

impl Change {
    /// Appends its binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version(table, version) => {
                let table = TABLES.iter().position(|known| known == table).expect("listed");
                out.extend([1, table as u8]);
                for number in [version.counter, version.state_version, version.timestamp] {
                    out.extend(number.to_le_bytes());
                }
            }
            Self::Topic { name, config: Some(config) } => {
                out.push(2);
                text(out, name);
                text(out, &config.to_json());
            }
            Self::Topic { name, config: None } => {
                out.push(3);
                text(out, name);
            }
            Self::Group { name, config: Some(config) } => {
                out.push(4);
                text(out, name);
                text(out, &config.to_json());
            }
            Self::Group { name, config: None } => {
                out.push(5);
                text(out, name);
            }
            Self::Forbidden { group, topics } => {
                out.push(6);
                text(out, group);
                count(out, topics.len());
                for (topic, bits) in &**topics {
                    text(out, topic);
                    out.extend(bits.to_le_bytes());
                }
            }
            Self::Offsets { topic, group, queues } => {
                out.push(7);
                text(out, topic);
                text(out, group);
                pairs(out, queues);
            }
            Self::TopicOffsetsGone(topic) => {
                out.push(8);
                text(out, topic);
            }
            Self::GroupOffsetsGone(group) => {
                out.push(9);
                text(out, group);
            }
            Self::Delay { shard, levels } => {
                out.push(10);
                out.extend(shard.to_le_bytes());
                pairs(out, levels);
            }
            Self::RequestModes { topic, modes } => {
                out.push(11);
                text(out, topic);
                count(out, modes.len());
                for mode in modes.values() {
                    text(out, &json::to_text(mode));
                }
            }
        }
    }

    /// Reads all changes of a payload, in order.
    ///
    /// # Errors
    /// See [`DecodeError`]; `each` has been given what stands before.
    pub fn decode_all(payload: &[u8], mut each: impl FnMut(Self)) -> Result<(), DecodeError> {
        let mut reader = Reader(payload);
        while !reader.0.is_empty() {
            each(reader.change()?);
        }
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    count(out, text.len());
    out.extend(text.as_bytes());
}

fn count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("tables and texts are bounded far below 4 Gi");
    out.extend(count.to_le_bytes());
}

fn pairs(out: &mut Vec<u8>, pairs: &[(i32, i64)]) {
    count(out, pairs.len());
    for (key, value) in pairs {
        out.extend(key.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn change(&mut self) -> Result<Change, DecodeError> {
        let [tag] = self.array()?;
        Ok(match tag {
            1 => {
                let [table] = self.array()?;
                let table = *TABLES.get(usize::from(table)).ok_or(DecodeError::Tag(table))?;
                let (counter, state_version, timestamp) = (self.long()?, self.long()?, self.long()?);
                Change::Version(table, DataVersion { counter, state_version, timestamp })
            }
            2 => {
                let name = self.text()?.to_owned();
                let config = TopicConfig::from_json(self.text()?.as_bytes())?;
                Change::Topic { name, config: Some(Arc::new(config)) }
            }
            3 => Change::Topic { name: self.text()?.to_owned(), config: None },
            4 => {
                let name = self.text()?.to_owned();
                let config = SubscriptionGroupConfig::from_json(self.text()?.as_bytes())?;
                Change::Group { name, config: Some(Arc::new(config)) }
            }
            5 => Change::Group { name: self.text()?.to_owned(), config: None },
            6 => {
                let group = self.text()?.to_owned();
                let topics: Result<_, DecodeError> =
                    (0..self.count()?).map(|_| Ok((self.text()?.to_owned(), self.int()?))).collect();
                Change::Forbidden { group, topics: Arc::new(topics?) }
            }
            7 => {
                let (topic, group) = (Arc::from(self.text()?), Arc::from(self.text()?));
                Change::Offsets { topic, group, queues: self.pairs()? }
            }
            8 => Change::TopicOffsetsGone(Arc::from(self.text()?)),
            9 => Change::GroupOffsetsGone(Arc::from(self.text()?)),
            10 => Change::Delay { shard: u16::from_le_bytes(self.array()?), levels: self.pairs()? },
            11 => {
                let topic = self.text()?.to_owned();
                let modes: Result<_, DecodeError> = (0..self.count()?)
                    .map(|_| {
                        let mode = MessageRequestMode::from_json(self.text()?.as_bytes())?;
                        Ok((mode.consumer_group.clone(), mode))
                    })
                    .collect();
                Change::RequestModes { topic, modes: Arc::new(modes?) }
            }
            other => return Err(DecodeError::Tag(other)),
        })
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("as many were taken"))
    }

    fn int(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_le_bytes)
    }

    fn long(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    fn count(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.count()?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| DecodeError::Text)
    }

    fn pairs(&mut self) -> Result<Vec<(i32, i64)>, DecodeError> {
        // Not collected by the count alone: that is only believed as far as there are bytes.
        (0..self.count()?).map(|_| Ok((self.int()?, self.long()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_kinds() -> Vec<Change> {
        let topic = TopicConfig { topic_name: "T".to_owned(), order: true, ..TopicConfig::default() };
        let group =
            SubscriptionGroupConfig { group_name: "g".to_owned(), ..SubscriptionGroupConfig::default() };
        vec![
            Change::Version(Table::Offsets, DataVersion { counter: 3, state_version: 0, timestamp: -1 }),
            Change::Topic { name: "T".to_owned(), config: Some(Arc::new(topic)) },
            Change::Topic { name: "U".to_owned(), config: None },
            Change::Group { name: "g".to_owned(), config: Some(Arc::new(group)) },
            Change::Group { name: "h".to_owned(), config: None },
            Change::Forbidden {
                group: "g".to_owned(),
                topics: Arc::new(BTreeMap::from([("T".to_owned(), 4)])),
            },
            Change::Offsets {
                topic: Arc::from("T"),
                group: Arc::from("g"),
                queues: vec![(0, 10), (7, i64::MAX)],
            },
            Change::TopicOffsetsGone(Arc::from("T")),
            Change::GroupOffsetsGone(Arc::from("Größe")),
            Change::Delay { shard: 2, levels: vec![(18, 5)] },
            Change::RequestModes {
                topic: "T".to_owned(),
                modes: Arc::new(BTreeMap::from([(
                    "g".to_owned(),
                    MessageRequestMode { consumer_group: "g".to_owned(), ..MessageRequestMode::default() },
                )])),
            },
        ]
    }

    fn decoded(payload: &[u8]) -> Result<Vec<Change>, DecodeError> {
        let mut changes = Vec::new();
        Change::decode_all(payload, |change| changes.push(change)).map(|()| changes)
    }

    #[test]
    fn every_kind_is_read_back() {
        let mut payload = Vec::new();
        all_kinds().iter().for_each(|change| change.encode(&mut payload));
        assert_eq!(decoded(&payload), Ok(all_kinds()));
    }

    #[test]
    fn what_is_cut_or_strange_is_an_error_and_no_panic() {
        for change in all_kinds() {
            let mut payload = Vec::new();
            change.encode(&mut payload);
            for length in 1..payload.len() {
                assert!(decoded(&payload[..length]).is_err(), "{change:?} cut to {length}");
            }
        }
        assert_eq!(decoded(&[99]), Err(DecodeError::Tag(99)));
        assert_eq!(decoded(&[7, 255, 255, 255, 255]), Err(DecodeError::Short));
    }
}
