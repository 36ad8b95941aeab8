//! Prints what reading and writing headers costs on this machine, on recorded frames:
//! `cargo run --release -p ringmq-remoting --example parse_cost`
#![allow(
    clippy::disallowed_methods,
    reason = "a stand-alone tool that measures time and reads recorded data"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use bytes::BytesMut;
use ringmq_remoting::Command;
use ringmq_remoting::code::response;
use ringmq_remoting::encode::{FieldValue, write_response};
use ringmq_remoting::record::{RecordDraft, message_id};
use ringmq_remoting::request::{PullHeader, SendHeader};

const SAMPLES: u32 = 2_000;
const ROUNDS_PER_SAMPLE: u32 = 1_000;

/// The best of many short samples: a busy machine disturbs most of them, but not all.
fn measure(what: &str, mut run: impl FnMut()) {
    let sample = |_| {
        let start = Instant::now();
        (0..ROUNDS_PER_SAMPLE).for_each(|_| run());
        start.elapsed()
    };
    let best = (0..SAMPLES).map(sample).min().unwrap_or_default();
    println!("{what:<55} {:>7.1} ns", best.as_nanos() as f64 / f64::from(ROUNDS_PER_SAMPLE));
}

/// The first recorded request of that code in a session.
fn recorded(session: &str, code: i32) -> Vec<u8> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/golden/data/{session}.frames"));
    let stream = std::fs::read(file).expect("recorded frames");
    let mut rest = &stream[..];
    while let Some(length) = rest.first_chunk() {
        let (frame, after) = rest.split_at(4 + u32::from_be_bytes(*length) as usize);
        rest = after;
        let command = Command::parse(frame).expect("a recorded frame");
        if command.code == code && !command.is_response() {
            return frame.to_vec();
        }
    }
    panic!("no request {code} in {session}");
}

fn main() {
    for session in ["client-5.5.0", "client-5.5.0-rocketmq"] {
        let send = recorded(session, 310);
        let fields = Command::parse(&send).expect("recorded").fields().count();
        println!("{session}: send of {} bytes, {fields} header fields", send.len());
        measure("  Command::parse of a send", || {
            black_box(Command::parse(black_box(&send)).expect("recorded"));
        });
        measure("  Command::parse and SendHeader::from_command", || {
            let command = Command::parse(black_box(&send)).expect("recorded");
            black_box(SendHeader::from_command(&command).expect("recorded"));
        });
        let pull = recorded(session, 11);
        measure("  Command::parse and PullHeader::from_command", || {
            let command = Command::parse(black_box(&pull)).expect("recorded");
            black_box(PullHeader::from_command(&command).expect("recorded"));
        });
        let to = Command::parse(&send).expect("recorded").response_to();
        let mut out = BytesMut::with_capacity(4096);
        let host = "127.0.0.1:10911".parse().expect("address");
        measure("  message_id::encode and write_response to a send", || {
            out.clear();
            let id = message_id::encode(host, black_box(1 << 56));
            let fields = [
                ("msgId", FieldValue::Str(&id)),
                ("queueId", FieldValue::Int(3)),
                ("queueOffset", FieldValue::Int(black_box(123_456))),
                ("transactionId", FieldValue::Str("7F000001000051F5000000000000A1B2")),
                ("MSG_REGION", FieldValue::Str("DefaultRegion")),
                ("TRACE_ON", FieldValue::Str("true")),
            ];
            write_response(&mut out, to, response::SUCCESS, None, &fields, 0);
            black_box(&out);
        });
    }
    let body = vec![7; 1024];
    let host = "127.0.0.1:10911".parse().expect("address");
    let draft = RecordDraft {
        topic: "GoldenTopic",
        queue_id: 3,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: "UNIQ_KEY\u{1}7F000001000051F5000000000000A1B2\u{2}TAGS\u{1}TagA\u{2}",
    };
    let mut out = vec![0; draft.encoded_bytes()];
    measure("RecordDraft::encode, body of 1 KiB", || {
        black_box(black_box(&draft).encode(&mut out, 1, 2, 3));
    });
}
