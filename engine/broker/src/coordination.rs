//! The coordination shard: everything that is configured, registered or persisted beside the log.
//!
//! One [`CoordinationShard`] per broker, on the shard after the data shards. It is the only writer of topics, consumer groups and the
//! client registry; data shards hold snapshots that it mails. It is never on the path of a send or of a pull that finds
//! messages, so its handlers may be tasks that wait for the disk, for all data shards, or for a client.
//!
//! | module | what it holds |
//! |---|---|
//! | [`topics`], [`groups`], [`names`], [`attributes`], [`table`], [`changes`] | what exists, and by which rules |
//! | [`clients`], [`locks`] | who is connected, who holds which queue |
//! | [`offsets`], [`delay_progress`] | consumer offsets and delay progress as persisted |
//! | [`persistence`], [`loading`] | these tables in the metadata store (`crate::metadata`) |
//! | [`export`], [`takeover`] | these tables as RocketMQ's JSON files |
//! | [`request_modes`], [`allocate`], [`routes`] | brokers share out queues: who pulls, who pops, which ones |
//! | [`registration`] | name servers |
//! | [`requests`] | what clients and operators ask |
//! | [`gather`], [`relay`] | questions to data shards, and to clients |
//! | [`lifecycle`], [`housekeeping`] | start, stop, and what happens by the clock |
//!
//! **Invariant.** A topic or group is durable before any data shard hears of it, and a data shard hears of it before
//! the client that asked is answered: what was acknowledged survives a crash, and is known everywhere.

pub mod allocate;
pub mod attributes;
pub mod changes;
pub mod clients;
pub mod core;
pub mod delay_progress;
pub mod export;
mod filters;
pub mod gather;
pub mod groups;
mod housekeeping;
pub mod lifecycle;
mod loading;
pub mod locks;
pub mod names;
pub mod offsets;
pub mod persistence;
pub mod registration;
pub mod relay;
pub mod request_modes;
pub mod requests;
pub mod routes;
pub mod runtime_info;
pub mod table;
pub mod takeover;
pub mod topics;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use ringmq_reactor::{Context, Event, Service, ShardId, Tasks};
use ringmq_remoting::Command;
use ringmq_remoting::code::response;
use tracing::error;

use self::core::{Core, Response};
use self::lifecycle::{Lifecycle, Notices};
use self::relay::Channel;
use self::requests::{Outcome, Request};
use crate::config::BrokerConfig;
use crate::message::{ForwardedRequest, ShardMessage};

pub use lifecycle::{BrokerEvent, OnBrokerEvent};

/// Requests that wait for something (disk, data shards, clients) at a time. What comes beyond is refused with SYSTEM_BUSY.
pub const REQUESTS_WAITING_MAX: usize = 20_000;

/// See the module's text.
pub struct CoordinationShard {
    core: Rc<Core>,
    tasks: Tasks,
    lifecycle: Lifecycle,
    waiting: Rc<Cell<usize>>,
}

impl CoordinationShard {
    /// To be made on the coordination shard's thread. `on_event` hears when the broker serves, or why it does not.
    ///
    /// # Panics
    /// If `me` is not the shard after the data shards.
    #[must_use]
    pub fn new(me: ShardId, config: Arc<BrokerConfig>, on_event: OnBrokerEvent) -> Self {
        assert_eq!(me, ShardId(config.shards), "the coordination shard comes after the data shards");
        let tasks = Tasks::new();
        let core = Rc::new(Core::new(config, tasks.handle()));
        let lifecycle = Lifecycle::new(Rc::clone(&core), Notices::new(on_event));
        Self { core, tasks, lifecycle, waiting: Rc::default() }
    }

    fn mail(&mut self, from: ShardId, message: ShardMessage) {
        match message {
            ShardMessage::Requests(requests) => requests.into_iter().for_each(|request| self.serve(request)),
            ShardMessage::Ensure { what, request } => {
                let core = Rc::clone(&self.core);
                self.tasks.spawn(async move {
                    requests::ensure(Rc::clone(&core), what).await;
                    core.mail(from, ShardMessage::Ensured { request });
                });
            }
            ShardMessage::ConnectionClosed { connection } => self.closed(Channel { shard: from, connection }),
            ShardMessage::ClientResponse(response) => {
                let opaque =
                    Command::parse(&response.frame).expect("the connection's shard has read it").opaque;
                self.core.relay.answered(opaque, response);
            }
            ShardMessage::OffsetCommits(commits) => {
                let mut offsets = self.core.offsets.borrow_mut();
                commits.iter().for_each(|commit| offsets.commit(commit));
            }
            ShardMessage::DelayProgress(levels) => {
                self.core.offsets.borrow_mut().delay_moved(from.0, &levels);
            }
            ShardMessage::Answer { id, answer } => self.core.answered(id, from, answer),
            ShardMessage::Ready => self.lifecycle.ready(),
            ShardMessage::StartFailed(cause) => {
                self.lifecycle.start_failed(&format!("shard {from}: {cause}"))
            }
            ShardMessage::Drained => self.lifecycle.drained(),
            ShardMessage::Exited => self.lifecycle.exited(),
            other => error!(%from, ?other, "mail that is not for the coordination shard: dropped"),
        }
    }

    fn serve(&self, forwarded: ForwardedRequest) {
        let request = Request::from(forwarded);
        let (origin, command) = (request.origin, request.command());
        let to = command.response_to();
        let is_oneway = command.is_oneway();
        match requests::dispatch(&self.core, request) {
            Outcome::Now(answer) if !is_oneway => {
                self.core.reply(&origin, to, &requests::response_of(answer));
            }
            Outcome::Now(_) => {}
            Outcome::Later(_) if self.waiting.get() >= REQUESTS_WAITING_MAX => {
                let text = "[OVERLOAD]system busy, start flow control for a while";
                self.core.reply(&origin, to, &Response::remark(response::SYSTEM_BUSY, text));
            }
            Outcome::Later(answer) => {
                let (core, waiting) = (Rc::clone(&self.core), Rc::clone(&self.waiting));
                waiting.set(waiting.get() + 1);
                self.tasks.spawn(async move {
                    let answer = answer.await;
                    waiting.set(waiting.get() - 1);
                    if !is_oneway {
                        core.reply(&origin, to, &requests::response_of(answer));
                    }
                });
            }
        }
    }

    fn closed(&self, channel: Channel) {
        self.core.relay.closed(channel);
        let departure = self.core.clients.borrow_mut().closed(channel);
        for group in departure.consumer_groups {
            requests::left(&self.core, &group);
        }
    }

    fn finish_turn(&mut self, io: &mut dyn Context<ShardMessage>) {
        // What tasks have done may let the start or the stop go on, which may start tasks. It ends: no phase comes again, and a further
        // attempt to listen waits for a timer.
        loop {
            self.tasks.run(io);
            if !self.lifecycle.advance(io) {
                break;
            }
        }
        for (to, message) in self.core.take_mail() {
            io.mail(to, message);
        }
    }
}

impl Service<ShardMessage> for CoordinationShard {
    fn start(&mut self, io: &mut dyn Context<ShardMessage>) {
        self.core.set_now_ms(io.wall_ms());
        self.lifecycle.start(io.wall_ms());
        self.finish_turn(io);
    }

    fn handle(&mut self, io: &mut dyn Context<ShardMessage>, event: Event<'_, ShardMessage>) {
        self.core.set_now_ms(io.wall_ms());
        let Some(event) = self.tasks.on_event(event) else { return };
        match event {
            Event::Mail { from, message } => self.mail(from, message),
            Event::Stop => self.lifecycle.stop(),
            other => error!(?other, "event that nobody asked for: dropped"),
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<ShardMessage>) {
        self.finish_turn(io);
    }
}

impl std::fmt::Debug for CoordinationShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Coordination({:?})", self.lifecycle)
    }
}
