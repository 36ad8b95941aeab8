//! A thousand members in one group.

use std::collections::BTreeSet;

use ringmq_remoting::body::{QueryAssignment, QueueAssignments};
use ringmq_remoting::code::request;
use ringmq_transport::Request;

use crate::setup::{BROKER_PORT, Caller, SECOND, Setup, heartbeat, update_topic};
use crate::support::address;

const MEMBERS: usize = 1_000;
/// More than members, and no multiple of them.
const QUEUES: i32 = 1_300;

fn name(number: usize) -> String {
    format!("member-{number:04}")
}

/// The queues that the broker gives to a member.
async fn share(member: &Caller, client_id: String) -> BTreeSet<i32> {
    let body = QueryAssignment {
        client_id,
        consumer_group: "g".to_owned(),
        strategy_name: "AVG".to_owned(),
        topic: "T".to_owned(),
        ..QueryAssignment::default()
    };
    let answer = member.done(Request::new(request::QUERY_ASSIGNMENT).body(body.to_json())).await;
    let shares = QueueAssignments::from_json(&answer.body()).expect("an answer").message_queue_assignments;
    shares.expect("a share").iter().map(|share| share.message_queue.queue_id).collect()
}

/// Whoever asks sees all of them; between them they have every queue once, and nobody has two more than another.
async fn check_shared(members: &[(String, Caller)]) {
    let names: Vec<_> = members.iter().map(|(name, _)| name.clone()).collect();
    let mut shared = BTreeSet::new();
    for (number, (name, member)) in members.iter().enumerate() {
        if number % 100 == 0 {
            let mut seen = member.consumers("g").await;
            seen.sort();
            assert!(seen == names, "{name} sees {} members", seen.len());
        }
        let mine = share(member, name.clone()).await;
        let least = QUEUES as usize / members.len();
        assert!((least..=least + 1).contains(&mine.len()), "{name} has {} queues", mine.len());
        for queue in mine {
            assert!(shared.insert(queue), "queue {queue} has two owners");
        }
    }
    assert_eq!(shared, (0..QUEUES).collect());
}

#[test]
fn a_thousand_members_share_the_queues_and_hear_of_one_another() {
    let mut setup = Setup::new(90);
    setup.run(|admin| async move {
        admin.done(update_topic("T", QUEUES.into())).await;
        let mut members = Vec::new();
        for number in 0..MEMBERS {
            let member = admin.another();
            member.heartbeat(&heartbeat(&name(number), "g", &["T"])).await;
            members.push((name(number), member));
        }
        admin.io.sleep(SECOND).await;
        for (number, (name, member)) in members.iter().enumerate() {
            assert_eq!(member.notices("g"), MEMBERS - number, "{name} hears of itself and who came later");
        }
        check_shared(&members).await;

        // Every second one is gone at once.
        let mut stay = Vec::new();
        for (number, (name, member)) in members.into_iter().enumerate() {
            match number % 2 {
                0 => stay.push((name, member)),
                _ => member.client.disconnect(address(1, BROKER_PORT)),
            }
        }
        admin.io.sleep(SECOND).await;
        for (number, (name, member)) in stay.iter().enumerate() {
            let before = MEMBERS - 2 * number;
            assert_eq!(member.notices("g"), before + MEMBERS / 2, "{name} hears of those who left");
        }
        check_shared(&stay).await;
    });
}
