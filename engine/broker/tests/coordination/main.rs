//! The coordination half of a whole broker in the simulated world, with a real name server, talked to over connections.

mod admin;
mod assignment;
mod clients;
mod crowd;
mod inspect;
mod journal;
mod metadata;
mod registration;
mod setup;
#[path = "../../../../net/transport/tests/support/mod.rs"]
mod support;
