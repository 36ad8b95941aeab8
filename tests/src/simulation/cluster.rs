//! The cluster: hosts, processes, and how they are started.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ringmq_broker::Broker;
use ringmq_broker::config::for_tests::{ForTests, StoreScale};
use ringmq_broker::config::{BrokerConfig, HostFacts};
use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::sim::{DiskFaults, FaultKind, HostId, ProcessId, ProcessState, SimOptions, World};
use ringmq_reactor::{TaskIo, task};
use ringmq_remoting::body::TopicRouteData;
use ringmq_remoting::code::response;
use ringmq_transport::{Client, ClientOptions};

use super::ledger::Shared;
use super::plan::{Build, FlushMode, Plan, SHARDS, TOPICS};
use super::{consumer, operator, popper, producer, wire};

const NAME_SERVER: &str = "10.0.0.1:9876";
/// Where the broker listens.
pub const BROKER: &str = "10.0.0.2:10911";
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// A broker that is asked to stop has ended by then: it waits for its log and, for some seconds, for its connections.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Room enough for every run.
pub const DISK_BYTES: u64 = 64 << 30;

/// See the module's text.
pub struct Cluster {
    /// Where it all happens.
    pub world: World,
    /// The broker's host.
    pub broker_host: HostId,
    /// Hosts of the clients.
    pub client_hosts: [HostId; 2],
    /// The broker, living or dead.
    pub broker: ProcessId,
    name_server_host: HostId,
    name_server: ProcessId,
    producers: Vec<ProcessId>,
    consumers: Vec<ProcessId>,
    popper: ProcessId,
    plan: Plan,
    shared: Shared,
    /// Faults of the broker's disk are on.
    disk_in_trouble: bool,
    /// The broker was asked to stop.
    stopping: bool,
}

impl Cluster {
    /// All hosts up, all processes started.
    #[must_use]
    pub fn new(plan: &Plan, shared: &Shared, trace_events: usize) -> Self {
        let options = SimOptions {
            clock_skew: Duration::from_millis(50),
            disk_bytes: DISK_BYTES,
            trace_events,
            ..SimOptions::default()
        };
        let mut world = World::new(plan.seed, options);
        let hosts: Vec<HostId> = (1..=4).map(|n| world.add_host([10, 0, 0, n].into())).collect();
        let name_server = world.start(hosts[0], Namesrv::process(NamesrvConfig::new(Path::new("/namesrv"))));
        let broker = world.start(hosts[1], Broker::process(broker_config(plan)));
        shared.ledger().started(true, world.now());
        world.start(hosts[2], topic_maker());
        world.start(hosts[3], operator::process(shared));
        let producers =
            (0..plan.producers).map(|n| world.start(hosts[2], producer::process(n, plan, shared)));
        let producers = producers.collect();
        let consumers =
            (0..plan.consumers).map(|n| world.start(hosts[3], consumer::process(n, plan, shared)));
        let consumers = consumers.collect();
        let popper = world.start(hosts[3], popper::process(shared));
        Self {
            world,
            broker_host: hosts[1],
            client_hosts: [hosts[2], hosts[3]],
            broker,
            name_server_host: hosts[0],
            name_server,
            producers,
            consumers,
            popper,
            plan: plan.clone(),
            shared: shared.clone(),
            disk_in_trouble: false,
            stopping: false,
        }
    }

    /// Whether the broker's process lives.
    #[must_use]
    pub fn broker_runs(&self) -> bool {
        self.world.state(self.broker) == ProcessState::Running
    }

    /// Kills the broker's process.
    pub fn kill_broker(&mut self) {
        if self.broker_runs() {
            self.world.kill(self.broker);
            self.shared.ledger().killed(self.world.now());
        }
    }

    /// Asks the broker to stop.
    pub fn stop_broker(&mut self) {
        self.world.stop(self.broker);
        self.stopping = true;
    }

    /// Lets a broker that was asked to stop do so.
    pub fn finish_stop(&mut self) {
        let broker = self.broker;
        if self.stopping
            && !self.world.run_until(STOP_WITHIN, |world| world.state(broker) != ProcessState::Running)
        {
            let now = self.world.now();
            self.shared
                .ledger()
                .violation(now, format!("the broker still runs {STOP_WITHIN:?} after its disk was well"));
        }
    }

    /// Cuts the power of the broker's host.
    pub fn cut_power(&mut self) {
        self.world.power_cut(self.broker_host);
        self.shared.ledger().power_cut(self.world.now());
    }

    /// Starts the broker if it does not run.
    pub fn start_broker(&mut self) {
        if !self.broker_runs() {
            // Meant for the process that has ended: in the next one the operation may be another, of a file that was made anew.
            self.world.forget_faults(self.broker_host);
            self.broker = self.world.start(self.broker_host, Broker::process(broker_config(&self.plan)));
            let sound = !self.disk_in_trouble;
            self.shared.ledger().started(sound, self.world.now());
            self.stopping = false;
        }
    }

    /// Lets the broker's disk fail.
    pub fn break_disk(&mut self, faults: DiskFaults) {
        if faults.write_error > 0.0 || faults.sync_error > 0.0 {
            self.disk_trouble();
        }
        self.world.set_disk_faults(self.broker_host, faults);
    }

    /// Leaves the broker's disk `bytes` of room.
    pub fn fill_disk(&mut self, bytes: u64) {
        self.disk_trouble();
        self.world.set_disk_capacity(self.broker_host, bytes);
    }

    /// Gives the broker's disk room again.
    pub fn give_room(&mut self) {
        self.world.set_disk_capacity(self.broker_host, DISK_BYTES);
    }

    /// The broker's process gets no turn for so long.
    pub fn stall_broker(&mut self, time: Duration) {
        let now = self.world.now();
        self.shared.ledger().stalled(now, now + time);
        self.world.stall(self.broker, time);
    }

    /// Lets the next operation of a kind fail on the broker's files whose path contains `part`.
    pub fn fail_once(&mut self, kind: FaultKind, part: &str) {
        self.shared.ledger().disk_trouble(self.world.now());
        self.world.fail_next(self.broker_host, kind, part, 1);
    }

    /// Start of the log segment that a shard's newest known message is in.
    #[must_use]
    pub fn segment_in_use(&self, shard: i64) -> Option<i64> {
        let newest = self.shared.ledger().newest_physical(shard)?;
        let starts = self.world.list(self.broker_host, format!("/store/shard-{shard:02}/log")).into_iter();
        starts.filter_map(|entry| entry.name.parse().ok()).filter(|start| *start <= newest).max()
    }

    /// Ends the broker in order; false if it cannot be told that every file was closed so.
    pub fn close_broker(&mut self) -> bool {
        if !self.broker_runs() || self.stopping || !self.shared.ledger().is_well() {
            return false;
        }
        self.stop_broker();
        self.finish_stop();
        self.world.state(self.broker) == ProcessState::Exited
    }

    /// A write or flush of a shard's log has failed.
    pub fn log_failed(&self, shard: i64) {
        self.shared.ledger().log_failed(shard, self.world.now());
    }

    /// See [`super::ledger::Ledger::flipped`].
    pub fn flipped(&self, survived: bool) {
        self.shared.ledger().flipped(survived);
    }

    /// The broker did what it must not do.
    pub fn violation(&self, what: String) {
        self.shared.ledger().violation(self.world.now(), what);
    }

    /// What the broker had not flushed is gone from memory.
    pub fn memory_damaged(&self) {
        self.shared.ledger().memory_damaged(self.world.now());
    }

    fn disk_trouble(&mut self) {
        self.disk_in_trouble = true;
        self.shared.ledger().disk_trouble(self.world.now());
    }

    /// Ends all faults of the broker's disk. A broker whose log is poisoned must be started again.
    pub fn repair_disk(&mut self) {
        self.disk_in_trouble = false;
        self.world.set_disk_faults(self.broker_host, DiskFaults::default());
        self.world.set_disk_capacity(self.broker_host, DISK_BYTES);
        self.world.forget_faults(self.broker_host);
    }

    /// Kills the name server and starts it again.
    pub fn restart_name_server(&mut self) {
        self.world.kill(self.name_server);
        let spec = Namesrv::process(NamesrvConfig::new(Path::new("/namesrv")));
        self.name_server = self.world.start(self.name_server_host, spec);
    }

    /// Kills one of the clients and starts it again.
    pub fn restart_client(&mut self) {
        let count = self.producers.len() + self.consumers.len() + 1;
        let index = self.world.random().index(count);
        if index == count - 1 {
            self.world.kill(self.popper);
            self.popper = self.world.start(self.client_hosts[1], popper::process(&self.shared));
        } else if let Some(producer) = self.producers.get_mut(index) {
            self.world.kill(*producer);
            *producer = self
                .world
                .start(self.client_hosts[0], producer::process(index as u32, &self.plan, &self.shared));
        } else {
            let number = index - self.producers.len();
            self.world.kill(self.consumers[number]);
            let spec = consumer::process(number as u32, &self.plan, &self.shared);
            self.consumers[number] = self.world.start(self.client_hosts[1], spec);
        }
    }

    /// Kills all producers and consumers.
    pub fn kill_clients(&mut self) {
        let consumers = self.consumers.drain(..).chain([self.popper]);
        for client in self.producers.drain(..).chain(consumers) {
            self.world.kill(client);
        }
    }
}

fn broker_config(plan: &Plan) -> BrokerConfig {
    let flush = match plan.flush {
        FlushMode::Sync => "SYNC_FLUSH",
        FlushMode::Async => "ASYNC_FLUSH",
    };
    let text = format!(
        "brokerName=broker-a\nbrokerIP1=10.0.0.2\nnamesrvAddr={NAME_SERVER}\nstorePathRootDir=/store\nshards={SHARDS}\n\
         pinShards=false\nlistenPort=10911\nflushDiskType={flush}\nflushIntervalCommitLog={}\n\
         flushConsumerOffsetInterval={}\nmaxMessageSize=65536\nregisterNameServerPeriod=10000\n\
         cleanFileForciblyEnable=false\ncleanResourceInterval=500\n",
        plan.flush_interval.as_millis(),
        plan.offset_interval.as_millis(),
    );
    let read = BrokerConfig::from_text(&text, &[], &HostFacts::for_tests());
    let (mut config, notices) = read.expect("a valid configuration");
    assert!(notices.is_empty(), "{notices:?}");
    config.for_tests = ForTests {
        store_scale: StoreScale::Small,
        acknowledge_early: plan.build == Build::AcknowledgesEarly,
    };
    config
}

/// Makes the first topic, as `mqadmin updateTopic` would.
fn topic_maker() -> ringmq_reactor::ProcessSpec<()> {
    task::process("topic-maker", |io| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        let broker: SocketAddr = BROKER.parse().expect("an address");
        let (name, queues) = TOPICS[0];
        loop {
            let made = client.call(broker, &wire::create_topic(name, queues), CALL_TIMEOUT).await;
            if made.is_ok_and(|answer| answer.code() == response::SUCCESS) {
                return;
            }
            io.sleep(Duration::from_millis(100)).await;
        }
    })
}

/// The broker's address, as the name server tells it; asks until it does.
pub async fn find_broker(io: &TaskIo, client: &Client) -> SocketAddr {
    let name_server: SocketAddr = NAME_SERVER.parse().expect("an address");
    loop {
        if let Ok(answer) = client.call(name_server, &wire::route(TOPICS[0].0), CALL_TIMEOUT).await
            && answer.code() == response::SUCCESS
            && let Ok(route) = TopicRouteData::from_json(&answer.body())
            && let Some(address) = route.broker_datas.first().and_then(|broker| broker.broker_addrs.get(&0))
            && let Ok(address) = address.parse()
        {
            return address;
        }
        io.sleep(Duration::from_millis(100)).await;
    }
}
