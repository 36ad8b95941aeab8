//! A server to test with: what it does with a request is in its code.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::{
    AcceptTo, CloseCause, ConnectionId, Context, Event, ProcessSpec, Service, ShardSpec, Token,
};
use ringmq_remoting::FieldValue;
use ringmq_remoting::command::{Command, SerializeType};
use ringmq_remoting::encode::ResponseTo;
use ringmq_remoting::frame::FrameError;
use ringmq_transport::server::{self, Connections, ServeConnections, ServerCounters, ServerOptions};
use ringmq_transport::{Connection, OutgoingRequest, OutgoingRequests, Reply};

/// Answered at once with the same body.
pub const ECHO: i32 = 1;
/// Answered after as many milliseconds as field `ms` says; counted as in flight meanwhile.
pub const LATER: i32 = 2;
/// Never answered.
pub const NEVER: i32 = 3;
/// Answered with as many bytes as field `bytes` says.
pub const LARGE: i32 = 4;
/// The server asks the client back with code `ASK`, and answers with what it was answered, or code 207.
pub const RELAY: i32 = 5;
/// Answered with the client's address.
pub const WHO: i32 = 6;
/// What the client is asked.
pub const ASK: i32 = 100;

pub const PORT: u16 = 10911;

/// What a test sees of the server.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    pub counters: ServerCounters,
    pub connections: usize,
    pub frames: Vec<i32>,
    pub in_flight_bytes_max: usize,
    pub unsent_bytes_max: usize,
    pub relays_ended: usize,
}

struct Echo {
    connections: Connections<()>,
    outgoing: OutgoingRequests<(ConnectionId, ResponseTo)>,
    later: Vec<Option<(ConnectionId, ResponseTo, usize)>>,
    large: Bytes,
    seen: Arc<Mutex<Seen>>,
}

pub fn echo(options: ServerOptions, seen: &Arc<Mutex<Seen>>) -> ProcessSpec<()> {
    let seen = Arc::clone(seen);
    let shard = ShardSpec {
        name: "echo".to_owned(),
        cpu: None,
        service: Box::new(move |_| {
            Box::new(Echo {
                connections: Connections::new(1, options),
                outgoing: OutgoingRequests::new(Token::new(3, 0)),
                later: Vec::new(),
                large: Bytes::from(vec![b'x'; 8 << 20]),
                seen,
            }) as Box<dyn Service<()>>
        }),
    };
    ProcessSpec { name: "echo".to_owned(), shards: vec![shard] }
}

impl Echo {
    fn reply(
        &mut self,
        io: &mut dyn Context<()>,
        connection: ConnectionId,
        to: ResponseTo,
        code: i32,
        body: &[u8],
    ) {
        self.connections.reply(io, connection, &Reply::code(to, code), body);
    }

    fn relay(&mut self, io: &mut dyn Context<()>, connection: ConnectionId, to: ResponseTo) {
        let request = OutgoingRequest {
            serialize: SerializeType::Json,
            code: ASK,
            fields: &[("why", FieldValue::Str("test"))],
            body: b"question",
        };
        let timeout = Duration::from_secs(10);
        self.outgoing
            .send(io, &mut self.connections, connection, &request, timeout, (connection, to))
            .expect("the connection is open");
    }
}

impl ServeConnections<()> for Echo {
    type User = ();

    fn connections(&mut self) -> &mut Connections<()> {
        &mut self.connections
    }

    fn on_frame(
        &mut self,
        io: &mut dyn Context<()>,
        connection: ConnectionId,
        frame: &[u8],
    ) -> Result<(), FrameError> {
        let command = Command::parse(frame)?;
        self.seen.lock().expect("one thread").frames.push(command.code);
        let to = command.response_to();
        if command.is_response() {
            if let Some((connection, to)) = self.outgoing.answered(connection, command.opaque) {
                self.reply(io, connection, to, command.code, command.body);
            }
            return Ok(());
        }
        match command.code {
            ECHO if command.is_oneway() => {}
            ECHO => self.reply(io, connection, to, 0, command.body),
            LATER => {
                let ms = command.long("ms").expect("a number").unwrap_or(0);
                let at = io.now() + Duration::from_millis(u64::try_from(ms).expect("positive"));
                io.timer(at, Token::new(2, self.later.len() as u64));
                self.later.push(Some((connection, to, frame.len())));
                self.connections.admit(io, connection, frame.len());
                let in_flight = self.connections.get(connection).map_or(0, Connection::in_flight_bytes);
                let mut seen = self.seen.lock().expect("one thread");
                seen.in_flight_bytes_max = seen.in_flight_bytes_max.max(in_flight);
            }
            LARGE => {
                let bytes = command.long("bytes").expect("a number").unwrap_or(0);
                let body = self.large.slice(..usize::try_from(bytes).expect("positive"));
                self.connections.reply_slices(io, connection, &Reply::code(to, 0), &[body]);
                let unsent = io.unsent_bytes(connection);
                let mut seen = self.seen.lock().expect("one thread");
                seen.unsent_bytes_max = seen.unsent_bytes_max.max(unsent);
            }
            RELAY => self.relay(io, connection, to),
            WHO => {
                let peer = self.connections.get(connection).expect("open").peer().to_string();
                self.reply(io, connection, to, 0, peer.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }

    fn on_closed(
        &mut self,
        _: &mut dyn Context<()>,
        connection: ConnectionId,
        _: Connection<()>,
        _: &CloseCause,
    ) {
        let ended = self.outgoing.ended(connection).len();
        self.seen.lock().expect("one thread").relays_ended += ended;
    }
}

impl Service<()> for Echo {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let any = format!("0.0.0.0:{PORT}").parse().expect("an address");
        io.listen(any, AcceptTo::Here, Token::new(4, 0)).expect("a free port");
        self.connections.start(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        let Some(event) = server::on_event(self, io, event) else { return };
        match event {
            Event::Timer { token } if token.owner() == 2 => {
                let at = usize::try_from(token.value()).expect("an index");
                let (connection, to, bytes) = self.later[at].take().expect("fires once");
                self.reply(io, connection, to, 0, b"");
                self.connections.release(io, connection, bytes);
            }
            Event::Timer { token } if token == self.outgoing.token() => {
                for (_, (connection, to)) in self.outgoing.expired(io) {
                    self.reply(io, connection, to, 207, b"");
                }
            }
            _ => {}
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        server::resume(self, io);
        let mut seen = self.seen.lock().expect("one thread");
        seen.counters = self.connections.counters();
        seen.connections = self.connections.len();
    }
}
