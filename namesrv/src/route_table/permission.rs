//! What operators change in the table, until the broker registers a changed one.

use std::rc::Rc;

use super::{PERM_READ, PERM_WRITE, Queues, RouteTable};
use crate::limits::{TOPIC_BYTES_MAX, TOPICS_MAX};

/// A topic's queues on one broker name, as request 217 gives them.
#[derive(Debug, Clone)]
pub struct NewQueues {
    /// The broker name.
    pub broker: String,
    /// Queues that consumers see.
    pub read: i32,
    /// Queues that producers see.
    pub write: i32,
    /// Permission.
    pub perm: i32,
    /// Unit flags.
    pub sys_flag: i32,
}

impl RouteTable {
    /// Takes the write permission of all topics on a broker name away (request 205). Gives their number.
    pub fn wipe_write(&mut self, broker: &str) -> usize {
        self.set_perm(broker, |perm| perm & !PERM_WRITE)
    }

    /// Gives it back (request 327): they can be read and written then, whatever they were before.
    pub fn add_write(&mut self, broker: &str) -> usize {
        self.set_perm(broker, |_| PERM_READ | PERM_WRITE)
    }

    fn set_perm(&mut self, broker: &str, perm: impl Fn(i32) -> i32) -> usize {
        let mut count = 0;
        for entry in self.topics.values_mut().flatten().filter(|entry| &*entry.broker == broker) {
            entry.perm = perm(entry.perm);
            count += 1;
        }
        count
    }

    /// Deletes a topic (request 216), in one cluster or everywhere.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Some(cluster) = cluster else {
            self.topics.remove(topic);
            self.mappings.remove(topic);
            return;
        };
        let Some(entries) = self.topics.get_mut(topic) else { return };
        let Some(names) = self.clusters.get(cluster) else { return };
        entries.retain(|entry| !names.contains(&entry.broker));
        if let Some(by_broker) = self.mappings.get_mut(topic) {
            by_broker.retain(|broker, _| !names.contains(broker.as_str()));
        }
        if entries.is_empty() {
            self.topics.remove(topic);
            self.mappings.remove(topic);
        }
    }

    /// Adds one topic (request 217). Nothing is taken over if one of its brokers is unknown or there is no room: false.
    pub fn register_topic(&mut self, topic: &str, queues: &[NewQueues]) -> bool {
        let fits = self.topics.contains_key(topic) || self.topics.len() < TOPICS_MAX;
        if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !fits {
            return false;
        }
        let names: Option<Vec<Rc<str>>> =
            queues.iter().map(|new| Some(Rc::clone(&self.groups.get(new.broker.as_str())?.name))).collect();
        let Some(names) = names else { return false };
        for (new, broker) in queues.iter().zip(names) {
            let NewQueues { read, write, perm, sys_flag, .. } = *new;
            self.set_queues(topic, Queues { broker, read, write, perm, sys_flag });
        }
        true
    }
}
