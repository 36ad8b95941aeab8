//! What Apache's consume queues say: which part of the log is alive, and where queues go on.
//!
//! A topic that is deleted loses its consume queues at once, while its messages stay in the log; made again, its queues begin at 0
//! once more. So a message counts only if it does not lie before the first entry of its queue. Retention trims the files lazily: what
//! is before the log's first file is gone, whatever they say.
//!
//! ```text
//!   consumequeue/<topic>/<queue>/<byte offset, 20 digits>: entries of 20 bytes: physical offset 8 │ size 4 │ tags code 8
//! ```

use std::path::Path;

use ringmq_reactor::{OpenOptions, TaskIo};
use rustc_hash::FxHashMap;

use super::super::StoreToolError;

const ENTRY_BYTES: usize = 20;
/// Files are read whole; their ordinary size is 6 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct ConsumeQueue {
    /// Physical offset of the oldest message.
    pub first_physical: u64,
    /// One past the newest entry.
    pub max_offset: i64,
}

/// By topic and queue; `None`: the store has no consume queue files (5.x can keep them in RocksDB).
pub(super) type ConsumeQueues = Option<FxHashMap<(String, i32), ConsumeQueue>>;

/// Reads first and last entries of all queues.
pub(super) async fn read(io: &TaskIo, store: &Path) -> Result<ConsumeQueues, StoreToolError> {
    let root = store.join("consumequeue");
    let mut queues = FxHashMap::default();
    let topics = match io.list(&root).await {
        Ok(topics) => topics,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(cannot_read(&root, source)),
    };
    for topic in topics.iter().filter(|entry| entry.is_dir) {
        let dir = root.join(&topic.name);
        for queue in io.list(&dir).await.map_err(|e| cannot_read(&dir, e))? {
            let Ok(queue_id) = queue.name.parse::<i32>() else { continue };
            if let Some(found) = read_queue(io, &dir.join(&queue.name)).await? {
                queues.insert((topic.name.clone(), queue_id), found);
            }
        }
    }
    Ok(Some(queues))
}

async fn read_queue(io: &TaskIo, dir: &Path) -> Result<Option<ConsumeQueue>, StoreToolError> {
    let files = io.list(dir).await.map_err(|e| cannot_read(dir, e))?;
    let mut files: Vec<(u64, String, u64)> =
        files.into_iter().filter_map(|f| Some((f.name.parse().ok()?, f.name, f.bytes))).collect();
    files.sort();
    let mut found = None;
    for (start, name, bytes) in files {
        let path = dir.join(name);
        let options = OpenOptions { read_only: true, ..OpenOptions::default() };
        let (file, _) = io.open(&path, options).await.map_err(|e| cannot_read(&path, e))?;
        let length = usize::try_from(bytes.min(FILE_BYTES_MAX)).unwrap_or(0);
        let content = io.read_at(file, 0, length).await.map_err(|e| cannot_read(&path, e))?;
        io.close(file).await.map_err(|e| cannot_read(&path, e))?;
        for (entry, place) in content.as_chunks::<ENTRY_BYTES>().0.iter().zip(0_u64..) {
            let (physical, size) = entry_of(entry);
            if size == 0 {
                break;
            }
            let at = i64::try_from(start / ENTRY_BYTES as u64 + place).unwrap_or(i64::MAX);
            let queue = found.get_or_insert(ConsumeQueue { first_physical: physical, max_offset: 0 });
            queue.max_offset = at + 1;
        }
    }
    Ok(found)
}

fn entry_of(entry: &[u8; ENTRY_BYTES]) -> (u64, u32) {
    let (physical, rest) = entry.split_first_chunk().expect("20 bytes");
    let (size, _) = rest.split_first_chunk().expect("12 bytes");
    (u64::from_be_bytes(*physical), u32::from_be_bytes(*size))
}

fn cannot_read(path: &Path, source: std::io::Error) -> StoreToolError {
    StoreToolError::Io { what: format!("cannot read {}", path.display()), source }
}
