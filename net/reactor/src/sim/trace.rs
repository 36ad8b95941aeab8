//! What happened: a hash of all of it, and the text of the newest part.

use std::collections::VecDeque;
use std::fmt;

use crate::{CloseCause, ShardId};

use super::core::{Completion, ShardKey};

/// Mixes every event that a service is handed.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    keep: usize,
    newest: VecDeque<Record>,
}

/// One line, formatted only when asked for.
#[derive(Debug)]
struct Record {
    at: u64,
    shard: ShardKey,
    what: What,
}

#[derive(Debug)]
enum What {
    Completion { kind: &'static str, subject: u64, detail: u64 },
    Mail { from: ShardId },
    Note(String),
}

impl Trace {
    pub(super) fn new(seed: u64, keep: usize) -> Self {
        Self { hash: seed, events: 0, keep, newest: VecDeque::new() }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    fn mix(&mut self, value: u64) {
        self.hash = (self.hash.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    pub(super) fn completion(&mut self, at: u64, shard: ShardKey, completion: &Completion) {
        let (kind, subject, detail) = describe(completion);
        self.events += 1;
        self.mix(at);
        self.mix(u64::from(shard.process) << 16 | u64::from(shard.shard));
        self.mix(kind.len() as u64 ^ subject.rotate_left(8));
        self.mix(detail);
        self.push(at, shard, || What::Completion { kind, subject, detail });
    }

    pub(super) fn mail(&mut self, at: u64, shard: ShardKey, from: ShardId) {
        self.events += 1;
        self.mix(at);
        self.mix(u64::from(shard.process) << 32 | u64::from(shard.shard) << 16 | u64::from(from.0));
        self.push(at, shard, || What::Mail { from });
    }

    /// Something done to the world from outside (a crash, a cut).
    pub(super) fn note(&mut self, at: u64, process: u32, text: impl FnOnce() -> String) {
        self.mix(at);
        self.mix(u64::from(process));
        self.push(at, ShardKey { process, shard: 0 }, || What::Note(text()));
    }

    fn push(&mut self, at: u64, shard: ShardKey, what: impl FnOnce() -> What) {
        if self.keep > 0 {
            if self.newest.len() == self.keep {
                self.newest.pop_front();
            }
            self.newest.push_back(Record { at, shard, what: what() });
        }
    }

    /// The newest events, oldest first, one a line.
    pub(super) fn text(&self, names: impl Fn(u32) -> String) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        for record in &self.newest {
            let (seconds, micros) = (record.at / 1_000_000_000, record.at / 1_000 % 1_000_000);
            let process = names(record.shard.process);
            let shard = record.shard.shard;
            let _ = match &record.what {
                What::Completion { kind, subject, detail } => {
                    writeln!(text, "{seconds}.{micros:06} {process}/{shard} {kind} {subject:#x} {detail:#x}")
                }
                What::Mail { from } => {
                    writeln!(text, "{seconds}.{micros:06} {process}/{shard} mail from {from}")
                }
                What::Note(note) => writeln!(text, "{seconds}.{micros:06} {process} ** {note}"),
            };
        }
        text
    }
}

fn describe(completion: &Completion) -> (&'static str, u64, u64) {
    match completion {
        Completion::Accepted { connection, peer, .. } => {
            ("accepted", u64::from(connection.index), u64::from(peer.port()))
        }
        Completion::Connected { token, result } => {
            ("connected", token.value(), result.as_ref().map_or(u64::MAX, |c| u64::from(c.index)))
        }
        Completion::Received { connection, bytes } => {
            ("received", u64::from(connection.index), digest(bytes))
        }
        Completion::Drained { connection } => ("drained", u64::from(connection.index), 0),
        Completion::Closed { connection, cause } => {
            let cause = match cause {
                CloseCause::Peer => 0,
                CloseCause::Local => 1,
                CloseCause::Failed(_) => 2,
            };
            ("closed", u64::from(connection.index), cause)
        }
        Completion::File { token, result } => {
            let detail = match result {
                Ok(crate::FileValue::Read { bytes, buffer }) => digest(&buffer.as_ref()[..*bytes]),
                Ok(crate::FileValue::Opened { bytes, .. } | crate::FileValue::Written { bytes }) => *bytes,
                Ok(crate::FileValue::Listed(entries)) => entries.len() as u64,
                Ok(_) => 0,
                Err(error) => u64::MAX - error.raw_os_error().unwrap_or(0) as u64,
            };
            ("file completion", token.value() ^ u64::from(token.owner()) << 56, detail)
        }
        Completion::Timer { token, .. } => ("timer", token.value() ^ u64::from(token.owner()) << 56, 0),
        Completion::Start => ("start", 0, 0),
        Completion::Stop => ("stopping", 0, 0),
    }
}

/// Eight bytes at a time: a byte that differs anywhere shows, and a megabyte costs well below a millisecond.
fn digest(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    for byte in rest {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    hash
}
