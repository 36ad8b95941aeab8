//! Reading the metadata files at start, and the tasks that write them.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use ringmq_reactor::OpenOptions;
use ringmq_reactor::task::Backup;
use ringmq_remoting::body::{ConsumerOffsetTable, SubscriptionGroupWrapper, TopicConfigWrapper};
use tracing::info;

use super::core::Core;
use super::files::{self, LoadError, MetadataFile};
use super::offsets::DelayProgress;
use crate::message::ShardMessage;

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
    /// A metadata file.
    #[error(transparent)]
    Metadata(#[from] LoadError),
}

/// Takes the store, reads what is persisted, and mails it to the data shards.
pub async fn load(core: &Rc<Core>) -> Result<(), StoreError> {
    take_store(core).await?;
    let dir = core.config().config_dir();
    let io = &core.io;
    let topics = files::load(io, &dir.join("topics.json"), TopicConfigWrapper::from_json).await?;
    let groups =
        files::load(io, &dir.join("subscriptionGroup.json"), SubscriptionGroupWrapper::from_json).await?;
    let offsets = files::load(io, &dir.join("consumerOffset.json"), ConsumerOffsetTable::from_json).await?;
    let delay = files::load(io, &dir.join("delayOffset.json"), DelayProgress::from_json).await?;
    if core.topics.borrow_mut().load(topics, &core.config(), core.now_ms()) {
        core.topics_file.touch();
    }
    if core.groups.borrow_mut().load(groups, core.now_ms()) {
        core.groups_file.touch();
    }
    core.offsets.borrow_mut().load(offsets, delay);
    spawn_writers(core);
    // What was just added is derived from the configuration: it need not be on disk before it is used.
    for file in [&core.topics_file, &core.groups_file].map(Rc::clone) {
        core.io.spawn(async move {
            // A failure has been logged, and is retried.
            let _ = file.save().await;
        });
    }
    mail_all(core);
    Ok(())
}

/// Makes the folders, locks the store against other brokers for as long as this process lives, and checks that it
/// has the same number of shards.
async fn take_store(core: &Core) -> Result<(), StoreError> {
    let config = core.config();
    let root = &config.store_path_root_dir;
    let failed = |what: String| move |source| StoreError::Io { what, source };
    for dir in [root.clone(), config.config_dir()] {
        core.io.make_dir(&dir).await.map_err(failed(format!("cannot make {}", dir.display())))?;
    }
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

fn spawn_writers(core: &Rc<Core>) {
    let write = |file: &Rc<MetadataFile>, content: fn(&Core) -> String, published: fn(&Core)| {
        let (for_content, for_published) = (Rc::clone(core), Rc::clone(core));
        let writer = Rc::clone(file).write_changes(
            core.io.clone(),
            move || Bytes::from(content(&for_content)),
            move || published(&for_published),
        );
        core.io.spawn(writer);
    };
    write(
        &core.topics_file,
        |core| {
            core.topics.borrow_mut().begin_save();
            core.topics.borrow().wrapper().to_json()
        },
        |core| {
            let changes = core.topics.borrow_mut().saved();
            if !changes.is_empty() {
                core.mail_all(|| ShardMessage::Topics(changes.clone()));
                core.registration.changed();
            }
        },
    );
    write(
        &core.groups_file,
        |core| {
            core.groups.borrow_mut().begin_save();
            core.groups.borrow().wrapper().to_json()
        },
        |core| {
            let changes = core.groups.borrow_mut().saved();
            if !changes.is_empty() {
                core.mail_all(|| ShardMessage::Groups(changes.clone()));
            }
        },
    );
    write(&core.offsets_file, |core| core.offsets.borrow_mut().offsets_json(core.now_ms()), |_| {});
    write(&core.delay_file, |core| core.offsets.borrow_mut().delay_json(core.now_ms()), |_| {});
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
