//! What can be wrong with a configuration, and what is worth telling about one that is right.

use std::fmt;

use ringmq_transport::properties_file::{PropertiesError, ValueError};

/// Why a configuration is not accepted. The broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no properties file.
    #[error(transparent)]
    Malformed(#[from] PropertiesError),
    /// A value is not of its key's kind.
    #[error("{}{source}", place(.line))]
    Value {
        /// Line of the key, from 1, when it came from a text.
        line: Option<usize>,
        /// Key, value and what was expected.
        source: ValueError,
    },
    /// A value asks for something that is impossible or not built.
    #[error("{}{key}={value}: {why}", place(.line))]
    Refused {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Line of the key, from 1, when it came from a text.
        line: Option<usize>,
        /// Why, and what to do.
        why: String,
    },
}

impl From<ValueError> for ConfigError {
    fn from(source: ValueError) -> Self {
        Self::Value { line: None, source }
    }
}

impl ConfigError {
    /// Adds the line on which `text` sets the key (its last occurrence: that one counts).
    #[must_use]
    pub(super) fn located_in(mut self, text: &str) -> Self {
        let (key, slot) = match &mut self {
            Self::Malformed(_) => return self,
            Self::Value { line, source } => (source.key.clone(), line),
            Self::Refused { line, key, .. } => (key.clone(), line),
        };
        *slot = line_of(text, &key);
        self
    }
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let sets_key = |line: &str| {
        let Some(rest) = line.trim_start().strip_prefix(key) else {
            // The old spelling of a key is reported under its new name.
            return line
                .split(['=', ':'])
                .next()
                .is_some_and(|k| super::values::canonical_key(k.trim()) == key);
        };
        rest.starts_with(['=', ':', ' ', '\t']) || rest.is_empty()
    };
    text.lines().enumerate().filter(|(_, line)| sets_key(line)).last().map(|(at, _)| at + 1)
}

fn place(line: &Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// Something about an accepted configuration that its author should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The key is RocketMQ's, but tunes something that RingMQ does not have.
    NoEffect {
        /// The key.
        key: String,
    },
    /// The key belongs to something that is not built yet.
    NotYet {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What happens instead.
        instead: &'static str,
    },
    /// Nobody knows the key. It is kept and printed.
    Unknown {
        /// The key.
        key: String,
    },
}

impl Notice {
    /// Whether it deserves a warning rather than a remark.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::NoEffect { .. })
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEffect { key } => {
                write!(f, "{key} has no effect: RingMQ has nothing that it would tune")
            }
            Self::NotYet { key, value, instead } => write!(f, "{key}={value} is not obeyed yet: {instead}"),
            Self::Unknown { key } => write!(f, "{key} is not known; it is kept and has no effect"),
        }
    }
}
