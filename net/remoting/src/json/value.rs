//! Any JSON value.

use std::borrow::Cow;

/// A value; strings are borrowed from the text unless they contain escapes.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without fraction that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string, or a word without quotes in the place of a key.
    Str(Cow<'a, str>),
    /// `[…]`
    Array(Vec<Value<'a>>),
    /// `{…}` in the order of the text. Keys are strings, or whatever else stood there: numbers, objects.
    Object(Vec<(Value<'a>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The member of that name; of duplicates the last one. `None` also when null, or when this is no object.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let Value::Object(members) = self else { return None };
        let (_, value) = members.iter().rfind(|(key, _)| matches!(key, Value::Str(key) if key == name))?;
        (*value != Value::Null).then_some(value)
    }

    /// As a number: also out of a string, or from a number whose fraction is cut, as the reference does.
    pub fn as_long(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Float(number) => Some(*number as i64),
            Value::Str(text) => text.trim().parse().ok(),
            Value::Bool(flag) => Some(i64::from(*flag)),
            _ => None,
        }
    }

    /// As a number with a fraction.
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// As a boolean: also `"true"`, `"false"`, 1 and 0.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            Value::Int(number) => Some(*number == 1),
            Value::Str(text) if text.eq_ignore_ascii_case("true") || text == "1" => Some(true),
            Value::Str(text) if text.eq_ignore_ascii_case("false") || text == "0" => Some(false),
            _ => None,
        }
    }

    /// As text: numbers and booleans in their usual form.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Str(text) => Some(Cow::Borrowed(text)),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            Value::Float(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            _ => None,
        }
    }

    /// What it is, for error texts.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }
}
