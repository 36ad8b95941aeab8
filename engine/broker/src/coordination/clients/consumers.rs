//! Consumer groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{SUBSCRIBE_ALL, SubscriptionData};
use rustc_hash::FxHashMap;

use super::{GROUPS_ONLINE_MAX, MEMBERS_PER_GROUP_MAX, Member};
use crate::coordination::relay::Channel;
use crate::message::{ConsumeModel, ExpressionKind, OnlineGroup, PropertyFilter, Subscription};

/// Message model: each message to one member.
pub const CLUSTERING: &str = "CLUSTERING";
/// Message model: each message to every member.
pub const BROADCASTING: &str = "BROADCASTING";
/// Subscriptions of one group: what comes beyond is dropped.
pub const SUBSCRIPTIONS_PER_GROUP_MAX: usize = 10_000;

/// One group that is online.
#[derive(Debug, Clone)]
pub struct ConsumerGroup {
    /// By connection.
    pub members: BTreeMap<Channel, Member>,
    /// By topic: what the newest heartbeats subscribe to.
    pub subscriptions: BTreeMap<String, SubscriptionData>,
    /// `CONSUME_PASSIVELY` (push), `CONSUME_ACTIVELY` (pull) or `CONSUME_POP`.
    pub consume_type: String,
    /// [`CLUSTERING`] or [`BROADCASTING`].
    pub model: String,
    /// Where new members begin.
    pub from_where: String,
    /// Fingerprint of the last heartbeat; 0 if that was one of the first form.
    fingerprint: Option<i32>,
}

/// What one heartbeat says about one group.
#[derive(Debug, Clone)]
pub struct ConsumerJoin {
    /// The group.
    pub group: String,
    /// Who.
    pub member: Member,
    /// `CONSUME_PASSIVELY` (push), `CONSUME_ACTIVELY` (pull) or `CONSUME_POP`.
    pub consume_type: String,
    /// [`CLUSTERING`] or [`BROADCASTING`].
    pub model: String,
    /// Where it begins.
    pub from_where: String,
    /// What it subscribes to; `None`: as before (second form of the heartbeat).
    pub subscriptions: Option<Vec<SubscriptionData>>,
    /// Fingerprint of the heartbeat in its second form, 0 in the first.
    pub fingerprint: i32,
}

/// What a heartbeat changed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// A new member or other topics: the group must be told to rebalance.
    pub changed: bool,
    /// Data shards must learn new subscriptions or a new model.
    pub subscriptions_changed: bool,
    /// The group's remembered fingerprint was another one.
    pub fingerprint_changed: bool,
}

/// Groups by name.
#[derive(Debug, Default)]
pub struct ConsumerGroups {
    groups: BTreeMap<String, ConsumerGroup>,
}

impl ConsumerGroups {
    /// A heartbeat. `None`: a limit is reached and the member is not known.
    pub fn heartbeat(&mut self, join: ConsumerJoin) -> Option<Joined> {
        let mut joined = Joined::default();
        if !self.groups.contains_key(&join.group) {
            if self.groups.len() >= GROUPS_ONLINE_MAX {
                return None;
            }
            joined.subscriptions_changed = true;
            let group = ConsumerGroup {
                members: BTreeMap::new(),
                subscriptions: BTreeMap::new(),
                consume_type: join.consume_type.clone(),
                model: join.model.clone(),
                from_where: join.from_where.clone(),
                fingerprint: None,
            };
            self.groups.insert(join.group.clone(), group);
        }
        let group = self.groups.get_mut(&join.group).expect("present or inserted above");
        if !group.members.contains_key(&join.member.channel) {
            if group.members.len() >= MEMBERS_PER_GROUP_MAX {
                return None;
            }
            // The same client on another connection: it has reconnected.
            group.members.retain(|_, member| member.client_id != join.member.client_id);
            joined.changed = true;
        }
        joined.subscriptions_changed |= group.model != join.model;
        group.consume_type = join.consume_type;
        group.model = join.model;
        group.from_where = join.from_where;
        group.members.insert(join.member.channel, join.member);
        if let Some(subscriptions) = join.subscriptions {
            group.subscribe(subscriptions, &mut joined);
        }
        joined.fingerprint_changed = group.fingerprint.is_some_and(|known| known != join.fingerprint);
        group.fingerprint = Some(join.fingerprint);
        Some(joined)
    }

    /// A member says good-bye to one group. True: it was one.
    pub fn leave(&mut self, group: &str, channel: Channel) -> bool {
        let Some(entry) = self.groups.get_mut(group) else { return false };
        let was_member = entry.members.remove(&channel).is_some();
        if entry.members.is_empty() {
            self.groups.remove(group);
        }
        was_member
    }

    /// A connection has ended: the groups it was in.
    pub fn closed(&mut self, channel: Channel) -> Vec<String> {
        self.remove_members(|member| member.channel == channel).0
    }

    /// Drops members: the groups they were in, and their connections.
    pub fn expire(&mut self, is_expired: impl Fn(&Member) -> bool) -> (Vec<String>, Vec<Channel>) {
        self.remove_members(is_expired)
    }

    fn remove_members(&mut self, gone: impl Fn(&Member) -> bool) -> (Vec<String>, Vec<Channel>) {
        let (mut groups, mut channels) = (Vec::new(), Vec::new());
        self.groups.retain(|name, group| {
            let before = channels.len();
            group.members.retain(|channel, member| {
                let gone = gone(member);
                if gone {
                    channels.push(*channel);
                }
                !gone
            });
            if channels.len() > before {
                groups.push(name.clone());
            }
            !group.members.is_empty()
        });
        (groups, channels)
    }

    /// A group, while it has members.
    #[must_use]
    pub fn get(&self, group: &str) -> Option<&ConsumerGroup> {
        self.groups.get(group)
    }

    /// All groups online.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ConsumerGroup)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }
}

impl ConsumerGroup {
    /// A newer version of a topic's subscription replaces the old one silently; other topics are a change.
    fn subscribe(&mut self, subscriptions: Vec<SubscriptionData>, joined: &mut Joined) {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| subscriptions.iter().any(|new| new.topic == *topic));
        if self.subscriptions.len() != before {
            joined.changed = true;
            joined.subscriptions_changed = true;
        }
        for new in subscriptions {
            match self.subscriptions.get(&new.topic) {
                None if self.subscriptions.len() >= SUBSCRIPTIONS_PER_GROUP_MAX => continue,
                None => joined.changed = true,
                Some(old) if new.sub_version > old.sub_version => {}
                Some(_) => continue,
            }
            joined.subscriptions_changed = true;
            self.subscriptions.insert(new.topic.clone(), new);
        }
    }

    /// What data shards need to know of it. `filter_of` gives what the expression for a topic was compiled to.
    #[must_use]
    pub fn online(&self, filter_of: impl Fn(&str) -> Option<PropertyFilter>) -> OnlineGroup {
        let entry = |data: &SubscriptionData| {
            let filter = filter_of(&data.topic).filter(|_| !data.is_tag_type());
            (Arc::from(data.topic.as_str()), Arc::new(subscription(data, filter)))
        };
        let subscriptions: FxHashMap<Arc<str>, Arc<Subscription>> =
            self.subscriptions.values().map(entry).collect();
        let model =
            if self.is_broadcasting() { ConsumeModel::Broadcasting } else { ConsumeModel::Clustering };
        OnlineGroup { model, subscriptions }
    }

    /// Whether every member gets every message.
    #[must_use]
    pub fn is_broadcasting(&self) -> bool {
        self.model == BROADCASTING
    }

    /// A member by its client id.
    #[must_use]
    pub fn member(&self, client_id: &str) -> Option<&Member> {
        self.members.values().find(|member| member.client_id == client_id)
    }
}

fn subscription(data: &SubscriptionData, filter: Option<PropertyFilter>) -> Subscription {
    let expression = if data.is_tag_type() { ExpressionKind::Tag } else { ExpressionKind::Properties };
    Subscription { version: data.sub_version, expression, tag_codes: tag_codes(data), filter }
}

/// Hashes of the wanted tags; empty: all messages. Clients that are not Java may leave the hashes out.
fn tag_codes(data: &SubscriptionData) -> Box<[i32]> {
    if data.sub_string.is_empty() || data.sub_string == SUBSCRIBE_ALL || !data.is_tag_type() {
        return Box::default();
    }
    if !data.code_set.is_empty() {
        return data.code_set.clone().into_boxed_slice();
    }
    let parsed = SubscriptionData::parse(&data.topic, &data.sub_string, None, data.sub_version);
    parsed.map(|parsed| parsed.code_set.into_boxed_slice()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::clients::tests::member;

    fn join(connection: u32, client: &str, topics: &[(&str, i64)]) -> ConsumerJoin {
        let subscription = |(topic, version): &(&str, i64)| {
            SubscriptionData::parse(topic, "a || b", None, *version).expect("valid expression")
        };
        ConsumerJoin {
            group: "g".to_owned(),
            member: member(connection, client, 0),
            consume_type: "CONSUME_PASSIVELY".to_owned(),
            model: CLUSTERING.to_owned(),
            from_where: "CONSUME_FROM_LAST_OFFSET".to_owned(),
            subscriptions: Some(topics.iter().map(subscription).collect()),
            fingerprint: 0,
        }
    }

    fn changed(groups: &mut ConsumerGroups, join: ConsumerJoin) -> (bool, bool) {
        let joined = groups.heartbeat(join).expect("below limits");
        (joined.changed, joined.subscriptions_changed)
    }

    #[test]
    fn new_members_and_new_topics_are_changes() {
        let mut groups = ConsumerGroups::default();
        assert_eq!(changed(&mut groups, join(1, "one", &[("T", 1)])), (true, true));
        assert_eq!(changed(&mut groups, join(1, "one", &[("T", 1)])), (false, false), "the same again");
        assert_eq!(changed(&mut groups, join(2, "two", &[("T", 1)])), (true, false), "another member");
        assert_eq!(
            changed(&mut groups, join(1, "one", &[("T", 2)])),
            (false, true),
            "a newer version is silent"
        );
        assert_eq!(
            changed(&mut groups, join(1, "one", &[("T", 1)])),
            (false, false),
            "an older one is ignored"
        );
        assert_eq!(changed(&mut groups, join(1, "one", &[("T", 2), ("U", 1)])), (true, true));
        assert_eq!(changed(&mut groups, join(1, "one", &[("U", 1)])), (true, true), "a topic is gone");
        assert_eq!(groups.get("g").expect("online").subscriptions.len(), 1);
    }

    #[test]
    fn a_client_that_reconnects_replaces_itself() {
        let mut groups = ConsumerGroups::default();
        groups.heartbeat(join(1, "one", &[("T", 1)]));
        assert_eq!(changed(&mut groups, join(7, "one", &[("T", 1)])), (true, false));
        let group = groups.get("g").expect("online");
        assert_eq!(group.members.len(), 1);
        assert_eq!(group.member("one").expect("member").channel, member(7, "one", 0).channel);
        assert!(groups.closed(member(1, "one", 0).channel).is_empty(), "the old connection is nobody");
    }

    #[test]
    fn members_leave_and_empty_groups_end() {
        let mut groups = ConsumerGroups::default();
        groups.heartbeat(join(1, "one", &[("T", 1)]));
        groups.heartbeat(join(2, "two", &[("T", 1)]));
        assert!(groups.leave("g", member(1, "one", 0).channel));
        assert!(!groups.leave("g", member(1, "one", 0).channel));
        assert_eq!(groups.closed(member(2, "two", 0).channel), ["g"]);
        assert!(groups.get("g").is_none());
    }

    #[test]
    fn light_heartbeats_keep_subscriptions_and_compare_fingerprints() {
        let mut groups = ConsumerGroups::default();
        let with = |fingerprint, subscriptions: bool| {
            let mut join = join(1, "one", &[("T", 1)]);
            join.fingerprint = fingerprint;
            if !subscriptions {
                join.subscriptions = None;
            }
            join
        };
        assert!(!groups.heartbeat(with(5, true)).expect("known").fingerprint_changed);
        let joined = groups.heartbeat(with(5, false)).expect("known");
        assert_eq!(joined, Joined::default());
        assert_eq!(groups.get("g").expect("online").subscriptions.len(), 1);
        assert!(groups.heartbeat(with(6, false)).expect("known").fingerprint_changed);
    }

    #[test]
    fn data_shards_learn_tag_hashes_also_of_clients_that_leave_them_out() {
        let mut groups = ConsumerGroups::default();
        let mut first = join(1, "one", &[("T", 1), ("All", 1)]);
        let subscriptions = first.subscriptions.as_mut().expect("set");
        subscriptions[0].code_set.clear();
        subscriptions[0].tags_set.clear();
        subscriptions[1].sub_string = "*".to_owned();
        groups.heartbeat(first);
        let online = groups.get("g").expect("online").online(|_| None);
        assert_eq!(&*online.subscriptions["T"].tag_codes, [97, 98]);
        assert!(online.subscriptions["All"].tag_codes.is_empty());
        assert_eq!(online.model, ConsumeModel::Clustering);
    }
}
