//! Numbers in property texts, read as Java reads them.

use super::error::EvaluationError;

/// Zeros of the blocks of ten decimal digits in Unicode's basic plane, ASCII first: Java's integers may be written in any of them.
const ZEROS: [u16; 37] = [
    0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6, 0x0d66,
    0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

/// A 64-bit integer: digits with perhaps a sign, nothing else.
pub(super) fn long(text: &str) -> Result<i64, EvaluationError> {
    let (is_negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(EvaluationError::NotANumber);
    }
    // Below zero there is room for one more than above.
    let mut negative = 0_i64;
    for character in digits.chars() {
        let digit = decimal_digit(character).ok_or(EvaluationError::NotANumber)?;
        let shifted = negative.checked_mul(10).and_then(|value| value.checked_sub(digit));
        negative = shifted.ok_or(EvaluationError::NotANumber)?;
    }
    if is_negative { Ok(negative) } else { negative.checked_neg().ok_or(EvaluationError::NotANumber) }
}

/// A 32-bit integer, as [`long`].
pub(super) fn int(text: &str) -> Result<i32, EvaluationError> {
    i32::try_from(long(text)?).map_err(|_| EvaluationError::NotANumber)
}

fn decimal_digit(character: char) -> Option<i64> {
    if character.is_ascii_digit() {
        return Some(i64::from(u32::from(character) - u32::from('0')));
    }
    let code = u16::try_from(u32::from(character)).ok()?;
    let zero = ZEROS[ZEROS.partition_point(|&zero| zero <= code).checked_sub(1)?];
    (code - zero < 10).then(|| i64::from(code - zero))
}

/// A double: decimal or hexadecimal, `NaN`, `Infinity`; blanks around it and a type suffix are ignored.
pub(super) fn double(text: &str) -> Result<f64, EvaluationError> {
    read_double(text).ok_or(EvaluationError::NotANumber)
}

fn read_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|character| character <= ' ');
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = match digits {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ if digits.starts_with("0x") || digits.starts_with("0X") => hexadecimal(&digits[2..])?,
        _ => decimal(digits)?,
    };
    Some(if is_negative { -magnitude } else { magnitude })
}

/// `f`, `d` and their capitals may stand behind a number.
fn without_suffix(text: &str) -> &str {
    text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text)
}

fn decimal(text: &str) -> Option<f64> {
    let text = without_suffix(text);
    // What remains to be refused is what only Rust takes for a number: words, and a second sign.
    let only_numeric =
        text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let unsigned = !text.starts_with(['+', '-']);
    (only_numeric && unsigned).then(|| text.parse().ok()).flatten()
}

/// What follows `0x`: digits with perhaps a point, and an exponent of two, which must be there.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let exponent = without_suffix(exponent);
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Too many digits for a number: beyond all bounds in either direction.
    let beyond = if exponent.starts_with('-') { i64::MIN / 4 } else { i64::MAX / 4 };
    let mut exponent = exponent.parse::<i32>().map_or(beyond, i64::from);

    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // 61 to 64 leading bits, and whether anything lies below them.
    let (mut bits, mut is_more_below) = (0_u64, false);
    for (part, is_fraction) in [(whole, false), (fraction, true)] {
        for character in part.chars() {
            let digit = u64::from(character.to_digit(16)?);
            let is_full = bits >> 60 != 0;
            if is_full {
                is_more_below |= digit != 0;
            } else {
                bits = bits << 4 | digit;
            }
            match (is_full, is_fraction) {
                (true, false) => exponent = exponent.saturating_add(4),
                (false, true) => exponent = exponent.saturating_sub(4),
                _ => {}
            }
        }
    }
    Some(scaled(bits, is_more_below, exponent))
}

/// `bits × 2^exponent`, rounded to the nearest double, ties to even.
fn scaled(bits: u64, is_more_below: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let zeros = bits.leading_zeros();
    let bits = bits << zeros;
    let exponent = exponent.saturating_sub(zeros.into());
    // The highest bit counts 2^magnitude.
    let magnitude = exponent.saturating_add(63);
    if magnitude > 1023 {
        return f64::INFINITY;
    }
    // Subnormal numbers have fewer bits, down to none at half the smallest.
    let kept = 53 - (-1022 - magnitude).max(0);
    if kept < 0 {
        return 0.0;
    }
    let dropped = 64 - u32::try_from(kept).expect("0 to 53");
    let (high, low) = if dropped == 64 { (0, bits) } else { (bits >> dropped, bits & ((1 << dropped) - 1)) };
    let half = 1 << (dropped - 1);
    let is_up = low > half || low == half && (is_more_below || high & 1 == 1);
    let high = high + u64::from(is_up);
    // At most 2^53 times a power of two that is a double itself: exact, or infinite if rounding reached 2^1024.
    #[allow(clippy::cast_precision_loss, reason = "at most 2^53")]
    let high = high as f64;
    high * power_of_two(exponent + i64::from(dropped))
}

/// 2^exponent for -1074 to 1023.
fn power_of_two(exponent: i64) -> f64 {
    let bits = if exponent >= -1022 { (exponent + 1023) << 52 } else { 1 << (exponent + 1074) };
    f64::from_bits(u64::try_from(bits).expect("a positive double"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<f64>) {
        let found = read_double(text);
        assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{text:?} is {found:?}");
    }

    #[test]
    fn integers_are_digits_with_a_sign() {
        assert_eq!(int("2147483647"), Ok(i32::MAX));
        assert_eq!(int("-2147483648"), Ok(i32::MIN));
        assert_eq!(long("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(long("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(int("+007"), Ok(7));
        assert_eq!(int("١٢٣"), Ok(123), "digits of any script");
        assert_eq!(int("９０"), Ok(90));
        for text in ["", "+", "-", "1.0", " 1", "1 ", "1L", "0x1", "+-1", "1e2", "𝟗", "²", "2147483648"] {
            assert_eq!(int(text), Err(EvaluationError::NotANumber), "{text:?}");
        }
        assert_eq!(long("9223372036854775808"), Err(EvaluationError::NotANumber));
        assert_eq!(long("-9223372036854775809"), Err(EvaluationError::NotANumber));
    }

    #[test]
    fn doubles_are_what_java_takes_for_them() {
        check("1", Some(1.0));
        check(" \t-1.5e3 \n", Some(-1500.0));
        check("5.", Some(5.0));
        check(".5f", Some(0.5));
        check("1e5D", Some(1e5));
        check("-0", Some(-0.0));
        check("1e999999999999", Some(f64::INFINITY));
        check("1e-999999999999", Some(0.0));
        check("NaN", Some(f64::NAN));
        check("-NaN", Some(f64::NAN));
        check("+Infinity", Some(f64::INFINITY));
        for text in
            ["", ".", "e5", "1e", "1e+", "nan", "inf", "infinity", "NaNf", "1_0", "1,5", "--1", "1dd", "١"]
        {
            check(text, None);
        }
    }

    #[test]
    fn hexadecimal_doubles_round_to_nearest_even() {
        check("0x1p3", Some(8.0));
        check("-0X1.8P1d", Some(-3.0));
        check("0x.8p0", Some(0.5));
        check("0x1.p0", Some(1.0));
        check("0x1.fffffffffffffp1023", Some(f64::MAX));
        check("0x1.fffffffffffff8p1023", Some(f64::INFINITY));
        check("0x1p-1074", Some(5e-324));
        check("0x1p-1075", Some(0.0));
        check("0x1.00001p-1075", Some(5e-324));
        check("0x1.00000000000008p0", Some(1.0));
        check("0x1.000000000000080000000001p0", Some(1.0 + f64::EPSILON));
        check("0x1.00000000000018p0", Some(1.0 + 2.0 * f64::EPSILON));
        check("0x1p99999999999", Some(f64::INFINITY));
        check("0x0p99999999999", Some(0.0));
        check("0x1p-99999999999", Some(0.0));
        for text in ["0x", "0x1", "0xp1", "0x.p1", "0x1p", "0x1p+", "0x1pg", "0xgp1", "0x1.2.3p1"] {
            check(text, None);
        }
    }
}
