//! Bad input over real sockets: the answer or the close that RocketMQ users expect, and nobody else disturbed.
//!
//! Runs against our own release binaries. `RINGMQ_BADINPUT_BROKER=host:port` (and `RINGMQ_BADINPUT_NAMESRV`) point the
//! same probes at another server: what is expected here was learned from Apache RocketMQ 5.5.0.

#![allow(clippy::disallowed_methods, reason = "a test outside the reactor: talks to real processes")]

use std::net::Shutdown;
use std::time::Duration;

use ringmq_remoting::code::{request, response};
use ringmq_remoting::{FieldValue, SerializeType};
use ringmq_tests::badinput::{Bystander, Fate, Target, fate, fate_of};
use ringmq_tests::wire::{Answer, Connection, Pull, Send, now_ms};

/// A close must come at once; silence is waited for no longer than this.
const SOON: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_millis(300);
const UNKNOWN_CODE: i32 = 9_999;

/// A frame with any length fields over any header.
fn frame(length: u32, serialize: u8, header_length: u32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend((u32::from(serialize) << 24 | header_length).to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// A frame whose lengths fit its header; `serialize` and header are at will.
fn header_frame(serialize: u8, header: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(header.len()).expect("a short header");
    frame(bytes + 4, serialize, bytes, header)
}

/// Bytes that look like nothing; a splitmix sequence, the same in each run.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 40) as u8
        })
        .collect()
}

/// Streams that cannot be trusted: closed at once, by brokers and name servers alike.
fn untrusted_streams() -> Vec<(String, Vec<u8>)> {
    let ok_header = br#"{"code":9999,"flag":0,"language":"JAVA","opaque":1,"version":479}"#;
    let mut cases = vec![
        ("a length of 2 GB".to_owned(), frame(0x7FFF_FFFF, 0, 10, b"{}")),
        ("a negative length".to_owned(), frame(0xFFFF_FFFF, 0, 10, b"{}")),
        ("the most negative length".to_owned(), frame(0x8000_0000, 0, 10, b"{}")),
        ("a length one above the limit".to_owned(), frame(16 * 1024 * 1024 + 1, 0, 10, b"{}")),
        ("length 0".to_owned(), frame(0, 0, 10, b"{}")),
        ("length 3".to_owned(), frame(3, 0, 10, b"{}")),
        ("a header beyond its frame".to_owned(), frame(50, 0, 200, ok_header)),
        ("a header of 16 MiB - 1 in a short frame".to_owned(), frame(50, 0, 0x00FF_FFFF, ok_header)),
        ("no header at all".to_owned(), frame(4, 0, 0, b"")),
        ("a header cut off".to_owned(), header_frame(0, br#"{"code":10,"lang"#)),
        ("a header that is no JSON".to_owned(), header_frame(0, b"hello, broker")),
        ("a header that is a list".to_owned(), header_frame(0, b"[1,2,3]")),
        ("a code that is no number".to_owned(), header_frame(0, br#"{"code":"ten","opaque":1}"#)),
        ("serialize type 7".to_owned(), header_frame(7, ok_header)),
        ("serialize type 255".to_owned(), header_frame(255, ok_header)),
        ("a binary header cut off".to_owned(), header_frame(1, &[0, 10, 0])),
        ("binary fields beyond the header".to_owned(), {
            let mut header = vec![0, 10, 0, 1, 223, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            header.extend(0x7FFF_FFF0_u32.to_be_bytes());
            header_frame(1, &header)
        }),
        ("an HTTP request".to_owned(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    // The reference decides nothing before it has seen 12 bytes.
    for (_, bytes) in &mut cases {
        bytes.resize(bytes.len().max(64), 0);
    }
    for seed in 0..40 {
        let mut bytes = noise(seed, 64 + seed as usize * 97);
        bytes[0] |= 0x10; // a length above 16 MiB: a shorter one would rightly be waited for
        cases.push((format!("noise {seed}"), bytes));
    }
    cases
}

fn check_untrusted_streams(target: &Target) -> Vec<String> {
    untrusted_streams()
        .into_iter()
        .filter_map(|(what, bytes)| {
            let fate = fate_of(target, &bytes, SOON);
            (fate != Fate::Closed).then(|| format!("{what}: {fate:?} instead of a close"))
        })
        .collect()
}

#[test]
fn untrusted_streams_are_closed_and_nobody_else_notices() {
    let target = Target::broker("badinput-streams");
    let bystander = Bystander::start(&target);
    let wrong = check_untrusted_streams(&target);
    println!("{} messages went round meanwhile", bystander.finish());
    assert_eq!(wrong, Vec::<String>::new());
    target.finish();
}

#[test]
fn a_name_server_closes_untrusted_streams_and_goes_on() {
    let target = Target::name_server("badinput-namesrv");
    let mut witness = target.connect();
    let wrong = check_untrusted_streams(&target);
    assert_eq!(wrong, Vec::<String>::new());
    for (code, fields, expected) in [
        (UNKNOWN_CODE, vec![], response::REQUEST_CODE_NOT_SUPPORTED),
        (
            request::GET_ROUTEINFO_BY_TOPIC,
            vec![("topic", FieldValue::Str("no such topic"))],
            response::TOPIC_NOT_EXIST,
        ),
        (request::SEND_MESSAGE_V2, vec![], response::REQUEST_CODE_NOT_SUPPORTED),
    ] {
        let answer = witness.call(code, &fields, &[]).expect("an answer of the name server");
        assert_eq!(answer.code, expected, "{answer:?}");
    }
    target.finish();
}

#[test]
fn half_open_and_abandoned_connections_cost_nobody_anything() {
    let target = Target::broker("badinput-half-open");
    let bystander = Bystander::start(&target);
    let whole = header_frame(0, br#"{"code":9999,"flag":0,"language":"JAVA","opaque":1,"version":479}"#);

    // Parts of a frame, then silence: kept open, as a slow sender's would be.
    let mut waiting: Vec<Connection> = Vec::new();
    for cut in 0..100 {
        let mut connection = target.connect();
        connection.send_bytes(&whole[..cut % whole.len()]).expect("a part of a frame");
        waiting.push(connection);
    }
    assert_eq!(fate(waiting.last_mut().expect("connections"), QUIET), Fate::Silent);

    // The rest comes late, byte by byte: an ordinary answer.
    let mut slow = target.connect();
    for byte in &whole {
        slow.send_bytes(&[*byte]).expect("a byte");
    }
    assert_eq!(fate(&mut slow, SOON), Fate::Answered(response::REQUEST_CODE_NOT_SUPPORTED));

    // Our direction ends in the middle of a frame: the server closes its own.
    for cut in [1, 4, 8, 20] {
        let mut connection = target.connect();
        connection.send_bytes(&whole[..cut]).expect("a part of a frame");
        connection.stream().shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(fate(&mut connection, SOON), Fate::Closed, "after {cut} bytes and the end of the stream");
    }

    // Announced megabytes that never come, and connections dropped with answers unread.
    for _ in 0..50 {
        let mut connection = target.connect();
        connection
            .send_bytes(&frame(16 * 1024 * 1024 - 64, 0, 100, b"{"))
            .expect("the head of a large frame");
        waiting.push(connection);
        let mut dropped = target.connect();
        for _ in 0..20 {
            dropped.send(UNKNOWN_CODE, &[], &[]).expect("a request");
        }
    }
    println!("{} messages went round meanwhile", bystander.finish());
    drop(waiting);
    Bystander::start(&target).finish_after(Duration::from_millis(200));
    target.finish();
}

#[test]
fn frames_follow_one_another_in_one_stream() {
    let target = Target::broker("badinput-order");
    let mut connection = target.connect();
    // Good, good, bad in one write: both good ones are answered before the close.
    let good = |opaque: i32| {
        let header = format!(r#"{{"code":9999,"flag":0,"language":"JAVA","opaque":{opaque},"version":479}}"#);
        header_frame(0, header.as_bytes())
    };
    let mut bytes = good(1);
    bytes.extend(good(2));
    bytes.extend(frame(0x7FFF_FFFF, 0, 10, b"{}"));
    connection.send_bytes(&bytes).expect("three frames");
    let mut answered = Vec::new();
    while let Ok(Some(answer)) = connection.receive() {
        assert_eq!(answer.code, response::REQUEST_CODE_NOT_SUPPORTED);
        answered.push(answer.opaque);
    }
    // The reference may close before its other threads have answered; answers that come must be the good ones'.
    assert!(answered.iter().all(|opaque| [1, 2].contains(opaque)), "{answered:?}");

    // A large frame of an unknown code is taken whole and answered.
    let mut connection = target.connect();
    let answer =
        connection.call(UNKNOWN_CODE, &[], &vec![7; 15 << 20]).expect("an answer to a frame of 15 MiB");
    assert_eq!(answer.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert_eq!(answer.remark, " request type 9999 not supported");

    // What claims to be a response to something never asked is dropped.
    connection
        .send_bytes(&header_frame(0, br#"{"code":0,"flag":1,"language":"JAVA","opaque":77,"version":479}"#))
        .expect("a response");
    assert_eq!(fate(&mut connection, QUIET), Fate::Silent);
    let answer = connection.call(UNKNOWN_CODE, &[], &[]);
    assert!(answer.is_ok(), "the connection goes on: {answer:?}");
    target.finish();
}

/// Asks something over a connection; the text is a topic that exists.
type Ask = dyn Fn(&mut Connection, &str) -> std::io::Result<Answer>;

/// One request that must be refused.
struct Refused {
    what: &'static str,
    answer: Box<Ask>,
    code: i32,
    remark: &'static str,
}

fn refused(
    what: &'static str,
    code: i32,
    remark: &'static str,
    answer: impl Fn(&mut Connection, &str) -> std::io::Result<Answer> + 'static,
) -> Refused {
    Refused { what, answer: Box::new(answer), code, remark }
}

fn send_to(
    connection: &mut Connection,
    topic: &str,
    queue_id: i32,
    properties: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    connection.call_send(&Send { topic, queue_id, properties, batch: false, body })
}

fn pull_from(
    connection: &mut Connection,
    topic: &str,
    queue_id: i32,
    offset: i64,
    count: i32,
) -> std::io::Result<Answer> {
    connection.call_pull(&Pull { group: "probe", topic, queue_id, offset, count })
}

fn refused_sends() -> Vec<Refused> {
    let invalid = response::INVALID_PARAMETER;
    let illegal = response::MESSAGE_ILLEGAL;
    vec![
        refused("send to a name with a space", invalid, "illegal", |c, _| {
            send_to(c, "bad topic", 0, "", b"x")
        }),
        refused("send to a name with a star", invalid, "illegal", |c, _| send_to(c, "bad*", 0, "", b"x")),
        refused("send to an empty name", invalid, "blank", |c, _| send_to(c, "", 0, "", b"x")),
        refused("send to a name of 200", invalid, "longer", |c, _| send_to(c, &"t".repeat(200), 0, "", b"x")),
        refused("send to SCHEDULE_TOPIC_XXXX", response::NO_PERMISSION, "forbidden", |c, _| {
            send_to(c, "SCHEDULE_TOPIC_XXXX", 0, "", b"x")
        }),
        refused("send to queue 99", invalid, "queueId[99] is illegal", |c, topic| {
            send_to(c, topic, 99, "", b"x")
        }),
        refused("send of 5 MiB", illegal, "the message is illegal", |c, topic| {
            send_to(c, topic, 0, "", &vec![1; 5 << 20])
        }),
        refused("send with 40 KB of properties", illegal, "the message is illegal", |c, topic| {
            send_to(c, topic, 0, &format!("k\u{1}{}\u{2}", "v".repeat(40_000)), b"x")
        }),
        refused(
            "send to an unknown topic that inherits from an unknown one",
            response::TOPIC_NOT_EXIST,
            "not exist",
            |c, _| {
                let fields = [
                    ("a", FieldValue::Str("probe")),
                    ("b", FieldValue::Str("unknown_topic_of_the_probe")),
                    ("c", FieldValue::Str("unknown_default_topic")),
                    ("d", FieldValue::Int(4)),
                    ("e", FieldValue::Int(0)),
                    ("f", FieldValue::Int(0)),
                    ("g", FieldValue::Int(1)),
                    ("h", FieldValue::Int(0)),
                ];
                c.call(request::SEND_MESSAGE_V2, &fields, b"x")
            },
        ),
        refused("send without any field", response::SYSTEM_ERROR, "", |c, _| {
            c.call(request::SEND_MESSAGE_V2, &[], b"x")
        }),
        refused("send with a queue that is no number", response::SYSTEM_ERROR, "", |c, topic| {
            let fields = [
                ("a", FieldValue::Str("probe")),
                ("b", FieldValue::Str(topic)),
                ("c", FieldValue::Str("TBW102")),
                ("d", FieldValue::Int(4)),
                ("e", FieldValue::Str("zero")),
                ("f", FieldValue::Int(0)),
                ("g", FieldValue::Int(1)),
                ("h", FieldValue::Int(0)),
            ];
            c.call(request::SEND_MESSAGE_V2, &fields, b"x")
        }),
    ]
}

fn refused_requests() -> Vec<Refused> {
    vec![
        refused(
            "an unknown code",
            response::REQUEST_CODE_NOT_SUPPORTED,
            " request type 9999 not supported",
            |c, _| c.call(UNKNOWN_CODE, &[], &[]),
        ),
        refused(
            "a negative code",
            response::REQUEST_CODE_NOT_SUPPORTED,
            " request type -5 not supported",
            |c, _| c.call(-5, &[], &[]),
        ),
        refused("pull of an unknown topic", response::TOPIC_NOT_EXIST, "not exist", |c, _| {
            pull_from(c, "unknown_topic_of_the_probe", 0, 0, 32)
        }),
        refused("pull of queue 99", response::INVALID_PARAMETER, "queueId[99] is illegal", |c, topic| {
            pull_from(c, topic, 99, 0, 32)
        }),
        refused("pull of queue -1", response::INVALID_PARAMETER, "queueId[-1] is illegal", |c, topic| {
            pull_from(c, topic, -1, 0, 32)
        }),
        refused("pull past the end", response::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", |c, topic| {
            pull_from(c, topic, 1, 1_000, 32)
        }),
        refused("pull before the start", response::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", |c, topic| {
            pull_from(c, topic, 1, -7, 32)
        }),
        refused(
            "pull without a known subscription",
            response::SUBSCRIPTION_NOT_EXIST,
            "the consumer's group info not exist",
            |c, topic| {
                let fields = [
                    ("consumerGroup", FieldValue::Str("group_without_heartbeat")),
                    ("topic", FieldValue::Str(topic)),
                    ("queueId", FieldValue::Int(0)),
                    ("queueOffset", FieldValue::Int(0)),
                    ("maxMsgNums", FieldValue::Int(1)),
                    ("sysFlag", FieldValue::Int(0)),
                    ("commitOffset", FieldValue::Int(0)),
                    ("suspendTimeoutMillis", FieldValue::Int(0)),
                    ("subVersion", FieldValue::Int(0)),
                ];
                c.call(request::PULL_MESSAGE, &fields, &[])
            },
        ),
        refused("a heartbeat that is no JSON", response::SYSTEM_ERROR, "", |c, _| {
            c.call(request::HEART_BEAT, &[], b"{{{{")
        }),
        refused(
            "an offset of an unknown group",
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            "not exist",
            |c, topic| {
                let fields = [
                    ("consumerGroup", FieldValue::Str("unknown_group_of_the_probe")),
                    ("topic", FieldValue::Str(topic)),
                    ("queueId", FieldValue::Int(0)),
                    ("commitOffset", FieldValue::Int(1)),
                ];
                c.call(request::UPDATE_CONSUMER_OFFSET, &fields, &[])
            },
        ),
        refused(
            "send-back of nothing",
            response::SYSTEM_ERROR,
            "look message by offset failed",
            |c, topic| {
                let fields = [
                    ("offset", FieldValue::Int(123_456_789)),
                    ("group", FieldValue::Str("probe")),
                    ("delayLevel", FieldValue::Int(0)),
                    ("originMsgId", FieldValue::Str("x")),
                    ("originTopic", FieldValue::Str(topic)),
                    ("unitMode", FieldValue::Bool(false)),
                ];
                c.call(request::CONSUMER_SEND_MSG_BACK, &fields, &[])
            },
        ),
        refused("a topic with an illegal name", response::INVALID_PARAMETER, "illegal", |c, _| {
            c.create_topic("bad topic", 4)
        }),
        refused(
            "the consumers of an unknown group",
            response::SYSTEM_ERROR,
            "no consumer for this group",
            |c, _| {
                c.call(
                    request::GET_CONSUMER_LIST_BY_GROUP,
                    &[("consumerGroup", FieldValue::Str("unknown_group_of_the_probe"))],
                    &[],
                )
            },
        ),
    ]
}

#[test]
fn refused_requests_get_the_code_that_clients_know() {
    let target = Target::broker("badinput-requests");
    let bystander = Bystander::start(&target);
    let mut connection = target.connect();
    let topic = format!("probe_{}", now_ms());
    assert_eq!(connection.create_topic(&topic, 4).expect("a topic").code, response::SUCCESS);
    let first = send_to(&mut connection, &topic, 1, "", b"first").expect("a message");
    assert_eq!((first.code, first.long("queueOffset")), (response::SUCCESS, 0));

    let mut wrong = Vec::new();
    for case in refused_sends().into_iter().chain(refused_requests()) {
        // One connection for all: a refusal leaves it usable.
        match (case.answer)(&mut connection, &topic) {
            Ok(answer) if answer.code == case.code && answer.remark.contains(case.remark) => {}
            Ok(answer) => wrong.push(format!(
                "{}: {} {:?}, expected {} {:?}",
                case.what, answer.code, answer.remark, case.code, case.remark
            )),
            Err(error) => {
                wrong.push(format!("{}: {error}, expected {}", case.what, case.code));
                connection = target.connect();
            }
        }
    }
    // Nothing of that was stored.
    for queue_id in 0..4 {
        let fields = [("topic", FieldValue::Str(&topic)), ("queueId", FieldValue::Int(queue_id))];
        let max =
            connection.call(request::GET_MAX_OFFSET, &fields, &[]).expect("the max offset").long("offset");
        if max != i64::from(queue_id == 1) {
            wrong.push(format!("queue {queue_id} holds {max} messages"));
        }
    }
    println!("{} messages went round meanwhile", bystander.finish());
    assert_eq!(wrong, Vec::<String>::new());
    target.finish();
}

#[test]
fn a_negative_queue_means_any_queue() {
    let target = Target::broker("badinput-any-queue");
    let mut connection = target.connect();
    let topic = format!("any_{}", now_ms());
    assert_eq!(connection.create_topic(&topic, 3).expect("a topic").code, response::SUCCESS);
    for _ in 0..10 {
        let answer = send_to(&mut connection, &topic, -1, "", b"x").expect("an answer");
        assert_eq!(answer.code, response::SUCCESS, "{answer:?}");
        assert!((0..3).contains(&answer.long("queueId")), "{answer:?}");
    }
    target.finish();
}

#[test]
fn one_way_requests_are_never_answered() {
    let target = Target::broker("badinput-oneway");
    let bystander = Bystander::start(&target);
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let mut connection = target.connect();
        for code in [
            UNKNOWN_CODE,
            request::SEND_MESSAGE_V2,
            request::PULL_MESSAGE,
            request::UPDATE_CONSUMER_OFFSET,
            request::CONSUMER_SEND_MSG_BACK,
        ] {
            connection
                .send_as(serialize, code, true, &[("b", FieldValue::Str("bad topic"))], b"x")
                .expect("a one-way request");
        }
        assert_eq!(fate(&mut connection, QUIET), Fate::Silent, "{serialize:?}");
        connection.stream().set_read_timeout(Some(SOON)).expect("a time-out");
        let opaque = connection.send_as(serialize, UNKNOWN_CODE, false, &[], &[]).expect("a request");
        let next = connection.receive().expect("an answer").expect("an open connection");
        assert_eq!(
            (next.opaque, next.code),
            (opaque, response::REQUEST_CODE_NOT_SUPPORTED),
            "the first answer is the last request's"
        );
    }
    println!("{} messages went round meanwhile", bystander.finish());
    target.finish();
}
