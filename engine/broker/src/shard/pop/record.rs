//! Records of popped messages: their offsets, and the form in which retried ones are answered.

use bytes::{Bytes, BytesMut};
use ringmq_remoting::pop::{Origin, ReceiptHandle};
use ringmq_remoting::record::properties::{self, name};
use ringmq_remoting::record::records;
use ringmq_remoting::record::{PROPERTIES_BYTES_MAX, RecordDraft, RecordView};

use super::super::properties::{close, push};

/// Queue offsets of the records in the pieces of a read.
pub(super) fn offsets(pieces: &[Bytes]) -> Vec<i64> {
    let views = pieces.iter().flat_map(|piece| records(piece).filter_map(Result::ok));
    views.map(|view| view.queue_offset()).collect()
}

/// What is the same for all messages of a popped batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) start_offset: i64,
    pub(super) pop_time: i64,
    pub(super) invisible_time: i64,
    pub(super) revive_queue_id: i32,
    pub(super) origin: Origin,
    pub(super) broker_name: &'a str,
    /// The topic that was asked for.
    pub(super) topic: &'a str,
}

/// Retried messages under the name of the topic that was asked for, each with its receipt handle, since its place is not where its
/// name says. A record whose properties would become too long stays as it is: clients derive its handle from the header.
pub(super) fn under_topic(pieces: &[Bytes], batch: &Batch<'_>) -> Vec<Bytes> {
    let views =
        pieces.iter().flat_map(|piece| records(piece).filter_map(Result::ok).map(move |view| (piece, view)));
    views
        .map(|(piece, view)| reencoded(&view, batch).unwrap_or_else(|| piece.slice_ref(view.bytes())))
        .collect()
}

fn reencoded(view: &RecordView<'_>, batch: &Batch<'_>) -> Option<Bytes> {
    let handle = ReceiptHandle {
        start_offset: batch.start_offset,
        pop_time: batch.pop_time,
        invisible_time: batch.invisible_time,
        revive_queue_id: batch.revive_queue_id,
        origin: batch.origin,
        broker_name: batch.broker_name,
        queue_id: view.queue_id(),
        queue_offset: Some(view.queue_offset()),
    };
    let mut text = view.properties().into_owned();
    if properties::get(&text, name::POP_CK).is_none() {
        close(&mut text);
        push(&mut text, name::POP_CK, &handle.to_string());
    }
    if text.len() > PROPERTIES_BYTES_MAX {
        return None;
    }
    let draft = RecordDraft { topic: batch.topic, ..view.draft(&text) };
    let mut bytes = BytesMut::zeroed(draft.encoded_bytes());
    draft.encode(&mut bytes, view.queue_offset(), view.physical_offset(), view.store_timestamp());
    Some(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(offset: i64, properties: &str) -> Vec<u8> {
        let host = "192.0.2.9:10911".parse().expect("address");
        let draft = RecordDraft {
            topic: "%RETRY%g_T",
            queue_id: 0,
            flag: 4,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 2,
            prepared_transaction_offset: 0,
            body: b"body",
            properties,
        };
        let mut bytes = vec![0; draft.encoded_bytes()];
        draft.encode(&mut bytes, offset, 4_096, 77);
        bytes
    }

    #[test]
    fn retried_messages_are_answered_under_the_name_of_their_topic() {
        let two = [stored(5, "TAGS\u{1}A\u{2}"), stored(6, "TAGS\u{1}B")].concat();
        let pieces = [Bytes::from(two)];
        assert_eq!(offsets(&pieces), [5, 6]);
        let batch = Batch {
            start_offset: 5,
            pop_time: 1_000,
            invisible_time: 60,
            revive_queue_id: 3,
            origin: Origin::RetryV1,
            broker_name: "broker-a",
            topic: "T",
        };
        let again = under_topic(&pieces, &batch);
        let view = RecordView::parse(&again[1]).expect("a record");
        assert_eq!((view.topic(), view.queue_offset(), view.physical_offset()), ("T", 6, 4_096));
        assert_eq!((view.reconsume_times(), view.store_timestamp(), view.flag()), (2, 77, 4));
        let text = view.properties();
        assert_eq!(properties::get(&text, "TAGS"), Some("B"));
        assert_eq!(properties::get(&text, "POP_CK"), Some("5 1000 60 3 1 broker-a 0 6"));
        view.check_crc().expect("whole");

        let long = [Bytes::from(stored(7, &format!("k\u{1}{}\u{2}", "v".repeat(32_760))))];
        assert_eq!(under_topic(&long, &batch)[0], long[0]);
    }
}
