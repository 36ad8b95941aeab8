//! Locks on queues for orderly consumers (41, 42).
//!
//! A lock belongs to a client id within a group and lives 60 s after it was last taken; clients renew every 20 s. Locks are
//! in memory only: after a restart clients take them anew.

use std::collections::BTreeMap;

use ringmq_remoting::body::MessageQueue;
use rustc_hash::FxHashMap;

/// How long a lock lives after it was last taken, ms.
pub const LOCK_LIFE_MS: u64 = 60_000;
/// Most locks of one group. A group with more queues than this gets no locks on the rest.
pub const LOCKS_PER_GROUP_MAX: usize = 100_000;

#[derive(Debug)]
struct Lock {
    client_id: String,
    taken_ms: u64,
}

impl Lock {
    fn is_expired(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.taken_ms) > LOCK_LIFE_MS
    }
}

/// All locks of the broker.
#[derive(Debug, Default)]
pub struct QueueLocks {
    groups: FxHashMap<String, BTreeMap<MessageQueue, Lock>>,
}

impl QueueLocks {
    /// Takes or renews what is free, expired or already the client's, and tells which of `queues` it holds now.
    pub fn lock(
        &mut self,
        group: &str,
        client_id: &str,
        queues: Vec<MessageQueue>,
        now_ms: u64,
    ) -> Vec<MessageQueue> {
        let locks = self.groups.entry(group.to_owned()).or_default();
        let mut held = Vec::with_capacity(queues.len());
        for queue in queues {
            if let Some(lock) = locks.get_mut(&queue) {
                if lock.client_id != client_id && !lock.is_expired(now_ms) {
                    continue;
                }
                client_id.clone_into(&mut lock.client_id);
                lock.taken_ms = now_ms;
            } else if locks.len() < LOCKS_PER_GROUP_MAX {
                locks.insert(queue.clone(), Lock { client_id: client_id.to_owned(), taken_ms: now_ms });
            } else {
                continue;
            }
            held.push(queue);
        }
        held
    }

    /// Gives the client's own locks back; those of others stay.
    pub fn unlock(&mut self, group: &str, client_id: &str, queues: &[MessageQueue]) {
        let Some(locks) = self.groups.get_mut(group) else { return };
        for queue in queues {
            if locks.get(queue).is_some_and(|lock| lock.client_id == client_id) {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Forgets expired locks.
    pub fn expire(&mut self, now_ms: u64) {
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| !lock.is_expired(now_ms));
            !locks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(ids: &[i32]) -> Vec<MessageQueue> {
        let queue = |&queue_id| MessageQueue { broker_name: "b".to_owned(), queue_id, topic: "t".to_owned() };
        ids.iter().map(queue).collect()
    }

    #[test]
    fn a_lock_is_exclusive_until_it_expires() {
        let mut locks = QueueLocks::default();
        assert_eq!(locks.lock("g", "one", queues(&[0, 1]), 1_000), queues(&[0, 1]));
        assert_eq!(locks.lock("g", "two", queues(&[0, 1, 2]), 2_000), queues(&[2]));
        assert_eq!(locks.lock("other", "two", queues(&[0]), 2_000), queues(&[0]), "groups are independent");
        assert_eq!(locks.lock("g", "one", queues(&[0]), 50_000), queues(&[0]), "renewed");
        assert_eq!(
            locks.lock("g", "two", queues(&[0, 1]), 61_001),
            queues(&[1]),
            "1 has expired, 0 was renewed"
        );
        assert_eq!(locks.lock("g", "two", queues(&[0]), 110_000), queues(&[]));
        assert_eq!(locks.lock("g", "two", queues(&[0]), 110_001), queues(&[0]));
    }

    #[test]
    fn only_own_locks_are_given_back() {
        let mut locks = QueueLocks::default();
        locks.lock("g", "one", queues(&[0]), 0);
        locks.unlock("g", "two", &queues(&[0]));
        assert_eq!(locks.lock("g", "two", queues(&[0]), 1), queues(&[]));
        locks.unlock("g", "one", &queues(&[0]));
        assert_eq!(locks.lock("g", "two", queues(&[0]), 1), queues(&[0]));
    }

    #[test]
    fn expired_locks_are_forgotten() {
        let mut locks = QueueLocks::default();
        locks.lock("g", "one", queues(&[0]), 0);
        locks.expire(60_000);
        assert_eq!(locks.groups.len(), 1);
        locks.expire(60_001);
        assert!(locks.groups.is_empty());
    }
}
