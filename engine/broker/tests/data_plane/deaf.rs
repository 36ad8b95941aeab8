//! Consumers that do not read what they asked for.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::task::TaskConnection;
use ringmq_remoting::code::response;
use ringmq_transport::OwnedResponse;

use crate::client::{Client, Pull, Send, messages};
use crate::setup::{PORT, Setup};
use crate::support::address;

const BODY_BYTES: usize = 1 << 20;
/// More than a connection's outbox takes before its requests are no longer read.
const PULLS: i32 = 40;

async fn send(client: &Client, count: i32) {
    for _ in 0..count {
        client.send(Send::new("T", 0, "").body(vec![b'x'; BODY_BYTES])).await;
    }
}

/// One pull for each message: an answer carries only one of this size.
fn pulls() -> impl Iterator<Item = Bytes> {
    (0..PULLS).map(|n| Pull::new("T", 0, n.into()).request().encode(n, false))
}

/// The next answer of a stream; `None`: the broker has closed it.
async fn next_answer(stream: &TaskConnection, received: &mut VecDeque<u8>) -> Option<OwnedResponse> {
    loop {
        let length = received.iter().take(4).fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        if received.len() >= 4 && received.len() >= 4 + length {
            let frame: Vec<u8> = received.drain(..4 + length).collect();
            return Some(OwnedResponse::parse(Bytes::from(frame)).expect("a frame"));
        }
        received.extend(stream.recv().await.ok()??);
    }
}

#[test]
fn who_reads_late_gets_everything_and_holds_up_nobody() {
    Setup::new(120).run(|client| async move {
        send(&client, PULLS).await;
        let deaf = client.io.connect(address(1, PORT)).await.expect("connected");
        for pull in pulls() {
            deaf.send(pull).expect("open");
            client.io.sleep(Duration::from_millis(10)).await;
        }
        // Others read the same queue; and more is sent than the tail cache holds, which it has answers in.
        let other = client.another();
        for offset in 0..PULLS {
            assert_eq!(other.pull(Pull::new("T", 0, offset.into())).await.len(), 1);
        }
        for round in 1..=3 {
            send(&client, PULLS).await;
            assert_eq!(other.pull(Pull::new("T", 0, (round * PULLS).into())).await.len(), 1);
        }
        // In any order: some come from disk.
        let (mut received, mut offsets) = (VecDeque::new(), BTreeSet::new());
        for _ in 0..PULLS {
            let answer = next_answer(&deaf, &mut received).await.expect("not closed");
            let (code, offset) = (answer.code(), answer.command().opaque);
            assert_eq!(code, response::SUCCESS);
            let found = messages(&answer.body());
            assert_eq!((found[0].queue_offset, found[0].body.len()), (offset.into(), BODY_BYTES));
            offsets.insert(offset);
        }
        assert_eq!(offsets, (0..PULLS).collect());
    });
}

#[test]
fn who_never_reads_is_cut_off() {
    Setup::with(121, "unsentBytesMaxPerConnection=26214400").run(|client| async move {
        send(&client, PULLS).await;
        let deaf = client.io.connect(address(1, PORT)).await.expect("connected");
        // All in one piece: everything is accepted before the first answer shows that nobody reads.
        deaf.send(Bytes::from(pulls().collect::<Vec<_>>().concat())).expect("open");
        client.io.sleep(Duration::from_secs(30)).await;
        let mut received = VecDeque::new();
        let mut answers = 0;
        while next_answer(&deaf, &mut received).await.is_some() {
            answers += 1;
        }
        assert!(answers < PULLS, "{answers} answers were kept for it");
        assert_eq!(client.another().pull(Pull::new("T", 0, 0)).await.len(), 1);
        send(&client, 1).await;
    });
}
