//! Brokers share out queues: 400, 401, 402.

use ringmq_remoting::body::{MessageRequestMode, MessageRequestModes, QueryAssignment, QueueAssignments};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{Caller, SECOND, Setup, heartbeat, update_topic};

fn mode(topic: &str, group: &str, mode: &str, share: i32) -> Request {
    let body = MessageRequestMode {
        consumer_group: group.to_owned(),
        mode: mode.to_owned(),
        pop_share_queue_num: share,
        topic: topic.to_owned(),
    };
    Request::new(request::SET_MESSAGE_REQUEST_MODE).body(body.to_json())
}

/// Mode and queue ids of a member's share; `None`: the broker cannot say.
async fn share(caller: &Caller, client_id: &str, topic: &str, strategy: &str) -> Option<(String, Vec<i32>)> {
    let body = QueryAssignment {
        client_id: client_id.to_owned(),
        consumer_group: "g".to_owned(),
        strategy_name: strategy.to_owned(),
        topic: topic.to_owned(),
        ..QueryAssignment::default()
    };
    let answer = caller.done(Request::new(request::QUERY_ASSIGNMENT).body(body.to_json())).await;
    let shares = QueueAssignments::from_json(&answer.body()).expect("an answer").message_queue_assignments?;
    let mode = shares.first().map(|share| share.mode.clone()).unwrap_or_default();
    Some((mode, shares.iter().map(|share| share.message_queue.queue_id).collect()))
}

/// Two members of a group that consumes four queues.
async fn two_members(caller: &Caller) -> Caller {
    caller.done(update_topic("T", 4)).await;
    caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
    let other = caller.another();
    other.heartbeat(&heartbeat("two", "g", &["T"])).await;
    other
}

fn pull(queues: &[i32]) -> Option<(String, Vec<i32>)> {
    Some(("PULL".to_owned(), queues.to_vec()))
}

fn pop(queues: &[i32]) -> Option<(String, Vec<i32>)> {
    Some(("POP".to_owned(), queues.to_vec()))
}

#[test]
fn queues_are_shared_out_as_the_group_consumes_them() {
    let mut setup = Setup::new(70);
    setup.run(|caller| async move {
        let other = two_members(&caller).await;
        assert_eq!(share(&caller, "one", "T", "AVG").await, pull(&[0, 1]));
        assert_eq!(share(&other, "two", "T", "AVG_BY_CIRCLE").await, pull(&[1, 3]));
        assert_eq!(share(&caller, "one", "T", "MACHINE_ROOM").await, None);
        assert_eq!(share(&caller, "one", "missing", "AVG").await, None);

        caller.done(mode("T", "g", "POP", -1)).await;
        assert_eq!(share(&caller, "one", "T", "AVG").await, pop(&[-1]));
        assert_eq!(share(&caller, "two", "T", "AVG").await, pop(&[-1]));
        caller.done(mode("T", "g", "PULL", -1)).await;
        assert_eq!(share(&caller, "two", "T", "AVG").await, pull(&[2, 3]));

        let (code, _) = caller.refused(mode("%RETRY%g", "g", "POP", -1)).await;
        assert_eq!(code, response::NO_PERMISSION);
        let (code, _) = caller.refused(mode("missing", "g", "POP", -1)).await;
        assert_eq!(code, response::TOPIC_NOT_EXIST);
        let (code, _) = caller.refused(mode("T", "nobody", "POP", -1)).await;
        assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        let (code, _) = caller.refused(mode("T", "g", "PUSH", -1)).await;
        assert_eq!(code, response::INVALID_PARAMETER);
    });
}

#[test]
fn without_name_servers_a_broker_shares_out_its_own_queues() {
    let mut setup =
        Setup::with(71, "namesrvAddr=\ndefaultMessageRequestMode=POP\ndefaultPopShareQueueNum=-1\n");
    setup.run(|caller| async move {
        two_members(&caller).await;
        assert_eq!(share(&caller, "one", "T", "AVG").await, pop(&[-1]));
        assert_eq!(share(&caller, "one", "%RETRY%g", "AVG").await, pull(&[0]), "retries are pulled");
    });
}

#[test]
fn modes_survive_a_kill_and_are_exported() {
    let mut setup = Setup::with(72, "exportMetadataInterval=1000");
    setup.run(|caller| async move {
        two_members(&caller).await;
        caller.done(mode("T", "g", "POP", 1)).await;
    });
    setup.world.run_for(5 * SECOND);
    setup.kill_and_restart("exportMetadataInterval=1000");
    let modes = setup.run(|caller| async move {
        let answer = caller.done(Request::new(request::GET_ALL_MESSAGE_REQUEST_MODE)).await;
        let modes = MessageRequestModes::from_json(&answer.body()).expect("modes").message_request_mode_map;
        caller.done(Request::new(request::DELETE_TOPIC_IN_BROKER).str("topic", "T")).await;
        let answer = caller.done(Request::new(request::GET_ALL_MESSAGE_REQUEST_MODE)).await;
        let left = MessageRequestModes::from_json(&answer.body()).expect("modes").message_request_mode_map;
        assert!(left.is_empty(), "a deleted topic takes its modes along");
        modes
    });
    assert_eq!((modes["T"]["g"].mode.as_str(), modes["T"]["g"].pop_share_queue_num), ("POP", 1));
}
