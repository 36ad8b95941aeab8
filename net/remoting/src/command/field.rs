//! One header field and its typed forms.

use std::borrow::Cow;

use super::table::{Entry, Span};
use super::text;

/// Longest piece of a bad value that an error repeats, characters.
const QUOTED_CHARS_MAX: usize = 64;

/// A header field that is there but cannot be used, or is missing and needed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum FieldError {
    /// The request cannot be executed without it.
    #[error("header field {field} is missing")]
    Missing {
        /// Name on the wire.
        field: &'static str,
    },
    /// The text is not a number of the field's width.
    #[error("header field {field}: \"{value}\" is not a number")]
    NotANumber {
        /// Name on the wire, cut to 64 characters.
        field: String,
        /// Its text, cut to 64 characters.
        value: String,
    },
}

/// One header field of a [`super::Command`], borrowed from the frame.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    header: &'a [u8],
    key: Span,
    value: Span,
}

impl<'a> Field<'a> {
    pub(super) fn new(header: &'a [u8], entry: &Entry) -> Field<'a> {
        Field { header, key: entry.key, value: entry.value }
    }

    /// Its name.
    pub fn key(&self) -> Cow<'a, str> {
        text_of(self.header, self.key)
    }

    /// Its name as it stands in the frame: what dispatch by name compares, since no writer escapes the names.
    pub fn raw_key(&self) -> &'a [u8] {
        self.key.of(self.header)
    }

    /// Its text.
    pub fn value(&self) -> Cow<'a, str> {
        text_of(self.header, self.value)
    }

    /// Its text as a 32-bit number.
    ///
    /// # Errors
    /// Not a decimal number of that width.
    pub fn int(&self) -> Result<i32, FieldError> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| self.not_a_number())
    }

    /// Its text as a 64-bit number.
    ///
    /// # Errors
    /// Not a decimal number of that width.
    pub fn long(&self) -> Result<i64, FieldError> {
        decimal(self.value.of(self.header)).ok_or_else(|| self.not_a_number())
    }

    /// Whether its text is `true` in any case of letters.
    pub fn boolean(&self) -> bool {
        self.value.of(self.header).eq_ignore_ascii_case(b"true")
    }

    fn not_a_number(&self) -> FieldError {
        let cut = |text: Cow<'_, str>| text.chars().take(QUOTED_CHARS_MAX).collect();
        FieldError::NotANumber { field: cut(self.key()), value: cut(self.value()) }
    }
}

fn text_of(header: &[u8], span: Span) -> Cow<'_, str> {
    let raw = span.of(header);
    if span.is_escaped() { Cow::Owned(text::unescape(raw)) } else { text::plain(raw) }
}

/// A decimal number with an optional sign, as `Long.parseLong` takes it.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    // Collected below zero: the lowest number has no positive twin.
    let negated = digits.iter().try_fold(0i64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(())?;
        number.checked_mul(10)?.checked_sub(i64::from(digit))
    })?;
    if negative { Some(negated) } else { negated.checked_neg() }
}
