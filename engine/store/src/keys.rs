//! The key index: which records of a topic have a key, for queries by key, by unique key and by time.
//!
//! Derived state: the log alone says what the store holds. A key is indexed by a 64-bit hash of topic and key; what an entry
//! names is only a candidate, and is compared with the record itself before it is given out.
//!
//! ```text
//!   append ─→ table in memory ──full, or 64 MiB of log, or the segment's end──→ closed table
//!                                                  durable in the log ─→ run: keys/<from>-<to>
//!                         runs of a finished segment ─→ merged into one run, with one filter
//!   piece of the log that no table and no run covers ─→ gap: read again from the log, newest first
//!
//!   query   tables, then runs from the newest to the oldest: time range → filter → one page → candidates → records
//! ```
//! Tables, runs and gaps together always cover the whole log. A query that would need a gap fails and says so; so nothing is ever
//! missing from an answer because of a lost, damaged or unfinished file, or of one that was not written in time.
//!
//! Everything but adding and looking up is done by one task beside the store ([`worker`]), a few thousand entries at a time.
//! A run is written only when its piece of the log is durable: no power cut can take back records that a run knows.
//!
//! Memory: the growing table and at most [`crate::KEY_CLOSED_TABLES_MAX`] closed ones, 16 bytes an entry and at most
//! 1 MiB unused in each; [`crate::KEY_FILTER_BITS`] for each key in filters, the newest runs first, at most
//! `key_filter_bytes`; 4 bytes for every 255 entries on disk; [`crate::KEY_PAGES_CACHED_MAX`] pages; while a segment's runs are
//! merged, 128 KiB for each of at most [`crate::KEY_MERGE_RUNS_MAX`] of them, and the new filter.

mod files;
mod filter;
mod format;
mod hash;
mod lookup;
mod pages;
mod rebuild;
mod run;
#[cfg(test)]
mod scale;
mod search;
mod state;
mod table;
pub(crate) mod verify;
mod worker;
mod writer;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use ringmq_reactor::task::Notify;
use ringmq_reactor::{Io, ShardId, TaskIo};

pub use filter::KEY_FILTER_BITS;
pub use lookup::{KeyError, KeyFind, KeyIndexEnd, KeyKind, KeyLookup, KeyMatch, KeyQuery};

pub(crate) use files::FoundRuns;
pub(crate) use format::KEYS_DIR;
pub(crate) use hash::RecordKeys;
pub(crate) use run::Run as KeyRun;
pub(crate) use search::Step;
pub(crate) use table::{TableLimits, Tables};

use crate::config::StoreConfig;
use crate::limits::KEY_CLOSED_TABLES_MAX;
use crate::offset::LogOffset;
use crate::read::ReadTicket;
use crate::segments::{LOG_DIR, Segments};
use crate::token::Tokens;
use pages::PageReads;
use state::State;

/// What the index and its task share. Never borrowed across an await.
pub(crate) struct Shared {
    io: TaskIo,
    dir: PathBuf,
    log_dir: PathBuf,
    shard: u16,
    limits: TableLimits,
    filter_bytes_max: usize,
    /// Something changed that the task may have to act on.
    notify: Notify,
    state: RefCell<State>,
}

/// The index of one store; absent if it is switched off.
pub(crate) struct KeyIndex(Option<Enabled>);

struct Enabled {
    shared: Rc<Shared>,
    pages: PageReads,
}

/// Figures for [`crate::StoreStats`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyFigures {
    pub entries: u64,
    pub runs: usize,
    pub memory_bytes: usize,
    pub filter_bytes: usize,
    pub gap_bytes: u64,
    pub pages_read: u64,
}

impl TableLimits {
    pub fn of(config: &StoreConfig) -> Self {
        Self {
            entries: config.key_table_entries,
            log_bytes: config.key_run_log_bytes,
            closed_tables: KEY_CLOSED_TABLES_MAX,
        }
    }
}

impl KeyIndex {
    /// Nothing is indexed, nothing is found.
    pub fn disabled() -> Self {
        Self(None)
    }

    /// Goes on with what was found on disk and in the log, and starts the task that keeps the files.
    pub fn start(
        io: &TaskIo,
        shard: ShardId,
        config: &StoreConfig,
        found: FoundRuns,
        tables: Tables,
    ) -> Self {
        let shared = Rc::new(Shared {
            io: io.clone(),
            dir: config.dir.join(KEYS_DIR),
            log_dir: config.dir.join(LOG_DIR),
            shard: shard.0,
            limits: TableLimits::of(config),
            filter_bytes_max: config.key_filter_bytes,
            notify: Notify::new(),
            state: RefCell::new(State::new(found, tables)),
        });
        io.spawn(worker::work(Rc::clone(&shared)));
        Self(Some(Enabled { shared, pages: PageReads::default() }))
    }

    /// Adds the keys of the record at the log's end.
    pub fn add(&mut self, topic: &str, sys_flags: i32, properties: &str, offset: LogOffset, time: i64) {
        let Some(enabled) = &self.0 else { return };
        let keys = RecordKeys::of(sys_flags, properties);
        enabled.shared.state.borrow_mut().tables.add(topic, keys, offset, time);
    }

    /// A batch was closed; the next one begins at `head`.
    pub fn batch_ended(&mut self, head: LogOffset) {
        let Some(enabled) = &self.0 else { return };
        enabled.shared.state.borrow_mut().tables.batch_ended(head);
    }

    /// The log goes on in the segment that begins at `start`.
    pub fn segment_began(&mut self, start: LogOffset) {
        let Some(enabled) = &self.0 else { return };
        enabled.shared.state.borrow_mut().tables.rotate(start);
    }

    /// Tells the task how far the log is durable, and its segments.
    pub fn end_of_turn(&mut self, segments: &Segments, durable: LogOffset) {
        let Some(enabled) = &self.0 else { return };
        if enabled.shared.state.borrow_mut().log_changed(segments, durable) {
            enabled.shared.notify.notify_one();
        }
    }

    /// Ends the index: writes what is in memory, unless the log has failed. `true`: done; else ask again in a later turn.
    pub fn close(&mut self, head: LogOffset, log_failed: bool) -> bool {
        let Some(enabled) = &self.0 else { return true };
        if enabled.pages.is_busy() {
            return false;
        }
        let mut state = enabled.shared.state.borrow_mut();
        if state.begin_stop(head, log_failed) {
            enabled.shared.notify.notify_one();
        }
        state.has_ended()
    }

    /// Completion of the read of a page; `number` is what its token carried.
    pub fn on_file(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        number: u64,
        result: std::io::Result<ringmq_reactor::FileValue>,
    ) {
        let Some(enabled) = &mut self.0 else { unreachable!("a page was read without an index") };
        enabled.pages.on_file(io, tokens, number, result);
    }

    pub fn take_completed(&mut self, tickets: &mut Vec<ReadTicket>) {
        if let Some(enabled) = &mut self.0 {
            enabled.pages.take_completed(tickets);
        }
    }

    /// The newest indexed record.
    pub fn end(&self) -> KeyIndexEnd {
        let Some(enabled) = &self.0 else { return KeyIndexEnd::default() };
        enabled.shared.state.borrow().end()
    }

    pub fn figures(&self) -> KeyFigures {
        let Some(enabled) = &self.0 else { return KeyFigures::default() };
        let mut figures = enabled.shared.state.borrow().figures();
        figures.memory_bytes += enabled.pages.cached_bytes();
        figures.pages_read = enabled.pages.reads;
        figures
    }
}
