//! The JSON header encoding, read in one pass over its bytes.
//!
//! Standard JSON, with what readers must put up with: members in any order, absent, unknown or null, numbers
//! in quotes, values of `extFields` that are no strings. Bodies, which need the reference's own dialect, are
//! read by [`crate::json`].

use super::field::decimal;
use super::table::Span;
use super::{Command, HEADER_NESTING_MAX, SerializeType, text};
use crate::code::Language;
use crate::frame::FrameError;

pub(super) fn read_header(command: &mut Command<'_>) -> Result<(), FrameError> {
    command.serialize = SerializeType::Json;
    let mut scanner = Scanner { bytes: command.header, position: 0 };
    scanner.expect(b'{', "a header object must start here")?;
    let mut first = true;
    while scanner.member(&mut first)? {
        let key = scanner.string()?;
        scanner.expect(b':', "a colon must follow the key")?;
        match key.of(command.header) {
            b"code" => command.code = scanner.int()?,
            b"flag" => command.flag = scanner.int()?,
            b"opaque" => command.opaque = scanner.int()?,
            b"version" => command.version = scanner.int()?,
            b"language" => {
                let language = scanner.value()?;
                command.language = match decimal(language.of(command.header)) {
                    Some(number) => u8::try_from(number).map_or(Language::Unknown, Language::from_byte),
                    None => Language::from_name(language.of(command.header)),
                };
            }
            b"remark" => {
                let remark = scanner.value()?;
                command.remark = if remark.is_null() {
                    None
                } else if remark.is_escaped() {
                    Some(text::unescape(remark.of(command.header)).into())
                } else {
                    Some(text::plain(remark.of(command.header)))
                };
            }
            b"extFields" => read_fields(&mut scanner, command)?,
            _ => drop(scanner.value()?),
        }
    }
    scanner.skip_space();
    if scanner.position != command.header.len() {
        return Err(scanner.error("the header object has ended"));
    }
    Ok(())
}

fn read_fields(scanner: &mut Scanner<'_>, command: &mut Command<'_>) -> Result<(), FrameError> {
    command.fields.clear();
    scanner.skip_space();
    if scanner.peek() != Some(b'{') {
        let value = scanner.value()?;
        return if value.is_null() { Ok(()) } else { Err(scanner.error("extFields must be an object")) };
    }
    scanner.position += 1;
    let mut first = true;
    while scanner.member(&mut first)? {
        let key = scanner.string()?;
        scanner.expect(b':', "a colon must follow the key")?;
        let value = scanner.value()?;
        command.fields.push(key, value)?;
    }
    Ok(())
}

struct Scanner<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Scanner<'_> {
    fn error(&self, what: &'static str) -> FrameError {
        FrameError::Json { position: self.position, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), FrameError> {
        self.skip_space();
        if self.peek() != Some(byte) {
            return Err(self.error(what));
        }
        self.position += 1;
        Ok(())
    }

    /// Inside an object: whether another member follows; takes the comma before it or the closing brace.
    fn member(&mut self, first: &mut bool) -> Result<bool, FrameError> {
        self.skip_space();
        let is_first = std::mem::take(first);
        match self.peek() {
            Some(b'}') => {
                self.position += 1;
                Ok(false)
            }
            Some(b',') if !is_first => {
                self.position += 1;
                self.skip_space();
                Ok(true)
            }
            Some(_) if is_first => Ok(true),
            _ => Err(self.error("a comma or the end of the object must follow")),
        }
    }

    /// A string, without its quotes. Its escapes are checked here, so that unescaping later cannot fail.
    fn string(&mut self) -> Result<Span, FrameError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a quoted string must start here"));
        }
        let start = self.position + 1;
        let mut escaped = false;
        let mut position = start;
        loop {
            let Some(found) = self.bytes[position..].iter().position(|byte| matches!(byte, b'"' | b'\\'))
            else {
                return Err(self.error("the string does not end"));
            };
            position += found;
            if self.bytes[position] == b'"' {
                self.position = position + 1;
                return Ok(Span::string(start, position, escaped));
            }
            escaped = true;
            position += match self.bytes.get(position + 1) {
                Some(b'"' | b'\\' | b'/' | b'\'' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                Some(b'u') if text::hex4(&self.bytes[position + 2..]).is_some() => 6,
                _ => {
                    self.position = position;
                    return Err(self.error("bad escape"));
                }
            };
        }
    }

    /// Any value. Strings come without quotes, null as null, all else as its own text.
    fn value(&mut self) -> Result<Span, FrameError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{' | b'[') => self.nested(),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => {
                let start = self.position;
                while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') = self.peek() {
                    self.position += 1;
                }
                match &self.bytes[start..self.position] {
                    b"null" => Ok(Span::null()),
                    b"true" | b"false" => Ok(Span::plain(start, self.position)),
                    [b'a'..=b'z' | b'A'..=b'Z', ..] => {
                        self.position = start;
                        Err(self.error("unknown word"))
                    }
                    _ => Ok(Span::plain(start, self.position)),
                }
            }
            _ => Err(self.error("a value must start here")),
        }
    }

    /// Skips an object or array by counting brackets; what is inside does not matter as long as it ends.
    fn nested(&mut self) -> Result<Span, FrameError> {
        let start = self.position;
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'{' | b'[') => {
                    depth += 1;
                    if depth > HEADER_NESTING_MAX {
                        return Err(self.error("nested too deeply"));
                    }
                    self.position += 1;
                }
                Some(b'}' | b']') => {
                    depth -= 1;
                    self.position += 1;
                    if depth == 0 {
                        return Ok(Span::plain(start, self.position));
                    }
                }
                Some(b'"') => drop(self.string()?),
                Some(_) => self.position += 1,
                None => return Err(self.error("the value does not end")),
            }
        }
    }

    /// A 32-bit number, plain or quoted; null is 0.
    fn int(&mut self) -> Result<i32, FrameError> {
        let value = self.value()?;
        if value.is_null() {
            return Ok(0);
        }
        decimal(value.of(self.bytes))
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| self.error("a 32-bit number must stand before this"))
    }
}
