//! SQL92 filters: from the request, from heartbeats, while a pull waits, on retry topics, over messages that are on disk only.

use std::time::Duration;

use ringmq_remoting::body::{ConsumerData, EXPRESSION_SQL92, HeartbeatData, SubscriptionData};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::client::{Client, Message, Pull, Send, messages, number};
use crate::setup::Setup;

const ON: &str = "enablePropertyFilter=true";

/// A pull with an expression of its own.
fn pull(topic: &str, offset: i64, expression: &str) -> Request {
    Pull::new(topic, 0, offset).tags(expression).request().str("expressionType", EXPRESSION_SQL92)
}

fn subscription(topic: &str, expression: &str, version: i64) -> SubscriptionData {
    SubscriptionData::parse(topic, expression, Some(EXPRESSION_SQL92), version).expect("taken as it is")
}

async fn heartbeat(client: &Client, subscriptions: Vec<SubscriptionData>) {
    let consumer = ConsumerData {
        group_name: "consumers".to_owned(),
        subscription_data_set: subscriptions,
        ..ConsumerData::default()
    };
    let data = HeartbeatData {
        client_id: "10.0.0.2@1".to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    client.done(&Request::new(request::HEART_BEAT).body(data.to_json())).await;
}

/// A pull by what the heartbeats said, from a client that believes in that version.
fn pull_by_heartbeat(topic: &str, version: i64) -> Request {
    Pull::new(topic, 0, 0).subscribed_by_heartbeat().request().int("subVersion", version)
}

async fn send_numbers(client: &Client, topic: &str, numbers: std::ops::Range<i32>) {
    for number in numbers {
        let text = number.to_string();
        client.send(Send::new(topic, 0, &text).property("n", &text)).await;
    }
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

fn check_config(expression: &str) -> Request {
    let data = SubscriptionData::parse("T", expression, Some(EXPRESSION_SQL92), 0).expect("taken as it is");
    let body = format!(r#"{{"clientId":"c","group":"g","subscriptionData":{}}}"#, data.to_json());
    Request::new(request::CHECK_CLIENT_CONFIG).body(body)
}

#[test]
fn expressions_come_with_the_request_once_they_are_allowed() {
    Setup::new(70).run(|client| async move {
        send_numbers(&client, "T", 0..10).await;
        let off = "The broker does not support consumer to filter message by SQL92";
        for refused in [pull("T", 0, "n > 4"), check_config("n > 4"), pull("T", 0, "n >")] {
            let (code, remark) = client.refusal(&refused).await;
            assert_eq!((code, remark.as_str()), (response::SYSTEM_ERROR, off));
        }
        client.done(&Request::new(request::UPDATE_BROKER_CONFIG).body(ON.as_bytes().to_vec())).await;

        let answer = client.done(&pull("T", 0, "n BETWEEN 4 AND 6 OR n IN ('8')")).await;
        assert_eq!(bodies(&messages(&answer.body())), ["4", "5", "6", "8"]);
        assert_eq!(number(&answer, "nextBeginOffset"), 10);
        let answer = client.call(&pull("T", 2, "m IS NOT NULL")).await;
        assert_eq!(
            (answer.code(), number(&answer, "nextBeginOffset")),
            (response::PULL_RETRY_IMMEDIATELY, 10)
        );
        assert_eq!(answer.remark(), "NO_MATCHED_MESSAGE");
        client.done(&check_config("n > 4")).await;
        for refused in [pull("T", 0, "n >"), pull("T", 0, ""), check_config("n >"), check_config("")] {
            let (code, remark) = client.refusal(&refused).await;
            assert_eq!(code, response::SUBSCRIPTION_PARSE_FAILED, "{remark}");
        }
    });
}

#[test]
fn expressions_of_heartbeats_have_versions() {
    Setup::with(71, ON).run(|client| async move {
        send_numbers(&client, "T", 0..4).await;
        let refusal = async |version| client.refusal(&pull_by_heartbeat("T", version)).await.0;
        assert_eq!(refusal(5).await, response::SUBSCRIPTION_NOT_EXIST);

        heartbeat(&client, vec![subscription("T", "n = 1", 5)]).await;
        let found = messages(&client.done(&pull_by_heartbeat("T", 5)).await.body());
        assert_eq!(bodies(&found), ["1"]);
        assert_eq!(refusal(6).await, response::SUBSCRIPTION_NOT_LATEST);

        heartbeat(&client, vec![subscription("T", "n = 2", 6)]).await;
        let found = messages(&client.done(&pull_by_heartbeat("T", 6)).await.body());
        assert_eq!(bodies(&found), ["2"]);
        heartbeat(&client, vec![subscription("T", "n = 3", 6)]).await;
        let found = messages(&client.done(&pull_by_heartbeat("T", 6)).await.body());
        assert_eq!(bodies(&found), ["2"], "not newer: ignored");

        heartbeat(&client, vec![subscription("T", "n =", 7)]).await;
        let (code, remark) = client.refusal(&pull_by_heartbeat("T", 7)).await;
        assert_eq!(code, response::FILTER_DATA_NOT_EXIST, "{remark}");
        heartbeat(&client, vec![subscription("U", "n = 3", 8)]).await;
        assert_eq!(refusal(8).await, response::SUBSCRIPTION_NOT_EXIST);
    });
}

/// The group went, but its newest expression is remembered: one that comes back with an older version cannot replace it.
#[test]
fn an_expression_outlives_its_group() {
    Setup::with(72, ON).run(|client| async move {
        send_numbers(&client, "T", 0..4).await;
        heartbeat(&client, vec![subscription("T", "n = 1", 5)]).await;
        let leave = Request::new(request::UNREGISTER_CLIENT)
            .str("clientID", "10.0.0.2@1")
            .str("consumerGroup", "consumers");
        client.done(&leave).await;
        assert_eq!(client.refusal(&pull_by_heartbeat("T", 5)).await.0, response::SUBSCRIPTION_NOT_EXIST);
        heartbeat(&client, vec![subscription("T", "n = 2", 4)]).await;
        let found = messages(&client.done(&pull_by_heartbeat("T", 4)).await.body());
        assert_eq!(bodies(&found), ["1"]);
    });
}

/// The member's subscription is newer than its expression, whose heartbeat was not: 28.
#[test]
fn an_expression_older_than_the_subscription_is_said() {
    Setup::with(73, ON).run(|client| async move {
        send_numbers(&client, "T", 0..2).await;
        heartbeat(&client, vec![subscription("T", "n = 1", 5)]).await;
        let tags = SubscriptionData::parse("T", "*", None, 9).expect("all");
        heartbeat(&client, vec![tags]).await;
        client.done(&pull_by_heartbeat("T", 9)).await;
        let mut empty = subscription("T", "n = 1", 10);
        empty.sub_string.clear();
        heartbeat(&client, vec![empty]).await;
        let (code, remark) = client.refusal(&pull_by_heartbeat("T", 10)).await;
        assert_eq!(code, response::FILTER_DATA_NOT_LATEST, "{remark}");
    });
}

#[test]
fn a_held_pull_stays_held_until_a_message_matches() {
    Setup::with(74, ON).run(|client| async move {
        client.send(Send::new("T", 0, "old").property("n", "1")).await;
        let started = client.io.now();
        let producer = client.another();
        client.io.spawn(async move {
            producer.io.sleep(Duration::from_secs(2)).await;
            producer.send(Send::new("T", 0, "not wanted").property("n", "1")).await;
            producer.send(Send::new("T", 0, "not a number").property("n", "x")).await;
            producer.io.sleep(Duration::from_secs(6)).await;
            producer.send(Send::new("T", 0, "wanted").property("n", "2")).await;
        });
        let held = Pull::new("T", 0, 1).tags("n = 2").suspend(15_000).request();
        let answer = client.done(&held.str("expressionType", EXPRESSION_SQL92)).await;
        assert_eq!(bodies(&messages(&answer.body())), ["wanted"]);
        assert_eq!(number(&answer, "nextBeginOffset"), 4);
        let waited = client.io.now().since(started);
        assert!((7_900..8_500).contains(&waited.as_millis()), "answered after {waited:?}");
    });
}

#[test]
fn retry_topics_are_judged_by_the_topic_of_origin_if_that_is_asked_for() {
    for (seed, support, expected) in [(75, "true", vec!["0", "3"]), (76, "false", vec!["0", "1"])] {
        Setup::with(seed, &format!("{ON}\nfilterSupportRetry={support}")).run(move |client| async move {
            let retry = "%RETRY%consumers";
            let wanted =
                vec![subscription("T", "n = 0 OR n = 3", 5), subscription(retry, "n = 0 OR n = 1", 5)];
            heartbeat(&client, wanted).await;
            for number in ["0", "1", "3"] {
                let back = Send::new(retry, 0, number).property("n", number).property("RETRY_TOPIC", "T");
                client.send(back).await;
            }
            for request in [pull_by_heartbeat(retry, 5), pull(retry, 0, "n = 0 OR n = 1")] {
                let found = messages(&client.done(&request).await.body());
                assert_eq!(bodies(&found), expected, "filterSupportRetry={support}");
            }
        });
    }
}

/// Records on disk are looked at a block at a time; whoever follows the next offset sees all that match, once.
#[test]
fn messages_on_disk_are_filtered() {
    let mut setup = Setup::with(77, ON);
    setup.run(|client| async move {
        for number in 0..900 {
            let send = Send::new("T", 0, "").body(vec![b'x'; 2_000]).property("n", &number.to_string());
            client.send(send).await;
        }
    });
    setup.stop_and_restart();
    setup.run(|client| async move {
        let (mut offset, mut found, mut pulls) = (0, Vec::new(), 0);
        while offset < 900 {
            let answer = client.call(&pull("T", offset, "n BETWEEN 448 AND 450 OR n = 899")).await;
            let is_expected = [response::SUCCESS, response::PULL_RETRY_IMMEDIATELY].contains(&answer.code());
            assert!(is_expected, "{} {}", answer.code(), answer.remark());
            found.extend(messages(&answer.body()).iter().map(|message| message.queue_offset));
            let next = number(&answer, "nextBeginOffset");
            assert!(next > offset, "no progress at {offset}");
            offset = next;
            pulls += 1;
        }
        assert_eq!(found, [448, 449, 450, 899]);
        assert!(pulls <= 20, "{pulls} pulls for eight blocks");
    });
}
