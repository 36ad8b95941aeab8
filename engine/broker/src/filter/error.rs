//! What can be wrong with an expression, and with a message that it is asked about.

use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, OPERATIONS_MAX};

/// Why a text is not an expression. `at` is the byte at which the cause begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// Longer than [`EXPRESSION_BYTES_MAX`].
    #[error("the expression has {bytes} bytes, {EXPRESSION_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Parentheses and prefix operators inside each other beyond [`DEPTH_MAX`].
    #[error("more than {DEPTH_MAX} parentheses and prefix operators inside each other, at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// More than [`OPERATIONS_MAX`] steps to evaluate it.
    #[error("more than {OPERATIONS_MAX} operations, at byte {at}")]
    TooComplex {
        /// Where.
        at: usize,
    },
    /// A character that begins no token.
    #[error("unexpected character {found:?} at byte {at}")]
    Character {
        /// Where.
        at: usize,
        /// Which.
        found: char,
    },
    /// A string without its closing quote.
    #[error("the string that begins at byte {at} does not end")]
    UnterminatedText {
        /// Where.
        at: usize,
    },
    /// A token that does not fit there.
    #[error("found {found} at byte {at} where {expected} must stand")]
    Unexpected {
        /// Where.
        at: usize,
        /// What stands there, shortened.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A number out of range: integers are 64 bits, floats are positive normal or subnormal doubles.
    #[error("the number at byte {at} is out of range")]
    Number {
        /// Where.
        at: usize,
    },
    /// AND, OR, NOT or the whole want a condition there, and this is none.
    #[error("what begins at byte {at} is neither true nor false")]
    NotACondition {
        /// Where.
        at: usize,
    },
    /// Only properties and numbers have an order.
    #[error("what begins at byte {at} cannot be compared by <, <=, >, >= or BETWEEN")]
    NotOrdered {
        /// Where.
        at: usize,
    },
    /// `=` and `<>` compare neither with NULL nor TRUE or FALSE with a constant of another type.
    #[error("what begins at byte {at} cannot be compared by = or <>")]
    NotComparable {
        /// Where.
        at: usize,
    },
    /// IN takes a property to its left.
    #[error("what begins at byte {at} is no property, IN needs one")]
    NotAProperty {
        /// Where.
        at: usize,
    },
    /// BETWEEN with constants in the wrong order.
    #[error("the range that begins at byte {at} is empty: its first value is greater than its second")]
    EmptyRange {
        /// Where.
        at: usize,
    },
}

impl ExpressionError {
    /// The byte of the text at which the cause begins. `None`: its length is the cause.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match *self {
            Self::TooLong { .. } => None,
            Self::TooDeep { at }
            | Self::TooComplex { at }
            | Self::Character { at, .. }
            | Self::UnterminatedText { at }
            | Self::Unexpected { at, .. }
            | Self::Number { at }
            | Self::NotACondition { at }
            | Self::NotOrdered { at }
            | Self::NotComparable { at }
            | Self::NotAProperty { at }
            | Self::EmptyRange { at } => Some(at),
        }
    }
}

/// Why there is no answer for a message. The reference throws here, so nothing further of the expression is looked at and the message
/// does not match, whatever stands around the failed comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A property compared with a number is not one (of that kind: `1.5` is no integer).
    #[error("a property is not a number of the kind that it is compared with")]
    NotANumber,
    /// A condition compared with a text (the other way round the text is read as TRUE or FALSE).
    #[error("a condition cannot be compared with a text")]
    ConditionWithText,
}
