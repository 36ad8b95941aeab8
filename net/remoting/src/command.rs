//! Reading a frame: the fixed fields of a RemotingCommand, its header fields in place, its body.

use std::borrow::Cow;

use crate::code::Language;
use crate::encode::ResponseTo;
use crate::frame::FrameError;

/// Most header fields that a command may carry. The largest real header (a 5.x send) has about 20.
pub const FIELDS_MAX: usize = 256;
/// Bit of `flag`: this is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit of `flag`: no response may be sent.
pub const FLAG_ONEWAY: i32 = 2;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SerializeType {
    /// A JSON object.
    #[default]
    Json = 0,
    /// The binary form.
    RocketMq = 1,
}

/// A header field that is there but cannot be used, or is missing and needed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum FieldError {
    /// The request cannot be executed without it.
    #[error("header field {field} is missing")]
    Missing {
        /// Name on the wire.
        field: &'static str,
    },
    /// The text is not a number of the field's width.
    #[error("header field {field}: \"{value}\" is not a number")]
    NotANumber {
        /// Name on the wire.
        field: String,
        /// Its text, cut to 64 characters.
        value: String,
    },
}

/// One command, borrowed from its frame.
///
/// For ordinary headers nothing is allocated: fields are ranges in a small inline table, and values are unescaped only
/// when asked for, and copied only if they contain an escape.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Request code, or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Version ordinal of the sender; 0 when absent.
    pub version: i32,
    /// Correlation id chosen by the requester.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`], [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Error text or note.
    pub remark: Option<Cow<'a, str>>,
    /// How the header was written; a response is written the same way.
    pub serialize: SerializeType,
    /// What follows the header.
    pub body: &'a [u8],
}

/// One header field of a [`Command`].
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Command<'a> {
    /// Reads one whole frame, including its 4-byte length, as [`crate::FrameAssembler`] hands it out.
    ///
    /// # Errors
    /// The frame contradicts itself or its header cannot be read: the stream cannot be trusted, close it.
    pub fn parse(frame: &'a [u8]) -> Result<Command<'a>, FrameError> {
        let _ = frame;
        todo!()
    }

    /// This is a response to a request of ours.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// No response may be sent, not even on error.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }

    /// What a response to this command needs to know.
    pub fn response_to(&self) -> ResponseTo {
        ResponseTo { opaque: self.opaque, serialize: self.serialize }
    }

    /// The header fields in the order of the wire. A key may come twice: the later one counts.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        std::iter::empty()
    }

    /// The value of a header field; `None` when absent or null.
    pub fn field(&self, name: &str) -> Option<Cow<'a, str>> {
        let _ = name;
        todo!()
    }

    /// A header field as a 32-bit number.
    pub fn int(&self, name: &str) -> Result<Option<i32>, FieldError> {
        let _ = name;
        todo!()
    }

    /// A header field as a 64-bit number.
    pub fn long(&self, name: &str) -> Result<Option<i64>, FieldError> {
        let _ = name;
        todo!()
    }

    /// A header field as a boolean: `true` in any case of letters is true, all else is false, as in Java.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FieldError> {
        let _ = name;
        todo!()
    }
}

impl<'a> Field<'a> {
    /// Name.
    pub fn key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    /// Text.
    pub fn value(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.value)
    }
}
