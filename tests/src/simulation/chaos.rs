//! Does the harm that a plan asks for, at random times, and undoes it.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmq_reactor::Monotonic;
use ringmq_reactor::sim::{DiskFaults, FaultKind, ProcessId};

use super::cluster::Cluster;
use super::damage::Damage;
use super::plan::{Plan, SHARDS, SLOWNESS_MAX, STALL_MAX};

/// How long the harness lets pass between two looks at the cluster.
const TICK: Duration = Duration::from_millis(50);

/// What is to be done later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    StartBroker,
    RepairDisk,
    /// The operator sees that a log has failed.
    Reopen,
    /// The operator puts a damaged file back in order.
    Mend,
    GiveRoom,
    Heal,
}

/// See the module's text.
pub struct Chaos {
    weights: [u64; 13],
    every: Duration,
    next: Monotonic,
    later: BTreeMap<(Monotonic, u64), Later>,
    serial: u64,
    disk_is_ill: bool,
    /// The shard of whose log the next flush is to fail, and the process that it is to fail for.
    to_fail: Option<(i64, ProcessId)>,
    damage: Option<Damage>,
}

impl Chaos {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(plan: &Plan, cluster: &mut Cluster) -> Self {
        let mut chaos = Self {
            weights: plan.weights.as_array(),
            every: plan.fault_every,
            next: cluster.world.now(),
            later: BTreeMap::new(),
            serial: 0,
            disk_is_ill: false,
            to_fail: None,
            damage: None,
        };
        chaos.next = cluster.world.now() + chaos.pause(cluster);
        chaos
    }

    /// Goes on until `end`.
    pub fn run_until(&mut self, cluster: &mut Cluster, end: Monotonic) {
        while cluster.world.now() < end {
            cluster.world.run_for(TICK);
            self.look_for_a_failed_log(cluster);
            self.due(cluster);
            if cluster.world.now() >= self.next {
                self.harm(cluster);
                self.next = cluster.world.now() + self.pause(cluster);
            }
        }
    }

    /// Undoes everything; the broker runs, with a sound disk.
    pub fn calm(&mut self, cluster: &mut Cluster) {
        self.disk_is_ill |= self.later.values().any(|later| *later == Later::Reopen);
        self.later.clear();
        cluster.repair_disk();
        self.to_fail = None;
        if let Some(damage) = self.damage.take() {
            damage.mend(cluster);
            self.disk_is_ill = true;
        }
        cluster.world.heal_all();
        if self.disk_is_ill {
            // A poisoned log wants a new start.
            cluster.kill_broker();
        }
        cluster.finish_stop();
        cluster.start_broker();
    }

    fn pause(&self, cluster: &mut Cluster) -> Duration {
        Duration::from_nanos(cluster.world.random().below(2 * self.every.as_nanos() as u64))
    }

    fn after(&mut self, cluster: &mut Cluster, from_ms: u64, to_ms: u64, what: Later) {
        let delay = Duration::from_millis(cluster.world.random().between(from_ms, to_ms));
        self.serial += 1;
        self.later.insert((cluster.world.now() + delay, self.serial), what);
    }

    fn due(&mut self, cluster: &mut Cluster) {
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= cluster.world.now()
        {
            match entry.remove() {
                Later::StartBroker => cluster.start_broker(),
                Later::Heal => cluster.world.heal_all(),
                Later::GiveRoom => cluster.give_room(),
                Later::Reopen => {
                    self.to_fail = None;
                    cluster.world.forget_faults(cluster.broker_host);
                    // What was acknowledged since must be on the disk all the same.
                    if cluster.world.random().one_in(2) {
                        cluster.cut_power();
                    } else {
                        cluster.kill_broker();
                    }
                }
                Later::Mend => {
                    if let Some(damage) = self.damage.take() {
                        damage.mend(cluster);
                        // What was read from it may be in a cache.
                        cluster.kill_broker();
                    }
                }
                Later::RepairDisk => {
                    self.disk_is_ill = false;
                    cluster.repair_disk();
                    cluster.kill_broker();
                }
            }
        }
        if !cluster.broker_runs() && !self.later.values().any(|later| *later == Later::StartBroker) {
            self.after(cluster, 0, 1_500, Later::StartBroker);
        }
    }

    fn harm(&mut self, cluster: &mut Cluster) {
        let total: u64 = self.weights.iter().sum();
        let mut draw = cluster.world.random().below(total);
        let mut kind = 0;
        while draw >= self.weights[kind] {
            draw -= self.weights[kind];
            kind += 1;
        }
        match kind {
            0 => cluster.kill_broker(),
            1 => cluster.cut_power(),
            2 => cluster.stop_broker(),
            3 => {
                let rng = cluster.world.random();
                let mut chance = |rng_one_in: u64| if rng.one_in(2) { 1.0 / rng_one_in as f64 } else { 0.0 };
                let faults = DiskFaults {
                    write_error: chance(200),
                    sync_error: chance(100),
                    read_error: chance(500),
                    ..DiskFaults::default()
                };
                cluster.break_disk(faults);
                self.ill_for(cluster, 2_000);
            }
            4 => self.fail_once(cluster),
            5 => self.flip(cluster),
            6 => {
                let slowness = cluster.world.random().between(2, SLOWNESS_MAX) as f64;
                cluster.break_disk(DiskFaults { slowness, ..DiskFaults::default() });
                self.ill_for(cluster, 3_000);
            }
            7 => {
                // What is there stays; how much more fits is chance. Whatever the broker is at, it goes on by itself when there is
                // room again.
                let bytes = cluster.world.random().below(8 << 20);
                cluster.fill_disk(bytes);
                self.after(cluster, 100, 4_000, Later::GiveRoom);
            }
            8 => {
                let (client, way) = (cluster.world.random().index(2), cluster.world.random().index(3));
                let (client, broker) = (cluster.client_hosts[client], cluster.broker_host);
                match way {
                    0 => cluster.world.cut(client, broker),
                    1 => cluster.world.cut(broker, client),
                    _ => cluster.world.partition(client, broker),
                }
                self.after(cluster, 10, 4_000, Later::Heal);
            }
            9 => {
                let client = cluster.client_hosts[cluster.world.random().index(2)];
                cluster.world.reset_connections(client, cluster.broker_host);
            }
            10 => {
                let most = STALL_MAX.as_millis() as u64;
                let time = Duration::from_millis(cluster.world.random().between(1, most));
                cluster.stall_broker(time);
            }
            11 => cluster.restart_name_server(),
            _ => cluster.restart_client(),
        }
    }

    /// One write or flush of a log fails, and no other: nothing that follows makes up for it. A write may be one that only prepares; a flush
    /// of the segment that messages go to is not.
    fn fail_once(&mut self, cluster: &mut Cluster) {
        if self.later.values().any(|later| *later == Later::Reopen) {
            return;
        }
        let shard = cluster.world.random().below(u64::from(SHARDS));
        let flush = cluster.world.random().one_in(2);
        match cluster.segment_in_use(shard as i64).filter(|_| flush) {
            Some(segment) => {
                cluster.fail_once(FaultKind::Sync, &format!("/shard-{shard:02}/log/{segment:020}"));
                self.to_fail = Some((shard as i64, cluster.broker));
            }
            None => cluster.fail_once(FaultKind::Write, &format!("/shard-{shard:02}/log/")),
        }
        self.after(cluster, 500, 4_000, Later::Reopen);
    }

    fn look_for_a_failed_log(&mut self, cluster: &Cluster) {
        if let Some((shard, broker)) = self.to_fail
            && cluster.world.faults_to_come(cluster.broker_host) == 0
        {
            self.to_fail = None;
            // Otherwise it was forgotten, or it failed for a process that has ended meanwhile.
            if broker == cluster.broker {
                cluster.log_failed(shard);
            }
        }
    }

    /// Ends the broker, turns a bit over, and sees whether the broker starts.
    fn flip(&mut self, cluster: &mut Cluster) {
        let busy = [Later::GiveRoom, Later::RepairDisk, Later::Reopen];
        if self.damage.is_some() || self.later.values().any(|later| busy.contains(later)) {
            return;
        }
        let Some(damage) = Damage::new(cluster) else { return };
        let mended = !damage.is_survived(cluster);
        if mended {
            damage.mend(cluster);
            cluster.start_broker();
        } else {
            self.damage = Some(damage);
            self.after(cluster, 100, 3_000, Later::Mend);
        }
    }

    fn ill_for(&mut self, cluster: &mut Cluster, most_ms: u64) {
        self.disk_is_ill = true;
        self.after(cluster, 100, most_ms, Later::RepairDisk);
    }
}
