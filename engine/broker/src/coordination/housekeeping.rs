//! What happens by the clock: silent clients, expired locks, offsets to disk, exports, counters at midnight.

use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::core::Core;
use super::runtime_info::totals;
use super::{export, requests};
use crate::message::ShardMessage;

/// How often silent clients are looked for, as in the reference.
const SCAN_PERIOD: Duration = Duration::from_secs(10);
/// How often deferred notices go out (`realTimeNotifyConsumerChange=false`), as in the reference.
const NOTICE_PERIOD: Duration = Duration::from_secs(15);
/// How often a switched-off export looks whether it has been switched on.
const EXPORT_CHECK: Duration = Duration::from_secs(60);

/// Starts everything; it ends with the shard.
pub fn spawn(core: &Rc<Core>) {
    core.io.spawn(scan(Rc::clone(core)));
    core.io.spawn(send_deferred_notices(Rc::clone(core)));
    core.io.spawn(flush_offsets(Rc::clone(core)));
    core.io.spawn(export_metadata(Rc::clone(core)));
}

async fn scan(core: Rc<Core>) {
    loop {
        core.io.sleep(SCAN_PERIOD).await;
        let now_ms = core.now_ms();
        let departure = core.clients.borrow_mut().expire(now_ms, core.config().channel_expired_timeout);
        for channel in departure.channels {
            warn!(shard = %channel.shard, connection = %channel.connection, "client is silent: closing its connection");
            core.mail(channel.shard, ShardMessage::CloseConnection { connection: channel.connection });
        }
        for group in departure.consumer_groups {
            requests::left(&core, &group);
        }
        core.locks.borrow_mut().expire(now_ms);
        core.filters.borrow_mut().expire(now_ms);
        if core.mornings.borrow().is_due(now_ms)
            && let Ok(shards) = requests::shard_runtimes(&core).await
        {
            core.mornings.borrow_mut().note(now_ms, totals(&shards));
            info!("counters of the day noted");
        }
    }
}

async fn send_deferred_notices(core: Rc<Core>) {
    loop {
        core.io.sleep(NOTICE_PERIOD).await;
        let groups = std::mem::take(&mut *core.notices.borrow_mut());
        groups.iter().for_each(|group| requests::notify_members(&core, group));
    }
}

async fn flush_offsets(core: Rc<Core>) {
    let mut is_failing = false;
    loop {
        core.io.sleep(core.config().flush_offsets_period()).await;
        if !core.offsets.borrow().has_unsaved() {
            continue;
        }
        match core.flush_offsets().await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    warn!(%error, "consumer offsets are kept in memory until they can be written");
                }
            }
        }
    }
}

async fn export_metadata(core: Rc<Core>) {
    loop {
        match core.config().export_metadata_interval {
            0 => core.io.sleep(EXPORT_CHECK).await,
            period_ms => {
                core.io.sleep(Duration::from_millis(period_ms)).await;
                export::export(&core).await;
            }
        }
    }
}
