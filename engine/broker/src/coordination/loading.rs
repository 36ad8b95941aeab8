//! Taking the store at start: lock, metadata, and what data shards need of it.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use ringmq_reactor::OpenOptions;
use ringmq_reactor::task::Backup;
use tracing::info;

use super::core::Core;
use super::persistence::Loading;
use super::takeover::{self, TakeOverError};
use crate::message::ShardMessage;
use crate::metadata::{self, RecoverError};

/// Offsets per mail at start.
const OFFSETS_PER_MAIL: usize = 10_000;

/// Why the broker cannot start on this store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A folder or file.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Two brokers would destroy each other's data.
    #[error("{} is in use by another broker", .0.display())]
    InUse(PathBuf),
    /// The store was made for another number of shards.
    #[error(
        "this store was made with shards={made}, not {wanted}: queues would be looked for on the wrong shards. Start with \
         shards={made}"
    )]
    Shards {
        /// When it was made.
        made: String,
        /// Now.
        wanted: u16,
    },
    /// The metadata store.
    #[error(transparent)]
    Metadata(#[from] RecoverError),
    /// Metadata of another making.
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
}

/// Takes the store, reads what is persisted, and mails it to the data shards.
pub async fn load(core: &Rc<Core>) -> Result<(), StoreError> {
    take_store(core).await?;
    let config = core.config();
    let io = &core.io;
    let mut loading = Loading(core);
    let recovered = metadata::recover(io, &config.metadata_dir(), &mut loading).await?;
    if !recovered.found {
        takeover::take_over(io, &config.config_dir(), &mut loading).await?;
    }
    core.topics.borrow_mut().add_built_in(&config, core.now_ms());
    core.groups.borrow_mut().add_built_in(core.now_ms());
    core.io.spawn(Rc::clone(&core.journal).run(Rc::clone(core), recovered));
    // What was just added follows from the configuration: it need not be durable before it is used.
    drop(core.save());
    mail_all(core);
    Ok(())
}

/// Makes the folders, locks the store against other brokers for as long as this process lives, and checks that it
/// has the same number of shards.
async fn take_store(core: &Core) -> Result<(), StoreError> {
    let config = core.config();
    let root = &config.store_path_root_dir;
    let failed = |what: String| move |source| StoreError::Io { what, source };
    for dir in [root.clone(), config.config_dir(), config.metadata_dir()] {
        core.io.make_dir(&dir).await.map_err(failed(format!("cannot make {}", dir.display())))?;
    }
    // What is promised in these folders must not go with their names.
    core.io.sync_dir(root).await.map_err(failed(format!("cannot sync {}", root.display())))?;
    let lock = root.join("lock");
    let options = OpenOptions { create: true, lock: true, ..OpenOptions::default() };
    // The handle is given up, not closed: the lock ends with the process.
    match core.io.open(&lock, options).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(StoreError::InUse(root.clone()));
        }
        Err(error) => return Err(failed(format!("cannot lock {}", lock.display()))(error)),
    }
    let path = root.join("shards");
    match core.io.read_file(&path).await {
        Ok(text) => {
            let made = String::from_utf8_lossy(&text).trim().to_owned();
            if made != config.shards.to_string() {
                return Err(StoreError::Shards { made, wanted: config.shards });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = Bytes::from(format!("{}\n", config.shards));
            let written = core.io.replace_file(&path, text, Backup::None).await;
            written.map_err(failed(format!("cannot write {}", path.display())))?;
        }
        Err(error) => return Err(failed(format!("cannot read {}", path.display()))(error)),
    }
    Ok(())
}

/// Start, step 2.
fn mail_all(core: &Core) {
    let topics = core.topics.borrow().snapshot();
    let groups = core.groups.borrow().snapshot();
    info!(topics = topics.len(), groups = groups.len(), "metadata loaded");
    core.mail_all(|| ShardMessage::Topics(topics.clone()));
    core.mail_all(|| ShardMessage::Groups(groups.clone()));
    let mut by_owner: Vec<Vec<_>> = core.data_shards().map(|_| Vec::new()).collect();
    for offset in core.offsets.borrow().iter() {
        let owner = core.owner.of(&offset.topic, offset.queue_id);
        let part = &mut by_owner[usize::from(owner.0)];
        part.push(offset);
        if part.len() >= OFFSETS_PER_MAIL {
            core.mail(owner, ShardMessage::OffsetsLoaded(std::mem::take(part)));
        }
    }
    for (shard, offsets) in core.data_shards().zip(by_owner) {
        core.mail(shard, ShardMessage::OffsetsLoaded(offsets));
        core.mail(shard, ShardMessage::DelayLoaded(core.offsets.borrow().delay_of(shard.0)));
        core.mail(shard, ShardMessage::ConfigurationLoaded);
    }
}
