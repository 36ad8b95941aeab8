//! No bytes may panic any reader, and none may make it take memory beyond what it was given and its limits.

use std::ops::ControlFlow;

use crate::sessions::sessions;
use proptest::collection::vec;
use proptest::prelude::*;
use ringmq_remoting::body::{HeartbeatData, RegisterBrokerBody, TopicRouteData};
use ringmq_remoting::command::Command;
use ringmq_remoting::json::{self, VALUES_MAX};
use ringmq_remoting::record::{RecordView, batch, message_id, properties, records};
use ringmq_remoting::request::{PullHeader, SendHeader};
use ringmq_remoting::{FRAME_BYTES_MAX, FrameAssembler};

/// Runs everything that can be asked of a frame.
fn read_frame(frame: &[u8]) {
    let Ok(command) = Command::parse(frame) else { return };
    for field in command.fields() {
        let (_, _) = (field.int(), field.boolean());
        assert_eq!(command.find(&field.key()).is_some(), command.field(&field.key()).is_some());
        properties::iter(&field.value()).for_each(drop);
    }
    let _ = (SendHeader::from_command(&command), PullHeader::from_command(&command));
    read_body(command.body);
}

fn read_body(body: &[u8]) {
    for record in records(body).filter_map(Result::ok) {
        read_record(&record);
    }
    batch::entries(body).for_each(drop);
    let _ = json::parse(body).map(|value| json::to_text(&value));
    let _ = (HeartbeatData::from_json(body), TopicRouteData::from_json(body));
    let _ = RegisterBrokerBody::read(body, body.len().is_multiple_of(2), 479);
}

fn read_record(record: &RecordView<'_>) {
    let properties = record.properties();
    let draft = record.draft(&properties);
    let _ =
        (record.check_crc(), record.tags_code(), record.store_host(), record.prepared_transaction_offset());
    assert!(draft.body.len() <= record.total_bytes());
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        read_frame(&bytes);
        read_body(&bytes);
        let _ = message_id::decode(&String::from_utf8_lossy(&bytes));
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        let _ = assembler.feed(&bytes, |frame| { read_frame(frame); ControlFlow::Continue(()) });
        prop_assert!(assembler.pending_bytes() <= bytes.len());
    }

    #[test]
    fn any_header_bytes(binary in any::<bool>(), header in vec(any::<u8>(), 0..200), body in vec(any::<u8>(), 0..20)) {
        let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&(u32::from(binary) << 24 | header.len() as u32).to_be_bytes());
        frame.extend_from_slice(&header);
        frame.extend_from_slice(&body);
        read_frame(&frame);
    }

    #[test]
    fn any_json_like_text(text in "[\\[\\]{}:,\"'\\\\u0-9a-f \\-.eLNSet]{0,80}") {
        read_body(text.as_bytes());
    }
}

/// Each recorded frame with one byte changed, and cut at each place.
#[test]
fn recorded_frames_with_damage() {
    let mut damaged = 0u32;
    for frame in sessions().into_iter().flat_map(|session| session.frames) {
        let mut bytes = frame.bytes;
        // Every byte of small frames, a spread of those of large ones.
        let step = bytes.len() / 100 + 1;
        for position in (0..bytes.len()).step_by(step) {
            let before = bytes[position];
            for value in [0, 0xFF, before ^ 1, before ^ 0x80, b'"', b'\\', b'{'] {
                bytes[position] = value;
                read_frame(&bytes);
                damaged += 1;
            }
            bytes[position] = before;
            read_frame(&bytes[..position]);
            // The same cut with lengths that agree with it, so that the header reader sees it.
            if position > 8 {
                let mut cut = bytes[..position].to_vec();
                cut[..4].copy_from_slice(&(position as u32 - 4).to_be_bytes());
                let header = (position as u32 - 8) & 0xFF_FFFF;
                cut[5..8].copy_from_slice(&header.to_be_bytes()[1..]);
                read_frame(&cut);
            }
        }
    }
    assert!(damaged > 100_000, "{damaged}");
}

#[test]
fn a_text_of_nothing_but_values_is_refused_at_the_limit() {
    let mut text = b"[".to_vec();
    text.extend(std::iter::repeat_n(&b"0,"[..], VALUES_MAX).flatten());
    text.push(b']');
    let error = json::parse(&text).expect_err("one value too many");
    assert!(error.to_string().ends_with("too many values"), "{error}");
}
