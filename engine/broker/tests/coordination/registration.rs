//! Name servers.

use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{SECOND, Setup, update_topic};

#[test]
fn a_new_topic_is_routed_when_its_creation_is_answered() {
    let mut setup = Setup::new(1);
    setup.run(|caller| async move {
        let route = caller.route("TBW102").await.expect("registered");
        assert_eq!(route.broker_datas[0].broker_addrs[&0], "10.0.0.1:10911");
        assert_eq!(route.queue_datas[0].perm, 7);
        caller.done(update_topic("T", 3)).await;
        let route = caller.route("T").await.expect("known at once");
        assert_eq!(route.queue_datas[0].write_queue_nums, 3);
    });
}

#[test]
fn a_name_server_that_is_down_disturbs_nothing_and_learns_everything_later() {
    let mut setup = Setup::new(2);
    setup.world.kill(setup.name_server);
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        let started = caller.io.now();
        caller.done(update_topic("U", 4)).await;
        assert!(
            caller.io.now().since(started) < SECOND,
            "nobody waits for a name server that is known to be down"
        );
    });
    setup.start_name_server();
    setup.world.run_for(10 * SECOND);
    setup.run(|caller| async move {
        assert!(caller.route("T").await.is_some());
        assert!(caller.route("U").await.is_some());
    });
}

#[test]
fn a_stopped_broker_is_not_routed_to() {
    let mut setup = Setup::new(3);
    setup.stop();
    setup.run(|caller| async move { assert!(caller.route("TBW102").await.is_none()) });
}

#[test]
fn the_brokers_permission_is_seen_by_clients() {
    let mut setup = Setup::new(4);
    setup.run(|caller| async move {
        caller.done(Request::new(request::UPDATE_BROKER_CONFIG).body("brokerPermission=4")).await;
        caller.io.sleep(SECOND).await;
        // The version of the topics is unchanged, so the name server may keep what it has until it changes.
        caller.done(update_topic("T", 4)).await;
        let route = caller.route("T").await.expect("registered");
        assert_eq!(route.queue_datas[0].perm, 4);
        let (code, _) =
            caller.refused(Request::new(request::UPDATE_BROKER_CONFIG).body("brokerPermission=99")).await;
        assert_eq!(code, response::SYSTEM_ERROR);
    });
}
