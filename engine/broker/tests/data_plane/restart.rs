use std::time::Duration;

use ringmq_remoting::code::response;

use crate::client::{Pull, Send};
use crate::setup::Setup;

/// Sends until the broker dies under it; gives how many were acknowledged per queue.
fn send_until_killed(setup: &mut Setup, rounds: i64) -> [i64; 4] {
    setup.run(move |client| async move {
        let mut acknowledged = [0; 4];
        for round in 0..rounds {
            for queue in 0..4 {
                let answer = client.try_call(&Send::new("T", queue, &round.to_string()).request()).await;
                if answer.is_some_and(|answer| answer.code() == response::SUCCESS) {
                    acknowledged[usize::try_from(queue).expect("small")] += 1;
                }
            }
        }
        acknowledged
    })
}

fn check_all_there(setup: &mut Setup, acknowledged: [i64; 4]) {
    setup.run(move |client| async move {
        for (queue, count) in (0..).zip(acknowledged) {
            let bodies: Vec<_> = client.drain("T", queue).await.into_iter().map(|m| m.body).collect();
            let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
            assert_eq!(bodies, expected, "queue {queue}");
        }
    });
}

#[test]
fn acknowledged_messages_survive_a_kill() {
    let mut setup = Setup::new(40);
    let acknowledged = send_until_killed(&mut setup, 20);
    assert_eq!(acknowledged, [20; 4]);
    setup.kill_and_restart();
    check_all_there(&mut setup, acknowledged);
}

#[test]
fn with_sync_flush_acknowledged_messages_survive_a_power_cut() {
    let mut setup = Setup::with(41, "flushDiskType=SYNC_FLUSH");
    let acknowledged = send_until_killed(&mut setup, 20);
    assert_eq!(acknowledged, [20; 4]);
    setup.power_cut_and_restart();
    check_all_there(&mut setup, acknowledged);
}

#[test]
fn offsets_and_messages_survive_a_stop_in_order() {
    let mut setup = Setup::new(42);
    setup.run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "0")).await;
            client.pull(Pull::new("T", queue, 0)).await;
            client.commit("T", queue, 1 + queue).await;
        }
    });
    setup.stop_and_restart();
    check_all_there(&mut setup, [1; 4]);
    setup.run(|client| async move {
        for queue in 0..4 {
            assert_eq!(client.committed("T", queue).await, Some(1 + queue));
            assert_eq!(client.send(Send::new("T", queue, "goes on")).await, 1);
        }
    });
}

#[test]
fn delayed_messages_survive_a_kill_and_are_not_repeated_after_a_stop() {
    let mut setup = Setup::new(43);
    setup.run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "early").property("DELAY", "1")).await;
            client.send(Send::new("T", queue, "late").property("DELAY", "4")).await;
        }
        client.io.sleep(Duration::from_secs(5)).await;
    });
    setup.stop_and_restart();
    setup.kill_and_restart();
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(40)).await;
        for queue in 0..4 {
            let bodies: Vec<_> = client.drain("T", queue).await.into_iter().map(|m| m.body).collect();
            assert_eq!(bodies, ["early", "late"], "queue {queue}");
        }
    });
}

#[test]
fn a_stop_answers_held_pulls() {
    let mut setup = Setup::new(44);
    setup.run(|client| async move {
        client.send(Send::new("T", 0, "0")).await;
        let held = client.clone();
        client.io.spawn(async move {
            // The answer, or the end of the connection: either way the client does not wait for its own timeout.
            held.try_call(&Pull::new("T", 0, 1).suspend(30_000).request()).await;
        });
        client.io.sleep(Duration::from_secs(1)).await;
    });
    let before = setup.world.now();
    setup.stop_and_restart();
    let took = setup.world.now().since(before);
    assert!(took < Duration::from_secs(20), "the stop took {took:?}");
}

#[test]
fn offsets_beyond_what_a_power_cut_left_go_back_to_the_end() {
    // Messages reach stable media later than offsets do.
    let mut setup = Setup::with(45, "flushIntervalCommitLog=60000\nflushConsumerOffsetInterval=100");
    setup.run(|client| async move {
        for queue in 0..4 {
            for body in ["0", "1", "2"] {
                client.send(Send::new("T", queue, body)).await;
            }
            client.pull(Pull::new("T", queue, 0)).await;
            client.commit("T", queue, 3).await;
        }
        client.io.sleep(Duration::from_secs(5)).await;
    });
    setup.power_cut_and_restart();
    let lost = setup.run(|client| async move {
        let mut lost = 0;
        for queue in 0..4 {
            let bodies: Vec<_> = client.drain("T", queue).await.into_iter().map(|m| m.body).collect();
            let end = bodies.len() as i64;
            lost += 3 - end;
            assert_eq!(client.committed("T", queue).await, Some(end), "queue {queue}");
            // Who comes next is consumed.
            assert_eq!(client.send(Send::new("T", queue, "new")).await, end);
        }
        lost
    });
    assert!(lost > 0, "the cut took nothing");
    // The corrected offsets are what is stored.
    setup.stop_and_restart();
    setup.run(|client| async move {
        for queue in 0..4 {
            let messages = client.drain("T", queue).await.len() as i64;
            assert_eq!(client.committed("T", queue).await, Some(messages - 1), "queue {queue}");
        }
    });
}
