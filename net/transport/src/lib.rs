//! Remoting connections on the reactor.
//!
//! | module | what it holds |
//! |---|---|
//! | [`server`] | accepted connections: frames in order, limits, idle close, back-pressure |
//! | [`reply`] | answers, written straight into a connection's outbox |
//! | [`patience`] | a port that a killed predecessor still holds |
//! | [`outgoing`] | requests of a server to its clients, matched with their answers |
//! | [`client`] | requests to other servers, from tasks |
//! | [`preamble`] | PROXY protocol headers before the first frame |
//! | [`properties_file`] | RocketMQ's configuration file format |
//! | [`limits`] | every bound of this crate |
//!
//! Everything here belongs to one shard and runs on its thread.

#![forbid(unsafe_code)]

pub mod client;
pub mod connection;
pub mod limits;
mod log_limit;
pub mod outgoing;
pub mod patience;
pub mod preamble;
pub mod properties_file;
pub mod reply;
pub mod request;
pub mod server;
pub mod stream;

pub use client::{CallError, Client, ClientOptions};
pub use connection::Connection;
pub use log_limit::LogLimit;
pub use outgoing::{OutgoingRequest, OutgoingRequests};
pub use patience::ListenPatience;
pub use reply::Reply;
pub use request::{OwnedResponse, Request};
pub use server::{Connections, ServeConnections, ServerOptions};
