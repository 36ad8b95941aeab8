//! QUERY_MESSAGE (12) over all shards.

use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::client::{Client, Send, messages, number};
use crate::setup::Setup;

fn query(topic: &str, key: &str, max: i64) -> Request {
    within(topic, key, max, (0, i64::MAX))
}

fn within(topic: &str, key: &str, max: i64, (begin, end): (i64, i64)) -> Request {
    Request::new(request::QUERY_MESSAGE)
        .str("topic", topic)
        .str("key", key)
        .int("maxNum", max)
        .int("beginTimestamp", begin)
        .int("endTimestamp", end)
}

async fn bodies(client: &Client, request: Request) -> Vec<String> {
    messages(&client.done(&request).await.body()).into_iter().map(|m| m.body).collect()
}

/// Twelve messages over four queues, each a little later than the one before; every third has the key `third`.
async fn fill(client: &Client) {
    for number in 0..12 {
        let keys = if number % 3 == 0 { "every third third" } else { "every" };
        let send = Send::new("T", number % 4, &format!("{number:02}"));
        client.send(send.property("KEYS", keys).property("UNIQ_KEY", &format!("U{number}"))).await;
        client.io.sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn messages_are_found_by_key_on_all_shards_and_after_a_crash() {
    let mut setup = Setup::new(60);
    for life in 0..3 {
        setup.run(move |client| async move {
            if life == 0 {
                fill(&client).await;
            }
            assert_eq!(
                bodies(&client, query("T", "third", 64)).await,
                ["00", "03", "06", "09"],
                "life {life}"
            );
            assert_eq!(bodies(&client, query("T", "every", 3)).await, ["09", "10", "11"], "the newest");
            assert_eq!(bodies(&client, query("T", "U7", 64)).await, ["07"]);
            let unique = query("T", "U7", 1).bool("_UNIQUE_KEY_QUERY", true);
            assert_eq!(bodies(&client, unique).await, ["07"]);
            assert_eq!(bodies(&client, query("T", "U7", 1).str("indexType", "U")).await, ["07"]);
            let answer = client.done(&query("T", "every", 64)).await;
            let last = messages(&answer.body()).pop().expect("messages");
            assert!(number(&answer, "indexLastUpdateTimestamp") > 0);
            assert_eq!(number(&answer, "indexLastUpdatePhyoffset") >> 56, last.physical_offset >> 56);
        });
        if life == 0 {
            setup.kill_and_restart();
        } else {
            setup.stop_and_restart();
        }
    }
}

#[test]
fn time_bounds_are_inclusive() {
    Setup::new(61).run(|client| async move {
        fill(&client).await;
        let all = client.done(&query("T", "every", 64)).await.body();
        let mut times = Vec::new();
        for record in ringmq_remoting::record::records(&all) {
            times.push(record.expect("a record").store_timestamp());
        }
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        assert_eq!(bodies(&client, within("T", "every", 64, (times[2], times[4]))).await, ["02", "03", "04"]);
        let none = client.call(&within("T", "every", 64, (times[2] + 1, times[3] - 1))).await;
        assert_eq!(none.code(), response::QUERY_NOT_FOUND);
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    Setup::new(62).run(|client| async move {
        fill(&client).await;
        let requests = [
            query("T", "none", 64),
            query("U", "every", 64),
            query("T", "ever", 64),
            query("T", "every", 0),
            query("T", "every", 64).str("indexType", "T"),
            query("T", "third", 64).bool("_UNIQUE_KEY_QUERY", true),
        ];
        for request in requests {
            let (code, remark) = client.refusal(&request).await;
            assert_eq!(code, response::QUERY_NOT_FOUND);
            assert_eq!(remark, "can not find message, maybe time range not correct");
        }
        let (code, remark) = client.refusal(&Request::new(request::QUERY_MESSAGE)).await;
        assert!(code == response::SYSTEM_ERROR && remark.contains("missing"), "{code} {remark}");
    });
}

#[test]
fn answers_have_a_limit_and_the_index_a_switch() {
    Setup::with(63, "maxMsgsNumBatch=2").run(|client| async move {
        fill(&client).await;
        assert_eq!(bodies(&client, query("T", "every", 64)).await, ["10", "11"]);
    });
    Setup::with(64, "messageIndexEnable=false").run(|client| async move {
        fill(&client).await;
        assert_eq!(client.refusal(&query("T", "every", 64)).await.0, response::QUERY_NOT_FOUND);
    });
}
