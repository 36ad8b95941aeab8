//! Whole-system tests that need more than one crate.

#![forbid(unsafe_code)]

pub mod badinput;
pub mod durability;
pub mod killed_consumers;
pub mod process;
pub mod simulation;
pub mod wire;
