use bytes::BytesMut;

use super::*;
use crate::code::request;
use crate::command::{Command, SerializeType};
use crate::encode::{FieldValue, write_request};

fn send() -> SendHeader<'static> {
    SendHeader {
        producer_group: "PG".into(),
        topic: "T".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: -1,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: "TAGS\u{1}A\u{2}".into(),
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: Some(3),
        batch: true,
        broker_name: Some("broker-a".into()),
    }
}

#[test]
fn sends_round_trip_in_all_forms() {
    for code in [request::SEND_MESSAGE, request::SEND_MESSAGE_V2, request::SEND_BATCH_MESSAGE] {
        for serialize in [SerializeType::Json, SerializeType::RocketMq] {
            let mut out = BytesMut::new();
            write_request(&mut out, serialize, code, 1, false, &send().fields(code), b"body");
            let command = Command::parse(&out).expect("what was written");
            assert_eq!(SendHeader::from_command(&command), Ok(send()), "{code} {serialize:?}");
            assert_eq!((command.code, command.body), (code, &b"body"[..]));
        }
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    #[track_caller]
    fn check(fields: &[(&str, FieldValue<'_>)], expected: &str) {
        let mut out = BytesMut::new();
        write_request(&mut out, SerializeType::Json, request::PULL_MESSAGE, 1, false, fields, b"");
        let command = Command::parse(&out).expect("what was written");
        assert_eq!(PullHeader::from_command(&command).expect_err("incomplete").to_string(), expected);
    }
    check(&[], "header field consumerGroup is missing");
    check(&[("consumerGroup", FieldValue::Str("g"))], "header field topic is missing");
    check(&[("queueId", FieldValue::Str("x1"))], "header field queueId: \"x1\" is not a number");

    let mut out = BytesMut::new();
    for (code, name) in [(request::SEND_MESSAGE, "producerGroup"), (request::SEND_MESSAGE_V2, "a")] {
        out.clear();
        write_request(&mut out, SerializeType::Json, code, 1, false, &[], b"");
        let command = Command::parse(&out).expect("what was written");
        assert_eq!(SendHeader::from_command(&command), Err(FieldError::Missing { field: name }));
    }
}

#[test]
fn optional_fields_are_left_out_and_unknown_ones_skipped() {
    let header = GetRouteHeader { topic: "T".into(), accept_standard_json_only: None };
    assert_eq!(*header.fields(), [("topic", FieldValue::Str("T"))]);
    let mut fields = header.fields();
    fields.push("ns", FieldValue::Str("x"));
    let mut out = BytesMut::new();
    write_request(&mut out, SerializeType::RocketMq, request::GET_ROUTEINFO_BY_TOPIC, 1, true, &fields, b"");
    let command = Command::parse(&out).expect("what was written");
    assert!(command.is_oneway());
    assert_eq!(GetRouteHeader::from_command(&command), Ok(header));
    let response = PullResponse {
        suggest_which_broker_id: 0,
        next_begin_offset: 5,
        min_offset: 0,
        max_offset: 9,
        offset_delta: None,
        topic_sys_flag: Some(0),
        group_sys_flag: Some(0),
        forbidden_type: None,
    };
    assert_eq!(response.fields().len(), 6);
}
