//! How the types of this module are made: a table of fields gives the struct, its reader and its list for
//! writing.

use std::borrow::Cow;

use crate::encode::FieldValue;

/// Most fields of a typed header.
const FIELDS_MAX: usize = 20;

/// The fields of a typed header, ready for [`crate::encode`]; held inline and dereferencing to a slice.
#[derive(Debug, Clone, Copy)]
pub struct FieldList<'a> {
    fields: [(&'a str, FieldValue<'a>); FIELDS_MAX],
    count: usize,
}

impl<'a> FieldList<'a> {
    /// Empty.
    pub fn new() -> Self {
        FieldList { fields: [("", FieldValue::Bool(false)); FIELDS_MAX], count: 0 }
    }

    /// Adds a field that the type does not have.
    ///
    /// # Panics
    /// More than 20 fields.
    pub fn push(&mut self, name: &'a str, value: FieldValue<'a>) {
        self.fields[self.count] = (name, value);
        self.count += 1;
    }

    pub(super) fn push_some<T: AsField>(&mut self, name: &'a str, value: &'a T) {
        if let Some(value) = value.as_field() {
            self.push(name, value);
        }
    }
}

impl Default for FieldList<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> std::ops::Deref for FieldList<'a> {
    type Target = [(&'a str, FieldValue<'a>)];

    fn deref(&self) -> &Self::Target {
        &self.fields[..self.count]
    }
}

/// What a field of a typed header writes; `None` leaves it out.
pub(super) trait AsField {
    fn as_field(&self) -> Option<FieldValue<'_>>;
}

impl AsField for Cow<'_, str> {
    fn as_field(&self) -> Option<FieldValue<'_>> {
        Some(FieldValue::Str(self))
    }
}

impl AsField for i32 {
    fn as_field(&self) -> Option<FieldValue<'_>> {
        Some(FieldValue::Int(i64::from(*self)))
    }
}

impl AsField for i64 {
    fn as_field(&self) -> Option<FieldValue<'_>> {
        Some(FieldValue::Int(*self))
    }
}

impl AsField for bool {
    fn as_field(&self) -> Option<FieldValue<'_>> {
        Some(FieldValue::Bool(*self))
    }
}

impl<T: AsField> AsField for Option<T> {
    fn as_field(&self) -> Option<FieldValue<'_>> {
        self.as_ref().and_then(AsField::as_field)
    }
}

/// The Rust type of a field.
macro_rules! field_type {
    ($lifetime:lifetime required $type:ident) => { field_type!($lifetime $type) };
    ($lifetime:lifetime optional $type:ident) => { Option<field_type!($lifetime $type)> };
    ($lifetime:lifetime text) => { std::borrow::Cow<$lifetime, str> };
    ($lifetime:lifetime int) => { i32 };
    ($lifetime:lifetime long) => { i64 };
    ($lifetime:lifetime boolean) => { bool };
}

/// Reads a field of the wire.
macro_rules! field_read {
    (text $field:ident) => {
        $field.value()
    };
    (int $field:ident) => {
        $field.int()?
    };
    (long $field:ident) => {
        $field.long()?
    };
    (boolean $field:ident) => {
        $field.boolean()
    };
}

/// Unwraps what was read.
macro_rules! field_take {
    (required $value:ident $wire:literal) => {
        $value.ok_or($crate::command::FieldError::Missing { field: $wire })?
    };
    (optional $value:ident $wire:literal) => {
        $value
    };
}

/// Reader and writer of a header type.
macro_rules! header_methods {
    ($lifetime:lifetime $( $field:ident: $need:ident $type:ident $wire:literal, )*) => {
        /// Reads the header of a command.
        ///
        /// # Errors
        /// A field that must be there is missing, or one that must be a number is none.
        pub fn from_command(
            command: &$crate::command::Command<$lifetime>,
        ) -> Result<Self, $crate::command::FieldError> {
            $( let mut $field = None; )*
            for entry in command.fields() {
                match entry.key().as_ref() {
                    $( $wire => $field = Some(field_read!($type entry)), )*
                    _ => {}
                }
            }
            Ok(Self { $( $field: field_take!($need $field $wire), )* })
        }

        /// Its fields for writing, those without a value left out.
        pub fn fields(&self) -> $crate::request::FieldList<'_> {
            let mut list = $crate::request::FieldList::new();
            $( list.push_some($wire, &self.$field); )*
            list
        }
    };
}

/// Header types that borrow text from their command.
macro_rules! headers {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$field_doc:meta])* $field:ident: $need:ident $type:ident $wire:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            $( $(#[$field_doc])* pub $field: field_type!('a $need $type), )*
        }

        impl<'a> $name<'a> {
            header_methods!('a $( $field: $need $type $wire, )*);
        }
    )* };
}

/// Header types of numbers and booleans only.
macro_rules! number_headers {
    ($( $(#[$doc:meta])* $name:ident { $( $(#[$field_doc:meta])* $field:ident: $need:ident $type:ident $wire:literal, )* } )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: field_type!('static $need $type), )*
        }

        impl $name {
            header_methods!('_ $( $field: $need $type $wire, )*);
        }
    )* };
}
