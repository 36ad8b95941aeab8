//! Key files at the start of a store: which of them count.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use ringmq_reactor::{ShardId, TaskIo};
use rustc_hash::FxHashSet;

use super::format::{KEYS_DIR, TEMPORARY, parse_name};
use super::run::{Run, RunError};
use super::table::{TableLimits, Tables};
use crate::config::StoreConfig;
use crate::offset::LogOffset;

/// The runs of a store, and files in their folder that are none.
#[derive(Default)]
pub(crate) struct FoundRuns {
    /// Oldest first, without overlaps.
    pub runs: Vec<Rc<Run>>,
    pub useless: Vec<PathBuf>,
    /// Those of them that are not what was written.
    pub damaged: Vec<DamagedRun>,
    pub next_run: u64,
}

/// A key file that cannot be used.
pub(crate) struct DamagedRun {
    pub path: PathBuf,
    /// What its name says that it indexes.
    pub span: (LogOffset, LogOffset),
    pub error: RunError,
}

impl FoundRuns {
    /// Opens every key file and keeps those that are whole. What is damaged is left to be built again: no error of a key file keeps
    /// a store from opening.
    ///
    /// # Errors
    /// Only when the folder cannot be made or listed.
    pub async fn find(io: &TaskIo, shard: ShardId, config: &StoreConfig) -> io::Result<Self> {
        io.make_dir(config.dir.join(KEYS_DIR)).await?;
        Self::look(io, shard, config).await
    }

    /// As [`FoundRuns::find`], and changes nothing.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub async fn look(io: &TaskIo, shard: ShardId, config: &StoreConfig) -> io::Result<Self> {
        let dir = config.dir.join(KEYS_DIR);
        let mut found = Self::default();
        let mut spans = Vec::new();
        for entry in io.list(&dir).await?.into_iter().filter(|entry| !entry.is_dir) {
            match parse_name(&entry.name) {
                Some(span) => spans.push(span),
                None if entry.name.ends_with(TEMPORARY) => found.useless.push(dir.join(entry.name)),
                None => {}
            }
        }
        // Of runs with the same start the longest counts: it was made from the others.
        spans.sort_unstable_by_key(|&(from, to)| (from, std::cmp::Reverse(to)));
        let mut end = LogOffset(0);
        for (from, to) in spans {
            let path = dir.join(super::format::file_name(from, to));
            if from < end {
                found.useless.push(path);
                continue;
            }
            let id = found.next_run;
            found.next_run += 1;
            match Run::open(io, id, path.clone(), shard.0, (from, to)).await {
                Ok(run) => {
                    end = to;
                    found.runs.push(Rc::new(run));
                }
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a key file cannot be used; it is built again from the log");
                    found.useless.push(path.clone());
                    found.damaged.push(DamagedRun { path, span: (from, to), error });
                }
            }
        }
        let used: FxHashSet<_> = found.runs.iter().map(|run| run.path.clone()).collect();
        found.useless.retain(|path| !used.contains(path));
        Ok(found)
    }

    /// Tables for what lies behind the runs, if the log is scanned from `start`.
    pub fn tables(&self, config: &StoreConfig, start: LogOffset) -> Tables {
        let end = self.runs.last().map_or(LogOffset(0), |run| run.span().to);
        Tables::new(TableLimits::of(config), end.max(start))
    }

    /// Gives up runs that know more than the log, which ends at `head`: they are of another log, and must not come back.
    ///
    /// # Errors
    /// As removing does.
    pub async fn cut(&mut self, io: &TaskIo, head: LogOffset) -> io::Result<()> {
        let Some(dir) = self.runs.last().and_then(|run| run.path.parent()).map(PathBuf::from) else {
            return Ok(());
        };
        let mut cut = false;
        while let Some(run) = self.runs.pop_if(|run| run.span().to > head) {
            tracing::warn!(file = %run.path.display(), head = head.0, "a key file knows more than the log holds; it is removed");
            io.remove(&run.path).await?;
            cut = true;
        }
        if cut { io.sync_dir(dir).await } else { Ok(()) }
    }
}
