use std::time::Duration;

use ringmq_reactor::sim::DiskFaults;
use ringmq_remoting::code::{request, response};

use crate::client::{Client, Pull, Send, number};
use crate::setup::Setup;

const BODY_BYTES: usize = 4 << 20;

fn large(queue: i64) -> Send {
    Send::new("T", queue, "").body(vec![b'x'; BODY_BYTES])
}

/// Makes the topic (four queues on three shards, so that two of them have the same owner) and the group, which would wait for a
/// slow disk later.
async fn make_topic(client: Client) {
    for queue in 0..4 {
        client.send(Send::new("T", queue, "first")).await;
        client.pull(Pull::new("T", queue, 0)).await;
    }
}

#[test]
fn a_late_flush_is_told_and_the_message_is_kept() {
    let mut setup = Setup::with(50, "flushDiskType=SYNC_FLUSH\nsyncFlushTimeout=500");
    setup.run(make_topic);
    setup.world.set_disk_faults(setup.server, DiskFaults { slowness: 20_000.0, ..DiskFaults::default() });
    setup.run(|client| async move {
        let started = client.io.now();
        let answer = client.call(&Send::new("T", 0, "late").request()).await;
        assert_eq!(answer.code(), response::FLUSH_DISK_TIMEOUT, "{}", answer.remark());
        assert_eq!(number(&answer, "queueOffset"), 1);
        let waited = client.io.now().since(started);
        assert!((500..700).contains(&waited.as_millis()), "answered after {waited:?}");
        assert_eq!(client.drain("T", 0).await.len(), 1, "what is not flushed is not shown");
    });
    setup.world.set_disk_faults(setup.server, DiskFaults::default());
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(3_600)).await;
        let bodies: Vec<_> = client.drain("T", 0).await.into_iter().map(|m| m.body).collect();
        assert_eq!(bodies, ["first", "late"]);
        assert_eq!(client.send(Send::new("T", 0, "next")).await, 2);
    });
}

#[test]
fn a_failed_write_ends_that_shards_log_and_no_other() {
    let mut setup = Setup::with(51, "tailCachePath=");
    setup.run(make_topic);
    setup.world.set_disk_faults(setup.server, DiskFaults { write_error: 1.0, ..DiskFaults::default() });
    setup.run(|client| async move {
        let (code, remark) = client.refusal(&Send::new("T", 0, "second").request()).await;
        assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "{remark}");
        assert!(remark.contains("log write at log offset"), "{remark}");
    });
    setup.world.set_disk_faults(setup.server, DiskFaults::default());
    setup.run(|client| async move {
        let mut refused = 0;
        for queue in 0..4 {
            let (code, remark) = client.refusal(&Send::new("T", queue, "third").request()).await;
            refused += i32::from(code == response::SERVICE_NOT_AVAILABLE);
            assert!(queue != 0 || remark.contains("log write at log offset"), "it stays so: {code} {remark}");
            assert_eq!(client.drain("T", queue).await[0].body, "first", "what was acknowledged can be read");
        }
        assert!((1..=2).contains(&refused), "{refused} of four queues on three shards");
    });
    setup.kill_and_restart();
    setup.run(|client| async move {
        for queue in 0..4 {
            client.send(Send::new("T", queue, "after the restart")).await;
        }
    });
}

#[test]
fn a_disk_that_does_not_keep_up_is_told_as_busy() {
    let mut setup = Setup::with(52, "tailCachePath=");
    setup.run(make_topic);
    setup.world.set_disk_faults(setup.server, DiskFaults { slowness: 1_000_000.0, ..DiskFaults::default() });
    setup.run(|client| async move {
        // Several connections: what one may have in flight is less than the log's tail holds.
        for _ in 0..5 {
            let sender = client.another();
            for _ in 0..6 {
                let sender = sender.clone();
                client.io.spawn(async move {
                    let _ = sender.try_call(&large(0).request()).await;
                });
            }
        }
        client.io.sleep(Duration::from_secs(20)).await;
        let (code, remark) = client.another().refusal(&large(0).request()).await;
        assert_eq!(code, response::SYSTEM_BUSY, "{remark}");
        assert!(remark.starts_with("[REJECTREQUEST]system busy"), "{remark}");
        assert_eq!(client.another().drain("T", 0).await.len(), 1, "reading goes on");
    });
    setup.world.set_disk_faults(setup.server, DiskFaults::default());
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(12 * 3_600)).await;
        client.send(Send::new("T", 0, "taken again")).await;
    });
}

#[test]
fn old_messages_come_from_disk_and_wait_for_nobody() {
    let mut setup = Setup::new(53);
    setup.run(make_topic);
    setup.run(|client| async move {
        // More than the tail cache holds.
        for _ in 0..24 {
            client.send(large(0)).await;
        }
        let old = client.pull(Pull::new("T", 0, 0)).await;
        assert_eq!(old[0].body, "first");
        let at = client.offset(request::GET_MAX_OFFSET, "T", 0).await;
        let mut offset = 0;
        while offset < at {
            let found = client.pull(Pull::new("T", 0, offset)).await;
            assert_eq!(found[0].queue_offset, offset);
            offset += i64::try_from(found.len()).expect("few");
        }
        client.heartbeat("T", "*").await;
        assert_eq!(client.send_back(&old[0], -1).await.code(), response::SUCCESS);
        assert_eq!(client.drain("%DLQ%consumers", 0).await[0].body, "first");
    });
}
