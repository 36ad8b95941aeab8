//! Topic attributes and the syntax in which requests change them: `+key=value,-key`.

use std::collections::BTreeMap;

/// Most attributes of one topic.
pub const ATTRIBUTES_MAX: usize = 64;

/// Why a change of attributes is refused; the texts are close to the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Neither `+key=value` nor `-key`.
    #[error("add/alter attribute format is wrong: {0}")]
    Syntax(String),
    /// The same key twice.
    #[error("key duplication: {0}")]
    Duplicate(String),
    /// No such attribute exists.
    #[error("unsupported key: {0}")]
    Unknown(String),
    /// Fixed when the topic is made.
    #[error("attempt to update an unchangeable attribute. key: {0}")]
    Fixed(String),
    /// Not a value of the attribute.
    #[error("value is not in set: {key}={value}, allowed: {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What would be accepted.
        allowed: String,
    },
    /// `-key` without such an attribute, or any `-key` for a new topic.
    #[error("attempt to delete a nonexistent key: {0}")]
    Absent(String),
    /// More than [`ATTRIBUTES_MAX`].
    #[error("too many attributes")]
    TooMany,
    /// The value needs something that is off.
    #[error("{0}")]
    Unavailable(&'static str),
}

enum Values {
    OneOf(&'static [&'static str]),
    Number,
}

struct Attribute {
    key: &'static str,
    /// Whether an existing topic's value may change.
    changeable: bool,
    values: Values,
}

const ATTRIBUTES: &[Attribute] = &[
    Attribute { key: "queue.type", changeable: false, values: Values::OneOf(&["SimpleCQ", "BatchCQ"]) },
    Attribute { key: "cleanup.policy", changeable: false, values: Values::OneOf(&["DELETE", "COMPACTION"]) },
    Attribute {
        key: "message.type",
        changeable: true,
        values: Values::OneOf(&["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"]),
    },
    Attribute { key: "reserve.time", changeable: true, values: Values::Number },
];

/// Splits `+a=1,-b`. Keys keep their sign, as in a topic's configuration on its way through a request.
///
/// # Errors
/// [`AttributeError::Syntax`], [`AttributeError::Duplicate`].
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, AttributeError> {
    let mut changes = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        if !part.contains('=') && !part.starts_with('-') {
            return Err(AttributeError::Syntax(part.to_owned()));
        }
        if changes.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(AttributeError::Duplicate(key.to_owned()));
        }
    }
    Ok(changes)
}

/// What a topic's attributes become. `current`: those of an existing topic; `None`: the topic is new.
///
/// # Errors
/// See [`AttributeError`].
pub fn alter(
    current: Option<&BTreeMap<String, String>>,
    changes: &BTreeMap<String, String>,
    mixed_allowed: bool,
) -> Result<BTreeMap<String, String>, AttributeError> {
    let mut next = current.cloned().unwrap_or_default();
    for (signed, value) in changes {
        let Some(key) = signed.strip_prefix(['+', '-']).filter(|key| !key.is_empty()) else {
            return Err(AttributeError::Syntax(signed.clone()));
        };
        let attribute = ATTRIBUTES
            .iter()
            .find(|attribute| attribute.key == key)
            .ok_or_else(|| AttributeError::Unknown(key.to_owned()))?;
        if current.is_some() && !attribute.changeable {
            return Err(AttributeError::Fixed(key.to_owned()));
        }
        if signed.starts_with('-') {
            next.remove(key).ok_or_else(|| AttributeError::Absent(key.to_owned()))?;
            continue;
        }
        let allowed = match attribute.values {
            Values::OneOf(values) if values.contains(&value.as_str()) => None,
            Values::OneOf(values) => Some(values.join(", ")),
            Values::Number if value.parse::<i64>().is_ok() => None,
            Values::Number => Some("a number".to_owned()),
        };
        if let Some(allowed) = allowed {
            return Err(AttributeError::Value { key: key.to_owned(), value: value.clone(), allowed });
        }
        match (key, value.as_str()) {
            ("message.type", "MIXED") if !mixed_allowed => {
                return Err(AttributeError::Unavailable("MIXED message type is not supported."));
            }
            ("queue.type", "BatchCQ") => {
                return Err(AttributeError::Unavailable("queue.type=BatchCQ is not built yet"));
            }
            ("cleanup.policy", "COMPACTION") => {
                return Err(AttributeError::Unavailable("cleanup.policy=COMPACTION is not built yet"));
            }
            _ => {}
        }
        next.insert(key.to_owned(), value.clone());
    }
    if next.len() > ATTRIBUTES_MAX {
        return Err(AttributeError::TooMany);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn altered(current: Option<&str>, changes: &str) -> Result<String, String> {
        let current: Option<BTreeMap<String, String>> = current.map(|text| {
            text.split(',')
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect()
        });
        let changes = parse(changes).map_err(|e| e.to_string())?;
        let next = alter(current.as_ref(), &changes, false).map_err(|e| e.to_string())?;
        Ok(next.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn added_changed_and_deleted() {
        assert_eq!(altered(None, "+message.type=FIFO").as_deref(), Ok("message.type=FIFO"));
        assert_eq!(
            altered(Some("message.type=FIFO"), "+message.type=DELAY").as_deref(),
            Ok("message.type=DELAY")
        );
        assert_eq!(
            altered(Some("message.type=FIFO,reserve.time=1"), "-message.type").as_deref(),
            Ok("reserve.time=1")
        );
        assert_eq!(altered(Some("message.type=FIFO"), "").as_deref(), Ok("message.type=FIFO"));
        assert_eq!(altered(None, "+queue.type=SimpleCQ").as_deref(), Ok("queue.type=SimpleCQ"));
    }

    #[test]
    fn refused() {
        for (current, changes, text) in [
            (None, "message.type=FIFO", "format is wrong"),
            (None, "nonsense", "format is wrong"),
            (None, "+a=1,+a=2", "duplication"),
            (None, "+colour=red", "unsupported key: colour"),
            (None, "+message.type=BLUE", "not in set"),
            (None, "+message.type=MIXED", "MIXED"),
            (Some(""), "-message.type", "nonexistent"),
            (Some(""), "+queue.type=SimpleCQ", "unchangeable"),
            (None, "+reserve.time=x", "a number"),
        ] {
            let error = altered(current, changes).expect_err(changes);
            assert!(error.contains(text), "{changes}: {error}");
        }
    }
}
