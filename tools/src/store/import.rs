//! `rmq-store import`: moves the store of an Apache broker (4.9, 5.x) over, so that a RingMQ broker can take its place.
//!
//! ```text
//!   check     read the whole CommitLog: every record whole, where each queue begins, no gaps    (nothing is written)
//!   import    append to <DIR>.importing, shard by queue; queue offsets and store times stay; metadata copied
//!   verify    read the new store, compare with what was read
//!   done      <DIR>.importing becomes <DIR>, in one rename
//! ```
//! A broker therefore never starts on half an import: one that was interrupted leaves `<DIR>.importing`, which the next run removes and makes
//! anew.
//!
//! What changes: physical offsets, and with them the offset message ids that brokers give (`msgId` of send results) and the field
//! `preparedTransactionOffset`, which keeps pointing into Apache's log. UNIQ_KEY, which clients show as message id, stays. Delayed messages that
//! are still parked are numbered anew inside `SCHEDULE_TOPIC_XXXX`. Properties that are not UTF-8 are repaired as the broker does.
//!
//! What is left out, and counted: see [`plan::Skip`]. The choice there follows what Apache's consumers could still read.

mod check;
mod commit_log;
mod consume_queue;
mod plan;
mod service;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ringmq_broker::message::QueueOwner;
use ringmq_reactor::task::Backup;
use ringmq_reactor::{ProcessSpec, ShardId, ShardSpec, TaskIo, Tasks, uring};
use ringmq_remoting::body::{DelayOffsetTable, TopicConfigWrapper};
use ringmq_remoting::record::{RecordView, records};
use ringmq_store::{LogOffset, SEGMENT_BYTES, Store, StoreConfig};

use super::StoreToolError;
use super::place::Place;
use crate::block_on::BlockOnError;
use check::Sums;
use commit_log::{CommitLog, End};
use plan::{Facts, Plan, Skip};
use service::{Feed, Importer, Work, owner_of, properties_of};

/// Files that are taken over by the broker's first start.
const METADATA: [&str; 4] =
    ["topics.json", "subscriptionGroup.json", "consumerOffset.json", "delayOffset.json"];
/// In a folder that is ours to remove.
const MARK: &str = "import-is-running";
/// Blocks of a tail cache are 8 MiB: fewer than for a broker, for each of perhaps many shards.
const TAIL_CACHE_BYTES: usize = 32 << 20;

/// What to import, and where to.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The Apache broker's storePathRootDir, which holds commitlog/ and config/. The broker must be stopped.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Folders of the CommitLog, if they are elsewhere (storePathCommitLog); can be given several times.
    #[arg(long, value_name = "DIR")]
    commit_log: Vec<PathBuf>,
    /// The new broker's storePathRootDir (for `ringmq --data X` it is X/store). Must be missing or empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Data shards of the new broker, fixed for the store's life. [default: one per processor]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Size of the new store's files (mapedFileSizeCommitLog).
    #[arg(long, value_name = "BYTES", default_value_t = SEGMENT_BYTES)]
    segment_bytes: u64,
    /// Import although the broker's `abort` file is there, which says that it runs or has crashed. Make sure that it does not run.
    #[arg(long)]
    after_crash: bool,
    /// Where messages of a queue are missing, import what follows and leave out what lies before; else that is an error.
    #[arg(long)]
    allow_gaps: bool,
}

/// What an import did.
#[derive(Debug, Default)]
struct Summary {
    imported: u64,
    bytes: u64,
    queues: usize,
    parked: u64,
    empty_queues: usize,
    held_times: u64,
    skipped: BTreeMap<Skip, u64>,
    skipped_topics: BTreeMap<String, u64>,
    metadata: Vec<&'static str>,
    end: Option<End>,
}

/// Runs the import on a reactor of its own.
///
/// # Errors
/// See [`StoreToolError`]. The destination then does not exist.
pub fn run(options: Options) -> Result<(), StoreToolError> {
    let shards = match options.shards {
        Some(0) | Some(128..) => {
            return Err(StoreToolError::Missing("--shards must lie between 1 and 127".to_owned()));
        }
        Some(shards) => shards,
        None => {
            std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get().min(127)).unwrap_or(1))
        }
    };
    let (tell, told) = std::sync::mpsc::channel();
    let spec = ProcessSpec {
        name: "import".to_owned(),
        shards: vec![ShardSpec {
            name: "import".to_owned(),
            cpu: None,
            service: Box::new(move |_| {
                let (tasks, feed) = (Tasks::new(), Feed::default());
                let (io, task_feed) = (tasks.handle(), feed.clone());
                tasks.spawn(async move {
                    let result = import(&io, &task_feed, &options, shards).await;
                    // The caller waits for it.
                    let _ = tell.send(result);
                });
                Box::new(Importer { tasks, feed })
            }),
        }],
    };
    let process = uring::launch(spec, uring::Options::default()).map_err(BlockOnError::from)?;
    process.wait().map_err(BlockOnError::from)?;
    told.try_recv().map_err(|_| BlockOnError::Stopped)?
}

async fn import(io: &TaskIo, feed: &Feed, options: &Options, shards: u16) -> Result<(), StoreToolError> {
    let (work, parent) = prepare(io, options).await?;
    let facts = facts(io, options, shards).await?;
    let folders = match options.commit_log.as_slice() {
        [] => vec![options.from.join("commitlog")],
        given => given.to_vec(),
    };
    let log = CommitLog::open(io, &folders).await?;
    let mut summary = Summary::default();

    let mut plan = Plan::new(facts);
    summary.end = Some(examine(io, &log, &mut plan).await?);
    if !options.allow_gaps && !plan.gaps.is_empty() {
        return Err(StoreToolError::Missing(gaps_text(&plan)));
    }

    begin(io, &work, shards).await?;
    let places: Vec<_> = (0..shards)
        .map(|shard| Place { dir: work.join(format!("shard-{shard:02}")), shard: Some(ShardId(shard)) })
        .collect();
    let mut stores = Vec::new();
    for place in &places {
        let shard = place.shard.expect("numbered");
        let config = StoreConfig {
            segment_bytes: options.segment_bytes,
            // Not 0: queues may begin anywhere.
            log_start: LogOffset(options.segment_bytes),
            tail_cache_bytes: TAIL_CACHE_BYTES,
            ..StoreConfig::new(&place.dir, owner_of(shard))
        };
        stores.push(Store::open(io.clone(), shard, config).await?.0);
    }
    feed.set_stores(stores);
    let sums = copy(io, feed, &log, &mut plan, &mut summary).await?;
    summary.queues = plan.queue_count();
    copy_metadata(io, options, &work, &mut summary).await?;
    println!("verifying");
    sums.check(io, &places).await?;
    finish(io, &work, &options.to, &parent).await?;
    summary.print(options, shards).map_err(StoreToolError::Output)
}

/// Looks at both ends before anything is done; gives the folder to work in, and its parent.
async fn prepare(io: &TaskIo, options: &Options) -> Result<(PathBuf, PathBuf), StoreToolError> {
    let abort = options.from.join("abort");
    if !options.after_crash && io.read_file(&abort).await.is_ok() {
        return Err(StoreToolError::Missing(format!(
            "{} exists: the Apache broker is running, or it crashed. Stop it; after a crash, start and stop it once, or give --after-crash",
            abort.display()
        )));
    }
    let to = std::path::absolute(&options.to).map_err(cannot("resolve", &options.to))?;
    match io.list(&to).await {
        Ok(entries) if entries.is_empty() => {}
        Ok(_) => {
            return Err(StoreToolError::Missing(format!(
                "{} is not empty: an import makes a new store",
                to.display()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("list", &to)(error)),
    }
    let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
        return Err(StoreToolError::Missing(format!("{} cannot be made", to.display())));
    };
    let mut work = name.to_owned();
    work.push(".importing");
    Ok((parent.join(work), parent.to_owned()))
}

/// What Apache's files beside the log say.
async fn facts(io: &TaskIo, options: &Options, shards: u16) -> Result<Facts, StoreToolError> {
    let config = options.from.join("config");
    let topics = read_json(io, &config.join("topics.json"), |text| {
        TopicConfigWrapper::from_json(text).map(|topics| topics.topic_config_table.into_keys().collect())
    })
    .await?;
    let delay = read_json(io, &config.join("delayOffset.json"), DelayOffsetTable::from_json).await?;
    Ok(Facts {
        topics,
        consume_queues: consume_queue::read(io, &options.from).await?,
        orderly: !options.after_crash,
        delay_offsets: delay.map(|table| table.offset_table).unwrap_or_default(),
        owner: QueueOwner::new(shards),
    })
}

/// A metadata file, or its `.bak` where it is missing or damaged, as Apache reads them.
async fn read_json<T, E: std::fmt::Display>(
    io: &TaskIo,
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, StoreToolError> {
    let mut backup = path.as_os_str().to_owned();
    backup.push(".bak");
    let mut damaged = None;
    for path in [path, Path::new(&backup)] {
        match io.read_file(path).await {
            Ok(text) => match parse(&text) {
                Ok(value) => return Ok(Some(value)),
                Err(error) => {
                    damaged.get_or_insert(format!("{} is damaged: {error}", path.display()));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot("read", path)(error)),
        }
    }
    damaged.map_or(Ok(None), |text| Err(StoreToolError::Missing(text)))
}

fn progress(what: &'static str, bytes: u64) -> ProgressBar {
    let style = "{msg:10} {bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style).with_message(what)
}

/// First pass.
async fn examine(io: &TaskIo, log: &CommitLog, plan: &mut Plan) -> Result<End, StoreToolError> {
    let bar = progress("checking", log.bytes());
    let mut reader = log.reader(io);
    while let Some(stretch) = reader.next().await? {
        let mut at = stretch.start;
        for record in records(&stretch.bytes) {
            let record = record.expect("the reader gives whole records");
            plan.note(&record, at);
            at += record.total_bytes() as u64;
        }
        bar.inc(stretch.bytes.len() as u64);
    }
    bar.finish_and_clear();
    Ok(reader.end())
}

/// Second pass, to the end of everything written.
async fn copy(
    io: &TaskIo,
    feed: &Feed,
    log: &CommitLog,
    plan: &mut Plan,
    summary: &mut Summary,
) -> Result<Sums, StoreToolError> {
    let bar = progress("importing", log.bytes());
    let mut reader = log.reader(io);
    let mut sums = Sums::default();
    // By shard: store times never go back within a log.
    let mut newest = BTreeMap::<u16, i64>::new();
    while let Some(stretch) = reader.next().await? {
        let mut from = 0;
        while from < stretch.bytes.len() {
            let record = RecordView::parse(&stretch.bytes[from..]).expect("the reader gives whole records");
            let to = from + record.total_bytes();
            match plan.place(&record, stretch.start + from as u64) {
                Ok(place) => {
                    let properties = properties_of(&record);
                    sums.add(place.shard, &record, place.queue_offset, properties.as_bytes());
                    summary.note(&record);
                    let newest = newest.entry(place.shard.0).or_insert(i64::MIN);
                    summary.held_times += u64::from(record.store_timestamp() < *newest);
                    *newest = record.store_timestamp().max(*newest);
                    let (shard, queue_offset) = (place.shard, place.queue_offset);
                    let record = stretch.bytes.slice(from..to);
                    feed.push(Work::Record { record, shard, queue_offset }).await?;
                }
                Err(skip) => {
                    *summary.skipped.entry(skip).or_default() += 1;
                    if skip != Skip::Delivered {
                        *summary.skipped_topics.entry(record.topic().to_owned()).or_default() += 1;
                    }
                }
            }
            from = to;
        }
        bar.inc(stretch.bytes.len() as u64);
    }
    for (topic, queue_id, next_offset) in plan.empty_queues() {
        summary.empty_queues += 1;
        let shard = plan.shard_of(&topic, queue_id);
        feed.push(Work::QueueEnd { topic, queue_id, shard, next_offset }).await?;
    }
    feed.close().await?;
    bar.finish_and_clear();
    Ok(sums)
}

/// Makes the folder to work in, in place of an earlier one of ours.
async fn begin(io: &TaskIo, work: &Path, shards: u16) -> Result<(), StoreToolError> {
    match io.list(work).await {
        Ok(entries) if entries.iter().any(|entry| entry.name == MARK) => {
            println!("{}: what an interrupted import left is removed", work.display());
            #[allow(clippy::disallowed_methods, reason = "a tool, with nothing else to do meanwhile")]
            std::fs::remove_dir_all(work).map_err(cannot("remove", work))?;
        }
        Ok(entries) if entries.is_empty() => {}
        Ok(_) => {
            return Err(StoreToolError::Missing(format!(
                "{} is in the way, and no import made it",
                work.display()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("list", work)(error)),
    }
    io.make_dir(work).await.map_err(cannot("make", work))?;
    let mark = Bytes::from_static(b"an import into this folder is running, or was interrupted\n");
    for (name, text) in [(MARK, mark), ("shards", Bytes::from(format!("{shards}\n")))] {
        let path = work.join(name);
        io.replace_file(&path, text, Backup::None).await.map_err(cannot("write", &path))?;
    }
    Ok(())
}

/// Leaves Apache's metadata where the broker's first start takes it over.
async fn copy_metadata(
    io: &TaskIo,
    options: &Options,
    work: &Path,
    summary: &mut Summary,
) -> Result<(), StoreToolError> {
    let config = work.join("config");
    io.make_dir(&config).await.map_err(cannot("make", &config))?;
    for name in METADATA {
        let source = options.from.join("config").join(name);
        let whole = |text: &[u8]| ringmq_remoting::json::parse(text).map(|_| Bytes::copy_from_slice(text));
        if let Some(text) = read_json(io, &source, whole).await? {
            let path = config.join(name);
            io.replace_file(&path, text, Backup::None).await.map_err(cannot("write", &path))?;
            summary.metadata.push(name);
        }
    }
    Ok(())
}

async fn finish(io: &TaskIo, work: &Path, to: &Path, parent: &Path) -> Result<(), StoreToolError> {
    let mark = work.join(MARK);
    io.remove(&mark).await.map_err(cannot("remove", &mark))?;
    io.sync_dir(work).await.map_err(cannot("sync", work))?;
    let to = std::path::absolute(to).map_err(cannot("resolve", to))?;
    io.rename(work, &to).await.map_err(cannot("rename", work))?;
    io.sync_dir(parent).await.map_err(cannot("sync", parent))
}

fn cannot(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreToolError {
    let path = path.to_owned();
    move |source| StoreToolError::Io { what: format!("cannot {action} {}", path.display()), source }
}

fn gaps_text(plan: &Plan) -> String {
    let mut text = format!("{} queues have gaps, so messages are missing:", plan.gaps.len());
    for gap in plan.gaps.iter().take(10) {
        text.push_str(&format!(
            " {} queue {} goes from {} to {};",
            gap.topic, gap.queue_id, gap.expected, gap.found
        ));
    }
    text.push_str(
        " nothing was imported. --allow-gaps imports what follows each gap and leaves out what lies before",
    );
    text
}

impl Summary {
    fn note(&mut self, record: &RecordView<'_>) {
        self.imported += 1;
        self.bytes += record.total_bytes() as u64;
        self.parked += u64::from(record.topic() == plan::SCHEDULE_TOPIC);
    }

    fn print(&self, options: &Options, shards: u16) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "imported {} messages, {} bytes, of {} queues into {} shards; verified",
            self.imported, self.bytes, self.queues, shards
        )?;
        if self.parked > 0 {
            writeln!(out, "  {} of them are delayed messages that wait for their time", self.parked)?;
        }
        if self.empty_queues > 0 {
            writeln!(out, "  {} queues without messages go on at their offsets", self.empty_queues)?;
        }
        if self.held_times > 0 {
            writeln!(out, "  {} store times went back and were held", self.held_times)?;
        }
        if let Some(End { at, torn: Some(cause) }) = &self.end {
            writeln!(
                out,
                "  Apache's log ends at offset {at} with bytes that are no record, which are left out: {cause}"
            )?;
        }
        for (skip, count) in &self.skipped {
            writeln!(out, "left out: {count} {}", skip.text())?;
        }
        for (topic, count) in &self.skipped_topics {
            writeln!(out, "  {count} in {topic}")?;
        }
        writeln!(
            out,
            "metadata taken along: {}",
            if self.metadata.is_empty() { "none was found".to_owned() } else { self.metadata.join(", ") }
        )?;
        writeln!(
            out,
            "start the broker with storePathRootDir={} and shards={shards}; physical offsets, and message ids made of them, are new",
            options.to.display()
        )
    }
}
