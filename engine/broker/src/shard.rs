//! The data shard: connections, queues, and everything on the way of a send or a pull.
//!
//! One per core, each a [`Service`] on its own thread. It owns its connections and the queues that [`QueueOwner`] gives it;
//! whatever concerns a queue of another shard is passed on, whatever is not the data plane's goes to the coordination shard.
//!
//! | file | concern |
//! |---|---|
//! | `plane` | the shard's data plane: dispatch, end of turn |
//! | `wire`, `post` | answers; what leaves for other shards |
//! | `incoming`, `client` | a request; a connection |
//! | `send`, `put`, `acks`, `properties` | sending, up to the answer |
//! | `pull`, `long_poll` | pulling and waiting |
//! | `pop` | consuming by message |
//! | `consumer_offsets`, `offsets` | where groups stand |
//! | `send_back`, `delay` | retries, dead letters, delayed messages |
//! | `query`, `by_key`, `gather`, `stats` | questions about one queue; about all |
//! | `retention` | what the store keeps |
//! | `tables`, `reserved` | what the coordination shard decides; names with a meaning |

mod acks;
mod by_key;
mod chain;
mod client;
mod consumer_offsets;
mod delay;
mod gather;
mod incoming;
mod long_poll;
mod offsets;
mod opening;
mod plane;
mod pop;
mod post;
mod properties;
mod pull;
mod put;
mod query;
mod reserved;
mod retention;
mod send;
mod send_back;
mod stats;
mod tables;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{CloseCause, ConnectionId, Context, Event, Service, ShardId, Tasks, Token};
use ringmq_remoting::{Command, FrameError};
use ringmq_transport::Connection;
use ringmq_transport::server::{self, Connections, ServeConnections, ServerOptions};
use tracing::{debug, error, warn};

use client::Client;
use incoming::Incoming;
use opening::Opening;
use plane::Plane;
use post::Post;
use wire::Wire;

pub use pop::{BatchAcks, PopArrival, TravelingPop};

use crate::config::BrokerConfig;
use crate::message::{ForwardedRequest, Origin, QueueOwner, ShardMessage};

/// Token owners of this shard: who gets a completion.
const CONNECTIONS: u8 = 2;
const STORE: u8 = 3;
const ALARM: Token = Token::new(4, 0);

/// How far the shard has come.
enum Phase {
    /// The store is being opened; mail waits.
    Opening(Opening),
    /// Requests are served (also while the broker drains).
    Serving(Box<Plane>),
    /// The store is being closed.
    Closing(Box<Plane>),
    /// There is no store (any more): waits to be told to exit, or has.
    Ended,
}

/// See the module's text.
pub struct DataShard {
    me: ShardId,
    owner: QueueOwner,
    config: Arc<BrokerConfig>,
    connections: Connections<Client>,
    post: Post,
    tasks: Tasks,
    phase: Phase,
    /// [`ShardMessage::Drained`] was sent.
    drained: bool,
}

impl DataShard {
    /// Shard `me` of a broker with this configuration.
    #[must_use]
    pub fn new(me: ShardId, config: Arc<BrokerConfig>) -> Self {
        let idle_after = Duration::from_secs(config.server_channel_max_idle_time_seconds.into());
        let options = ServerOptions {
            idle_after,
            unsent_bytes_max: config.unsent_bytes_max,
            unsent_bytes_total_max: config.unsent_bytes_total_max,
            ..ServerOptions::default()
        };
        let owner = QueueOwner::new(config.shards);
        Self {
            me,
            owner,
            connections: Connections::new(CONNECTIONS, options),
            post: Post::new(usize::from(owner.shards()) + 1),
            tasks: Tasks::new(),
            phase: Phase::Opening(Opening::default()),
            drained: false,
            config,
        }
    }

    /// The plane, and what it needs to speak. `None` before the store is open and after it was closed.
    fn serving<'a>(&'a mut self, io: &'a mut dyn Context<ShardMessage>) -> Option<(&'a mut Plane, Wire<'a>)> {
        let Phase::Serving(plane) = &mut self.phase else { return None };
        let wire = Wire { io, me: self.me, connections: &mut self.connections, post: &mut self.post };
        Some((plane, wire))
    }

    fn on_mail(&mut self, io: &mut dyn Context<ShardMessage>, from: ShardId, message: ShardMessage) {
        match (&mut self.phase, message) {
            (_, ShardMessage::Exit) => self.close_store(io),
            (Phase::Opening(opening), message) => opening.keep(from, message),
            (_, message) => self.on_serving_mail(io, from, message),
        }
    }

    fn on_serving_mail(&mut self, io: &mut dyn Context<ShardMessage>, from: ShardId, message: ShardMessage) {
        let Some((plane, mut wire)) = self.serving(io) else { return };
        let wire = &mut wire;
        match message {
            ShardMessage::Requests(requests) => {
                for request in &requests {
                    serve_forwarded(plane, wire, request);
                }
            }
            ShardMessage::Ensured { request } => serve_forwarded(plane, wire, &request),
            ShardMessage::Replies(replies) => {
                for reply in replies {
                    wire.deliver(reply);
                }
            }
            ShardMessage::ToClient { connection, frame } => {
                if let Some(outbox) = wire.connections.outbox(wire.io, connection) {
                    outbox.push(frame);
                }
            }
            ShardMessage::CloseConnection { connection } => {
                wire.connections.close(wire.io, connection, ringmq_reactor::CloseMode::AfterFlush);
            }
            ShardMessage::ConnectionClosed { connection } => {
                plane.held.drop_connection(from, connection);
                plane.drop_pops(from, connection);
            }
            ShardMessage::Topics(changes) => plane.tables.change_topics(&changes),
            ShardMessage::Groups(changes) => plane.tables.change_groups(&changes),
            ShardMessage::Online { group, online } => plane.tables.set_online(group, online),
            ShardMessage::OrderlyLocks { group, until_ms } => plane.tables.set_locked(group, until_ms),
            ShardMessage::Config(config) => plane.set_config(config),
            ShardMessage::OffsetsLoaded(offsets) => plane.load_offsets(wire.io.now(), offsets),
            ShardMessage::DelayLoaded(progress) => plane.delay.load(&progress),
            ShardMessage::ConfigurationLoaded => plane.begin_rebuild(wire),
            ShardMessage::Append(append) => plane.append_for_another(wire, *append),
            ShardMessage::Appended { id, is_safe } => plane.revived(wire, id, is_safe),
            ShardMessage::Pop(TravelingPop(pop)) => plane.advance_pop(wire, pop),
            ShardMessage::PopArrivals(arrivals) => plane.pop_arrivals(&arrivals),
            ShardMessage::BatchAcks(acks) => plane.run_batch_acks(wire, acks),
            ShardMessage::Question { id, question } => plane.question(wire, id, question),
            ShardMessage::Drain => plane.draining = true,
            ShardMessage::Exit => unreachable!("handled by on_mail"),
            // Mail that only the coordination shard gets.
            message @ (ShardMessage::ClientResponse(_)
            | ShardMessage::Ensure { .. }
            | ShardMessage::OffsetCommits(_)
            | ShardMessage::DelayProgress(_)
            | ShardMessage::Answer { .. }
            | ShardMessage::Ready
            | ShardMessage::StartFailed(_)
            | ShardMessage::Drained
            | ShardMessage::Exited) => panic!("a data shard was sent {message:?} by shard {from}"),
        }
    }

    /// Goes on once the store is open: everything that was mailed meanwhile is handled now, in order.
    fn finish_opening(&mut self, io: &mut dyn Context<ShardMessage>) {
        let Phase::Opening(opening) = &mut self.phase else { return };
        let Some((outcome, mail)) = opening.take_outcome() else { return };
        match outcome {
            Ok(opened) => {
                let plane = Plane::new(io, self.owner, Arc::clone(&self.config), opened, ALARM);
                self.phase = Phase::Serving(Box::new(plane));
                for (from, message) in mail {
                    self.on_serving_mail(io, from, message);
                }
            }
            Err(text) => {
                error!(shard = %self.me, "{text}");
                self.phase = Phase::Ended;
                self.post.mail(io, self.owner.coordination(), ShardMessage::StartFailed(text));
            }
        }
    }

    /// Stop, step 2: reports when everything accepted is done.
    fn report_drained(&mut self, io: &mut dyn Context<ShardMessage>) {
        if self.drained {
            return;
        }
        let coordination = self.owner.coordination();
        let Some((plane, mut wire)) = self.serving(io) else { return };
        if !plane.draining || !plane.is_drained() {
            return;
        }
        plane.report(&mut wire, true);
        wire.post.mail(wire.io, coordination, ShardMessage::Drained);
        self.drained = true;
    }

    /// Stop, step 4.
    fn close_store(&mut self, io: &mut dyn Context<ShardMessage>) {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Serving(mut plane) => {
                plane.store.begin_close(io);
                self.phase = Phase::Closing(plane);
            }
            // The store is not there, or not yet: a task that still opens it ends with the shard.
            Phase::Opening(_) | Phase::Ended => self.exit(io),
            closing @ Phase::Closing(_) => self.phase = closing,
        }
    }

    fn exit(&mut self, io: &mut dyn Context<ShardMessage>) {
        self.phase = Phase::Ended;
        self.post.mail(io, self.owner.coordination(), ShardMessage::Exited);
        io.exit();
    }
}

/// A request that another shard passed on, or that comes back after something was created for it.
fn serve_forwarded(plane: &mut Plane, wire: &mut Wire<'_>, request: &ForwardedRequest) {
    match Command::parse(&request.frame) {
        Ok(command) => plane.request(wire, &Incoming::forwarded(&command, request, wire.io.now())),
        Err(error) => {
            error!(%error, peer = %request.origin.peer, "a request changed on its way between shards")
        }
    }
}

impl ServeConnections<ShardMessage> for DataShard {
    type User = Client;

    fn connections(&mut self) -> &mut Connections<Client> {
        &mut self.connections
    }

    fn on_frame(
        &mut self,
        io: &mut dyn Context<ShardMessage>,
        connection: ConnectionId,
        frame: &[u8],
    ) -> Result<(), FrameError> {
        let command = Command::parse(frame)?;
        let Some(peer) = self.connections.get(connection).map(Connection::peer) else { return Ok(()) };
        let origin = Origin { shard: self.me, connection, peer, admitted: 0 };
        let coordination = self.owner.coordination();
        let Some((plane, mut wire)) = self.serving(io) else {
            debug!(%peer, "a request after the store was closed is not answered");
            return Ok(());
        };
        if command.is_response() {
            let frame = wire.post.keep(frame);
            let response = ForwardedRequest { origin, frame, ensured: 0 };
            wire.post.mail(wire.io, coordination, ShardMessage::ClientResponse(response));
        } else {
            let now = wire.io.now();
            plane.request(&mut wire, &Incoming::received(&command, frame, origin, now));
        }
        Ok(())
    }

    fn on_closed(
        &mut self,
        io: &mut dyn Context<ShardMessage>,
        connection: ConnectionId,
        state: Connection<Client>,
        _cause: &CloseCause,
    ) {
        for shard in (0..=self.owner.shards()).map(ShardId) {
            if shard != self.me && state.user.known_to.may_contain(shard) {
                self.post.mail(io, shard, ShardMessage::ConnectionClosed { connection });
            }
        }
        let me = self.me;
        if let Some((plane, _)) = self.serving(io) {
            plane.held.drop_connection(me, connection);
            plane.drop_pops(me, connection);
        }
    }
}

impl Service<ShardMessage> for DataShard {
    fn start(&mut self, io: &mut dyn Context<ShardMessage>) {
        self.connections.start(io);
        if let Phase::Opening(opening) = &self.phase {
            opening.begin(&self.tasks, &self.config, self.me, STORE);
        }
        self.tasks.run(io);
    }

    fn handle(&mut self, io: &mut dyn Context<ShardMessage>, event: Event<'_, ShardMessage>) {
        let Some(event) = server::on_event(self, io, event) else { return };
        let Some(event) = self.tasks.on_event(event) else { return };
        let store = match &mut self.phase {
            Phase::Serving(plane) | Phase::Closing(plane) => Some(&mut plane.store),
            Phase::Opening(_) | Phase::Ended => None,
        };
        match (event, store) {
            (Event::Mail { from, message }, _) => self.on_mail(io, from, message),
            (Event::File { token, result }, Some(store)) if token.owner() == STORE => {
                store.on_file(io, token, result);
            }
            (Event::Timer { token }, Some(store)) if token.owner() == STORE => store.on_timer(io, token),
            (Event::Timer { token }, _) if token == ALARM => {
                if let Phase::Serving(plane) = &mut self.phase {
                    plane.alarm_fired();
                }
            }
            // The coordination shard leads the stop: see `message`.
            (Event::Stop, _) => {}
            (event, _) => warn!(shard = %self.me, ?event, "an event that nothing here waits for"),
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<ShardMessage>) {
        server::resume(self, io);
        self.tasks.run(io);
        self.finish_opening(io);
        if let Some((plane, mut wire)) = self.serving(io) {
            plane.end_of_turn(&mut wire);
        }
        self.report_drained(io);
        let closed = match &mut self.phase {
            Phase::Closing(plane) => {
                plane.store.end_of_turn(io);
                plane.store.is_closed()
            }
            _ => false,
        };
        if closed {
            self.exit(io);
        }
        self.post.flush(io);
        // What handlers asked of tasks in this turn.
        self.tasks.run(io);
    }
}

impl std::fmt::Debug for DataShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataShard({})", self.me)
    }
}
