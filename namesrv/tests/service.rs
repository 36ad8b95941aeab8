//! The name server in the simulated world, talked to over its connections.

#[path = "../../net/transport/tests/support/mod.rs"]
mod support;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::sim::{FaultKind, HostId, ProcessId, ProcessState, World};
use ringmq_reactor::{Monotonic, TaskIo};
use ringmq_remoting::body::{
    ClusterInfo, DataVersion, KvTable, RegisterBrokerBody, RegisteredTopics, TopicConfig, TopicList,
    TopicRouteData,
};
use ringmq_remoting::code::{request, response};
use ringmq_transport::properties_file::Properties;
use ringmq_transport::{Client, ClientOptions, OwnedResponse, Request};
use support::{address, run, world};

const PORT: u16 = 9876;
const KV_FILE: &str = "/data/namesrv/kvConfig.json";
const TIMEOUT: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_secs(60);

/// A world with a name server on its first host and a second host for clients.
struct Setup {
    world: World,
    server: HostId,
    clients: HostId,
    process: ProcessId,
}

impl Setup {
    fn new(seed: u64) -> Self {
        Self::with(seed, "")
    }

    fn with(seed: u64, settings: &str) -> Self {
        let (mut world, hosts) = world(seed, 2);
        let process = world.start(hosts[0], Namesrv::process(config(settings)));
        world.run_for(Duration::from_secs(1));
        Self { world, server: hosts[0], clients: hosts[1], process }
    }

    fn restart(&mut self) {
        self.world.kill(self.process);
        self.process = self.world.start(self.server, Namesrv::process(config("")));
        self.world.run_for(Duration::from_secs(1));
    }

    fn run<T: Send + 'static, Fut: Future<Output = T> + 'static>(
        &mut self,
        script: impl FnOnce(Caller) -> Fut + Send + 'static,
    ) -> T {
        run(&mut self.world, self.clients, 30 * MINUTE, |io| script(Caller::new(io)))
    }
}

fn config(settings: &str) -> NamesrvConfig {
    let mut config = NamesrvConfig::new(Path::new("/data"));
    let unknown = config.read(&Properties::parse(settings).expect("well-formed")).expect("readable");
    assert!(unknown.is_empty(), "{unknown:?}");
    config
}

/// A client of the name server.
#[derive(Clone)]
struct Caller {
    io: TaskIo,
    client: Client,
}

impl Caller {
    fn new(io: TaskIo) -> Self {
        Self { client: Client::new(io.clone(), ClientOptions::default()), io }
    }

    /// On a connection of its own.
    fn another(&self) -> Self {
        Self::new(self.io.clone())
    }

    async fn call(&self, request: Request) -> OwnedResponse {
        self.client.call(address(1, PORT), &request, TIMEOUT).await.expect("an answer")
    }

    async fn done(&self, request: Request) -> OwnedResponse {
        let code = request.code();
        let response = self.call(request).await;
        assert_eq!(response.code(), response::SUCCESS, "request {code}: {}", response.remark());
        response
    }

    async fn route_code(&self, topic: &str) -> i32 {
        self.call(Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic)).await.code()
    }

    async fn route(&self, topic: &str) -> TopicRouteData {
        let response = self.done(Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", topic)).await;
        TopicRouteData::from_json(&response.body()).expect("a route")
    }

    async fn topics(&self) -> Vec<String> {
        let response = self.done(Request::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await;
        TopicList::from_json(&response.body()).expect("a list").topic_list
    }
}

fn topic(name: &str) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: 4,
        write_queue_nums: 4,
        ..TopicConfig::default()
    }
}

/// A registration of 10.0.0.9:`port` as broker `id` of `name`, with topics `T` and `U`.
fn registration(name: &str, id: i64, port: u16) -> Request {
    let table = ["T", "U"].map(|name| (name.to_owned(), topic(name)));
    let data_version = DataVersion { counter: 1, timestamp: 1_700_000_000_000, ..DataVersion::default() };
    let topics =
        RegisteredTopics { data_version, topic_config_table: table.into(), ..RegisteredTopics::default() };
    let body = RegisterBrokerBody { topics, ..RegisterBrokerBody::default() };
    Request::new(request::REGISTER_BROKER)
        .str("clusterName", "DefaultCluster")
        .str("brokerName", name)
        .str("brokerAddr", format!("10.0.0.9:{port}"))
        .str("haServerAddr", format!("10.0.0.9:{}", port + 1))
        .int("brokerId", id)
        .int("heartbeatTimeoutMillis", 10_000)
        .bool("enableActingMaster", false)
        .bool("compressed", false)
        .body(body.to_json())
}

fn heartbeat(port: u16) -> Request {
    Request::new(request::BROKER_HEARTBEAT)
        .str("clusterName", "DefaultCluster")
        .str("brokerName", "broker-a")
        .str("brokerAddr", format!("10.0.0.9:{port}"))
}

#[test]
fn a_registered_broker_is_found_by_route_and_cluster() {
    let mut setup = Setup::new(1);
    setup.run(|caller| async move {
        assert_eq!(caller.route_code("T").await, response::TOPIC_NOT_EXIST);
        caller.done(registration("broker-a", 0, 10911)).await;
        let slave = caller.done(registration("broker-a", 1, 10921)).await;
        assert_eq!(slave.field("masterAddr").as_deref(), Some("10.0.0.9:10911"));
        assert_eq!(slave.field("haServerAddr").as_deref(), Some("10.0.0.9:10912"));
        let route = caller.route("T").await;
        assert_eq!(route.broker_datas.len(), 1);
        let broker = &route.broker_datas[0];
        assert_eq!((broker.broker_name.as_str(), broker.cluster.as_str()), ("broker-a", "DefaultCluster"));
        assert_eq!(broker.broker_addrs[&0], "10.0.0.9:10911");
        assert_eq!(broker.broker_addrs[&1], "10.0.0.9:10921");
        assert_eq!((route.queue_datas[0].read_queue_nums, route.queue_datas[0].perm), (4, 6));
        let response = caller.done(Request::new(request::GET_BROKER_CLUSTER_INFO)).await;
        let info = ClusterInfo::from_json(&response.body()).expect("cluster info");
        assert_eq!(info.cluster_addr_table["DefaultCluster"], ["broker-a"]);
        assert_eq!(caller.topics().await, ["T", "U"]);
    });
}

#[test]
fn a_silent_broker_is_dropped_after_its_own_timeout_and_its_connection_closed() {
    let mut setup = Setup::new(2);
    setup.run(|caller| async move {
        let broker = caller.another();
        broker.done(registration("broker-a", 0, 10911)).await;
        for _ in 0..12 {
            caller.io.sleep(Duration::from_secs(5)).await;
            broker.done(heartbeat(10911)).await;
        }
        assert_eq!(caller.route_code("T").await, response::SUCCESS, "heartbeats keep it alive");
        caller.io.sleep(Duration::from_secs(9)).await;
        assert_eq!(caller.route_code("T").await, response::SUCCESS, "10 seconds have not passed");
        caller.io.sleep(Duration::from_secs(7)).await;
        assert_eq!(
            caller.route_code("T").await,
            response::TOPIC_NOT_EXIST,
            "10 seconds and a scan have passed"
        );
        assert_eq!(broker.client.connection_count(), 0);
    });
}

#[test]
fn a_broker_that_does_not_say_may_be_silent_for_two_minutes() {
    let mut setup = Setup::new(3);
    setup.run(|caller| async move {
        let broker = caller.another();
        // As 4.x brokers do: without a time-out of their own. The connection is kept by another request.
        let body = RegisterBrokerBody::default().to_json();
        let request = Request::new(request::REGISTER_BROKER)
            .str("clusterName", "DefaultCluster")
            .str("brokerName", "broker-a")
            .str("brokerAddr", "10.0.0.9:10911")
            .str("haServerAddr", "10.0.0.9:10912")
            .int("brokerId", 0)
            .body(body);
        broker.done(request).await;
        let is_listed = async || {
            let response = broker.done(Request::new(request::GET_BROKER_CLUSTER_INFO)).await;
            let info = ClusterInfo::from_json(&response.body()).expect("cluster info");
            info.broker_addr_table.contains_key("broker-a")
        };
        for _ in 0..11 {
            caller.io.sleep(Duration::from_secs(10)).await;
            assert!(is_listed().await);
        }
        caller.io.sleep(Duration::from_secs(16)).await;
        let response = caller.done(Request::new(request::GET_BROKER_CLUSTER_INFO)).await;
        assert_eq!(&response.body()[..], br#"{"brokerAddrTable":{},"clusterAddrTable":{}}"#);
    });
}

#[test]
fn a_broker_whose_connection_ends_is_gone_at_once() {
    let mut setup = Setup::new(4);
    setup.run(|caller| async move {
        let broker = caller.another();
        broker.done(registration("broker-a", 0, 10911)).await;
        assert_eq!(caller.route_code("T").await, response::SUCCESS);
        drop(broker);
        caller.io.sleep(Duration::from_millis(100)).await;
        assert_eq!(caller.route_code("T").await, response::TOPIC_NOT_EXIST);
        assert!(caller.topics().await.is_empty());
    });
}

#[test]
fn a_broker_that_registers_again_elsewhere_outlives_its_former_connection() {
    let mut setup = Setup::new(5);
    setup.run(|caller| async move {
        let (former, present) = (caller.another(), caller.another());
        former.done(registration("broker-a", 0, 10911)).await;
        present.done(registration("broker-a", 0, 10911)).await;
        drop(former);
        caller.io.sleep(Duration::from_secs(1)).await;
        assert_eq!(caller.route_code("T").await, response::SUCCESS);
    });
}

#[test]
fn kv_values_survive_a_kill() {
    let mut setup = Setup::new(6);
    setup.run(|caller| async move {
        let put = |key: &str, value: &str| {
            let request = Request::new(request::PUT_KV_CONFIG);
            request.str("namespace", "ORDER_TOPIC_CONFIG").str("key", key).str("value", value)
        };
        caller.done(put("T", "broker-a:4")).await;
        caller.done(put("U", "broker-a:8")).await;
        let delete = Request::new(request::DELETE_KV_CONFIG);
        caller.done(delete.str("namespace", "ORDER_TOPIC_CONFIG").str("key", "U")).await;
    });
    // What was answered is on disk, whatever happens next.
    setup.restart();
    assert_eq!(
        setup.world.read_file(setup.server, KV_FILE).as_deref(),
        Some(&br#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4"}}}"#[..])
    );
    setup.run(|caller| async move {
        let get = |key: &str| {
            let request = Request::new(request::GET_KV_CONFIG);
            request.str("namespace", "ORDER_TOPIC_CONFIG").str("key", key)
        };
        assert_eq!(caller.done(get("T")).await.field("value").as_deref(), Some("broker-a:4"));
        let absent = caller.call(get("U")).await;
        assert_eq!(absent.code(), response::QUERY_NOT_FOUND);
        assert_eq!(absent.remark(), "No config item, Namespace: ORDER_TOPIC_CONFIG Key: U");
        let list = Request::new(request::GET_KVLIST_BY_NAMESPACE).str("namespace", "ORDER_TOPIC_CONFIG");
        let table = KvTable::from_json(&caller.done(list).await.body()).expect("a table").table;
        assert_eq!(table.into_iter().collect::<Vec<_>>(), [("T".to_owned(), "broker-a:4".to_owned())]);
        // A broker is given the order configuration with its registration.
        let registered = caller.done(registration("broker-a", 0, 10911)).await;
        assert_eq!(&registered.body()[..], br#"{"table":{"T":"broker-a:4"}}"#);
    });
}

#[test]
fn many_kv_changes_at_once_are_all_answered_and_all_stored() {
    let mut setup = Setup::new(7);
    let started = setup.world.now();
    let ended = setup.run(|caller| async move {
        let outcomes = std::rc::Rc::new(std::cell::Cell::new(0));
        for n in 0..500 {
            let (task, outcomes) = (caller.clone(), std::rc::Rc::clone(&outcomes));
            caller.io.spawn(async move {
                let request = Request::new(request::PUT_KV_CONFIG);
                task.done(request.str("namespace", "n").str("key", n.to_string()).str("value", "v")).await;
                outcomes.set(outcomes.get() + 1);
            });
        }
        while outcomes.get() < 500 {
            caller.io.sleep(Duration::from_millis(1)).await;
        }
        caller.io.now()
    });
    // They ride together: one replacement each would take a second and more.
    assert!(ended.since(Monotonic(started.0)) < Duration::from_millis(500));
    let file = setup.world.read_file(setup.server, KV_FILE).expect("the file");
    assert_eq!(String::from_utf8_lossy(&file).matches(r#":"v""#).count(), 500);
}

#[test]
fn a_kv_change_that_cannot_be_stored_is_refused_with_the_reason() {
    let mut setup = Setup::new(8);
    setup.world.fail_next(setup.server, FaultKind::Write, "kvConfig", 1);
    setup.run(|caller| async move {
        let put =
            Request::new(request::PUT_KV_CONFIG).str("namespace", "n").str("key", "k").str("value", "v");
        let refused = caller.call(put.clone()).await;
        assert_eq!(refused.code(), response::SYSTEM_ERROR);
        assert!(refused.remark().starts_with("changed, but not stored: "), "{}", refused.remark());
        caller.done(put).await;
    });
}

#[test]
fn a_kv_file_that_is_damaged_stops_the_start_and_is_left_alone() {
    let mut setup = Setup::new(9);
    setup.run(|caller| async move {
        let put =
            Request::new(request::PUT_KV_CONFIG).str("namespace", "n").str("key", "k").str("value", "v");
        caller.done(put).await;
    });
    setup.world.kill(setup.process);
    assert!(setup.world.flip_bits(setup.server, KV_FILE, 0, 0x01));
    let damaged = setup.world.read_file(setup.server, KV_FILE);
    let process = setup.world.start(setup.server, Namesrv::process(config("")));
    setup.world.run_for(Duration::from_secs(1));
    assert_eq!(setup.world.state(process), ProcessState::Exited);
    assert_eq!(setup.world.read_file(setup.server, KV_FILE), damaged);
}

#[test]
fn wiped_write_permission_stays_until_the_broker_changes() {
    let mut setup = Setup::new(10);
    setup.run(|caller| async move {
        caller.done(registration("broker-a", 0, 10911)).await;
        let wiped =
            caller.done(Request::new(request::WIPE_WRITE_PERM_OF_BROKER).str("brokerName", "broker-a")).await;
        assert_eq!(wiped.field("wipeTopicCount").as_deref(), Some("2"));
        assert_eq!(caller.route("T").await.queue_datas[0].perm, 4);
        caller.done(registration("broker-a", 0, 10911)).await;
        assert_eq!(caller.route("T").await.queue_datas[0].perm, 4, "the same version changes nothing");
        let added =
            caller.done(Request::new(request::ADD_WRITE_PERM_OF_BROKER).str("brokerName", "broker-a")).await;
        assert_eq!(added.field("addTopicCount").as_deref(), Some("2"));
        assert_eq!(caller.route("T").await.queue_datas[0].perm, 6);
    });
}

#[test]
fn unknown_requests_and_missing_fields_are_refused_as_rocketmq_does() {
    let mut setup = Setup::new(11);
    setup.run(|caller| async move {
        let unknown = caller.call(Request::new(777)).await;
        assert_eq!(unknown.code(), response::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!(unknown.remark(), " request type 777 not supported");
        let missing = caller.call(Request::new(request::WIPE_WRITE_PERM_OF_BROKER)).await;
        assert_eq!(missing.code(), response::SYSTEM_ERROR);
        assert_eq!(missing.remark(), "the custom field <brokerName> is null");
        let missing = caller.call(Request::new(request::GET_ROUTEINFO_BY_TOPIC)).await;
        assert_eq!(missing.code(), response::TOPIC_NOT_EXIST);
        let bad = registration("broker-a", 0, 10911).int("bodyCrc32", 12345);
        let refused = caller.call(bad).await;
        assert_eq!((refused.code(), refused.remark().as_str()), (response::SYSTEM_ERROR, "crc32 not match"));
    });
}

#[test]
fn routes_have_quoted_keys_for_new_clients_and_on_request() {
    let mut setup = Setup::new(12);
    setup.run(|caller| async move {
        caller.done(registration("broker-a", 0, 10911)).await;
        // Our own client's version is above V4_9_4.
        let standard = caller.done(Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", "T")).await;
        let text = String::from_utf8(standard.body().to_vec()).expect("text");
        assert!(text.contains(r#""brokerAddrs":{"0":"10.0.0.9:10911"}"#), "{text}");
    });
}

#[test]
fn the_configuration_is_shown_updated_and_written_back() {
    let mut setup = Setup::with(13, "orderMessageEnable=true");
    setup.run(|caller| async move {
        let shown = caller.done(Request::new(request::GET_NAMESRV_CONFIG)).await;
        let text = String::from_utf8(shown.body().to_vec()).expect("text");
        assert!(text.contains("\norderMessageEnable=true\n"), "{text}");
        let update = Request::new(request::UPDATE_NAMESRV_CONFIG);
        caller.done(update.clone().body("enableAllTopicList=false\n")).await;
        let disabled = caller.call(Request::new(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await;
        assert_eq!((disabled.code(), disabled.remark().as_str()), (response::SYSTEM_ERROR, "disable"));
        let refused = caller.call(update.body("kvConfigPath=/elsewhere\n")).await;
        assert_eq!(refused.code(), response::NO_PERMISSION);
        assert_eq!(refused.remark(), "Can not update config in black list.");
    });
    assert_eq!(
        setup.world.read_file(setup.server, "/data/namesrv/namesrv.properties").as_deref(),
        Some(&b"orderMessageEnable=true\nenableAllTopicList=false\n"[..])
    );
}

#[test]
fn it_stops_cleanly() {
    let mut setup = Setup::new(14);
    setup.world.stop(setup.process);
    setup.world.run_for(Duration::from_secs(1));
    assert_eq!(setup.world.state(setup.process), ProcessState::Exited);
}

#[test]
fn equal_seeds_give_equal_runs() {
    let trace = |seed| {
        let mut setup = Setup::new(seed);
        setup.run(|caller| async move {
            caller.done(registration("broker-a", 0, 10911)).await;
            caller.route("T").await;
        });
        setup.world.trace_hash()
    };
    assert_eq!(trace(21), trace(21));
    assert_ne!(trace(21), trace(22));
}
