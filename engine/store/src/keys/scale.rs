//! How long queries by key take on a large index: a measurement, not a check. Entries are made up, files and reads are real.
//!
//! `KEYS=100000000 RUNS=100 cargo test --release -p ringmq-store --lib keys::scale -- --ignored --nocapture`
//! (100 million keys: 1.7 GB of files in the temporary folder, 130 MB of filters in memory; about a minute).

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmq_reactor::{
    Context, Event, Monotonic, ProcessSpec, Service, ShardId, ShardSpec, TaskIo, Tasks, uring,
};

use super::files::FoundRuns;
use super::hash::hash;
use super::search::Step;
use super::table::{Entry, Span};
use super::writer::RunWriter;
use super::{KEYS_DIR, KeyIndex, KeyKind, KeyLookup, KeyQuery, Shared};
use crate::config::StoreConfig;
use crate::offset::LogOffset;
use crate::token::Tokens;

const OWNER: u8 = 9;
const SEGMENT: u64 = 1 << 30;
const LOOKUPS: u64 = 2_000;
const TOPIC: &str = "scale";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Writes one run with `keys` keys for each of `runs` segments.
async fn build(io: &TaskIo, dir: &Path, runs: u64, keys: u64, filter_bytes: usize) {
    io.make_dir(dir).await.expect("a folder");
    for run in 0..runs {
        let from = LogOffset(run * SEGMENT);
        let time = run.cast_signed() * 1000;
        let span = Span { from, to: LogOffset(from.0 + SEGMENT), first_time: time, last_time: time + 999 };
        let place = |key: u64| LogOffset(from.0 + key * (SEGMENT / keys));
        let mut entries: Vec<Entry> = (0..keys)
            .map(|key| span.entry(hash(TOPIC, &(run * keys + key).to_string()), place(key), time))
            .collect();
        entries.sort_unstable();
        let mut writer = RunWriter::create(io, dir, 0, span, keys, filter_bytes).await.expect("a file");
        for entry in entries {
            writer.push(entry).await.expect("written");
        }
        writer.finish(run).await.expect("durable");
    }
}

/// One kind of lookup, and what it has cost so far.
struct Round {
    what: &'static str,
    first_key: u64,
    key_count: u64,
    done: u64,
    candidates: usize,
    latencies: Vec<Duration>,
}

struct Measurement {
    index: KeyIndex,
    rounds: Vec<Round>,
    lookup: Option<(KeyLookup, Monotonic)>,
    pages_before: u64,
}

impl Measurement {
    /// Goes on; `true` when all rounds are over.
    fn go_on(&mut self, io: &mut dyn Context<()>) -> bool {
        let mut tickets = Vec::new();
        self.index.take_completed(&mut tickets);
        loop {
            let Some(round) = self.rounds.last_mut() else { return true };
            let (lookup, since) = self.lookup.get_or_insert_with(|| {
                // A stride that is no divisor of anything: keys of all runs.
                let key = round.first_key + (round.done * 7_368_787) % round.key_count;
                let query = KeyQuery {
                    topic: TOPIC.to_string(),
                    key: key.to_string(),
                    kind: KeyKind::Any,
                    messages_max: 64,
                    begin_ms: 0,
                    end_ms: i64::MAX,
                };
                (KeyLookup::new(query), io.now())
            });
            let step = self.index.advance(io, Tokens { owner: OWNER }, lookup);
            match step {
                Step::More => continue,
                Step::Wait(_) => return false,
                Step::Failed(error) => panic!("{error}"),
                Step::End => {}
            }
            round.candidates += lookup.candidates.len();
            round.latencies.push(io.now().since(*since));
            round.done += 1;
            self.lookup = None;
            if round.done == LOOKUPS {
                self.end_round();
            }
            // Time stands still within a turn: one lookup a turn.
            io.timer(io.now(), ringmq_reactor::Token::new(1, 0));
            return self.rounds.is_empty();
        }
    }

    fn end_round(&mut self) {
        let mut round = self.rounds.pop().expect("a round");
        let figures = self.index.figures();
        round.latencies.sort_unstable();
        let at = |part: f64| round.latencies[((LOOKUPS - 1) as f64 * part) as usize];
        println!(
            "{:<8} {LOOKUPS} lookups, {} candidates, {:.2} pages each; p50 {:?}, p99 {:?}, max {:?}; {} keys in {} runs, filters {:.1} MB, all memory {:.1} MB",
            round.what,
            round.candidates,
            (figures.pages_read - self.pages_before) as f64 / LOOKUPS as f64,
            at(0.5),
            at(0.99),
            at(1.0),
            figures.entries,
            figures.runs,
            figures.filter_bytes as f64 / 1e6,
            figures.memory_bytes as f64 / 1e6,
        );
        self.pages_before = figures.pages_read;
    }
}

struct Driver {
    tasks: Tasks,
    measurement: Rc<RefCell<Option<Measurement>>>,
    config: StoreConfig,
}

impl Service<()> for Driver {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let (handle, config, into) = (self.tasks.handle(), self.config.clone(), Rc::clone(&self.measurement));
        self.tasks.spawn(async move {
            let (keys, runs) = (number("KEYS", 1_000_000), number("RUNS", 10));
            let dir = config.dir.join(KEYS_DIR);
            let began = handle.now();
            build(&handle, &dir, runs, keys / runs, usize::MAX).await;
            println!("{keys} keys in {runs} runs written in {:?}", handle.now().since(began));
            handle.sleep(Duration::from_millis(1)).await;
            let began = handle.now();
            let found = FoundRuns::find(&handle, ShardId(0), &config).await.expect("a folder");
            let tables = found.tables(&config, LogOffset(0));
            let index = KeyIndex::start(&handle, ShardId(0), &config, found, tables);
            handle.sleep(Duration::from_millis(1)).await;
            println!("opened in {:?}", handle.now().since(began));
            let shared = Rc::clone(&index.0.as_ref().expect("enabled").shared);
            wait_for_filters(&shared).await;
            println!("filters loaded after {:?}", handle.now().since(began));
            let round = |what, first_key| Round {
                what,
                first_key,
                key_count: keys,
                done: 0,
                candidates: 0,
                latencies: Vec::new(),
            };
            let rounds = vec![round("present", 0), round("absent", keys)];
            *into.borrow_mut() = Some(Measurement { index, rounds, lookup: None, pages_before: 0 });
            handle.yield_now().await;
        });
        self.tasks.run(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        let Some(event) = self.tasks.on_event(event) else { return };
        if let Event::File { token, result } = event {
            let tokens = Tokens { owner: OWNER };
            let mut measurement = self.measurement.borrow_mut();
            let index = &mut measurement.as_mut().expect("measuring").index;
            index.on_file(io, tokens, tokens.read(token).1, result);
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        let ended = self.measurement.borrow_mut().as_mut().is_some_and(|m| m.go_on(io));
        self.tasks.run(io);
        if ended {
            io.exit();
        }
    }
}

async fn wait_for_filters(shared: &Shared) {
    let mut before = usize::MAX;
    loop {
        let now = shared.state.borrow().figures().filter_bytes;
        if now == before {
            return;
        }
        before = now;
        shared.io.sleep(Duration::from_millis(300)).await;
    }
}

#[test]
#[ignore = "a measurement: see the module's text"]
fn lookups_on_a_large_index() {
    for filter_bytes in [usize::MAX, 0] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let dir = folder.path().to_owned();
        let service = Box::new(move |_| {
            let config = StoreConfig { key_filter_bytes: filter_bytes, ..StoreConfig::new(dir, OWNER) };
            Box::new(Driver { tasks: Tasks::new(), measurement: Rc::default(), config })
                as Box<dyn Service<()>>
        });
        let shards = vec![ShardSpec { name: "scale".to_string(), cpu: None, service }];
        let spec = ProcessSpec { name: "scale".to_string(), shards };
        let process = uring::launch(spec, uring::Options::default()).expect("io_uring");
        process.wait().expect("an orderly end");
    }
}
