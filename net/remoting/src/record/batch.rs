//! The body of a batch send: entries one behind the other.

use std::borrow::Cow;

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Message body.
    pub body: &'a [u8],
    /// Properties text; bytes that are not UTF-8 are replaced.
    pub properties: Cow<'a, str>,
}

/// Why a batch body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[error("batch entry at byte {position}: {what}")]
pub struct BatchError {
    /// Where the bad entry starts.
    pub position: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// The entries of a batch body. After the first error the iterator ends.
pub fn entries(body: &[u8]) -> impl Iterator<Item = Result<BatchEntry<'_>, BatchError>> {
    let _ = body;
    std::iter::empty()
}

/// Appends one entry to a batch body.
pub fn write_entry(out: &mut Vec<u8>, flag: i32, body: &[u8], properties: &str) {
    let _ = (out, flag, body, properties);
    todo!()
}
