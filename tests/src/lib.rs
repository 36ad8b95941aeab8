//! Whole-system tests that need more than one crate.

#![forbid(unsafe_code)]

pub mod simulation;
