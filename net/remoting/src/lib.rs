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
//!
//! ```
//! use bytes::BytesMut;
//! use ringmq_remoting::code::{request, response};
//! use ringmq_remoting::encode::{write_request, write_response};
//! use ringmq_remoting::request::{GetRouteHeader, OffsetResponse};
//! use ringmq_remoting::{Command, SerializeType};
//!
//! let header = GetRouteHeader { topic: "T".into(), accept_standard_json_only: None };
//! let mut frame = BytesMut::new();
//! let code = request::GET_ROUTEINFO_BY_TOPIC;
//! write_request(&mut frame, SerializeType::Json, code, 1, false, &header.fields(), b"");
//!
//! let command = Command::parse(&frame)?;
//! assert_eq!(GetRouteHeader::from_command(&command)?.topic, "T");
//! let fields = OffsetResponse { offset: 7 }.fields();
//! let mut answer = BytesMut::new();
//! write_response(&mut answer, command.response_to(), response::SUCCESS, None, &fields, 0);
//! assert_eq!(Command::parse(&answer)?.long("offset")?, Some(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod body;
pub mod code;
pub mod command;
pub mod encode;
pub mod frame;
pub mod json;
pub mod pop;
pub mod record;
pub mod request;

pub use command::{Command, SerializeType};
pub use encode::{FieldValue, ResponseTo};
pub use frame::{FRAME_BYTES_MAX, FrameAssembler, FrameError};
