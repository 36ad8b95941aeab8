use std::net::SocketAddr;

use super::*;

fn draft<'a>(topic: &'a str, born: &str, store: &str) -> RecordDraft<'a> {
    RecordDraft {
        topic,
        queue_id: 3,
        flag: -7,
        sys_flag: sys_flag::COMPRESSED,
        born_timestamp: 1_700_000_000_001,
        born_host: born.parse().expect("address"),
        store_host: store.parse().expect("address"),
        reconsume_times: 2,
        prepared_transaction_offset: 99,
        body: b"hello",
        properties: "TAGS\u{1}TagA\u{2}",
    }
}

#[test]
fn records_round_trip_in_every_layout() {
    let long_topic = "%RETRY%".to_owned() + &"g".repeat(200);
    for topic in ["T", &"t".repeat(127), &long_topic] {
        for (born, store) in
            [("1.2.3.4:5", "6.7.8.9:10911"), ("[::1]:65535", "6.7.8.9:10911"), ("[::1]:1", "[::2]:2")]
        {
            let draft = draft(topic, born, store);
            let mut out = vec![0xEE; draft.encoded_bytes() + 3];
            let bytes = draft.encode(&mut out, 11, 1 << 56 | 4096, 1_700_000_000_002);
            assert_eq!((bytes, &out[bytes..]), (draft.encoded_bytes(), &[0xEE; 3][..]));
            let view = RecordView::parse(&out).expect("what was written");
            view.check_crc().expect("CRC");
            assert_eq!(view.magic(), if topic.len() > 127 { MAGIC_V2 } else { MAGIC_V1 });
            assert_eq!((view.queue_offset(), view.physical_offset()), (11, 1 << 56 | 4096));
            assert_eq!((view.store_timestamp(), view.tags_code()), (1_700_000_000_002, 2_598_919));
            assert_eq!(view.total_bytes(), bytes);
            let properties = view.properties();
            let again = view.draft(&properties);
            let v6 = |host: &str| host.parse::<SocketAddr>().expect("address").is_ipv6();
            let bits =
                i32::from(v6(born)) * sys_flag::BORN_HOST_V6 + i32::from(v6(store)) * sys_flag::STORE_HOST_V6;
            assert_eq!(again, RecordDraft { sys_flag: draft.sys_flag | bits, ..draft });
            for cut in 0..bytes {
                let error = RecordView::parse(&out[..cut]).expect_err("cut");
                assert!(matches!(error, RecordError::Truncated { .. }), "cut at {cut}: {error}");
            }
        }
    }
}

#[test]
fn the_smallest_record_is_91_bytes() {
    let draft = RecordDraft { topic: "", body: b"", properties: "", ..draft("", "1.1.1.1:1", "1.1.1.1:1") };
    assert_eq!(draft.encoded_bytes(), RECORD_BYTES_MIN);
}

#[test]
fn a_changed_body_fails_its_crc_and_changed_lengths_are_refused() {
    let draft = draft("T", "1.2.3.4:5", "6.7.8.9:10911");
    let mut good = vec![0; draft.encoded_bytes()];
    draft.encode(&mut good, 0, 0, 0);
    let at = RecordView::parse(&good).expect("record").body_range().start;

    let mut bad = good.clone();
    bad[at] ^= 1;
    let error = RecordView::parse(&bad).expect("layout is intact").check_crc().expect_err("one bit");
    assert!(matches!(error, RecordError::Crc { .. }));

    for (position, value, text) in [
        (at - 1, 200, "body is longer than the record"),
        (at + 5, 200, "topic is longer than the record"),
        (at + 8, 1, "properties do not end with the record"),
        (39, 0x30, "topic is longer than the record"),
    ] {
        let mut bad = good.clone();
        bad[position] = value;
        match RecordView::parse(&bad) {
            Err(RecordError::Layout { what, .. }) => {
                assert!(position == 39 || what == text, "{position}: {what}")
            }
            other => panic!("byte {position} = {value}: {other:?}"),
        }
    }
}

#[test]
fn blanks_and_foreign_bytes_are_told_apart() {
    let mut blank = [0; 8];
    write_blank(&mut blank, 100);
    assert_eq!(RecordView::parse(&blank).expect_err("blank"), RecordError::Blank { bytes: 100 });
    assert_eq!(RecordView::parse(&[0; 200]).expect_err("zeros"), RecordError::Magic { magic: 0 });
    let mut tiny = vec![0; 200];
    tiny[3] = 90;
    tiny[4..8].copy_from_slice(&MAGIC_V1.to_be_bytes());
    assert!(matches!(RecordView::parse(&tiny).expect_err("90 bytes"), RecordError::Layout { total: 90, .. }));
}

#[test]
fn records_come_one_behind_the_other() {
    let draft = draft("T", "1.2.3.4:5", "6.7.8.9:10911");
    let mut out = vec![0; draft.encoded_bytes() * 3];
    for i in 0..3 {
        draft.encode(&mut out[i * draft.encoded_bytes()..], i as i64, 0, 0);
    }
    let offsets: Vec<_> = records(&out).map(|record| record.expect("record").queue_offset()).collect();
    assert_eq!(offsets, [0, 1, 2]);
    let last = records(&out[..out.len() - 1]).last().expect("three items");
    assert!(matches!(last, Err(RecordError::Truncated { .. })));
}
