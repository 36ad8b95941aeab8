//! Remoting connections on the reactor.
#![forbid(unsafe_code)]

pub mod properties_file;
