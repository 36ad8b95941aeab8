//! Questions about single queues and messages: 29, 30, 31, 32, 33.

use bytes::Bytes;
use ringmq_remoting::FieldValue;
use ringmq_remoting::code::response;
use ringmq_remoting::request::{GetMaxOffsetHeader, QueueHeader, SearchOffsetHeader, ViewMessageHeader};
use ringmq_store::{Boundary, Lookup, PhysicalOffset, ReadError, RecordRead};

use super::incoming::Incoming;
use super::plane::{Cold, Plane, Served};
use super::wire::{Answer, Caller, OVERLOAD, Wire};
use crate::message::{self, ShardMessage};

/// A message that is looked at by its place in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    asker: Asker,
    offset: PhysicalOffset,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    Client(Caller),
    /// [`Question::Record`](crate::message::Question::Record) with that id.
    Coordination(u64),
}

/// A question to the queue index.
#[derive(Debug)]
pub(crate) struct Search {
    caller: Caller,
    topic: String,
    queue_id: i32,
    kind: SearchKind,
}

#[derive(Clone, Copy, Debug)]
enum SearchKind {
    ByTime {
        timestamp: i64,
        boundary: Boundary,
    },
    /// The store time of the oldest message.
    Earliest,
}

impl Plane {
    /// GET_MAX_OFFSET (30). What is not acknowledged is not exposed, whether `committed` is asked for or not.
    pub(crate) fn max_offset(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = GetMaxOffsetHeader::from_command(incoming.command)?;
        if self.pass_on(wire, incoming, &header.topic, header.queue_id) {
            return Ok(());
        }
        let offset = self.store.max_offset(&header.topic, header.queue_id).unwrap_or(0);
        answer_offset(wire, &incoming.caller, offset);
        Ok(())
    }

    /// GET_MIN_OFFSET (31).
    pub(crate) fn min_offset(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = QueueHeader::from_command(incoming.command)?;
        if self.pass_on(wire, incoming, &header.topic, header.queue_id) {
            return Ok(());
        }
        // 0 as for a queue without entries, also for what does not exist: so the reference does (5.5.0), and pull
        // clients refuse to pull from -1.
        let offset = self.store.min_offset(&header.topic, header.queue_id).unwrap_or(0);
        answer_offset(wire, &incoming.caller, offset);
        Ok(())
    }

    /// SEARCH_OFFSET_BY_TIMESTAMP (29).
    pub(crate) fn search_offset(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = SearchOffsetHeader::from_command(incoming.command)?;
        let (topic, queue_id) = (&header.topic, header.queue_id);
        if self.pass_on(wire, incoming, topic, queue_id) {
            return Ok(());
        }
        let is_upper = header.boundary_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("UPPER"));
        let boundary = if is_upper { Boundary::Upper } else { Boundary::Lower };
        let kind = SearchKind::ByTime { timestamp: header.timestamp, boundary };
        self.run_search(wire, Search { caller: incoming.caller, topic: topic.to_string(), queue_id, kind });
        Ok(())
    }

    /// GET_EARLIEST_MSG_STORETIME (32).
    pub(crate) fn earliest_store_time(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = QueueHeader::from_command(incoming.command)?;
        if self.pass_on(wire, incoming, &header.topic, header.queue_id) {
            return Ok(());
        }
        let (topic, queue_id) = (header.topic.to_string(), header.queue_id);
        self.run_search(
            wire,
            Search { caller: incoming.caller, topic, queue_id, kind: SearchKind::Earliest },
        );
        Ok(())
    }

    /// Asks the index, now or when the part of it that is needed has come from disk.
    pub(crate) fn run_search(&mut self, wire: &mut Wire<'_>, search: Search) {
        let Search { caller, topic, queue_id, kind } = &search;
        let (found, name, nothing) = match *kind {
            SearchKind::ByTime { timestamp, boundary } => {
                (self.store.offset_by_time(wire.io, topic, *queue_id, timestamp, boundary), "offset", 0)
            }
            SearchKind::Earliest => {
                (self.store.earliest_store_time(wire.io, topic, *queue_id), "timestamp", -1)
            }
        };
        match found {
            Lookup::Ready(found) => {
                let value = FieldValue::Int(found.unwrap_or(nothing));
                wire.answer(caller, Answer::success(&[(name, value)]));
            }
            Lookup::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Search(Box::new(search)));
            }
            Lookup::Failed(ReadError::Busy) => wire.refuse(caller, response::SYSTEM_BUSY, OVERLOAD),
            Lookup::Failed(error) => wire.refuse(caller, response::SYSTEM_ERROR, &error.to_string()),
        }
    }

    /// VIEW_MESSAGE_BY_ID (33): the shard is part of the offset.
    pub(crate) fn view_message(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) -> Served {
        let header = ViewMessageHeader::from_command(incoming.command)?;
        let caller = incoming.caller;
        match PhysicalOffset::from_signed(header.offset).filter(|o| o.shard().0 < self.owner.shards()) {
            Some(offset) if offset.shard() == self.me => {
                self.run_view(wire, View { asker: Asker::Client(caller), offset });
            }
            Some(offset) => self.forward(wire, offset.shard(), incoming),
            None => refuse_view(wire, &caller, header.offset),
        }
        Ok(())
    }

    /// A record for the coordination shard, if it lies in this shard's log.
    pub(crate) fn record_for_coordination(&mut self, wire: &mut Wire<'_>, id: u64, offset: PhysicalOffset) {
        if offset.shard() == self.me {
            self.run_view(wire, View { asker: Asker::Coordination(id), offset });
        } else {
            self.answer_record(wire, id, Ok(None));
        }
    }

    /// Reads the record, now or when it has come from disk.
    pub(crate) fn run_view(&mut self, wire: &mut Wire<'_>, view: View) {
        let View { asker, offset } = view;
        let read = self.store.record_at(wire.io, offset);
        match (asker, read) {
            (_, RecordRead::Wait(ticket)) => {
                self.cold.insert(ticket, Cold::View(view));
            }
            (Asker::Client(caller), read) => answer_view(wire, &caller, offset, read),
            (Asker::Coordination(id), RecordRead::Ready(record)) => {
                self.answer_record(wire, id, Ok(Some(record)));
            }
            (Asker::Coordination(id), RecordRead::Missing) => self.answer_record(wire, id, Ok(None)),
            (Asker::Coordination(id), RecordRead::Failed(error)) => {
                self.answer_record(wire, id, Err(error.to_string()));
            }
        }
    }

    fn answer_record(&mut self, wire: &mut Wire<'_>, id: u64, record: Result<Option<Bytes>, String>) {
        let answer = message::Answer::Record(record);
        wire.post.mail(wire.io, self.owner.coordination(), ShardMessage::Answer { id, answer });
    }

    /// Passes the request on if another shard owns the queue.
    pub(crate) fn pass_on(
        &mut self,
        wire: &mut Wire<'_>,
        incoming: &Incoming<'_>,
        topic: &str,
        queue_id: i32,
    ) -> bool {
        let owner = self.owner.of(topic, queue_id);
        if owner == self.me {
            return false;
        }
        self.forward(wire, owner, incoming);
        true
    }
}

fn answer_view(wire: &mut Wire<'_>, caller: &Caller, offset: PhysicalOffset, read: RecordRead) {
    match read {
        RecordRead::Ready(record) => {
            wire.answer(caller, Answer { code: response::SUCCESS, body: vec![record], ..Answer::default() });
        }
        RecordRead::Missing => refuse_view(wire, caller, offset.signed()),
        RecordRead::Failed(ReadError::Busy) => wire.refuse(caller, response::SYSTEM_BUSY, OVERLOAD),
        RecordRead::Failed(error) => wire.refuse(caller, response::SYSTEM_ERROR, &error.to_string()),
        RecordRead::Wait(_) => unreachable!("the caller waits"),
    }
}

fn refuse_view(wire: &mut Wire<'_>, caller: &Caller, offset: i64) {
    wire.refuse(caller, response::SYSTEM_ERROR, &format!("can not find message by the offset, {offset}"));
}

/// Code 0 and an offset.
pub(crate) fn answer_offset(wire: &mut Wire<'_>, caller: &Caller, offset: i64) {
    wire.answer(caller, Answer::success(&[("offset", FieldValue::Int(offset))]));
}
