//! From [`Value`]s to types.

use std::collections::BTreeMap;

use super::Value;

/// Why a text is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum JsonError {
    /// Not JSON.
    #[error("byte {position}: {what}")]
    Syntax {
        /// Where.
        position: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// JSON, but not of this type.
    #[error("{expected} expected, {found} found")]
    Type {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A member is not of its type.
    #[error("{member}: {source}")]
    Member {
        /// Name of the member.
        member: &'static str,
        /// What is wrong with it.
        source: Box<JsonError>,
    },
}

impl JsonError {
    pub(crate) fn wrong_type(expected: &'static str, found: &Value<'_>) -> JsonError {
        JsonError::Type { expected, found: found.kind() }
    }
}

/// Something that can be read from JSON. Members that are absent, unknown or null are never errors.
pub trait FromJson: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The value, or a member of it, cannot be taken for this type.
    fn read(value: &Value<'_>) -> Result<Self, JsonError>;
}

/// Something that can be the key of a map.
pub trait FromKey: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The key cannot be taken for this type.
    fn read_key(value: &Value<'_>) -> Result<Self, JsonError>;
}

impl FromJson for bool {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        value.as_bool().ok_or_else(|| JsonError::wrong_type("a boolean", value))
    }
}

impl FromJson for i32 {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        let number = value.as_long().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| JsonError::wrong_type("a 32-bit number", value))
    }
}

impl FromJson for i64 {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        value.as_long().ok_or_else(|| JsonError::wrong_type("a 64-bit number", value))
    }
}

impl FromJson for f64 {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        value.as_double().ok_or_else(|| JsonError::wrong_type("a number", value))
    }
}

impl FromJson for String {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        let text = value.as_text().ok_or_else(|| JsonError::wrong_type("a string", value))?;
        Ok(text.into_owned())
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        if *value == Value::Null { Ok(None) } else { T::read(value).map(Some) }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        let Value::Array(items) = value else { return Err(JsonError::wrong_type("an array", value)) };
        items.iter().filter(|item| **item != Value::Null).map(T::read).collect()
    }
}

impl<K: FromKey + Ord, V: FromJson> FromJson for BTreeMap<K, V> {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        let Value::Object(members) = value else { return Err(JsonError::wrong_type("an object", value)) };
        let members = members.iter().filter(|(_, value)| *value != Value::Null);
        members.map(|(key, value)| Ok((K::read_key(key)?, V::read(value)?))).collect()
    }
}

impl FromKey for String {
    fn read_key(value: &Value<'_>) -> Result<Self, JsonError> {
        String::read(value)
    }
}

impl FromKey for i32 {
    fn read_key(value: &Value<'_>) -> Result<Self, JsonError> {
        i32::read(value)
    }
}

impl FromKey for i64 {
    fn read_key(value: &Value<'_>) -> Result<Self, JsonError> {
        i64::read(value)
    }
}
