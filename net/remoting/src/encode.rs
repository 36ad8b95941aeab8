//! Writing requests and responses, in both header encodings.

use bytes::BytesMut;

use crate::command::SerializeType;

/// What a response repeats of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseTo {
    /// The request's correlation id.
    pub opaque: i32,
    /// The request's header encoding.
    pub serialize: SerializeType,
}

/// Value of a header field to write; the wire carries its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// Text as it is.
    Str(&'a str),
    /// Decimal.
    Int(i64),
    /// `true` or `false`.
    Bool(bool),
}

/// Appends length, header length and header of a response to `out`. The caller appends exactly `body_bytes` of body
/// behind it, or queues them right behind `out`.
pub fn write_response(
    out: &mut BytesMut,
    to: ResponseTo,
    code: i32,
    remark: Option<&str>,
    fields: &[(&str, FieldValue<'_>)],
    body_bytes: usize,
) {
    let _ = (out, to, code, remark, fields, body_bytes);
    todo!()
}

/// Appends a whole request frame to `out`.
pub fn write_request(
    out: &mut BytesMut,
    serialize: SerializeType,
    code: i32,
    opaque: i32,
    oneway: bool,
    fields: &[(&str, FieldValue<'_>)],
    body: &[u8],
) {
    let _ = (out, serialize, code, opaque, oneway, fields, body);
    todo!()
}
