//! What is persisted: topics, groups, offsets.

use ringmq_reactor::sim::FaultKind;
use ringmq_remoting::body::{ConsumerOffsetTable, SubscriptionGroupConfig, TopicConfigWrapper};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{SECOND, Setup, heartbeat, update_topic};

const MILLISECOND: std::time::Duration = std::time::Duration::from_millis(1);
const TOPICS: &str = "/store/config/topics.json";
const OFFSETS: &str = "/store/config/consumerOffset.json";

fn commit(group: &str, topic: &str, queue: i64, offset: i64) -> Request {
    Request::new(request::UPDATE_CONSUMER_OFFSET)
        .str("consumerGroup", group)
        .str("topic", topic)
        .int("queueId", queue)
        .int("commitOffset", offset)
}

fn query(group: &str, topic: &str, queue: i64) -> Request {
    Request::new(request::QUERY_CONSUMER_OFFSET)
        .str("consumerGroup", group)
        .str("topic", topic)
        .int("queueId", queue)
        .bool("setZeroIfNotFound", false)
}

#[test]
fn what_was_acknowledged_survives_a_killed_broker() {
    let mut setup = Setup::new(1);
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        let group = SubscriptionGroupConfig {
            group_name: "g".to_owned(),
            retry_max_times: 3,
            ..SubscriptionGroupConfig::default()
        };
        caller.done(Request::new(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(group.to_json())).await;
    });
    // At once: no timer has had the time to write anything.
    setup.kill_and_restart("");
    setup.run(|caller| async move {
        assert_eq!(caller.topic("T").await.expect("T is back").read_queue_nums, 4);
        let response =
            caller.done(Request::new(request::GET_SUBSCRIPTIONGROUP_CONFIG).str("group", "g")).await;
        assert_eq!(SubscriptionGroupConfig::from_json(&response.body()).expect("a group").retry_max_times, 3);
        caller.done(commit("g", "T", 2, 77)).await;
        caller.io.sleep(5_100 * MILLISECOND).await;
    });
    setup.kill_and_restart("");
    let offset = setup.run(|caller| async move { caller.done(query("g", "T", 2)).await.field("offset") });
    assert_eq!(offset.as_deref(), Some("77"), "offsets are durable after 5 s");
}

#[test]
fn a_stop_writes_the_last_offsets() {
    let mut setup = Setup::new(2);
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
        caller.done(commit("g", "T", 1, 5)).await;
    });
    setup.stop();
    let text =
        setup.world.read_file(setup.broker_host, "/store/config/consumerOffset.json").expect("written");
    let table = ConsumerOffsetTable::from_json(&text).expect("readable");
    assert_eq!(table.offset_table["T@g"][&1], 5);
    setup.start("");
    setup.await_serving();
}

/// See `apache-5.5.0/README.md`.
const APACHE: [(&str, &str); 5] = [
    (TOPICS, include_str!("apache-5.5.0/topics.json")),
    ("/store/config/subscriptionGroup.json", include_str!("apache-5.5.0/subscriptionGroup.json")),
    (OFFSETS, include_str!("apache-5.5.0/consumerOffset.json")),
    ("/store/config/delayOffset.json", include_str!("apache-5.5.0/delayOffset.json")),
    ("/store/config/consumerOrderInfo.json", include_str!("apache-5.5.0/consumerOrderInfo.json")),
];

#[test]
fn files_of_an_apache_broker_are_taken_over() {
    let mut setup = Setup::without_broker(3);
    for (path, text) in APACHE {
        setup.write_file(path, text);
    }
    setup.start("");
    setup.await_serving();
    let topics = setup.run(|caller| async move {
        let orders = caller.topic("orders").await.expect("taken over");
        assert!(orders.order && orders.read_queue_nums == 4);
        assert_eq!(orders.attributes.get("message.type").map(String::as_str), Some("FIFO"));
        assert_eq!(caller.topic("plain").await.map(|topic| topic.write_queue_nums), Some(8));
        assert!(caller.topic("TOOLS_CONSUMER").await.is_none() && caller.topic("TBW102").await.is_some());
        let response =
            caller.done(Request::new(request::GET_SUBSCRIPTIONGROUP_CONFIG).str("group", "billing")).await;
        let billing = SubscriptionGroupConfig::from_json(&response.body()).expect("a group");
        assert_eq!((billing.retry_max_times, billing.retry_queue_nums), (5, 2));
        assert!(!billing.consume_broadcast_enable);
        let group = "drain_1795277848532";
        assert_eq!(caller.done(query(group, "plain", 1)).await.field("offset").as_deref(), Some("128"));
        assert_eq!(caller.call(query(group, "plain", 8)).await.code(), response::QUERY_NOT_FOUND);
        // What `mqadmin exportMetadata` and slaves ask for.
        for code in [
            request::GET_ALL_TOPIC_CONFIG,
            request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
            request::GET_ALL_CONSUMER_OFFSET,
            request::GET_ALL_DELAY_OFFSET,
        ] {
            caller.done(Request::new(code)).await;
        }
        let response = caller.done(Request::new(request::GET_ALL_TOPIC_CONFIG)).await;
        TopicConfigWrapper::from_json(&response.body()).expect("topics")
    });
    let original = TopicConfigWrapper::from_json(APACHE[0].1.as_bytes()).expect("topics");
    assert!(topics.data_version.counter >= original.data_version.counter);
    for (name, topic) in &original.topic_config_table {
        assert_eq!(topics.topic_config_table.get(name), Some(topic), "{name}");
    }
    let kept = setup.world.read_file(setup.broker_host, format!("{TOPICS}.taken-over"));
    assert_eq!(kept.as_deref(), Some(APACHE[0].1.as_bytes()), "the original stays beside");
    setup.stop();
    // What an Apache broker started here again would read.
    let exported = setup.world.read_file(setup.broker_host, TOPICS).expect("exported");
    assert_eq!(TopicConfigWrapper::from_json(&exported).expect("topics"), topics);
    let exported = setup.world.read_file(setup.broker_host, OFFSETS).expect("exported");
    let offsets = ConsumerOffsetTable::from_json(&exported).expect("offsets").offset_table;
    let original = ConsumerOffsetTable::from_json(APACHE[2].1.as_bytes()).expect("offsets").offset_table;
    assert_eq!(offsets, original);
}

#[test]
fn exports_follow_the_metadata_store_and_not_the_other_way_round() {
    let mut setup = Setup::with(10, "exportMetadataInterval=2000");
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        caller.io.sleep(3 * SECOND).await;
    });
    let text = setup.world.read_file(setup.broker_host, TOPICS).expect("exported");
    let text = String::from_utf8(text).expect("text");
    assert!(text.starts_with("{\n\"exportedBy\":\"RingMQ"), "{text}");
    assert!(text.contains("\n\"T\":{"), "one topic to a line: {text}");
    setup.world.kill(setup.broker);
    setup.write_file(TOPICS, "{\"topicConfigTable\":{\"X\":{\"topicName\":\"X\"}}}");
    setup.start("");
    setup.await_serving();
    setup.run(|caller| async move {
        assert!(caller.topic("T").await.is_some());
        assert!(caller.topic("X").await.is_none(), "an export that was changed by hand");
    });
}

#[test]
fn a_store_made_before_there_was_a_metadata_store_goes_on() {
    let mut setup = Setup::without_broker(11);
    setup.write_file("/store/config/topics.json", "{\"topicConfigTable\":{\"T\":{\"topicName\":\"T\"}}}");
    setup.write_file(
        "/store/config/delayOffset.json",
        "{\"dataVersion\":{\"counter\":4},\"offsetTable\":{1:6},\"shardOffsetTable\":{0:{1:0},1:{1:0}}}",
    );
    setup.start("");
    setup.await_serving();
    let text = setup.run(|caller| async move {
        assert!(caller.topic("T").await.is_some());
        let response = caller.done(Request::new(request::GET_ALL_DELAY_OFFSET)).await;
        String::from_utf8(response.body().to_vec()).expect("text")
    });
    assert!(text.contains("\"shardOffsetTable\":{0:{1:0},1:{1:0}}"), "{text}");
}

#[test]
fn a_damaged_file_is_taken_over_from_its_backup_and_never_as_nothing() {
    let topics = "{\"topicConfigTable\":{\"A\":{\"topicName\":\"A\"}}}";
    let mut setup = Setup::without_broker(4);
    setup.write_file(TOPICS, "{\"topicConfigTable\":{\"A\":{\"topicN");
    setup.write_file("/store/config/topics.json.bak", topics);
    setup.start("");
    setup.await_serving();
    setup.run(|caller| async move { assert!(caller.topic("A").await.is_some(), "from the backup") });

    let mut setup = Setup::without_broker(4);
    setup.write_file(TOPICS, "{\"topicConfigTable\":{\"A\":{\"topicN");
    setup.start("");
    let cause = setup.await_failure();
    assert!(cause.contains("topics.json is damaged"), "{cause}");
}

#[test]
fn a_change_that_cannot_be_written_is_refused_and_leaves_no_trace() {
    let mut setup = Setup::new(5);
    setup.world.fail_next(setup.broker_host, FaultKind::Write, "/metadata/", 1);
    setup.run(|caller| async move {
        let (code, remark) = caller.refused(update_topic("T", 4)).await;
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains("/metadata/") && remark.contains("check the disk"), "{remark}");
        caller.io.sleep(10 * SECOND).await;
        assert!(caller.topic("T").await.is_none(), "it is not made later");
        assert!(caller.route("T").await.is_none());
        caller.done(update_topic("U", 4)).await;
        assert!(caller.route("U").await.is_some());
    });
    setup.kill_and_restart("");
    setup.run(|caller| async move {
        assert!(caller.topic("U").await.is_some());
        assert!(caller.topic("T").await.is_none());
    });
}

#[test]
fn on_a_full_disk_changes_are_refused_until_there_is_space() {
    let mut setup = Setup::new(9);
    setup.run(|caller| async move { caller.done(update_topic("A", 4)).await });
    setup.world.set_disk_capacity(setup.broker_host, 0);
    setup.run(|caller| async move {
        for _ in 0..3 {
            // One page may still be there to be filled.
            let names: Vec<String> = (0..60).map(|n| format!("full-{n}")).collect();
            let mut last = None;
            for name in &names {
                last = Some(caller.call(update_topic(name, 4)).await);
            }
            let last = last.expect("asked");
            assert_eq!(last.code(), response::SYSTEM_ERROR);
            assert!(last.remark().contains("no space"), "{}", last.remark());
            assert!(caller.topic("full-59").await.is_none());
            caller.io.sleep(2 * SECOND).await;
        }
        assert!(caller.topic("A").await.is_some(), "what there was is unharmed");
    });
    setup.world.set_disk_capacity(setup.broker_host, 1 << 40);
    setup.run(|caller| async move { caller.done(update_topic("B", 4)).await });
    setup.kill_and_restart("");
    setup.run(|caller| async move {
        assert!(caller.topic("A").await.is_some() && caller.topic("B").await.is_some());
        assert!(caller.topic("full-59").await.is_none());
    });
}

#[test]
fn a_store_is_for_one_broker_and_one_number_of_shards() {
    let mut setup = Setup::new(6);
    setup.start("listenPort=20911");
    let cause = setup.await_failure();
    assert!(cause.contains("in use by another broker"), "{cause}");
}

#[test]
fn a_port_in_use_is_waited_for_a_while() {
    let mut setup = Setup::new(23);
    let first = setup.broker;
    setup.start("storePathRootDir=/second");
    setup.world.run_for(2 * SECOND);
    assert!(setup.events.lock().expect("one thread").is_empty());
    setup.world.kill(first);
    setup.await_serving();
    setup.start("storePathRootDir=/third");
    let cause = setup.await_failure();
    assert!(cause.contains("cannot listen on"), "{cause}");
}

#[test]
fn a_store_is_not_opened_with_another_number_of_shards() {
    let mut setup = Setup::new(7);
    setup.stop();
    setup.start("shards=3");
    let cause = setup.await_failure();
    assert!(cause.contains("made with shards=2, not 3"), "{cause}");
}

#[test]
fn a_deleted_topic_leaves_nothing_behind() {
    let mut setup = Setup::new(8);
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
        caller.done(commit("g", "T", 0, 9)).await;
        caller.done(Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "T")).await;
        assert!(caller.topic("T").await.is_none());
        let (code, _) =
            caller.refused(Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "TBW102")).await;
        assert_eq!(code, response::INVALID_PARAMETER);
        caller.done(update_topic("T", 4)).await;
        assert_eq!(caller.call(query("g", "T", 0)).await.code(), response::QUERY_NOT_FOUND);
        let response = caller.done(Request::new(request::GET_ALL_CONSUMER_OFFSET)).await;
        let table = ConsumerOffsetTable::from_json(&response.body()).expect("offsets");
        assert!(!table.offset_table.contains_key("T@g"), "{:?}", table.offset_table);
    });
}
