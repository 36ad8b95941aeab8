//! The vocabulary of queries by key, and what a query has in hand while it goes on.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_remoting::record::RecordView;

use super::hash::{RecordKeys, hash};
use super::run::Run;
use super::table::{Candidate, KeyTable, Span};
use crate::error::ReadError;
use crate::limits::KEY_RESULT_BYTES_MAX;
use crate::offset::{LogOffset, PhysicalOffset};
use crate::read::ReadTicket;

/// Which of a record's keys counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The unique key, and every word of `KEYS`.
    Any,
    /// The unique key (`UNIQ_KEY`).
    Unique,
}

/// What is looked for: the newest records of a topic with a key, stored within a time range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Topic, compared exactly.
    pub topic: String,
    /// Key, compared exactly.
    pub key: String,
    /// Which keys it is compared with.
    pub kind: KeyKind,
    /// Most records given.
    pub messages_max: usize,
    /// First store time, ms since 1970.
    pub begin_ms: i64,
    /// Last store time, ms since 1970.
    pub end_ms: i64,
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMatch {
    /// Its place, as clients see it.
    pub physical_offset: PhysicalOffset,
    /// When it was stored, ms since 1970.
    pub store_timestamp: i64,
    /// The whole record, a copy: it holds no block of a cache.
    pub record: Bytes,
}

/// The newest record that the index knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyIndexEnd {
    /// Its place in the shard's log; the end of what is indexed if nothing was appended since the store was opened.
    pub offset: LogOffset,
    /// Store time of the newest indexed record, ms since 1970; 0 if there is none.
    pub store_timestamp: i64,
}

/// What [`crate::Store::find_by_key`] gives.
#[derive(Debug)]
pub enum KeyFind {
    /// The answer, newest first; at most [`KeyQuery::messages_max`] and at most [`KEY_RESULT_BYTES_MAX`] bytes, but always one
    /// if there is any.
    Ready(Vec<KeyMatch>),
    /// The disk is being asked: go on when [`crate::Store::take_completed_reads`] names the ticket.
    Wait(ReadTicket),
    /// It cannot be answered.
    Failed(KeyError),
}

/// Why a query by key has no answer. Never given up silently: an answer that may lack records is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// Key files are missing or damaged, and being built again from the log.
    #[error(
        "the key index of {bytes} bytes of the log is being built; ask again later or for a newer time range"
    )]
    Building {
        /// Not indexed at the moment.
        bytes: u64,
    },
    /// A key file could not be read. It is given up and built again from the log.
    #[error("reading a key file failed: {source}")]
    File {
        /// The cause.
        source: Arc<io::Error>,
    },
    /// A page of a key file is damaged. The file is given up and built again from the log.
    #[error("a key file is damaged (log offset {from}, page {page}); it is being built again")]
    Damaged {
        /// Start of the piece of the log that it indexes.
        from: LogOffset,
        /// Its page.
        page: u32,
    },
    /// A record that the index names could not be read.
    #[error(transparent)]
    Record(#[from] ReadError),
}

/// A part of the log, as the query meets it.
pub(crate) enum Source {
    Table(Rc<KeyTable>),
    Run(Rc<Run>),
    /// Not indexed: times are those of its neighbours.
    Gap(Span),
}

impl Source {
    pub fn span(&self) -> Span {
        match self {
            Self::Table(table) => table.span(),
            Self::Run(run) => run.span(),
            Self::Gap(span) => *span,
        }
    }
}

/// Where in a run the query goes on.
pub(crate) struct Cursor {
    pub run: Rc<Run>,
    pub next: u32,
    pub first: u32,
}

/// A query by key while it goes on. Made by [`crate::Store::key_lookup`].
pub struct KeyLookup {
    pub(crate) query: KeyQuery,
    pub(crate) hash: u64,
    /// What is still to be searched, newest first; `None` before the first step.
    pub(crate) sources: Option<VecDeque<Source>>,
    pub(crate) cursor: Option<Cursor>,
    /// To be compared with the records themselves, newest first.
    pub(crate) candidates: VecDeque<Candidate>,
    /// The last candidate: a record that has the key twice is given once.
    last: Option<LogOffset>,
    found: Vec<KeyMatch>,
    found_bytes: usize,
}

impl KeyLookup {
    pub(crate) fn new(query: KeyQuery) -> Self {
        Self {
            hash: hash(&query.topic, &query.key),
            query,
            sources: None,
            cursor: None,
            candidates: VecDeque::new(),
            last: None,
            found: Vec::new(),
            found_bytes: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= self.query.messages_max || self.found_bytes >= KEY_RESULT_BYTES_MAX
    }

    /// Adds candidates that come newest first, as far as their times fit.
    pub(crate) fn add(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            let KeyQuery { begin_ms, end_ms, .. } = self.query;
            let fits = candidate.time <= end_ms && (candidate.time >= begin_ms || !candidate.exact);
            if fits && self.last != Some(candidate.offset) {
                self.last = Some(candidate.offset);
                self.candidates.push_back(candidate);
            }
        }
    }

    /// Takes the record of a candidate, if it is what is looked for. `false`: it has no room any more.
    pub(crate) fn take(&mut self, at: PhysicalOffset, record: &Bytes) -> bool {
        let Ok(view) = RecordView::parse(record) else { return true };
        let query = &self.query;
        let store_timestamp = view.store_timestamp();
        if view.topic() != query.topic || !(query.begin_ms..=query.end_ms).contains(&store_timestamp) {
            return true;
        }
        let properties = view.properties();
        let keys = RecordKeys::of(view.sys_flag(), &properties);
        let has_key = match query.kind {
            KeyKind::Any => keys.iter().any(|key| key == query.key),
            KeyKind::Unique => keys.unique() == Some(&query.key),
        };
        if !has_key {
            return true;
        }
        if !self.found.is_empty() && self.found_bytes + record.len() > KEY_RESULT_BYTES_MAX {
            return false;
        }
        self.found_bytes += record.len();
        self.found.push(KeyMatch {
            physical_offset: at,
            store_timestamp,
            record: Bytes::copy_from_slice(record),
        });
        true
    }

    pub(crate) fn finish(&mut self) -> KeyFind {
        self.candidates.clear();
        KeyFind::Ready(std::mem::take(&mut self.found))
    }
}

impl std::fmt::Debug for KeyLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyLookup({:?}, {} found)", self.query, self.found.len())
    }
}
