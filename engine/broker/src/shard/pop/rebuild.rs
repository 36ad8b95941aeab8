//! Start: what is in flight is known again when the log of pops ([`super::journal`]) has been read, from the kept position to its end.
//!
//! The queue index says where its records lie. Where that is damaged or cannot be read, the log itself is walked along: the index is derived,
//! and nothing that happens to it may end a start, or lose what is in flight. What happens to the log does end it.

use ringmq_remoting::record::{RecordView, records};
use ringmq_store::{LogWalk, Lookup, Read, ReadLimits, ReadTicket};
use tracing::{error, info, warn};

use super::super::plane::{Cold, Plane};
use super::super::wire::Wire;
use super::op::Op;
use super::start::now_ms;
use super::table::QueueKey;
use crate::filter::MessageFilter;
use crate::message::ShardMessage;

/// Records that are read at a time when the table is made again.
const REBUILD: ReadLimits = ReadLimits {
    messages_max: 4_096,
    memory_messages_max: 4_096,
    memory_bytes_max: 4 << 20,
    disk_messages_max: 4_096,
    disk_bytes_max: 4 << 20,
};

/// The table is being made again from the log; reading goes on at `next`.
#[derive(Debug)]
pub(crate) struct Rebuild {
    next: i64,
    records: u64,
    /// The index is of no use: the log itself is read.
    walk: Option<LogWalk>,
}

/// What became of one step of it.
enum Rebuilt {
    SoFar,
    All,
    Wait(ReadTicket),
    Failed(String),
}

impl Plane {
    /// Start: makes the table again from the log, then reports that the shard can serve.
    pub(crate) fn begin_rebuild(&mut self, wire: &mut Wire<'_>) {
        let QueueKey { group, topic, queue_id } = &self.pops.journal.place;
        let kept = self.offsets.get(group, topic, *queue_id).and_then(|place| place.committed);
        let min = self.store.min_offset(topic, *queue_id).unwrap_or(0);
        if kept.is_some_and(|kept| kept < min) {
            warn!(shard = %self.me, kept, min, "retention took a part of the log of pops: what was in flight for so long is not known any more");
        }
        let next = kept.unwrap_or(min).max(min);
        self.rebuild(wire, Box::new(Rebuild { next, records: 0, walk: None }));
    }

    /// Goes on with it.
    pub(crate) fn rebuild(&mut self, wire: &mut Wire<'_>, mut rebuild: Box<Rebuild>) {
        loop {
            let step = match rebuild.walk.take() {
                None => self.rebuild_by_index(wire, &mut rebuild),
                Some(walk) => self.rebuild_by_walk(wire, &mut rebuild, walk),
            };
            match step {
                Rebuilt::SoFar => {}
                Rebuilt::All => return self.end_rebuild(wire, &rebuild),
                Rebuilt::Wait(ticket) => {
                    self.cold.insert(ticket, Cold::Rebuild(rebuild));
                    return;
                }
                Rebuilt::Failed(why) => {
                    let text = format!("the log of pops cannot be read from offset {}: {why}", rebuild.next);
                    error!(shard = %self.me, "{text}");
                    let coordination = self.owner.coordination();
                    wire.post.mail(wire.io, coordination, ShardMessage::StartFailed(text));
                    return;
                }
            }
        }
    }

    fn rebuild_by_index(&mut self, wire: &mut Wire<'_>, rebuild: &mut Rebuild) -> Rebuilt {
        let QueueKey { topic, queue_id, .. } = &self.pops.journal.place;
        let everything = MessageFilter::default();
        match self.store.read(wire.io, topic, *queue_id, rebuild.next, REBUILD, &everything) {
            Read::Ready(result) => {
                for view in result.records.iter().flat_map(|piece| records(piece)).filter_map(Result::ok) {
                    self.apply_logged(wire, rebuild, &view);
                }
                // Whatever the status: it ends where there is nothing behind.
                if result.next_begin_offset <= rebuild.next {
                    return Rebuilt::All;
                }
                rebuild.next = result.next_begin_offset;
                Rebuilt::SoFar
            }
            Read::Wait(ticket) => Rebuilt::Wait(ticket),
            Read::Failed(why) => {
                warn!(shard = %self.me, %why, "the log of pops is read without its index");
                rebuild.walk = Some(self.store.walk_from(topic, *queue_id, rebuild.next));
                Rebuilt::SoFar
            }
        }
    }

    /// The log has everything that its index names: what is missing in it is damage, too.
    fn rebuild_by_walk(&mut self, wire: &mut Wire<'_>, rebuild: &mut Rebuild, mut walk: LogWalk) -> Rebuilt {
        let QueueKey { topic, queue_id, .. } = self.pops.journal.place.clone();
        let batch = match self.store.walk(wire.io, &mut walk) {
            Lookup::Ready(Some(batch)) => batch,
            Lookup::Ready(None) => {
                let end = self.store.max_offset(&topic, queue_id).unwrap_or(0);
                let is_all = rebuild.next >= end;
                return if is_all { Rebuilt::All } else { Rebuilt::Failed(format!("it ends before {end}")) };
            }
            Lookup::Wait(ticket) => {
                rebuild.walk = Some(walk);
                return Rebuilt::Wait(ticket);
            }
            Lookup::Failed(error) => return Rebuilt::Failed(error.to_string()),
        };
        let is_ours = |view: &RecordView<'_>| *view.topic() == *topic && view.queue_id() == queue_id;
        for view in records(&batch).filter_map(Result::ok).filter(is_ours) {
            let offset = view.queue_offset();
            // Retention may have come by.
            let min = self.store.min_offset(&topic, queue_id).unwrap_or(0);
            if offset > rebuild.next.max(min) {
                return Rebuilt::Failed(format!("it goes on at {offset}"));
            }
            if offset >= rebuild.next {
                self.apply_logged(wire, rebuild, &view);
                rebuild.next = offset + 1;
            }
        }
        rebuild.walk = Some(walk);
        Rebuilt::SoFar
    }

    fn apply_logged(&mut self, wire: &Wire<'_>, rebuild: &mut Rebuild, view: &RecordView<'_>) {
        rebuild.records += 1;
        match Op::decode(view.body()) {
            Ok(op) => self.pops.table.apply(&op, now_ms(wire)),
            Err(error) => {
                error!(shard = %self.me, offset = view.queue_offset(), %error, "a record of the log of pops is not understood");
            }
        }
    }

    fn end_rebuild(&mut self, wire: &mut Wire<'_>, rebuild: &Rebuild) {
        let now_ms = now_ms(wire);
        // The offset that was given away may be ahead: of messages that were skipped, or when members pulled.
        for key in self.pops.table.keys(|_| true) {
            let QueueKey { group, topic, queue_id } = &key;
            let committed = self.offsets.get(group, topic, *queue_id).and_then(|place| place.committed);
            let next = self.pops.table.find(group, topic, *queue_id).map_or(0, |queue| queue.next);
            match committed {
                Some(offset) if offset >= next => self.pops.table.skip_to(&key, offset, now_ms),
                _ => self.commit_pop(self.store.appended(), &key, next),
            }
        }
        let (log_min, log_end) = (self.store.log_min(), self.store.appended());
        self.pops.journal.all_is_read(rebuild.records, now_ms, log_min, log_end);
        if !self.pops.table.is_empty() {
            info!(
                shard = %self.me,
                records = rebuild.records,
                queues = self.pops.table.len(),
                in_flight = self.pops.table.in_flight(),
                "what groups have popped is known again"
            );
        }
        let coordination = self.owner.coordination();
        self.delay.start(&self.store);
        wire.post.mail(wire.io, coordination, ShardMessage::Ready);
    }
}
