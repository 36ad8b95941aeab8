//! From text to [`Value`]s.

use std::borrow::Cow;

use super::{JsonError, NESTING_MAX, VALUES_MAX, Value};

/// Reads one value and the end of the text. Bytes that are not UTF-8 are replaced.
///
/// # Errors
/// Not JSON even by the reference's standards, or beyond the limits of this module.
pub fn parse(text: &[u8]) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser { text, position: 0, depth: 0, values: 0 };
    let value = parser.value()?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(parser.error("the value has ended"));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a [u8],
    position: usize,
    depth: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, what: &'static str) -> JsonError {
        JsonError::Syntax { position: self.position, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.position += 1;
        }
    }

    /// Skips white space and commas: the reference does not count them.
    fn skip_commas(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n' | b',') = self.peek() {
            self.position += 1;
        }
    }

    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.error("too many values"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(quote @ (b'"' | b'\'')) => self.string(quote).map(Value::Str),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(_) => match self.word() {
                b"null" | b"undefined" | b"NaN" => Ok(Value::Null),
                b"true" => Ok(Value::Bool(true)),
                b"false" => Ok(Value::Bool(false)),
                // Java collections written with their class.
                b"Set" | b"TreeSet" if self.peek() == Some(b'[') => self.nested(Self::array),
                _ => Err(self.error("no value")),
            },
            None => Err(self.error("a value is missing")),
        }
    }

    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Value<'a>, JsonError>,
    ) -> Result<Value<'a>, JsonError> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.position += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value<'a>, JsonError> {
        let mut items = Vec::new();
        loop {
            self.skip_commas();
            if self.peek() == Some(b']') {
                self.position += 1;
                return Ok(Value::Array(items));
            }
            items.push(self.value()?);
            self.end_of_item(b']')?;
        }
    }

    fn object(&mut self) -> Result<Value<'a>, JsonError> {
        let mut members = Vec::new();
        loop {
            self.skip_commas();
            if self.peek() == Some(b'}') {
                self.position += 1;
                return Ok(Value::Object(members));
            }
            let key = self.key()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.error("a colon must follow the key"));
            }
            self.position += 1;
            members.push((key, self.value()?));
            self.end_of_item(b'}')?;
        }
    }

    /// Behind an item comes a comma or the end; both are left for the caller.
    fn end_of_item(&mut self, close: u8) -> Result<(), JsonError> {
        self.skip_space();
        match self.peek() {
            Some(b',') => Ok(()),
            Some(byte) if byte == close => Ok(()),
            _ => Err(self.error("a comma or the end must follow")),
        }
    }

    /// A key: any value, or a word without quotes.
    fn key(&mut self) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$') => match self.word() {
                b"null" => Ok(Value::Null),
                word => Ok(Value::Str(String::from_utf8_lossy(word))),
            },
            _ => self.value(),
        }
    }

    fn word(&mut self) -> &'a [u8] {
        let start = self.position;
        while let Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$') = self.peek() {
            self.position += 1;
        }
        &self.text[start..self.position]
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.position;
        while let Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E') = self.peek() {
            self.position += 1;
        }
        // Only ASCII was taken.
        let digits = std::str::from_utf8(&self.text[start..self.position]).unwrap_or_default();
        let value = if let Ok(number) = digits.parse() {
            Value::Int(number)
        } else if let Ok(number) = digits.parse() {
            Value::Float(number)
        } else {
            self.position = start;
            return Err(self.error("not a number"));
        };
        if let Some(b'L' | b'S' | b'B' | b'F' | b'D') = self.peek() {
            self.position += 1; // Java's type letters
        }
        Ok(value)
    }

    fn string(&mut self, quote: u8) -> Result<Cow<'a, str>, JsonError> {
        let start = self.position + 1;
        let mut plain_from = start;
        let mut unescaped: Option<Vec<u8>> = None;
        self.position = start;
        loop {
            let rest = &self.text[self.position..];
            let Some(found) = rest.iter().position(|byte| *byte == quote || *byte == b'\\') else {
                self.position = self.text.len();
                return Err(self.error("the string does not end"));
            };
            self.position += found;
            let piece = &self.text[plain_from..self.position];
            if self.text[self.position] == quote {
                self.position += 1;
                return Ok(match unescaped {
                    None => String::from_utf8_lossy(piece),
                    Some(mut bytes) => {
                        bytes.extend_from_slice(piece);
                        Cow::Owned(match String::from_utf8(bytes) {
                            Ok(text) => text,
                            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
                        })
                    }
                });
            }
            let bytes = unescaped.get_or_insert_default();
            bytes.extend_from_slice(piece);
            self.escape(bytes)?;
            plain_from = self.position;
        }
    }

    /// One escape, with its backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let Some(&kind) = self.text.get(self.position + 1) else { return Err(self.error("bad escape")) };
        let character = match kind {
            b'"' | b'\'' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' | b'F' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'v' => '\u{b}',
            b'0'..=b'7' => char::from(kind - b'0'),
            b'x' => {
                let unit = self.hex(self.position + 2, 2)?;
                self.position += 2;
                char::from(unit as u8)
            }
            b'u' => {
                let unit = self.hex(self.position + 2, 4)?;
                self.position += 4;
                self.surrogates(unit)
            }
            _ => return Err(self.error("bad escape")),
        };
        self.position += 2;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// The character of a code unit, taking its other half if it is the first one of a pair. `position` is 4
    /// behind the backslash plus 2 once the caller adds its own.
    fn surrogates(&mut self, unit: u32) -> char {
        let low_at = self.position + 2;
        if (0xD800..0xDC00).contains(&unit)
            && self.text.get(low_at..low_at + 2) == Some(b"\\u")
            && let Ok(low @ 0xDC00..0xE000) = self.hex(low_at + 2, 4)
        {
            self.position += 6;
            return char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
                .unwrap_or(char::REPLACEMENT_CHARACTER);
        }
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&self, from: usize, digits: usize) -> Result<u32, JsonError> {
        let text = self.text.get(from..from + digits).ok_or_else(|| self.error("bad escape"))?;
        text.iter()
            .try_fold(0, |number, digit| Some(number << 4 | char::from(*digit).to_digit(16)?))
            .ok_or_else(|| self.error("bad escape"))
    }
}
