//! The data plane of one shard: its store and everything that serves it.
//!
//! Exists from the moment the store is open. Handlers are methods here, one file per concern; what they need of the outside comes
//! with each call as a [`Wire`]. A turn ends with [`Plane::end_of_turn`], which does in batches what the turn's events asked for:
//!
//! ```text
//!   repeat reads whose bytes came from disk ─→ answer what the log acknowledged ─→ wake held pulls
//!        ─→ deliver delayed messages, revive popped ones ─→ start the log write ─→ set the alarm for whatever is due next
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{Io, Monotonic, ShardId, TimerId, Token};
use ringmq_remoting::code::request;
use ringmq_remoting::code::response;
use ringmq_remoting::command::FieldError;
use ringmq_remoting::record::unique_key::UniqueKeys;
use ringmq_store::{Arrival, LogOffset, ReadTicket, Store};
use rustc_hash::FxHashMap;
use tracing::warn;

use super::acks::Acks;
use super::by_key::KeyedWork;
use super::delay::Delay;
use super::gather::Gathering;
use super::incoming::Incoming;
use super::long_poll::HeldPulls;
use super::offsets::Offsets;
use super::opening::Opened;
use super::pop::{Pop, Pops, Rebuild};
use super::properties::Stamp;
use super::pull::Pull;
use super::query::{Search, View};
use super::retention::retention_of;
use super::send_back::SendBack;
use super::stats::Stats;
use super::tables::Tables;
use super::wire::{Caller, OVERLOAD, Wire};
use crate::config::{BrokerConfig, FlushDiskType};
use crate::filter::ExpressionCache;
use crate::message::{Ensure, QueueOffset, QueueOwner, ShardMessage};

/// Delays are counted by the wall clock, alarms are not: look at least this often while something is parked.
const ALARM_MAX: Duration = Duration::from_secs(10);

/// What waits for bytes from disk.
#[derive(Debug)]
pub(crate) enum Cold {
    Pull(Pull),
    SendBack(Box<SendBack>),
    View(View),
    Keyed(Box<KeyedWork>),
    Search(Box<Search>),
    Gather(Box<Gathering>),
    /// The level's next message.
    Delay(i32),
    Pop(Box<Pop>),
    /// The copy of that number for a pop retry topic.
    Revival(u64),
    Rebuild(Box<Rebuild>),
}

/// See the module's text.
pub(crate) struct Plane {
    pub(crate) me: ShardId,
    pub(crate) owner: QueueOwner,
    pub(crate) config: Arc<BrokerConfig>,
    /// What clients know as the broker's address.
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    /// See [`Opened::is_whole`].
    store_is_whole: bool,
    pub(crate) tables: Tables,
    pub(crate) offsets: Offsets,
    pub(crate) acks: Acks,
    pub(crate) held: HeldPulls,
    pub(crate) cold: FxHashMap<ReadTicket, Cold>,
    pub(crate) expressions: ExpressionCache,
    pub(crate) delay: Delay,
    pub(crate) pops: Pops,
    pub(crate) stats: Stats,
    pub(crate) stamp: Stamp,
    pub(crate) keys: UniqueKeys,
    /// Reused for property texts.
    pub(crate) text: String,
    /// No new sends, no new waiting: the broker stops.
    pub(crate) draining: bool,
    alarm: Option<(Monotonic, TimerId)>,
    alarm_token: Token,
    /// When the oldest unreported offset or progress changed.
    unreported_since: Option<Monotonic>,
    /// End of the log when the store last ended a turn.
    turned: LogOffset,
    arrivals: Vec<Arrival>,
    tickets: Vec<ReadTicket>,
    woken: Vec<Pull>,
}

impl Plane {
    pub(crate) fn new(
        io: &mut dyn Io,
        owner: QueueOwner,
        config: Arc<BrokerConfig>,
        opened: Opened,
        alarm_token: Token,
    ) -> Self {
        let address = config.broker_address(config.listen_port);
        let me = io.shard();
        // Keys of different processes on one host differ by process id in the reference; a random number does the same and can
        // be simulated.
        let process = u32::try_from(io.random() >> 32).expect("32 bits");
        Self {
            me,
            owner,
            address,
            tables: Tables::default(),
            offsets: Offsets::default(),
            acks: Acks::default(),
            held: HeldPulls::default(),
            cold: FxHashMap::default(),
            expressions: ExpressionCache::default(),
            delay: Delay::new(&config.message_delay_level),
            pops: Pops::new(owner, me, &config),
            stats: Stats::new(io.now()),
            stamp: Stamp::new(&config),
            keys: UniqueKeys::new(address.ip(), process, u32::from(me.0)),
            text: String::new(),
            draining: false,
            alarm: None,
            alarm_token,
            unreported_since: None,
            turned: opened.store.appended(),
            arrivals: Vec::new(),
            tickets: Vec::new(),
            woken: Vec::new(),
            config,
            store: opened.store,
            store_is_whole: opened.is_whole,
        }
    }

    /// One request, from a connection of this shard or from another shard.
    pub(crate) fn request(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>) {
        let caller = incoming.caller;
        let served = match incoming.command.code {
            request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                self.send(wire, incoming)
            }
            request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => self.pull(wire, incoming),
            request::CONSUMER_SEND_MSG_BACK => self.send_back(wire, incoming),
            request::POP_MESSAGE => self.pop(wire, incoming),
            request::ACK_MESSAGE => self.ack(wire, incoming),
            request::BATCH_ACK_MESSAGE => self.batch_ack(wire, incoming),
            request::CHANGE_MESSAGE_INVISIBLETIME => self.change_invisible_time(wire, incoming),
            request::PEEK_MESSAGE => self.peek(wire, incoming),
            request::NOTIFICATION => self.notification(wire, incoming),
            request::POLLING_INFO => self.polling_info(wire, incoming),
            request::UPDATE_CONSUMER_OFFSET => self.update_consumer_offset(wire, incoming),
            request::QUERY_CONSUMER_OFFSET => self.query_consumer_offset(wire, incoming),
            request::GET_MAX_OFFSET => self.max_offset(wire, incoming),
            request::GET_MIN_OFFSET => self.min_offset(wire, incoming),
            request::SEARCH_OFFSET_BY_TIMESTAMP => self.search_offset(wire, incoming),
            request::GET_EARLIEST_MSG_STORETIME => self.earliest_store_time(wire, incoming),
            request::VIEW_MESSAGE_BY_ID => self.view_message(wire, incoming),
            request::END_TRANSACTION => self.end_transaction(wire, incoming),
            _ => {
                self.forward(wire, self.owner.coordination(), incoming);
                Ok(())
            }
        };
        if let Err(error) = served {
            wire.refuse(&caller, response::SYSTEM_ERROR, &error.to_string());
        }
    }

    /// Passes a request on to the shard that serves it.
    pub(crate) fn forward(&mut self, wire: &mut Wire<'_>, to: ShardId, incoming: &Incoming<'_>) {
        let mut request = incoming.keep(wire.post);
        // News from the coordination shard may reach the other shard after this request: it may ask once itself.
        request.ensured = 0;
        let mut caller = incoming.caller;
        if to != self.owner.coordination() {
            self.admit(wire, &mut caller, incoming);
            request.origin = caller.origin;
        }
        wire.note_known_to(&caller, to);
        if wire.post.forward(wire.io, to, request).is_err() {
            wire.refuse(&caller, response::SYSTEM_BUSY, OVERLOAD);
        }
    }

    /// Counts a request that carries messages as in flight on its connection until it is answered.
    pub(crate) fn admit(&mut self, wire: &mut Wire<'_>, caller: &mut Caller, incoming: &Incoming<'_>) {
        // What may be held for long.
        let is_pull = matches!(
            incoming.command.code,
            request::PULL_MESSAGE
                | request::LITE_PULL_MESSAGE
                | request::POP_MESSAGE
                | request::PEEK_MESSAGE
                | request::NOTIFICATION
        );
        if caller.origin.shard == self.me && caller.origin.admitted == 0 && !is_pull {
            let bytes = incoming.frame.len();
            caller.origin.admitted = u32::try_from(bytes).expect("a frame has at most 16 MiB");
            wire.connections.admit(wire.io, caller.origin.connection, bytes);
        }
    }

    /// Asks the coordination shard to create what the request needs; the request comes back. `false`: that was tried, the thing
    /// cannot be had.
    pub(crate) fn ensure(&mut self, wire: &mut Wire<'_>, incoming: &Incoming<'_>, what: Ensure) -> bool {
        if incoming.ensured & what.bit() != 0 {
            return false;
        }
        let mut request = incoming.keep(wire.post);
        request.ensured |= what.bit();
        let coordination = self.owner.coordination();
        if wire.post.has_room(wire.io, coordination) {
            wire.post.mail(wire.io, coordination, ShardMessage::Ensure { what, request });
        } else {
            wire.refuse(&incoming.caller, response::SYSTEM_BUSY, OVERLOAD);
        }
        true
    }

    /// See the module's text.
    pub(crate) fn end_of_turn(&mut self, wire: &mut Wire<'_>) {
        self.repeat_reads(wire);
        self.deliver_due(wire);
        self.revive_due(wire);
        self.keep_pops(wire);
        // What this turn appended may be acknowledged at once: answers and pulls come after.
        self.store.end_of_turn(wire.io);
        self.turned = self.store.appended();
        self.answer_acknowledged(wire);
        self.delay.skip_removed(&self.store);
        self.wake_pulls(wire);
        self.wake_pops(wire);
        if self.store.appended() != self.turned {
            // Pops that were woken have taken messages: their answers need not wait for another turn.
            self.store.end_of_turn(wire.io);
            self.turned = self.store.appended();
            self.answer_acknowledged(wire);
        }
        self.commit_durable_pops(wire);
        self.report(wire, self.draining);
        self.send_delay_report(wire);
        self.set_alarm(wire);
    }

    fn repeat_reads(&mut self, wire: &mut Wire<'_>) {
        let mut tickets = std::mem::take(&mut self.tickets);
        self.store.take_completed_reads(&mut tickets);
        for ticket in tickets.drain(..) {
            match self.cold.remove(&ticket) {
                Some(Cold::Pull(pull)) => self.run_pull(wire, pull),
                Some(Cold::SendBack(work)) => self.run_send_back(wire, *work),
                Some(Cold::View(view)) => self.run_view(wire, view),
                Some(Cold::Keyed(work)) => self.run_keyed(wire, *work),
                Some(Cold::Search(search)) => self.run_search(wire, *search),
                Some(Cold::Gather(gathering)) => self.gather(wire, *gathering),
                Some(Cold::Delay(level)) => self.delay.read_completed(level),
                Some(Cold::Pop(pop)) => self.advance_pop(wire, pop),
                Some(Cold::Revival(id)) => self.run_revival(wire, id),
                Some(Cold::Rebuild(rebuild)) => self.rebuild(wire, rebuild),
                None => {}
            }
        }
        self.tickets = tickets;
    }

    fn wake_pulls(&mut self, wire: &mut Wire<'_>) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut woken = std::mem::take(&mut self.woken);
        self.store.take_arrivals(&mut arrivals);
        for arrival in arrivals.drain(..) {
            self.delay.arrived(&arrival);
            self.message_arrived(&arrival, wire.io.now());
            let Arrival { topic, queue_id, queue_offset, .. } = &arrival;
            let record = || self.store.fresh_record(topic, *queue_id, *queue_offset);
            self.held.wake(&arrival, record, &mut woken);
        }
        if self.draining {
            self.held.take_all(&mut woken);
        }
        self.held.take_due(wire.io.now(), &mut woken);
        for pull in woken.drain(..) {
            self.run_pull(wire, pull);
        }
        self.arrivals = arrivals;
        self.woken = woken;
    }

    /// Takes offsets as they were persisted. After a power cut some may lie beyond the end of their queue, whose last messages nobody had
    /// promised to keep: they go back to the end, or their groups would miss what takes the place of those messages. After an orderly
    /// end or a kill whatever was committed counts.
    pub(crate) fn load_offsets(&mut self, now: Monotonic, loaded: Vec<QueueOffset>) {
        let mut moved = 0;
        for position in loaded.iter().filter(|_| !self.store_is_whole) {
            let max = self.store.max_offset(&position.topic, position.queue_id).unwrap_or(0);
            if position.offset > max {
                self.offsets.commit(&position.group, &position.topic, position.queue_id, max);
                moved += 1;
            }
        }
        self.offsets.load(loaded);
        if moved > 0 {
            warn!(shard = %self.me, moved, "consumer offsets beyond the ends of their queues were moved back to the ends");
            self.report_soon(now);
        }
    }

    /// Notes that something has to be reported within [`BrokerConfig::report_offsets_after`].
    pub(crate) fn report_soon(&mut self, now: Monotonic) {
        self.unreported_since.get_or_insert(now);
    }

    /// Sends changed offsets to the coordination shard and prepares the delay service's report, if it is time or `at_once`.
    pub(crate) fn report(&mut self, wire: &mut Wire<'_>, at_once: bool) {
        let is_due = |since| {
            self.offsets.is_full() || wire.io.now().since(since) >= self.config.report_offsets_after()
        };
        if !at_once && !self.unreported_since.is_some_and(is_due) {
            return;
        }
        self.unreported_since = None;
        let coordination = self.owner.coordination();
        let offsets = self.offsets.take_changes();
        if !offsets.is_empty() {
            wire.post.mail(wire.io, coordination, ShardMessage::OffsetCommits(offsets));
        }
        if let Some(end) = self.delay.prepare_report(self.store.acknowledged()) {
            self.store.flush_soon(wire.io, end);
        }
    }

    /// Sends the delay service's report, once the deliveries that it speaks of are on stable media.
    fn send_delay_report(&mut self, wire: &mut Wire<'_>) {
        if let Some(progress) = self.delay.take_report(self.store.durable()) {
            wire.post.mail(wire.io, self.owner.coordination(), ShardMessage::DelayProgress(progress));
            if self.delay.has_progress() {
                self.report_soon(wire.io.now());
            }
        }
    }

    /// Everything that was accepted is answered, or will never be.
    pub(crate) fn is_drained(&self) -> bool {
        let log_is_quiet = self.store.acknowledged() == self.store.appended() && self.delay.is_reported();
        self.acks.is_empty()
            && self.cold.is_empty()
            && self.held.is_empty()
            && self.pops.is_quiet()
            && (log_is_quiet || self.store.poisoned().is_some())
    }

    /// The time limit of a send that waits for the disk; `None` where it may take as long as it takes.
    pub(crate) fn flush_limit(&self) -> Option<Duration> {
        let limit = Duration::from_millis(self.config.sync_flush_timeout);
        (self.config.flush_disk_type == FlushDiskType::Sync).then_some(limit)
    }

    /// One timer for everything that has a time: it only has to make a turn happen.
    fn set_alarm(&mut self, wire: &mut Wire<'_>) {
        let now = wire.io.now();
        let report = self.unreported_since.map(|since| since + self.config.report_offsets_after());
        let late = self.flush_limit().and_then(|limit| Some(self.acks.oldest_client_since()? + limit));
        let delay = self.delay.next_due(now, wire.io.wall_ms()).map(|due| due.min(now + ALARM_MAX));
        let pops = self.next_pop_work(now, wire.io.wall_ms()).map(|due| due.min(now + ALARM_MAX));
        // Appended too late for this turn.
        let unturned = (self.store.appended() != self.turned).then_some(now);
        let times = [self.held.next_deadline(), report, late, delay, pops, unturned];
        let Some(next) = times.into_iter().flatten().min() else { return };
        match self.alarm {
            Some((at, _)) if at <= next => {}
            before => {
                if let Some((_, timer)) = before {
                    wire.io.cancel_timer(timer);
                }
                self.alarm = Some((next, wire.io.timer(next, self.alarm_token)));
            }
        }
    }

    /// The alarm's timer fired; the turn's end does the rest.
    pub(crate) fn alarm_fired(&mut self) {
        self.alarm = None;
    }

    /// New settings.
    pub(crate) fn set_config(&mut self, config: Arc<BrokerConfig>) {
        self.stamp = Stamp::new(&config);
        self.address = config.broker_address(config.listen_port);
        self.store.set_retention(Some(retention_of(&config)));
        self.config = config;
    }
}

/// How handlers end: an error is answered as code 1 with its text.
pub(crate) type Served = Result<(), FieldError>;
