//! A world with a broker of three data shards.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_broker::config::for_tests::StoreScale;
use ringmq_broker::coordination::BrokerEvent;
use ringmq_broker::{Broker, BrokerConfig, config::HostFacts};
use ringmq_reactor::sim::{HostId, ProcessId, World};

use crate::client::Client;
use crate::support::{run, world};

pub const PORT: u16 = 10911;
const HOUR: Duration = Duration::from_secs(3_600);

/// Hosts: the broker's, and one for clients.
pub struct Setup {
    pub world: World,
    pub server: HostId,
    clients: HostId,
    pub process: ProcessId,
    pub events: Arc<Mutex<Vec<BrokerEvent>>>,
    settings: String,
    scale: StoreScale,
}

impl Setup {
    /// A broker that serves, with ASYNC_FLUSH.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, "")
    }

    /// With lines of a configuration file. `DATA_PLANE_SEED` in the environment gives every test another seed.
    pub fn with(seed: u64, settings: &str) -> Self {
        Self::scaled(seed, settings, StoreScale::Full)
    }

    /// With stores that are as large as `scale` says.
    pub fn scaled(seed: u64, settings: &str, scale: StoreScale) -> Self {
        let other = std::env::var("DATA_PLANE_SEED").map_or(0, |text| text.parse().expect("a number"));
        let seed = seed + 1_000 * other;
        let (mut world, hosts) = world(seed, 2);
        let events = Arc::default();
        let process = start(&mut world, hosts[0], settings, scale, &events);
        let (server, clients) = (hosts[0], hosts[1]);
        let settings = settings.to_owned();
        let mut setup = Self { world, server, clients, process, events, settings, scale };
        setup.await_serving();
        setup
    }

    /// Ends the process where it stands, and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.kill_and_restart_after(|_, _| {});
    }

    /// As [`Setup::kill_and_restart`]; something happens to the broker's host in between.
    pub fn kill_and_restart_after(&mut self, happens: impl FnOnce(&mut World, HostId)) {
        self.world.kill(self.process);
        happens(&mut self.world, self.server);
        self.start_again();
    }

    /// Cuts the power of the broker's host.
    pub fn power_cut_and_restart(&mut self) {
        self.world.power_cut(self.server);
        self.world.power_on(self.server);
        self.start_again();
    }

    /// Stops in order, and starts again.
    pub fn stop_and_restart(&mut self) {
        self.events.lock().expect("one thread").clear();
        self.world.stop(self.process);
        let events = Arc::clone(&self.events);
        let stopped = self
            .world
            .run_until(HOUR, |_| events.lock().expect("one thread").contains(&BrokerEvent::Stopped));
        assert!(stopped, "the broker did not stop: {:?}", self.events);
        self.world.run_for(Duration::from_secs(1));
        self.start_again();
    }

    fn start_again(&mut self) {
        self.events.lock().expect("one thread").clear();
        self.process = start(&mut self.world, self.server, &self.settings, self.scale, &self.events);
        self.await_serving();
    }

    fn await_serving(&mut self) {
        let events = Arc::clone(&self.events);
        let serving = |event: &BrokerEvent| matches!(event, BrokerEvent::Serving { .. });
        let serves = self.world.run_until(HOUR, |_| events.lock().expect("one thread").iter().any(serving));
        assert!(serves, "the broker does not serve: {:?}", self.events);
    }

    /// Runs a client's script.
    pub fn run<T: Send + 'static, Fut: Future<Output = T> + 'static>(
        &mut self,
        script: impl FnOnce(Client) -> Fut + Send + 'static,
    ) -> T {
        run(&mut self.world, self.clients, 24 * HOUR, |io| script(Client::new(io)))
    }
}

fn start(
    world: &mut World,
    host: HostId,
    settings: &str,
    scale: StoreScale,
    events: &Arc<Mutex<Vec<BrokerEvent>>>,
) -> ProcessId {
    let text =
        format!("shards=3\nbrokerName=broker-a\nmappedFileSizeCommitLog=67108864\nnamesrvAddr=\n{settings}");
    let (mut config, _) = BrokerConfig::from_text(&text, &[], &HostFacts::for_tests()).expect("valid");
    config.for_tests.store_scale = scale;
    let events = Arc::clone(events);
    let on_event = Box::new(move |event| events.lock().expect("one thread").push(event));
    world.start(host, Broker::process_with_events(config, on_event))
}
