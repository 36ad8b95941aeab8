use super::*;
use crate::config::HostFacts;

fn config(text: &str) -> BrokerConfig {
    BrokerConfig::from_text(&format!("brokerName=broker-a\n{text}"), &[], &HostFacts::for_tests())
        .expect("valid")
        .0
}

fn table(config: &BrokerConfig) -> TopicTable {
    let mut table = TopicTable::new();
    table.add_built_in(config, 1_000);
    table.take_changes();
    table
}

/// What the journal does when everything goes well; gives what is published.
fn save(table: &mut TopicTable) -> Vec<TopicChange> {
    let changes = table.take_changes();
    apply(table, changes)
}

fn apply(table: &mut TopicTable, changes: Vec<Change>) -> Vec<TopicChange> {
    let mut published = Vec::new();
    for change in changes {
        match change {
            Change::Topic { name, config } => published.push(table.apply(&name, config)),
            Change::Version(_, version) => table.apply_version(version),
            other => panic!("{other:?}"),
        }
    }
    published
}

fn queues_and_perm(table: &TopicTable, name: &str) -> (i32, i32, i32) {
    let topic = table.get(name).unwrap_or_else(|| panic!("{name} is missing"));
    (topic.read_queue_nums, topic.write_queue_nums, topic.perm)
}

#[test]
fn built_in_topics_follow_the_configuration() {
    let table = table(&config(""));
    for (name, expected) in [
        ("TBW102", (8, 8, 7)),
        ("SELF_TEST_TOPIC", (1, 1, 6)),
        ("BenchmarkTest", (1024, 1024, 6)),
        ("DefaultCluster", (16, 16, 7)),
        ("broker-a", (1, 1, 7)),
        ("SCHEDULE_TOPIC_XXXX", (18, 18, 6)),
        ("DefaultCluster_REPLY_TOPIC", (1, 1, 6)),
        ("rmq_sys_REVIVE_LOG_DefaultCluster", (8, 8, 6)),
        ("rmq_sys_SYNC_BROKER_MEMBER_broker-a", (1, 1, 1)),
        ("RMQ_SYS_TRANS_HALF_TOPIC", (1, 1, 6)),
    ] {
        assert_eq!(queues_and_perm(&table, name), expected, "{name}");
    }
    assert!(table.get("RMQ_SYS_TRACE_TOPIC").is_none());
    let table =
        self::table(&config("autoCreateTopicEnable=false\ntraceTopicEnable=true\nclusterTopicEnable=false"));
    assert!(table.get("TBW102").is_none());
    assert_eq!(queues_and_perm(&table, "RMQ_SYS_TRACE_TOPIC"), (1, 1, 6));
    assert_eq!(queues_and_perm(&table, "DefaultCluster"), (16, 16, 1));
}

#[test]
fn a_send_creates_a_topic_after_its_template() {
    let config = config("");
    let mut table = table(&config);
    let before = table.version();
    assert_eq!(table.create_on_send("T", "TBW102", 4, false, &config, 2_000), Ok(true));
    assert!(table.get("T").is_none(), "not before it is durable");
    save(&mut table);
    assert_eq!(queues_and_perm(&table, "T"), (4, 4, 6));
    assert_eq!(table.version().counter, before.counter + 1);
    assert_eq!(table.version().timestamp, 2_000);
    assert_eq!(table.create_on_send("T", "TBW102", 9, false, &config, 3_000), Ok(false), "exists");
    assert_eq!(table.create_on_send("Many", "TBW102", 99, false, &config, 3_000), Ok(true));
    save(&mut table);
    assert_eq!(queues_and_perm(&table, "Many"), (8, 8, 6), "capped by the template");
    assert_eq!(table.create_on_send("Negative", "TBW102", -3, true, &config, 3_000), Ok(true));
    save(&mut table);
    assert_eq!(queues_and_perm(&table, "Negative"), (0, 0, 6));
    assert_eq!(table.get("Negative").map(|topic| topic.topic_sys_flag), Some(1));
    assert_eq!(table.create_on_send("U", "no-such-template", 4, false, &config, 3_000), Ok(false));
    assert_eq!(
        table.create_on_send("U", "SELF_TEST_TOPIC", 4, false, &config, 3_000),
        Ok(false),
        "does not inherit"
    );
    assert!(table.create_on_send("a.b", "TBW102", 4, false, &config, 3_000).is_err());
    assert_eq!(table.create_on_send("%RETRY%g", "none", 4, false, &config, 3_000), Ok(true));
    save(&mut table);
    assert_eq!(queues_and_perm(&table, "%RETRY%g"), (1, 1, 6));
}

#[test]
fn without_automatic_creation_a_stored_template_stops_inviting() {
    let open = config("");
    let closed = config("autoCreateTopicEnable=false");
    let mut table = table(&open);
    table.add_built_in(&closed, 5_000);
    assert_eq!(table.take_changes().len(), 2, "the template and the version");
    assert_eq!(queues_and_perm(&table, "TBW102"), (8, 8, 6));
    assert_eq!(table.create_on_send("T", "TBW102", 4, false, &closed, 6_000), Ok(false));
    assert_eq!(
        table.create_on_send("T", "DefaultCluster", 4, false, &closed, 6_000),
        Ok(true),
        "other templates still inherit"
    );
}

#[test]
fn updates_are_checked_and_unchanged_ones_do_not_move_the_version() {
    let config = config("");
    let mut table = table(&config);
    assert_eq!(table.update(plain("T", 4, 6), &config, 2_000), Ok(true));
    assert_eq!(table.update(plain("T", 4, 6), &config, 2_000), Ok(false), "also before it is durable");
    save(&mut table);
    let version = table.version();
    assert_eq!(table.update(plain("T", 4, 6), &config, 3_000), Ok(false));
    save(&mut table);
    assert_eq!(table.version(), version);
    let mut wanted = plain("T", 4, 6);
    wanted.attributes.insert("+message.type".to_owned(), "FIFO".to_owned());
    assert_eq!(table.update(wanted.clone(), &config, 3_000), Ok(true));
    save(&mut table);
    assert_eq!(
        table.get("T").expect("exists").attributes.get("message.type").map(String::as_str),
        Some("FIFO")
    );
    assert_eq!(
        table.update(plain("T", 4, 4), &config, 3_000),
        Ok(true),
        "permissions change, attributes stay"
    );
    save(&mut table);
    assert_eq!(table.get("T").expect("exists").attributes.len(), 1);
    for (topic, text) in [
        (plain("TBW102", 4, 6), "conflict with system topic"),
        (plain("a b", 4, 6), "illegal characters"),
        (plain("T", -1, 6), "number of queues"),
        (plain("T", 70_000, 6), "number of queues"),
        (plain("T", 4, 16), "perm 16"),
    ] {
        let error = table.update(topic, &config, 4_000).expect_err(text).to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn changes_take_effect_and_are_published_when_they_are_durable() {
    let config = config("");
    let mut table = table(&config);
    table.update(plain("A", 4, 6), &config, 2_000).expect("valid");
    let first = table.take_changes();
    table.update(plain("B", 4, 6), &config, 2_000).expect("valid");
    assert!(table.delete("A", 2_000), "it is about to exist");
    assert!(!table.delete("A", 2_000), "it is about to go");
    let second = table.take_changes();
    let published = apply(&mut table, first);
    assert_eq!(published.len(), 1, "B and the deletion are not durable");
    assert_eq!(
        (&*published[0].name, published[0].topic.as_ref().map(|topic| topic.read_queues)),
        ("A", Some(4))
    );
    assert!(table.get("A").is_some() && table.get("B").is_none());
    let published = apply(&mut table, second);
    let names: Vec<_> = published.iter().map(|change| (&*change.name, change.topic.is_some())).collect();
    assert_eq!(names, [("B", true), ("A", false)]);
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let config = config("");
    let mut table = table(&config);
    let before = table.wrapper();
    table.update(plain("A", 4, 6), &config, 2_000).expect("valid");
    table.delete("BenchmarkTest", 2_000);
    table.forget_staged();
    assert_eq!(table.wrapper(), before);
    assert!(table.take_changes().is_empty());
    assert_eq!(table.update(plain("A", 4, 6), &config, 3_000), Ok(true), "may be asked for again");
    save(&mut table);
    assert_eq!(table.version().counter, before.data_version.counter + 1);
}

#[test]
fn name_servers_see_the_brokers_permissions() {
    let config = config("");
    let mut table = table(&config);
    table.update(plain("T", 4, 6), &config, 2_000).expect("valid");
    save(&mut table);
    assert_eq!(table.wrapper_for_registration(4).topic_config_table["T"].perm, 4);
    assert_eq!(table.wrapper_for_registration(6).topic_config_table["T"].perm, 6);
    assert_eq!(table.wrapper_for_registration(6).topic_config_table["TBW102"].perm, 7);
}
