//! Hosts: the broker's (10.0.0.1), the name server's (10.0.0.2), and one for clients (10.0.0.3).

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_broker::coordination::BrokerEvent;
use ringmq_broker::{Broker, BrokerConfig, config::HostFacts};
use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::TaskIo;
use ringmq_reactor::sim::{HostId, ProcessId, World};
use ringmq_remoting::body::{
    ConsumerData, HeartbeatData, ProducerData, SubscriptionData, TopicConfig, TopicRouteData,
};
use ringmq_remoting::code::{request, response};
use ringmq_transport::client::Answer;
use ringmq_transport::{Client, ClientOptions, OwnedResponse, Request};

use crate::support::{address, run, world};

pub const BROKER_PORT: u16 = 10911;
pub const NAME_SERVER_PORT: u16 = 9876;
pub const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(24 * 3_600);

pub struct Setup {
    pub world: World,
    pub broker_host: HostId,
    pub name_server_host: HostId,
    pub client_host: HostId,
    pub broker: ProcessId,
    pub name_server: ProcessId,
    pub events: Arc<Mutex<Vec<BrokerEvent>>>,
}

impl Setup {
    /// Everything runs.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, "")
    }

    /// With lines of the broker's configuration file.
    pub fn with(seed: u64, settings: &str) -> Self {
        let mut setup = Self::without_broker(seed);
        setup.start(settings);
        setup.await_serving();
        // The first registration.
        setup.world.run_for(SECOND);
        setup
    }

    /// The name server alone.
    pub fn without_broker(seed: u64) -> Self {
        let (mut world, hosts) = world(seed, 3);
        let name_server = start_name_server(&mut world, hosts[1]);
        Self {
            broker_host: hosts[0],
            name_server_host: hosts[1],
            client_host: hosts[2],
            broker: name_server,
            name_server,
            events: Arc::default(),
            world,
        }
    }

    pub fn start(&mut self, settings: &str) {
        let text = format!(
            "shards=2\nbrokerName=broker-a\nmappedFileSizeCommitLog=67108864\nnamesrvAddr=10.0.0.2:9876\n{settings}"
        );
        let (config, _) = BrokerConfig::from_text(&text, &[], &HostFacts::for_tests()).expect("valid");
        let events = Arc::clone(&self.events);
        events.lock().expect("one thread").clear();
        let on_event = Box::new(move |event| events.lock().expect("one thread").push(event));
        self.broker = self.world.start(self.broker_host, Broker::process_with_events(config, on_event));
    }

    pub fn await_serving(&mut self) {
        let served = self.await_event(|event| matches!(event, BrokerEvent::Serving { .. }));
        assert!(served, "the broker does not serve: {:?}", self.events);
    }

    /// Why a broker that was just started gives up.
    pub fn await_failure(&mut self) -> String {
        let failed = self.await_event(|event| matches!(event, BrokerEvent::StartFailed { .. }));
        let events = self.events.lock().expect("one thread");
        assert!(failed, "the broker does not fail: {events:?}");
        match events.last() {
            Some(BrokerEvent::StartFailed { cause }) => cause.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn await_event(&mut self, wanted: impl Fn(&BrokerEvent) -> bool) -> bool {
        let events = Arc::clone(&self.events);
        self.world.run_until(120 * SECOND, |_| events.lock().expect("one thread").iter().any(&wanted))
    }

    pub fn stop(&mut self) {
        self.world.stop(self.broker);
        let stopped = self.await_event(|event| *event == BrokerEvent::Stopped);
        assert!(stopped, "the broker does not stop: {:?}", self.events);
    }

    pub fn kill_and_restart(&mut self, settings: &str) {
        self.world.kill(self.broker);
        self.start(settings);
        self.await_serving();
    }

    pub fn start_name_server(&mut self) {
        self.name_server = start_name_server(&mut self.world, self.name_server_host);
    }

    pub fn run<T: Send + 'static, Fut: Future<Output = T> + 'static>(
        &mut self,
        script: impl FnOnce(Caller) -> Fut + Send + 'static,
    ) -> T {
        run(&mut self.world, self.client_host, LIMIT, |io| script(Caller::new(io)))
    }

    /// Puts a file on the broker's disk, with its folder.
    pub fn write_file(&mut self, path: &'static str, text: &'static str) {
        run(&mut self.world, self.broker_host, LIMIT, move |io| async move {
            let folder = std::path::Path::new(path).parent().expect("a folder");
            io.make_dir(folder).await.expect("made");
            let written =
                io.replace_file(path, bytes::Bytes::from(text), ringmq_reactor::task::Backup::None).await;
            written.expect("written");
        });
    }
}

fn start_name_server(world: &mut World, host: HostId) -> ProcessId {
    world.start(host, Namesrv::process(NamesrvConfig::new(std::path::Path::new("/ns"))))
}

/// A client on one connection to the broker (and one to the name server).
#[derive(Clone)]
pub struct Caller {
    pub io: TaskIo,
    pub client: Client,
    /// Codes and first fields of what the broker asked this client.
    pub asked: Rc<RefCell<Vec<(i32, String)>>>,
}

impl Caller {
    pub fn new(io: TaskIo) -> Self {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&asked);
        let on_request = Rc::new(move |_, command: &ringmq_remoting::Command<'_>| {
            let group = command.field("consumerGroup").map(std::borrow::Cow::into_owned).unwrap_or_default();
            seen.borrow_mut().push((command.code, group));
            let body = bytes::Bytes::from_static(b"{\"properties\":{}}");
            Some(Answer { code: response::SUCCESS, remark: None, body })
        });
        let options = ClientOptions { on_request: Some(on_request), ..ClientOptions::default() };
        Self { client: Client::new(io.clone(), options), io, asked }
    }

    /// On connections of its own.
    pub fn another(&self) -> Self {
        Self::new(self.io.clone())
    }

    pub async fn call(&self, request: Request) -> OwnedResponse {
        self.client.call(address(1, BROKER_PORT), &request, TIMEOUT).await.expect("an answer")
    }

    pub async fn done(&self, request: Request) -> OwnedResponse {
        let code = request.code();
        let response = self.call(request).await;
        assert_eq!(response.code(), response::SUCCESS, "request {code}: {}", response.remark());
        response
    }

    /// Code and remark of an answer that is no success.
    pub async fn refused(&self, request: Request) -> (i32, String) {
        let response = self.call(request).await;
        assert_ne!(response.code(), response::SUCCESS);
        (response.code(), response.remark())
    }

    pub async fn name_server(&self, request: Request) -> OwnedResponse {
        self.client.call(address(2, NAME_SERVER_PORT), &request, TIMEOUT).await.expect("an answer")
    }

    /// The route of a topic, if the name server has one.
    pub async fn route(&self, topic: &str) -> Option<TopicRouteData> {
        let response =
            self.name_server(Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic)).await;
        (response.code() == response::SUCCESS)
            .then(|| TopicRouteData::from_json(&response.body()).expect("a route"))
    }

    pub async fn topic(&self, name: &str) -> Option<TopicConfig> {
        let response = self.call(Request::new(request::GET_TOPIC_CONFIG).str("topic", name)).await;
        (response.code() == response::SUCCESS)
            .then(|| TopicConfig::from_json(&response.body()).expect("a topic"))
    }

    pub async fn consumers(&self, group: &str) -> Vec<String> {
        let response =
            self.call(Request::new(request::GET_CONSUMER_LIST_BY_GROUP).str("consumerGroup", group)).await;
        if response.code() != response::SUCCESS {
            return Vec::new();
        }
        let list = ringmq_remoting::body::ConsumerList::from_json(&response.body()).expect("a list");
        list.consumer_id_list
    }

    pub async fn heartbeat(&self, data: &HeartbeatData) -> OwnedResponse {
        self.done(Request::new(request::HEART_BEAT).body(data.to_json())).await
    }

    /// Notices of a changed group so far.
    pub fn notices(&self, group: &str) -> usize {
        let asked = self.asked.borrow();
        let wanted = (request::NOTIFY_CONSUMER_IDS_CHANGED, group.to_owned());
        asked.iter().filter(|asked| **asked == wanted).count()
    }
}

pub fn update_topic(name: &str, queues: i64) -> Request {
    Request::new(request::UPDATE_AND_CREATE_TOPIC)
        .str("topic", name)
        .str("defaultTopic", "TBW102")
        .int("readQueueNums", queues)
        .int("writeQueueNums", queues)
        .int("perm", 6)
        .str("topicFilterType", "SINGLE_TAG")
        .int("topicSysFlag", 0)
        .bool("order", false)
}

/// A heartbeat of one consumer and one producer.
pub fn heartbeat(client_id: &str, group: &str, topics: &[&str]) -> HeartbeatData {
    let subscription = |topic: &&str| SubscriptionData::parse(topic, "*", None, 1).expect("valid");
    let consumer = ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: topics.iter().map(subscription).collect(),
        ..ConsumerData::default()
    };
    HeartbeatData {
        client_id: client_id.to_owned(),
        consumer_data_set: vec![consumer],
        producer_data_set: vec![ProducerData { group_name: "producers".to_owned() }],
        ..HeartbeatData::default()
    }
}
