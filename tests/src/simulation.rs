//! A whole cluster in the simulator: one name server, one broker of three shards, producers and consumers that speak the
//! wire protocol over the simulated network, and everything that can go wrong, from one seed.
//!
//! ```text
//!   plan      what this seed is like: flush mode, load, which faults and how often
//!   cluster   hosts, processes, restarts
//!   chaos     does the harm, and undoes it
//!   damage    bits that turn over in the broker's files
//!   producer  sends, singly and in batches, several in flight, tries again after errors
//!   consumer  heartbeats, long polling, commits of offsets
//!   popper    takes messages by popping, acknowledges most of them
//!   operator  makes and changes topics, and asks how they are
//!   checker   reads everything back
//!   ledger    the oracle: knows what was promised, compares it with what is seen
//!   topics    its part about topics
//!   pops      its part about pops
//!   run       one seed from start to verdict
//!   batch     many seeds on several threads
//! ```
//!
//! What the oracle holds the broker to:
//! - an acknowledged message is in the log at the offset it was acknowledged at, once, after every crash that its flush level
//!   covers: SYNC_FLUSH any crash; ASYNC_FLUSH any killed process, and a power cut once the flush interval has passed;
//! - queue offsets have no gap, no queue is reordered, a message that was once seen at an offset stays there;
//! - nobody sees a message that was not sent, or one that a crash takes back;
//! - a log of which one write or flush has failed acknowledges nothing more until the broker is started again;
//! - a bit that turned over in any file is noticed or harmless: no reader is given wrong data, a damaged log or metadata log may end the start
//!   (and be put back in order then), anything else must not, and nothing is lost by it;
//! - committed consumer offsets lose at most the persistence interval;
//! - a topic that was made or changed stays so, after any crash;
//! - the index after recovery gives what it gave before;
//! - a popped message is nobody else's until its invisible time has passed, and in the end every message is popped and acknowledged;
//! - when the faults end, every producer and consumer makes progress again.

pub mod batch;
pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod consumer;
pub mod damage;
pub mod ledger;
pub mod operator;
pub mod plan;
pub mod popper;
pub mod pops;
pub mod producer;
pub mod run;
pub mod topics;
pub mod wire;
