//! The name server as a service: one shard, its connections, its two files.
//!
//! ```text
//!   start ── read the kv file ──▶ listen ──▶ requests ──▶ State ──▶ answer
//!                                                           │ changed the kv values or the configuration
//!                                                           └──▶ replace the file ──▶ answer
//! ```
//! What cannot be read at the start is not overwritten later: the process ends with the reason instead.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::{
    AcceptTo, CloseCause, CloseMode, ConnectionId, Context, Event, Io, ListenerId, ProcessSpec, Service,
    ShardSpec, Tasks, Token,
};
use ringmq_remoting::code::request;
use ringmq_remoting::command::{Command, SerializeType};
use ringmq_remoting::encode::{FieldValue, ResponseTo};
use ringmq_remoting::frame::FrameError;
use ringmq_transport::server::{self, Connections, ServeConnections, ServerOptions};
use ringmq_transport::{Connection, ListenPatience, OutgoingRequest, OutgoingRequests, Reply};

use crate::answer::Answer;
use crate::config::NamesrvConfig;
use crate::kv::{KvConfig, KvFileError};
use crate::persist::Persisted;
use crate::route_table::MinIdNotice;
use crate::state::{Caller, State};

/// Who owns the operations that this service starts.
mod owner {
    pub const CONNECTIONS: u8 = 1;
    pub const LISTENER: u8 = 2;
    pub const SCAN: u8 = 3;
    pub const OUTGOING: u8 = 4;
}

/// Shards of a name server do not talk to each other: there is one.
#[derive(Debug)]
pub enum NamesrvMessage {}

/// Why a name server could not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `bindAddress` is not an IP address.
    #[error("bindAddress={0}: an IP address is expected")]
    BindAddress(String),
    /// The port cannot be had.
    #[error(
        "cannot listen on {address}: {source}; another name server may be running (listenPort chooses another port)"
    )]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The kv file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadKv {
        /// `kvConfigPath`.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kv file is there and is not what it should be.
    #[error(
        "{0} is not a kv configuration: {source}; repair it, put {0}.bak in its place, or move it away",
        path.display()
    )]
    ParseKv {
        /// `kvConfigPath`.
        path: PathBuf,
        /// Why.
        source: KvFileError,
    },
}

/// Told once whether the name server serves, and where. Called on the shard's thread.
pub type OnStarted = Box<dyn FnOnce(Result<SocketAddr, StartError>) + Send>;

type Loaded = Rc<RefCell<Option<io::Result<Option<Bytes>>>>>;

/// Whoever waits for a change to be on disk.
#[derive(Debug)]
struct Waiting {
    connection: ConnectionId,
    to: ResponseTo,
    answer: Answer,
    oneway: bool,
}

/// See the module's text.
pub struct Namesrv {
    state: State,
    connections: Connections<()>,
    outgoing: OutgoingRequests<()>,
    tasks: Tasks,
    kv_file: Persisted<Waiting>,
    config_file: Persisted<Waiting>,
    /// The kv file's content, once it has been read.
    loaded: Loaded,
    on_started: Option<OnStarted>,
    listener: Option<ListenerId>,
    patience: ListenPatience,
    stopping: bool,
}

impl Namesrv {
    /// A name server to be launched, on the kernel or in the simulator.
    #[must_use]
    pub fn process(config: NamesrvConfig) -> ProcessSpec<NamesrvMessage> {
        Self::process_with(config, Box::new(|_| {}))
    }

    /// As [`Namesrv::process`]; `on_started` is told how the start went. After an error the process ends.
    #[must_use]
    pub fn process_with(config: NamesrvConfig, on_started: OnStarted) -> ProcessSpec<NamesrvMessage> {
        let shard = ShardSpec {
            name: "namesrv".to_owned(),
            cpu: None,
            service: Box::new(move |_| {
                Box::new(Self::new(config, on_started)) as Box<dyn Service<NamesrvMessage>>
            }),
        };
        ProcessSpec { name: "namesrv".to_owned(), shards: vec![shard] }
    }

    fn new(config: NamesrvConfig, on_started: OnStarted) -> Self {
        let settings = &config.settings;
        let options = ServerOptions {
            idle_after: Duration::from_secs(settings.server_channel_max_idle_time_seconds.max(1)),
            ..ServerOptions::default()
        };
        Self {
            connections: Connections::new(owner::CONNECTIONS, options),
            outgoing: OutgoingRequests::new(Token::new(owner::OUTGOING, 0)),
            tasks: Tasks::new(),
            kv_file: Persisted::new(settings.kv_config_path.clone()),
            config_file: Persisted::new(settings.config_store_path.clone()),
            loaded: Rc::default(),
            on_started: Some(on_started),
            listener: None,
            patience: ListenPatience::default(),
            stopping: false,
            state: State::new(config),
        }
    }

    /// Reads the kv file; a missing one is an empty configuration.
    fn load(&self) {
        let (task_io, path, loaded) =
            (self.tasks.handle(), self.kv_file.path().to_owned(), Rc::clone(&self.loaded));
        self.tasks.spawn(async move {
            let outcome = match task_io.read_file(path).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            *loaded.borrow_mut() = Some(outcome);
        });
    }

    /// Listens, or tries again in a moment.
    fn begin(&mut self, io: &mut dyn Io) {
        let outcome = self.listen(io);
        if let Err(StartError::Listen { address, source }) = &outcome
            && self.patience.try_again(&self.tasks.handle(), *address, source)
        {
            self.tasks.run(io);
            return;
        }
        self.tell_start(io, outcome);
    }

    fn tell_start(&mut self, io: &mut dyn Io, outcome: Result<SocketAddr, StartError>) {
        match &outcome {
            Ok(address) => tracing::info!(%address, kv_values = self.state.kv.len(), "name server serves"),
            Err(error) => {
                tracing::error!(%error, "name server cannot start");
                io.exit();
            }
        }
        if let Some(on_started) = self.on_started.take() {
            on_started(outcome);
        }
    }

    fn take_kv(&mut self, loaded: io::Result<Option<Bytes>>) -> Result<(), StartError> {
        let path = || self.kv_file.path().to_owned();
        let bytes = loaded.map_err(|source| StartError::ReadKv { path: path(), source })?;
        if let Some(bytes) = bytes {
            self.state.kv =
                KvConfig::from_file(&bytes).map_err(|source| StartError::ParseKv { path: path(), source })?;
        }
        Ok(())
    }

    fn listen(&mut self, io: &mut dyn Io) -> Result<SocketAddr, StartError> {
        let settings = &self.state.config.settings;
        let ip: IpAddr = settings
            .bind_address
            .parse()
            .map_err(|_| StartError::BindAddress(settings.bind_address.clone()))?;
        let address = SocketAddr::new(ip, settings.listen_port);
        let listener = io
            .listen(address, AcceptTo::Here, Token::new(owner::LISTENER, 0))
            .map_err(|source| StartError::Listen { address, source })?;
        self.listener = Some(listener);
        self.state.serving_since = io.now();
        self.arm_scan(io);
        Ok(io.local_address(listener).unwrap_or(address))
    }

    fn arm_scan(&mut self, io: &mut dyn Io) {
        let every =
            Duration::from_millis(self.state.config.settings.scan_not_active_broker_interval.max(100));
        io.timer(io.now() + every, Token::new(owner::SCAN, 0));
    }

    /// Removes brokers that have been silent for too long.
    fn scan(&mut self, io: &mut dyn Io) {
        let (expired, notices) = self.state.routes.expire(io.now());
        for broker in expired {
            if let Some(connection) = broker.connection {
                self.connections.close(io, connection, CloseMode::Now);
            }
        }
        self.send_notices(io, notices);
        self.arm_scan(io);
    }

    fn send_notices(&mut self, io: &mut dyn Io, notices: Vec<MinIdNotice>) {
        for notice in notices {
            let mut fields = vec![
                ("minBrokerId", FieldValue::Int(notice.min_id)),
                ("brokerName", FieldValue::Str(&notice.broker)),
                ("minBrokerAddr", FieldValue::Str(&notice.min_address)),
            ];
            fields.extend(
                notice.offline.as_deref().map(|address| ("offlineBrokerAddr", FieldValue::Str(address))),
            );
            fields.extend(
                notice.ha_address.as_deref().map(|address| ("haBrokerAddr", FieldValue::Str(address))),
            );
            let request = OutgoingRequest {
                serialize: SerializeType::Json,
                code: request::NOTIFY_MIN_BROKER_ID_CHANGE,
                fields: &fields,
                body: &[],
            };
            for to in &notice.to {
                self.outgoing.notify(io, &mut self.connections, *to, &request);
            }
        }
    }

    fn reply(&mut self, io: &mut dyn Io, waiting: &Waiting) {
        if waiting.oneway {
            return;
        }
        let Answer { code, remark, fields, body } = &waiting.answer;
        let fields: Vec<(&str, FieldValue<'_>)> =
            fields.iter().map(|(name, value)| (*name, FieldValue::Str(value))).collect();
        let reply = Reply { to: waiting.to, code: *code, remark: remark.as_deref(), fields: &fields };
        self.connections.reply_slices(io, waiting.connection, &reply, std::slice::from_ref(body));
    }

    /// Answers those whose change is on disk now, and starts the next replacement of either file.
    fn drive_files(&mut self, io: &mut dyn Io) {
        loop {
            self.tasks.run(io);
            for finished in [self.kv_file.finished(), self.config_file.finished()].into_iter().flatten() {
                let (waiters, result) = finished;
                for mut waiting in waiters {
                    if let Err(error) = &result {
                        tracing::error!(%error, "a change could not be stored: it is lost at the next restart");
                        waiting.answer = Answer::error(format!("changed, but not stored: {error}"));
                    }
                    self.reply(io, &waiting);
                }
            }
            let state = &self.state;
            let kv_started = self.kv_file.start(&self.tasks, || state.kv.to_file());
            let config_started =
                self.config_file.start(&self.tasks, || Bytes::from(state.config.file_text()));
            if !kv_started && !config_started {
                break;
            }
        }
    }
}

impl ServeConnections<NamesrvMessage> for Namesrv {
    type User = ();

    fn connections(&mut self) -> &mut Connections<()> {
        &mut self.connections
    }

    fn on_frame(
        &mut self,
        io: &mut dyn Context<NamesrvMessage>,
        connection: ConnectionId,
        frame: &[u8],
    ) -> Result<(), FrameError> {
        let command = Command::parse(frame)?;
        if command.is_response() {
            // Nothing that this server sends asks for one.
            return Ok(());
        }
        let answer = self.state.execute(&command, Caller { connection, now: io.now() });
        if answer.code != 0 {
            tracing::debug!(
                code = command.code,
                answer = answer.code,
                remark = answer.remark,
                "request refused"
            );
        }
        let waiting = Waiting { connection, to: command.response_to(), answer, oneway: command.is_oneway() };
        let effects = self.state.take_effects();
        self.send_notices(io, effects.notices);
        if effects.kv_changed {
            self.kv_file.changed(waiting);
        } else if effects.config_changed {
            self.config_file.changed(waiting);
        } else {
            self.reply(io, &waiting);
        }
        Ok(())
    }

    fn on_closed(
        &mut self,
        io: &mut dyn Context<NamesrvMessage>,
        connection: ConnectionId,
        state: Connection<()>,
        _: &CloseCause,
    ) {
        let brokers = self.state.routes.brokers_on(connection);
        if !brokers.is_empty() {
            tracing::warn!(peer = %state.peer(), ?brokers, "a broker's connection has ended: it is unregistered");
            let notices = self.state.routes.connection_closed(connection);
            self.send_notices(io, notices);
        }
    }
}

impl Service<NamesrvMessage> for Namesrv {
    fn start(&mut self, io: &mut dyn Context<NamesrvMessage>) {
        self.connections.start(io);
        self.load();
        self.tasks.run(io);
    }

    fn handle(&mut self, io: &mut dyn Context<NamesrvMessage>, event: Event<'_, NamesrvMessage>) {
        let Some(event) = self.tasks.on_event(event) else { return };
        let Some(event) = server::on_event(self, io, event) else { return };
        match event {
            Event::Timer { token } if token.owner() == owner::SCAN => self.scan(io),
            Event::Stop => {
                self.stopping = true;
                if let Some(listener) = self.listener.take() {
                    io.close_listener(listener);
                }
            }
            _ => {}
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<NamesrvMessage>) {
        server::resume(self, io);
        self.drive_files(io);
        let loaded = self.loaded.borrow_mut().take();
        match loaded.map(|loaded| self.take_kv(loaded)) {
            None => {}
            Some(Ok(())) => self.patience.begin(),
            Some(Err(error)) => self.tell_start(io, Err(error)),
        }
        if self.patience.take_due() && !self.stopping {
            self.begin(io);
        }
        // What was promised is on disk first.
        if self.stopping && !self.kv_file.is_busy() && !self.config_file.is_busy() {
            io.exit();
        }
    }
}

impl std::fmt::Debug for Namesrv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Namesrv({} topics, {} brokers)",
            self.state.routes.topic_count(),
            self.state.routes.live_count()
        )
    }
}
