use std::time::Duration;

use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::client::{Pull, Send};
use crate::pop_client::Pop;
use crate::setup::Setup;

fn text(answer: &ringmq_transport::OwnedResponse) -> String {
    String::from_utf8(answer.body().to_vec()).expect("UTF-8")
}

#[test]
fn every_shard_has_its_say_in_topic_and_consume_stats() {
    Setup::new(60).run(|client| async move {
        for queue in 0..4 {
            for _ in 0..=queue {
                client.send(Send::new("T", queue, "x")).await;
            }
            client.pull(Pull::new("T", queue, 0)).await;
            client.commit("T", queue, 1).await;
        }
        let request = Request::new(request::GET_TOPIC_STATS_INFO).str("topic", "T");
        let stats = text(&client.done(&request).await);
        let request =
            Request::new(request::GET_CONSUME_STATS).str("consumerGroup", "consumers").str("topic", "T");
        let progress = text(&client.done(&request).await);
        for queue in 0..4 {
            let key = format!("{{\"brokerName\":\"broker-a\",\"queueId\":{queue},\"topic\":\"T\"}}:");
            let of_queue = |all: &str| {
                let from = all.find(&key).unwrap_or_else(|| panic!("no queue {queue} in {all}"));
                let entry = &all[from + key.len()..];
                entry[..=entry.find('}').expect("an end")].to_owned()
            };
            let count = queue + 1;
            let entry = of_queue(&stats);
            assert!(entry.contains(&format!("\"maxOffset\":{count},\"minOffset\":0")), "{entry}");
            let entry = of_queue(&progress);
            assert!(entry.contains(&format!("\"brokerOffset\":{count},\"consumerOffset\":1")), "{entry}");
            assert!(entry.contains(&format!("\"pullOffset\":{count}")), "{entry}");
        }
    });
}

#[test]
fn counters_of_all_shards_are_added_up() {
    Setup::new(61).run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "x")).await;
        }
        let table = text(&client.done(&Request::new(request::GET_BROKER_RUNTIME_INFO)).await);
        assert!(table.contains("\"putMessageTimesTotal\":\"4\""), "{table}");
        let request = |key: &str| {
            Request::new(request::VIEW_BROKER_STATS_DATA)
                .str("statsName", "TOPIC_PUT_NUMS")
                .str("statsKey", key)
        };
        let stats = text(&client.done(&request("T")).await);
        assert!(stats.contains("\"sum\":4"), "{stats}");
        assert_eq!(client.refusal(&request("unknown")).await.0, response::SYSTEM_ERROR);
    });
}

#[test]
fn a_deleted_topic_is_gone_from_every_shard_and_may_come_again() {
    let mut setup = Setup::new(62);
    setup.run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "old")).await;
            client.pull(Pull::new("T", queue, 0)).await;
            client.commit("T", queue, 1).await;
        }
        let waiting = client.another();
        let held = client.io.now();
        client.io.spawn(async move {
            waiting.call(&Pull::new("T", 0, 1).suspend(30_000).request()).await;
            let waited = waiting.io.now().since(held);
            assert!(
                waited < Duration::from_secs(5),
                "a held pull of a deleted topic was answered after {waited:?}"
            );
        });
        client.io.sleep(Duration::from_secs(1)).await;
        client.done(&Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "T")).await;
        for queue in 0..4 {
            let (code, _) = client.refusal(&Pull::new("T", queue, 0).request()).await;
            assert_eq!(code, response::TOPIC_NOT_EXIST);
            assert_eq!(client.committed("T", queue).await, None);
        }
    });
    setup.kill_and_restart();
    setup.run(|client| async move {
        for queue in 0..4 {
            assert_eq!(client.send(Send::new("T", queue, "new")).await, 0, "offsets begin again");
            assert_eq!(client.drain("T", queue).await[0].body, "new");
        }
    });
}

#[test]
fn with_a_topic_go_the_retries_of_those_who_popped_it() {
    for (seed, is_cleared) in [(63, true), (64, false)] {
        let settings = format!("clearRetryTopicWhenDeleteTopic={is_cleared}");
        Setup::with(seed, &settings).run(move |client| async move {
            for topic in ["T", "other"] {
                client.send(Send::new(topic, 0, "old")).await;
                assert_eq!(client.pop(&Pop::new(topic)).await.len(), 1);
            }
            // Nobody acknowledges: both are in their retry topics.
            client.io.sleep(Duration::from_secs(15)).await;
            client.done(&Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "T")).await;
            let exists = async |topic: &str| {
                let answer = client.call(&Request::new(request::GET_TOPIC_CONFIG).str("topic", topic)).await;
                answer.code() == response::SUCCESS
            };
            assert!(!exists("T").await);
            assert_eq!(exists("%RETRY%consumers_T").await, !is_cleared);
            assert!(exists("%RETRY%consumers_other").await);

            client.send(Send::new("T", 0, "new")).await;
            let expected = if is_cleared { &["new"][..] } else { &["new", "old"] };
            assert_eq!(client.pop_all("T").await, expected);
            assert_eq!(client.pop_all("other").await, ["old"]);
        });
    }
}
