//! The JSON dialect of the reference.

use bytes::{BufMut, BytesMut};

/// Appends a quoted string as the reference writes it: `"` and `\` escaped, control characters by letter or `\u00XX`.
pub fn write_string(out: &mut BytesMut, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.put_u8(b'"');
    let mut rest = text.as_bytes();
    while let Some(position) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.put_slice(&rest[..position]);
        match rest[position] {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            8 => out.put_slice(b"\\b"),
            b'\t' => out.put_slice(b"\\t"),
            b'\n' => out.put_slice(b"\\n"),
            12 => out.put_slice(b"\\f"),
            b'\r' => out.put_slice(b"\\r"),
            control => {
                let digits = [HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]];
                out.put_slice(b"\\u00");
                out.put_slice(&digits);
            }
        }
        rest = &rest[position + 1..];
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}
