//! Measurements against baselines. Programs are in `bin/`, their parts in a module each; raw results in `runs/`.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "stand-alone measuring programs with ordinary clocks, files and sockets"
)]

pub mod reactor;
