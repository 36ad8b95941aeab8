use std::time::Duration;

use ringmq_remoting::code::response;

use crate::client::{Client, Message, Pull, Send};
use crate::setup::Setup;

// Lower bounds allow for what a clock in whole milliseconds leaves out.

/// The next message of the group's retry topic (one queue), waited for.
async fn next_retry(client: &Client, offset: i64) -> Message {
    let found = client.pull(Pull::new("%RETRY%consumers", 0, offset).suspend(35_000)).await;
    found.into_iter().next().expect("a message")
}

#[test]
fn a_delayed_message_comes_when_its_level_says() {
    Setup::new(30).run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "now")).await;
            let started = client.io.now();
            let late = Send::new("T", queue, "later").property("DELAY", "2").property("TAGS", "A");
            client.send(late).await;
            let found = client.pull(Pull::new("T", queue, 1).tags("A").suspend(15_000)).await;
            let waited = client.io.now().since(started);
            assert!((4_999..5_600).contains(&waited.as_millis()), "delivered after {waited:?}");
            assert_eq!((found[0].body.as_str(), found[0].queue_offset), ("later", 1));
            assert_eq!(found[0].property("REAL_TOPIC"), Some("T"));
        }
    });
}

#[test]
fn delayed_messages_of_a_level_keep_their_order() {
    Setup::new(31).run(|client| async move {
        for n in 0..20 {
            client.send(Send::new("T", 0, &n.to_string()).property("DELAY", "1")).await;
        }
        client.io.sleep(Duration::from_secs(3)).await;
        let bodies: Vec<_> = client.drain("T", 0).await.into_iter().map(|m| m.body).collect();
        assert_eq!(bodies, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_message_sent_back_returns_and_ends_as_a_dead_letter() {
    Setup::new(32).run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, &format!("fails on {queue}")).property("TAGS", "A")).await;
        }
        // Two retries (10 s, 30 s), then the dead-letter queue.
        for (queue, nth) in [(0, 0), (1, 1), (2, 2), (3, 3)] {
            // A consumer that is not heard of for two minutes is disconnected.
            client.heartbeat("T", "*").await;
            let first = client.pull(Pull::new("T", queue, 0)).await.remove(0);
            let started = client.io.now();
            assert_eq!(client.send_back(&first, 0).await.code(), response::SUCCESS);
            let second = next_retry(&client, 2 * nth).await;
            let waited = client.io.now().since(started);
            assert!((9_999..10_700).contains(&waited.as_millis()), "first retry after {waited:?}");
            assert_eq!((second.body.clone(), second.reconsume_times), (first.body.clone(), 1));
            assert_eq!(second.property("RETRY_TOPIC"), Some("T"));
            assert_eq!(second.property("TAGS"), Some("A"));
            let origin = second.property("ORIGIN_MESSAGE_ID").expect("the first id").to_owned();

            assert_eq!(client.send_back(&second, 0).await.code(), response::SUCCESS);
            let third = next_retry(&client, 2 * nth + 1).await;
            let waited = client.io.now().since(started);
            assert!((39_998..41_500).contains(&waited.as_millis()), "second retry after {waited:?}");
            assert_eq!(
                (third.reconsume_times, third.property("ORIGIN_MESSAGE_ID")),
                (2, Some(origin.as_str()))
            );

            assert_eq!(client.send_back(&third, 0).await.code(), response::SUCCESS);
            let dead = client.drain("%DLQ%consumers", 0).await;
            assert_eq!(dead.len(), usize::try_from(nth).expect("small") + 1);
            assert_eq!(dead.last().expect("one").body, first.body);
        }
    });
}

#[test]
fn delay_level_minus_one_is_a_dead_letter_at_once() {
    Setup::new(33).run(|client| async move {
        client.heartbeat("T", "*").await;
        client.send(Send::new("T", 0, "hopeless")).await;
        let message = client.pull(Pull::new("T", 0, 0)).await.remove(0);
        assert_eq!(client.send_back(&message, -1).await.code(), response::SUCCESS);
        assert_eq!(client.drain("%DLQ%consumers", 0).await[0].body, "hopeless");
        let missing = Message { physical_offset: message.physical_offset + 1, ..message };
        let answer = client.send_back(&missing, 0).await;
        assert_eq!(answer.code(), response::SYSTEM_ERROR);
        assert!(answer.remark().starts_with("look message by offset failed"), "{}", answer.remark());
    });
}

#[test]
fn a_send_to_the_retry_topic_past_its_limit_is_a_dead_letter() {
    Setup::new(34).run(|client| async move {
        client.heartbeat("T", "*").await;
        let retry =
            |times| Send::new("%RETRY%consumers", 0, "again").property("DELAY", "1").reconsumed(times, 2);
        client.send(retry(2)).await;
        client.send(retry(3)).await;
        let dead = client.drain("%DLQ%consumers", 0).await;
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].property("DELAY"), Some("-1"));
        client.io.sleep(Duration::from_secs(2)).await;
        assert_eq!(client.drain("%RETRY%consumers", 0).await.len(), 1);
    });
}
