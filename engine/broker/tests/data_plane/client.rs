//! A client that says what the test wants, and checks what every answer must have.

use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::TaskIo;
use ringmq_remoting::body::{ConsumerData, HeartbeatData, SubscriptionData};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::record::{RecordView, batch, properties};
use ringmq_transport::{Client as Transport, ClientOptions, OwnedResponse, Request};

use crate::setup::PORT;
use crate::support::address;

const TIMEOUT: Duration = Duration::from_secs(40);
/// Pull flags.
pub const COMMIT: i64 = 1;
pub const SUSPEND: i64 = 2;
pub const SUBSCRIPTION: i64 = 4;

/// A stored message as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub physical_offset: i64,
    pub reconsume_times: i32,
    pub body: String,
    pub properties: String,
}

impl Message {
    pub fn property(&self, name: &str) -> Option<&str> {
        properties::get(&self.properties, name)
    }
}

/// The messages in the body of a pull's answer.
pub fn messages(body: &Bytes) -> Vec<Message> {
    let mut rest = &body[..];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let view = RecordView::parse(rest).expect("a record");
        view.check_crc().expect("an intact record");
        all.push(Message {
            topic: view.topic().to_owned(),
            queue_id: view.queue_id(),
            queue_offset: view.queue_offset(),
            physical_offset: view.physical_offset(),
            reconsume_times: view.reconsume_times(),
            body: String::from_utf8_lossy(view.body()).into_owned(),
            properties: view.properties().into_owned(),
        });
        rest = &rest[view.total_bytes()..];
    }
    all
}

/// See the module's text. Clones share a connection.
#[derive(Clone)]
pub struct Client {
    pub io: TaskIo,
    transport: Transport,
}

/// A send, before it is made.
#[derive(Clone, Debug)]
pub struct Send {
    topic: String,
    queue_id: i64,
    properties: String,
    body: Vec<u8>,
    batch: bool,
    sys_flag: i64,
    reconsume_times: i64,
    max_reconsume_times: Option<i64>,
}

impl Send {
    pub fn new(topic: &str, queue_id: i64, body: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            queue_id,
            properties: String::new(),
            body: body.as_bytes().to_vec(),
            batch: false,
            sys_flag: 0,
            reconsume_times: 0,
            max_reconsume_times: None,
        }
    }

    pub fn batch(topic: &str, queue_id: i64, bodies: &[&str]) -> Self {
        let mut body = Vec::new();
        for text in bodies {
            batch::write_entry(&mut body, 0, text.as_bytes(), "TAGS\u{1}TagB\u{2}");
        }
        Self { body, batch: true, ..Self::new(topic, queue_id, "") }
    }

    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push_str(&format!("{name}\u{1}{value}\u{2}"));
        self
    }

    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub fn reconsumed(mut self, times: i64, max: i64) -> Self {
        (self.reconsume_times, self.max_reconsume_times) = (times, Some(max));
        self
    }

    pub fn request(&self) -> Request {
        let code = if self.batch { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
        let mut request = Request::new(code)
            .str("a", "producers")
            .str("b", &self.topic)
            .str("c", "TBW102")
            .int("d", 4)
            .int("e", self.queue_id)
            .int("f", self.sys_flag)
            .int("g", 1_700_000_000_000)
            .int("h", 0)
            .str("i", &self.properties)
            .int("j", self.reconsume_times)
            .bool("m", self.batch);
        if let Some(max) = self.max_reconsume_times {
            request = request.int("l", max);
        }
        request.body(self.body.clone())
    }
}

/// A pull, before it is made.
#[derive(Clone, Debug)]
pub struct Pull {
    group: String,
    topic: String,
    queue_id: i64,
    offset: i64,
    flags: i64,
    commit: i64,
    suspend_ms: i64,
    expression: String,
}

impl Pull {
    pub fn new(topic: &str, queue_id: i64, offset: i64) -> Self {
        Self {
            group: "consumers".to_owned(),
            topic: topic.to_owned(),
            queue_id,
            offset,
            flags: SUBSCRIPTION,
            commit: 0,
            suspend_ms: 0,
            expression: "*".to_owned(),
        }
    }

    pub fn tags(mut self, expression: &str) -> Self {
        self.expression = expression.to_owned();
        self
    }

    pub fn suspend(mut self, ms: i64) -> Self {
        (self.flags, self.suspend_ms) = (self.flags | SUSPEND, ms);
        self
    }

    pub fn commit(mut self, offset: i64) -> Self {
        (self.flags, self.commit) = (self.flags | COMMIT, offset);
        self
    }

    pub fn subscribed_by_heartbeat(mut self) -> Self {
        self.flags &= !SUBSCRIPTION;
        self
    }

    pub fn request(&self) -> Request {
        Request::new(request::PULL_MESSAGE)
            .str("consumerGroup", &self.group)
            .str("topic", &self.topic)
            .int("queueId", self.queue_id)
            .int("queueOffset", self.offset)
            .int("maxMsgNums", 32)
            .int("sysFlag", self.flags)
            .int("commitOffset", self.commit)
            .int("suspendTimeoutMillis", self.suspend_ms)
            .str("subscription", &self.expression)
            .int("subVersion", 0)
    }
}

impl Client {
    pub fn new(io: TaskIo) -> Self {
        Self { transport: Transport::new(io.clone(), ClientOptions::default()), io }
    }

    /// On connections of its own.
    pub fn another(&self) -> Self {
        Self::new(self.io.clone())
    }

    pub async fn call(&self, request: &Request) -> OwnedResponse {
        self.transport.call(address(1, PORT), request, TIMEOUT).await.expect("an answer")
    }

    /// An answer that may not come, because the broker dies.
    pub async fn try_call(&self, request: &Request) -> Option<OwnedResponse> {
        self.transport.call(address(1, PORT), request, Duration::from_secs(5)).await.ok()
    }

    pub async fn done(&self, request: &Request) -> OwnedResponse {
        let answer = self.call(request).await;
        assert_eq!(answer.code(), response::SUCCESS, "request {}: {}", request.code(), answer.remark());
        answer
    }

    /// Sends and expects it stored; gives the queue offset.
    pub async fn send(&self, send: Send) -> i64 {
        let answer = self.done(&send.request()).await;
        number(&answer, "queueOffset")
    }

    /// The messages and the next offset of a pull that finds some.
    pub async fn pull(&self, pull: Pull) -> Vec<Message> {
        messages(&self.done(&pull.request()).await.body())
    }

    /// All messages of a queue.
    pub async fn drain(&self, topic: &str, queue_id: i64) -> Vec<Message> {
        let mut all = Vec::new();
        let mut offset = 0;
        loop {
            let answer = self.call(&Pull::new(topic, queue_id, offset).request()).await;
            if answer.code() != response::SUCCESS {
                assert_eq!(answer.code(), response::PULL_NOT_FOUND, "{}", answer.remark());
                return all;
            }
            all.extend(messages(&answer.body()));
            offset = number(&answer, "nextBeginOffset");
        }
    }

    /// Code and remark of a request that is refused.
    pub async fn refusal(&self, request: &Request) -> (i32, String) {
        let answer = self.call(request).await;
        (answer.code(), answer.remark())
    }

    pub async fn commit(&self, topic: &str, queue_id: i64, offset: i64) {
        let request = Request::new(request::UPDATE_CONSUMER_OFFSET)
            .str("consumerGroup", "consumers")
            .str("topic", topic)
            .int("queueId", queue_id)
            .int("commitOffset", offset);
        self.done(&request).await;
    }

    /// The committed offset, or `None` for code 22.
    pub async fn committed(&self, topic: &str, queue_id: i64) -> Option<i64> {
        let request = Request::new(request::QUERY_CONSUMER_OFFSET)
            .str("consumerGroup", "consumers")
            .str("topic", topic)
            .int("queueId", queue_id)
            .bool("setZeroIfNotFound", false);
        let answer = self.call(&request).await;
        (answer.code() == response::SUCCESS).then(|| number(&answer, "offset"))
    }

    /// 29 to 32: the offset that a question about a queue gives.
    pub async fn offset(&self, code: i32, topic: &str, queue_id: i64) -> i64 {
        let request = Request::new(code).str("topic", topic).int("queueId", queue_id);
        number(&self.done(&request).await, "offset")
    }

    pub async fn send_back(&self, message: &Message, delay_level: i64) -> OwnedResponse {
        let request = Request::new(request::CONSUMER_SEND_MSG_BACK)
            .int("offset", message.physical_offset)
            .str("group", "consumers")
            .int("delayLevel", delay_level)
            .str("originTopic", &message.topic)
            .int("maxReconsumeTimes", 2);
        self.call(&request).await
    }

    /// Registers a consumer of `topic`.
    pub async fn heartbeat(&self, topic: &str, expression: &str) {
        let subscription = SubscriptionData {
            topic: topic.to_owned(),
            sub_string: expression.to_owned(),
            ..SubscriptionData::default()
        };
        let consumer = ConsumerData {
            group_name: "consumers".to_owned(),
            subscription_data_set: vec![subscription],
            ..ConsumerData::default()
        };
        let data = HeartbeatData {
            client_id: "10.0.0.2@1".to_owned(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        self.done(&Request::new(request::HEART_BEAT).body(data.to_json())).await;
    }
}

/// A number in an answer's header.
pub fn number(answer: &OwnedResponse, field: &str) -> i64 {
    let text = answer.field(field).unwrap_or_else(|| panic!("no field {field}"));
    text.parse().unwrap_or_else(|_| panic!("{field} is {text}"))
}
