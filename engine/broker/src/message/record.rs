//! A message that travels between shards before it is stored.

use std::net::SocketAddr;

use bytes::Bytes;

/// A record without what the store assigns (queue offset, physical offset, store time).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRecord {
    /// Its topic: the real one, also if the message is to be delayed.
    pub topic: String,
    /// Its queue: the real one.
    pub queue_id: i32,
    /// User flag.
    pub flag: i32,
    /// `sysFlag`.
    pub sys_flag: i32,
    /// When the producer made it, ms.
    pub born_timestamp: i64,
    /// By whom.
    pub born_host: SocketAddr,
    /// How often it was consumed in vain.
    pub reconsume_times: i32,
    /// Body as stored.
    pub body: Bytes,
    /// Property text.
    pub properties: String,
    /// Level by which it is delayed; 0: not at all.
    pub delay_level: i32,
}
