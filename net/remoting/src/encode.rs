//! Writing requests and responses, in both header encodings.
//!
//! JSON headers come out as the reference writes them: members in alphabetical order, null ones left out, no
//! white space. Header fields keep the order in which they are given (the reference's is that of a Java hash
//! map). The language is `JAVA` everywhere: see [`Language`].

pub(crate) mod number;

use bytes::{BufMut, BytesMut};

use crate::code::{Language, request, version};
use crate::command::{FLAG_ONEWAY, FLAG_RESPONSE, SerializeType};
use crate::frame::PREFIX_BYTES;
use crate::json::write_string;

use number::Decimal;

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

/// A header to be written.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Encoding.
    pub serialize: SerializeType,
    /// Request or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Version ordinal of the sender.
    pub version: i32,
    /// Correlation id.
    pub opaque: i32,
    /// See [`crate::command::FLAG_RESPONSE`].
    pub flag: i32,
    /// Error text or note.
    pub remark: Option<&'a str>,
    /// Header fields; `None` leaves `extFields` out.
    pub fields: Option<&'a [(&'a str, FieldValue<'a>)]>,
}

/// Appends length, header length and header of a response to `out`. The caller appends exactly `body_bytes`
/// of body behind it, or queues them right behind `out`.
pub fn write_response(
    out: &mut BytesMut,
    to: ResponseTo,
    code: i32,
    remark: Option<&str>,
    fields: &[(&str, FieldValue<'_>)],
    body_bytes: usize,
) {
    Header {
        serialize: to.serialize,
        code,
        language: Language::Java,
        version: version::CURRENT,
        opaque: to.opaque,
        flag: FLAG_RESPONSE,
        remark,
        fields: (!fields.is_empty()).then_some(fields),
    }
    .write(out, body_bytes);
}

/// Appends a whole request frame to `out`.
///
/// Request codes above 32 767 do not fit the ROCKETMQ encoding: such a request goes out as JSON, which every
/// peer reads.
pub fn write_request(
    out: &mut BytesMut,
    serialize: SerializeType,
    code: i32,
    opaque: i32,
    oneway: bool,
    fields: &[(&str, FieldValue<'_>)],
    body: &[u8],
) {
    let fits = i16::try_from(code).is_ok() && request::restore_truncated(code) == code;
    Header {
        serialize: if fits { serialize } else { SerializeType::Json },
        code,
        language: Language::Java,
        version: version::CURRENT,
        opaque,
        flag: if oneway { FLAG_ONEWAY } else { 0 },
        remark: None,
        fields: (!fields.is_empty()).then_some(fields),
    }
    .write(out, body.len());
    out.put_slice(body);
}

impl Header<'_> {
    /// Appends everything of a frame but its body, of which the caller appends exactly `body_bytes`.
    ///
    /// # Panics
    /// The header is above 2^24 - 1 bytes or the frame above 2^32 - 1: the caller lets nothing near that
    /// through.
    pub fn write(&self, out: &mut BytesMut, body_bytes: usize) {
        let start = out.len();
        out.put_slice(&[0; PREFIX_BYTES]);
        match self.serialize {
            SerializeType::Json => self.write_json(out),
            SerializeType::RocketMq => self.write_binary(out),
        }
        let header_bytes = out.len() - start - PREFIX_BYTES;
        assert!(header_bytes < 1 << 24, "header of {header_bytes} bytes");
        let length = 4 + header_bytes + body_bytes;
        let length = u32::try_from(length).unwrap_or_else(|_| panic!("frame of {length} bytes"));
        let prefix = &mut out[start..start + PREFIX_BYTES];
        prefix[..4].copy_from_slice(&length.to_be_bytes());
        prefix[4..].copy_from_slice(&((self.serialize as u32) << 24 | header_bytes as u32).to_be_bytes());
    }

    fn write_json(&self, out: &mut BytesMut) {
        out.reserve(192);
        out.put_slice(b"{\"code\":");
        out.put_slice(Decimal::new(i64::from(self.code)).as_bytes());
        if let Some(fields) = self.fields {
            out.put_slice(b",\"extFields\":{");
            for (position, (key, value)) in fields.iter().enumerate() {
                if position > 0 {
                    out.put_u8(b',');
                }
                write_string(out, key);
                out.put_u8(b':');
                match value {
                    FieldValue::Str(text) => write_string(out, text),
                    FieldValue::Int(_) | FieldValue::Bool(_) => {
                        out.put_u8(b'"');
                        out.put_slice(value.text(&mut Decimal::new(0)));
                        out.put_u8(b'"');
                    }
                }
            }
            out.put_u8(b'}');
        }
        out.put_slice(b",\"flag\":");
        out.put_slice(Decimal::new(i64::from(self.flag)).as_bytes());
        out.put_slice(b",\"language\":\"");
        out.put_slice(self.language.name().as_bytes());
        out.put_slice(b"\",\"opaque\":");
        out.put_slice(Decimal::new(i64::from(self.opaque)).as_bytes());
        if let Some(remark) = self.remark {
            out.put_slice(b",\"remark\":");
            write_string(out, remark);
        }
        out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        out.put_slice(Decimal::new(i64::from(self.version)).as_bytes());
        out.put_u8(b'}');
    }

    fn write_binary(&self, out: &mut BytesMut) {
        // The code field has 16 bits; codes beyond them are cut, as the reference cuts them.
        out.put_i16(self.code as i16);
        out.put_u8(self.language.byte());
        out.put_i16(self.version as i16);
        out.put_i32(self.opaque);
        out.put_i32(self.flag);
        put_text(out, self.remark.unwrap_or_default().as_bytes());
        let length_at = out.len();
        out.put_u32(0);
        for (key, value) in self.fields.unwrap_or_default() {
            let key_bytes = u16::try_from(key.len()).unwrap_or_else(|_| panic!("key of {} bytes", key.len()));
            out.put_u16(key_bytes);
            out.put_slice(key.as_bytes());
            put_text(out, value.text(&mut Decimal::new(0)));
        }
        let fields_bytes = (out.len() - length_at - 4) as u32;
        out[length_at..length_at + 4].copy_from_slice(&fields_bytes.to_be_bytes());
    }
}

impl<'a> FieldValue<'a> {
    /// Its text; `digits` holds it if it must be made.
    fn text<'t>(&self, digits: &'t mut Decimal) -> &'t [u8]
    where
        'a: 't,
    {
        match *self {
            FieldValue::Str(text) => text.as_bytes(),
            FieldValue::Bool(true) => b"true",
            FieldValue::Bool(false) => b"false",
            FieldValue::Int(number) => {
                *digits = Decimal::new(number);
                digits.as_bytes()
            }
        }
    }
}

fn put_text(out: &mut BytesMut, text: &[u8]) {
    out.put_u32(text.len() as u32);
    out.put_slice(text);
}
