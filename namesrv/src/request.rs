//! The requests, by concern. Each is a method of [`crate::State`]: `Err` is an answer too, the one that refuses.

mod broker;
mod config;
mod kv;
mod route;
mod topic;
