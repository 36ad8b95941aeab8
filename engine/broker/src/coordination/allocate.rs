//! Sharing out a topic's queues among the members of a group, as clients do themselves in other cases.

use ringmq_remoting::body::MessageQueue;

/// How queues are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Neighbouring queues to one member.
    Average,
    /// One after the other, round and round.
    Circle,
}

impl Strategy {
    /// By the name in a request; no other is known to brokers.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Average),
            "AVG_BY_CIRCLE" => Some(Self::Circle),
            _ => None,
        }
    }

    /// The share of the `index`th of `members`.
    fn share(self, queues: &[MessageQueue], index: usize, members: usize) -> Vec<MessageQueue> {
        match self {
            Self::Average => {
                let (each, more) = (queues.len() / members, queues.len() % members);
                let from = index * each + index.min(more);
                let count = each + usize::from(index < more);
                queues.iter().skip(from).take(count).cloned().collect()
            }
            Self::Circle => queues.iter().skip(index).step_by(members).cloned().collect(),
        }
    }
}

/// The queues that `client` pulls. Both lists are sorted; a client that is no member gets nothing.
#[must_use]
pub fn for_pull(
    strategy: Strategy,
    client: &str,
    queues: &[MessageQueue],
    members: &[String],
) -> Vec<MessageQueue> {
    let Some(index) = members.iter().position(|member| member == client) else { return Vec::new() };
    strategy.share(queues, index, members.len())
}

/// The queues that `client` pops. With `share_with` members to share with, its own and those of as many members behind it; below 1, or
/// with all the others: every queue of each broker, written as queue -1.
#[must_use]
pub fn for_pop(
    strategy: Strategy,
    client: &str,
    queues: &[MessageQueue],
    members: &[String],
    share_with: i32,
) -> Vec<MessageQueue> {
    let share_with = usize::try_from(share_with).unwrap_or(0);
    if share_with == 0 || share_with + 1 >= members.len() {
        let mut all: Vec<_> =
            queues.iter().map(|queue| MessageQueue { queue_id: -1, ..queue.clone() }).collect();
        all.dedup();
        return all;
    }
    let Some(index) = members.iter().position(|member| member == client) else { return Vec::new() };
    if members.len() > queues.len() {
        // Nobody goes empty-handed.
        return queues.get(index % queues.len().max(1)).cloned().into_iter().collect();
    }
    let sharing = (0..=share_with).map(|step| (index + step) % members.len());
    let mut shares: Vec<_> =
        sharing.flat_map(|member| strategy.share(queues, member, members.len())).collect();
    shares.sort();
    shares.dedup();
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        let queue = |queue_id| MessageQueue { topic: "T".to_owned(), broker_name: "b".to_owned(), queue_id };
        (0..count).map(queue).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("c{n}")).collect()
    }

    fn ids(queues: &[MessageQueue]) -> Vec<i32> {
        queues.iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn pulled_queues_are_shared_out_completely() {
        for (count, of) in [(8, 3), (2, 5), (6, 6), (1, 1), (0, 2)] {
            for strategy in [Strategy::Average, Strategy::Circle] {
                let share = |client: &String| ids(&for_pull(strategy, client, &queues(count), &members(of)));
                let shares: Vec<_> = members(of).iter().map(share).collect();
                let sizes = shares.iter().map(Vec::len);
                assert!(sizes.clone().max() <= sizes.min().map(|least| least + 1), "{shares:?}");
                let mut all = shares.concat();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>());
            }
        }
        let share = |strategy| ids(&for_pull(strategy, "c1", &queues(8), &members(3)));
        assert_eq!((share(Strategy::Average), share(Strategy::Circle)), (vec![3, 4, 5], vec![1, 4, 7]));
        assert!(for_pull(Strategy::Average, "stranger", &queues(8), &members(3)).is_empty());
    }

    #[test]
    fn popped_queues_are_shared_by_some_or_all() {
        let share = |client, count, of, with| {
            ids(&for_pop(Strategy::Average, client, &queues(count), &members(of), with))
        };
        assert_eq!(share("c0", 4, 2, -1), [-1]);
        assert_eq!(share("c0", 4, 3, 2), [-1]);
        assert_eq!(share("c3", 4, 4, 1), [0, 3]);
        assert_eq!(share("c4", 3, 5, 1), [1]);
    }
}
