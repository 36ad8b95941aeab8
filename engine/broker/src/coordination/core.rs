//! What all parts of the coordination shard share: tables, outgoing mail, questions to the data shards.
//!
//! Lives on the coordination shard only. Handlers and tasks hold it as `Rc<Core>`; tables are in `RefCell`s that are never
//! borrowed across an `.await`. Mail goes out in the order in which it was asked for, at the end of the turn: a change
//! mailed before an answer therefore reaches every shard before the client can act on the answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringmq_reactor::{ShardId, TaskIo};
use ringmq_remoting::body::DataVersion;
use ringmq_remoting::encode::{FieldValue, ResponseTo, write_response};

use super::clients::ClientRegistry;
use super::export::Exporter;
use super::filters::FilterTable;
use super::gather::Questions;
use super::groups::GroupTable;
use super::locks::QueueLocks;
use super::offsets::OffsetBook;
use super::registration::Registration;
use super::relay::Relay;
use super::request_modes::ModeTable;
use super::routes::Routes;
use super::runtime_info::Mornings;
use super::topics::TopicTable;
use crate::config::BrokerConfig;
use crate::config::for_tests::StoreScale;
use crate::message::{Answer, Origin, Question, QueueOwner, Reply, ShardMessage};
use crate::metadata::{Journal, JournalOptions};

/// Metadata logs of [`StoreScale::Small`] have at least this many bytes, so that they are followed by others within
/// simulated seconds.
const SMALL_LOG_BYTES: u64 = 16 << 10;

/// See the module's text.
pub struct Core {
    /// Settings in effect.
    config: RefCell<Arc<BrokerConfig>>,
    /// For tasks.
    pub io: TaskIo,
    /// Which shard owns a queue.
    pub owner: QueueOwner,
    /// Wall clock of this turn, ms.
    now_ms: Cell<u64>,
    /// When the broker started, ms.
    pub boot_ms: Cell<u64>,
    /// Port that clients connect to, once it is known.
    pub port: Cell<u16>,
    /// The process is ending.
    pub stopping: Cell<bool>,
    /// Topics.
    pub topics: RefCell<TopicTable>,
    /// Consumer groups.
    pub groups: RefCell<GroupTable>,
    /// How groups consume topics.
    pub modes: RefCell<ModeTable>,
    /// Where topics lie in the cluster.
    pub routes: RefCell<Routes>,
    /// Who is connected.
    pub clients: RefCell<ClientRegistry>,
    /// Their expressions, compiled.
    pub filters: RefCell<FilterTable>,
    /// Orderly consumers' locks.
    pub locks: RefCell<QueueLocks>,
    /// Consumer offsets and delay progress, as they are (to be) persisted.
    pub offsets: RefCell<OffsetBook>,
    /// Groups whose members are to be told of a change at the next opportunity (`realTimeNotifyConsumerChange=false`).
    pub notices: RefCell<BTreeSet<String>>,
    /// Changes of the settings.
    pub config_version: Cell<DataVersion>,
    /// Totals at midnight.
    pub mornings: RefCell<Mornings>,
    /// Makes topics, groups, offsets and delay progress durable.
    pub journal: Rc<Journal>,
    /// What of them has been exported.
    pub exporter: Exporter,
    /// Name servers.
    pub registration: Registration,
    /// Requests to clients.
    pub relay: Relay,
    /// Queries by key that are not answered yet.
    pub key_queries: Cell<usize>,
    questions: RefCell<Questions>,
    outgoing: RefCell<Vec<(ShardId, ShardMessage)>>,
}

impl Core {
    /// Empty tables.
    #[must_use]
    pub fn new(config: Arc<BrokerConfig>, io: TaskIo) -> Self {
        let mut journal = JournalOptions::new(config.metadata_dir());
        if config.for_tests.store_scale == StoreScale::Small {
            journal.log_bytes_min = SMALL_LOG_BYTES;
        }
        Self {
            owner: QueueOwner::new(config.shards),
            now_ms: Cell::new(0),
            boot_ms: Cell::new(0),
            port: Cell::new(config.listen_port),
            stopping: Cell::new(false),
            topics: RefCell::new(TopicTable::new()),
            groups: RefCell::new(GroupTable::new()),
            modes: RefCell::default(),
            routes: RefCell::default(),
            clients: RefCell::default(),
            filters: RefCell::default(),
            locks: RefCell::default(),
            offsets: RefCell::default(),
            notices: RefCell::default(),
            config_version: Cell::new(DataVersion::default()),
            mornings: RefCell::new(Mornings::new(0)),
            journal: Rc::new(Journal::new(io.clone(), journal)),
            exporter: Exporter::default(),
            registration: Registration::new(io.clone()),
            relay: Relay::default(),
            key_queries: Cell::new(0),
            questions: RefCell::default(),
            outgoing: RefCell::default(),
            config: RefCell::new(config),
            io,
        }
    }

    /// Settings in effect.
    pub fn config(&self) -> Arc<BrokerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Replaces the settings here and on every data shard.
    pub fn set_config(&self, config: BrokerConfig) {
        let config = Arc::new(config);
        *self.config.borrow_mut() = Arc::clone(&config);
        self.mail_all(|| ShardMessage::Config(Arc::clone(&config)));
    }

    /// Wall clock of this turn, ms.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// To be called when a turn begins.
    pub fn set_now_ms(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
    }

    /// The data shards.
    pub fn data_shards(&self) -> impl Iterator<Item = ShardId> {
        (0..self.owner.shards()).map(ShardId)
    }

    /// Sends mail at the end of the turn.
    pub fn mail(&self, to: ShardId, message: ShardMessage) {
        self.outgoing.borrow_mut().push((to, message));
    }

    /// Sends the same to every data shard.
    pub fn mail_all(&self, mut message: impl FnMut() -> ShardMessage) {
        for shard in self.data_shards() {
            self.mail(shard, message());
        }
    }

    /// Mail in order; answers to one shard that follow each other are one message.
    pub fn take_mail(&self) -> Vec<(ShardId, ShardMessage)> {
        let outgoing = std::mem::take(&mut *self.outgoing.borrow_mut());
        let mut merged: Vec<(ShardId, ShardMessage)> = Vec::with_capacity(outgoing.len());
        for (to, message) in outgoing {
            match (merged.last_mut(), message) {
                (Some((last, ShardMessage::Replies(replies))), ShardMessage::Replies(more))
                    if *last == to =>
                {
                    replies.extend(more);
                }
                (_, message) => merged.push((to, message)),
            }
        }
        merged
    }

    /// Answers a request.
    pub fn reply(&self, origin: &Origin, to: ResponseTo, response: &Response) {
        let fields: Vec<(&str, FieldValue<'_>)> =
            response.fields.iter().map(|(name, value)| (*name, FieldValue::Str(value))).collect();
        let mut head = BytesMut::with_capacity(256);
        let body_bytes = response.body.len();
        write_response(&mut head, to, response.code, response.remark.as_deref(), &fields, body_bytes);
        let body = if response.body.is_empty() { Vec::new() } else { vec![response.body.clone()] };
        let reply =
            Reply { connection: origin.connection, head: head.freeze(), body, admitted: origin.admitted };
        self.mail(origin.shard, ShardMessage::Replies(vec![reply]));
    }

    /// Asks every data shard and waits for all answers, in the order of the shards.
    ///
    /// # Errors
    /// When too many questions are open: nothing was asked.
    pub async fn ask_all(&self, question: Question) -> Result<Vec<Answer>, TooManyQuestions> {
        let (id, receiver) = self.questions.borrow_mut().open(self.owner.shards())?;
        self.mail_all(|| ShardMessage::Question { id, question: question.clone() });
        // The sender lives in the table until the last answer: it is only dropped with the shard.
        Ok(receiver.await.unwrap_or_default())
    }

    /// A data shard has answered.
    pub fn answered(&self, id: u64, from: ShardId, answer: Answer) {
        self.questions.borrow_mut().answered(id, from, answer);
    }

    /// The broker's address as clients and name servers know it.
    pub fn address(&self) -> std::net::SocketAddr {
        self.config().broker_address(self.port.get())
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

pub use super::gather::TooManyQuestions;

/// An answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Response code.
    pub code: i32,
    /// Text.
    pub remark: Option<String>,
    /// Header fields.
    pub fields: Vec<(&'static str, String)>,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// Success and nothing else.
    #[must_use]
    pub fn success() -> Self {
        Self::code(ringmq_remoting::code::response::SUCCESS)
    }

    /// A code and nothing else.
    #[must_use]
    pub fn code(code: i32) -> Self {
        Self { code, remark: None, fields: Vec::new(), body: Bytes::new() }
    }

    /// A code with a text.
    #[must_use]
    pub fn remark(code: i32, remark: impl Into<String>) -> Self {
        Self { remark: Some(remark.into()), ..Self::code(code) }
    }

    /// Success with a body.
    #[must_use]
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::success() }
    }

    /// Adds a header field.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl ToString) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }
}
