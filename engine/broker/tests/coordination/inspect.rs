//! Looking at a metadata store: what is said agrees with what recovery does, and nothing is changed by looking.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmq_broker::metadata::journal::State;
use ringmq_broker::metadata::{
    Change, Journal, JournalOptions, Metadata, RecoverError, Sink, inspect, recover,
};
use ringmq_reactor::sim::{HostId, World};
use ringmq_remoting::body::TopicConfig;
use ringmq_store::inspect::Severity;

use crate::support::{run, world};

const DIR: &str = "/metadata";
/// A frame without a payload.
const FRAME_BYTES: usize = 40;
const LIMIT: Duration = Duration::from_secs(60);

/// Takes everything, keeps only what a snapshot needs.
#[derive(Default)]
struct Last(std::cell::RefCell<Vec<Change>>);

impl State for Last {
    type Cursor = usize;

    fn committed(&self, changes: Vec<Change>) {
        self.0.borrow_mut().extend(changes);
    }

    fn refused(&self) {}

    fn part(&self, cursor: &mut usize) -> Vec<Change> {
        let part: Vec<_> = self.0.borrow().iter().skip(*cursor).take(3).cloned().collect();
        *cursor += part.len();
        part
    }
}

struct Reading<'a>(&'a Last);

impl Sink for Reading<'_> {
    fn reset(&mut self) {
        self.0.0.borrow_mut().clear();
    }

    fn apply(&mut self, change: Change) {
        self.0.0.borrow_mut().push(change);
    }
}

fn topic(name: &str, queues: i32) -> Change {
    let config =
        TopicConfig { topic_name: name.to_owned(), read_queue_nums: queues, ..TopicConfig::default() };
    Change::Topic { name: name.to_owned(), config: Some(Arc::new(config)) }
}

fn offset(group: &str, queue: i32, offset: i64) -> Change {
    Change::Offsets { topic: Arc::from("A"), group: Arc::from(group), queues: vec![(queue, offset)] }
}

/// One life of a broker that makes these changes, one after the other.
fn live(world: &mut World, host: HostId, changes: Vec<Change>) {
    run(world, host, LIMIT, |io| async move {
        io.make_dir(DIR).await.expect("made");
        let state = Rc::new(Last::default());
        let recovered = recover(&io, Path::new(DIR), &mut Reading(&state)).await.expect("whole");
        let journal = Rc::new(Journal::new(io.clone(), JournalOptions::new(DIR.into())));
        io.spawn(Rc::clone(&journal).run(Rc::clone(&state), recovered));
        for change in changes {
            journal.append(vec![change]).outcome().await.expect("saved");
        }
        journal.close().await;
    });
}

/// Two lives: the snapshot of the first is kept in reserve.
fn store() -> (World, HostId) {
    let (mut world, hosts) = world(1, 1);
    live(&mut world, hosts[0], vec![topic("A", 4), topic("B", 8), offset("g", 0, 10), offset("h", 1, 3)]);
    let second = vec![
        topic("A", 6),
        Change::Topic { name: "B".to_owned(), config: None },
        offset("g", 2, 7),
        Change::GroupOffsetsGone(Arc::from("h")),
    ];
    live(&mut world, hosts[0], second);
    (world, hosts[0])
}

fn look(world: &mut World, host: HostId) -> Result<Option<Metadata>, RecoverError> {
    run(world, host, LIMIT, |io| async move { inspect(&io, Path::new(DIR)).await })
}

fn files(world: &World, host: HostId) -> Vec<(String, Vec<u8>)> {
    let names = world.list(host, DIR).into_iter().map(|entry| format!("{DIR}/{}", entry.name));
    names.map(|name| (name.clone(), world.read_file(host, &name).expect("there"))).collect()
}

#[test]
fn the_state_is_shown_and_every_snapshot_gives_it() {
    let (mut world, hosts) = world(1, 1);
    assert!(look(&mut world, hosts[0]).expect("an empty folder").is_none());
    let (mut world, host) = store();
    let before = files(&world, host);
    let metadata = look(&mut world, host).expect("whole").expect("a state");
    assert_eq!(files(&world, host), before, "looking writes nothing");
    assert_eq!((metadata.findings.len(), metadata.snapshots.len()), (0, 2));
    let tables = &metadata.tables;
    assert_eq!(
        tables.topics.values().map(|t| (&*t.topic_name, t.read_queue_nums)).collect::<Vec<_>>(),
        [("A", 6)]
    );
    let offsets: Vec<_> =
        tables.offsets.iter().flat_map(|(g, t)| t.values().map(move |q| (&**g, q))).collect();
    assert_eq!(offsets, [("g", &[(0, 10), (2, 7)].into())]);
}

#[test]
fn every_flipped_bit_is_named_or_in_a_file_that_is_not_needed() {
    let (world, host) = store();
    let all = files(&world, host);
    let newest = all.iter().map(|(name, _)| name.clone()).filter(|name| name.ends_with(".log")).max();
    let (mut corrupt, mut derived) = (0, 0);
    for (name, bytes) in all {
        for at in (0..bytes.len()).step_by(13) {
            let (mut world, host) = store();
            assert!(world.flip_bits(host, &name, at as u64, 1 << (at % 8)));
            match look(&mut world, host) {
                Ok(metadata) => {
                    let metadata = metadata.expect("a state");
                    let [finding] = &metadata.findings[..] else {
                        panic!("{name} {at}: {:?}", metadata.findings)
                    };
                    if Some(&name) == newest.as_ref() && at + FRAME_BYTES >= bytes.len() {
                        // The very last frame says only that nothing follows.
                        assert_eq!(finding.severity, Severity::TornTail);
                        continue;
                    }
                    assert_eq!(finding.severity, Severity::Derived, "{name} {at}: {finding:?}");
                    assert_eq!((metadata.snapshots.len(), metadata.tables.topics.len()), (1, 1));
                    assert!(
                        finding.file.ends_with(&name[1..]) && finding.bytes.contains(&(at as u64)),
                        "{finding:?}"
                    );
                    derived += 1;
                }
                Err(RecoverError::Corrupt { path, at: found, .. }) => {
                    assert!(path.ends_with(&name[1..]) && found <= at as u64, "{name} {at}");
                    corrupt += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(corrupt > 5 && derived > 20, "{corrupt} {derived}");
}

#[test]
fn a_torn_tail_is_told_from_corruption() {
    let (mut world, host) = store();
    let log =
        files(&world, host).into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".log")).max();
    let log = log.expect("a log");
    let bytes = world.read_file(host, &log).expect("there").len() as u64;
    // The last frame, which says that the broker ended in order, is torn: it has no payload.
    assert!(world.flip_bits(host, &log, bytes - 1, 1));
    let metadata = look(&mut world, host).expect("whole").expect("a state");
    let [finding] = &metadata.findings[..] else { panic!("{:?}", metadata.findings) };
    assert_eq!(
        (finding.severity, finding.bytes.clone()),
        (Severity::TornTail, bytes - FRAME_BYTES as u64..bytes)
    );
    assert_eq!(metadata.tables.topics.len(), 1);
}
