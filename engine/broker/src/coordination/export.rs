//! Exports of the metadata in RocketMQ's shapes: `<storePathRootDir>/config/{topics,subscriptionGroup,consumerOffset,delayOffset,messageRequestMode}.json`.
//!
//! For operators' scripts, for going back to an Apache broker, and as a last resort when the metadata store itself is lost. Nothing
//! reads them while there is a metadata store: changing them changes nothing. They are written every
//! `exportMetadataInterval` as far as something changed, and when the broker stops in order; each is replaced as a whole. The first
//! member, which RocketMQ's own readers pass over, says what they are.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ringmq_reactor::task::Notify;
use ringmq_reactor::{FileId, OpenOptions, TaskIo, WriteData};
use ringmq_remoting::body::DataVersion;
use ringmq_remoting::json::{self, ToJson};
use tracing::warn;

use super::core::Core;
use super::offsets::SEPARATOR;
use crate::metadata::Table;

/// First member of every export, and what it says.
pub const MARK: (&str, &str) =
    ("exportedBy", "RingMQ, from its metadata store; changes made here have no effect");

/// The files, by table.
pub const FILES: [(Table, &str); 5] = [
    (Table::Topics, "topics.json"),
    (Table::Groups, "subscriptionGroup.json"),
    (Table::Offsets, "consumerOffset.json"),
    (Table::Delay, "delayOffset.json"),
    (Table::RequestModes, "messageRequestMode.json"),
];

/// Text per write.
const WRITE_BYTES: usize = 256 << 10;

/// What has been exported. Lives on the coordination shard.
#[derive(Debug, Default)]
pub struct Exporter {
    /// Versions in the files, in the order of [`FILES`].
    exported: Cell<[Option<DataVersion>; FILES.len()]>,
    is_running: Cell<bool>,
    ended: Notify,
}

/// Writes what changed since the last export. A failure is logged; the next call tries again.
pub async fn export(core: &Core) {
    let this = &core.exporter;
    while this.is_running.get() {
        this.ended.notified().await;
    }
    this.is_running.set(true);
    let dir = core.config().config_dir();
    for (index, (table, name)) in FILES.into_iter().enumerate() {
        let version = version(core, table);
        if this.exported.get()[index] == Some(version) {
            continue;
        }
        let path = dir.join(name);
        match write(core, table, &path).await {
            Ok(()) => {
                let mut exported = this.exported.get();
                exported[index] = Some(version);
                this.exported.set(exported);
            }
            Err(error) => {
                warn!(file = %path.display(), %error, "metadata cannot be exported; nothing is lost")
            }
        }
    }
    this.is_running.set(false);
    this.ended.notify_all();
}

fn version(core: &Core, table: Table) -> DataVersion {
    match table {
        Table::Topics => core.topics.borrow().version(),
        Table::Groups => core.groups.borrow().version(),
        Table::Offsets => core.offsets.borrow().version(),
        Table::Delay => core.offsets.borrow().delay().data_version,
        Table::RequestModes => core.modes.borrow().version(),
    }
}

/// Writes one table. It may change meanwhile: each entry is as it was at some moment of the export.
async fn write(core: &Core, table: Table, path: &Path) -> io::Result<()> {
    let mut text = TextFile::create(&core.io, path).await?;
    let filled = fill(core, table, &mut text).await;
    match filled {
        Ok(()) => text.finish().await,
        Err(error) => {
            text.give_up().await;
            Err(error)
        }
    }
}

/// Entries between two writes.
const ENTRIES: usize = 1_000;

async fn fill(core: &Core, table: Table, text: &mut TextFile) -> io::Result<()> {
    text.begin_object();
    text.member(MARK.0, MARK.1);
    text.member("dataVersion", &version(core, table));
    match table {
        Table::Topics => {
            text.begin_member("topicConfigTable");
            let mut last = None;
            loop {
                {
                    let topics = core.topics.borrow();
                    let part: Vec<_> = topics.after(last.as_deref()).take(ENTRIES).collect();
                    let Some((name, _)) = part.last() else { break };
                    last = Some((*name).clone());
                    part.iter().for_each(|(name, topic)| text.member(name, &***topic));
                }
                text.flush(WRITE_BYTES).await?;
            }
            text.end_object();
        }
        Table::Groups => {
            let wrapper = core.groups.borrow().wrapper();
            text.member("forbiddenTable", &wrapper.forbidden_table);
            text.begin_member("subscriptionGroupTable");
            for (name, group) in &wrapper.subscription_group_table {
                text.member(name, group);
                text.flush(WRITE_BYTES).await?;
            }
            text.end_object();
        }
        Table::Offsets => {
            let mut groups = std::collections::BTreeMap::<String, Vec<String>>::new();
            text.begin_member("offsetTable");
            let mut last = None;
            loop {
                {
                    let offsets = core.offsets.borrow();
                    let part: Vec<_> = offsets.pairs_after(last.as_ref()).take(ENTRIES).collect();
                    let Some((pair, _)) = part.last() else { break };
                    last = Some(pair.clone());
                    for ((topic, group), queues) in part {
                        groups.entry(group.to_string()).or_default().push(topic.to_string());
                        let queues: std::collections::BTreeMap<i32, i64> = queues.into_iter().collect();
                        text.member(&format!("{topic}{SEPARATOR}{group}"), &queues);
                    }
                }
                text.flush(WRITE_BYTES).await?;
            }
            text.end_object();
            text.member("groupTopicMap", &groups);
        }
        Table::Delay => {
            let delay = core.offsets.borrow().delay().clone();
            text.member("offsetTable", &delay.sums());
            text.member("shardOffsetTable", &delay.shards);
        }
        Table::RequestModes => {
            text.member("messageRequestModeMap", &core.modes.borrow().all().message_request_mode_map);
        }
    }
    text.end_object();
    Ok(())
}

/// A JSON file that is written piece by piece and takes its name when it is whole.
struct TextFile {
    io: TaskIo,
    path: PathBuf,
    temporary: PathBuf,
    file: FileId,
    offset: u64,
    pending: String,
    /// The next member of the innermost object is its first.
    is_first: bool,
}

impl TextFile {
    async fn create(io: &TaskIo, path: &Path) -> io::Result<Self> {
        let temporary = PathBuf::from(format!("{}.tmp", path.display()));
        let options = OpenOptions { create: true, truncate: true, ..OpenOptions::default() };
        let (file, _) = io.open(&temporary, options).await?;
        let path = path.to_owned();
        Ok(Self { io: io.clone(), path, temporary, file, offset: 0, pending: String::new(), is_first: true })
    }

    fn begin_object(&mut self) {
        self.pending.push('{');
        self.is_first = true;
    }

    fn end_object(&mut self) {
        self.pending.push_str("\n}");
        self.is_first = false;
    }

    /// One to a line: scripts and people read these files.
    fn key(&mut self, key: &str) {
        self.pending.push_str(if std::mem::take(&mut self.is_first) { "\n" } else { ",\n" });
        self.pending.push_str(&json::to_text(key));
        self.pending.push(':');
    }

    fn member(&mut self, key: &str, value: &(impl ToJson + ?Sized)) {
        self.key(key);
        self.pending.push_str(&json::to_text(value));
    }

    fn begin_member(&mut self, key: &str) {
        self.key(key);
        self.begin_object();
    }

    async fn flush(&mut self, when_bytes: usize) -> io::Result<()> {
        if self.pending.len() < when_bytes {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.pending));
        let length = bytes.len() as u64;
        self.io.write_at(self.file, self.offset, WriteData::Bytes(bytes), false).await?;
        self.offset += length;
        Ok(())
    }

    async fn finish(mut self) -> io::Result<()> {
        let written = async {
            self.flush(1).await?;
            self.io.sync_data(self.file).await
        };
        if let Err(error) = written.await {
            self.give_up().await;
            return Err(error);
        }
        self.io.close(self.file).await?;
        self.io.rename(&self.temporary, &self.path).await?;
        self.io.sync_dir(self.path.parent().unwrap_or(Path::new("."))).await
    }

    async fn give_up(self) {
        // Whatever else fails now, the name still has the export before.
        let _ = self.io.close(self.file).await;
        let _ = self.io.remove(&self.temporary).await;
    }
}
