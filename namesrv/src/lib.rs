//! RingMQ's name server: who the brokers are, which topics they hold, and a small kv configuration.
//!
//! Name servers do not know of each other; every broker registers with all of them. Nothing is kept over a restart but
//! the kv configuration: brokers register again within 30 seconds.
//!
//! | module | what it holds |
//! |---|---|
//! | [`route_table`] | brokers, liveness, topics: a pure state machine |
//! | [`kv`] | the kv configuration |
//! | [`config`] | RocketMQ's configuration keys |
//! | [`state`] | a request goes in, an answer comes out |
//! | `request` | one file per concern of requests |
//! | [`bodies`] | between the wire's JSON and the tables |
//! | [`server`] | the service on the reactor |
//! | [`limits`] | every bound |

#![forbid(unsafe_code)]

pub mod answer;
pub mod bodies;
pub mod config;
pub mod kv;
pub mod limits;
pub mod persist;
mod request;
pub mod route_table;
pub mod server;
pub mod state;

pub use config::NamesrvConfig;
pub use server::{Namesrv, NamesrvMessage, OnStarted, StartError};
pub use state::State;
