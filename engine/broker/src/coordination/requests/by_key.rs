//! Messages by key: 12.

use std::cmp::Reverse;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringmq_remoting::code::response;
use ringmq_remoting::request::QueryMessageHeader;
use ringmq_store::{KEY_RESULT_BYTES_MAX, KeyIndexEnd, KeyKind, KeyMatch, KeyQuery, PhysicalOffset};

use super::{Answer, Outcome, Refusal, Request};
use crate::coordination::core::{Core, Response};
use crate::coordination::gather::TooManyQuestions;
use crate::message::{self, Question};

/// Queries by key open at a time: each can bring [`KEY_RESULT_BYTES_MAX`] from every shard.
pub const KEY_QUERIES_MAX: usize = 32;

/// The reference's remark when nothing was found.
const NOT_FOUND: &str = "can not find message, maybe time range not correct";

/// `indexType`: the key is a unique key; a tag.
const UNIQUE_TYPE: &str = "U";
const TAG_TYPE: &str = "T";

/// 12. All shards are asked, since a topic's queues lie on all of them.
pub(super) fn query(core: &Rc<Core>, request: &Request) -> Outcome {
    let query = match query_of(core, request) {
        Ok(Some(query)) => query,
        Ok(None) => return Outcome::Now(Ok(not_found(KeyIndexEnd::default(), 0))),
        Err(refusal) => return Outcome::Now(Err(refusal)),
    };
    if core.key_queries.get() >= KEY_QUERIES_MAX {
        return Outcome::Now(Err(TooManyQuestions.into()));
    }
    let counted = Counted::new(core);
    Outcome::later(async move {
        let answer = gather(&counted.0, query).await;
        drop(counted);
        answer
    })
}

/// One of [`KEY_QUERIES_MAX`], until it is answered or given up.
struct Counted(Rc<Core>);

impl Counted {
    fn new(core: &Rc<Core>) -> Self {
        core.key_queries.update(|open| open + 1);
        Self(Rc::clone(core))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.key_queries.update(|open| open - 1);
    }
}

/// What is to be looked for; `None`: nothing of that kind is indexed.
fn query_of(core: &Core, request: &Request) -> Result<Option<KeyQuery>, Refusal> {
    let command = request.command();
    let header = QueryMessageHeader::from_command(&command)?;
    let config = core.config();
    let index_type = header.index_type.as_deref().unwrap_or_default();
    if index_type == TAG_TYPE || !config.message_index_enable {
        return Ok(None);
    }
    let unique = header.unique_key == Some(true) || index_type == UNIQUE_TYPE;
    let asked = if unique { config.default_query_max_num } else { header.max_num.max(0).cast_unsigned() };
    let messages_max = asked.min(config.max_msgs_num_batch) as usize;
    Ok((messages_max > 0).then(|| KeyQuery {
        topic: header.topic.into_owned(),
        key: header.key.into_owned(),
        kind: if unique { KeyKind::Unique } else { KeyKind::Any },
        messages_max,
        begin_ms: header.begin_timestamp,
        end_ms: header.end_timestamp,
    }))
}

async fn gather(core: &Core, query: KeyQuery) -> Answer {
    let messages_max = query.messages_max;
    let mut matches = Vec::new();
    let mut newest = (KeyIndexEnd::default(), 0);
    for (answer, shard) in
        core.ask_all(Question::Keyed(Arc::new(query))).await?.into_iter().zip(core.data_shards())
    {
        let message::Answer::Keyed(found) = answer else { continue };
        // An answer that lacks what one shard holds would be a wrong one.
        let found = found.map_err(|cause| Refusal::new(response::SYSTEM_ERROR, cause))?;
        matches.extend(found.matches);
        if found.end.store_timestamp >= newest.0.store_timestamp {
            newest = (found.end, PhysicalOffset::new(shard, found.end.offset).signed());
        }
    }
    let (end, offset) = newest;
    if matches.is_empty() {
        return Ok(not_found(end, offset));
    }
    Ok(with_fields(Response::body(body_of(matches, messages_max)), end, offset))
}

/// The newest messages, oldest of them first, as the reference sends them.
fn body_of(mut matches: Vec<KeyMatch>, messages_max: usize) -> Bytes {
    matches.sort_unstable_by_key(|found| Reverse((found.store_timestamp, found.physical_offset)));
    matches.truncate(messages_max);
    let mut bytes = 0;
    let fitting = matches.iter().take_while(|found| {
        bytes += found.record.len();
        bytes <= KEY_RESULT_BYTES_MAX
    });
    let count = fitting.count().max(1);
    matches.truncate(count);
    let mut body = BytesMut::with_capacity(matches.iter().map(|found| found.record.len()).sum());
    matches.iter().rev().for_each(|found| body.extend_from_slice(&found.record));
    body.freeze()
}

fn not_found(end: KeyIndexEnd, offset: i64) -> Response {
    with_fields(Response::remark(response::QUERY_NOT_FOUND, NOT_FOUND), end, offset)
}

fn with_fields(response: Response, end: KeyIndexEnd, offset: i64) -> Response {
    response.field("indexLastUpdatePhyoffset", offset).field("indexLastUpdateTimestamp", end.store_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmq_reactor::ShardId;
    use ringmq_store::LogOffset;

    fn found(shard: u16, time: i64, text: &'static str) -> KeyMatch {
        KeyMatch {
            physical_offset: PhysicalOffset::new(ShardId(shard), LogOffset(0)),
            store_timestamp: time,
            record: Bytes::from_static(text.as_bytes()),
        }
    }

    #[test]
    fn the_newest_are_kept_and_sent_oldest_first() {
        let matches = vec![found(0, 30, "c"), found(0, 10, "a"), found(1, 40, "d"), found(1, 20, "b")];
        assert_eq!(body_of(matches.clone(), 3), "bcd");
        assert_eq!(body_of(matches, 64), "abcd");
    }
}
