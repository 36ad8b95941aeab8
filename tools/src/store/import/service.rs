//! The stores that an import fills, all on one shard of one reactor process, and the queue of records that its task reads for them.
//!
//! The task reads and decides ([`Feed::push`]), the service appends: a [`Store`] is a state machine of its service. What a full tail cache
//! refuses is appended when the disk has caught up, and the task waits while much is queued.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use ringmq_reactor::task::Notify;
use ringmq_reactor::{Context, Event, Io, Service, ShardId, Tasks, Token};
use ringmq_remoting::record::RecordView;
use ringmq_remoting::record::properties::PropertiesWriter;
use ringmq_store::{AppendError, ImportError, ImportedPlace, Store};

/// Records read ahead of the appends, bytes.
const QUEUED_BYTES_MAX: usize = 16 << 20;
/// A checksum of the record with its place, which is another one here.
const RECORD_CRC: &str = "__CRC32#";

/// One thing to do.
pub(super) enum Work {
    /// Append a record.
    Record { record: Bytes, shard: ShardId, queue_offset: i64 },
    /// Note the end of a queue without messages.
    QueueEnd { topic: String, queue_id: i32, shard: ShardId, next_offset: i64 },
}

#[derive(Default)]
struct State {
    stores: Vec<Store>,
    work: VecDeque<Work>,
    queued_bytes: usize,
    closing: bool,
    failed: Option<ImportError>,
    done: bool,
}

/// What task and service share.
#[derive(Clone, Default)]
pub(super) struct Feed {
    state: Rc<RefCell<State>>,
    changed: Notify,
}

impl Feed {
    /// Stores to fill, by shard; their tokens' owners are [`owner_of`] their shards.
    pub fn set_stores(&self, stores: Vec<Store>) {
        self.state.borrow_mut().stores = stores;
    }

    /// Hands work over; waits while much is queued.
    pub async fn push(&self, work: Work) -> Result<(), ImportError> {
        loop {
            {
                let mut state = self.state.borrow_mut();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.queued_bytes < QUEUED_BYTES_MAX {
                    state.queued_bytes += bytes_of(&work);
                    state.work.push_back(work);
                    return Ok(());
                }
            }
            self.changed.notified().await;
        }
    }

    /// Waits until everything is appended and durable and the stores are closed.
    pub async fn close(&self) -> Result<(), ImportError> {
        self.state.borrow_mut().closing = true;
        loop {
            {
                let state = self.state.borrow();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.done {
                    return Ok(());
                }
            }
            self.changed.notified().await;
        }
    }
}

fn bytes_of(work: &Work) -> usize {
    match work {
        Work::Record { record, .. } => record.len(),
        Work::QueueEnd { topic, .. } => topic.len(),
    }
}

/// Owner byte of a shard's store; 0 is nobody's.
pub(super) fn owner_of(shard: ShardId) -> u8 {
    u8::try_from(shard.0 + 1).expect("at most 127 shards")
}

/// The properties that a record is stored with in its new place.
pub(super) fn properties_of(record: &RecordView<'_>) -> String {
    let text = record.properties();
    if text.contains(RECORD_CRC) {
        PropertiesWriter::from_text(&text, &[RECORD_CRC], 0).into_text()
    } else {
        text.into_owned()
    }
}

/// See the module's text. Ends when its tasks have.
pub(super) struct Importer {
    pub tasks: Tasks,
    pub feed: Feed,
}

impl Importer {
    fn store_of(&self, token: Token) -> Option<usize> {
        let place = usize::from(token.owner()).checked_sub(1)?;
        (place < self.feed.state.borrow().stores.len()).then_some(place)
    }

    /// Appends what is queued; whether the task has something new to look at.
    fn pump(&self, io: &mut dyn Io) -> bool {
        let mut state = self.feed.state.borrow_mut();
        let State { stores, work, queued_bytes, closing, failed, done } = &mut *state;
        let mut progress = false;
        while failed.is_none()
            && let Some(next) = work.front()
        {
            match append(stores, io, next) {
                Ok(()) => {
                    *queued_bytes -= bytes_of(next);
                    work.pop_front();
                    progress = true;
                }
                Err(ImportError::Append(AppendError::TailCacheFull { .. })) => break,
                Err(error) => {
                    *failed = Some(error);
                    progress = true;
                }
            }
        }
        if *closing && work.is_empty() && !*done {
            for store in &mut *stores {
                store.begin_close(io);
            }
        }
        let mut arrivals = Vec::new();
        for store in &mut *stores {
            store.end_of_turn(io);
            store.take_arrivals(&mut arrivals);
            arrivals.clear();
        }
        if *closing && !*done && stores.iter().all(Store::is_closed) {
            // A poisoned store closes, too, without its mark.
            if let Some(error) = stores.iter().find_map(Store::poisoned) {
                *failed = Some(ImportError::Append(AppendError::Poisoned(error.clone())));
            }
            *done = true;
            progress = true;
        }
        if progress {
            self.feed.changed.notify_one();
        }
        progress
    }
}

fn append(stores: &mut [Store], io: &mut dyn Io, work: &Work) -> Result<(), ImportError> {
    match work {
        Work::Record { record, shard, queue_offset } => {
            let record = RecordView::parse(record).expect("parsed before");
            let properties = properties_of(&record);
            let place =
                ImportedPlace { queue_offset: *queue_offset, store_timestamp: record.store_timestamp() };
            let store = &mut stores[usize::from(shard.0)];
            store.append_imported(io, &record.draft(&properties), record.tags_code(), place).map(drop)
        }
        Work::QueueEnd { topic, queue_id, shard, next_offset } => {
            stores[usize::from(shard.0)].import_queue_end(io, topic, *queue_id, *next_offset).map(drop)
        }
    }
}

impl Service<()> for Importer {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.end_of_turn(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match self.tasks.on_event(event) {
            Some(Event::File { token, result }) => {
                if let Some(place) = self.store_of(token) {
                    self.feed.state.borrow_mut().stores[place].on_file(io, token, result);
                }
            }
            Some(Event::Timer { token }) => {
                if let Some(place) = self.store_of(token) {
                    self.feed.state.borrow_mut().stores[place].on_timer(io, token);
                }
            }
            Some(Event::Stop) => io.exit(),
            _ => {}
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        loop {
            self.tasks.run(io);
            if !self.pump(io) {
                break;
            }
        }
        if self.tasks.count() == 0 {
            io.exit();
        }
    }
}
