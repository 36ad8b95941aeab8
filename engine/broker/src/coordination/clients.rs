//! Who is connected: producers and consumers by group, as heartbeats say.
//!
//! Pure state with the reference's rules; the service decides what to send. A member is a connection. The same client id
//! on a new connection replaces the old one. A group exists here while it has a member.

mod consumers;
mod producers;

pub use consumers::{BROADCASTING, CLUSTERING, ConsumerGroup, ConsumerGroups, ConsumerJoin, Joined};
pub use producers::ProducerGroups;

use std::net::SocketAddr;

use ringmq_remoting::code::Language;

use super::relay::Channel;

/// Most groups of one kind. What comes beyond is not registered and logged.
pub const GROUPS_ONLINE_MAX: usize = 200_000;
/// Most members of one group.
pub const MEMBERS_PER_GROUP_MAX: usize = 65_536;

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its connection.
    pub channel: Channel,
    /// Its address.
    pub peer: SocketAddr,
    /// What it calls itself.
    pub client_id: String,
    /// Its language.
    pub language: Language,
    /// Its version ordinal.
    pub version: i32,
    /// Wall clock at its last heartbeat, ms.
    pub last_heartbeat_ms: u64,
}

/// All groups online.
#[derive(Debug, Default)]
pub struct ClientRegistry {
    /// Consumer groups.
    pub consumers: ConsumerGroups,
    /// Producer groups.
    pub producers: ProducerGroups,
}

/// What a departure changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// Consumer groups that lost a member.
    pub consumer_groups: Vec<String>,
    /// Connections to close (their heartbeats ceased).
    pub channels: Vec<Channel>,
}

impl ClientRegistry {
    /// A connection has ended.
    pub fn closed(&mut self, channel: Channel) -> Departure {
        self.producers.closed(channel);
        Departure { consumer_groups: self.consumers.closed(channel), channels: Vec::new() }
    }

    /// Drops members that were silent for longer than `silence_ms`.
    pub fn expire(&mut self, now_ms: u64, silence_ms: u64) -> Departure {
        let is_expired = |member: &Member| now_ms.saturating_sub(member.last_heartbeat_ms) > silence_ms;
        let (consumer_groups, mut channels) = self.consumers.expire(is_expired);
        channels.extend(self.producers.expire(is_expired));
        channels.sort_unstable();
        channels.dedup();
        Departure { consumer_groups, channels }
    }
}

#[cfg(test)]
mod tests {
    use ringmq_reactor::{ConnectionId, ShardId};

    use super::*;

    pub(super) fn member(connection: u32, client_id: &str, last_heartbeat_ms: u64) -> Member {
        Member {
            channel: Channel {
                shard: ShardId(0),
                connection: ConnectionId { index: connection, generation: 0 },
            },
            peer: SocketAddr::from(([10, 0, 0, 9], 5_000)),
            client_id: client_id.to_owned(),
            language: Language::Java,
            version: 479,
            last_heartbeat_ms,
        }
    }

    #[test]
    fn silent_members_are_dropped_and_their_connections_closed_once() {
        let mut clients = ClientRegistry::default();
        let join = |connection, client: &str, at| ConsumerJoin {
            group: "g".to_owned(),
            member: member(connection, client, at),
            consume_type: "CONSUME_PASSIVELY".to_owned(),
            model: CLUSTERING.to_owned(),
            from_where: String::new(),
            subscriptions: Some(Vec::new()),
            fingerprint: 0,
        };
        clients.consumers.heartbeat(join(1, "one", 1_000));
        clients.consumers.heartbeat(join(2, "two", 50_000));
        assert!(clients.producers.heartbeat("p", member(1, "one", 1_000)));
        assert!(clients.producers.heartbeat("q", member(2, "two", 50_000)));
        assert_eq!(
            clients.expire(121_000, 120_000),
            Departure::default(),
            "exactly the limit is not silence yet"
        );
        let departure = clients.expire(121_001, 120_000);
        assert_eq!(departure.consumer_groups, ["g"]);
        assert_eq!(departure.channels, [member(1, "one", 0).channel]);
        assert!(clients.producers.members("p").is_none());
        assert!(clients.producers.members("q").is_some());
    }
}
