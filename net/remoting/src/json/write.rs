//! From values to text.

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};

use super::Value;
use crate::encode::number::Decimal;

/// Which text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// The reference's: numeric keys without quotes, characters as they are.
    #[default]
    Reference,
    /// The standard's: all keys in quotes, only ASCII.
    Standard,
}

/// Something with a JSON form.
pub trait ToJson {
    /// Appends it.
    fn write(&self, out: &mut Writer);

    /// It is left out where it is a member.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Something that can be the key of a map.
pub trait ToKey {
    /// Appends it.
    fn write_key(&self, out: &mut Writer);
}

/// Builds a text.
#[derive(Debug)]
pub struct Writer {
    out: BytesMut,
    style: Style,
}

impl Writer {
    /// The text of a value.
    pub fn text_of(value: &(impl ToJson + ?Sized), style: Style) -> String {
        let mut writer = Writer { out: BytesMut::new(), style };
        value.write(&mut writer);
        // Made of strings and ASCII only.
        String::from_utf8(writer.out.into()).unwrap_or_default()
    }

    /// An object, by its members.
    pub fn object(&mut self, write: impl FnOnce(&mut Members<'_>)) {
        self.out.put_u8(b'{');
        write(&mut Members { writer: self, first: true });
        self.out.put_u8(b'}');
    }

    /// An array.
    pub fn array<T: ToJson>(&mut self, items: impl IntoIterator<Item = T>) {
        self.out.put_u8(b'[');
        for (position, item) in items.into_iter().enumerate() {
            if position > 0 {
                self.out.put_u8(b',');
            }
            item.write(self);
        }
        self.out.put_u8(b']');
    }

    /// A string.
    pub fn string(&mut self, text: &str) {
        match self.style {
            Style::Reference => write_string(&mut self.out, text),
            Style::Standard => write_ascii_string(&mut self.out, text),
        }
    }

    /// A whole number.
    pub fn long(&mut self, number: i64) {
        self.out.put_slice(Decimal::new(number).as_bytes());
    }

    /// A number in the form of Java's `Double.toString`; what is no number is null.
    pub fn double(&mut self, number: f64) {
        if number.is_finite() {
            self.out.put_slice(java_double(number).as_bytes());
        } else {
            self.out.put_slice(b"null");
        }
    }

    /// A number as a key: in quotes where the standard asks for it.
    fn number_key(&mut self, number: i64) {
        match self.style {
            Style::Reference => self.long(number),
            Style::Standard => {
                self.out.put_u8(b'"');
                self.long(number);
                self.out.put_u8(b'"');
            }
        }
    }
}

/// The members of an object being written.
#[derive(Debug)]
pub struct Members<'w> {
    writer: &'w mut Writer,
    first: bool,
}

impl Members<'_> {
    /// One member; left out if it is absent.
    pub fn member<K: ToKey + ?Sized>(&mut self, key: &K, value: &(impl ToJson + ?Sized)) {
        if value.is_absent() {
            return;
        }
        if !std::mem::take(&mut self.first) {
            self.writer.out.put_u8(b',');
        }
        key.write_key(self.writer);
        self.writer.out.put_u8(b':');
        value.write(self.writer);
    }
}

/// Java's form: a plain fraction from 10^-3 to 10^7, `1.0E10` beyond.
fn java_double(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// Appends a quoted string as the reference (5.5.0, fastjson 2) writes it: `"` and `\` escaped, control
/// characters by letter or `\u00xx` in lower case. Before that the hexadecimal digits were in upper case, and
/// U+007F to U+009F, U+2028 and U+2029 were escaped too: the same text to any reader.
pub(crate) fn write_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    while let Some(position) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.put_slice(&rest[..position]);
        write_escape(out, rest[position]);
        rest = &rest[position + 1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

/// Like [`write_string`], with everything beyond ASCII as UTF-16 escapes.
fn write_ascii_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (0..0x20 | b'"' | b'\\')) => write_escape(out, byte),
            Ok(byte @ 0x20..0x7F) => out.put_u8(byte),
            _ => out.put_slice(format!("\\u{unit:04X}").as_bytes()),
        }
    }
    out.put_u8(b'"');
}

fn write_escape(out: &mut BytesMut, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.put_slice(b"\\\""),
        b'\\' => out.put_slice(b"\\\\"),
        8 => out.put_slice(b"\\b"),
        b'\t' => out.put_slice(b"\\t"),
        b'\n' => out.put_slice(b"\\n"),
        12 => out.put_slice(b"\\f"),
        b'\r' => out.put_slice(b"\\r"),
        control => {
            out.put_slice(b"\\u00");
            out.put_slice(&[HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
        }
    }
}

impl ToJson for Value<'_> {
    fn write(&self, out: &mut Writer) {
        match self {
            Value::Null => out.out.put_slice(b"null"),
            Value::Bool(flag) => flag.write(out),
            Value::Int(number) => out.long(*number),
            Value::Float(number) => out.double(*number),
            Value::Str(text) => out.string(text),
            Value::Array(items) => out.array(items),
            Value::Object(members) => out.object(|object| {
                for (key, value) in members {
                    object.member(key, value);
                }
            }),
        }
    }
}

impl ToKey for Value<'_> {
    fn write_key(&self, out: &mut Writer) {
        match self {
            Value::Int(number) => out.number_key(*number),
            other => other.write(out),
        }
    }
}

impl ToJson for bool {
    fn write(&self, out: &mut Writer) {
        out.out.put_slice(if *self { b"true" } else { b"false" });
    }
}

impl ToJson for i32 {
    fn write(&self, out: &mut Writer) {
        out.long(i64::from(*self));
    }
}

impl ToJson for i64 {
    fn write(&self, out: &mut Writer) {
        out.long(*self);
    }
}

impl ToJson for f64 {
    fn write(&self, out: &mut Writer) {
        out.double(*self);
    }
}

impl ToJson for str {
    fn write(&self, out: &mut Writer) {
        out.string(self);
    }
}

impl ToJson for String {
    fn write(&self, out: &mut Writer) {
        out.string(self);
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn write(&self, out: &mut Writer) {
        match self {
            Some(value) => value.write(out),
            None => out.out.put_slice(b"null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(ToJson::is_absent)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write(&self, out: &mut Writer) {
        out.array(self);
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn write(&self, out: &mut Writer) {
        (**self).write(out);
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

impl<K: ToKey, V: ToJson> ToJson for BTreeMap<K, V> {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            for (key, value) in self {
                object.member(key, value);
            }
        });
    }
}

impl ToKey for str {
    fn write_key(&self, out: &mut Writer) {
        out.string(self);
    }
}

impl ToKey for String {
    fn write_key(&self, out: &mut Writer) {
        out.string(self);
    }
}

impl ToKey for i32 {
    fn write_key(&self, out: &mut Writer) {
        out.number_key(i64::from(*self));
    }
}

impl ToKey for i64 {
    fn write_key(&self, out: &mut Writer) {
        out.number_key(*self);
    }
}
