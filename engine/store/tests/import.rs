//! Taking over messages of another store: offsets and times stay, order is kept, recovery agrees.

#![forbid(unsafe_code)]

mod support;

use ringmq_store::{
    Boundary, Flush, ImportError, ImportedPlace, LogOffset, PhysicalOffset, QueueInfo, StoreConfig, TailState,
};
use support::bench::*;
use support::*;

/// Imports a message; what the store said.
fn import(
    bench: &mut Bench,
    topic: &str,
    id: u64,
    queue_offset: i64,
    store_timestamp: i64,
) -> Result<(), ImportError> {
    let (done, heard) = std::sync::mpsc::channel();
    let message = Message { topic: topic.into(), ..message(id, 200) };
    bench.remote.call(move |store, io, answers| {
        let (body, properties) = (message.body(), message.properties());
        let place = ImportedPlace { queue_offset, store_timestamp };
        let result =
            store.append_imported(io, &draft(&message, &body, &properties), message.tags_code(), place);
        if let Ok(appended) = &result {
            answers.await_acknowledgement(appended.end, message.id);
        }
        done.send(result.map(drop)).expect("heard");
    });
    bench.settle();
    heard.try_recv().expect("answered")
}

fn queues(bench: &mut Bench) -> Vec<QueueInfo> {
    let (done, heard) = std::sync::mpsc::channel();
    bench.remote.call(move |store, _, _| done.send(store.queues().collect()).expect("heard"));
    bench.settle();
    heard.try_recv().expect("answered")
}

#[test]
fn queues_begin_where_they_began_and_go_on_from_there() {
    let start = LogOffset(128 << 10);
    let config = StoreConfig { flush: Flush::Sync, log_start: start, ..small_config("/s") };
    let mut bench = Bench::new(1, config);
    for (id, topic, offset, time) in
        [(0, "t", 57, 1000), (1, "t", 58, 1000), (2, "u", 9, 2000), (3, "t", 59, 1500)]
    {
        import(&mut bench, topic, id, offset, time).expect("in order");
    }
    for (offset, expected) in [(59, 60), (61, 60), (0, 60)] {
        match import(&mut bench, "t", 9, offset, 3000) {
            Err(ImportError::QueueOffset { expected: e, found, .. }) => {
                assert_eq!((e, found), (expected, offset))
            }
            other => panic!("{other:?}"),
        }
    }
    bench.remote.call(|store, io, _| {
        store.import_queue_end(io, "v", 3, 33).expect("unknown so far");
        assert!(store.import_queue_end(io, "t", 3, 61).is_err(), "it ends at 60");
    });
    bench.settle();
    let check = |bench: &mut Bench| {
        let all: Vec<_> = queues(bench)
            .into_iter()
            .map(|q| (q.topic.to_string(), q.min_offset, q.max_offset, q.newest_store_time))
            .collect();
        // A store time never goes back within a log: 1500 became 2000.
        let expected = [("t", 57, 60, 2000), ("u", 9, 10, 2000), ("v", 33, 33, 0)];
        assert_eq!(all, expected.map(|(topic, min, max, newest)| (topic.to_owned(), min, max, newest)));
    };
    check(&mut bench);
    assert_eq!(bench.restart(), TailState::Clean);
    check(&mut bench);
    let process = bench.process;
    bench.world.kill(process);
    assert_eq!(bench.start(), TailState::Killed);
    check(&mut bench);
    let mut at = |time| {
        bench
            .look_up(move |store, io| store.offset_by_time(io, "t", 3, time, Boundary::Lower))
            .expect("readable")
    };
    assert_eq!((at(1000), at(1001)), (Some(57), Some(59)));
    let entry = bench.look_up(|store, io| store.entry(io, "t", 3, 57)).expect("readable").expect("there");
    let place = entry.physical_offset;
    bench.remote.call(move |store, _, _| assert_eq!(store.log_min(), start));
    bench.settle();
    assert_eq!(place, PhysicalOffset::new(SHARD, start));
    bench.append(&message(20, 200));
    bench.settle();
    assert_eq!(queues(&mut bench)[0].max_offset, 61, "ordinary messages follow");
}

#[test]
fn a_log_that_begins_at_0_has_queues_that_do() {
    let mut bench = Bench::new(2, small_config("/s"));
    assert!(matches!(
        import(&mut bench, "t", 0, 5, 1000),
        Err(ImportError::QueueOffset { expected: 0, found: 5, .. })
    ));
    import(&mut bench, "t", 1, 0, 1000).expect("from the start");
}
