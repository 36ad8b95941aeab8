//! Bytes of a log or of a pull response, and of a batch body.
//!
//! Beyond "no panic": a record that was read and is laid out again is the identical bytes, unless its
//! properties were not UTF-8 or its CRC was wrong.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq_remoting::record::{RecordView, batch, message_id, properties, records};

fn read(record: &RecordView<'_>) {
    let text = record.properties();
    properties::iter(&text).for_each(drop);
    let _ = record.tags_code();
    let id = message_id::encode(record.store_host(), record.physical_offset());
    assert_eq!(message_id::decode(&id), Some((record.store_host(), record.physical_offset())));
    let draft = record.draft(&text);
    let is_faithful = text.as_bytes() == record.properties_bytes()
        && text.len() <= 32_767
        && record.check_crc().is_ok()
        && draft.encoded_bytes() == record.total_bytes();
    if is_faithful {
        let mut out = vec![0; draft.encoded_bytes()];
        draft.encode(&mut out, record.queue_offset(), record.physical_offset(), record.store_timestamp());
        let again = RecordView::parse(&out).expect("what was written");
        assert_eq!(again.draft(&text), draft);
    }
}

fuzz_target!(|input: &[u8]| {
    for record in records(input).filter_map(Result::ok) {
        read(&record);
    }
    let mut position = 0;
    for entry in batch::entries(input).filter_map(Result::ok) {
        position += 22 + entry.body.len();
        assert!(position <= input.len());
        properties::iter(&entry.properties).for_each(drop);
    }
});
