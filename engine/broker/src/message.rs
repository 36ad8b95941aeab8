//! What shards of a broker tell each other: the only way state crosses a shard boundary.
//!
//! A broker is N *data shards* (ids `0..N`) and one *coordination shard* (id `N`). A queue's owner is a data shard
//! ([`QueueOwner`]); connections live on data shards; topic and group configuration, the client registry and everything that
//! is registered or persisted as metadata lives on the coordination shard.
//!
//! ```text
//!            Requests ───────────▶                     Requests, Ensure, OffsetCommits, DelayProgress,
//!   data shard        data shard                       ConnectionClosed, ClientResponse, Answer
//!   (connection) ◀─────── Replies (queue's owner)   ─────────────────────────────▶  coordination
//!            Append ─────────────▶                  ◀─────────────────────────────  shard
//!                                                      Replies, Ensured, Topics, Groups, Online, Question,
//!                                                      ToClient, CloseConnection, …
//! ```
//!
//! Mail between two shards arrives in the order in which it was sent. Together with the reactor's causal mail this gives the
//! rule everything here leans on: *mail the change to every shard, then answer the client*; whatever that client does next is
//! seen by shards that know the change.
//!
//! # Start
//! 1. Each data shard opens its store while the coordination shard loads its files.
//! 2. Coordination → every data shard: [`ShardMessage::Topics`], [`ShardMessage::Groups`], [`ShardMessage::OffsetsLoaded`] (each
//!    queue's offsets to its owner), [`ShardMessage::DelayLoaded`], then [`ShardMessage::ConfigurationLoaded`].
//! 3. Data shard → coordination: [`ShardMessage::Ready`] once its store is open and step 2 has arrived, or
//!    [`ShardMessage::StartFailed`].
//! 4. When all are ready, the coordination shard listens (`listenPort` and `listenPort - 2`, connections dealt out to the data
//!    shards with the token [`CLIENT_LISTENER`]) and registers. If the system chose the port, it mails
//!    [`ShardMessage::Config`] with that port first: it goes into records and message ids. If a shard failed: as *Stop* from
//!    step 3.
//!
//! # Stop
//! 1. `Event::Stop` reaches every shard. Data shards only note it. Coordination closes the listeners, unregisters from the name
//!    servers and mails [`ShardMessage::Drain`] to the data shards.
//! 2. Data shard: refuses new sends, answers held pulls, lets its log finish what was accepted and its replies go out, mails
//!    its last [`ShardMessage::OffsetCommits`] and [`ShardMessage::DelayProgress`], then [`ShardMessage::Drained`].
//! 3. Coordination, when all are drained: persists, then mails [`ShardMessage::Exit`].
//! 4. Data shard: makes its store durable, closes its connections, mails [`ShardMessage::Exited`] and exits.
//! 5. Coordination exits when all have.

mod gather;
mod record;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{ConnectionId, ShardId, Token};
use ringmq_remoting::ResponseTo;

use crate::config::BrokerConfig;
use crate::coordination::names::DEAD_LETTER_PREFIX;
use crate::shard::{BatchAcks, PopArrival, TravelingPop};

pub use gather::{
    Answer, ConsumeQueueStats, ConsumeSpan, DelayLevelProgress, KeyedMessages, PutLatency, Question,
    QueueOffset, QueueStats, Rates, ResetTarget, ShardRuntime, StatsItem, StatsPeriod,
};
pub use record::OwnedRecord;
pub use table::{
    ConsumeModel, ExpressionKind, Group, GroupChange, OnlineGroup, Perm, PropertyFilter, QueueOwner,
    Subscription, Topic, TopicChange,
};

/// Token with which the coordination shard asks for the client listeners: data shards see it in `Event::Accepted`.
pub const CLIENT_LISTENER: Token = Token::new(1, 0);

/// Mail between shards of a broker. See the module's header for who sends what when.
#[derive(Debug)]
pub enum ShardMessage {
    /// Requests that arrived at one shard and belong to another, in order of arrival; one batch per turn.
    /// From a data shard to a data shard (owner of the queue) or to the coordination shard (everything but the data plane).
    Requests(Vec<ForwardedRequest>),

    /// Answers to requests, to the shard that holds the connection; one batch per turn and sender.
    Replies(Vec<Reply>),

    /// A frame for a client that is not an answer (40, 220, 307, 309, 326 …): coordination → connection's shard.
    /// Dropped when the connection has closed.
    ToClient {
        /// To whom.
        connection: ConnectionId,
        /// A whole request frame, length first.
        frame: Bytes,
    },

    /// A client's answer to a request of ours (response flag set), connection's shard → coordination.
    ClientResponse(ForwardedRequest),

    /// Ends a client's connection (heartbeats ceased): coordination → connection's shard.
    CloseConnection {
        /// Which.
        connection: ConnectionId,
    },

    /// A connection of the sending shard is gone: to the coordination shard, if it was ever sent a request of this connection,
    /// and to data shards that may hold pulls of it. Arrives after the connection's last request.
    ConnectionClosed {
        /// Which; meaningful together with the sending shard.
        connection: ConnectionId,
    },

    /// A request found something missing (topic, group) that might be created on demand: data shard → coordination, which
    /// creates it if configuration allows, mails the change to all shards, and sends the request back in [`ShardMessage::Ensured`].
    Ensure {
        /// What is missing.
        what: Ensure,
        /// The request to give back, untouched.
        request: ForwardedRequest,
    },

    /// The answer to [`ShardMessage::Ensure`], to the shard that asked. Whether the thing exists now is seen in the tables.
    Ensured {
        /// The request as it was.
        request: ForwardedRequest,
    },

    /// Topics created, changed or deleted (at start: all of them): coordination → every data shard.
    Topics(Arc<[TopicChange]>),

    /// Consumer groups created, changed or deleted (at start: all of them): coordination → every data shard.
    Groups(Arc<[GroupChange]>),

    /// Who consumes in a group and what it subscribes to, as heartbeats say: coordination → every data shard, at every change.
    /// `None`: no consumer is online any more.
    Online {
        /// The group.
        group: Arc<str>,
        /// Its members' common subscriptions.
        online: Option<Arc<OnlineGroup>>,
    },

    /// Some queue of the group is locked for orderly consumption until that wall-clock time: coordination → every data shard, after
    /// each successful lock request. What such a group sends to its retry topic meanwhile is a dead letter.
    OrderlyLocks {
        /// The group.
        group: Arc<str>,
        /// When the newest lock expires, ms.
        until_ms: u64,
    },

    /// Changed settings (`updateBrokerConfig`): coordination → every data shard.
    Config(Arc<BrokerConfig>),

    /// Consumer offsets that changed since the last batch, newest value per queue: owner shard → coordination, see [`BrokerConfig::report_offsets_after`].
    OffsetCommits(Vec<QueueOffset>),

    /// Consumer offsets read from disk: coordination → the queues' owner, at start (possibly in several parts).
    OffsetsLoaded(Vec<QueueOffset>),

    /// Delay levels of the sending shard that moved on: (level from 1, next offset in that shard's parking queue).
    DelayProgress(Vec<(i32, i64)>),

    /// Delay progress of the receiving shard as read from disk; same pairs. At start.
    DelayLoaded(Vec<(i32, i64)>),

    /// A record for a queue that the receiving data shard owns, made by another shard (a message sent back, a dead letter).
    Append(Box<CrossShardAppend>),

    /// What became of an [`ShardMessage::Append`] with [`ReplyTo::Shard`].
    Appended {
        /// As given.
        id: u64,
        /// The log of the record's shard has acknowledged it; else it was refused.
        is_safe: bool,
    },

    /// A pop that goes on at the receiving data shard: it owns queues to visit, or is the pop's home.
    Pop(TravelingPop),

    /// Messages arrived, or ordered queues were unlocked, for which pops of the receiving data shard may wait.
    PopArrivals(Vec<PopArrival>),

    /// Acknowledgements of popped messages, some of queues of the receiving data shard.
    BatchAcks(Box<BatchAcks>),

    /// A question that every data shard answers for its own queues, by one [`ShardMessage::Answer`] with the same id:
    /// coordination → data shards.
    Question {
        /// Chosen by the asker.
        id: u64,
        /// What is asked.
        question: Question,
    },

    /// See [`ShardMessage::Question`].
    Answer {
        /// Of the question.
        id: u64,
        /// One shard's share.
        answer: Answer,
    },

    /// Start, step 2: everything that was persisted has been mailed.
    ConfigurationLoaded,

    /// Start, step 3: the sending data shard can serve.
    Ready,

    /// Start, step 3: the sending data shard cannot serve, and why (with causes, for the operator).
    StartFailed(String),

    /// Stop, step 1.
    Drain,

    /// Stop, step 2.
    Drained,

    /// Stop, step 3.
    Exit,

    /// Stop, step 4: nothing follows from the sending shard.
    Exited,
}

/// Where a request came from, which is where its answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The shard that holds the connection.
    pub shard: ShardId,
    /// The connection.
    pub connection: ConnectionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// Bytes of the request that count as in flight on the connection until its answer comes back (data plane requests that
    /// carry messages); the answer repeats the number. 0 for everything that goes to the coordination shard.
    pub admitted: u32,
}

/// A request on its way to the shard that serves it.
#[derive(Clone, Debug)]
pub struct ForwardedRequest {
    /// Who asked.
    pub origin: Origin,
    /// The whole frame, length first; it has been parsed once, so it is well-formed.
    pub frame: Bytes,
    /// What the data shard that holds it has asked for on its behalf, one bit for each kind of [`Ensure`]: no shard asks twice.
    /// The coordination shard gives it back as it is.
    pub ensured: u8,
}

/// An answer on its way to the connection.
#[derive(Debug)]
pub struct Reply {
    /// To whom; dropped if it has closed.
    pub connection: ConnectionId,
    /// Length and header (and body, if it is small); see `ringmq_remoting::encode::write_response`.
    pub head: Bytes,
    /// The rest of the body in order, by reference.
    pub body: Vec<Bytes>,
    /// Bytes of the request that the connection's shard counted as in flight and takes off now; see [`Origin::admitted`].
    pub admitted: u32,
}

impl Reply {
    /// An answer that is one piece.
    #[must_use]
    pub fn whole(connection: ConnectionId, frame: Bytes) -> Self {
        Self { connection, head: frame, body: Vec::new(), admitted: 0 }
    }
}

/// Something that a request needs and that may be created for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ensure {
    /// A topic that a message is sent to (created after its template, if that allows it).
    SendTopic {
        /// The topic.
        topic: String,
        /// The template: `defaultTopic` of the request.
        template: String,
        /// Queues wanted: `defaultTopicQueueNums` of the request.
        queues: i32,
        /// `unitMode` of the request.
        unit: bool,
    },
    /// `%RETRY%group` or `%DLQ%group`: permission 6, that many queues.
    GroupTopic {
        /// The whole name.
        topic: String,
        /// Read and write queues.
        queues: i32,
    },
    /// A consumer group.
    Group {
        /// Its name.
        group: String,
    },
}

impl Ensure {
    /// The bit of [`ForwardedRequest::ensured`].
    pub(crate) fn bit(&self) -> u8 {
        match self {
            Self::Group { .. } => 1,
            Self::SendTopic { .. } => 2,
            Self::GroupTopic { topic, .. } if topic.starts_with(DEAD_LETTER_PREFIX) => 4,
            Self::GroupTopic { .. } => 8,
        }
    }
}

/// See [`ShardMessage::Append`].
#[derive(Debug)]
pub struct CrossShardAppend {
    /// The record.
    pub record: OwnedRecord,
    /// Who hears of it when the record is acknowledged, or refused.
    pub reply_to: ReplyTo,
}

/// Who waits for a cross-shard append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyTo {
    /// Nobody.
    Nobody,
    /// The client that made this request.
    Client(AppendReply),
    /// A data shard, with [`ShardMessage::Appended`].
    Shard {
        /// Which.
        shard: ShardId,
        /// Chosen by it.
        id: u64,
    },
}

/// Whom to answer for a cross-shard append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendReply {
    /// Who asked.
    pub origin: Origin,
    /// Which request.
    pub to: ResponseTo,
}
