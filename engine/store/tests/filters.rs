//! Filters that look at records: which ones they see, how far a read goes, what damage does.

#![forbid(unsafe_code)]

mod support;

use std::sync::{Arc, Mutex};

use ringmq_remoting::record::RecordView;
use ringmq_store::{
    Flush, Lookup, Read, ReadError, ReadLimits, ReadResult, ReadStatus, RecordFilter, StoreConfig,
};
use support::bench::*;
use support::*;

/// Wants every `nth` message, by what stands in the record.
#[derive(Clone)]
struct EveryNth {
    nth: i64,
    tags_code: Option<i64>,
    entries_max: usize,
    /// Queue offsets of the records that were looked at.
    seen: Arc<Mutex<Vec<i64>>>,
}

impl EveryNth {
    fn new(nth: i64) -> Self {
        Self { nth, tags_code: None, entries_max: 800, seen: Arc::default() }
    }

    fn take_seen(&self) -> Vec<i64> {
        std::mem::take(&mut self.seen.lock().expect("one thread"))
    }
}

impl RecordFilter for EveryNth {
    fn may_want(&self, tags_code: i64) -> bool {
        self.tags_code.is_none_or(|wanted| wanted == tags_code)
    }

    fn looks_at_records(&self) -> bool {
        true
    }

    fn wants(&self, record: &RecordView<'_>) -> bool {
        self.seen.lock().expect("one thread").push(record.queue_offset());
        record.queue_offset() % self.nth == 0
    }

    fn entries_max(&self) -> usize {
        self.entries_max
    }
}

fn read(bench: &mut Bench, filter: &EveryNth, offset: i64) -> Result<ReadResult, ReadError> {
    let filter = filter.clone();
    bench.look_up(move |store, io| match store.read(io, "t", 3, offset, ReadLimits::default(), &filter) {
        Read::Ready(result) => Lookup::Ready(result),
        Read::Wait(ticket) => Lookup::Wait(ticket),
        Read::Failed(error) => Lookup::Failed(error),
    })
}

fn filled(seed: u64, count: u64) -> Bench {
    let mut bench = Bench::new(seed, StoreConfig { flush: Flush::Sync, ..small_config("/s") });
    let messages: Vec<_> = (0..count).map(|id| message(id, 300 + (id as usize * 977) % 5000)).collect();
    for some in messages.chunks(10) {
        some.iter().for_each(|m| bench.append(m));
        bench.settle();
    }
    bench
}

/// Follows the next offsets to the end; offsets of what was found.
fn follow(bench: &mut Bench, filter: &EveryNth, end: i64) -> Vec<i64> {
    let (mut offset, mut found) = (0, Vec::new());
    while offset < end {
        let result = read(bench, filter, offset).expect("readable");
        assert!(matches!(result.status, ReadStatus::Found | ReadStatus::NoMatchedMessage), "{result:?}");
        assert!(result.next_begin_offset > offset, "no progress at {offset}");
        assert_eq!(result.count, records(&result).len());
        found.extend(records(&result).iter().map(|record| record.0));
        offset = result.next_begin_offset;
    }
    found
}

/// The read cache holds a tenth of what is scanned, so whoever began anew after each block would never come to an end.
#[test]
fn every_record_is_looked_at_once_whatever_the_cache_holds() {
    for nth in [1, 7, 299, 1_000] {
        let mut bench = filled(1, 300);
        let filter = EveryNth::new(nth);
        let expected: Vec<i64> = (0..300).filter(|offset| offset % nth == 0).collect();
        assert_eq!(follow(&mut bench, &filter, 300), expected, "one in {nth}");
        assert_eq!(filter.take_seen(), (0..300).collect::<Vec<i64>>(), "one in {nth}");
    }
}

#[test]
fn what_the_index_rules_out_is_not_looked_at() {
    let mut bench = filled(2, 120);
    let mut filter = EveryNth::new(2);
    filter.tags_code = Some(message(1, 0).tags_code());
    let tagged: Vec<i64> = (0..120).filter(|offset| offset % 3 == 1).collect();
    let expected: Vec<i64> = tagged.iter().copied().filter(|offset| offset % 2 == 0).collect();
    assert_eq!(follow(&mut bench, &filter, 120), expected);
    assert_eq!(filter.take_seen(), tagged);
}

#[test]
fn dear_filters_see_fewer_entries_in_one_read() {
    let mut bench = filled(3, 60);
    let mut filter = EveryNth::new(1_000);
    filter.entries_max = 4;
    let result = read(&mut bench, &filter, 50).expect("fresh");
    assert_eq!((result.status, result.next_begin_offset), (ReadStatus::NoMatchedMessage, 54));
    filter.entries_max = 0;
    let result = read(&mut bench, &filter, 50).expect("fresh");
    assert_eq!(result.next_begin_offset, 51, "at least one");
}

/// What is damaged might have been wanted.
#[test]
fn a_damaged_record_is_reported_not_passed_over() {
    let mut bench = filled(4, 60);
    let segment = "/s/log/00000000000000000000";
    let file = bench.file(segment);
    let mut places = file.windows(8).enumerate().filter(|(_, w)| *w == b"UNIQ_KEY").map(|(place, _)| place);
    let place = places.nth(1).expect("there");
    assert!(bench.world.flip_bits(bench.host, segment, place as u64 + 2, 0x10));
    let filter = EveryNth::new(1_000);
    let error = read(&mut bench, &filter, 1).expect_err("bit rot");
    assert!(matches!(error, ReadError::Checksum { .. }), "{error}");
    assert_eq!(filter.take_seen(), Vec::<i64>::new(), "nobody judges by damaged properties");
    assert_eq!(
        read(&mut bench, &filter, 2).expect("its neighbours are unharmed").status,
        ReadStatus::NoMatchedMessage
    );
}

#[test]
fn a_fresh_record_is_found_by_its_place() {
    let mut bench = filled(5, 60);
    let question = |offset| {
        move |store: &mut ringmq_store::Store, _: &mut dyn ringmq_reactor::Io| {
            Lookup::Ready(store.fresh_record("t", 3, offset))
        }
    };
    let bytes = bench.look_up(question(59)).expect("no disk is asked").expect("the newest one");
    assert_eq!(RecordView::parse(&bytes).expect("a record").queue_offset(), 59);
    for elsewhere in [0, 60, -1] {
        assert_eq!(bench.look_up(question(elsewhere)).expect("no disk is asked"), None, "{elsewhere}");
    }
}
