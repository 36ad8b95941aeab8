//! Heartbeats, notices, locks.

use std::collections::BTreeSet;

use ringmq_remoting::body::{
    ConsumerConnection, HeartbeatData, LockBatchRequest, LockBatchResponse, MessageQueue,
};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{SECOND, Setup, heartbeat, update_topic};

#[test]
fn members_of_a_group_see_each_other_and_hear_of_changes() {
    let mut setup = Setup::new(1);
    setup.run(|one| async move {
        one.done(update_topic("T", 4)).await;
        let answer = one.heartbeat(&heartbeat("one", "g", &["T", "%RETRY%g"])).await;
        assert_eq!(answer.field("IS_SUPPORT_HEART_BEAT_V2").as_deref(), Some("true"));
        assert_eq!(answer.field("IS_SUB_CHANGE").as_deref(), Some("true"));
        assert_eq!(one.topic("%RETRY%g").await.expect("made").read_queue_nums, 1);
        assert_eq!(one.consumers("g").await, ["one"]);

        let two = one.another();
        let before = one.notices("g");
        two.heartbeat(&heartbeat("two", "g", &["T"])).await;
        assert_eq!(one.consumers("g").await, ["one", "two"], "consistent with the notice");
        one.io.sleep(SECOND).await;
        assert_eq!(one.notices("g"), before + 1);
        two.heartbeat(&heartbeat("two", "g", &["T"])).await;
        one.io.sleep(SECOND).await;
        assert_eq!(one.notices("g"), before + 1, "the same again is no change");

        let leave = Request::new(request::UNREGISTER_CLIENT).str("clientID", "two").str("consumerGroup", "g");
        two.done(leave).await;
        one.io.sleep(SECOND).await;
        assert_eq!(one.notices("g"), before + 2);
        assert_eq!(one.consumers("g").await, ["one"]);
    });
}

#[test]
fn a_closed_connection_is_a_departure() {
    let mut setup = Setup::new(2);
    setup.run(|one| async move {
        one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        let two = one.another();
        two.heartbeat(&heartbeat("two", "g", &["T"])).await;
        one.io.sleep(SECOND).await;
        let before = one.notices("g");
        two.client.disconnect(crate::support::address(1, crate::setup::BROKER_PORT));
        one.io.sleep(SECOND).await;
        assert_eq!(one.notices("g"), before + 1);
        assert_eq!(one.consumers("g").await, ["one"]);
    });
}

#[test]
fn a_silent_client_is_dropped_after_two_minutes() {
    let mut setup = Setup::new(3);
    setup.run(|one| async move {
        one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        let two = one.another();
        two.heartbeat(&heartbeat("two", "g", &["T"])).await;
        for _ in 0..11 {
            one.io.sleep(10 * SECOND).await;
            one.heartbeat(&heartbeat("one", "g", &["T"])).await;
            // Requests keep the connection open; only heartbeats count.
            assert_eq!(two.consumers("g").await.len(), 2);
        }
        for _ in 0..3 {
            one.io.sleep(10 * SECOND).await;
            one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        }
        assert_eq!(one.consumers("g").await, ["one"]);
        assert_eq!(two.client.connection_count(), 0, "its connection was closed");
    });
}

#[test]
fn broadcasting_groups_are_not_told() {
    let mut setup = Setup::new(4);
    setup.run(|one| async move {
        let join = |client: &str| {
            let mut data = heartbeat(client, "g", &["T"]);
            data.consumer_data_set[0].message_model = "BROADCASTING".to_owned();
            data
        };
        one.heartbeat(&join("one")).await;
        one.another().heartbeat(&join("two")).await;
        one.io.sleep(SECOND).await;
        assert_eq!(one.notices("g"), 0);
    });
}

#[test]
fn deferred_notices_are_collected() {
    let mut setup = Setup::with(5, "realTimeNotifyConsumerChange=false");
    setup.run(|one| async move {
        one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        let (two, three) = (one.another(), one.another());
        one.io.sleep(16 * SECOND).await;
        let before = one.notices("g");
        two.heartbeat(&heartbeat("two", "g", &["T"])).await;
        three.heartbeat(&heartbeat("three", "g", &["T"])).await;
        one.io.sleep(16 * SECOND).await;
        assert_eq!(one.notices("g"), before + 1, "one notice for two changes");
    });
}

#[test]
fn the_light_heartbeat_of_new_clients() {
    let mut setup = Setup::new(6);
    setup.run(|one| async move {
        let mut data = heartbeat("one", "g", &["T"]);
        data.heartbeat_fingerprint = 42;
        let sub_change = async |data: &HeartbeatData| one.heartbeat(data).await.field("IS_SUB_CHANGE");
        assert_eq!(sub_change(&data).await.as_deref(), Some("false"));
        data.without_sub = true;
        data.consumer_data_set[0].subscription_data_set.clear();
        assert_eq!(sub_change(&data).await.as_deref(), Some("false"));
        let connections = Request::new(request::GET_CONSUMER_CONNECTION_LIST).str("consumerGroup", "g");
        let body = one.done(connections).await.body();
        let connection = ConsumerConnection::from_json(&body).expect("a connection");
        assert!(connection.subscription_table.contains_key("T"), "subscriptions stay");
        assert_eq!(connection.connection_set[0].client_id, "one");
        data.heartbeat_fingerprint = 43;
        assert_eq!(sub_change(&data).await.as_deref(), Some("true"), "another fingerprint");

        let mut unknown = heartbeat("one", "never-seen", &[]);
        unknown.heartbeat_fingerprint = 7;
        unknown.without_sub = true;
        assert_eq!(sub_change(&unknown).await.as_deref(), Some("true"), "as after a restart of the broker");
    });
}

#[test]
fn queue_locks_are_exclusive_and_expire() {
    let mut setup = Setup::new(7);
    setup.run(|one| async move {
        let queue =
            |queue_id| MessageQueue { broker_name: "broker-a".to_owned(), queue_id, topic: "T".to_owned() };
        let body = |client: &str, queues: &[i32]| LockBatchRequest {
            client_id: client.to_owned(),
            consumer_group: "g".to_owned(),
            queues: queues.iter().map(|&id| queue(id)).collect(),
            only_this_broker: false,
        };
        let lock = async |client: &str, queues: &[i32]| {
            let request = Request::new(request::LOCK_BATCH_MQ).body(body(client, queues).to_json());
            let locked = LockBatchResponse::from_json(&one.done(request).await.body()).expect("locks");
            locked.locked_queues.into_iter().map(|queue| queue.queue_id).collect::<BTreeSet<i32>>()
        };
        assert_eq!(lock("one", &[0, 1]).await, [0, 1].into());
        assert_eq!(lock("two", &[0, 1, 2]).await, [2].into());
        one.done(Request::new(request::UNLOCK_BATCH_MQ).body(body("one", &[0]).to_json())).await;
        assert_eq!(lock("two", &[0, 1]).await, [0].into());
        one.io.sleep(61 * SECOND).await;
        assert_eq!(lock("three", &[0, 1, 2]).await, [0, 1, 2].into());
    });
}

#[test]
fn questions_to_clients_are_passed_on() {
    let mut setup = Setup::new(8);
    setup.run(|admin| async move {
        let one = admin.another();
        let running_info = |client: &str| {
            Request::new(request::GET_CONSUMER_RUNNING_INFO).str("consumerGroup", "g").str("clientId", client)
        };
        let (code, remark) = admin.refused(running_info("one")).await;
        assert_eq!((code, remark.as_str()), (response::SYSTEM_ERROR, "The Consumer <g> <one> not online"));
        one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        let answer = admin.done(running_info("one")).await;
        assert_eq!(&answer.body()[..], b"{\"properties\":{}}");
        assert!(one.asked.borrow().contains(&(request::GET_CONSUMER_RUNNING_INFO, "g".to_owned())));
    });
}

#[test]
fn groups_are_made_only_where_that_is_allowed() {
    let mut setup = Setup::with(9, "autoCreateSubscriptionGroup=false");
    setup.run(|one| async move {
        one.heartbeat(&heartbeat("one", "g", &["T"])).await;
        assert!(one.consumers("g").await.is_empty());
        assert!(one.topic("%RETRY%g").await.is_none());
        let (code, _) =
            one.refused(Request::new(request::GET_SUBSCRIPTIONGROUP_CONFIG).str("group", "g")).await;
        assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    });
}
