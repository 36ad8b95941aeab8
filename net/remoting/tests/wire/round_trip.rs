//! What is written is read back, for any content.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use ringmq_remoting::code::Language;
use ringmq_remoting::command::{Command, SerializeType};
use ringmq_remoting::encode::{FieldValue, Header};
use ringmq_remoting::json::{self, Style, Value, Writer};
use ringmq_remoting::record::properties::{self, PropertiesWriter};
use ringmq_remoting::record::{RecordDraft, RecordView, batch, message_id};
use ringmq_remoting::{FRAME_BYTES_MAX, FrameAssembler};

fn languages() -> impl Strategy<Value = Language> {
    (0u8..14).prop_map(Language::from_byte)
}

fn hosts() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

/// Values that the reference's text can carry: no NaN, and keys of every kind.
fn values() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
        any::<String>().prop_map(|text| Value::Str(text.into())),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let key = prop_oneof![
            any::<String>().prop_map(|text| Value::Str(text.into())),
            any::<i64>().prop_map(Value::Int),
            vec(
                ("[a-z]{1,4}".prop_map(|text| Value::Str(text.into())), any::<i64>().prop_map(Value::Int)),
                0..3
            )
            .prop_map(Value::Object),
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((key, inner), 0..6).prop_map(Value::Object)
        ]
    })
}

proptest! {
    #[test]
    fn commands(
        json in any::<bool>(),
        (code, version) in (any::<i16>(), any::<i16>()),
        language in languages(),
        (opaque, flag) in (any::<i32>(), any::<i32>()),
        remark in option::of(any::<String>()),
        fields in vec((any::<String>(), any::<String>()), 0..40),
        body in vec(any::<u8>(), 0..200),
    ) {
        let list: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), FieldValue::Str(value))).collect();
        let serialize = if json { SerializeType::Json } else { SerializeType::RocketMq };
        // A request code that could be a cut one is read as the one it was cut from.
        let flag = if json { flag } else { flag | 1 };
        let header = Header {
            serialize, code: i32::from(code), language, version: i32::from(version), opaque, flag,
            remark: remark.as_deref(), fields: Some(&list),
        };
        let mut out = BytesMut::from(&b"before"[..]);
        header.write(&mut out, body.len());
        out.extend_from_slice(&body);
        let command = Command::parse(&out[6..]).expect("what was written");
        prop_assert_eq!((command.code, command.version), (i32::from(code), i32::from(version)));
        prop_assert_eq!((command.language, command.opaque, command.flag), (language, opaque, flag));
        prop_assert_eq!(command.body, &body[..]);
        // The binary encoding cannot tell an empty text from none.
        let carried = |text: &&str| json || !text.is_empty();
        prop_assert_eq!(command.remark.as_deref(), remark.as_deref().filter(carried));
        let read: Vec<_> = command.fields().map(|field| (field.key().into_owned(), field.value().into_owned())).collect();
        let expected: Vec<_> = fields.iter().filter(|(_, value)| carried(&value.as_str())).cloned().collect();
        prop_assert_eq!(read, expected);
        for (key, _) in &fields {
            let last = fields.iter().rfind(|(other, _)| other == key).map(|(_, value)| value.as_str());
            let found = command.field(key);
            prop_assert_eq!(found.as_deref(), last.filter(carried));
        }
    }

    #[test]
    fn streams(sizes in vec(0usize..3000, 1..10), cuts in vec(1usize..2000, 1..30)) {
        let mut stream = Vec::new();
        for size in &sizes {
            stream.extend_from_slice(&(*size as u32 + 4).to_be_bytes());
            stream.extend(std::iter::repeat_n(*size as u8, size + 4));
        }
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        let mut seen = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (part, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            let fed = assembler.feed(part, |frame| {
                seen.push(frame.len() - 8);
                ControlFlow::Continue(())
            });
            prop_assert_eq!(fed, Ok(()));
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(seen, sizes);
    }

    #[test]
    fn records(
        topic in "[%a-zA-Z0-9_-]{0,300}",
        (queue_id, flag, sys_flag, reconsume_times) in (any::<i32>(), any::<i32>(), any::<i32>(), any::<i32>()),
        (born_timestamp, prepared_transaction_offset) in (any::<i64>(), any::<i64>()),
        (queue_offset, physical_offset, store_timestamp) in (any::<i64>(), any::<i64>(), any::<i64>()),
        (born_host, store_host) in (hosts(), hosts()),
        body in vec(any::<u8>(), 0..500),
        properties in "\\PC{0,80}",
    ) {
        let draft = RecordDraft {
            topic: &topic, queue_id, flag, sys_flag, born_timestamp, born_host, store_host, reconsume_times,
            prepared_transaction_offset, body: &body, properties: &properties,
        };
        let mut out = vec![0xEE; draft.encoded_bytes()];
        prop_assert_eq!(draft.encode(&mut out, queue_offset, physical_offset, store_timestamp), out.len());
        let view = RecordView::parse(&out).expect("what was written");
        prop_assert_eq!(view.check_crc(), Ok(()));
        prop_assert_eq!((view.queue_offset(), view.physical_offset()), (queue_offset, physical_offset));
        prop_assert_eq!(view.store_timestamp(), store_timestamp);
        let read = view.properties();
        let again = view.draft(&read);
        prop_assert_eq!(again.sys_flag & !0x30, sys_flag & !0x30);
        let hosts_only = RecordDraft { sys_flag, ..again };
        prop_assert_eq!(hosts_only, draft);
    }

    #[test]
    fn properties_text(pairs in vec(("[^\u{1}\u{2}]{1,8}", "[^\u{1}\u{2}]{1,8}"), 0..8), name in "[^\u{1}\u{2}]{1,8}") {
        let mut writer = PropertiesWriter::new();
        for (key, value) in &pairs {
            writer.push(key, value);
        }
        let read: Vec<_> = properties::iter(writer.as_str()).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(&read, &pairs);
        writer.set(&name, "new");
        prop_assert_eq!(properties::get(writer.as_str(), &name), Some("new"));
        prop_assert_eq!(properties::iter(writer.as_str()).filter(|(key, _)| *key == name).count(), 1);
    }

    #[test]
    fn json_values(value in values()) {
        let text = Writer::text_of(&value, Style::Reference);
        prop_assert_eq!(&json::parse(text.as_bytes()).expect("what was written"), &value);
        prop_assert!(Writer::text_of(&value, Style::Standard).is_ascii());
    }

    #[test]
    fn message_ids(host in hosts(), offset in any::<i64>()) {
        prop_assert_eq!(message_id::decode(&message_id::encode(host, offset)), Some((host, offset)));
    }

    #[test]
    fn batches(entries in vec((any::<i32>(), vec(any::<u8>(), 0..50), "\\PC{0,30}"), 0..6)) {
        let mut body = Vec::new();
        for (flag, message, properties) in &entries {
            batch::write_entry(&mut body, *flag, message, properties);
        }
        let read: Vec<_> = batch::entries(&body).map(|entry| entry.expect("what was written")).collect();
        prop_assert_eq!(read.len(), entries.len());
        for (entry, (flag, message, properties)) in read.iter().zip(&entries) {
            prop_assert_eq!((entry.flag, entry.body, &*entry.properties), (*flag, &message[..], properties.as_str()));
        }
    }
}
