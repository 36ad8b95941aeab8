//! One shard's storage: the log, its tail cache, the queue index, cold reads and recovery.
//!
//! A [`Store`] lives on exactly one shard and is driven by that shard's [`ringmq_reactor::Service`]: it is a synchronous state
//! machine that asks [`ringmq_reactor::Io`] for file operations and is fed their completions. It knows records
//! ([`ringmq_remoting::record`]), never requests or connections.
//!
//! ```text
//!   append ──→ tail cache (encoded once) ──→ one O_DIRECT write in flight ──→ log/<start offset>
//!                 │            │                       │ completion (ASYNC_FLUSH: the seal, where the cache outlives the process)
//!                 │            └── read: fresh         ▼
//!                 ▼                             acknowledged moves: replies may go, arrivals become visible
//!           queue index ──→ runs in index/<segment> ──→ recovery loads the newest one, scans the log behind it
//! ```
//!
//! How a service uses it:
//!
//! ```text
//!   task      let (store, report) = Store::open(io, shard, config).await?;
//!   handle    Event::File / Event::Timer with the store's owner byte → store.on_file / store.on_timer
//!   requests  store.append(…), store.read(…)
//!   end       store.end_of_turn(io)      acknowledges what was appended in this turn, or starts its write
//!             then: acknowledged(), take_arrivals(), take_completed_reads()
//!   stop      store.begin_close(io) … until store.is_closed()
//! ```
//!
//! **Invariant.** Nothing above [`Store::acknowledged`] is visible to a reader, and nothing below it is ever lost by a crash
//! that the flush level covers.
//!
//! **Invariant.** Every batch of records in the log ends with a seal, a checksum over all of its bytes: recovery takes a batch whole or
//! not at all, and a cold read compares every byte of a record with the checksum in the index.
//!
//! The tail cache lies in a file in memory that outlives the process, if there is one to be had ([`StoreConfig::tail_cache_path`]): ASYNC_FLUSH
//! then acknowledges at the end of the turn, and a process that was killed left there what it had not written.
//!
//! **Invariant.** The queue index and the key index are derived: the log alone says what the store holds. A page of theirs that is not what
//! was written is noticed and never believed.

#![forbid(unsafe_code)]

mod ages;
mod checkpoint;
mod cold;
mod config;
mod deletion;
mod ends;
mod error;
mod flush;
mod index;
mod indexing;
pub mod inspect;
mod keys;
mod limits;
mod offset;
mod own;
mod pages;
mod prepare;
mod read;
mod recover;
mod report;
mod retention;
mod seal;
mod segments;
mod spares;
mod stats;
mod store;
mod tail;
mod token;
mod zero;

pub use config::{Flush, StoreConfig, TagsCodeOf, tags_code_of_tag};
pub use error::{AppendError, ConfigError, Corruption, OpenError, ReadError, Stage, StoreError};
pub use keys::{KEY_FILTER_BITS, KeyError, KeyFind, KeyIndexEnd, KeyKind, KeyLookup, KeyMatch, KeyQuery};
pub use limits::*;
pub use offset::{LogOffset, PhysicalOffset};
pub use read::{
    Boundary, IndexEntry, Lookup, Read, ReadLimits, ReadResult, ReadStatus, ReadTicket, RecordFilter,
    RecordRead,
};
pub use report::{RecoveryReport, TailCacheFound, TailCacheRefusal, TailCacheUse, TailState};
pub use retention::{DeleteWhen, MANUAL_ROUNDS, Retention};
pub use stats::{LatencyBuckets, StoreStats};
pub use store::{Appended, Arrival, ImportError, ImportedPlace, LogWalk, QueueInfo, Store};
