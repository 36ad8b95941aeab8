//! The data plane of a whole broker in the simulated world, talked to over its connections.

mod admin;
mod by_key;
mod client;
mod deaf;
mod delay;
mod faults;
mod filters;
mod pop;
mod pop_client;
mod pop_damage;
mod pop_in_order;
mod power;
mod refusals;
mod restart;
mod retention;
mod send_and_pull;
mod setup;
#[path = "../../../../net/transport/tests/support/mod.rs"]
mod support;
