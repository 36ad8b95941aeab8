use std::time::Duration;

use ringmq_remoting::code::{request, response};
use ringmq_remoting::record::message_id;
use ringmq_transport::Request;

use crate::client::{Pull, Send, messages, number};
use crate::setup::Setup;

#[test]
fn what_is_sent_to_any_queue_is_pulled_from_it_in_order() {
    Setup::new(1).run(|client| async move {
        for round in 0..3 {
            for queue in 0..4 {
                let body = format!("{queue}-{round}");
                assert_eq!(client.send(Send::new("T", queue, &body).property("k", "v")).await, round);
            }
        }
        for queue in 0..4 {
            let found = client.pull(Pull::new("T", queue, 0)).await;
            let bodies: Vec<_> = found.iter().map(|m| m.body.clone()).collect();
            assert_eq!(bodies, [format!("{queue}-0"), format!("{queue}-1"), format!("{queue}-2")]);
            assert!(found.iter().all(|m| i64::from(m.queue_id) == queue && m.property("k") == Some("v")));
            assert!(found[0].property("UNIQ_KEY").is_some_and(|key| key.len() == 32));
            assert_eq!(found[0].property("CLUSTER"), Some("DefaultCluster"));
            assert_eq!(client.offset(request::GET_MAX_OFFSET, "T", queue).await, 3);
            assert_eq!(client.offset(request::GET_MIN_OFFSET, "T", queue).await, 0);
        }
    });
}

#[test]
fn a_send_is_answered_with_an_id_that_finds_the_message() {
    Setup::new(2).run(|client| async move {
        for queue in 0..4 {
            let answer =
                client.done(&Send::new("T", queue, "found").property("UNIQ_KEY", "U").request()).await;
            assert_eq!(answer.field("transactionId").as_deref(), Some("U"));
            assert_eq!(answer.field("MSG_REGION").as_deref(), Some("DefaultRegion"));
            assert_eq!(number(&answer, "queueId"), queue);
            let id = answer.field("msgId").expect("an id");
            let (host, offset) = message_id::decode(&id).expect("decodable");
            assert_eq!(host.to_string(), "10.0.0.1:10911");
            let view = Request::new(request::VIEW_MESSAGE_BY_ID).int("offset", offset);
            let found = messages(&client.done(&view).await.body());
            assert_eq!((found[0].body.as_str(), i64::from(found[0].queue_id)), ("found", queue));
        }
        let missing = Request::new(request::VIEW_MESSAGE_BY_ID).int("offset", 77);
        assert_eq!(client.refusal(&missing).await.0, response::SYSTEM_ERROR);
    });
}

#[test]
fn a_negative_queue_id_lets_the_broker_choose() {
    Setup::new(3).run(|client| async move {
        let mut used = [0; 4];
        for _ in 0..400 {
            let answer = client.done(&Send::new("T", -1, "anywhere").request()).await;
            used[usize::try_from(number(&answer, "queueId")).expect("a queue")] += 1;
        }
        // 100 each on average; the standard deviation is 9.
        assert!(used.iter().all(|&count| (40..160).contains(&count)), "{used:?}");
    });
}

#[test]
fn a_batch_takes_consecutive_offsets() {
    Setup::new(4).run(|client| async move {
        for queue in 0..4 {
            assert_eq!(client.send(Send::new("T", queue, "first")).await, 0);
            let answer = client.done(&Send::batch("T", queue, &["a", "b", "c"]).request()).await;
            assert_eq!(number(&answer, "queueOffset"), 1);
            assert_eq!(answer.field("msgId").expect("ids").split(',').count(), 3);
            let found = client.pull(Pull::new("T", queue, 1)).await;
            let read: Vec<_> = found.iter().map(|m| (m.queue_offset, m.body.as_str())).collect();
            assert_eq!(read, [(1, "a"), (2, "b"), (3, "c")]);
            assert_eq!(
                found[0].properties, "TAGS\u{1}TagB\u{2}",
                "properties of a batch are stored as they are"
            );
        }
    });
}

#[test]
fn tags_are_filtered_and_the_offset_moves_past_what_does_not_match() {
    Setup::new(5).run(|client| async move {
        for tag in ["TagA", "TagB", "TagA"] {
            client.send(Send::new("T", 0, tag).property("TAGS", tag)).await;
        }
        let found = client.pull(Pull::new("T", 0, 0).tags("TagB || TagC")).await;
        assert_eq!(found.iter().map(|m| m.body.as_str()).collect::<Vec<_>>(), ["TagB"]);
        let answer = client.call(&Pull::new("T", 0, 0).tags("TagC").request()).await;
        assert_eq!(answer.code(), response::PULL_RETRY_IMMEDIATELY);
        assert_eq!(number(&answer, "nextBeginOffset"), 3);
        client.heartbeat("T", "TagB").await;
        let found = client.pull(Pull::new("T", 0, 0).subscribed_by_heartbeat()).await;
        assert_eq!(found.len(), 1, "the subscription of the heartbeat counts");
    });
}

#[test]
fn statuses_of_a_pull_and_its_next_offset() {
    Setup::new(6).run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "one")).await;
            for (offset, code, next) in [
                (1, response::PULL_NOT_FOUND, 1),
                (2, response::PULL_OFFSET_MOVED, 1),
                (-1, response::PULL_OFFSET_MOVED, 0),
            ] {
                let answer = client.call(&Pull::new("T", queue, offset).request()).await;
                assert_eq!(
                    (answer.code(), number(&answer, "nextBeginOffset")),
                    (code, next),
                    "from {offset}"
                );
                assert_eq!((number(&answer, "minOffset"), number(&answer, "maxOffset")), (0, 1));
                assert_eq!(number(&answer, "suggestWhichBrokerId"), 0);
            }
        }
    });
}

#[test]
fn bounds_of_queues_that_were_never_written() {
    Setup::new(11).run(|client| async move {
        let answer = client.done(&Send::new("T", -1, "one").request()).await;
        let unwritten = (number(&answer, "queueId") + 1) % 4;
        for (topic, queue, min) in [("T", unwritten, 0), ("T", 99, 0), ("unknown", 0, 0)] {
            assert_eq!(client.offset(request::GET_MIN_OFFSET, topic, queue).await, min, "{topic} {queue}");
            assert_eq!(client.offset(request::GET_MAX_OFFSET, topic, queue).await, 0, "{topic} {queue}");
        }
        let answer = client.call(&Pull::new("T", unwritten, 0).request()).await;
        assert_eq!((answer.code(), number(&answer, "nextBeginOffset")), (response::PULL_NOT_FOUND, 0));
        let time =
            Request::new(request::GET_EARLIEST_MSG_STORETIME).str("topic", "T").int("queueId", unwritten);
        assert_eq!(number(&client.done(&time).await, "timestamp"), -1);
    });
}

#[test]
fn a_held_pull_is_answered_by_a_message_it_wants() {
    Setup::new(7).run(|client| async move {
        client.send(Send::new("T", 0, "old").property("TAGS", "A")).await;
        for queue in 0..4 {
            let offset = client.offset(request::GET_MAX_OFFSET, "T", queue).await;
            let started = client.io.now();
            let producer = client.another();
            client.io.spawn(async move {
                producer.io.sleep(Duration::from_secs(2)).await;
                producer.send(Send::new("T", queue, "not wanted").property("TAGS", "B")).await;
                producer.io.sleep(Duration::from_secs(2)).await;
                producer.send(Send::new("T", queue, "wanted").property("TAGS", "A")).await;
            });
            let found = client.pull(Pull::new("T", queue, offset).tags("A").suspend(15_000)).await;
            assert_eq!(found[0].body, "wanted");
            let waited = client.io.now().since(started);
            assert!((3_900..4_500).contains(&waited.as_millis()), "answered after {waited:?}");
        }
    });
}

#[test]
fn a_held_pull_ends_with_its_time() {
    Setup::new(8).run(|client| async move {
        client.send(Send::new("T", 0, "old")).await;
        let started = client.io.now();
        let answer = client.call(&Pull::new("T", 0, 1).suspend(5_000).request()).await;
        assert_eq!((answer.code(), number(&answer, "nextBeginOffset")), (response::PULL_NOT_FOUND, 1));
        let waited = client.io.now().since(started);
        assert!((5_000..5_500).contains(&waited.as_millis()), "answered after {waited:?}");
    });
}

#[test]
fn offsets_are_committed_by_request_and_by_pull() {
    Setup::new(9).run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "one")).await;
            assert_eq!(client.committed("T", queue).await, None);
            client.pull(Pull::new("T", queue, 0)).await;
            client.commit("T", queue, 1).await;
            assert_eq!(client.committed("T", queue).await, Some(1));
            client.call(&Pull::new("T", queue, 1).commit(7).request()).await;
            assert_eq!(client.committed("T", queue).await, Some(7));
        }
    });
}

#[test]
fn sync_flush_answers_too() {
    let mut setup = Setup::with(10, "flushDiskType=SYNC_FLUSH");
    setup.run(|client| async move {
        for queue in 0..4 {
            assert_eq!(client.send(Send::new("T", queue, "durable")).await, 0);
        }
    });
}
