//! Connections of one side of a load thread: opened, opened again when lost, and cut into frames.
//!
//! Used by the thread that made it. A side gives its connections the indexes 0, 1, …; timers and connects of the two sides
//! differ by the owner byte of their tokens.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use ringmq_reactor::{CloseMode, ConnectionId, Io, Outbox, Token};
use ringmq_remoting::frame::{FRAME_BYTES_MAX, FrameAssembler};
use rustc_hash::FxHashMap;

/// Timer value above all connection indexes and all values of the sides' own timers.
const TIMER_RECONNECT: u64 = 1 << 48;
/// Pause before a lost connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

struct Connection {
    broker: usize,
    id: Option<ConnectionId>,
    /// Out while its frames are handled.
    assembler: FrameAssembler,
}

/// See the module.
pub struct Connections {
    owner: u8,
    brokers: Vec<SocketAddr>,
    all: Vec<Connection>,
    by_id: FxHashMap<ConnectionId, usize>,
}

impl Connections {
    /// Connections to `brokers`, the k-th to the one whose index is the k-th of `broker_of`. `owner` marks their tokens.
    #[must_use]
    pub fn new(owner: u8, brokers: Vec<SocketAddr>, broker_of: impl IntoIterator<Item = usize>) -> Self {
        let all = broker_of
            .into_iter()
            .map(|broker| Connection { broker, id: None, assembler: FrameAssembler::new(FRAME_BYTES_MAX) })
            .collect();
        Self { owner, brokers, all, by_id: FxHashMap::default() }
    }

    /// How many there are, open or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Index of the broker that a connection goes to.
    #[must_use]
    pub fn broker(&self, index: usize) -> usize {
        self.all[index].broker
    }

    /// Opens a connection.
    pub fn open(&self, io: &mut dyn Io, index: usize) {
        io.connect(self.brokers[self.all[index].broker], Token::new(self.owner, index as u64));
    }

    /// Answer to a connect: the index of a connection that is open now; after a failure it is tried again.
    pub fn on_connected(
        &mut self,
        io: &mut dyn Io,
        token: Token,
        result: std::io::Result<ConnectionId>,
    ) -> Option<usize> {
        let index = usize::try_from(token.value()).expect("own token");
        match result {
            Ok(id) => {
                self.all[index].id = Some(id);
                self.all[index].assembler = FrameAssembler::new(FRAME_BYTES_MAX);
                self.by_id.insert(id, index);
                Some(index)
            }
            Err(error) => {
                tracing::warn!(broker = %self.brokers[self.all[index].broker], %error, "cannot connect");
                self.open_later(io, index);
                None
            }
        }
    }

    /// A timer with our owner byte; gives its value if it is one of the side's own.
    pub fn on_timer(&self, io: &mut dyn Io, token: Token) -> Option<u64> {
        let value = token.value();
        if value & TIMER_RECONNECT == 0 {
            return Some(value);
        }
        self.open(io, usize::try_from(value & !TIMER_RECONNECT).expect("own token"));
        None
    }

    /// Index of a connection, if it is one of these.
    #[must_use]
    pub fn index_of(&self, id: ConnectionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Where bytes for the broker go; `None` while the connection is not open.
    pub fn outbox<'io>(&self, io: &'io mut dyn Io, index: usize) -> Option<&'io mut Outbox> {
        self.all[index].id.and_then(|id| io.outbox(id))
    }

    /// The connection is gone; it is opened again.
    pub fn on_closed(&mut self, io: &mut dyn Io, index: usize) {
        if let Some(id) = self.all[index].id.take() {
            self.by_id.remove(&id);
        }
        self.open_later(io, index);
    }

    fn open_later(&self, io: &mut dyn Io, index: usize) {
        io.timer(io.now() + RECONNECT_PAUSE, Token::new(self.owner, TIMER_RECONNECT | index as u64));
    }
}

/// Cuts received bytes into frames and hands each to `on_frame`, which may use all of `side`. Bytes that are no frame end
/// the connection.
pub fn feed<S>(
    side: &mut S,
    io: &mut dyn Io,
    connections: fn(&mut S) -> &mut Connections,
    index: usize,
    bytes: &[u8],
    mut on_frame: impl FnMut(&mut S, &mut dyn Io, &[u8]),
) {
    let place = &mut connections(side).all[index].assembler;
    let mut assembler = std::mem::replace(place, FrameAssembler::new(FRAME_BYTES_MAX));
    let outcome = assembler.feed(bytes, |frame| {
        on_frame(side, io, frame);
        ControlFlow::Continue(())
    });
    let connection = &mut connections(side).all[index];
    connection.assembler = assembler;
    if let Err(error) = outcome {
        tracing::error!(%error, "the broker sent what is not a frame");
        if let Some(id) = connection.id {
            io.close(id, CloseMode::Now);
        }
    }
}
