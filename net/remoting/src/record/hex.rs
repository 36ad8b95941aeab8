//! Upper-case hexadecimal, the form of all ids.

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Writes two digits for each byte; `out` is twice as long.
pub(super) fn write(out: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Reads digits of either case into `out`; `None` unless there are exactly two for each byte.
pub(super) fn read(out: &mut [u8], text: &[u8]) -> Option<()> {
    (text.len() == out.len() * 2).then_some(())?;
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| (digit as char).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(())
}
