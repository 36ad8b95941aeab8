//! Pops as tests want them.

use ringmq_remoting::code::{request, response};
use ringmq_remoting::pop::ReceiptHandle;
use ringmq_transport::{OwnedResponse, Request};

use crate::client::{Client, Message, messages, number};

/// A pop, before it is made.
#[derive(Clone, Debug)]
pub struct Pop {
    pub topic: String,
    pub queue_id: i64,
    pub max: i64,
    pub invisible_ms: i64,
    pub poll_ms: i64,
    pub expression: String,
    pub from_end: bool,
    pub order: bool,
    pub attempt: Option<&'static str>,
}

/// A popped message with its receipt handle.
#[derive(Clone, Debug)]
pub struct Popped {
    pub message: Message,
    pub handle: String,
    /// From `orderCountInfo`.
    pub consumed: i64,
}

impl Pop {
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            queue_id: -1,
            max: 32,
            invisible_ms: 10_000,
            poll_ms: 0,
            expression: "*".to_owned(),
            from_end: false,
            order: false,
            attempt: None,
        }
    }

    pub fn request(&self) -> Request {
        let request = Request::new(request::POP_MESSAGE)
            .str("consumerGroup", "consumers")
            .str("topic", &self.topic)
            .int("queueId", self.queue_id)
            .int("maxMsgNums", self.max)
            .int("invisibleTime", self.invisible_ms)
            .int("pollTime", self.poll_ms)
            .int("bornTime", 0)
            .int("initMode", i64::from(self.from_end))
            .str("exp", &self.expression)
            .bool("order", self.order);
        match self.attempt {
            Some(attempt) => request.str("attemptId", attempt),
            None => request,
        }
    }
}

/// The messages of an answer with their handles, put together as clients do.
pub fn popped(answer: &OwnedResponse) -> Vec<Popped> {
    let field = |name: &str| answer.field(name).map(|text| text.to_string()).unwrap_or_default();
    let (pop_time, invisible, revive) =
        (number(answer, "popTime"), number(answer, "invisibleTime"), number(answer, "reviveQid"));
    let start_of = |queue_id: i32| -> i64 {
        let info = field("startOffsetInfo");
        let prefix = format!("0 {queue_id} ");
        let entry = info.split(';').find_map(|entry| entry.strip_prefix(&prefix));
        entry.expect("a start offset").parse().expect("a number")
    };
    let counts = field("orderCountInfo");
    messages(&answer.body())
        .into_iter()
        .map(|message| {
            let (queue, offset) = (message.queue_id, message.queue_offset);
            let handle = message.property("POP_CK").map_or_else(
                || format!("{} {pop_time} {invisible} {revive} 0 broker-a {queue} {offset}", start_of(queue)),
                str::to_owned,
            );
            let mark = ReceiptHandle::parse(&handle).expect("a handle").origin.mark();
            let listed = field("msgOffsetInfo").split(';').any(|entry| {
                let offsets = entry.strip_prefix(&format!("{mark} {queue} "));
                offsets.is_some_and(|offsets| offsets.split(',').any(|one| one == offset.to_string()))
            });
            assert!(listed, "offset {offset} of queue {queue} is not in {}", field("msgOffsetInfo"));
            let count = |key: &str| {
                let entry = counts.split(';').find_map(|entry| entry.strip_prefix(key));
                entry.map(|count| count.parse().expect("a number"))
            };
            let consumed = count(&format!("0 qo{queue}%{offset} ")).or_else(|| count(&format!("0 {queue} ")));
            Popped { message, handle, consumed: consumed.unwrap_or(0) }
        })
        .collect()
}

impl Popped {
    /// Topic that holds it.
    fn real_topic(&self) -> String {
        let handle = ReceiptHandle::parse(&self.handle).expect("a handle");
        handle.origin.topic(&self.message.topic, "consumers")
    }

    /// 200051 or 200053.
    fn request(&self, code: i32) -> Request {
        Request::new(code)
            .str("consumerGroup", "consumers")
            .str("topic", self.real_topic())
            .int("queueId", i64::from(self.message.queue_id))
            .str("extraInfo", &self.handle)
            .int("offset", self.message.queue_offset)
    }

    pub fn ack(&self) -> Request {
        self.request(request::ACK_MESSAGE)
    }

    pub fn change(&self, invisible_ms: i64) -> Request {
        self.request(request::CHANGE_MESSAGE_INVISIBLETIME).int("invisibleTime", invisible_ms)
    }
}

impl Client {
    /// What a pop gives; nothing is an empty list.
    pub async fn pop(&self, pop: &Pop) -> Vec<Popped> {
        let answer = self.call(&pop.request()).await;
        match answer.code() {
            response::SUCCESS => popped(&answer),
            response::POLLING_TIMEOUT => {
                number(&answer, "popTime");
                Vec::new()
            }
            code => panic!("code {code}: {}", answer.remark()),
        }
    }

    pub async fn ack(&self, popped: &Popped) {
        self.done(&popped.ack()).await;
    }

    /// The new receipt handle.
    pub async fn change(&self, popped: &Popped, invisible_ms: i64) -> Popped {
        let answer = self.done(&popped.change(invisible_ms)).await;
        let old = ReceiptHandle::parse(&popped.handle).expect("a handle");
        let handle = ReceiptHandle {
            start_offset: popped.message.queue_offset,
            pop_time: number(&answer, "popTime"),
            invisible_time: number(&answer, "invisibleTime"),
            ..old
        };
        Popped { handle: handle.to_string(), ..popped.clone() }
    }

    /// Pops and acknowledges until nothing comes any more; the bodies, sorted.
    pub async fn pop_all(&self, topic: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let some = self.pop(&Pop::new(topic)).await;
            if some.is_empty() {
                bodies.sort();
                return bodies;
            }
            for popped in some {
                self.ack(&popped).await;
                bodies.push(popped.message.body);
            }
        }
    }
}
