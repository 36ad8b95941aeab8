//! Decimal text of a number without allocation.

/// Longest text: `-9223372036854775808`.
const DIGITS_MAX: usize = 20;

/// The decimal text of a 64-bit number.
pub(crate) struct Decimal {
    text: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(number: i64) -> Decimal {
        let mut text = [0; DIGITS_MAX];
        let mut start = DIGITS_MAX;
        let mut rest = number.unsigned_abs();
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            text[start] = b'-';
        }
        Decimal { text, start }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_standard_text() {
        for number in [0, 1, -1, 9, 10, 99, 100, 479, -843, i64::MAX, i64::MIN, i64::from(i32::MIN)] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
