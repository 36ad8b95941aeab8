//! Pages of key files that lookups wait for or have read lately: a bounded cache, filled by single-page direct reads.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{AlignedBuffer, FileOp, FileValue, Io, PAGE_BYTES};
use rustc_hash::FxHashMap;

use super::run::Run;
use crate::limits::{KEY_PAGES_CACHED_MAX, KEY_READS_IN_FLIGHT_MAX};
use crate::read::ReadTicket;
use crate::token::{Kind, Tokens};

/// A page: its run and its number.
type PageKey = (u64, u32);

/// Key tickets have this bit, so that they never meet those of log reads.
const TICKET_BIT: u64 = 1 << 63;

struct Cached {
    content: Result<Bytes, Arc<io::Error>>,
    last_use: u64,
}

struct Pending {
    run: Rc<Run>,
    page: u32,
    tickets: Vec<ReadTicket>,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct PageReads {
    cached: FxHashMap<PageKey, Cached>,
    /// By number, which the token carries.
    pending: FxHashMap<u64, Pending>,
    numbers: FxHashMap<PageKey, u64>,
    waiting: VecDeque<u64>,
    in_flight: usize,
    next_number: u64,
    next_ticket: u64,
    completed: Vec<ReadTicket>,
    uses: u64,
    pub reads: u64,
}

impl PageReads {
    pub fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    pub fn is_cached(&self, run: &Run, page: u32) -> bool {
        self.cached.contains_key(&(run.id, page))
    }

    /// A page that was read; a failure is told once.
    pub fn get(&mut self, run: &Run, page: u32) -> Option<Result<Bytes, Arc<io::Error>>> {
        self.uses += 1;
        let cached = self.cached.get_mut(&(run.id, page))?;
        cached.last_use = self.uses;
        let content = cached.content.clone();
        if content.is_err() {
            self.cached.remove(&(run.id, page));
        }
        Some(content)
    }

    /// Asks for a page on behalf of a new ticket.
    pub fn request(&mut self, io: &mut dyn Io, tokens: Tokens, run: &Rc<Run>, page: u32) -> ReadTicket {
        let ticket = ReadTicket(TICKET_BIT | self.next_ticket);
        self.next_ticket += 1;
        self.enqueue(run, page, Some(ticket));
        self.issue(io, tokens);
        ticket
    }

    /// Asks for a page that will probably be needed, unless the disk is busy with what is needed now.
    pub fn prefetch(&mut self, io: &mut dyn Io, tokens: Tokens, run: &Rc<Run>, page: u32) {
        if self.waiting.is_empty() && self.in_flight < KEY_READS_IN_FLIGHT_MAX && !self.is_cached(run, page) {
            self.enqueue(run, page, None);
            self.issue(io, tokens);
        }
    }

    fn enqueue(&mut self, run: &Rc<Run>, page: u32, ticket: Option<ReadTicket>) {
        let number = *self.numbers.entry((run.id, page)).or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.waiting.push_back(number);
            self.pending.insert(number, Pending { run: Rc::clone(run), page, tickets: Vec::new() });
            number
        });
        self.pending.get_mut(&number).expect("numbers name pending reads").tickets.extend(ticket);
    }

    fn issue(&mut self, io: &mut dyn Io, tokens: Tokens) {
        while self.in_flight < KEY_READS_IN_FLIGHT_MAX {
            let Some(number) = self.waiting.pop_front() else { return };
            let pending = &self.pending[&number];
            let read = FileOp::Read {
                file: pending.run.file.id,
                offset: u64::from(pending.page) * PAGE_BYTES as u64,
                into: AlignedBuffer::zeroed(PAGE_BYTES),
            };
            io.file(tokens.of(Kind::KeyRead, number), read);
            self.in_flight += 1;
        }
    }

    /// Completion of a read; `number` is what its token carried.
    pub fn on_file(&mut self, io: &mut dyn Io, tokens: Tokens, number: u64, result: io::Result<FileValue>) {
        let Pending { run, page, tickets } = self.pending.remove(&number).expect("a read that was asked for");
        self.numbers.remove(&(run.id, page));
        self.in_flight -= 1;
        self.reads += 1;
        let content = match result {
            Ok(FileValue::Read { buffer, bytes }) => Ok(buffer.freeze(bytes)),
            Ok(other) => unreachable!("{other:?} does not answer a read"),
            Err(error) => Err(Arc::new(error)),
        };
        self.uses += 1;
        self.cached.insert((run.id, page), Cached { content, last_use: self.uses });
        self.completed.extend(tickets);
        while self.cached.len() > KEY_PAGES_CACHED_MAX {
            // A scan of the whole table for each page read: some hundred entries against a disk read.
            let oldest = self.cached.iter().min_by_key(|(_, c)| c.last_use).map(|(key, _)| *key);
            self.cached.remove(&oldest.expect("more than none"));
        }
        self.issue(io, tokens);
    }

    pub fn take_completed(&mut self, tickets: &mut Vec<ReadTicket>) {
        tickets.append(&mut self.completed);
    }

    pub fn cached_bytes(&self) -> usize {
        self.cached.len() * PAGE_BYTES
    }
}
