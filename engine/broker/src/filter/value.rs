//! Values and how they compare: Java's types and conversions, because clients see which messages they let through.

use std::cmp::Ordering;

use super::error::EvaluationError;
use super::number::{double, int, long};

/// A value that is there; one that is missing is `None` wherever values are handled.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value<'a> {
    Condition(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

/// A value of the expression itself.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Constant {
    Null,
    Condition(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
}

impl Constant {
    pub(super) fn value(&self) -> Option<Value<'_>> {
        match self {
            Self::Null => None,
            Self::Condition(condition) => Some(Value::Condition(*condition)),
            Self::Int(number) => Some(Value::Int(*number)),
            Self::Long(number) => Some(Value::Long(*number)),
            Self::Double(number) => Some(Value::Double(*number)),
            Self::Text(text) => Some(Value::Text(text)),
        }
    }
}

impl Value<'_> {
    /// With the other sign. `None`: not a number.
    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Int(number) => Some(Self::Int(number.wrapping_neg())),
            Self::Long(number) => Some(Self::Long(number.wrapping_neg())),
            Self::Double(number) => Some(Self::Double(-number)),
            Self::Condition(_) | Self::Text(_) => None,
        }
    }
}

/// `=`. Two missing values are equal; one that is missing to the left makes the answer unknown, to the right it makes it false.
pub(super) fn equal(
    left: Option<Value<'_>>,
    right: Option<Value<'_>>,
) -> Result<Option<bool>, EvaluationError> {
    match (left, right) {
        (None, None) => Ok(Some(true)),
        (None, Some(_)) => Ok(None),
        (Some(_), None) => Ok(Some(false)),
        (Some(left), Some(right)) => Ok(Some(compare(left, right)?.is_eq())),
    }
}

/// The order of two values under `<`, `<=`, `>`, `>=`: two texts are compared as doubles.
pub(super) fn order(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluationError> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(double(left)?.total_cmp(&double(right)?)),
        _ => compare(left, right),
    }
}

/// A text takes the type of the number or condition that it is compared with; of two kinds of number the wider one is taken.
/// A condition is less than any number, and any number less than a condition: never equal.
///
/// [`f64::total_cmp`] orders as Java's `Double.compareTo`, since no NaN with a sign is ever made.
fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, EvaluationError> {
    use Value::{Condition, Double, Int, Long, Text};
    #[allow(clippy::cast_precision_loss, reason = "the conversion of the reference")]
    let wide = |number: i64| number as f64;
    Ok(match (left, right) {
        (Condition(left), Condition(right)) => left.cmp(&right),
        (Condition(_), Text(_)) => return Err(EvaluationError::ConditionWithText),
        (Condition(_), _) | (Int(_) | Long(_) | Double(_), Condition(_)) => Ordering::Less,

        (Text(left), Text(right)) => left.cmp(right),
        (Text(left), Condition(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        (Text(left), Int(right)) => int(left)?.cmp(&right),
        (Text(left), Long(right)) => long(left)?.cmp(&right),
        (Text(left), Double(right)) => double(left)?.total_cmp(&right),
        (Int(left), Text(right)) => left.cmp(&int(right)?),
        (Long(left), Text(right)) => left.cmp(&long(right)?),
        (Double(left), Text(right)) => left.total_cmp(&double(right)?),

        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Int(right)) => left.cmp(&right.into()),
        (Long(left), Long(right)) => left.cmp(&right),
        (Int(left), Double(right)) => f64::from(left).total_cmp(&right),
        (Double(left), Int(right)) => left.total_cmp(&right.into()),
        (Long(left), Double(right)) => wide(left).total_cmp(&right),
        (Double(left), Long(right)) => left.total_cmp(&wide(right)),
        (Double(left), Double(right)) => left.total_cmp(&right),
    })
}
