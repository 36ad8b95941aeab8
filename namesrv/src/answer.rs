//! What a request is answered with, before it is written to a connection.

use bytes::Bytes;
use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Response code.
    pub code: i32,
    /// Error text.
    pub remark: Option<String>,
    /// Header fields.
    pub fields: Vec<(&'static str, String)>,
    /// Body; may be empty.
    pub body: Bytes,
}

impl Answer {
    /// Code 0 and nothing else.
    #[must_use]
    pub fn success() -> Self {
        Self { code: response::SUCCESS, remark: None, fields: Vec::new(), body: Bytes::new() }
    }

    /// Code 0 and a body.
    #[must_use]
    pub fn with_body(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::success() }
    }

    /// Another code, with the reason.
    #[must_use]
    pub fn refused(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: Some(remark.into()), ..Self::success() }
    }

    /// Code 1, with the reason.
    #[must_use]
    pub fn error(remark: impl Into<String>) -> Self {
        Self::refused(response::SYSTEM_ERROR, remark)
    }

    /// Adds a header field.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }
}

/// A header field that the request cannot do without.
///
/// # Errors
/// The answer to a request that lacks it.
pub(crate) fn required(command: &Command<'_>, name: &str) -> Result<String, Answer> {
    let missing = || Answer::error(format!("the custom field <{name}> is null"));
    command.field(name).map(std::borrow::Cow::into_owned).ok_or_else(missing)
}
