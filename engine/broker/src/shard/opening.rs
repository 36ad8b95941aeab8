//! Start of a data shard: its store is opened by a task; mail that arrives before it is there waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{ShardId, TaskIo, Tasks, with_causes};
use ringmq_store::{Flush, RecoveryReport, Store, StoreConfig, TailCacheFound, TailCacheUse, TailState};
use tracing::{error, info, warn};

use super::retention::retention_of;
use crate::config::for_tests::StoreScale;
use crate::config::{BrokerConfig, FlushDiskType};
use crate::message::ShardMessage;

/// An open store.
pub(crate) struct Opened {
    pub(crate) store: Store,
    /// Nothing that was ever acknowledged can be missing in its log.
    pub(crate) is_whole: bool,
}

/// The store, or why there is none, for the operator.
type Outcome = Result<Opened, String>;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Opening {
    outcome: Rc<RefCell<Option<Outcome>>>,
    mail: Vec<(ShardId, ShardMessage)>,
}

impl Opening {
    /// Starts the task.
    pub(crate) fn begin(&self, tasks: &Tasks, config: &Arc<BrokerConfig>, me: ShardId, token_owner: u8) {
        let outcome = Rc::clone(&self.outcome);
        let (io, config) = (tasks.handle(), Arc::clone(config));
        tasks.spawn(async move {
            let opened = open(io, &config, me, token_owner).await;
            *outcome.borrow_mut() = Some(opened);
        });
    }

    /// Mail for later.
    pub(crate) fn keep(&mut self, from: ShardId, message: ShardMessage) {
        self.mail.push((from, message));
    }

    /// The outcome, once, with the mail that waited for it.
    pub(crate) fn take_outcome(&mut self) -> Option<(Outcome, Vec<(ShardId, ShardMessage)>)> {
        let outcome = self.outcome.borrow_mut().take()?;
        Some((outcome, std::mem::take(&mut self.mail)))
    }
}

async fn open(io: TaskIo, config: &BrokerConfig, me: ShardId, token_owner: u8) -> Outcome {
    let (store, report) = Store::open(io, me, store_config(config, me, token_owner))
        .await
        .map_err(|error| with_causes(&error))?;
    info!(
        shard = %me,
        records = report.records,
        queues = report.queues,
        log_max = report.log_max.0,
        tail = ?report.tail,
        millis = report.elapsed.as_millis(),
        "store is open"
    );
    tell_tail_cache(&report, me, config);
    if report.discarded_records > 0 {
        warn!(
            shard = %me,
            records = report.discarded_records,
            bytes = report.truncated_bytes,
            "records behind a torn write were dropped; none of them had been acknowledged"
        );
    }
    Ok(Opened { store, is_whole: is_whole(&report) })
}

/// False after a power cut, or a kill of a broker whose tail cache did not outlive it.
fn is_whole(report: &RecoveryReport) -> bool {
    match report.tail {
        TailState::Fresh | TailState::Clean => true,
        TailState::Killed | TailState::Torn => {
            matches!(report.tail_cache, TailCacheFound::Used { lost: None, .. })
        }
    }
}

/// What became of the last life's tail cache, and what an ASYNC_FLUSH answer waits for from now on.
fn tell_tail_cache(report: &RecoveryReport, me: ShardId, config: &BrokerConfig) {
    match &report.tail_cache {
        TailCacheFound::Nothing => {}
        TailCacheFound::Refused(reason) => {
            warn!(shard = %me, %reason, "the tail cache of the store's last life is not used");
        }
        TailCacheFound::Used { records, bytes, warm_bytes, lost } => {
            info!(shard = %me, records, bytes, warm_bytes, "took over the tail cache of the store's last life");
            if let Some((from, to)) = lost {
                error!(
                    shard = %me, from = from.0, to = to.0,
                    "the tail cache in memory was damaged: acknowledged messages between these log offsets are lost"
                );
            }
        }
    }
    let answers_wait_for = match (config.flush_disk_type, &report.tail_cache_use) {
        (FlushDiskType::Sync, _) => "stable media",
        (FlushDiskType::Async, TailCacheUse::Mapped { .. }) => "the tail cache",
        (FlushDiskType::Async, TailCacheUse::Memory { .. }) => "the write to the log",
    };
    info!(shard = %me, tail_cache = %report.tail_cache_use, answers_wait_for, "durability");
}

fn store_config(config: &BrokerConfig, me: ShardId, token_owner: u8) -> StoreConfig {
    let dir = config.store_path_root_dir.join(format!("shard-{:02}", me.0));
    let interval = Duration::from_millis(config.flush_interval_commit_log);
    let full = StoreConfig {
        flush: match config.flush_disk_type {
            FlushDiskType::Sync => Flush::Sync,
            FlushDiskType::Async => Flush::Async { interval },
        },
        segment_bytes: config.mapped_file_size_commit_log,
        tail_cache_bytes: config.tail_cache_bytes,
        cache_bytes: config.read_cache_bytes,
        retention: Some(retention_of(config)),
        key_index: config.message_index_enable,
        key_filter_bytes: usize::try_from(config.max_key_filter_size / u64::from(config.shards))
            .unwrap_or(usize::MAX),
        flush_timed: config.flush_commit_log_timed,
        tail_cache_path: Some(config.tail_cache_path.clone()).filter(|path| !path.as_os_str().is_empty()),
        fault_acknowledge_early: config.for_tests.acknowledge_early,
        ..StoreConfig::new(dir, token_owner)
    };
    match config.for_tests.store_scale {
        StoreScale::Full => full,
        StoreScale::Small => small(full),
    }
}

/// See [`StoreScale::Small`].
fn small(full: StoreConfig) -> StoreConfig {
    StoreConfig {
        segment_bytes: 1 << 20,
        record_bytes_max: 128 << 10,
        write_bytes_max: 64 << 10,
        block_bytes: 256 << 10,
        tail_cache_bytes: 1 << 20,
        lazy_write_bytes: 32 << 10,
        cache_block_bytes: 16 << 10,
        cache_bytes: 512 << 10,
        zero_ahead_bytes: 256 << 10,
        checkpoint_bytes: 256 << 10,
        index_run_bytes: 128 << 10,
        in_memory_bytes: 1 << 20,
        key_table_entries: 512,
        key_run_log_bytes: 256 << 10,
        ..full
    }
}
