//! Producer groups.

use std::collections::BTreeMap;

use super::{GROUPS_ONLINE_MAX, MEMBERS_PER_GROUP_MAX, Member};
use crate::coordination::relay::Channel;

/// Members by group and connection.
#[derive(Debug, Default)]
pub struct ProducerGroups {
    groups: BTreeMap<String, BTreeMap<Channel, Member>>,
}

impl ProducerGroups {
    /// A heartbeat. False: a limit is reached and the member is not known.
    pub fn heartbeat(&mut self, group: &str, member: Member) -> bool {
        if !self.groups.contains_key(group) {
            if self.groups.len() >= GROUPS_ONLINE_MAX {
                return false;
            }
            self.groups.insert(group.to_owned(), BTreeMap::new());
        }
        let members = self.groups.get_mut(group).expect("present or inserted above");
        if !members.contains_key(&member.channel) && members.len() >= MEMBERS_PER_GROUP_MAX {
            return false;
        }
        members.insert(member.channel, member);
        true
    }

    /// A member says good-bye to one group.
    pub fn leave(&mut self, group: &str, channel: Channel) {
        let Some(members) = self.groups.get_mut(group) else { return };
        members.remove(&channel);
        if members.is_empty() {
            self.groups.remove(group);
        }
    }

    /// A connection has ended.
    pub fn closed(&mut self, channel: Channel) {
        self.groups.retain(|_, members| {
            members.remove(&channel);
            !members.is_empty()
        });
    }

    /// Drops members and tells their connections.
    pub fn expire(&mut self, is_expired: impl Fn(&Member) -> bool) -> Vec<Channel> {
        let mut channels = Vec::new();
        self.groups.retain(|_, members| {
            members.retain(|channel, member| {
                let keep = !is_expired(member);
                if !keep {
                    channels.push(*channel);
                }
                keep
            });
            !members.is_empty()
        });
        channels
    }

    /// A group's members; `None`: no such group online.
    #[must_use]
    pub fn members(&self, group: &str) -> Option<impl Iterator<Item = &Member>> {
        self.groups.get(group).map(BTreeMap::values)
    }

    /// All groups with their members.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &Member>)> {
        self.groups.iter().map(|(group, members)| (group.as_str(), members.values()))
    }
}
