//! Reading a frame: the fixed fields of a RemotingCommand, its header fields in place, its body.

mod binary;
mod field;
mod json;
mod table;
mod text;

use std::borrow::Cow;

use crate::code::Language;
use crate::encode::ResponseTo;
use crate::frame::{FrameError, LENGTH_BYTES, PREFIX_BYTES};

pub use field::{Field, FieldError};
use table::FieldTable;

/// Most header fields that a command may carry. The largest real header (a signed 5.x send) has about 20.
pub const FIELDS_MAX: usize = 256;
/// Deepest nesting of values in a JSON header; real headers have two levels.
pub const HEADER_NESTING_MAX: usize = 32;
/// Bit of `flag`: this is a response.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit of `flag`: no response may be sent.
pub const FLAG_ONEWAY: i32 = 2;

/// How a header is written. Readers go by the type byte of each frame, so both may come on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SerializeType {
    /// A JSON object.
    #[default]
    Json = 0,
    /// The binary form.
    RocketMq = 1,
}

/// One command, borrowed from its frame.
///
/// For ordinary headers nothing is allocated: fields are ranges in a small inline table, and values are
/// unescaped only when asked for, and copied only if they contain an escape.
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
    header: &'a [u8],
    fields: FieldTable,
}

impl<'a> Command<'a> {
    /// Reads one whole frame, including its 4-byte length, as [`crate::FrameAssembler`] hands it out.
    ///
    /// Missing members are 0, unknown members are skipped, order is free, numbers may be quoted.
    ///
    /// # Errors
    /// The frame contradicts itself or its header cannot be read: the stream cannot be trusted, close it.
    pub fn parse(frame: &'a [u8]) -> Result<Command<'a>, FrameError> {
        let Some(&[l0, l1, l2, l3, serialize, h0, h1, h2]) = frame.first_chunk::<PREFIX_BYTES>() else {
            return Err(FrameError::Truncated { announced: PREFIX_BYTES, given: frame.len() });
        };
        let announced = LENGTH_BYTES + u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if announced != frame.len() {
            return Err(FrameError::Truncated { announced, given: frame.len() });
        }
        let rest = &frame[PREFIX_BYTES..];
        let header_bytes = u32::from_be_bytes([0, h0, h1, h2]) as usize;
        let Some((header, body)) = rest.split_at_checked(header_bytes) else {
            return Err(FrameError::HeaderTooLong { header: header_bytes, available: rest.len() });
        };
        let mut command = Command {
            code: 0,
            language: Language::Unknown,
            version: 0,
            opaque: 0,
            flag: 0,
            remark: None,
            serialize: SerializeType::Json,
            body,
            header,
            fields: FieldTable::default(),
        };
        match serialize {
            0 => json::read_header(&mut command)?,
            1 => binary::read_header(&mut command)?,
            unknown => return Err(FrameError::SerializeType(unknown)),
        }
        Ok(command)
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

    /// The header fields that are not null, in the order of the wire. A key may come twice: the later one
    /// counts.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.fields.iter().filter(|entry| !entry.value.is_null()).map(|entry| Field::new(self.header, entry))
    }

    /// The header field of that name; `None` when absent or null.
    pub fn find(&self, name: &str) -> Option<Field<'a>> {
        let entry = self.fields.iter().rfind(|entry| entry.key.is(self.header, name))?;
        (!entry.value.is_null()).then(|| Field::new(self.header, entry))
    }

    /// The text of a header field; `None` when absent or null.
    pub fn field(&self, name: &str) -> Option<Cow<'a, str>> {
        self.find(name).map(|field| field.value())
    }

    /// A header field as a 32-bit number.
    ///
    /// # Errors
    /// It is there, but not a number of that width.
    pub fn int(&self, name: &str) -> Result<Option<i32>, FieldError> {
        self.find(name).map(|field| field.int()).transpose()
    }

    /// A header field as a 64-bit number.
    ///
    /// # Errors
    /// It is there, but not a number of that width.
    pub fn long(&self, name: &str) -> Result<Option<i64>, FieldError> {
        self.find(name).map(|field| field.long()).transpose()
    }

    /// A header field as a boolean: `true` in any case of letters is true, all else is false, as in Java.
    ///
    /// # Errors
    /// None today; the form matches the other typed getters.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, FieldError> {
        Ok(self.find(name).map(|field| field.boolean()))
    }
}

#[cfg(test)]
mod tests;
