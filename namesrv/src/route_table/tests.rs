//! Each rule of registration, liveness and routes by itself.

use std::time::Duration;

use ringmq_reactor::{ConnectionId, Monotonic};
use ringmq_remoting::body::DataVersion;

use super::*;

const CLUSTER: &str = "DefaultCluster";

/// A table and a clock; every step is followed by a check of the table's relations.
struct Bench {
    table: RouteTable,
    now: Monotonic,
}

impl Bench {
    fn new() -> Self {
        Self::with(RouteSettings::default())
    }

    fn with(settings: RouteSettings) -> Self {
        Self { table: RouteTable::new(settings), now: Monotonic(1) }
    }

    fn after(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now + Duration::from_secs(seconds);
        self
    }

    fn register(&mut self, registration: &Registration) -> Result<Registered, Refused> {
        self.register_on(registration, connection(0))
    }

    fn register_on(
        &mut self,
        registration: &Registration,
        connection: ConnectionId,
    ) -> Result<Registered, Refused> {
        let outcome = self.table.register(registration, Some(connection), self.now);
        self.table.check();
        outcome
    }

    fn accept(&mut self, registration: &Registration) -> Registered {
        self.register(registration).expect("accepted")
    }

    fn unregister(&mut self, broker: &str, address: &str) -> Option<MinIdNotice> {
        let notice = self.table.unregister(CLUSTER, broker, address);
        self.table.check();
        notice
    }

    fn expire(&mut self) -> Vec<String> {
        let (expired, _) = self.table.expire(self.now);
        self.table.check();
        expired.into_iter().map(|expired| expired.address).collect()
    }

    /// `broker: perm read/write` of every queue entry of a topic.
    fn queues(&self, topic: &str) -> Vec<String> {
        let Some(route) = self.table.route(topic) else { return Vec::new() };
        route.queues.iter().map(|q| format!("{}: {} {}/{}", q.broker, q.perm, q.read, q.write)).collect()
    }

    /// `id=address` of every broker in a topic's route.
    fn addresses(&self, topic: &str) -> Vec<String> {
        let groups = self.table.route(topic).map(|route| route.groups).unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| &group.addresses)
            .map(|(id, address)| format!("{id}={address}"))
            .collect()
    }

    fn topics(&self) -> Vec<&str> {
        self.table.topics().collect()
    }
}

fn connection(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 0 }
}

fn version(counter: i64) -> DataVersion {
    DataVersion { counter, ..DataVersion::default() }
}

fn entry(topic: &str, queues: i32) -> TopicEntry {
    TopicEntry { topic: topic.to_owned(), read: queues, write: queues, perm: 6, sys_flag: 0 }
}

/// Broker `id` of name `a` with topics `T` and `U` of 4 queues, version 1.
fn broker(name: &str, id: i64, address: &str) -> Registration {
    Registration {
        cluster: CLUSTER.to_owned(),
        broker: name.to_owned(),
        id,
        address: address.to_owned(),
        ha_address: format!("{address}-ha"),
        timeout: None,
        acting_master: None,
        zone: None,
        data_version: version(1),
        topics: vec![entry("T", 4), entry("U", 4)],
        mappings: BTreeMap::new(),
        filter_servers: Vec::new(),
    }
}

/// As [`broker`], of a 5.x group whose slave may act as master.
fn acting(id: i64, address: &str) -> Registration {
    Registration { acting_master: Some(true), ..broker("a", id, address) }
}

#[test]
fn a_topic_is_on_every_broker_name_that_registered_it() {
    let mut bench = Bench::new();
    bench.accept(&broker("b", 0, "b0"));
    bench.accept(&broker("a", 0, "a0"));
    assert_eq!(bench.queues("T"), ["a: 6 4/4", "b: 6 4/4"]);
    assert_eq!(bench.addresses("T"), ["0=a0", "0=b0"]);
    assert!(bench.table.route("V").is_none());
}

#[test]
fn a_slave_adds_its_address_only() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    let slave = Registration { topics: vec![entry("T", 9), entry("V", 9)], ..broker("a", 1, "a1") };
    bench.accept(&slave);
    assert_eq!(bench.queues("T"), ["a: 6 4/4"]);
    assert_eq!(bench.addresses("T"), ["0=a0", "1=a1"]);
    assert_eq!(bench.topics(), ["T", "U"]);
}

#[test]
fn a_slave_learns_of_its_living_master() {
    let mut bench = Bench::new();
    assert_eq!(bench.accept(&broker("a", 1, "a1")), Registered::default());
    let master = bench.accept(&broker("a", 0, "a0"));
    assert_eq!(master.master_address, None, "a master needs none");
    let slave = bench.accept(&broker("a", 1, "a1"));
    assert_eq!(slave.master_address.as_deref(), Some("a0"));
    assert_eq!(slave.ha_address.as_deref(), Some("a0-ha"));
}

#[test]
fn the_same_version_changes_no_topic_and_a_new_one_does() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    let same = Registration { topics: vec![entry("T", 8), entry("U", 8)], ..broker("a", 0, "a0") };
    bench.accept(&same);
    assert_eq!(bench.queues("T"), ["a: 6 4/4"]);
    bench.accept(&Registration { data_version: version(2), ..same });
    assert_eq!(bench.queues("T"), ["a: 6 8/8"]);
}

#[test]
fn the_same_version_brings_back_a_topic_that_was_deleted_here() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.table.delete_topic("T", None);
    assert_eq!(bench.topics(), ["U"]);
    bench.accept(&broker("a", 0, "a0"));
    assert_eq!(bench.topics(), ["T", "U"]);
}

#[test]
fn an_increment_adds_one_topic_and_leaves_the_others() {
    let mut bench = Bench::new();
    let increment =
        Registration { topics: vec![entry("V", 2)], data_version: version(2), ..broker("a", 0, "a0") };
    assert_eq!(bench.register(&increment), Err(Refused::IncrementFirst));
    assert_eq!((bench.topics().len(), bench.table.live_count()), (0, 0));
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&increment);
    assert_eq!(bench.topics(), ["T", "U", "V"]);
}

#[test]
fn an_increment_of_an_unknown_slave_is_refused_and_leaves_the_master_alone() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    let increment = Registration { topics: vec![entry("V", 2)], ..broker("a", 1, "a1") };
    assert_eq!(bench.register(&increment), Err(Refused::IncrementFirst));
    assert_eq!(bench.addresses("T"), ["0=a0"]);
}

#[test]
fn topics_that_a_registration_leaves_out_stay_unless_configured() {
    let fewer = Registration {
        topics: vec![entry("T", 4), entry("V", 4)],
        data_version: version(2),
        ..broker("a", 0, "a0")
    };
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&fewer);
    assert_eq!(bench.topics(), ["T", "U", "V"]);

    let mut bench = Bench::with(RouteSettings { delete_topics: true, ..RouteSettings::default() });
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&broker("b", 0, "b0"));
    bench.accept(&fewer);
    assert_eq!(bench.topics(), ["T", "U", "V"]);
    assert_eq!(bench.queues("U"), ["b: 6 4/4"]);
}

#[test]
fn an_address_that_comes_with_another_id_leaves_its_old_one() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 1, "a1"));
    bench.accept(&broker("a", 0, "a1"));
    assert_eq!(bench.addresses("T"), ["0=a1"]);
    assert_eq!(bench.table.live_count(), 1);
}

#[test]
fn an_id_held_with_a_newer_state_is_not_taken_over() {
    let mut bench = Bench::new();
    let elected = DataVersion { state_version: 2, ..version(1) };
    bench.accept(&Registration { data_version: elected, ..broker("a", 0, "new") });
    assert_eq!(bench.register(&broker("a", 0, "old")), Ok(Registered::default()));
    assert_eq!(bench.addresses("T"), ["0=new"]);
    let later = DataVersion { state_version: 3, ..version(1) };
    bench.accept(&Registration { data_version: later, ..broker("a", 0, "old") });
    assert_eq!(bench.addresses("T"), ["0=old"]);
}

#[test]
fn a_broker_is_dropped_after_its_own_timeout() {
    let mut bench = Bench::new();
    let short = Registration { timeout: Some(Duration::from_secs(10)), ..broker("a", 0, "a0") };
    bench.accept(&short);
    bench.accept(&broker("b", 0, "b0"));
    assert!(bench.after(10).expire().is_empty());
    assert_eq!(bench.after(1).expire(), ["a0"]);
    assert_eq!(bench.queues("T"), ["b: 6 4/4"]);
    assert!(bench.after(109).expire().is_empty());
    assert_eq!(bench.after(1).expire(), ["b0"]);
    assert!(bench.topics().is_empty());
}

#[test]
fn a_heartbeat_keeps_a_broker() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.after(100);
    bench.table.heard_from(CLUSTER, "a0", bench.now);
    bench.table.heard_from(CLUSTER, "unknown", bench.now);
    assert!(bench.after(100).expire().is_empty());
    assert_eq!(bench.after(30).expire(), ["a0"]);
}

#[test]
fn a_lost_connection_takes_the_brokers_that_registered_on_it() {
    let mut bench = Bench::new();
    bench.register_on(&broker("a", 0, "a0"), connection(1)).expect("accepted");
    bench.register_on(&broker("b", 0, "b0"), connection(1)).expect("accepted");
    bench.register_on(&broker("c", 0, "c0"), connection(2)).expect("accepted");
    bench.register_on(&broker("b", 0, "b0"), connection(3)).expect("accepted");
    bench.table.connection_closed(connection(1));
    bench.table.check();
    assert_eq!(bench.queues("T"), ["b: 6 4/4", "c: 6 4/4"]);
}

#[test]
fn unregistering_takes_address_name_cluster_and_topics_in_turn() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&broker("a", 1, "a1"));
    bench.unregister("a", "a0");
    assert_eq!(bench.addresses("T"), ["1=a1"]);
    assert_eq!(bench.queues("T"), ["a: 6 4/4"], "writable: it does not declare an acting master");
    bench.unregister("a", "nobody");
    bench.unregister("other", "a1");
    assert_eq!(bench.addresses("T"), ["1=a1"]);
    bench.unregister("a", "a1");
    assert!(bench.topics().is_empty());
    assert_eq!(bench.table.clusters().count(), 0);
}

#[test]
fn a_name_that_moves_to_another_cluster_leaves_the_first() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&Registration { cluster: "Other".to_owned(), ..broker("a", 0, "a0") });
    assert_eq!(bench.table.clusters().map(|(cluster, _)| cluster).collect::<Vec<_>>(), ["Other"]);
    assert_eq!(bench.addresses("T"), ["0=a0"]);
}

#[test]
fn an_address_that_comes_under_another_name_leaves_the_first() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&broker("b", 0, "a0"));
    assert_eq!(bench.queues("T"), ["b: 6 4/4"]);
}

#[test]
fn write_permission_is_wiped_and_added_by_broker_name() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&broker("b", 0, "b0"));
    assert_eq!(bench.table.wipe_write("a"), 2);
    assert_eq!(bench.queues("T"), ["a: 4 4/4", "b: 6 4/4"]);
    bench.accept(&broker("a", 0, "a0"));
    assert_eq!(bench.queues("T"), ["a: 4 4/4", "b: 6 4/4"], "the same version keeps it");
    assert_eq!(bench.table.add_write("a"), 2);
    assert_eq!(bench.queues("T"), ["a: 6 4/4", "b: 6 4/4"]);
    assert_eq!(bench.table.wipe_write("nobody"), 0);
}

#[test]
fn a_topic_is_deleted_everywhere_or_in_one_cluster() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    bench.accept(&Registration { cluster: "Other".to_owned(), ..broker("b", 0, "b0") });
    bench.table.delete_topic("T", Some("Nowhere"));
    assert_eq!(bench.queues("T"), ["a: 6 4/4", "b: 6 4/4"]);
    bench.table.delete_topic("T", Some("Other"));
    assert_eq!(bench.queues("T"), ["a: 6 4/4"]);
    bench.table.delete_topic("T", Some(CLUSTER));
    bench.table.delete_topic("U", None);
    bench.table.check();
    assert!(bench.topics().is_empty());
}

#[test]
fn a_single_topic_is_registered_only_on_known_brokers() {
    let mut bench = Bench::new();
    bench.accept(&broker("a", 0, "a0"));
    let on = |broker: &str| NewQueues { broker: broker.to_owned(), read: 1, write: 1, perm: 6, sys_flag: 0 };
    assert!(!bench.table.register_topic("V", &[on("a"), on("nobody")]));
    assert_eq!(bench.topics(), ["T", "U"]);
    assert!(bench.table.register_topic("V", &[on("a")]));
    assert_eq!(bench.queues("V"), ["a: 6 1/1"]);
    assert!(!bench.table.register_topic(&"x".repeat(TOPIC_TOO_LONG), &[on("a")]));
    bench.table.check();
}

const TOPIC_TOO_LONG: usize = crate::limits::TOPIC_BYTES_MAX + 1;

#[test]
fn lists_by_cluster_and_by_unit_flag() {
    let mut bench = Bench::new();
    let flagged = |topic: &str, sys_flag| TopicEntry { sys_flag, ..entry(topic, 1) };
    let topics = vec![flagged("none", 0), flagged("unit", 1), flagged("sub", 2), flagged("both", 3)];
    bench.accept(&Registration { topics, ..broker("a", 0, "a0") });
    bench.accept(&Registration { cluster: "Other".to_owned(), ..broker("b", 0, "b0") });
    let table = &bench.table;
    assert_eq!(table.unit_topics().collect::<Vec<_>>(), ["both", "unit"]);
    assert_eq!(table.unit_sub_topics().collect::<Vec<_>>(), ["both", "sub"]);
    assert_eq!(table.unit_sub_ununit_topics().collect::<Vec<_>>(), ["sub"]);
    assert_eq!(table.topics_of_cluster("Other").collect::<Vec<_>>(), ["T", "U"]);
    assert_eq!(table.topics_of_cluster("Nowhere").count(), 0);
    let names = [CLUSTER, "a", "Other", "b"].map(str::to_owned).to_vec();
    assert_eq!(table.system_topics(), (names, Some("a0".to_owned())));
}

#[test]
fn the_smallest_slave_stands_in_for_a_master_where_that_is_allowed() {
    let mut bench = Bench::with(RouteSettings { acting_master: true, ..RouteSettings::default() });
    bench.accept(&acting(0, "a0"));
    bench.accept(&acting(2, "a2"));
    bench.accept(&acting(1, "a1"));
    assert_eq!(bench.addresses("T"), ["0=a0", "1=a1", "2=a2"]);
    bench.unregister("a", "a0");
    assert_eq!(bench.queues("T"), ["a: 4 4/4"], "without master nothing is written");
    assert_eq!(bench.addresses("T"), ["0=a1", "2=a2"]);
    // The prime slave registers its topics without write permission.
    bench.accept(&Registration { data_version: version(2), ..acting(1, "a1") });
    assert_eq!(bench.queues("T"), ["a: 4 4/4"]);
    // The master returns.
    bench.accept(&acting(0, "a0"));
    assert_eq!(bench.queues("T"), ["a: 6 4/4"]);
    assert_eq!(bench.addresses("T"), ["0=a0", "1=a1", "2=a2"]);
}

#[test]
fn no_slave_stands_in_where_that_is_not_configured_or_not_declared() {
    let mut bench = Bench::new();
    bench.accept(&acting(1, "a1"));
    assert_eq!(bench.addresses("T"), ["1=a1"]);
    let mut bench = Bench::with(RouteSettings { acting_master: true, ..RouteSettings::default() });
    bench.accept(&Registration { acting_master: Some(false), ..acting(1, "a1") });
    assert_eq!(bench.addresses("T"), ["1=a1"]);
}

#[test]
fn brokers_are_told_when_the_smallest_id_changes() {
    let mut bench = Bench::with(RouteSettings { notify_min_id: true, ..RouteSettings::default() });
    assert_eq!(bench.register_on(&acting(1, "a1"), connection(1)).expect("accepted").notice, None);
    assert_eq!(bench.register_on(&acting(2, "a2"), connection(2)).expect("accepted").notice, None);
    let came = bench.register_on(&acting(0, "a0"), connection(3)).expect("accepted").notice;
    let came = came.expect("a smaller id came");
    assert_eq!((came.min_id, came.min_address.as_str(), came.offline), (0, "a0", None));
    assert_eq!(came.ha_address.as_deref(), Some("a0-ha"));
    assert_eq!(came.to, [connection(1), connection(2)], "who came is not told");
    assert_eq!(bench.unregister("a", "a2"), None);
    let left = bench.unregister("a", "a0").expect("the smallest id left");
    assert_eq!((left.min_id, left.offline.as_deref()), (1, Some("a0")));
    assert_eq!(left.to, [connection(1)]);
}

#[test]
fn parts_of_a_static_topic_come_and_go_with_their_brokers() {
    let mut bench = Bench::new();
    let part = |name: &str, version| Registration {
        mappings: BTreeMap::from([
            ("T".to_owned(), Opaque::empty()),
            ("unknown".to_owned(), Opaque::empty()),
        ]),
        data_version: version,
        ..broker(name, 0, name)
    };
    let brokers = |bench: &Bench| -> Vec<String> {
        let mappings = bench.table.route("T").and_then(|route| route.mappings);
        mappings.into_iter().flatten().map(|(broker, _)| broker.clone()).collect()
    };
    bench.accept(&part("a", version(1)));
    bench.accept(&part("b", version(1)));
    assert_eq!(brokers(&bench), ["a", "b"]);
    bench.unregister("a", "a");
    assert_eq!(brokers(&bench), ["b"]);
    bench.table.delete_topic("T", None);
    bench.table.check();
    bench.accept(&broker("b", 0, "b"));
    assert!(brokers(&bench).is_empty());
}

#[test]
fn versions_are_compared_in_all_their_parts() {
    let mut bench = Bench::new();
    let known = DataVersion { counter: 3, state_version: 1, timestamp: 5 };
    bench.accept(&Registration { data_version: known, ..broker("a", 0, "a0") });
    let changed = |version| bench.table.is_changed(CLUSTER, "a0", &version);
    assert!(!changed(known));
    assert!(changed(DataVersion { counter: 4, ..known }));
    assert!(changed(DataVersion { state_version: 2, ..known }));
    assert!(changed(DataVersion { timestamp: 6, ..known }));
    assert!(bench.table.is_changed(CLUSTER, "unknown", &known));
    assert_eq!(bench.table.data_version(CLUSTER, "a0"), Some(&known));
}

#[test]
fn names_and_numbers_beyond_the_limits_are_refused() {
    let mut bench = Bench::new();
    let long = "x".repeat(crate::limits::NAME_BYTES_MAX + 1);
    let refused = bench.register(&broker(&long, 0, "a0"));
    assert_eq!(refused, Err(Refused::Name("brokerName")));
    let refused = bench.register(&broker("a", 0, ""));
    assert_eq!(refused, Err(Refused::Name("brokerAddr")));
    let topics = vec![entry("T", 1), entry(&"x".repeat(TOPIC_TOO_LONG), 1)];
    let refused = bench.register(&Registration { topics, ..broker("a", 0, "a0") });
    assert_eq!(refused, Err(Refused::Topic));
    for id in 0..crate::limits::ADDRESSES_PER_NAME_MAX as i64 {
        bench.accept(&broker("a", id, &format!("a{id}")));
    }
    let refused = bench.register(&broker("a", 1000, "one more"));
    assert_eq!(refused, Err(Refused::Addresses));
    bench.accept(&broker("a", 1, "a1"));
}
