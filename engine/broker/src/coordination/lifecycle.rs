//! Start and stop of the broker, as the coordination shard leads them. See `crate::message` for the handshakes.
//!
//! ```text
//!   Loading ──▶ Starting ──▶ Serving ──▶ Draining ──▶ Exiting ──▶ (exit)
//!      │            │  a shard failed, or Stop came early  ▲
//!      └────────────┴──────────────────────────────────────┘
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringmq_reactor::{AcceptTo, Context, ListenerId, ShardId, with_causes};
use ringmq_transport::ListenPatience;
use tracing::{error, info};

use super::core::Core;
use super::registration::Registration;
use super::{export, housekeeping, loading};
use crate::message::{CLIENT_LISTENER, ShardMessage};

/// What the broker's owner (the process, a test) may want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerEvent {
    /// Clients are served.
    Serving {
        /// The address that clients are told.
        address: SocketAddr,
        /// What is listened on.
        listening: Vec<SocketAddr>,
    },
    /// The broker cannot start; the process ends.
    StartFailed {
        /// Why, for the operator.
        cause: String,
    },
    /// Everything is on disk; the process ends.
    Stopped,
}

/// Hears events, on the coordination shard's thread: it must not block.
pub type OnBrokerEvent = Box<dyn FnMut(BrokerEvent) + Send>;

/// Hands events to the owner.
pub struct Notices(OnBrokerEvent);

impl Notices {
    /// To this listener.
    #[must_use]
    pub fn new(on_event: OnBrokerEvent) -> Self {
        Self(on_event)
    }

    fn tell(&mut self, event: BrokerEvent) {
        (self.0)(event);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Files are being read.
    Loading,
    /// Data shards open their stores.
    Starting,
    /// Clients are served.
    Serving,
    /// Data shards finish what was accepted, name servers are told.
    Draining,
    /// Metadata is being written for the last time.
    Saving,
    /// Data shards close.
    Exiting,
    /// Nothing is left.
    Gone,
}

/// See the module's text.
pub struct Lifecycle {
    core: Rc<Core>,
    notices: Notices,
    phase: Phase,
    /// Shards that have reached the phase's goal.
    arrived: u16,
    listeners: Vec<ListenerId>,
    patience: ListenPatience,
    stop_asked: bool,
    failure: Option<String>,
    loaded: Rc<RefCell<Option<Result<(), String>>>>,
    /// Set when the name servers have been told and the files are written.
    unregistered: Rc<Cell<bool>>,
    saved: Rc<Cell<bool>>,
    exited: u16,
}

impl Lifecycle {
    /// Before the start.
    #[must_use]
    pub fn new(core: Rc<Core>, notices: Notices) -> Self {
        Self {
            core,
            notices,
            phase: Phase::Loading,
            arrived: 0,
            listeners: Vec::new(),
            patience: ListenPatience::default(),
            stop_asked: false,
            failure: None,
            loaded: Rc::default(),
            unregistered: Rc::default(),
            saved: Rc::default(),
            exited: 0,
        }
    }

    /// Start, steps 1 and 2.
    pub fn start(&mut self, now_ms: u64) {
        self.core.boot_ms.set(now_ms);
        *self.core.mornings.borrow_mut() = super::runtime_info::Mornings::new(now_ms);
        let (core, loaded) = (Rc::clone(&self.core), Rc::clone(&self.loaded));
        self.core.io.spawn(async move {
            let outcome = loading::load(&core).await.map_err(|error| with_causes(&error));
            *loaded.borrow_mut() = Some(outcome);
        });
    }

    /// A data shard can serve.
    pub fn ready(&mut self) {
        self.arrived += 1;
    }

    /// Something cannot serve.
    pub fn start_failed(&mut self, cause: &str) {
        error!(cause, "the broker cannot start");
        // The first cause is the one to tell; others often follow from it.
        self.failure.get_or_insert_with(|| cause.to_owned());
    }

    /// The process was asked to stop.
    pub fn stop(&mut self) {
        if !self.stop_asked {
            info!("stopping");
        }
        self.stop_asked = true;
    }

    /// A data shard has finished what it had accepted.
    pub fn drained(&mut self) {
        self.arrived += 1;
    }

    /// A data shard has closed.
    pub fn exited(&mut self) {
        self.exited += 1;
    }

    /// Goes on as far as possible. True: it went on; tasks may have something to do.
    pub fn advance(&mut self, io: &mut dyn Context<ShardMessage>) -> bool {
        let mut went_on = false;
        loop {
            let next = match self.phase {
                Phase::Loading => self.after_loading(),
                Phase::Starting => self.after_starting(io),
                Phase::Serving => self.after_serving(io),
                Phase::Draining => self.after_draining(),
                Phase::Saving => self.saved.get().then(|| self.exit_all()),
                Phase::Exiting => self.after_exiting(io),
                Phase::Gone => None,
            };
            let Some(next) = next else { return went_on };
            if next != self.phase {
                info!(from = ?self.phase, to = ?next, "broker");
            }
            (self.phase, went_on) = (next, true);
        }
    }

    fn after_loading(&mut self) -> Option<Phase> {
        match self.loaded.borrow_mut().take()? {
            Ok(()) => {
                self.patience.begin();
                Some(Phase::Starting)
            }
            Err(cause) => {
                error!(cause, "the broker cannot start");
                self.failure = Some(cause);
                Some(self.exit_all())
            }
        }
    }

    fn after_starting(&mut self, io: &mut dyn Context<ShardMessage>) -> Option<Phase> {
        if self.failure.is_some() || self.stop_asked {
            return Some(self.exit_all());
        }
        if self.arrived < self.core.owner.shards() {
            return None;
        }
        if !self.patience.take_due() {
            return None;
        }
        if let Err((address, error)) = self.listen(io) {
            for listener in self.listeners.drain(..) {
                io.close_listener(listener);
            }
            if self.patience.try_again(&self.core.io, address, &error) {
                // Again, when the task that waits says so; nothing else may ever happen in such a broker.
                return Some(Phase::Starting);
            }
            self.start_failed(&format!("cannot listen on {address}: {error}"));
            return Some(self.exit_all());
        }
        self.arrived = 0;
        housekeeping::spawn(&self.core);
        let servers = self.core.config().name_servers.resolved();
        Registration::set_servers(&self.core, &servers);
        self.core.registration.changed();
        Some(Phase::Serving)
    }

    fn listen(&mut self, io: &mut dyn Context<ShardMessage>) -> Result<(), (SocketAddr, io::Error)> {
        let config = self.core.config();
        let shards: Vec<ShardId> = self.core.data_shards().collect();
        let mut listening = Vec::new();
        for port in [Some(config.listen_port), config.vip_port()].into_iter().flatten() {
            let address = SocketAddr::new(config.bind_address, port);
            let listener = io
                .listen(address, AcceptTo::RoundRobin(shards.clone()), CLIENT_LISTENER)
                .map_err(|error| (address, error))?;
            self.listeners.push(listener);
            listening.push(io.local_address(listener).unwrap_or(address));
        }
        let port = listening[0].port();
        self.core.port.set(port);
        if port != config.listen_port {
            // Data shards put the port into message ids.
            let mut actual = (*config).clone();
            actual.listen_port = port;
            actual.ha_listen_port = port.saturating_add(1);
            self.core.set_config(actual);
        }
        self.notices.tell(BrokerEvent::Serving { address: self.core.address(), listening });
        Ok(())
    }

    fn after_serving(&mut self, io: &mut dyn Context<ShardMessage>) -> Option<Phase> {
        if !self.stop_asked {
            return None;
        }
        self.core.stopping.set(true);
        for listener in self.listeners.drain(..) {
            io.close_listener(listener);
        }
        self.core.mail_all(|| ShardMessage::Drain);
        let (core, unregistered) = (Rc::clone(&self.core), Rc::clone(&self.unregistered));
        self.core.io.spawn(async move {
            Registration::unregister(&core).await;
            unregistered.set(true);
        });
        Some(Phase::Draining)
    }

    fn after_draining(&mut self) -> Option<Phase> {
        if self.arrived < self.core.owner.shards() || !self.unregistered.get() {
            return None;
        }
        let (core, saved) = (Rc::clone(&self.core), Rc::clone(&self.saved));
        self.core.io.spawn(async move {
            if let Err(error) = core.flush_offsets().await {
                error!(%error, "the last consumer offsets are lost");
            }
            export::export(&core).await;
            core.journal.close().await;
            saved.set(true);
        });
        Some(Phase::Saving)
    }

    fn exit_all(&self) -> Phase {
        self.core.stopping.set(true);
        self.core.mail_all(|| ShardMessage::Exit);
        Phase::Exiting
    }

    fn after_exiting(&mut self, io: &mut dyn Context<ShardMessage>) -> Option<Phase> {
        if self.exited < self.core.owner.shards() {
            return None;
        }
        let event = match self.failure.take() {
            Some(cause) => BrokerEvent::StartFailed { cause },
            None => BrokerEvent::Stopped,
        };
        self.notices.tell(event);
        io.exit();
        Some(Phase::Gone)
    }
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.phase)
    }
}
