//! Send requests made once and patched per message.
//!
//! A load generator must cost less than the broker that it loads. All requests for one topic are equal but for a few
//! numbers, so each is encoded once, with those numbers at a fixed width, and a send patches them and copies the bytes.

use bytes::BytesMut;
use ringmq_remoting::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2};
use ringmq_remoting::command::SerializeType;
use ringmq_remoting::encode::{FieldValue, write_request};

/// Opaque numbers start here, so that they always have ten digits in JSON.
pub const OPAQUE_FIRST: i32 = 1_000_000_000;
/// A wall clock in milliseconds has 13 digits until the year 2286.
const BORN_PLACEHOLDER: &str = "1111111111111";
/// Queue ids are sent with leading zeros, which both brokers read as numbers.
const QUEUE_PLACEHOLDER: &str = "22222";
/// Queues of one topic that the placeholder has digits for.
pub const QUEUES_MAX: u32 = 100_000;
/// 32 hexadecimal digits, the last 16 of them the message's number.
const UNIQUE_PREFIX: &str = "7F00000152514D42";
const NUMBER_PLACEHOLDER: &str = "00000000FEEDF00D";

/// Bytes at the head of each body: wall clock in microseconds at which the message was due, big-endian, and a mark.
pub const STAMP_BYTES: usize = 16;
/// Tells our bodies from other people's in a shared topic.
pub const STAMP_MARK: u64 = 0x524d_5142_454e_4348;

/// What a template is made for.
#[derive(Debug, Clone, Copy)]
pub struct TemplateSpec<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Its queues.
    pub queues: u32,
    /// Body bytes per message, at least [`STAMP_BYTES`].
    pub body_bytes: usize,
    /// Messages per request; above 1 the request is a batch.
    pub batch: usize,
    /// Header encoding.
    pub serialize: SerializeType,
}

/// One encoded request and the places in it that change.
#[derive(Debug)]
pub struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    opaque_is_binary: bool,
    queue_at: usize,
    born_at: usize,
    number_at: Vec<usize>,
    stamp_at: Vec<usize>,
    /// Queues of the topic, for the load generator's own use.
    pub queues: u32,
    /// Messages per request.
    pub messages: usize,
    /// Index of the broker that the topic's queues live on, for the load generator's own use.
    pub broker: usize,
}

impl Template {
    /// Encodes the request.
    #[must_use]
    pub fn new(spec: &TemplateSpec<'_>, broker: usize) -> Self {
        assert!(spec.body_bytes >= STAMP_BYTES && spec.batch >= 1);
        assert!((1..=QUEUES_MAX).contains(&spec.queues), "{} queues", spec.queues);
        let properties = format!("UNIQ_KEY\u{1}{UNIQUE_PREFIX}{NUMBER_PLACEHOLDER}\u{2}WAIT\u{1}true\u{2}");
        let body = if spec.batch == 1 { vec![b'x'; spec.body_bytes] } else { batch_body(spec, &properties) };
        let batch = spec.batch > 1;
        let fields = [
            ("a", FieldValue::Str("rmq-bench")),
            ("b", FieldValue::Str(spec.topic)),
            ("c", FieldValue::Str("TBW102")),
            ("d", FieldValue::Str("4")),
            ("e", FieldValue::Str(QUEUE_PLACEHOLDER)),
            ("f", FieldValue::Str("0")),
            ("g", FieldValue::Str(BORN_PLACEHOLDER)),
            ("h", FieldValue::Str("0")),
            ("i", FieldValue::Str(if batch { "" } else { &properties })),
            ("j", FieldValue::Str("0")),
            ("k", FieldValue::Str("false")),
            ("m", FieldValue::Str(if batch { "true" } else { "false" })),
        ];
        let code = if batch { SEND_BATCH_MESSAGE } else { SEND_MESSAGE_V2 };
        let mut out = BytesMut::new();
        write_request(&mut out, spec.serialize, code, OPAQUE_FIRST, false, &fields, &body);
        let bytes = out.to_vec();
        let header_bytes = bytes.len() - body.len();

        let opaque_is_binary = spec.serialize == SerializeType::RocketMq;
        let opaque_at = if opaque_is_binary {
            // length 4, type and header length 4, code 2, language 1, version 2
            13
        } else {
            let digits = OPAQUE_FIRST.to_string();
            find(&bytes[..header_bytes], format!("\"opaque\":{digits}").as_bytes()).expect("own header") + 9
        };
        let queue_at = find_field(&bytes[..header_bytes], opaque_is_binary, "e", QUEUE_PLACEHOLDER);
        let born_at = find(&bytes[..header_bytes], BORN_PLACEHOLDER.as_bytes()).expect("own header");
        let number_at = find_all(&bytes, NUMBER_PLACEHOLDER.as_bytes());
        assert_eq!(number_at.len(), spec.batch, "one unique key per message");
        let stamp_at = if batch { batch_stamps(&bytes, header_bytes, spec) } else { vec![header_bytes] };
        let mut template = Self {
            bytes,
            opaque_at,
            opaque_is_binary,
            queue_at,
            born_at,
            number_at,
            stamp_at,
            queues: spec.queues,
            messages: spec.batch,
            broker,
        };
        for &at in &template.stamp_at {
            template.bytes[at + 8..at + 16].copy_from_slice(&STAMP_MARK.to_be_bytes());
        }
        template
    }

    /// Patches the request and appends it to `out`. `due_us` is the wall clock in microseconds at which it was due;
    /// messages get the numbers `first_number`, `first_number + 1`, …
    pub fn write(&mut self, out: &mut BytesMut, opaque: i32, queue_id: u32, due_us: u64, first_number: u64) {
        if self.opaque_is_binary {
            self.bytes[self.opaque_at..self.opaque_at + 4].copy_from_slice(&opaque.to_be_bytes());
        } else {
            put_decimal(
                &mut self.bytes[self.opaque_at..self.opaque_at + 10],
                u64::from(opaque.unsigned_abs()),
            );
        }
        let queue_digits = self.queue_at..self.queue_at + QUEUE_PLACEHOLDER.len();
        put_decimal(&mut self.bytes[queue_digits], u64::from(queue_id));
        put_decimal(&mut self.bytes[self.born_at..self.born_at + 13], due_us / 1000);
        for (k, &at) in self.number_at.iter().enumerate() {
            put_hex(&mut self.bytes[at..at + 16], first_number + k as u64);
        }
        for &at in &self.stamp_at {
            self.bytes[at..at + 8].copy_from_slice(&due_us.to_be_bytes());
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// Entry layout: total size, magic, body CRC, flag, body length, body, properties length, properties.
fn batch_entry_bytes(body: usize, properties: usize) -> usize {
    4 + 4 + 4 + 4 + 4 + body + 2 + properties
}

fn batch_body(spec: &TemplateSpec<'_>, properties: &str) -> Vec<u8> {
    let entry = batch_entry_bytes(spec.body_bytes, properties.len());
    let mut body = Vec::with_capacity(entry * spec.batch);
    for _ in 0..spec.batch {
        body.extend_from_slice(&u32::try_from(entry).expect("entry below 4 GiB").to_be_bytes());
        body.extend_from_slice(&[0; 12]);
        body.extend_from_slice(&u32::try_from(spec.body_bytes).expect("body below 4 GiB").to_be_bytes());
        body.resize(body.len() + spec.body_bytes, b'x');
        body.extend_from_slice(&u16::try_from(properties.len()).expect("short").to_be_bytes());
        body.extend_from_slice(properties.as_bytes());
    }
    body
}

fn batch_stamps(bytes: &[u8], header_bytes: usize, spec: &TemplateSpec<'_>) -> Vec<usize> {
    let entry = (bytes.len() - header_bytes) / spec.batch;
    (0..spec.batch).map(|k| header_bytes + k * entry + 20).collect()
}

/// Where the value of a header field begins; topics and properties may hold the same digits.
fn find_field(header: &[u8], is_binary: bool, key: &str, value: &str) -> usize {
    let mut field = if is_binary {
        // length of the key in 2 bytes, key, length of the value in 4 bytes, value
        let mut field = (key.len() as u16).to_be_bytes().to_vec();
        field.extend(key.as_bytes());
        field.extend((value.len() as u32).to_be_bytes());
        field
    } else {
        format!("\"{key}\":\"").into_bytes()
    };
    let before = field.len();
    field.extend(value.as_bytes());
    find(header, &field).expect("own header") + before
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&haystack[from..], needle) {
        found.push(from + at);
        from += at + needle.len();
    }
    found
}

fn put_decimal(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn put_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789ABCDEF"[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_remoting::command::Command;

    fn check(serialize: SerializeType, batch: usize) {
        let spec = TemplateSpec { topic: "T-22222", queues: 400, body_bytes: 64, batch, serialize };
        let mut template = Template::new(&spec, 0);
        let mut out = BytesMut::new();
        template.write(&mut out, OPAQUE_FIRST + 77, 321, 1_700_000_000_123_456, 0xABC);
        let command = Command::parse(&out).expect("own frame");
        assert_eq!(command.opaque, OPAQUE_FIRST + 77);
        assert_eq!(command.field("e").as_deref(), Some("00321"));
        assert_eq!(command.int("e").expect("a number"), Some(321));
        assert_eq!(command.field("b").as_deref(), Some("T-22222"));
        assert_eq!(command.field("g").as_deref(), Some("1700000000123"));
        let body = command.body;
        let first = if batch == 1 { body } else { &body[20..] };
        assert_eq!(first[..8], 1_700_000_000_123_456_u64.to_be_bytes());
        assert_eq!(first[8..16], STAMP_MARK.to_be_bytes());
        let text = String::from_utf8_lossy(&out);
        for k in 0..batch {
            assert!(text.contains(&format!("{UNIQUE_PREFIX}{:016X}", 0xABC + k)), "message {k}");
        }
    }

    #[test]
    fn patched_requests_parse_in_both_encodings() {
        check(SerializeType::Json, 1);
        check(SerializeType::RocketMq, 1);
        check(SerializeType::Json, 5);
    }
}
