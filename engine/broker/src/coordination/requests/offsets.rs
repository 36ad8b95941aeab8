//! Consumer offsets of whole groups and topics: 43, 45, 300, 308, 314, 343.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{CorrectionOffsets, GroupList, TopicList};
use ringmq_remoting::code::response;
use ringmq_remoting::request::{CorrectionOffsetHeader, GroupHeader, TopicHeader};

use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::message::{self, Question, QueueOffset};

/// 43
pub(super) fn all(core: &Core) -> Answer {
    Ok(Response::body(core.offsets.borrow().offsets_json()))
}

/// 45
pub(super) fn all_delay(core: &Core) -> Answer {
    Ok(Response::body(core.offsets.borrow().delay_json()))
}

/// What all shards gave, in one list.
pub(super) fn offsets_in(answers: Vec<message::Answer>) -> Vec<QueueOffset> {
    let offsets = answers.into_iter().filter_map(|answer| match answer {
        message::Answer::Offsets(offsets) => Some(offsets),
        _ => None,
    });
    offsets.flatten().collect()
}

/// 314
pub(super) fn clone(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let name = |field: &str| {
        command.field(field).filter(|name| !name.is_empty()).map(|name| Arc::<str>::from(&*name))
    };
    let (Some(from), Some(to)) = (name("srcGroup"), name("destGroup")) else {
        return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, "srcGroup and destGroup are needed")));
    };
    let question = Question::CloneOffsets { from, to, topic: name("topic") };
    let core = Rc::clone(core);
    Outcome::later(async move {
        core.ask_all(question).await?;
        Ok(Response::success())
    })
}

/// Topics in which a group has offsets, from the owners of the queues.
pub(super) async fn topics_with_offsets(core: &Core, group: &str) -> Result<BTreeSet<String>, Refusal> {
    let question = Question::GroupOffsets { group: Arc::from(group), topic: None };
    let offsets = offsets_in(core.ask_all(question).await?);
    Ok(offsets.into_iter().map(|offset| offset.topic.to_string()).collect())
}

/// 343
pub(super) fn topics_of_group(core: &Rc<Core>, request: &Request) -> Outcome {
    let group = match GroupHeader::from_command(&request.command()) {
        Ok(header) => header.group.into_owned(),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let topic_list = topics_with_offsets(&core, &group).await?.into_iter().collect();
        let broker_addr = Some(core.address().to_string());
        Ok(Response::body(TopicList { broker_addr, topic_list }.to_json()))
    })
}

/// 300: groups that are online with that topic, and groups that have offsets in it.
pub(super) fn groups_of_topic(core: &Rc<Core>, request: &Request) -> Outcome {
    let topic = match TopicHeader::from_command(&request.command()) {
        Ok(header) => header.topic.into_owned(),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let mut groups = groups_with_offsets(&core, &topic).await?;
        let clients = core.clients.borrow();
        let online = clients.consumers.iter().filter(|(_, group)| group.subscriptions.contains_key(&topic));
        groups.extend(online.map(|(name, _)| name.to_owned()));
        Ok(Response::body(GroupList { group_list: groups.into_iter().collect() }.to_json()))
    })
}

/// Groups that have offsets in a topic.
pub(super) async fn groups_with_offsets(core: &Core, topic: &str) -> Result<BTreeSet<String>, Refusal> {
    let answers = core.ask_all(Question::TopicGroups { topic: Arc::from(topic) }).await?;
    let mut groups = BTreeSet::new();
    for answer in answers {
        if let message::Answer::Groups(names) = answer {
            groups.extend(names.iter().map(ToString::to_string));
        }
    }
    Ok(groups)
}

/// 308: for each queue, the smallest offset of the groups that are compared with one group, or the largest number if that group is
/// behind all of them. Serves to find messages that nobody needs any more.
pub(super) fn correction(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let header = match CorrectionOffsetHeader::from_command(&command) {
        Ok(header) => header,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let left_out: BTreeSet<String> =
        header.filter_groups.iter().flat_map(|groups| groups.split(',')).map(str::to_owned).collect();
    let (compared, topic) = (header.compare_group.into_owned(), header.topic.into_owned());
    let core = Rc::clone(core);
    Outcome::later(async move {
        let topic = Arc::<str>::from(topic.as_str());
        let stats = core.ask_all(Question::TopicStats { topic: Arc::clone(&topic) }).await?;
        let first: BTreeMap<i32, i64> = stats
            .into_iter()
            .flat_map(|answer| match answer {
                message::Answer::TopicStats(queues) => queues,
                _ => Vec::new(),
            })
            .map(|queue| (queue.queue_id, queue.min_offset))
            .collect();
        let offsets = offsets_in(core.ask_all(Question::TopicOffsets { topic }).await?);
        let correction_offsets = corrected(&offsets, &first, &left_out, &compared);
        Ok(Response::body(CorrectionOffsets { correction_offsets }.to_json()))
    })
}

/// `first`: the queues' oldest messages; groups that stand before them do not count.
fn corrected(
    offsets: &[QueueOffset],
    first: &BTreeMap<i32, i64>,
    left_out: &BTreeSet<String>,
    compared: &str,
) -> BTreeMap<i32, i64> {
    let mut smallest = BTreeMap::<i32, i64>::new();
    for offset in offsets.iter().filter(|offset| !left_out.contains(&*offset.group)) {
        if offset.offset >= first.get(&offset.queue_id).copied().unwrap_or(0) {
            let known = smallest.entry(offset.queue_id).or_insert(i64::MAX);
            *known = offset.offset.min(*known);
        }
    }
    for own in offsets.iter().filter(|offset| &*offset.group == compared) {
        if let Some(smallest) = smallest.get_mut(&own.queue_id).filter(|smallest| **smallest > own.offset) {
            *smallest = i64::MAX;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_offset_counts_unless_the_compared_group_is_behind() {
        let offset = |group: &str, queue_id, offset| QueueOffset {
            group: Arc::from(group),
            topic: Arc::from("T"),
            queue_id,
            offset,
        };
        let offsets = [
            offset("behind", 0, 2),
            offset("ahead", 0, 9),
            offset("expired", 0, 1),
            offset("ahead", 1, 4),
            offset("behind", 1, 4),
        ];
        let first = BTreeMap::from([(0, 2)]);
        let ask = |left_out: &[&str], compared| {
            let left_out = left_out.iter().map(|&name| name.to_owned()).collect();
            corrected(&offsets, &first, &left_out, compared)
        };
        assert_eq!(ask(&[], "ahead"), BTreeMap::from([(0, 2), (1, 4)]));
        assert_eq!(ask(&["behind"], "behind"), BTreeMap::from([(0, i64::MAX), (1, 4)]));
        assert_eq!(ask(&["behind", "ahead"], "nobody"), BTreeMap::new());
    }
}
