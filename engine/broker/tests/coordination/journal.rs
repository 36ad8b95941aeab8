//! The metadata journal against a plain map: crashes, power cuts, failing and full disks, flipped bits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_broker::metadata::journal::JournalStats;
use ringmq_broker::metadata::{
    Change, Journal, JournalOptions, RecoverError, SaveError, Sink, State, recover,
};
use ringmq_reactor::TaskIo;
use ringmq_reactor::sim::{DiskFaults, HostId, World};
use ringmq_remoting::body::TopicConfig;

use crate::support::{run, world};

const DIR: &str = "/metadata";
const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_secs(3_600);

/// Name → number of queues.
type Map = BTreeMap<String, i32>;

/// What is kept durable.
#[derive(Default)]
struct Toy(RefCell<Map>);

fn apply(map: &mut Map, change: Change) {
    match change {
        Change::Topic { name, config: Some(config) } => map.insert(name, config.read_queue_nums),
        Change::Topic { name, config: None } => map.remove(&name),
        other => panic!("{other:?}"),
    };
}

fn put(name: &str, value: i32) -> Change {
    let config = TopicConfig { read_queue_nums: value, ..TopicConfig::default() };
    Change::Topic { name: name.to_owned(), config: Some(Arc::new(config)) }
}

fn delete(name: &str) -> Change {
    Change::Topic { name: name.to_owned(), config: None }
}

impl State for Toy {
    type Cursor = Option<String>;

    fn committed(&self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| apply(&mut self.0.borrow_mut(), change));
    }

    fn refused(&self) {}

    /// One entry at a time: much happens between two of them.
    fn part(&self, cursor: &mut Self::Cursor) -> Vec<Change> {
        let map = self.0.borrow();
        let next = map.iter().find(|(name, _)| cursor.as_ref().is_none_or(|last| *name > last));
        let Some((name, value)) = next else { return Vec::new() };
        *cursor = Some(name.clone());
        vec![put(name, *value)]
    }
}

struct Reading<'a>(&'a Toy);

impl Sink for Reading<'_> {
    fn reset(&mut self) {
        self.0.0.borrow_mut().clear();
    }

    fn apply(&mut self, change: Change) {
        apply(&mut self.0.0.borrow_mut(), change);
    }
}

/// Recovers, and starts to write.
async fn open(io: &TaskIo, log_bytes_min: u64) -> Result<(Rc<Journal>, Rc<Toy>), RecoverError> {
    io.make_dir(DIR).await.expect("made");
    let toy = Rc::new(Toy::default());
    let recovered = recover(io, Path::new(DIR), &mut Reading(&toy)).await?;
    let options = JournalOptions { log_bytes_min, ..JournalOptions::new(DIR.into()) };
    let journal = Rc::new(Journal::new(io.clone(), options));
    io.spawn(Rc::clone(&journal).run(Rc::clone(&toy), recovered));
    Ok((journal, toy))
}

/// What the disk holds, without changing it.
fn look(world: &mut World, host: HostId) -> Result<(Map, usize), RecoverError> {
    run(world, host, LIMIT, |io| async move {
        let toy = Toy::default();
        let recovered = recover(&io, Path::new(DIR), &mut Reading(&toy)).await?;
        Ok((toy.0.into_inner(), recovered.damaged.len()))
    })
}

#[test]
fn what_was_saved_is_there_again() {
    let (mut world, hosts) = world(1, 1);
    for life in 1..4 {
        let before = run(&mut world, hosts[0], LIMIT, move |io| async move {
            let (journal, toy) = open(&io, 4 << 20).await.expect("recovered");
            let before = toy.0.borrow().len();
            let both =
                [journal.append(vec![put("a", life)]), journal.append(vec![put(&life.to_string(), 1)])];
            assert!(journal.is_busy() && toy.0.borrow().get("a") != Some(&life), "not before it is durable");
            for saved in both {
                saved.outcome().await.expect("saved");
            }
            assert_eq!(toy.0.borrow()["a"], life);
            journal.close().await;
            assert!(matches!(journal.append(Vec::new()).outcome().await, Err(SaveError::Stopping)));
            before
        });
        assert_eq!(before as i32, if life == 1 { 0 } else { life });
    }
    let (map, _) = look(&mut world, hosts[0]).expect("whole");
    assert_eq!(map.len(), 4);
}

#[test]
fn a_change_costs_the_same_however_large_the_table_is() {
    let (mut world, hosts) = world(2, 1);
    let costs = run(&mut world, hosts[0], LIMIT, |io| async move {
        let (journal, _) = open(&io, 4 << 20).await.expect("recovered");
        let mut costs = Vec::new();
        for size in [10, 5_000] {
            for at in 0..size {
                drop(journal.append(vec![put(&format!("topic-{at:06}"), 1)]));
            }
            journal.append(Vec::new()).outcome().await.expect("saved");
            let JournalStats { log_bytes: before, snapshots, .. } = journal.stats();
            journal.append(vec![put("topic-000000", 2)]).outcome().await.expect("saved");
            assert_eq!(journal.stats().snapshots, snapshots);
            costs.push(journal.stats().log_bytes - before);
        }
        journal.close().await;
        costs
    });
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn many_changes_at_once_share_writes() {
    let (mut world, hosts) = world(3, 1);
    let batches = run(&mut world, hosts[0], LIMIT, |io| async move {
        let (journal, _) = open(&io, 4 << 20).await.expect("recovered");
        journal.append(vec![put("warm", 1)]).outcome().await.expect("saved");
        let saved: Vec<_> = (0..1_000).map(|at| journal.append(vec![put(&at.to_string(), at)])).collect();
        for saved in saved {
            saved.outcome().await.expect("saved");
        }
        let stats = journal.stats();
        journal.close().await;
        stats.batches
    });
    assert!(batches <= 3, "{batches} writes for 1,000 changes");
}

/// Fills a folder with two whole generations and a third log.
fn fill(world: &mut World, host: HostId, in_order: bool) -> Map {
    for life in 1..=3 {
        run(world, host, LIMIT, move |io| async move {
            let (journal, _) = open(&io, 4 << 20).await.expect("recovered");
            for name in ["a", "b", "c"] {
                journal.append(vec![put(name, life), delete("b")]).outcome().await.expect("saved");
            }
            // The snapshot, and the mark behind the last change.
            io.sleep(3_000 * MS).await;
            assert_eq!(journal.stats().snapshots, 1);
            if in_order {
                journal.close().await;
            }
        });
    }
    look(world, host).expect("whole").0
}

#[test]
fn every_flipped_bit_is_reported_or_harmless() {
    for in_order in [true, false] {
        let (mut world, hosts) = world(4, 1);
        let host = hosts[0];
        let expected = fill(&mut world, host, in_order);
        assert_eq!(expected, Map::from([("a".to_owned(), 3), ("c".to_owned(), 3)]));
        let files = world.list(host, DIR);
        assert!(files.len() >= 4, "{files:?}");
        let (mut reported, mut repaired, mut harmless) = (0, 0, 0);
        for file in files {
            let path = Path::new(DIR).join(&file.name);
            for at in 0..file.bytes {
                // Frames as such have every bit of theirs tried elsewhere.
                let mask = 1 << (at * 5 % 8);
                assert!(world.flip_bits(host, &path, at, mask));
                match look(&mut world, host) {
                    Ok((map, damaged)) => {
                        assert_eq!(map, expected, "byte {at} of {}: something else was read", file.name);
                        repaired += damaged;
                        harmless += 1;
                    }
                    Err(RecoverError::Corrupt { path: named, .. }) => {
                        assert_eq!(named, path, "the wrong file is blamed");
                        reported += 1;
                    }
                    Err(other) => panic!("byte {at} of {}: {other}", file.name),
                }
                assert!(world.flip_bits(host, &path, at, mask));
            }
        }
        println!("in order: {in_order}; {reported} reported, {repaired} repaired, {harmless} harmless");
        assert!(reported > 100 && repaired > 100 && harmless > repaired);
    }
}

#[test]
fn with_all_snapshots_or_a_log_gone_nothing_is_guessed() {
    for gone in ["00000000000000000003.log", "00000000000000000002.log"] {
        let (mut world, hosts) = world(5, 1);
        let expected = fill(&mut world, hosts[0], true);
        let path = Path::new(DIR).join(gone);
        run(&mut world, hosts[0], LIMIT, move |io| async move { io.remove(path).await.expect("removed") });
        match look(&mut world, hosts[0]) {
            // The snapshot of the third generation has what was in the second log.
            Ok((map, _)) => assert_eq!((map, gone), (expected, "00000000000000000002.log")),
            Err(error) => assert!(error.to_string().contains("00000000000000000003.log"), "{error}"),
        }
    }
    let (mut world, hosts) = world(5, 1);
    fill(&mut world, hosts[0], true);
    run(&mut world, hosts[0], LIMIT, |io| async move {
        for generation in 1..=3 {
            // The first has been removed already.
            let _ = io.remove(Path::new(DIR).join(format!("{generation:020}.snapshot"))).await;
        }
    });
    let error = look(&mut world, hosts[0]).expect_err("nothing to begin with");
    assert!(error.to_string().contains("the snapshot before them is missing"), "{error}");
}

/// What the writers of the random test were told.
#[derive(Default)]
struct Told {
    /// Last value that was confirmed, by writer.
    confirmed: BTreeMap<u32, i32>,
    /// Values whose fate is not known, or that failed when a write failed: they may be there or not.
    open: BTreeMap<u32, BTreeSet<i32>>,
    next: i32,
    lives: u32,
    refused: u32,
    confirmations: u32,
    snapshots: u64,
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<Told>>;

const WRITERS: u32 = 4;

/// The two names that a writer changes together; some are long, so that frames cross pages.
fn names(writer: u32) -> [String; 2] {
    let long = "x".repeat([0, 100, 3_000, 9_000][writer as usize % 4]);
    ["a", "b"].map(|half| format!("{half}-{writer}-{long}"))
}

async fn life(io: TaskIo, shared: Shared) {
    let (journal, toy) = match open(&io, 20_000).await {
        Ok(opened) => opened,
        Err(RecoverError::Io { .. }) => return,
        Err(error) => return shared.lock().expect("one thread").wrong.push(error.to_string()),
    };
    check(&toy.0.borrow(), &mut shared.lock().expect("one thread"));
    for writer in 0..WRITERS {
        io.spawn(write(io.clone(), writer, Rc::clone(&journal), Arc::clone(&shared)));
    }
    loop {
        io.sleep(10 * MS).await;
        shared.lock().expect("one thread").snapshots += u64::from(journal.stats().snapshots > 1);
    }
}

fn check(map: &Map, told: &mut Told) {
    told.lives += 1;
    for writer in 0..WRITERS {
        let [a, b] = names(writer).map(|name| map.get(&name).copied());
        let allowed = told.open.entry(writer).or_default();
        let is_allowed = a == told.confirmed.get(&writer).copied() || a.is_some_and(|a| allowed.contains(&a));
        if a != b {
            told.wrong.push(format!("writer {writer}: half a transaction: {a:?} and {b:?}"));
        }
        if !is_allowed {
            let confirmed = told.confirmed.get(&writer);
            told.wrong.push(format!("writer {writer}: {a:?}, but {confirmed:?} was confirmed last"));
        }
    }
}

async fn write(io: TaskIo, writer: u32, journal: Rc<Journal>, shared: Shared) {
    loop {
        io.sleep(MS * (io.random() % 30) as u32).await;
        let value = {
            let mut told = shared.lock().expect("one thread");
            told.next += 1;
            let value = told.next;
            told.open.entry(writer).or_default().insert(value);
            value
        };
        let changes = names(writer).iter().map(|name| put(name, value)).collect();
        let outcome = journal.append(changes).outcome().await;
        let mut told = shared.lock().expect("one thread");
        match outcome {
            Ok(()) => {
                told.confirmations += 1;
                told.confirmed.insert(writer, value);
                told.open.remove(&writer);
            }
            Err(SaveError::NoSpace { .. }) => {
                told.refused += 1;
                // It must never be seen.
                told.open.entry(writer).or_default().remove(&value);
            }
            Err(_) => told.refused += 1,
        }
    }
}

#[test]
fn crashes_power_cuts_and_ill_disks_take_nothing_that_was_confirmed() {
    let mut totals = (0, 0, 0, 0);
    for seed in 0..150 {
        let (mut world, hosts) = world(seed, 1);
        let host = hosts[0];
        let shared = Shared::default();
        for round in 0..8 {
            let told = Arc::clone(&shared);
            let process =
                world.start(host, ringmq_reactor::task::process("journal", move |io| life(io, told)));
            let run_ms = world.random().between(5, 1_500);
            let trouble = if round < 7 { world.random().below(4) } else { 0 };
            match trouble {
                1 => {
                    let error = DiskFaults { write_error: 0.03, sync_error: 0.03, ..DiskFaults::default() };
                    world.set_disk_faults(host, error);
                }
                2 => world.set_disk_capacity(host, world_used(&world, host) + 30_000),
                _ => {}
            }
            world.run_for(MS * run_ms as u32);
            if world.random().one_in(2) {
                world.power_cut(host);
            } else {
                world.kill(process);
            }
            world.set_disk_faults(host, DiskFaults::default());
            world.set_disk_capacity(host, 1 << 40);
            let told = shared.lock().expect("one thread");
            assert!(told.wrong.is_empty(), "seed {seed}, round {round}: {:?}", told.wrong);
        }
        let (map, _) = look(&mut world, host).expect("whole");
        let mut told = shared.lock().expect("one thread");
        check(&map, &mut told);
        assert!(told.wrong.is_empty(), "seed {seed}, at the end: {:?}", told.wrong);
        assert!(world.list(host, DIR).len() <= 40, "old files stay: {:?}", world.list(host, DIR));
        totals.0 += told.lives;
        totals.1 += told.confirmations;
        totals.2 += told.refused;
        totals.3 += told.snapshots;
    }
    let (lives, confirmed, refused, snapshots) = totals;
    println!("{lives} lives, {confirmed} confirmed, {refused} refused");
    assert!(
        confirmed > 10_000 && refused > 500 && snapshots > 100,
        "{totals:?}: a run that does nothing proves nothing"
    );
}

/// Bytes that the files take up.
fn world_used(world: &World, host: HostId) -> u64 {
    world.list(host, DIR).iter().map(|file| file.bytes.next_multiple_of(4_096)).sum()
}
