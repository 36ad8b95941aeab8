//! Consuming by message: POP_MESSAGE (200050), PEEK_MESSAGE (200052), NOTIFICATION (200054), POLLING_INFO (200055); acknowledgements
//! (200051, 200151, 200053) are in [`ack`].
//!
//! A group's members pop messages of any queue of a topic. A popped message is *in flight*: nobody else gets it until its invisible time
//! has passed. Then, if it was not acknowledged, a copy of it is put into the group's pop retry topic, from which it is popped again.
//!
//! **Who serves what.** A queue's owner shard alone pops from it and knows what is in flight ([`table`]). A pop of a whole topic is one
//! [`Pop`] that travels from shard to shard: it begins at its *home*, the owner of the group's pop retry topic, visits the
//! owners of the topic's queues from a random start until it has enough, and comes home to be answered or held:
//!
//! ```text
//!   connection's shard ─▶ home ─▶ owner ─▶ owner ─▶ home: answer, or hold until
//!                          │  20 %: the retry topic first        a message arrives, or the time is over
//!                          └─ else last, at home
//! ```
//!
//! **Waiting.** A shard that a pop leaves empty-handed watches the topic for the pop's home: what arrives there is mailed to the home, which
//! wakes a held pop. Arrivals during the walk are counted ([`watch`]), so that none falls between looking and waiting.
//!
//! **Durability.** Every change of what is in flight is a record of the topic `rmq_sys_REVIVE_LOG_<cluster>` in the shard's own log before it
//! takes effect, and acknowledged by the log before anybody is told ([`journal`]): after a crash every message is
//! still to be popped, or in flight, or acknowledged.

mod ack;
mod answer;
mod held;
mod journal;
mod limits;
mod op;
mod order;
mod rebuild;
mod record;
mod revive;
mod start;
mod table;
mod visit;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{Monotonic, ShardId};
use ringmq_remoting::pop::PoppedInfo;

use super::send::Refusal;
use super::wire::Caller;
use crate::config::BrokerConfig;
use crate::filter::MessageFilter;
use crate::message::QueueOwner;

pub use ack::BatchAcks;
pub use held::PopArrival;
pub(crate) use rebuild::Rebuild;

use held::HeldPops;
use journal::Journal;
use table::PopTable;
use watch::{Running, Watches};

/// What a pop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Take messages.
    Take,
    /// Look at them.
    Peek,
    /// Tell whether there are any.
    Notify,
}

/// Where a pop goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Home: the retry topic before the topic.
    RetryFirst,
    /// The shard with this number in the walk, from this one of its queues on.
    Queues { shard: u16, queue: i32 },
    /// Home: the retry topic after the topic.
    RetryLast,
    /// The retry topic with the older form of name, at its owner (`retrieveMessageFromPopRetryTopicV1`).
    OldRetry,
    /// Home: there is nowhere else to go.
    Home,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    records: Vec<Bytes>,
    count: usize,
    info: PoppedInfo,
    /// Messages left in the queues that were visited.
    rest: i64,
    /// A queue was left with messages that nobody looked at: the scan found many that are not wanted.
    scanned_in_vain: bool,
    /// A notification has found something.
    has_message: bool,
}

/// A request for messages on its way through the shards. It holds what it has found; a pop that is lost with its process leaves its
/// messages in flight, and they come back when their time is over.
#[derive(Clone, Debug)]
pub(crate) struct Pop {
    pub(crate) caller: Caller,
    purpose: Purpose,
    pub(crate) group: Arc<str>,
    pub(crate) topic: Arc<str>,
    /// Of this group and topic; queue 0 of it has the pop's home as owner.
    pub(crate) retry_topic: Arc<str>,
    /// `None`: any.
    pub(crate) queue_id: Option<i32>,
    pub(crate) filter: MessageFilter,
    max_messages: usize,
    /// ms
    invisible_time: i64,
    /// Wall clock ms, of this walk.
    pop_time: i64,
    /// A group that is new in a queue begins at its end.
    from_end: bool,
    /// In order; the attempt, if it has a name.
    order: bool,
    attempt_id: Option<Box<str>>,
    /// Until when it may be held; `None`: not at all (any more).
    hold_until: Option<Monotonic>,
    /// Where to start; drawn once a walk.
    random: u64,
    stage: Stage,
    /// The walk begins with the retry topic.
    retry_first: bool,
    /// Arrivals that the home knew of when the walk began.
    arrivals: u64,
    found: Found,
    /// Something of this stop is in the log and not acknowledged.
    unacknowledged: bool,
    /// A shard could not go on: the answer, unless something was found.
    refusal: Option<(i32, String)>,
}

/// A pop in the mail.
#[derive(Debug)]
pub struct TravelingPop(pub(crate) Box<Pop>);

/// Everything about pops that a shard keeps.
#[allow(clippy::vec_box, reason = "a pop stays in its box from the first shard to the answer")]
#[derive(Debug)]
pub(crate) struct Pops {
    table: PopTable,
    pub(crate) journal: Journal,
    pub(crate) held: HeldPops,
    running: Running,
    watches: Watches,
    woken: Vec<Box<Pop>>,
    revivals: revive::Revivals,
}

impl Pops {
    /// Nothing is known.
    pub(crate) fn new(owner: QueueOwner, me: ShardId, config: &BrokerConfig) -> Self {
        Self {
            table: PopTable::default(),
            journal: Journal::new(owner, me, &config.broker_cluster_name),
            held: HeldPops::default(),
            running: Running::default(),
            watches: Watches::default(),
            woken: Vec::new(),
            revivals: revive::Revivals::default(),
        }
    }

    /// Nothing waits and nothing is under way: the broker may stop.
    pub(crate) fn is_quiet(&self) -> bool {
        self.held.is_empty()
    }
}

impl Pop {
    /// Whether it has all it wants.
    fn is_full(&self) -> bool {
        self.refusal.is_some() || self.found.has_message || self.found.count >= self.max_messages
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert((refusal.code, refusal.remark));
    }
}

#[cfg(test)]
impl Pop {
    /// A pop of any queue of topic `T`, from that connection of shard 0.
    pub(crate) fn for_tests(connection: u32) -> Self {
        Self {
            caller: super::pull::Pull::for_tests(connection).caller,
            purpose: Purpose::Take,
            group: Arc::from("g"),
            topic: Arc::from("T"),
            retry_topic: Arc::from("%RETRY%g_T"),
            queue_id: None,
            filter: MessageFilter::default(),
            max_messages: 32,
            invisible_time: 60_000,
            pop_time: 0,
            from_end: false,
            order: false,
            attempt_id: None,
            hold_until: None,
            random: 0,
            stage: Stage::Home,
            retry_first: false,
            arrivals: 0,
            found: Found::default(),
            unacknowledged: false,
            refusal: None,
        }
    }
}
