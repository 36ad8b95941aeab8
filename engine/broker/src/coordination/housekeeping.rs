//! What happens by the clock: silent clients, expired locks, offsets to disk, counters at midnight.

use std::rc::Rc;
use std::time::Duration;

use tracing::{info, warn};

use super::core::Core;
use super::files::MetadataFile;
use super::requests;
use super::runtime_info::totals;
use crate::message::ShardMessage;

/// How often silent clients are looked for, as in the reference.
const SCAN_PERIOD: Duration = Duration::from_secs(10);
/// How often deferred notices go out (`realTimeNotifyConsumerChange=false`), as in the reference.
const NOTICE_PERIOD: Duration = Duration::from_secs(15);
/// Shortest period of writing: a smaller setting is taken as this.
const FLUSH_PERIOD_MIN: Duration = Duration::from_millis(100);

/// Starts everything; it ends with the shard.
pub fn spawn(core: &Rc<Core>) {
    core.io.spawn(scan(Rc::clone(core)));
    core.io.spawn(send_deferred_notices(Rc::clone(core)));
    core.io.spawn(flush(Rc::clone(core), Rc::clone(&core.offsets_file), |core| {
        core.config().flush_consumer_offset_interval
    }));
    core.io.spawn(flush(Rc::clone(core), Rc::clone(&core.delay_file), |core| {
        core.config().flush_delay_offset_interval
    }));
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

async fn flush(core: Rc<Core>, file: Rc<MetadataFile>, period_ms: fn(&Core) -> u64) {
    loop {
        core.io.sleep(Duration::from_millis(period_ms(&core)).max(FLUSH_PERIOD_MIN)).await;
        // A failure has been logged, and is retried.
        let _ = file.save().await;
    }
}
