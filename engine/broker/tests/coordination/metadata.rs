//! What is persisted: topics, groups, offsets.

use ringmq_reactor::sim::FaultKind;
use ringmq_remoting::body::{ConsumerOffsetTable, SubscriptionGroupConfig};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{SECOND, Setup, heartbeat, update_topic};

const TOPICS: &str = "/store/config/topics.json";

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
        caller.io.sleep(8 * SECOND).await;
    });
    setup.kill_and_restart("");
    let offset = setup.run(|caller| async move { caller.done(query("g", "T", 2)).await.field("offset") });
    assert_eq!(offset.as_deref(), Some("77"), "offsets are written every 5 s");
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

#[test]
fn files_of_an_apache_broker_are_taken_over() {
    let mut setup = Setup::without_broker(3);
    setup.write_file(
        TOPICS,
        "{\n\t\"dataVersion\":{\n\t\t\"counter\":7,\n\t\t\"stateVersion\":0,\n\t\t\"timestamp\":1700000000000\n\t},\n\
         \t\"topicConfigTable\":{\n\t\t\"Orders\":{\n\t\t\t\"attributes\":{},\n\t\t\t\"order\":true,\n\t\t\t\"perm\":6,\n\
         \t\t\t\"readQueueNums\":3,\n\t\t\t\"topicFilterType\":\"SINGLE_TAG\",\n\t\t\t\"topicName\":\"Orders\",\n\
         \t\t\t\"topicSysFlag\":0,\n\t\t\t\"writeQueueNums\":3\n\t\t}\n\t}\n}",
    );
    setup.write_file("/store/config/consumerOffset.json", "{\"offsetTable\":{\"Orders@g\":{0:10,2:7}}}");
    setup.write_file(
        "/store/config/subscriptionGroup.json",
        "{\"dataVersion\":{\"counter\":1,\"timestamp\":1},\"subscriptionGroupTable\":{\"g\":{\"groupName\":\"g\",\"retryMaxTimes\":5}}}",
    );
    setup.start("");
    setup.await_serving();
    setup.run(|caller| async move {
        let topic = caller.topic("Orders").await.expect("taken over");
        assert!(topic.order && topic.read_queue_nums == 3);
        assert!(caller.topic("TBW102").await.is_some(), "built-in topics are added");
        assert_eq!(caller.done(query("g", "Orders", 2)).await.field("offset").as_deref(), Some("7"));
        assert_eq!(caller.call(query("g", "Orders", 1)).await.code(), response::QUERY_NOT_FOUND);
    });
}

#[test]
fn a_damaged_file_is_replaced_by_its_backup_and_never_by_nothing() {
    let mut setup = Setup::new(4);
    setup.run(|caller| async move {
        caller.done(update_topic("A", 4)).await;
        caller.done(update_topic("B", 4)).await;
    });
    setup.world.kill(setup.broker);
    assert!(setup.world.flip_bits(setup.broker_host, TOPICS, 0, 0xFF));
    setup.start("");
    setup.await_serving();
    setup.run(|caller| async move {
        assert!(caller.topic("A").await.is_some(), "the backup has all but the last change");
    });
    setup.world.kill(setup.broker);
    for path in [TOPICS, "/store/config/topics.json.bak"] {
        assert!(setup.world.flip_bits(setup.broker_host, path, 0, 0xFF));
    }
    setup.start("");
    let cause = setup.await_failure();
    assert!(cause.contains("topics.json is damaged"), "{cause}");
}

#[test]
fn a_change_that_cannot_be_written_is_refused_and_not_used_before_it_can() {
    let mut setup = Setup::new(5);
    setup.world.fail_next(setup.broker_host, FaultKind::Sync, "topics.json", 3);
    setup.run(|caller| async move {
        let (code, remark) = caller.refused(update_topic("T", 4)).await;
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains("topics.json"), "{remark}");
        assert!(caller.route("T").await.is_none(), "name servers do not know it either");
        caller.io.sleep(10 * SECOND).await;
        assert!(caller.route("T").await.is_some(), "it was retried");
    });
    setup.kill_and_restart("");
    setup.run(|caller| async move { assert!(caller.topic("T").await.is_some()) });
}

#[test]
fn a_store_is_for_one_broker_and_one_number_of_shards() {
    let mut setup = Setup::new(6);
    setup.start("listenPort=20911");
    let cause = setup.await_failure();
    assert!(cause.contains("in use by another broker"), "{cause}");
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
