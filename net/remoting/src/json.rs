//! The JSON dialect of the reference (fastjson): what its peers write is read, and what they read is written.
//!
//! Beyond the standard, the reader takes: keys without quotes (numbers, words), whole objects as keys, single
//! quotes, superfluous commas, numbers with Java's type letters, numbers as strings and strings as numbers
//! (in the typed getters), control characters inside strings. It does not recurse beyond [`NESTING_MAX`] nor
//! make more than [`VALUES_MAX`] values.
//!
//! The writer gives the reference's exact text: no white space, members in alphabetical order (the order of
//! the types' tables), null members left out, numeric keys without quotes. [`Style::Standard`] quotes all
//! keys and escapes what is not ASCII: the form of routes for clients from 4.9.4 on.

mod decode;
mod parse;
mod value;
mod write;

pub use decode::{FromJson, FromKey, JsonError};
pub use parse::parse;
pub use value::Value;
pub(crate) use write::write_string;
pub use write::{Style, ToJson, ToKey, Writer};

/// Deepest nesting of arrays and objects. The deepest real body (a register body) has six levels.
pub const NESTING_MAX: usize = 64;
/// Most values in one text. The largest real bodies are topic tables: about ten values for each topic.
pub const VALUES_MAX: usize = 1 << 22;

/// The text of a value in the reference's form.
pub fn to_text(value: &(impl ToJson + ?Sized)) -> String {
    Writer::text_of(value, Style::Reference)
}

#[cfg(test)]
mod tests;
