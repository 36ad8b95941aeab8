//! Old messages go, and what consumers, producers and operators see of it.

use std::time::Duration;

use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::client::{Client, Pull, Send, number};
use crate::setup::Setup;

const HOUR: Duration = Duration::from_secs(3_600);
const BODY_BYTES: usize = 4 << 20;
/// The smallest segment that a broker takes: seven messages.
const SMALL: &str = "flushDiskType=SYNC_FLUSH\nfileReservedTime=1\nmappedFileSizeCommitLog=33554432\n";
const EVERY_HOUR: &str =
    "deleteWhen=00;01;02;03;04;05;06;07;08;09;10;11;12;13;14;15;16;17;18;19;20;21;22;23\n";

async fn fill(client: &Client, count: usize) {
    for _ in 0..count {
        client.send(Send::new("T", 0, "").body(vec![b'x'; BODY_BYTES])).await;
    }
}

async fn bounds(client: &Client) -> (i64, i64) {
    let min = client.offset(request::GET_MIN_OFFSET, "T", 0).await;
    (min, client.offset(request::GET_MAX_OFFSET, "T", 0).await)
}

#[test]
fn min_offsets_move_and_consumers_are_told_where_to_go_on() {
    let mut setup = Setup::with(90, &format!("{SMALL}{EVERY_HOUR}"));
    let min = setup.run(|client| async move {
        client.send(Send::new("T", 0, "first")).await;
        client.send(Send::new("T", 1, "alone")).await;
        fill(&client, 18).await;
        assert_eq!(bounds(&client).await, (0, 19));
        client.io.sleep(2 * HOUR).await;
        let (min, max) = bounds(&client).await;
        assert!((12..=18).contains(&min) && max == 19, "{min} {max}");
        let answer = client.call(&Pull::new("T", 0, 0).request()).await;
        assert_eq!(answer.code(), response::PULL_OFFSET_MOVED, "{}", answer.remark());
        assert_eq!(answer.remark(), "OFFSET_TOO_SMALL");
        assert_eq!((number(&answer, "nextBeginOffset"), number(&answer, "minOffset")), (min, min));
        assert_eq!(client.pull(Pull::new("T", 0, min)).await[0].queue_offset, min);
        min
    });
    setup.power_cut_and_restart();
    setup.run(move |client| async move {
        assert_eq!(bounds(&client).await, (min, 19));
        assert_eq!(client.send(Send::new("T", 0, "more")).await, 19);
        // Whatever is left of its message, this queue goes on.
        assert_eq!(client.send(Send::new("T", 1, "more")).await, 1);
    });
}

#[test]
fn an_operator_can_ask_for_it_outside_the_hour() {
    // The simulated day begins at half past one in the afternoon.
    let mut setup = Setup::with(91, SMALL);
    setup.run(|client| async move {
        fill(&client, 18).await;
        client.io.sleep(2 * HOUR).await;
        assert_eq!(bounds(&client).await, (0, 18));
        client.done(&Request::new(request::CLEAN_EXPIRED_CONSUMEQUEUE)).await;
        client.done(&Request::new(request::DELETE_EXPIRED_COMMITLOG)).await;
        client.io.sleep(Duration::from_secs(30)).await;
        assert!(bounds(&client).await.0 > 10);
        // A key that is changed while it runs.
        fill(&client, 18).await;
        client.done(&Request::new(request::UPDATE_BROKER_CONFIG).body(EVERY_HOUR)).await;
        client.io.sleep(2 * HOUR).await;
        assert!(bounds(&client).await.0 > 28);
    });
}

#[test]
fn an_almost_full_disk_refuses_sends_and_nothing_else() {
    let settings =
        "flushDiskType=SYNC_FLUSH\ncleanFileForciblyEnable=false\nmappedFileSizeCommitLog=33554432\n";
    let mut setup = Setup::with(92, settings);
    setup.run(|client| async move {
        client.send(Send::new("T", 0, "first")).await;
        client.pull(Pull::new("T", 0, 0)).await;
    });
    // Three shards with a segment each, and hardly more.
    setup.world.set_disk_capacity(setup.server, 100 << 20);
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(11)).await;
        let (code, remark) = client.refusal(&Send::new("T", 0, "second").request()).await;
        assert_eq!(code, response::SERVICE_NOT_AVAILABLE, "{remark}");
        let text = "service not available now. It may be caused by one of the following reasons: the broker's disk is full [CL:  0.9";
        assert!(remark.starts_with(text), "{remark}");
        assert!(remark.contains("messages are put to the slave, message store has been shut down, etc."), "{remark}");
        let batch = client.refusal(&Send::batch("T", 0, &["a", "b"]).request()).await;
        assert_eq!(batch.0, response::SERVICE_NOT_AVAILABLE);
        assert_eq!(client.drain("T", 0).await[0].body, "first", "reading goes on");
        let info = client.done(&Request::new(request::GET_BROKER_RUNTIME_INFO)).await;
        let info = String::from_utf8(info.body().to_vec()).expect("text");
        assert!(info.contains("\"commitLogDiskRatio\":\"0.9"), "{info}");
        assert!(info.contains("\"putMessageFailedTimes\":\"2\""), "{info}");
    });
    setup.world.set_disk_capacity(setup.server, 1 << 40);
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(11)).await;
        assert_eq!(client.send(Send::new("T", 0, "second")).await, 1, "room returned");
    });
}

#[test]
fn delayed_messages_that_were_removed_do_not_hold_up_later_ones() {
    let settings = "flushDiskType=SYNC_FLUSH\nfileReservedTime=72\nmappedFileSizeCommitLog=33554432\nshards=1\nmessageDelayLevel=1h\n";
    let mut setup = Setup::with(93, settings);
    setup.run(|client| async move {
        client.send(Send::new("T", 0, "never seen").property("DELAY", "1")).await;
        fill(&client, 18).await;
        assert_eq!(bounds(&client).await, (0, 18));
    });
    // By force: two of four segments have to go.
    setup.world.set_disk_capacity(setup.server, 120 << 20);
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(60)).await;
        assert!(bounds(&client).await.0 > 0);
    });
    setup.world.set_disk_capacity(setup.server, 1 << 40);
    setup.run(|client| async move {
        client.io.sleep(Duration::from_secs(60)).await;
        client.send(Send::new("T", 0, "seen").property("DELAY", "1")).await;
        client.io.sleep(2 * HOUR).await;
        assert_eq!(bounds(&client).await.1, 19, "one of the two was delivered");
        assert_eq!(client.pull(Pull::new("T", 0, 18)).await[0].body, "seen");
    });
}
