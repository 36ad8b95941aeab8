use std::time::Duration;

use ringmq_remoting::code::response;
use ringmq_remoting::pop::ReceiptHandle;

use crate::client::{Client, Pull, Send, number};
use crate::pop_client::{Pop, Popped};
use crate::setup::Setup;

fn pop() -> Pop {
    Pop { order: true, max: 3, ..Pop::new("T") }
}

async fn send(client: &Client, count: i64) {
    for n in 0..count {
        client.send(Send::new("T", 2, &n.to_string())).await;
    }
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    popped.iter().map(|popped| popped.message.body.as_str()).collect()
}

#[test]
fn a_queue_gives_its_next_batch_when_the_last_one_is_acknowledged() {
    Setup::new(110).run(|client| async move {
        send(&client, 7).await;
        let first = client.pop(&pop()).await;
        assert_eq!(bodies(&first), ["0", "1", "2"]);
        assert!(first[0].handle.contains(" 999 "));
        for popped in &first {
            assert!(client.pop(&pop()).await.is_empty());
            client.ack(popped).await;
        }
        let second = client.pop(&pop()).await;
        assert_eq!(bodies(&second), ["3", "4", "5"]);
        let mut strange = second[0].clone();
        strange.message.queue_offset = 6;
        assert_eq!(client.refusal(&strange.ack()).await.0, response::MESSAGE_ILLEGAL);
        client.io.sleep(Duration::from_secs(10)).await;
        assert_eq!(client.committed("T", 2).await, Some(3));
    });
}

#[test]
fn what_is_not_acknowledged_comes_again_from_its_place() {
    Setup::new(111).run(|client| async move {
        send(&client, 4).await;
        let first = client.pop(&pop()).await;
        client.ack(&first[0]).await;
        let longer = client.change(&first[2], 20_000).await;
        client.io.sleep(Duration::from_secs(11)).await;
        assert!(client.pop(&pop()).await.is_empty(), "one message is still invisible");
        client.io.sleep(Duration::from_secs(10)).await;
        let again = client.pop(&pop()).await;
        assert_eq!(bodies(&again), ["1", "2", "3"]);
        assert_eq!(again.iter().map(|popped| popped.consumed).collect::<Vec<_>>(), [1, 1, 0]);
        // Of the batch before: no effect.
        client.ack(&longer).await;
        for popped in &again {
            client.ack(popped).await;
        }
        client.io.sleep(Duration::from_secs(60)).await;
        assert!(client.pop(&pop()).await.is_empty());
        let retries = client.refusal(&Pull::new("%RETRY%consumers_T", 0, 0).request()).await;
        assert_eq!(retries.0, response::TOPIC_NOT_EXIST, "ordered messages stay in their queue");
    });
}

#[test]
fn a_changed_time_is_answered_as_counted_from_the_pop() {
    Setup::new(115).run(|client| async move {
        send(&client, 3).await;
        let first = client.pop(&pop()).await;
        let times = async |popped: &Popped| {
            let answer = client.done(&popped.change(20_000)).await;
            (number(&answer, "popTime"), number(&answer, "invisibleTime"))
        };
        client.io.sleep(Duration::from_secs(4)).await;
        let (pop_time, invisible_time) = times(&first[0]).await;
        assert_eq!(ReceiptHandle::parse(&first[0].handle).expect("a handle").pop_time, pop_time);
        assert!((24_000..24_200).contains(&invisible_time), "{invisible_time}");
        client.ack(&first[0]).await;
        assert_eq!(times(&first[0]).await, (0, 0), "as the reference answers for what is acknowledged");
        // Of no use: the message is not of the newest batch any more, which is answered with success all the same.
        client.io.sleep(Duration::from_secs(11)).await;
        assert_eq!(bodies(&client.pop(&pop()).await), ["1", "2"]);
        assert_eq!(times(&first[1]).await.0, pop_time);
        client.io.sleep(Duration::from_secs(11)).await;
        assert_eq!(bodies(&client.pop(&pop()).await), ["1", "2"]);
    });
}

#[test]
fn an_attempt_that_lost_its_answer_gets_the_same_batch() {
    Setup::new(112).run(|client| async move {
        send(&client, 4).await;
        let attempt = |id| Pop { attempt: Some(id), ..pop() };
        let first = client.pop(&attempt("a")).await;
        let again = client.pop(&attempt("a")).await;
        assert_eq!(bodies(&again), bodies(&first));
        assert!(again.iter().all(|popped| popped.consumed == 0));
        assert!(client.pop(&attempt("b")).await.is_empty());
    });
}

#[test]
fn who_waits_is_woken_by_the_last_acknowledgement_or_by_time() {
    Setup::new(113).run(|client| async move {
        send(&client, 6).await;
        let first = client.pop(&pop()).await;
        let waiting = client.another();
        let started = client.io.now();
        let task = client.clone();
        client.io.spawn(async move {
            task.io.sleep(Duration::from_secs(4)).await;
            for popped in &first {
                task.ack(popped).await;
            }
        });
        let second = waiting.pop(&Pop { poll_ms: 15_000, ..pop() }).await;
        assert_eq!(bodies(&second), ["3", "4", "5"]);
        let waited = client.io.now().since(started).as_millis();
        assert!((4_000..4_500).contains(&waited), "woken after {waited} ms");
        let again = waiting.pop(&Pop { poll_ms: 15_000, ..pop() }).await;
        assert_eq!(bodies(&again), ["3", "4", "5"]);
        let waited = client.io.now().since(started).as_millis();
        assert!((13_990..14_800).contains(&waited), "woken after {waited} ms");
    });
}

#[test]
fn order_survives_a_kill() {
    let mut setup = Setup::new(114);
    let first = setup.run(|client| async move {
        send(&client, 5).await;
        let first = client.pop(&pop()).await;
        client.ack(&first[0]).await;
        first
    });
    setup.kill_and_restart();
    setup.run(move |client| async move {
        assert!(client.pop(&pop()).await.is_empty(), "the batch still blocks the queue");
        client.ack(&first[1]).await;
        client.ack(&first[2]).await;
        assert_eq!(bodies(&client.pop(&pop()).await), ["3", "4"]);
    });
}
