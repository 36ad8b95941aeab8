//! Registration with the name servers: every one of them, at start, every `registerNameServerPeriod`, and at each change of
//! the topic table; good-bye at stop.
//!
//! One task per name server, so that one that is down delays nobody. A failure is logged once, then retried; clients that
//! know the broker are not affected.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringmq_reactor::TaskIo;
use ringmq_reactor::task::Notify;
use ringmq_remoting::body::{RegisterBrokerBody, RegisteredTopics, TopicRouteData};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{CallError, Client, ClientOptions, Request};
use tracing::{info, warn};

use super::core::Core;

/// Bounds of `registerNameServerPeriod`, ms, as in the reference.
const PERIOD_MS: std::ops::RangeInclusive<u64> = 10_000..=60_000;
/// After a failure the next attempt follows this much later.
const RETRY_AFTER: Duration = Duration::from_secs(3);
/// A name server may take this long to hear that the broker leaves.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(3);
/// A name server may take this long to say where a topic lies: clients wait 3 s for the broker's answer.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(1);
/// A request that changes a topic waits this long for the name servers to know before it is answered.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why one name server does not know the broker.
#[derive(Debug, thiserror::Error)]
enum RegisterError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("answered {code}: {remark}")]
    Refused { code: i32, remark: String },
}

/// One name server.
#[derive(Debug)]
struct NameServer {
    address: SocketAddr,
    /// Last round that reached it.
    round: Cell<u64>,
    is_failing: Cell<bool>,
    wake: Notify,
}

/// All name servers.
#[derive(Debug)]
pub struct Registration {
    client: Client,
    servers: RefCell<Vec<Rc<NameServer>>>,
    /// Counts changes that name servers must hear of.
    round: Cell<u64>,
    /// Some server finished an attempt.
    progress: Notify,
}

impl Registration {
    /// Knows no name server yet.
    #[must_use]
    pub fn new(io: TaskIo) -> Self {
        Self {
            client: Client::new(io, ClientOptions::default()),
            servers: RefCell::default(),
            round: Cell::new(0),
            progress: Notify::new(),
        }
    }

    /// Starts registering with these name servers, and no longer with others.
    pub fn set_servers(core: &Rc<Core>, addresses: &[SocketAddr]) {
        let this = &core.registration;
        let old = std::mem::take(&mut *this.servers.borrow_mut());
        for address in addresses {
            if let Some(server) = old.iter().find(|server| server.address == *address) {
                this.servers.borrow_mut().push(Rc::clone(server));
                continue;
            }
            let server = Rc::new(NameServer {
                address: *address,
                round: Cell::new(0),
                is_failing: Cell::new(false),
                wake: Notify::new(),
            });
            this.servers.borrow_mut().push(Rc::clone(&server));
            core.io.spawn(keep_registered(Rc::clone(core), server));
        }
        // Tasks of servers that are gone find themselves missing and end.
        old.iter().for_each(|server| server.wake.notify_one());
    }

    /// Name servers must hear of a change.
    pub fn changed(&self) {
        self.round.set(self.round.get() + 1);
        self.servers.borrow().iter().for_each(|server| server.wake.notify_one());
    }

    /// Waits until every name server that answers has heard of all changes so far, at most [`SETTLE_TIMEOUT`].
    pub async fn settled(&self, io: &TaskIo) {
        let round = self.round.get();
        let is_settled = || {
            let servers = self.servers.borrow();
            servers.iter().all(|server| server.is_failing.get() || server.round.get() >= round)
        };
        let wait = async {
            while !is_settled() {
                self.progress.notified().await;
            }
        };
        // Too late is no error: the change spreads with the next attempt.
        let _ = io.timeout(SETTLE_TIMEOUT, wait).await;
    }

    /// Where a topic lies, as the first name server says that answers.
    pub async fn route(core: &Rc<Core>, topic: &str) -> Option<TopicRouteData> {
        let servers: Vec<_> = core.registration.servers.borrow().iter().map(Rc::clone).collect();
        let request = Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic);
        for server in servers.iter().filter(|server| !server.is_failing.get()) {
            match core.registration.client.call(server.address, &request, ROUTE_TIMEOUT).await {
                Ok(answer) if answer.code() == response::SUCCESS => {
                    match TopicRouteData::from_json(&answer.body()) {
                        Ok(route) => return Some(route),
                        Err(error) => warn!(name_server = %server.address, %error, "a route cannot be read"),
                    }
                }
                // It does not know the topic; another one may.
                Ok(_) => {}
                Err(error) => warn!(name_server = %server.address, %error, "cannot ask for a route"),
            }
        }
        None
    }

    /// Tells every name server that the broker leaves.
    pub async fn unregister(core: &Rc<Core>) {
        let servers = std::mem::take(&mut *core.registration.servers.borrow_mut());
        let open = Rc::new(Cell::new(servers.len()));
        for server in servers {
            let (core, open) = (Rc::clone(core), Rc::clone(&open));
            core.io.clone().spawn(async move {
                let farewell = identity(&core, Request::new(request::UNREGISTER_BROKER));
                if let Err(error) = call(&core, server.address, &farewell, UNREGISTER_TIMEOUT).await {
                    warn!(name_server = %server.address, %error, "cannot unregister");
                }
                open.set(open.get() - 1);
                core.registration.progress.notify_all();
            });
        }
        while open.get() > 0 {
            core.registration.progress.notified().await;
        }
    }
}

async fn keep_registered(core: Rc<Core>, server: Rc<NameServer>) {
    let this = &core.registration;
    loop {
        let is_listed = this.servers.borrow().iter().any(|listed| Rc::ptr_eq(listed, &server));
        if !is_listed || core.stopping.get() {
            return;
        }
        let round = this.round.get();
        let timeout = Duration::from_millis(core.config().register_broker_timeout_mills.max(1));
        let outcome = call(&core, server.address, &registration(&core), timeout).await;
        match &outcome {
            Ok(()) => {
                if server.is_failing.replace(false) || server.round.get() == 0 {
                    info!(name_server = %server.address, "registered");
                }
                server.round.set(round.max(1));
            }
            Err(error) => {
                if !server.is_failing.replace(true) {
                    warn!(name_server = %server.address, %error, "cannot register; clients find this broker only through other name servers until it works");
                }
            }
        }
        this.progress.notify_all();
        if this.round.get() > round && outcome.is_ok() {
            continue;
        }
        let period = core.config().register_name_server_period.clamp(*PERIOD_MS.start(), *PERIOD_MS.end());
        let pause = if outcome.is_ok() { Duration::from_millis(period) } else { RETRY_AFTER };
        // Woken earlier by a change.
        let _ = core.io.timeout(pause, server.wake.notified()).await;
    }
}

async fn call(
    core: &Core,
    to: SocketAddr,
    request: &Request,
    timeout: Duration,
) -> Result<(), RegisterError> {
    let answer = core.registration.client.call(to, request, timeout).await?;
    if answer.code() == response::SUCCESS {
        return Ok(());
    }
    Err(RegisterError::Refused { code: answer.code(), remark: answer.remark() })
}

fn identity(core: &Core, request: Request) -> Request {
    let config = core.config();
    request
        .str("brokerName", &*config.broker_name)
        .str("brokerAddr", core.address().to_string())
        .str("clusterName", &*config.broker_cluster_name)
        .int("brokerId", i64::try_from(config.broker_id).unwrap_or(0))
}

fn registration(core: &Core) -> Request {
    let config = core.config();
    let wrapper = core.topics.borrow().wrapper_for_registration(config.broker_permission);
    let topics = RegisteredTopics {
        data_version: wrapper.data_version,
        topic_config_table: wrapper.topic_config_table,
        ..RegisteredTopics::default()
    };
    let body = RegisterBrokerBody { filter_server_list: Vec::new(), topics }.to_json();
    // The highest bit is left out, as the reference does to keep the number positive.
    let crc = i64::from(crc32fast::hash(body.as_bytes()) & 0x7FFF_FFFF);
    identity(core, Request::new(request::REGISTER_BROKER))
        .str("haServerAddr", format!("{}:{}", config.broker_ip2, config.ha_listen_port))
        .bool("compressed", false)
        .int("bodyCrc32", crc)
        .body(body)
}
