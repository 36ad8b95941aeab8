//! The broker: data shards that store and hand out messages, and one coordination shard for everything that is configured,
//! registered or persisted beside the log.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | settings, under RocketMQ's keys |
//! | [`filter`] | which messages a consumer wants: tags, SQL92 expressions |
//! | [`message`] | what shards tell each other; start and stop handshakes |
//! | [`metadata`] | topics, groups and offsets on disk |
//! | [`shard`] | the data shard: connections, send, pull, offsets, delay |
//! | [`coordination`] | the coordination shard: topics, groups, clients, name servers, admin requests |
//! | [`process`] | puts them together |
//! | `remarks` | texts of refusals that several requests share |

#![forbid(unsafe_code)]

pub mod config;
pub mod coordination;
pub mod filter;
pub mod message;
pub mod metadata;
pub mod process;
mod remarks;
pub mod shard;

pub use config::BrokerConfig;
pub use message::ShardMessage;
pub use process::Broker;
