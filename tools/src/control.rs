//! Questions that the tools ask name servers and brokers.

use std::net::SocketAddr;
use std::time::Duration;

use ringmq_reactor::TaskIo;
use ringmq_remoting::body::{ClusterInfo, TopicRouteData};
use ringmq_remoting::code::{request, response};
use ringmq_transport::{CallError, Client, ClientOptions, OwnedResponse, Request};

/// Time-out of an admin call, as Apache's admin client has it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a topic just created is looked for at the name server.
const ROUTE_WAIT: Duration = Duration::from_secs(10);
/// How long a name server without brokers is asked again.
const REGISTRATION_WAIT: Duration = Duration::from_secs(30);
const ROUTE_POLL: Duration = Duration::from_millis(100);

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No answer came.
    #[error("{what} at {address}")]
    Call {
        /// What was asked.
        what: &'static str,
        /// Whom.
        address: SocketAddr,
        /// Why not.
        source: CallError,
    },
    /// The answer is a refusal.
    #[error("{what} at {address}: CODE: {code}  DESC: {remark}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Whom.
        address: SocketAddr,
        /// Response code.
        code: i32,
        /// Its text.
        remark: String,
    },
    /// The answer cannot be understood.
    #[error("{what} at {address}: {problem}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// Whom.
        address: SocketAddr,
        /// What is wrong with it.
        problem: String,
    },
    /// The cluster has no such thing.
    #[error("{0}")]
    Missing(String),
}

/// A cluster as seen through one name server. Lives on one shard's tasks.
pub struct Cluster {
    /// For pauses.
    pub io: TaskIo,
    client: Client,
    namesrv: SocketAddr,
}

impl Cluster {
    /// Connects on demand.
    #[must_use]
    pub fn new(io: TaskIo, namesrv: SocketAddr) -> Self {
        Self { client: Client::new(io.clone(), ClientOptions::default()), io, namesrv }
    }

    /// The name server.
    #[must_use]
    pub fn namesrv(&self) -> SocketAddr {
        self.namesrv
    }

    /// Asks `address`; any answer is handed back, whatever its code.
    ///
    /// # Errors
    /// [`ControlError::Call`].
    pub async fn ask(
        &self,
        what: &'static str,
        address: SocketAddr,
        request: Request,
    ) -> Result<OwnedResponse, ControlError> {
        self.client.call(address, &request, CALL_TIMEOUT).await.map_err(|source| ControlError::Call {
            what,
            address,
            source,
        })
    }

    /// As [`Cluster::ask`], and only success will do.
    ///
    /// # Errors
    /// Also [`ControlError::Refused`].
    pub async fn get(
        &self,
        what: &'static str,
        address: SocketAddr,
        request: Request,
    ) -> Result<OwnedResponse, ControlError> {
        let answer = self.ask(what, address, request).await?;
        if answer.code() == response::SUCCESS { Ok(answer) } else { Err(refused(what, address, &answer)) }
    }

    /// Route of a topic; `None` when there is no such topic.
    ///
    /// # Errors
    /// No answer, or one that is neither a route nor "no such topic".
    pub async fn route(&self, topic: &str) -> Result<Option<TopicRouteData>, ControlError> {
        let what = "topic route";
        let request = Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic);
        let answer = self.ask(what, self.namesrv, request).await?;
        match answer.code() {
            response::SUCCESS => {
                parse(what, self.namesrv, TopicRouteData::from_json(&answer.body())).map(Some)
            }
            response::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(refused(what, self.namesrv, &answer)),
        }
    }

    /// All brokers the name server knows.
    ///
    /// # Errors
    /// No answer, or one that is not a cluster.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, ControlError> {
        let what = "cluster info";
        let answer = self.get(what, self.namesrv, Request::new(request::GET_BROKER_CLUSTER_INFO)).await?;
        parse(what, self.namesrv, ClusterInfo::from_json(&answer.body()))
    }

    /// Addresses of all masters, sorted by broker name.
    ///
    /// # Errors
    /// As [`Cluster::cluster_info`].
    pub async fn masters(&self) -> Result<Vec<SocketAddr>, ControlError> {
        let info = self.cluster_info().await?;
        Ok(info.broker_addr_table.values().filter_map(|b| b.broker_addrs.get(&0)?.parse().ok()).collect())
    }

    /// As [`Cluster::masters`], waiting for the first one: a broker that has just started registers a moment later.
    ///
    /// # Errors
    /// Also [`ControlError::Missing`] when there is none for 30 s.
    pub async fn wait_for_masters(&self) -> Result<Vec<SocketAddr>, ControlError> {
        let deadline = self.io.now() + REGISTRATION_WAIT;
        loop {
            let masters = self.masters().await?;
            if !masters.is_empty() {
                return Ok(masters);
            }
            if self.io.now() >= deadline {
                return Err(ControlError::Missing(format!(
                    "the name server {} knows no broker",
                    self.namesrv
                )));
            }
            self.io.sleep(ROUTE_POLL).await;
        }
    }

    /// Creates the topic on a broker, or changes it.
    ///
    /// # Errors
    /// No answer or a refusal.
    pub async fn create_topic(
        &self,
        broker: SocketAddr,
        topic: &str,
        queues: u32,
    ) -> Result<(), ControlError> {
        let request = Request::new(request::UPDATE_AND_CREATE_TOPIC)
            .str("topic", topic)
            .str("defaultTopic", "TBW102")
            .int("readQueueNums", i64::from(queues))
            .int("writeQueueNums", i64::from(queues))
            .int("perm", 6)
            .str("topicFilterType", "SINGLE_TAG")
            .int("topicSysFlag", 0)
            .bool("order", false);
        self.get("create topic", broker, request).await.map(drop)
    }

    /// Waits until the name server knows the topic on `brokers` brokers.
    ///
    /// # Errors
    /// [`ControlError::Missing`] after 10 s.
    pub async fn wait_for_route(&self, topic: &str, brokers: usize) -> Result<TopicRouteData, ControlError> {
        let deadline = self.io.now() + ROUTE_WAIT;
        loop {
            if let Some(route) = self.route(topic).await?
                && route.queue_datas.len() >= brokers
            {
                return Ok(route);
            }
            if self.io.now() >= deadline {
                return Err(ControlError::Missing(format!("the name server has no route for topic {topic}")));
            }
            self.io.sleep(ROUTE_POLL).await;
        }
    }
}

fn refused(what: &'static str, address: SocketAddr, answer: &OwnedResponse) -> ControlError {
    ControlError::Refused { what, address, code: answer.code(), remark: answer.remark() }
}

/// A parsed body, or an error that says what it was.
pub(crate) fn parse<T, E: std::fmt::Display>(
    what: &'static str,
    address: SocketAddr,
    parsed: Result<T, E>,
) -> Result<T, ControlError> {
    parsed.map_err(|error| ControlError::Malformed { what, address, problem: error.to_string() })
}
