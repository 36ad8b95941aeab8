//! A stream of bytes as a connection receives it: cut into frames, headers of both encodings read, typed
//! headers taken.
//!
//! Beyond "no panic": cutting does not depend on how the stream is split, and a header that was read, written
//! and read again says the same.

#![no_main]

use std::ops::ControlFlow;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use ringmq_remoting::command::Command;
use ringmq_remoting::encode::{FieldValue, Header};
use ringmq_remoting::request::{GetRouteHeader, PullHeader, RegisterBrokerHeader, SendHeader};
use ringmq_remoting::{FrameAssembler, FrameError};

/// Small, so that the fuzzer meets it.
const LIMIT: usize = 64 * 1024;

fn cut(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let mut assembler = FrameAssembler::new(LIMIT);
    let mut frames = Vec::new();
    for part in stream.chunks(piece.max(1)) {
        let fed = assembler.feed(part, |frame| {
            frames.push(frame.to_vec());
            ControlFlow::Continue(())
        });
        if fed.is_err() {
            return (frames, fed);
        }
        assert!(assembler.pending_bytes() <= LIMIT + 4);
    }
    (frames, Ok(()))
}

fn texts(command: &Command<'_>) -> Vec<(String, String)> {
    command.fields().map(|field| (field.key().into_owned(), field.value().into_owned())).collect()
}

fn read(frame: &[u8]) {
    let Ok(command) = Command::parse(frame) else { return };
    for field in command.fields() {
        let _ = (field.int(), field.long(), field.boolean());
        assert!(command.find(&field.key()).is_some() || command.field(&field.key()).is_none());
    }
    let _ = (SendHeader::from_command(&command), PullHeader::from_command(&command));
    let _ = (GetRouteHeader::from_command(&command), RegisterBrokerHeader::from_command(&command));

    let fields = texts(&command);
    let list: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), FieldValue::Str(value))).collect();
    if list.iter().any(|(key, _)| key.len() > usize::from(u16::MAX)) {
        return;
    }
    let mut out = BytesMut::new();
    let header = Header {
        serialize: command.serialize,
        code: command.code,
        language: command.language,
        version: command.version,
        opaque: command.opaque,
        flag: command.flag,
        remark: command.remark.as_deref(),
        fields: Some(&list),
    };
    header.write(&mut out, command.body.len());
    out.extend_from_slice(command.body);
    let again = Command::parse(&out).expect("what was written");
    assert_eq!(again.code, command.code);
    assert_eq!((again.version, again.opaque, again.flag), (command.version, command.opaque, command.flag));
    assert_eq!(again.remark, command.remark);
    assert_eq!(again.body, command.body);
    assert_eq!(texts(&again), fields);
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, stream)) = input.split_first() else { return };
    let (frames, end) = cut(stream, stream.len());
    assert_eq!((&frames, &end), (&cut(stream, usize::from(piece)).0, &cut(stream, usize::from(piece)).1));
    for frame in &frames {
        read(frame);
    }
    // Also with a length that fits, so that the header readers see bytes that the length would hide.
    if stream.len() >= 8 && stream.len() - 4 <= LIMIT {
        let mut whole = stream.to_vec();
        whole[..4].copy_from_slice(&((stream.len() - 4) as u32).to_be_bytes());
        read(&whole);
    }
});
