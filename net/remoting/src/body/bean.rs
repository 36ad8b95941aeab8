//! How the types of this module are made.

use crate::json::JsonError;

/// Why a body is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum BodyError {
    /// The JSON does not parse or does not fit the type.
    #[error("body of {body}: {source}")]
    Json {
        /// The type that was expected.
        body: &'static str,
        /// What is wrong.
        source: JsonError,
    },
    /// A compressed registration does not unpack or is cut.
    #[error("compressed registration, byte {position} of the plain text: {what}")]
    Compressed {
        /// Offset in the unpacked text.
        position: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Types with named members. For each member: Rust name and type, name on the wire with other names that are
/// read, and the value when absent if it is not the type's own default. Members stand in the order of the
/// wire.
macro_rules! beans {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty = $wire:literal $(| $alias:literal)* $(, or $default:expr)?; )*
        }
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: bean_default!($($default)?), )* }
            }
        }

        impl $crate::json::FromJson for $name {
            fn read(value: &$crate::json::Value<'_>) -> Result<Self, $crate::json::JsonError> {
                use $crate::json::{FromJson, JsonError, Value};
                let Value::Object(members) = value else {
                    return Err(JsonError::wrong_type("an object", value));
                };
                let mut bean = Self::default();
                for (key, value) in members {
                    let Value::Str(key) = key else { continue };
                    if *value == Value::Null {
                        continue;
                    }
                    match key.as_ref() {
                        $( $wire $(| $alias)* => {
                            bean.$field = FromJson::read(value)
                                .map_err(|source| JsonError::Member { member: $wire, source: Box::new(source) })?;
                        } )*
                        _ => {}
                    }
                }
                Ok(bean)
            }
        }

        impl $crate::json::ToJson for $name {
            fn write(&self, out: &mut $crate::json::Writer) {
                out.object(|object| {
                    $( object.member($wire, &self.$field); )*
                });
            }
        }

        impl $name {
            /// Reads it from the body of a command, or from a file.
            ///
            /// # Errors
            /// The text is not JSON, or a member is not of its type.
            pub fn from_json(text: &[u8]) -> Result<Self, $crate::body::BodyError> {
                let read = $crate::json::parse(text).and_then(|value| $crate::json::FromJson::read(&value));
                read.map_err(|source| $crate::body::BodyError::Json { body: stringify!($name), source })
            }

            /// Its text in the reference's form.
            pub fn to_json(&self) -> String {
                $crate::json::to_text(self)
            }
        }
    )* };
}

macro_rules! bean_default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}
