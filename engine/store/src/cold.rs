//! Reads of what the tail cache no longer holds: a bounded cache of log blocks, filled by direct reads.
//!
//! A block is a fixed, aligned piece of a segment. Reads of the same block are joined; a bounded number is in flight, the others
//! wait in order. Blocks are given out by reference and dropped in order of their last use; a dropped block lives on until
//! the last response that holds a piece of it is sent, which the limits on unsent bytes bound.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringmq_reactor::{AlignedBuffer, BufferPool, FileOp, FileValue, Io, PAGE_BYTES};
use rustc_hash::FxHashMap;

use crate::error::ReadError;
use crate::limits::{COLD_READS_IN_FLIGHT_MAX, READ_TICKETS_MAX};
use crate::offset::LogOffset;
use crate::read::ReadTicket;
use crate::segments::Segments;
use crate::token::{Kind, Tokens};

/// A block of the cache: its start in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct BlockKey(LogOffset);

enum Content {
    Bytes(Bytes),
    /// The read failed: told once, then forgotten, so that a later read asks the disk again.
    Failed(Arc<io::Error>),
}

struct Cached {
    content: Content,
    /// What lies below was written when the read was made; what lies above may have changed since.
    valid_to: LogOffset,
    last_use: u64,
}

struct Pending {
    valid_to: LogOffset,
    issued: bool,
    tickets: Vec<ReadTicket>,
}

/// A range of the log, as far as it is here.
pub(crate) enum Fetch {
    /// Inside one block, by reference.
    Block(BlockKey, Bytes),
    /// Across blocks, copied together.
    Copied(Bytes),
    /// These blocks must be read first.
    Missing(Vec<BlockKey>),
    Failed(ReadError),
    /// No segment holds it.
    Gone,
}

pub(crate) struct ColdReads {
    block_bytes: usize,
    blocks_max: usize,
    /// Memory of whole blocks; the last one of a segment may be shorter and is allocated by itself.
    pool: BufferPool,
    blocks: FxHashMap<BlockKey, Cached>,
    pending: FxHashMap<BlockKey, Pending>,
    waiting: VecDeque<BlockKey>,
    in_flight: usize,
    /// Blocks that each ticket still waits for.
    tickets: FxHashMap<ReadTicket, usize>,
    next_ticket: u64,
    completed: Vec<ReadTicket>,
    uses: u64,
    pub reads: u64,
    pub hits: u64,
}

impl ColdReads {
    pub fn new(block_bytes: usize, cache_bytes: usize) -> Self {
        Self {
            block_bytes,
            blocks_max: cache_bytes / block_bytes,
            pool: BufferPool::new(block_bytes, COLD_READS_IN_FLIGHT_MAX),
            blocks: FxHashMap::default(),
            pending: FxHashMap::default(),
            waiting: VecDeque::new(),
            in_flight: 0,
            tickets: FxHashMap::default(),
            next_ticket: 0,
            completed: Vec::new(),
            uses: 0,
            reads: 0,
            hits: 0,
        }
    }

    pub fn cached_bytes(&self) -> usize {
        self.blocks.len() * self.block_bytes
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// The block that holds `at`.
    pub fn key(&self, segments: &Segments, at: LogOffset) -> Option<BlockKey> {
        let start = segments.find(at)?.start;
        let inside = at.since(start);
        Some(BlockKey(LogOffset(start.0 + inside - inside % self.block_bytes as u64)))
    }

    /// Where a block ends; the last one of a segment may be shorter.
    pub fn end_of(&self, segments: &Segments, key: BlockKey) -> LogOffset {
        let whole = key.0.plus(self.block_bytes);
        segments.find(key.0).map_or(whole, |segment| segment.end.min(whole))
    }

    /// Bytes `from..to` of the log, which lie in one segment.
    pub fn fetch(&mut self, segments: &Segments, from: LogOffset, to: LogOffset) -> Fetch {
        let Some(first) = self.key(segments, from) else { return Fetch::Gone };
        self.uses += 1;
        let block = self.block_bytes as u64;
        let keys = (first.0.0..to.0).step_by(self.block_bytes).map(|start| BlockKey(LogOffset(start)));
        let mut missing = Vec::new();
        let mut failed = None;
        for key in keys.clone() {
            let needed = LogOffset(key.0.0 + block).min(to);
            match self.blocks.get_mut(&key) {
                Some(Cached { content: Content::Failed(source), .. }) => {
                    failed = Some((key, ReadError::Io { at: key.0, source: Arc::clone(source) }));
                    break;
                }
                Some(cached) if cached.valid_to >= needed => cached.last_use = self.uses,
                _ => missing.push(key),
            }
        }
        if let Some((key, error)) = failed {
            self.blocks.remove(&key);
            return Fetch::Failed(error);
        }
        if !missing.is_empty() {
            return Fetch::Missing(missing);
        }
        self.hits += 1;
        let piece = |key: BlockKey| self.slice(key, from.max(key.0), LogOffset(key.0.0 + block).min(to));
        if first.0.0 + block >= to.0 {
            return Fetch::Block(first, piece(first));
        }
        let mut copy = BytesMut::with_capacity(usize::try_from(to.since(from)).expect("a record"));
        keys.for_each(|key| copy.extend_from_slice(&piece(key)));
        Fetch::Copied(copy.freeze())
    }

    /// Bytes of one block, which [`ColdReads::fetch`] gave before.
    pub fn slice(&self, key: BlockKey, from: LogOffset, to: LogOffset) -> Bytes {
        let Some(Cached { content: Content::Bytes(bytes), .. }) = self.blocks.get(&key) else {
            unreachable!("fetched before, and nothing was read since")
        };
        let place = |at: LogOffset| usize::try_from(at.since(key.0)).expect("inside a block");
        bytes.slice(place(from)..place(to))
    }

    /// Asks for blocks on behalf of a new ticket.
    pub fn request(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        written: LogOffset,
        keys: &[BlockKey],
    ) -> Result<ReadTicket, ReadError> {
        if self.tickets.len() >= READ_TICKETS_MAX {
            return Err(ReadError::Busy);
        }
        let ticket = ReadTicket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, keys.len());
        for key in keys {
            self.enqueue(*key, Some(ticket));
        }
        self.issue(io, tokens, segments, written);
        Ok(ticket)
    }

    /// Asks for a block that will probably be needed, unless the disk is busy with what is needed now.
    pub fn prefetch(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        written: LogOffset,
        key: BlockKey,
    ) {
        let room = self.in_flight < COLD_READS_IN_FLIGHT_MAX / 2 && self.waiting.is_empty();
        if room && !self.blocks.contains_key(&key) && !self.pending.contains_key(&key) {
            self.enqueue(key, None);
            self.issue(io, tokens, segments, written);
        }
    }

    fn enqueue(&mut self, key: BlockKey, ticket: Option<ReadTicket>) {
        let pending = self.pending.entry(key).or_insert_with(|| {
            self.waiting.push_back(key);
            Pending { valid_to: LogOffset(0), issued: false, tickets: Vec::new() }
        });
        pending.tickets.extend(ticket);
    }

    fn issue(&mut self, io: &mut dyn Io, tokens: Tokens, segments: &Segments, written: LogOffset) {
        while self.in_flight < COLD_READS_IN_FLIGHT_MAX {
            let Some(key) = self.waiting.pop_front() else { return };
            let Some(segment) = segments.find(key.0) else {
                let gone = io::Error::new(io::ErrorKind::NotFound, "the segment was removed");
                self.settle(key, Content::Failed(Arc::new(gone)), LogOffset(0));
                continue;
            };
            let pending = self.pending.get_mut(&key).expect("waiting blocks are pending");
            assert!(!pending.issued, "{key:?} is read once at a time");
            pending.issued = true;
            pending.valid_to = written;
            let bytes = usize::try_from(segment.end.since(key.0))
                .map_or(self.block_bytes, |b| b.min(self.block_bytes));
            let whole = bytes == self.block_bytes;
            let into = if whole { self.pool.take() } else { AlignedBuffer::zeroed(bytes) };
            let offset = key.0.since(segment.start);
            let token = tokens.of(Kind::ColdRead, key.0.0 / PAGE_BYTES as u64);
            io.file(token, FileOp::Read { file: segment.file, offset, into });
            self.in_flight += 1;
        }
    }

    /// Completion of a read; `detail` is what its token carried.
    pub fn on_file(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        segments: &Segments,
        written: LogOffset,
        detail: u64,
        result: io::Result<FileValue>,
    ) {
        let key = BlockKey(LogOffset(detail * PAGE_BYTES as u64));
        self.in_flight -= 1;
        self.reads += 1;
        let asked = self.pending.get(&key).expect("a read that was asked for").valid_to;
        let (content, valid_to) = match result {
            // A file that is shorter than it was allocated holds nothing behind its end: not valid there.
            Ok(FileValue::Read { buffer, bytes }) => {
                let whole = buffer.len() == self.block_bytes;
                let content = if whole { self.pool.freeze(buffer, bytes) } else { buffer.freeze(bytes) };
                (Content::Bytes(content), asked.min(key.0.plus(bytes)))
            }
            Ok(other) => unreachable!("{other:?} does not answer a read"),
            Err(error) => (Content::Failed(Arc::new(error)), asked),
        };
        let short = matches!(&content, Content::Bytes(b) if b.len() < self.block_bytes)
            && valid_to < asked.min(LogOffset(key.0.0 + self.block_bytes as u64))
            && segments.find(key.0).is_some_and(|s| valid_to < s.end);
        let content = if short {
            let error =
                io::Error::new(io::ErrorKind::UnexpectedEof, "the segment ends inside the written log");
            Content::Failed(Arc::new(error))
        } else {
            content
        };
        self.settle(key, content, valid_to);
        self.issue(io, tokens, segments, written);
    }

    fn settle(&mut self, key: BlockKey, content: Content, valid_to: LogOffset) {
        let pending = self.pending.remove(&key).expect("settled once");
        self.uses += 1;
        self.blocks.insert(key, Cached { content, valid_to, last_use: self.uses });
        self.evict();
        for ticket in pending.tickets {
            let open = self.tickets.get_mut(&ticket).expect("a ticket lives until its last block");
            *open -= 1;
            if *open == 0 {
                self.tickets.remove(&ticket);
                self.completed.push(ticket);
            }
        }
    }

    /// A scan of the whole table for each block read: a hundred entries against a disk read.
    fn evict(&mut self) {
        while self.blocks.len() > self.blocks_max {
            let oldest = self.blocks.iter().min_by_key(|(_, c)| c.last_use).map(|(key, _)| *key);
            self.blocks.remove(&oldest.expect("more than none"));
        }
    }

    pub fn take_completed(&mut self, tickets: &mut Vec<ReadTicket>) {
        tickets.append(&mut self.completed);
    }
}
