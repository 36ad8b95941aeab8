//! Typed JSON bodies.
//!
//! Each type is a table of members: it reads itself with all of them optional (an absent one has the
//! reference's default) and writes them in the reference's order. Maps come out sorted by key, where the
//! reference has the order of a Java hash map.

#[macro_use]
mod bean;

mod client;
mod cluster;
mod consumer;
mod data_version;
mod group;
mod list;
mod offset;
mod pop;
mod queue;
mod register;
mod stats;
mod subscription;
mod topic;

pub use bean::BodyError;
pub use client::*;
pub use cluster::*;
pub use consumer::*;
pub use data_version::*;
pub use group::*;
pub use list::*;
pub use offset::*;
pub use pop::*;
pub use queue::*;
pub use register::*;
pub use stats::*;
pub use subscription::*;
pub use topic::*;

#[cfg(test)]
mod tests;
