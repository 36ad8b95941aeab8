//! Typed headers of requests and responses.
//!
//! Each type reads itself from a command in one pass over its fields ([`SendHeader::from_command`] and so on;
//! unknown fields are skipped, a missing or unreadable one is a [`FieldError`]), and lists its fields for
//! writing. Types named `…Response` belong to responses, all others to requests; their first line names the
//! request code.

#[macro_use]
mod headers;

mod client;
mod group;
mod namesrv;
mod notice;
mod offset;
mod pop;
mod pull;
mod query;
mod send;
mod topic;

pub use crate::command::FieldError;
pub use client::*;
pub use group::*;
pub use headers::FieldList;
pub use namesrv::*;
pub use notice::*;
pub use offset::*;
pub use pop::*;
pub use pull::*;
pub use query::*;
pub use send::*;
pub use topic::*;

#[cfg(test)]
mod tests;
