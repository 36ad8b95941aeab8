//! Power cuts under ASYNC_FLUSH. A message that was on stable media may be consumed, and the note of that may be on stable media at once;
//! then whatever takes the message's place has to be there as well.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmq_remoting::code::response;

use crate::client::{Client, Pull, Send};
use crate::setup::Setup;

/// Messages wait long for stable media, offsets and delay progress do not.
const SETTINGS: &str =
    "flushIntervalCommitLog=20000\nflushConsumerOffsetInterval=100\nflushDelayOffsetInterval=100";
/// What a cut takes of what was not flushed is chance.
const CUTS: u64 = 5;

async fn seconds(client: &Client, seconds: u64) {
    client.io.sleep(Duration::from_secs(seconds)).await;
}

async fn bodies(client: &Client, topic: &str, queue_id: i64) -> BTreeSet<String> {
    client.drain(topic, queue_id).await.into_iter().map(|message| message.body).collect()
}

/// How a consumer gives a message back.
#[derive(Clone, Copy)]
enum Back {
    /// By CONSUMER_SEND_MSG_BACK.
    Asked,
    /// By sending it to the retry topic: in order, or where the other way failed.
    Sent,
}

fn check_sent_back(seed: u64, how: Back) {
    for cut in 0..CUTS {
        let mut setup = Setup::with(seed + cut, SETTINGS);
        setup.run(move |client| async move {
            client.heartbeat("T", "*").await;
            for queue in 0..4 {
                client.send(Send::new("T", queue, &queue.to_string())).await;
            }
            seconds(&client, 25).await;
            // They come again after 10 s.
            for queue in 0..4 {
                let message = client.pull(Pull::new("T", queue, 0)).await.remove(0);
                match how {
                    Back::Asked => {
                        assert_eq!(client.send_back(&message, 3).await.code(), response::SUCCESS);
                    }
                    Back::Sent => {
                        let copy = Send::new("%RETRY%consumers", 0, &message.body);
                        client.send(copy.property("DELAY", "3").reconsumed(1, 16)).await;
                    }
                }
                client.commit("T", queue, 1).await;
            }
            seconds(&client, 2).await;
        });
        setup.power_cut_and_restart();
        setup.run(move |client| async move {
            for queue in 0..4 {
                assert_eq!(client.committed("T", queue).await, Some(1), "the offset is on stable media");
            }
            seconds(&client, 15).await;
            let expected = ["0", "1", "2", "3"].map(str::to_owned);
            assert_eq!(bodies(&client, "%RETRY%consumers", 0).await, expected.into(), "cut {cut}");
        });
    }
}

#[test]
fn a_message_sent_back_outlives_its_original() {
    check_sent_back(130, Back::Asked);
}

#[test]
fn a_message_sent_to_a_retry_topic_outlives_its_original() {
    check_sent_back(150, Back::Sent);
}

#[test]
fn a_delivered_message_outlives_the_parked_one() {
    for cut in 0..CUTS {
        let mut setup = Setup::with(140 + cut, SETTINGS);
        setup.run(|client| async move {
            for queue in 0..4 {
                client.send(Send::new("T", queue, "late").property("DELAY", "4")).await;
            }
            // On stable media after 20 s, delivered after 30 s.
            seconds(&client, 33).await;
            for queue in 0..4 {
                assert_eq!(bodies(&client, "T", queue).await, ["late".to_owned()].into());
            }
        });
        setup.power_cut_and_restart();
        setup.run(move |client| async move {
            seconds(&client, 40).await;
            for queue in 0..4 {
                let found = bodies(&client, "T", queue).await;
                assert_eq!(found, ["late".to_owned()].into(), "cut {cut}, queue {queue}");
            }
        });
    }
}
