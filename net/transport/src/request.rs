//! A request and its response as a client holds them: owned, so that they outlive a wait.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use ringmq_remoting::command::{Command, SerializeType};
use ringmq_remoting::encode::{FieldValue, write_request};
use ringmq_remoting::frame::FrameError;

/// A request to be sent by [`crate::Client`].
#[derive(Debug, Clone)]
pub struct Request {
    code: i32,
    serialize: SerializeType,
    fields: Vec<(Cow<'static, str>, Value)>,
    body: Bytes,
}

#[derive(Debug, Clone)]
enum Value {
    Str(String),
    Int(i64),
    Bool(bool),
}

impl Request {
    /// Without fields and body, its header in JSON.
    #[must_use]
    pub fn new(code: i32) -> Self {
        Self { code, serialize: SerializeType::Json, fields: Vec::new(), body: Bytes::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn str(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), Value::Str(value.into())));
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn int(mut self, name: impl Into<Cow<'static, str>>, value: i64) -> Self {
        self.fields.push((name.into(), Value::Int(value)));
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn bool(mut self, name: impl Into<Cow<'static, str>>, value: bool) -> Self {
        self.fields.push((name.into(), Value::Bool(value)));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets how the header is written.
    #[must_use]
    pub fn serialize(mut self, serialize: SerializeType) -> Self {
        self.serialize = serialize;
        self
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// The whole frame.
    #[must_use]
    pub fn encode(&self, opaque: i32, oneway: bool) -> Bytes {
        let fields: Vec<(&str, FieldValue<'_>)> = self
            .fields
            .iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::Str(text) => FieldValue::Str(text),
                    Value::Int(number) => FieldValue::Int(*number),
                    Value::Bool(flag) => FieldValue::Bool(*flag),
                };
                (&**name, value)
            })
            .collect();
        let mut frame = BytesMut::new();
        write_request(&mut frame, self.serialize, self.code, opaque, oneway, &fields, &self.body);
        frame.freeze()
    }
}

/// A response that was read once without error.
#[derive(Debug, Clone)]
pub struct OwnedResponse {
    frame: Bytes,
    code: i32,
    body_bytes: usize,
}

impl OwnedResponse {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// As [`Command::parse`].
    pub fn parse(frame: Bytes) -> Result<Self, FrameError> {
        let command = Command::parse(&frame)?;
        let (code, body_bytes) = (command.code, command.body.len());
        Ok(Self { frame, code, body_bytes })
    }

    /// Response code.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.code
    }

    /// All of it, read in place.
    #[must_use]
    pub fn command(&self) -> Command<'_> {
        Command::parse(&self.frame).expect("the frame has been read before and does not change")
    }

    /// Error text or note; empty when absent.
    #[must_use]
    pub fn remark(&self) -> String {
        self.command().remark.map(Cow::into_owned).unwrap_or_default()
    }

    /// A header field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.command().field(name).map(Cow::into_owned)
    }

    /// The body, by reference.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.frame.slice(self.frame.len() - self.body_bytes..)
    }
}
