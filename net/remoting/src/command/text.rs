//! From the bytes of a JSON string to text.

use std::borrow::Cow;

/// Text of bytes without escapes. What is not UTF-8 becomes U+FFFD, as Java's decoder makes it.
pub(super) fn plain(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(raw),
    }
}

/// Text of a string whose escapes the scanner has checked.
pub(super) fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(position) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..position]);
        rest = push_escape(&mut out, &rest[position + 1..]);
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Appends what the escape behind a backslash stands for; returns what follows it.
fn push_escape<'a>(out: &mut Vec<u8>, after: &'a [u8]) -> &'a [u8] {
    let Some((&kind, mut rest)) = after.split_first() else { return after };
    match kind {
        b'n' => out.push(b'\n'),
        b't' => out.push(b'\t'),
        b'r' => out.push(b'\r'),
        b'b' => out.push(8),
        b'f' => out.push(12),
        b'u' => {
            let unit = hex4(rest).unwrap_or(0xFFFD);
            rest = rest.get(4..).unwrap_or_default();
            let mut character = char::from_u32(unit);
            if (0xD800..0xDC00).contains(&unit)
                && let [b'\\', b'u', low @ ..] = rest
                && let Some(low_unit @ 0xDC00..0xE000) = hex4(low)
            {
                character = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low_unit - 0xDC00));
                rest = &low[4..];
            }
            let mut buffer = [0; 4];
            let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
        other => out.push(other),
    }
    rest
}

/// The number of four hexadecimal digits.
pub(super) fn hex4(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.first_chunk::<4>()?;
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | (*digit as char).to_digit(16)?))
}
