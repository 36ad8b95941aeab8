//! Pages of runs that were read back: a bounded cache of small blocks, filled by direct reads.
//!
//! Works as the cache of log blocks does ([`crate::cold`]): reads of the same block are joined, a bounded number is in flight, the others
//! wait in order, the block that was not used for longest goes first. Every page is checked once, when it arrives.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{AlignedBuffer, FileOp, FileValue, Io, PAGE_BYTES};
use rustc_hash::FxHashMap;

use super::runs::Run;
use crate::error::ReadError;
use crate::limits::{INDEX_BLOCK_PAGES, INDEX_READS_IN_FLIGHT_MAX, READ_TICKETS_MAX};
use crate::offset::LogOffset;
use crate::read::ReadTicket;
use crate::token::{Kind, Tokens};

/// Tickets of this cache have the second highest bit: those of the log's cache count up from 0, those of the key index have the highest.
const TICKETS_FROM: u64 = 1 << 62;

/// Some neighbouring pages of a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BlockKey {
    run: LogOffset,
    block: u32,
}

/// What has to be read before a question can be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    pub key: BlockKey,
    run: Run,
}

enum Content {
    Pages(Bytes),
    /// Told once, then forgotten, so that a later read asks the disk again.
    Failed(Arc<io::Error>),
    /// A page that is not what was written. As above.
    Damaged(u32),
}

struct Cached {
    content: Content,
    last_use: u64,
}

struct Pending {
    run: Run,
    tickets: Vec<ReadTicket>,
}

pub(crate) struct PageCache {
    blocks_max: usize,
    blocks: FxHashMap<BlockKey, Cached>,
    pending: FxHashMap<BlockKey, Pending>,
    waiting: VecDeque<BlockKey>,
    /// Blocks that are being read, by the number in the read's token.
    in_flight: FxHashMap<u64, BlockKey>,
    next_read: u64,
    next_ticket: u64,
    open_tickets: usize,
    completed: Vec<ReadTicket>,
    /// Runs with pages that are not what was written.
    damaged: Vec<LogOffset>,
    uses: u64,
    pub reads: u64,
}

impl PageCache {
    pub fn new(cache_bytes: usize) -> Self {
        Self {
            blocks_max: (cache_bytes / (INDEX_BLOCK_PAGES as usize * PAGE_BYTES)).max(1),
            blocks: FxHashMap::default(),
            pending: FxHashMap::default(),
            waiting: VecDeque::new(),
            in_flight: FxHashMap::default(),
            next_read: 0,
            next_ticket: TICKETS_FROM,
            open_tickets: 0,
            completed: Vec::new(),
            damaged: Vec::new(),
            uses: 0,
            reads: 0,
        }
    }

    pub fn cached_bytes(&self) -> usize {
        self.blocks.len() * INDEX_BLOCK_PAGES as usize * PAGE_BYTES
    }

    pub fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// A page of a run, checked.
    pub fn page(&mut self, run: &Run, number: u32) -> Result<Bytes, PageError> {
        assert!(number > 0 && number < run.header.pages(), "page {number} of {:?}", run.header);
        let key = BlockKey { run: run.header.from, block: number / INDEX_BLOCK_PAGES };
        self.uses += 1;
        let Some(cached) = self.blocks.get_mut(&key) else {
            return Err(PageError::Missing(Missing { key, run: *run }));
        };
        cached.last_use = self.uses;
        let error = match &cached.content {
            Content::Pages(pages) => {
                let at = (number % INDEX_BLOCK_PAGES) as usize * PAGE_BYTES;
                return Ok(pages.slice(at..at + PAGE_BYTES));
            }
            Content::Failed(source) => ReadError::Io { at: key.run, source: Arc::clone(source) },
            Content::Damaged(page) => ReadError::Index { at: key.run, page: *page },
        };
        self.blocks.remove(&key);
        Err(PageError::Failed(error))
    }

    /// Asks for a block on behalf of a new ticket.
    pub fn request(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        missing: Missing,
    ) -> Result<ReadTicket, ReadError> {
        if self.open_tickets >= READ_TICKETS_MAX {
            return Err(ReadError::Busy);
        }
        let ticket = ReadTicket(self.next_ticket);
        self.next_ticket += 1;
        self.open_tickets += 1;
        self.enqueue(missing, Some(ticket));
        self.issue(io, tokens);
        Ok(ticket)
    }

    /// Asks for a block that will probably be needed, unless the disk is busy with what is needed now.
    pub fn prefetch(&mut self, io: &mut dyn Io, tokens: Tokens, missing: Missing) {
        let room = self.in_flight.len() < INDEX_READS_IN_FLIGHT_MAX / 2 && self.waiting.is_empty();
        if room && !self.pending.contains_key(&missing.key) {
            self.enqueue(missing, None);
            self.issue(io, tokens);
        }
    }

    /// Runs below `log_min` go: what waits for their blocks is told so, their files may be closed.
    pub fn forget_below(&mut self, log_min: LogOffset) {
        self.blocks.retain(|key, _| key.run >= log_min);
        let (gone, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|key| key.run < log_min);
        self.waiting = kept;
        let gone: VecDeque<BlockKey> = gone;
        for key in gone {
            let pending = self.pending.remove(&key).expect("waiting blocks are pending");
            self.open_tickets -= pending.tickets.len();
            self.completed.extend(pending.tickets);
        }
    }

    fn enqueue(&mut self, missing: Missing, ticket: Option<ReadTicket>) {
        let pending = self.pending.entry(missing.key).or_insert_with(|| {
            self.waiting.push_back(missing.key);
            Pending { run: missing.run, tickets: Vec::new() }
        });
        pending.tickets.extend(ticket);
    }

    fn issue(&mut self, io: &mut dyn Io, tokens: Tokens) {
        while self.in_flight.len() < INDEX_READS_IN_FLIGHT_MAX {
            let Some(key) = self.waiting.pop_front() else { return };
            let run = self.pending[&key].run;
            let first = key.block * INDEX_BLOCK_PAGES;
            let pages = (run.header.pages() - first).min(INDEX_BLOCK_PAGES);
            let into = AlignedBuffer::zeroed(pages as usize * PAGE_BYTES);
            let number = self.next_read;
            self.next_read += 1;
            self.in_flight.insert(number, key);
            let read = FileOp::Read { file: run.file, offset: run.place(first), into };
            io.file(tokens.of(Kind::IndexRead, number), read);
        }
    }

    /// Completion of a read; `detail` is what its token carried.
    pub fn on_file(&mut self, io: &mut dyn Io, tokens: Tokens, detail: u64, result: io::Result<FileValue>) {
        let key = self.in_flight.remove(&detail).expect("a read that was asked for");
        let pending = self.pending.remove(&key).expect("settled once");
        self.reads += 1;
        let content = match result {
            Ok(FileValue::Read { buffer, bytes }) => check(&pending.run, key, buffer.freeze(bytes)),
            Ok(other) => unreachable!("{other:?} does not answer a read"),
            Err(error) => Content::Failed(Arc::new(error)),
        };
        if let Content::Damaged(page) = content {
            self.note_damaged(key.run, page);
        }
        self.uses += 1;
        self.blocks.insert(key, Cached { content, last_use: self.uses });
        while self.blocks.len() > self.blocks_max {
            let oldest = self.blocks.iter().min_by_key(|(_, cached)| cached.last_use).map(|(key, _)| *key);
            self.blocks.remove(&oldest.expect("more than none"));
        }
        self.open_tickets -= pending.tickets.len();
        self.completed.extend(pending.tickets);
        self.issue(io, tokens);
    }

    /// A page of a run is not what was written.
    pub fn note_damaged(&mut self, run: LogOffset, page: u32) {
        tracing::error!(
            run = run.0,
            page,
            "an index run is damaged; the next start makes it again from the log"
        );
        self.damaged.push(run);
    }

    /// A run with a damaged page that was met since the last call.
    pub fn take_damaged(&mut self) -> Option<LogOffset> {
        self.damaged.pop()
    }

    pub fn take_completed(&mut self, tickets: &mut Vec<ReadTicket>) {
        tickets.append(&mut self.completed);
    }
}

/// Why a page is not at hand.
#[derive(Debug)]
pub(crate) enum PageError {
    Missing(Missing),
    Failed(ReadError),
}

/// Every page of a block that was read; a file that ends early is damaged where it ends.
fn check(run: &Run, key: BlockKey, bytes: Bytes) -> Content {
    let first = key.block * INDEX_BLOCK_PAGES;
    let end = run.header.pages().min(first + INDEX_BLOCK_PAGES);
    let damaged = (first..end).zip((0..).step_by(PAGE_BYTES)).find(|(number, at)| {
        bytes.get(*at..at + PAGE_BYTES).is_none_or(|page| !run.header.is_whole(*number, page))
    });
    match damaged {
        Some((number, _)) => Content::Damaged(number),
        None => Content::Pages(bytes),
    }
}
