use std::time::Duration;

use ringmq_remoting::body::{BatchAck, BatchAckEntry};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::pop::ReceiptHandle;
use ringmq_transport::Request;

use crate::client::{Client, Send, messages, number};
use crate::pop_client::{Pop, Popped, popped};
use crate::setup::Setup;

const RETRY: &str = "%RETRY%consumers_T";

/// Sends `0`, `1` … round robin to four queues, which lie on three shards.
async fn send(client: &Client, count: i64) {
    for n in 0..count {
        client.send(Send::new("T", n % 4, &n.to_string())).await;
    }
}

fn bodies(popped: &[Popped]) -> Vec<String> {
    let mut bodies: Vec<_> = popped.iter().map(|popped| popped.message.body.clone()).collect();
    bodies.sort();
    bodies
}

fn numbers(range: std::ops::Range<i64>) -> Vec<String> {
    let mut bodies: Vec<_> = range.map(|n| n.to_string()).collect();
    bodies.sort();
    bodies
}

async fn seconds(client: &Client, seconds: u64) {
    client.io.sleep(Duration::from_secs(seconds)).await;
}

#[test]
fn a_pop_takes_messages_of_all_queues_and_nobody_else_gets_them() {
    Setup::new(80).run(|client| async move {
        send(&client, 40).await;
        let first = client.pop(&Pop::new("T")).await;
        assert_eq!(first.len(), 32);
        let second = client.pop(&Pop::new("T")).await;
        assert_eq!(second.len(), 8);
        let all = [first, second].concat();
        assert_eq!(bodies(&all), numbers(0..40));
        assert!(client.pop(&Pop::new("T")).await.is_empty());
        for popped in &all {
            client.ack(popped).await;
        }
        seconds(&client, 30).await;
        assert!(client.pop(&Pop::new("T")).await.is_empty());
        assert!(client.drain(RETRY, 0).await.is_empty());
        seconds(&client, 10).await;
        for queue in 0..4 {
            assert_eq!(client.committed("T", queue).await, Some(10), "queue {queue}");
        }
    });
}

#[test]
fn what_is_not_acknowledged_comes_again_from_the_retry_topic() {
    Setup::new(81).run(|client| async move {
        send(&client, 8).await;
        let first = client.pop(&Pop::new("T")).await;
        let (kept, lost): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|popped| popped.message.body.as_str() < "4");
        for popped in &kept {
            client.ack(popped).await;
        }
        seconds(&client, 9).await;
        assert!(client.pop(&Pop::new("T")).await.is_empty(), "before its time");
        seconds(&client, 3).await;
        let again = client.pop(&Pop::new("T")).await;
        assert_eq!(bodies(&again), bodies(&lost));
        let pop_time = |popped: &Popped| ReceiptHandle::parse(&popped.handle).expect("a handle").pop_time;
        for popped in &again {
            assert_eq!((popped.message.topic.as_str(), popped.message.reconsume_times), ("T", 1));
            let first = lost.iter().find(|first| first.message.body == popped.message.body).expect("lost");
            assert_eq!(popped.message.property("1ST_POP_TIME"), Some(&*pop_time(first).to_string()));
        }
        // Handles of the first delivery have no effect any more; those of the second one do.
        for popped in &lost {
            client.ack(popped).await;
        }
        for popped in &again[1..] {
            client.ack(popped).await;
        }
        seconds(&client, 12).await;
        let third = client.pop(&Pop::new("T")).await;
        assert_eq!(bodies(&third), bodies(&again[..1]));
        assert_eq!(third[0].message.reconsume_times, 2);
        let first_time = third[0].message.property("1ST_POP_TIME");
        assert_eq!(first_time, again[0].message.property("1ST_POP_TIME"));
    });
}

#[test]
fn a_held_pop_wakes_whichever_shard_the_message_comes_to() {
    Setup::new(82).run(|client| async move {
        send(&client, 4).await;
        client.pop_all("T").await;
        for queue in 0..4 {
            let waiting = client.another();
            let pop = Pop { poll_ms: 15_000, ..Pop::new("T") };
            let started = client.io.now();
            let (found, ()) = futures(&client, async move { waiting.pop(&pop).await }, {
                let client = client.clone();
                async move {
                    seconds(&client, 5).await;
                    client.send(Send::new("T", queue, "late")).await;
                }
            })
            .await;
            assert_eq!(found.len(), 1, "queue {queue}");
            let waited = client.io.now().since(started);
            assert!((4_999..5_300).contains(&waited.as_millis()), "queue {queue}: woken after {waited:?}");
            client.ack(&found[0]).await;
        }
        let started = client.io.now();
        assert!(client.pop(&Pop { poll_ms: 3_000, ..Pop::new("T") }).await.is_empty());
        let waited = client.io.now().since(started).as_millis();
        assert!((2_990..3_300).contains(&waited), "answered after {waited} ms");
    });
}

/// Both at once.
async fn futures<A: 'static, B: 'static>(
    client: &Client,
    first: impl Future<Output = A> + 'static,
    second: impl Future<Output = B> + 'static,
) -> (A, B) {
    let slot = std::rc::Rc::new(std::cell::RefCell::new(None));
    let filled = std::rc::Rc::clone(&slot);
    client.io.spawn(async move {
        let value = first.await;
        *filled.borrow_mut() = Some(value);
    });
    let second = second.await;
    loop {
        if let Some(first) = slot.borrow_mut().take() {
            return (first, second);
        }
        client.io.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn tags_filter_and_what_is_not_wanted_is_passed_over() {
    Setup::new(83).run(|client| async move {
        for n in 0..3_000 {
            client.send(Send::new("T", n % 4, "unwanted").property("TAGS", "A")).await;
        }
        client.send(Send::new("T", 3, "wanted").property("TAGS", "B")).await;
        let pop = Pop { expression: "B || C".to_owned(), poll_ms: 1_000, ..Pop::new("T") };
        assert_eq!(bodies(&client.pop(&pop).await), ["wanted"]);
        assert!(client.pop(&Pop::new("T")).await.is_empty(), "the group has passed over the others");
    });
}

#[test]
fn expressions_filter_pops_that_wait_and_retries_too() {
    Setup::with(96, "enablePropertyFilter=true").run(|client| async move {
        let sized = |queue, size: &str| Send::new("T", queue, size).property("size", size);
        for n in 0..8 {
            client.send(sized(n % 4, "1")).await;
        }
        let pop = Pop { expression: "size > 4".to_owned(), poll_ms: 5_000, ..Pop::new("T") };
        let request = pop.request().str("expType", "SQL92");
        let (waiting, held) = (client.another(), request.clone());
        let (found, ()) = futures(&client, async move { popped(&waiting.done(&held).await) }, {
            let client = client.clone();
            async move {
                seconds(&client, 1).await;
                client.send(sized(2, "2")).await;
                client.send(sized(3, "7")).await;
            }
        })
        .await;
        assert_eq!(bodies(&found), ["7"]);
        seconds(&client, 12).await;
        assert_eq!(bodies(&popped(&client.done(&request).await)), ["7"]);
        let broken = Pop { expression: "size >".to_owned(), ..Pop::new("T") };
        let (code, _) = client.refusal(&broken.request().str("expType", "SQL92")).await;
        assert_eq!(code, response::SUBSCRIPTION_PARSE_FAILED);
    });
}

#[test]
fn a_message_can_stay_invisible_for_longer_or_shorter() {
    Setup::new(84).run(|client| async move {
        send(&client, 2).await;
        let first = client.pop(&Pop::new("T")).await;
        let longer = client.change(&first[0], 60_000).await;
        let shorter = client.change(&first[1], 1_000).await;
        // The handle that was replaced does nothing.
        client.ack(&first[0]).await;
        seconds(&client, 3).await;
        let again = client.pop(&Pop::new("T")).await;
        assert_eq!(bodies(&again), bodies(&first[1..]));
        client.ack(&shorter).await;
        seconds(&client, 40).await;
        assert_eq!(bodies(&client.pop(&Pop::new("T")).await), bodies(&first[1..]), "never acknowledged");
        client.ack(&longer).await;
        seconds(&client, 60).await;
        assert_eq!(client.pop_all("T").await, bodies(&first[1..]));
    });
}

#[test]
fn a_handle_that_is_worth_nothing_any_more_changes_nothing() {
    Setup::new(97).run(|client| async move {
        send(&client, 3).await;
        let first = client.pop(&Pop::new("T")).await;
        let [acked, replaced, late] = &first[..] else { panic!("{} messages", first.len()) };
        client.ack(acked).await;
        let longer = client.change(replaced, 60_000).await;
        seconds(&client, 12).await;
        let again = client.pop(&Pop { invisible_ms: 30_000, ..Pop::new("T") }).await;
        assert_eq!(bodies(&again), bodies(std::slice::from_ref(late)), "revived");
        // SUCCESS each time, as the reference answers. It makes another delivery of the message then, also of the acknowledged one.
        for stale in &first {
            client.change(stale, 1_000).await;
        }
        seconds(&client, 10).await;
        assert!(client.pop(&Pop::new("T")).await.is_empty());
        client.ack(&longer).await;
        client.ack(&again[0]).await;
        seconds(&client, 60).await;
        assert!(client.pop(&Pop::new("T")).await.is_empty());
    });
}

#[test]
fn acknowledgements_come_in_batches_across_shards() {
    Setup::new(85).run(|client| async move {
        send(&client, 32).await;
        let all = client.pop(&Pop::new("T")).await;
        let entry = |queue: i32| {
            let of_queue: Vec<_> = all.iter().filter(|popped| popped.message.queue_id == queue).collect();
            let handle = ReceiptHandle::parse(&of_queue[0].handle).expect("a handle");
            // The last one is left out.
            let offsets = of_queue[..of_queue.len() - 1].iter().map(|popped| popped.message.queue_offset);
            BatchAckEntry {
                consumer_group: "consumers".to_owned(),
                topic: "T".to_owned(),
                retry: "0".to_owned(),
                start_offset: handle.start_offset,
                queue_id: queue,
                revive_queue_id: handle.revive_queue_id,
                pop_time: handle.pop_time,
                invisible_time: handle.invisible_time,
                bits: offsets
                    .map(|offset| usize::try_from(offset - handle.start_offset).expect("small"))
                    .collect(),
            }
        };
        let body = BatchAck { broker_name: "broker-a".to_owned(), acks: (0..4).map(entry).collect() };
        client.done(&Request::new(request::BATCH_ACK_MESSAGE).body(body.to_json())).await;
        seconds(&client, 12).await;
        assert_eq!(client.pop_all("T").await, numbers(28..32));
        let empty = Request::new(request::BATCH_ACK_MESSAGE).body("{\"acks\":[]}");
        assert_eq!(client.refusal(&empty).await.0, response::NO_MESSAGE);
    });
}

#[test]
fn looking_takes_nothing() {
    Setup::new(86).run(|client| async move {
        send(&client, 6).await;
        let question = |code| {
            Request::new(code)
                .str("consumerGroup", "consumers")
                .str("topic", "T")
                .int("queueId", -1)
                .int("maxMsgNums", 32)
                .int("pollTime", 0)
                .int("bornTime", 0)
        };
        // The group has to exist.
        client.heartbeat("T", "*").await;
        let peeked = client.done(&question(request::PEEK_MESSAGE)).await;
        assert_eq!(messages(&peeked.body()).len(), 6);
        let notified = client.done(&question(request::NOTIFICATION)).await;
        assert_eq!(notified.field("hasMsg").as_deref(), Some("true"));
        assert_eq!(client.pop_all("T").await, numbers(0..6));
        assert_eq!(client.call(&question(request::PEEK_MESSAGE)).await.code(), response::PULL_NOT_FOUND);
        let notified = client.done(&question(request::NOTIFICATION)).await;
        assert_eq!(notified.field("hasMsg").as_deref(), Some("false"));
        let waiting = client.another();
        let pop = Pop { poll_ms: 2_000, ..Pop::new("T") };
        let (_, count) = futures(&client, async move { waiting.pop(&pop).await }, {
            let (client, question) = (client.clone(), question(request::POLLING_INFO));
            async move {
                seconds(&client, 1).await;
                number(&client.done(&question).await, "pollingNum")
            }
        })
        .await;
        assert_eq!(count, 1);
    });
}

#[test]
fn a_group_begins_where_it_says() {
    Setup::with(87, "initPopOffsetByCheckMsgInMem=false").run(|client| async move {
        for n in 0..3 {
            client.send(Send::new("T", 0, &n.to_string())).await;
        }
        let pop = Pop { from_end: true, queue_id: 0, ..Pop::new("T") };
        assert_eq!(bodies(&client.pop(&pop).await), ["2"]);
    });
}

#[test]
fn what_is_refused_says_why() {
    Setup::with(88, "popPollingSize=2").run(|client| async move {
        send(&client, 4).await;
        let refusal = |pop: Pop| {
            let client = client.clone();
            async move { client.refusal(&pop.request()).await.0 }
        };
        assert_eq!(refusal(Pop { max: 33, ..Pop::new("T") }).await, response::INVALID_PARAMETER);
        assert_eq!(refusal(Pop { queue_id: 4, ..Pop::new("T") }).await, response::INVALID_PARAMETER);
        assert_eq!(refusal(Pop::new("missing")).await, response::TOPIC_NOT_EXIST);
        let broken = Pop { expression: "||".to_owned(), ..Pop::new("T") };
        assert_eq!(refusal(broken).await, response::SUBSCRIPTION_PARSE_FAILED);
        let late = Pop::new("T").request().int("bornTime", 1);
        assert_eq!(client.refusal(&late).await.0, response::POLLING_TIMEOUT);

        let some = client.pop(&Pop::new("T")).await;
        let mut beyond = some[0].clone();
        beyond.message.queue_offset = 7;
        assert_eq!(client.refusal(&beyond.ack()).await.0, response::NO_MESSAGE);
        assert_eq!(client.refusal(&beyond.change(1_000)).await.0, response::NO_MESSAGE);
        beyond.message.queue_id = 9;
        assert_eq!(client.refusal(&beyond.ack()).await.0, response::MESSAGE_ILLEGAL);
        beyond.message.topic = "missing".to_owned();
        assert_eq!(client.refusal(&beyond.ack()).await.0, response::TOPIC_NOT_EXIST);

        let hold = Pop { poll_ms: 5_000, ..Pop::new("T") };
        for _ in 0..2 {
            let (waiting, hold) = (client.another(), hold.clone());
            client.io.spawn(async move { drop(waiting.pop(&hold).await) });
        }
        seconds(&client, 1).await;
        let answer = client.call(&hold.request()).await;
        assert_eq!(answer.code(), response::POLLING_FULL);
        number(&answer, "restNum");
        let set = Request::new(request::UPDATE_BROKER_CONFIG).body("timerWheelEnable=false");
        client.done(&set).await;
        assert_eq!(refusal(Pop::new("T")).await, response::SYSTEM_ERROR);
    });
}

#[test]
fn a_reset_takes_messages_back_from_those_who_hold_them() {
    Setup::new(89).run(|client| async move {
        send(&client, 8).await;
        let first = client.pop(&Pop::new("T")).await;
        client.heartbeat("T", "*").await;
        let reset = Request::new(request::INVOKE_BROKER_TO_RESET_OFFSET)
            .str("topic", "T")
            .str("group", "consumers")
            .int("timestamp", 0)
            .bool("isForce", true);
        client.done(&reset).await;
        let again = client.pop(&Pop::new("T")).await;
        assert_eq!(bodies(&again), bodies(&first));
        for popped in &again {
            client.ack(popped).await;
        }
        seconds(&client, 30).await;
        assert!(client.pop_all("T").await.is_empty(), "neither delivery comes again");
    });
}

#[test]
fn a_full_group_waits_until_something_is_acknowledged() {
    let settings = "enablePopMessageThreshold=true\npopInflightMessageThreshold=2";
    Setup::with(90, settings).run(|client| async move {
        for n in 0..6 {
            client.send(Send::new("T", 0, &n.to_string())).await;
        }
        let pop = Pop { max: 1, queue_id: 0, ..Pop::new("T") };
        let held = [client.pop(&pop).await, client.pop(&pop).await].concat();
        assert_eq!(bodies(&held), ["0", "1"]);
        assert!(client.pop(&pop).await.is_empty());
        client.ack(&held[0]).await;
        assert_eq!(bodies(&client.pop(&pop).await), ["2"]);
    });
}

/// Pops half of what there is, acknowledges half of that; gives what is in flight.
fn leave_half(setup: &mut Setup) -> Vec<String> {
    setup.run(|client| async move {
        send(&client, 64).await;
        let first = client.pop(&Pop { invisible_ms: 20_000, ..Pop::new("T") }).await;
        for popped in &first[..16] {
            client.ack(popped).await;
        }
        // Long enough for everything under ASYNC_FLUSH to be on disk, offsets included.
        seconds(&client, 8).await;
        bodies(&first[16..])
    })
}

/// Everything that is neither acknowledged nor in flight comes at once, the rest when its time is over.
fn check_nothing_is_lost(setup: &mut Setup, in_flight: Vec<String>) {
    setup.run(move |client| async move {
        let rest = client.pop_all("T").await;
        assert_eq!(rest.len(), 32, "neither acknowledged nor in flight: {rest:?}");
        assert!(rest.iter().all(|body| !in_flight.contains(body)));
        seconds(&client, 20).await;
        assert_eq!(client.pop_all("T").await, in_flight);
        seconds(&client, 30).await;
        assert!(client.pop_all("T").await.is_empty());
    });
}

#[test]
fn pops_survive_a_kill() {
    let mut setup = Setup::new(91);
    let in_flight = leave_half(&mut setup);
    setup.kill_and_restart();
    check_nothing_is_lost(&mut setup, in_flight);
}

#[test]
fn pops_survive_a_power_cut() {
    for settings in ["", "flushDiskType=SYNC_FLUSH"] {
        let mut setup = Setup::with(92, settings);
        let in_flight = leave_half(&mut setup);
        setup.power_cut_and_restart();
        check_nothing_is_lost(&mut setup, in_flight);
    }
}

#[test]
fn pops_survive_a_stop_in_order() {
    let mut setup = Setup::new(93);
    let in_flight = leave_half(&mut setup);
    setup.stop_and_restart();
    check_nothing_is_lost(&mut setup, in_flight);
}

#[test]
fn retries_survive_a_kill_with_their_handles() {
    let mut setup = Setup::new(94);
    let again = setup.run(|client| async move {
        send(&client, 8).await;
        client.pop(&Pop::new("T")).await;
        seconds(&client, 12).await;
        let answer = client.done(&Pop::new("T").request()).await;
        popped(&answer)
    });
    assert_eq!(bodies(&again), numbers(0..8));
    setup.kill_and_restart();
    setup.run(move |client| async move {
        for popped in &again {
            client.ack(popped).await;
        }
        seconds(&client, 30).await;
        assert!(client.pop_all("T").await.is_empty());
    });
}

#[test]
fn a_deleted_topic_takes_its_pops_along() {
    Setup::new(95).run(|client| async move {
        send(&client, 8).await;
        client.pop(&Pop::new("T")).await;
        client.done(&Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "T")).await;
        seconds(&client, 15).await;
        send(&client, 4).await;
        assert_eq!(client.pop_all("T").await, numbers(0..4));
    });
}
