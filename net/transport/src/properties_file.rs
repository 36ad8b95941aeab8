//! Java `.properties` text, as RocketMQ's configuration files and the bodies of requests 25, 26, 318 and 319 use it.
//!
//! Pure: no file is opened here. Accepts what `java.util.Properties` accepts: `key=value`, `key: value` and `key value`,
//! comments after `#` or `!`, lines continued by a backslash, `\t \n \r \f \uXXXX` escapes. As RocketMQ does, blanks
//! around a value are dropped.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use rustc_hash::FxHashMap;

/// Most entries one text may hold: far above the about 400 keys that RocketMQ knows.
pub const ENTRIES_MAX: usize = 10_000;

/// Why a text is not a properties file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits; `java.util.Properties` refuses the file too.
    #[error("line {line}: \\u must be followed by four hexadecimal digits")]
    BadUnicodeEscape {
        /// First line of the entry, from 1.
        line: usize,
    },
    /// More than [`ENTRIES_MAX`] entries.
    #[error("more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// A value that cannot be read as what its key asks for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key}={value}: {expected} expected")]
pub struct ValueError {
    /// The key.
    pub key: String,
    /// The value as given.
    pub value: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

/// Keys and values in the order of the text; of equal keys the last value counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<(String, String)>,
    index: FxHashMap<String, usize>,
}

impl Properties {
    /// Reads a text.
    ///
    /// # Errors
    /// See [`PropertiesError`].
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let mut properties = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = trim_start(line);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let mut logical = Cow::Borrowed(line);
            while ends_with_continuation(&logical) {
                let joined = logical.to_mut();
                joined.pop();
                let Some((_, next)) = lines.next() else { break };
                joined.push_str(trim_start(next));
            }
            let (key, value) = split_entry(&logical);
            let bad_escape = || PropertiesError::BadUnicodeEscape { line: number + 1 };
            let key = unescape(key).ok_or_else(bad_escape)?;
            let value = unescape(value).ok_or_else(bad_escape)?;
            if properties.len() >= ENTRIES_MAX {
                return Err(PropertiesError::TooMany);
            }
            properties.set(&key, value.trim());
        }
        Ok(properties)
    }

    /// Reads bytes: UTF-8, or else ISO 8859-1, which is what Java takes such files for.
    ///
    /// # Errors
    /// See [`PropertiesError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PropertiesError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text),
            Err(_) => Self::parse(&bytes.iter().map(|&byte| char::from(byte)).collect::<String>()),
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.index.get(key).map(|&at| self.entries[at].1.as_str())
    }

    /// The value of a key as a `T`; `None` when absent.
    ///
    /// # Errors
    /// When it cannot be read as one.
    pub fn get_as<T: SettingValue>(&self, key: &str) -> Result<Option<T>, ValueError> {
        self.get(key).map(|value| T::read(key, value)).transpose()
    }

    /// Adds a key or replaces its value in place.
    pub fn set(&mut self, key: &str, value: &str) {
        if let Some(&at) = self.index.get(key) {
            value.clone_into(&mut self.entries[at].1);
        } else {
            self.index.insert(key.to_owned(), self.entries.len());
            self.entries.push((key.to_owned(), value.to_owned()));
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// `key=value` lines for a file, escaped so that [`Properties::parse`] and Java give the same entries back.
    #[must_use]
    pub fn to_file_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.iter() {
            escape_into(key, true, &mut text);
            text.push('=');
            escape_into(value, false, &mut text);
            text.push('\n');
        }
        text
    }

    /// `key=value` lines without escapes: the form of the answers to 26 and 319.
    #[must_use]
    pub fn to_plain_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.iter() {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }
}

/// A type that a setting can have.
pub trait SettingValue: Sized {
    /// Reads the value of `key`.
    ///
    /// # Errors
    /// When `value` is not one.
    fn read(key: &str, value: &str) -> Result<Self, ValueError>;

    /// The text that [`SettingValue::read`] takes for this value.
    fn text(&self) -> String;
}

macro_rules! setting_value {
    ($($type:ty: $expected:literal),+ $(,)?) => {$(
        impl SettingValue for $type {
            fn read(key: &str, value: &str) -> Result<Self, ValueError> {
                <$type>::from_str(value).map_err(|_| ValueError {
                    key: key.to_owned(),
                    value: value.to_owned(),
                    expected: $expected,
                })
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

setting_value! {
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number from 0",
    usize: "a whole number from 0",
    i32: "a whole number of 32 bits",
    i64: "a whole number of 64 bits",
    f64: "a number",
    std::net::IpAddr: "an IP address",
}

impl SettingValue for bool {
    /// As Java: only `true`, in any case, is true. Other words than `false` are refused rather than taken for it.
    fn read(key: &str, value: &str) -> Result<Self, ValueError> {
        if value.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if value.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err(ValueError { key: key.to_owned(), value: value.to_owned(), expected: "true or false" })
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for String {
    fn read(_: &str, value: &str) -> Result<Self, ValueError> {
        Ok(value.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl SettingValue for PathBuf {
    fn read(_: &str, value: &str) -> Result<Self, ValueError> {
        Ok(Self::from(value))
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

/// Blanks in the sense of the format.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn trim_start(line: &str) -> &str {
    line.trim_start_matches(is_blank)
}

/// An odd number of backslashes at the end joins the next line.
fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Splits at the first unescaped `=`, `:` or blank.
fn split_entry(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || is_blank(c) {
            let rest = trim_start(&line[at..]);
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], trim_start(value));
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    // Java strings are UTF-16: a character outside the basic plane is written as two \u escapes.
    let mut units: Vec<u16> = Vec::new();
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = if c == '\\' {
            match chars.next() {
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(&digits, 16).ok()?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some(other) => other,
                None => continue,
            }
        } else {
            c
        };
        flush_units(&mut units, &mut out);
        out.push(plain);
    }
    flush_units(&mut units, &mut out);
    Some(Cow::Owned(out))
}

fn flush_units(units: &mut Vec<u16>, out: &mut String) {
    out.push_str(&String::from_utf16_lossy(units));
    units.clear();
}

fn escape_into(text: &str, is_key: bool, out: &mut String) {
    for (at, c) in text.char_indices() {
        match c {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let properties = Properties::parse(text).expect("well-formed");
        assert_eq!(properties.iter().collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn separators_blanks_and_comments() {
        check("a=1\nb:2\nc 3\nd = 4 \n", &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
        check("# note\n  ! note\n\n  a=1\r\nb=\nc", &[("a", "1"), ("b", ""), ("c", "")]);
        check("url=http://host:80/?q=1", &[("url", "http://host:80/?q=1")]);
        check("namesrvAddr=a:9876;b:9876", &[("namesrvAddr", "a:9876;b:9876")]);
    }

    #[test]
    fn continued_lines_and_escapes() {
        check("a=1,\\\n   2\nb=3", &[("a", "1,2"), ("b", "3")]);
        check(r"path=C\:\\tmp\\", &[("path", r"C:\tmp\")]);
        check(r"a\=b\ c=\u4e2d\ud83d\ude00\tx", &[("a=b c", "中😀\tx")]);
        check("a=1\\", &[("a", "1")]);
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        check("a=1\nb=2\na=3", &[("a", "3"), ("b", "2")]);
    }

    #[test]
    fn a_bad_unicode_escape_names_its_line() {
        let error = Properties::parse("a=1\nb=\\u12g4").expect_err("malformed");
        assert_eq!(error, PropertiesError::BadUnicodeEscape { line: 2 });
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        let properties = Properties::from_bytes(b"name=caf\xe9").expect("well-formed");
        assert_eq!(properties.get("name"), Some("café"));
    }

    #[test]
    fn file_text_comes_back_equal() {
        let mut properties = Properties::default();
        properties.set("a b=c", " leading, #hash, :colon, \\ and\nnewline 中😀");
        properties.set("plain", "x");
        let text = properties.to_file_text();
        assert!(text.is_ascii(), "{text}");
        let mut trimmed = properties.clone();
        trimmed.set("a b=c", "leading, #hash, :colon, \\ and\nnewline 中😀");
        assert_eq!(Properties::parse(&text).expect("own text"), trimmed);
    }

    #[test]
    fn typed_values_say_what_they_expect() {
        let properties = Properties::parse("port=70000\nflag=TRUE\nn=-5").expect("well-formed");
        assert_eq!(properties.get_as::<bool>("flag"), Ok(Some(true)));
        assert_eq!(properties.get_as::<i32>("n"), Ok(Some(-5)));
        assert_eq!(properties.get_as::<i32>("absent"), Ok(None));
        let error = properties.get_as::<u16>("port").expect_err("out of range");
        assert_eq!(error.to_string(), "port=70000: a whole number from 0 to 65535 expected");
    }
}
