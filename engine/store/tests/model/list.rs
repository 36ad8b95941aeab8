//! The plain list: everything that was appended, in log order, and what a scan of it answers.

use std::collections::BTreeMap;

use ringmq_store::{Boundary, KeyKind, KeyQuery, LogOffset, PhysicalOffset};

use crate::support::Message;

/// A record that is in the log, or was on its way there.
#[derive(Clone, Debug)]
pub struct Logged {
    pub message: Message,
    /// Value of `KEYS`.
    pub words: String,
    pub rolled_back: bool,
    pub at: PhysicalOffset,
    pub end: LogOffset,
    pub queue_offset: i64,
    pub time: i64,
}

impl Logged {
    fn matches(&self, query: &KeyQuery) -> bool {
        let by_word = query.kind == KeyKind::Any && self.words.split(' ').any(|word| word == query.key);
        self.message.topic == query.topic
            && !self.rolled_back
            && (query.begin_ms..=query.end_ms).contains(&self.time)
            && (by_word || unique(self.message.id) == query.key)
    }
}

#[derive(Clone, Debug)]
pub enum Entry {
    Message(Logged),
    Deleted { topic: String, end: LogOffset },
}

impl Entry {
    fn end(&self) -> LogOffset {
        match self {
            Self::Message(logged) => logged.end,
            Self::Deleted { end, .. } => *end,
        }
    }
}

/// A queue as it should be.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Every message that it ever had, by queue offset.
    pub all: Vec<Logged>,
    /// Oldest offset that is still there; `all.len()` if none is.
    pub min: usize,
}

impl Queue {
    pub fn kept(&self) -> &[Logged] {
        &self.all[self.min..]
    }

    pub fn by_time(&self, time: i64, boundary: Boundary) -> i64 {
        let found = match boundary {
            Boundary::Lower => {
                let first = self.kept().iter().find(|m| m.time >= time);
                first.map_or(self.all.len() as i64, |m| m.queue_offset)
            }
            Boundary::Upper => {
                let last = self.kept().iter().rev().find(|m| m.time <= time);
                last.map_or(self.min as i64, |m| m.queue_offset)
            }
        };
        assert!((self.min as i64..=self.all.len() as i64).contains(&found));
        found
    }
}

#[derive(Debug, Default)]
pub struct List {
    entries: Vec<Entry>,
    /// Start of the oldest segment: what lies below is gone, but counts in its queue.
    pub log_min: LogOffset,
    /// Min offsets of queues, by the place of their first message, that are higher than `log_min` says, see [`List::hide`].
    hidden: BTreeMap<PhysicalOffset, usize>,
}

impl List {
    pub fn push(&mut self, entry: Entry) {
        assert!(entry.end() > self.end(), "the log grows: {entry:?}");
        if let Entry::Message(logged) = &entry {
            assert!(logged.time >= self.newest_time(), "store times never go back: {entry:?}");
        }
        self.entries.push(entry);
    }

    pub fn end(&self) -> LogOffset {
        self.entries.last().map_or(LogOffset(0), Entry::end)
    }

    fn newest_time(&self) -> i64 {
        self.messages().next_back().map_or(i64::MIN, |logged| logged.time)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes off what ends above a place; whether there was anything.
    pub fn cut(&mut self, log_max: LogOffset) -> bool {
        let before = self.entries.len();
        self.entries.truncate(self.count_to(log_max));
        self.entries.len() < before
    }

    /// Records that end at or below a place.
    pub fn count_to(&self, end: LogOffset) -> usize {
        self.entries.partition_point(|entry| entry.end() <= end)
    }

    /// Messages that are in the log, in its order; those of deleted topics and rolled-back ones too.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Logged> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Message(logged) => (logged.at.log_offset() >= self.log_min).then_some(logged),
            Entry::Deleted { .. } => None,
        })
    }

    pub fn queues(&self) -> BTreeMap<(String, i32), Queue> {
        let mut queues: BTreeMap<_, Queue> = BTreeMap::new();
        for entry in &self.entries {
            match entry {
                Entry::Message(logged) if logged.rolled_back => {}
                Entry::Message(logged) => {
                    let name = (logged.message.topic.clone(), logged.message.queue_id);
                    let queue = queues.entry(name).or_default();
                    assert_eq!(logged.queue_offset, queue.all.len() as i64, "queue offsets have no gap");
                    queue.min += usize::from(logged.at.log_offset() < self.log_min);
                    queue.all.push(logged.clone());
                }
                Entry::Deleted { topic, .. } => queues.retain(|(of, _), _| of != topic),
            }
        }
        for queue in queues.values_mut() {
            let hidden = self.hidden.get(&queue.all[0].at).copied().unwrap_or(0);
            queue.min = queue.min.max(hidden);
        }
        queues
    }

    /// A power cut while retention removes a segment may bring the segment back, but not what queues say of it: it is removed again.
    pub fn hide(&mut self, name: &(String, i32), min: i64, segment_bytes: u64) {
        let newest_segment = self.end().0 / segment_bytes * segment_bytes;
        let queue = self.queues().remove(name).expect("a queue that had messages");
        let min = usize::try_from(min).expect("not negative");
        assert!(min >= queue.min, "{name:?}: what was removed stays so ({min} after {})", queue.min);
        let hidden = &queue.all[queue.min..min];
        assert!(
            hidden.iter().all(|m| m.at.log_offset().0 < newest_segment),
            "{name:?}: {hidden:?} are hidden"
        );
        self.hidden.insert(queue.all[0].at, min);
    }

    /// Newest first.
    pub fn by_key(&self, query: &KeyQuery) -> Vec<Logged> {
        self.messages().rev().filter(|m| m.matches(query)).take(query.messages_max).cloned().collect()
    }

    /// A message by its place, 0 to 255 from the oldest to the newest.
    pub fn by_place(&self, number: u8) -> Option<&Logged> {
        let count = self.messages().count();
        self.messages().nth(usize::from(number) * count / 256)
    }
}

/// The unique key that a message of a test has.
pub fn unique(id: u64) -> String {
    format!("{id:016X}")
}

/// The words of a mask: `all` for every record, `twice` twice.
pub fn words(mask: u8) -> String {
    let mut words = String::from("all");
    for bit in 0..7 {
        if mask & (1 << bit) != 0 {
            words.push_str(&format!(" k{bit}"));
        }
    }
    words.push_str(" twice  twice ");
    words
}

pub fn query_key(number: u8) -> String {
    match number {
        7 => "all".to_string(),
        8 => "twice".to_string(),
        _ => format!("k{number}"),
    }
}

/// Topic and queue id of a queue's number.
pub fn queue_name(number: u8) -> (String, i32) {
    (topic_name(number / 2), i32::from(number % 2) * 5)
}

pub fn topic_name(number: u8) -> String {
    format!("topic{number}")
}
