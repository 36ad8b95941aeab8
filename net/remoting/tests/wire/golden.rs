//! Frames recorded from the real Apache RocketMQ (see `tests/golden/` at the root), compared both ways:
//! everything must parse, and what was parsed must come out as the identical bytes.

use crate::sessions::{Direction, Frame, sessions};
use bytes::BytesMut;
use ringmq_remoting::code::{request, response};
use ringmq_remoting::command::{Command, FieldError, SerializeType};
use ringmq_remoting::encode::{FieldValue, Header};
use ringmq_remoting::json::{self, Value};
use ringmq_remoting::record::{RecordDraft, RecordView, batch, properties, records};
use ringmq_remoting::request::*;
use ringmq_remoting::{FRAME_BYTES_MAX, FrameAssembler, body};

#[test]
fn streams_cut_into_the_recorded_frames() {
    for session in sessions() {
        for piece in [1, 1000, session.stream.len()] {
            let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
            let mut cut = Vec::new();
            for part in session.stream.chunks(piece) {
                let fed = assembler.feed(part, |frame| {
                    cut.push(frame.to_vec());
                    std::ops::ControlFlow::Continue(())
                });
                fed.expect("a recorded stream");
            }
            let expected: Vec<&[u8]> = session.frames.iter().map(|frame| &frame.bytes[..]).collect();
            assert_eq!(cut, expected, "{} in pieces of {piece}", session.name);
        }
    }
}

#[test]
fn headers_parse_and_re_encode_identically() {
    let mut compared = 0;
    for frame in sessions().iter().flat_map(|session| &session.frames) {
        let command = Command::parse(&frame.bytes).unwrap_or_else(|error| panic!("{frame}: {error}"));
        assert_eq!(command.is_response(), frame.response.is_some(), "{frame}");
        if frame.serialize == SerializeType::Json {
            assert_eq!(command.code, frame.response.unwrap_or(frame.request), "{frame}");
        }
        assert_eq!(command.serialize, frame.serialize, "{frame}");
        assert_eq!(re_encode(frame, &command), frame.bytes, "{frame}");
        compared += 1;
    }
    assert!(compared > 300, "{compared} frames");
}

/// The frame again, out of nothing but its parsed content.
fn re_encode(frame: &Frame, command: &Command<'_>) -> Vec<u8> {
    let texts: Vec<_> = command.fields().map(|field| (field.key(), field.value())).collect();
    let fields: Vec<_> = texts.iter().map(|(key, value)| (&**key, FieldValue::Str(value))).collect();
    let header = Header {
        serialize: command.serialize,
        code: command.code,
        language: command.language,
        version: command.version,
        opaque: command.opaque,
        flag: command.flag,
        remark: command.remark.as_deref(),
        // Whether an empty table was written or none is not part of the content.
        fields: (!fields.is_empty() || frame.contains(b"\"extFields\":{}")).then_some(&fields[..]),
    };
    let mut out = BytesMut::new();
    header.write(&mut out, command.body.len());
    out.extend_from_slice(command.body);
    out.to_vec()
}

/// A typed header must take every recorded command of its kind, and list nothing but what stood there.
fn check_header<'a>(frame: &Frame, command: &Command<'a>, fields: Result<Vec<(String, String)>, FieldError>) {
    let listed = fields.unwrap_or_else(|error| panic!("{frame}: {error}"));
    for (name, text) in listed {
        let recorded = command.field(&name);
        let is_default = recorded.is_none() && matches!(text.as_str(), "" | "0" | "false");
        assert!(
            is_default || recorded.as_deref() == Some(text.as_str()),
            "{frame}: {name} {text:?} {recorded:?}"
        );
    }
}

fn texts(fields: &FieldList<'_>) -> Vec<(String, String)> {
    let text = |value: &FieldValue<'_>| match value {
        FieldValue::Str(text) => (*text).to_owned(),
        FieldValue::Int(number) => number.to_string(),
        FieldValue::Bool(flag) => flag.to_string(),
    };
    fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
}

macro_rules! header {
    ($frame:expr, $command:expr, $type:ident) => {
        check_header($frame, $command, $type::from_command($command).map(|header| texts(&header.fields())))
    };
}

#[test]
fn typed_headers_take_every_recorded_command() {
    for frame in sessions().iter().flat_map(|session| &session.frames) {
        let command = &Command::parse(&frame.bytes).expect("parses");
        match (frame.request, frame.response) {
            (request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE, None) => {
                let header = SendHeader::from_command(command);
                check_header(frame, command, header.map(|header| texts(&header.fields(command.code))));
            }
            (
                request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE,
                Some(response::SUCCESS),
            ) => header!(frame, command, SendResponse),
            (request::PULL_MESSAGE | request::LITE_PULL_MESSAGE, None) => header!(frame, command, PullHeader),
            (request::PULL_MESSAGE | request::LITE_PULL_MESSAGE, Some(0 | 19..=21)) => {
                header!(frame, command, PullResponse)
            }
            (request::QUERY_CONSUMER_OFFSET, None) => header!(frame, command, QueryConsumerOffsetHeader),
            (request::UPDATE_CONSUMER_OFFSET, None) => header!(frame, command, UpdateConsumerOffsetHeader),
            (request::GET_MAX_OFFSET, None) => header!(frame, command, GetMaxOffsetHeader),
            (request::GET_MIN_OFFSET | request::GET_EARLIEST_MSG_STORETIME, None) => {
                header!(frame, command, QueueHeader)
            }
            (request::SEARCH_OFFSET_BY_TIMESTAMP, None) => header!(frame, command, SearchOffsetHeader),
            (
                request::QUERY_CONSUMER_OFFSET
                | request::GET_MAX_OFFSET
                | request::GET_MIN_OFFSET
                | request::SEARCH_OFFSET_BY_TIMESTAMP,
                Some(response::SUCCESS),
            ) => header!(frame, command, OffsetResponse),
            (request::GET_EARLIEST_MSG_STORETIME, Some(response::SUCCESS)) => {
                header!(frame, command, TimestampResponse)
            }
            (request::CONSUMER_SEND_MSG_BACK, None) => header!(frame, command, SendBackHeader),
            (request::UNREGISTER_CLIENT, None) => header!(frame, command, UnregisterClientHeader),
            (request::HEART_BEAT, Some(response::SUCCESS)) => header!(frame, command, HeartbeatResponse),
            (
                request::GET_CONSUMER_LIST_BY_GROUP
                | request::NOTIFY_CONSUMER_IDS_CHANGED
                | request::GET_CONSUMER_CONNECTION_LIST,
                None,
            ) => header!(frame, command, ConsumerGroupHeader),
            (request::VIEW_MESSAGE_BY_ID, None) => header!(frame, command, ViewMessageHeader),
            (request::QUERY_MESSAGE, None) => header!(frame, command, QueryMessageHeader),
            (request::QUERY_MESSAGE, Some(response::SUCCESS)) => {
                header!(frame, command, QueryMessageResponse)
            }
            (request::GET_ROUTEINFO_BY_TOPIC, None) => header!(frame, command, GetRouteHeader),
            (request::REGISTER_BROKER, None) => header!(frame, command, RegisterBrokerHeader),
            (request::REGISTER_BROKER, Some(response::SUCCESS)) => {
                header!(frame, command, RegisterBrokerResponse)
            }
            (request::UNREGISTER_BROKER | request::QUERY_DATA_VERSION, None) => {
                header!(frame, command, BrokerIdentityHeader)
            }
            (request::BROKER_HEARTBEAT, None) => header!(frame, command, BrokerHeartbeatHeader),
            (request::GET_BROKER_MEMBER_GROUP, None) => header!(frame, command, BrokerMemberGroupHeader),
            (request::UPDATE_AND_CREATE_TOPIC, None) => header!(frame, command, CreateTopicHeader),
            (request::GET_TOPIC_CONFIG, None) => header!(frame, command, GetTopicConfigHeader),
            (
                request::GET_TOPIC_STATS_INFO
                | request::DELETE_TOPIC_IN_BROKER
                | request::QUERY_TOPIC_CONSUME_BY_WHO
                | request::REGISTER_TOPIC_IN_NAMESRV,
                None,
            ) => header!(frame, command, TopicHeader),
            (request::DELETE_TOPIC_IN_NAMESRV, None) => header!(frame, command, DeleteTopicInNamesrvHeader),
            (request::GET_CONSUME_STATS, None) => header!(frame, command, ConsumeStatsHeader),
            (request::DELETE_SUBSCRIPTIONGROUP, None) => header!(frame, command, DeleteGroupHeader),
            (request::WIPE_WRITE_PERM_OF_BROKER | request::ADD_WRITE_PERM_OF_BROKER, None) => {
                header!(frame, command, BrokerNameHeader)
            }
            (request::WIPE_WRITE_PERM_OF_BROKER, Some(response::SUCCESS)) => {
                header!(frame, command, WipeWritePermResponse)
            }
            (request::PUT_KV_CONFIG, None) => header!(frame, command, PutKvConfigHeader),
            (request::GET_KV_CONFIG, None) => header!(frame, command, KvConfigHeader),
            _ => {}
        }
    }
}

/// The text of a body with the members of all objects and the items of all arrays sorted: the reference's
/// hash maps and sets have no order.
fn canonical(value: &Value<'_>) -> String {
    let (open, mut parts, close) = match value {
        Value::Object(members) => {
            let member = |(key, value): &(_, _)| format!("{}:{}", canonical(key), canonical(value));
            ("{", members.iter().map(member).collect::<Vec<_>>(), "}")
        }
        Value::Array(items) => ("[", items.iter().map(canonical).collect(), "]"),
        other => return json::to_text(other),
    };
    parts.sort();
    format!("{open}{}{close}", parts.join(","))
}

#[track_caller]
fn check_body(frame: &Frame, recorded: &[u8], typed: Result<String, body::BodyError>) {
    let typed = typed.unwrap_or_else(|error| panic!("{frame}: {error}"));
    let recorded = json::parse(recorded).unwrap_or_else(|error| panic!("{frame}: {error}"));
    let written = json::parse(typed.as_bytes()).unwrap_or_else(|error| panic!("{frame}: {error}"));
    assert_eq!(canonical(&written), canonical(&recorded), "{frame}");
}

macro_rules! typed_body {
    ($frame:expr, $body:expr, $type:ident) => {
        check_body($frame, $body, body::$type::from_json($body).map(|read| read.to_json()))
    };
}

#[test]
fn json_bodies_re_encode_identically() {
    let mut untyped = Vec::new();
    for frame in sessions().iter().flat_map(|session| &session.frames) {
        let command = Command::parse(&frame.bytes).expect("parses");
        if !matches!(command.body.first(), Some(b'{' | b'[')) {
            continue;
        }
        let text = std::str::from_utf8(command.body).unwrap_or_else(|error| panic!("{frame}: {error}"));
        let value = json::parse(command.body).unwrap_or_else(|error| panic!("{frame}: {error}"));
        assert_eq!(json::to_text(&value), text, "{frame}");

        let is_answer = frame.response.is_some();
        match frame.request {
            request::HEART_BEAT if frame.client_version() >= (5, 0) => {
                typed_body!(frame, command.body, HeartbeatData)
            }
            request::HEART_BEAT => {
                drop(body::HeartbeatData::from_json(command.body).expect("an older heartbeat"))
            }
            request::GET_ROUTEINFO_BY_TOPIC if frame.contains(br#""brokerAddrs":{"0":"#) => {
                let route =
                    body::TopicRouteData::from_json(command.body).map(|route| route.to_standard_json());
                check_body(frame, command.body, route);
            }
            request::GET_ROUTEINFO_BY_TOPIC => typed_body!(frame, command.body, TopicRouteData),
            request::GET_BROKER_CLUSTER_INFO => typed_body!(frame, command.body, ClusterInfo),
            request::GET_CONSUMER_LIST_BY_GROUP => typed_body!(frame, command.body, ConsumerList),
            request::LOCK_BATCH_MQ if is_answer => typed_body!(frame, command.body, LockBatchResponse),
            request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ if frame.client_version() >= (5, 0) => {
                typed_body!(frame, command.body, LockBatchRequest)
            }
            request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => {
                drop(body::LockBatchRequest::from_json(command.body).expect("an older lock request"));
            }
            request::REGISTER_BROKER if is_answer => typed_body!(frame, command.body, KvTable),
            request::REGISTER_BROKER => typed_body!(frame, command.body, RegisterBrokerBody),
            request::GET_BROKER_RUNTIME_INFO => typed_body!(frame, command.body, KvTable),
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => typed_body!(frame, command.body, TopicList),
            request::GET_TOPIC_STATS_INFO => typed_body!(frame, command.body, TopicStatsTable),
            request::GET_CONSUME_STATS => typed_body!(frame, command.body, ConsumeStats),
            request::GET_CONSUMER_CONNECTION_LIST => typed_body!(frame, command.body, ConsumerConnection),
            request::QUERY_TOPIC_CONSUME_BY_WHO => typed_body!(frame, command.body, GroupList),
            request::GET_BROKER_MEMBER_GROUP => typed_body!(frame, command.body, BrokerMemberGroupBody),
            request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP if frame.client_version() >= (5, 0) => {
                typed_body!(frame, command.body, SubscriptionGroupConfig)
            }
            request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => {
                drop(body::SubscriptionGroupConfig::from_json(command.body).expect("an older group"));
            }
            request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
                typed_body!(frame, command.body, SubscriptionGroupWrapper)
            }
            request::GET_SUBSCRIPTIONGROUP_CONFIG => {
                typed_body!(frame, command.body, SubscriptionGroupConfig)
            }
            request::GET_TOPIC_CONFIG => typed_body!(frame, command.body, TopicConfig),
            other => untyped.push(other),
        }
    }
    untyped.sort_unstable();
    untyped.dedup();
    assert_eq!(untyped, [], "bodies without a type");
}

#[test]
fn records_of_pull_responses_re_encode_identically() {
    let mut compared = 0;
    for frame in sessions().iter().flat_map(|session| &session.frames) {
        let command = Command::parse(&frame.bytes).expect("parses");
        let carries_records = matches!(
            frame.request,
            request::PULL_MESSAGE
                | request::LITE_PULL_MESSAGE
                | request::VIEW_MESSAGE_BY_ID
                | request::QUERY_MESSAGE
        );
        if !carries_records || frame.response != Some(response::SUCCESS) {
            continue;
        }
        for record in records(command.body) {
            let record = record.unwrap_or_else(|error| panic!("{frame}: {error}"));
            record.check_crc().unwrap_or_else(|error| panic!("{frame}: {error}"));
            assert_eq!(encode_again(&record), record.bytes(), "{frame}");
            let expected =
                properties::get(&record.properties(), "TAGS").map_or(0, ringmq_remoting::record::tags_code);
            assert_eq!(record.tags_code(), expected, "{frame}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared} records");
}

fn encode_again(record: &RecordView<'_>) -> Vec<u8> {
    let properties = record.properties();
    let draft: RecordDraft<'_> = record.draft(&properties);
    let mut out = vec![0; draft.encoded_bytes()];
    draft.encode(&mut out, record.queue_offset(), record.physical_offset(), record.store_timestamp());
    out
}

#[test]
fn batches_re_encode_identically() {
    let mut compared = 0;
    for frame in sessions().iter().flat_map(|session| &session.frames) {
        if frame.request != request::SEND_BATCH_MESSAGE || frame.direction != Direction::ToServer {
            continue;
        }
        let command = Command::parse(&frame.bytes).expect("parses");
        assert!(SendHeader::from_command(&command).expect("a batch header").batch, "{frame}");
        let mut again = Vec::new();
        for entry in batch::entries(command.body) {
            let entry = entry.unwrap_or_else(|error| panic!("{frame}: {error}"));
            batch::write_entry(&mut again, entry.flag, entry.body, &entry.properties);
            compared += 1;
        }
        assert_eq!(again, command.body, "{frame}");
    }
    assert!(compared >= 18, "{compared} entries");
}
