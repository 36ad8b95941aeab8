//! The ROCKETMQ header encoding.
//!
//! ```text
//! code 2 │ language 1 │ version 2 │ opaque 4 │ flag 4 │ remark 4 + n │ fields 4 + m: (key 2 + k, value 4 +
//! v)*
//! ```

use super::table::Span;
use super::{Command, SerializeType, text};
use crate::code::{Language, request};
use crate::frame::FrameError;

/// Everything up to and including the remark's length.
const FIXED_BYTES: usize = 17;

pub(super) fn read_header(command: &mut Command<'_>) -> Result<(), FrameError> {
    let header = command.header;
    let Some(fixed) = header.first_chunk::<FIXED_BYTES>() else {
        return Err(FrameError::Binary { position: header.len(), what: "ends before the remark" });
    };
    let [c0, c1, language, v0, v1, o0, o1, o2, o3, f0, f1, f2, f3, r0, r1, r2, r3] = *fixed;
    command.serialize = SerializeType::RocketMq;
    command.language = Language::from_byte(language);
    command.version = i32::from(i16::from_be_bytes([v0, v1]));
    command.opaque = i32::from_be_bytes([o0, o1, o2, o3]);
    command.flag = i32::from_be_bytes([f0, f1, f2, f3]);
    command.code = i32::from(i16::from_be_bytes([c0, c1]));
    if !command.is_response() {
        command.code = request::restore_truncated(command.code);
    }

    let mut reader = Reader { header, position: FIXED_BYTES };
    let remark = reader.take(i32::from_be_bytes([r0, r1, r2, r3]), "remark is longer than the header")?;
    if !remark.is_empty() {
        command.remark = Some(text::plain(remark));
    }
    if reader.position == header.len() {
        return Ok(()); // no length of fields at all: taken as none
    }
    let fields_bytes = reader.length("ends inside the length of the fields")?;
    let fields_start = reader.position;
    reader.take(fields_bytes, "fields are longer than the header")?;
    let end = reader.position;

    let mut reader = Reader { header: &header[..end], position: fields_start };
    while reader.position < end {
        let key_bytes = reader.short("ends inside the length of a key")?;
        let key = reader.span(i32::from(key_bytes), "key is longer than the fields")?;
        let value_bytes = reader.length("ends inside the length of a value")?;
        let value = reader.span(value_bytes, "value is longer than the fields")?;
        // An empty value cannot be told from null in this encoding; readers take it as null.
        command.fields.push(key, if value_bytes == 0 { Span::null() } else { value })?;
    }
    Ok(())
}

struct Reader<'a> {
    header: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn short(&mut self, what: &'static str) -> Result<u16, FrameError> {
        let error = FrameError::Binary { position: self.position, what };
        let bytes = self.header[self.position..].first_chunk().ok_or(error)?;
        self.position += 2;
        Ok(u16::from_be_bytes(*bytes))
    }

    fn length(&mut self, what: &'static str) -> Result<i32, FrameError> {
        let error = FrameError::Binary { position: self.position, what };
        let bytes = self.header[self.position..].first_chunk().ok_or(error)?;
        self.position += 4;
        Ok(i32::from_be_bytes(*bytes))
    }

    /// `bytes` may be negative: the wire's lengths are signed.
    fn take(&mut self, bytes: i32, what: &'static str) -> Result<&'a [u8], FrameError> {
        let rest = &self.header[self.position..];
        let taken = usize::try_from(bytes).ok().and_then(|bytes| rest.get(..bytes));
        let taken = taken.ok_or(FrameError::Binary { position: self.position, what })?;
        self.position += taken.len();
        Ok(taken)
    }

    fn span(&mut self, bytes: i32, what: &'static str) -> Result<Span, FrameError> {
        let start = self.position;
        self.take(bytes, what)?;
        Ok(Span::plain(start, self.position))
    }
}
