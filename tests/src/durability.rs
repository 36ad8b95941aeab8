//! What a broker has acknowledged outlives what happens to it: a killed process, a machine without power.
//!
//! One *round*: start the broker, check that everything it ever promised is there, put load on it from several
//! connections with many requests in flight while a consumer commits its progress, end it at a moment of chance. The
//! store lives through many rounds.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kills`] | rounds that end with kill -9, on the disk that the build uses |
//! | [`power`] | rounds that end with a power cut, on a file system in an image of its own |
//! | [`disk`] | that image: made, mounted where nobody else sees it, cut, mounted again |
//! | [`cache`] | a disk with a volatile write cache below such an image |
//! | [`model`] | what was promised, and the check of a broker against it |
//! | [`load`] | connections that send with a window of requests in flight |
//! | [`progress`] | a consumer that reads and commits, and the check of its offsets |

pub mod cache;
pub mod disk;
pub mod kills;
pub mod load;
pub mod model;
pub mod power;
pub mod progress;
pub mod pulse;

use std::fmt;
use std::time::Instant;

use crate::wire::Answer;

/// Topics that the load writes to.
pub const TOPICS: [&str; 3] = ["crash_a", "crash_b", "crash_c"];
/// Queues of each.
pub const QUEUES: i32 = 4;
/// Connections that send.
const SENDERS: u64 = 4;

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// An acknowledged message is not at its acknowledged offset.
    Lost,
    /// A queue's content from before the last start has changed or shrunk.
    Changed,
    /// A message is in the log twice.
    Repeated,
    /// A message was never sent.
    Unsent,
    /// A queue cannot be read, or a record in it is damaged.
    Unreadable,
    /// A consumer's offset is not what was committed.
    Offset,
}

/// A broken promise, with what an investigation needs.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// Where, what was expected, what was found.
    pub detail: String,
}

impl Fault {
    fn new(kind: FaultKind, detail: String) -> Self {
        Fault { kind, detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail)
    }
}

/// Ends the test if a promise was broken.
///
/// # Panics
/// One was; the message holds the first few.
pub fn expect_none(faults: &[Fault]) {
    let shown: Vec<String> = faults.iter().take(5).map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{} broken promises, the first:\n{}", faults.len(), shown.join("\n"));
}

/// An answer that is neither success nor a refusal for load.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// When it came.
    pub at: Instant,
    /// What it said.
    pub answer: Answer,
}

/// A refusal is an honest answer once the disk is gone, and a failure of the test before.
///
/// # Panics
/// One came before `ended`.
fn expect_after(ended: Instant, refusals: &[Refusal]) {
    if let Some(early) = refusals.iter().find(|refusal| refusal.at < ended) {
        panic!("refused before the round ended: {:?}", early.answer);
    }
}

/// A splitmix sequence: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
