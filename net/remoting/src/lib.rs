//! RocketMQ's remoting protocol as bytes: frames, both header encodings, request and response types, message
//! records.
//!
//! No I/O, no clock, no threads: everything here is a function of its arguments. Bytes come from the network
//! or from a disk and are not trusted: no input may panic, and nothing is allocated for a length that has not
//! been checked against the bytes at hand.
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | cutting a byte stream into frames |
//! | [`command`] | reading a frame: header fields in place, body |
//! | [`encode`] | writing requests and responses |
//! | [`code`] | request and response codes, languages, versions |
//! | [`request`] | typed headers of requests and responses |
//! | [`body`] | typed JSON bodies |
//! | [`json`] | the JSON dialect of the reference |
//! | [`record`] | message records of the commit log, properties, message ids, batches |

#![forbid(unsafe_code)]

pub mod body;
pub mod code;
pub mod command;
pub mod encode;
pub mod frame;
pub mod json;
pub mod record;
pub mod request;

pub use command::{Command, SerializeType};
pub use encode::{FieldValue, ResponseTo};
pub use frame::{FRAME_BYTES_MAX, FrameAssembler, FrameError};
