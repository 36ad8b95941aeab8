//! Message filters: by tag, as the queue index can tell, and by SQL92 conditions on message properties.
//!
//! [`Expression`] is pure: no I/O, no clock, bounded in everything, so that a fuzzer reaches all of it. What it answers is what
//! the Apache broker's filter module answers, its oddities included, because consumers see which messages they get:
//! `tests/golden/filter` holds that module's answers to some hundred questions.
//!
//! # Logic
//! A condition is true, false or unknown. A missing property is unknown in comparisons, in `=` to its left only; `IS NULL`,
//! `CONTAINS` and their like answer true or false even then. AND and OR are Kleene's and stop at the first side that decides.
//! A comparison that is impossible for this message (a text that is not the number it is compared with) ends the whole evaluation:
//! see [`EvaluationError`]. Only a whole that is true matches.
//!
//! | module | what it holds |
//! |---|---|
//! | `lexer`, `parser` | text to program |
//! | `program` | evaluation |
//! | `value`, `number` | Java's comparisons and numbers |
//! | `error` | what can be wrong |
//! | `tags` | tag filters |
//! | `selection` | either kind, as the store asks it |
//! | `cache` | expressions that come with every pull |

mod cache;
mod error;
mod lexer;
mod number;
mod parser;
mod program;
mod selection;
mod tags;
mod value;

pub(crate) use cache::ExpressionCache;
pub use error::{EvaluationError, ExpressionError};
pub(crate) use selection::MessageFilter;
pub(crate) use tags::TagFilter;

use program::Program;

/// Longest expression, bytes.
pub const EXPRESSION_BYTES_MAX: usize = 64 << 10;

/// Parentheses and prefix operators inside each other. The parser recurses that deep: a few hundred bytes of stack each.
pub const DEPTH_MAX: usize = 128;

/// Operations of a compiled expression: some eight hundred comparisons. A list after IN counts as one.
pub const OPERATIONS_MAX: usize = 4096;
/// Jumps and numbers of constants are 16 bits wide.
const _: () = assert!(OPERATIONS_MAX <= u16::MAX as usize);

/// A compiled SQL92 condition on message properties. Equal if the texts are.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    program: Program,
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    /// See [`ExpressionError`]: it is not an expression, or exceeds a limit.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong { bytes: text.len() });
        }
        Ok(Self { program: parser::parse(text)?, text: text.into() })
    }

    /// What it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Operations of the whole: at most so many are done for one message.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.program.operations.len()
    }

    /// What it says of a message with this properties text (see [`ringmq_remoting::record::properties`]); `None`: unknown.
    ///
    /// # Errors
    /// See [`EvaluationError`].
    pub fn evaluate(&self, properties: &str) -> Result<Option<bool>, EvaluationError> {
        self.program.run(properties)
    }

    /// Whether a consumer with this expression gets a message with this properties text.
    #[must_use]
    pub fn matches(&self, properties: &str) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

#[cfg(test)]
mod tests;
