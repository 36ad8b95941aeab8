//! What large metadata costs: memory, start-up, one change. On the kernel, in a folder that should be empty:
//!
//!     cargo run --release -p ringmq-broker --example metadata_cost -- FOLDER [topics [offsets]]
//!
//! Run it twice: the first run fills the folder, the second recovers what the first has written.

#![allow(clippy::disallowed_methods, reason = "a stand-alone measurement")]

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmq_broker::config::{BrokerConfig, HostFacts};
use ringmq_broker::coordination::core::Core;
use ringmq_broker::coordination::persistence::Loading;
use ringmq_broker::message::QueueOffset;
use ringmq_broker::metadata::recover;
use ringmq_reactor::{TaskIo, task, uring};
use ringmq_remoting::body::TopicConfig;

/// Queues in which each group has an offset.
const QUEUES: usize = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder");
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (topics, offsets) = (number(100_000), number(1_000_000));
    let spec = task::process("metadata_cost", move |io| measure(io, folder, topics, offsets));
    uring::launch(spec, uring::Options::default()).expect("started").wait().expect("ended");
}

async fn measure(io: TaskIo, folder: String, topics: usize, offsets: usize) {
    let text = format!("storePathRootDir={folder}");
    let (config, _) = BrokerConfig::from_text(&text, &[], &HostFacts::for_tests()).expect("valid");
    let dir = config.metadata_dir();
    io.make_dir(&dir).await.expect("made");
    let core = Rc::new(Core::new(Arc::new(config), io.clone()));
    let empty = resident();
    let begun = Instant::now();
    let recovered = recover(&io, &dir, &mut Loading(&core)).await.expect("recovered");
    let took = begun.elapsed();
    let found = core.topics.borrow().iter().count();
    println!("recovery: {found} topics, {} offsets in {took:?}", core.offsets.borrow().iter().count());
    let is_first = !recovered.found;
    io.spawn(Rc::clone(&core.journal).run(Rc::clone(&core), recovered));
    if is_first {
        fill(&core, topics, offsets).await;
    } else {
        println!("state: {} MiB", (resident() - empty) >> 20);
        let begun = Instant::now();
        while core.journal.stats().snapshots == 0 {
            io.sleep(Duration::from_millis(5)).await;
        }
        println!("snapshot: {} bytes in {:?}", core.journal.stats().snapshot_bytes, begun.elapsed());
    }
    let mut slowest = Duration::ZERO;
    let before = core.journal.stats();
    let begun = Instant::now();
    const CHANGES: u32 = 200;
    for change in 0..CHANGES {
        let at = Instant::now();
        update(&core, "topic-0000001", 1 + change as i32);
        core.save().outcome().await.expect("saved");
        slowest = slowest.max(at.elapsed());
    }
    let after = core.journal.stats();
    println!(
        "one change: {:?} on average, {slowest:?} at most, {} bytes",
        begun.elapsed() / CHANGES,
        (after.log_bytes - before.log_bytes) / u64::from(CHANGES)
    );
    core.journal.close().await;
}

fn update(core: &Core, name: &str, queues: i32) {
    let wanted = TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        ..TopicConfig::default()
    };
    core.topics.borrow_mut().update(wanted, &core.config(), 1).expect("valid");
}

async fn fill(core: &Rc<Core>, topics: usize, offsets: usize) {
    let begun = Instant::now();
    for topic in 0..topics {
        update(core, &format!("topic-{topic:07}"), 8);
        drop(core.save());
    }
    core.save().outcome().await.expect("saved");
    println!("{topics} topics made in {:?}", begun.elapsed());
    for at in 0..offsets {
        let pair = at / QUEUES;
        let offset = QueueOffset {
            topic: Arc::from(format!("topic-{:07}", pair % topics)),
            group: Arc::from(format!("group-{:05}", pair / topics)),
            queue_id: (at % QUEUES) as i32,
            offset: at as i64,
        };
        core.offsets.borrow_mut().commit(&offset);
    }
    let begun = Instant::now();
    core.flush_offsets().await.expect("saved");
    println!("{offsets} changed offsets written in {:?}", begun.elapsed());
}

/// Resident memory, bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
