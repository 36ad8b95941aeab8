//! Requests as clients make them, and what is read out of the answers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ringmq_remoting::body::{BatchAck, BatchAckEntry};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::pop::ReceiptHandle;
use ringmq_remoting::record::{self, RecordView, message_id, properties};
use ringmq_remoting::request::pull_flag;
use ringmq_transport::{OwnedResponse, Request};

use super::ledger::{MessageId, Queue};
use super::plan::{GROUP, TOPICS};
use super::pops::Popped;

/// The broker's wire name of a topic.
#[must_use]
pub fn topic(queue: Queue) -> &'static str {
    TOPICS[queue.topic].0
}

/// Code 17.
#[must_use]
pub fn create_topic(name: &str, queues: i32) -> Request {
    Request::new(request::UPDATE_AND_CREATE_TOPIC)
        .str("topic", name)
        .str("defaultTopic", "TBW102")
        .int("readQueueNums", i64::from(queues))
        .int("writeQueueNums", i64::from(queues))
        .int("perm", 6)
        .str("topicFilterType", "SINGLE_TAG")
        .int("topicSysFlag", 0)
        .bool("order", false)
}

/// Code 105.
#[must_use]
pub fn route(topic: &str) -> Request {
    Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic)
}

fn send_header(code: i32, queue: Queue, batch: bool, born_ms: u64, properties: &str) -> Request {
    Request::new(code)
        .str("a", "writers")
        .str("b", topic(queue))
        .str("c", "TBW102")
        .int("d", i64::from(TOPICS[queue.topic].1))
        .int("e", i64::from(queue.id))
        .int("f", 0)
        .int("g", born_ms as i64)
        .int("h", 0)
        .str("i", properties)
        .int("j", 0)
        .bool("k", false)
        .bool("m", batch)
}

/// Code 310.
#[must_use]
pub fn send(queue: Queue, id: MessageId, body_bytes: usize, born_ms: u64) -> Request {
    send_header(request::SEND_MESSAGE_V2, queue, false, born_ms, "WAIT\u{1}true\u{2}")
        .body(body(id, body_bytes))
}

/// Code 320.
#[must_use]
pub fn send_batch(queue: Queue, ids: &[MessageId], body_bytes: usize, born_ms: u64) -> Request {
    let mut entries = Vec::new();
    for id in ids {
        record::batch::write_entry(&mut entries, 0, &body(*id, body_bytes), "WAIT\u{1}true\u{2}");
    }
    send_header(request::SEND_BATCH_MESSAGE, queue, true, born_ms, "").body(entries)
}

/// A body that tells whose it is and whether it is whole.
#[must_use]
pub fn body(id: MessageId, bytes: usize) -> Bytes {
    let mut body = id.0.to_be_bytes().to_vec();
    body.extend((8..bytes.max(8)).map(|position| fill(id, position)));
    body.into()
}

fn fill(id: MessageId, position: usize) -> u8 {
    (id.0 as usize).wrapping_mul(31).wrapping_add(position) as u8
}

/// Whose body it is; an error if it is not whole.
fn read_body(body: &[u8]) -> Result<MessageId, String> {
    let id = body.first_chunk().map(|bytes| MessageId(u64::from_be_bytes(*bytes)));
    let id = id.ok_or_else(|| format!("body of {} bytes", body.len()))?;
    match body.iter().enumerate().skip(8).find(|(position, byte)| **byte != fill(id, *position)) {
        None => Ok(id),
        Some((position, _)) => Err(format!("body of {id:?} differs at byte {position} of {}", body.len())),
    }
}

/// Code 11 with long polling and the subscription `*`.
#[must_use]
pub fn pull(queue: Queue, offset: i64, count: i64, suspend_ms: i64, sub_version: u64) -> Request {
    let suspend = if suspend_ms > 0 { pull_flag::SUSPEND } else { 0 };
    Request::new(request::PULL_MESSAGE)
        .str("consumerGroup", GROUP)
        .str("topic", topic(queue))
        .int("queueId", i64::from(queue.id))
        .int("queueOffset", offset)
        .int("maxMsgNums", count)
        .int("sysFlag", i64::from(suspend | pull_flag::SUBSCRIPTION))
        .int("commitOffset", 0)
        .int("suspendTimeoutMillis", suspend_ms)
        .str("subscription", "*")
        .int("subVersion", sub_version as i64)
        .str("expressionType", "TAG")
}

/// Codes 14, 30 and 31.
#[must_use]
pub fn about_queue(code: i32, queue: Queue) -> Request {
    about_queue_of(code, topic(queue), queue.id, GROUP)
}

/// The same for a queue of any topic, and any group.
#[must_use]
pub fn about_queue_of(code: i32, topic: &str, queue_id: i32, group: &str) -> Request {
    let request = Request::new(code).str("topic", topic).int("queueId", i64::from(queue_id));
    if code == request::QUERY_CONSUMER_OFFSET {
        return request.str("consumerGroup", group).bool("setZeroIfNotFound", false);
    }
    request
}

/// Code 15.
#[must_use]
pub fn commit(queue: Queue, offset: i64) -> Request {
    about_queue(request::UPDATE_CONSUMER_OFFSET, queue)
        .str("consumerGroup", GROUP)
        .int("commitOffset", offset)
}

/// Code 34 for a push consumer of all topics.
#[must_use]
pub fn heartbeat(client: &str, sub_version: u64) -> Request {
    let subscriptions: Vec<String> = TOPICS
        .iter()
        .map(|(topic, _)| {
            format!(
                r#"{{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":{sub_version},"tagsSet":[],"topic":"{topic}"}}"#
            )
        })
        .collect();
    let body = format!(
        r#"{{"clientID":"{client}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{GROUP}","messageModel":"CLUSTERING","subscriptionDataSet":[{}],"unitMode":false}}],"producerDataSet":[]}}"#,
        subscriptions.join(",")
    );
    Request::new(request::HEART_BEAT).body(body.into_bytes())
}

/// A number in an answer's header.
///
/// # Errors
/// It is not there or no number.
pub fn number(answer: &OwnedResponse, field: &str) -> Result<i64, String> {
    let text = answer.field(field).ok_or_else(|| format!("answer without {field}: {answer:?}"))?;
    text.parse().map_err(|_| format!("answer with {field}={text}"))
}

/// Where a send was stored: queue offset of its first message, and the physical offset of each.
///
/// # Errors
/// The answer is not what a client can read.
pub fn stored_at(answer: &OwnedResponse, queue: Queue, count: usize) -> Result<(i64, Vec<i64>), String> {
    let queue_id = number(answer, "queueId")?;
    if queue_id != i64::from(queue.id) {
        return Err(format!("sent to queue {}, stored in {queue_id}", queue.id));
    }
    let ids = answer.field("msgId").ok_or("send answered without msgId")?;
    let decode = |id: &str| {
        let (host, physical): (SocketAddr, i64) = message_id::decode(id).ok_or(format!("message id {id}"))?;
        if host.port() == 0 { Err(format!("message id {id} of host {host}")) } else { Ok(physical) }
    };
    let physical: Vec<i64> = ids.split(',').map(decode).collect::<Result<_, String>>()?;
    if physical.len() != count {
        return Err(format!("{count} messages sent, {} ids answered", physical.len()));
    }
    Ok((number(answer, "queueOffset")?, physical))
}

/// A record as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Queue offset.
    pub offset: i64,
    /// Whose body it holds.
    pub id: MessageId,
    /// Physical offset.
    pub physical: i64,
}

/// What a pull brought.
#[derive(Debug)]
pub enum Pulled {
    /// Records, and where to go on.
    Found(Vec<Found>, i64),
    /// Nothing there yet.
    Nothing,
    /// The broker says to go on elsewhere.
    Moved(i64),
    /// Refused, with code and remark.
    Refused(i32, String),
}

/// Reads the answer to a pull, and every record in it with all its checks.
///
/// # Errors
/// Anything that a correct broker never sends.
pub fn pulled(answer: &OwnedResponse, queue: Queue, from: i64) -> Result<Pulled, String> {
    match answer.code() {
        response::SUCCESS => {}
        response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY => {
            let next = number(answer, "nextBeginOffset")?;
            return Ok(if next == from { Pulled::Nothing } else { Pulled::Moved(next) });
        }
        response::PULL_OFFSET_MOVED => return Ok(Pulled::Moved(number(answer, "nextBeginOffset")?)),
        code => return Ok(Pulled::Refused(code, answer.remark())),
    }
    let (body, next) = (answer.body(), number(answer, "nextBeginOffset")?);
    let mut found = Vec::new();
    for parsed in record::records(&body) {
        let view = parsed.map_err(|error| format!("pulled record: {error}"))?;
        found.push(read_record(&view, queue).map_err(|what| format!("{queue:?} from {from}: {what}"))?);
    }
    if found.is_empty() {
        return Err(format!("{queue:?} from {from}: found, but nothing in it"));
    }
    for (expected, record) in (from..).zip(&found) {
        if record.offset != expected {
            return Err(format!("{queue:?}: asked from {from}, expected {expected}, got {}", record.offset));
        }
    }
    if next != from + found.len() as i64 {
        return Err(format!("{queue:?}: {} records from {from}, but nextBeginOffset {next}", found.len()));
    }
    Ok(Pulled::Found(found, next))
}

fn read_record(view: &RecordView<'_>, queue: Queue) -> Result<Found, String> {
    view.check_crc().map_err(|error| error.to_string())?;
    if view.topic() != topic(queue) || view.queue_id() != queue.id {
        return Err(format!("a record of {} queue {}", view.topic(), view.queue_id()));
    }
    let id = read_body(view.body())?;
    Ok(Found { offset: view.queue_offset(), id, physical: view.physical_offset() })
}

/// Code 200050, for messages of any queue.
#[must_use]
pub fn pop(topic: &str, group: &str, most: i64, invisible: Duration, poll: Duration) -> Request {
    Request::new(request::POP_MESSAGE)
        .str("consumerGroup", group)
        .str("topic", topic)
        .int("queueId", -1)
        .int("maxMsgNums", most)
        .int("invisibleTime", invisible.as_millis() as i64)
        .int("pollTime", poll.as_millis() as i64)
        // The broker's clock counts: the clients' may differ.
        .int("bornTime", 0)
        .int("initMode", 0)
}

/// Codes 200051 and 200053, the latter without its time.
#[must_use]
pub fn about_popped(code: i32, popped: &Popped, group: &str) -> Request {
    Request::new(code)
        .str("consumerGroup", group)
        .str("topic", &popped.topic)
        .int("queueId", i64::from(popped.queue_id))
        .str("extraInfo", &popped.handle)
        .int("offset", popped.offset)
}

/// Reads the answer to a pop of `topic`, and every record in it with all its checks.
///
/// # Errors
/// Anything that a correct broker never sends.
pub fn popped(answer: &OwnedResponse, topic: &str, group: &str) -> Result<Vec<Popped>, String> {
    let (pop_time, invisible) = (number(answer, "popTime")?, number(answer, "invisibleTime")?);
    let revive_queue = number(answer, "reviveQid")?;
    let starts = answer.field("startOffsetInfo").unwrap_or_default().to_string();
    let body = answer.body();
    let mut all = Vec::new();
    for parsed in record::records(&body) {
        let view = parsed.map_err(|error| format!("popped record: {error}"))?;
        view.check_crc().map_err(|error| error.to_string())?;
        let (queue_id, offset) = (view.queue_id(), view.queue_offset());
        if view.topic() != topic {
            return Err(format!("popped from {topic}, but a record of {}", view.topic()));
        }
        let handle = match properties::get(&view.properties(), properties::name::POP_CK) {
            Some(handle) => handle.to_owned(),
            None => {
                let prefix = format!("0 {queue_id} ");
                let start = starts.split(';').find_map(|entry| entry.strip_prefix(&prefix));
                let start = start.ok_or_else(|| format!("queue {queue_id} is not in {starts:?}"))?;
                format!("{start} {pop_time} {invisible} {revive_queue} 0 broker-a {queue_id} {offset}")
            }
        };
        let parsed = ReceiptHandle::parse(&handle).map_err(|error| error.to_string())?;
        all.push(Popped {
            id: read_body(view.body())?,
            topic: parsed.origin.topic(topic, group),
            queue_id,
            offset,
            reconsumed: view.reconsume_times(),
            pop_time,
            invisible,
            handle,
        });
    }
    if all.is_empty() { Err("a pop that found nothing says that it did".to_owned()) } else { Ok(all) }
}

/// Code 200151 for popped messages of a group.
#[must_use]
pub fn batch_ack(popped: &[Popped], group: &str) -> Request {
    let entry = |popped: &Popped| {
        let handle = ReceiptHandle::parse(&popped.handle).ok()?;
        let bit = usize::try_from(popped.offset - handle.start_offset).ok()?;
        Some(BatchAckEntry {
            consumer_group: group.to_owned(),
            // Retry topics are their own retry topics.
            topic: popped.topic.clone(),
            retry: handle.origin.mark().to_string(),
            start_offset: handle.start_offset,
            queue_id: popped.queue_id,
            revive_queue_id: handle.revive_queue_id,
            pop_time: handle.pop_time,
            invisible_time: handle.invisible_time,
            bits: [bit].into_iter().collect(),
        })
    };
    let body =
        BatchAck { broker_name: "broker-a".to_owned(), acks: popped.iter().filter_map(entry).collect() };
    Request::new(request::BATCH_ACK_MESSAGE).body(body.to_json())
}

/// The receipt handle of a message that stays invisible, made as clients do.
///
/// # Errors
/// The answer is not what a client can read.
pub fn changed_handle(answer: &OwnedResponse, popped: &Popped) -> Result<String, String> {
    let old = ReceiptHandle::parse(&popped.handle).map_err(|error| error.to_string())?;
    let handle = ReceiptHandle {
        start_offset: popped.offset,
        pop_time: number(answer, "popTime")?,
        invisible_time: number(answer, "invisibleTime")?,
        ..old
    };
    Ok(handle.to_string())
}
