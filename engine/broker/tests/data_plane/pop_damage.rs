//! Damage below the log of pops.

use std::path::Path;
use std::time::Duration;

use ringmq_broker::config::for_tests::StoreScale;
use ringmq_reactor::sim::{HostId, World};

use crate::client::Send;
use crate::pop_client::{Pop, Popped};
use crate::setup::Setup;

const PAGE: u64 = 4_096;
/// Of the messages in flight.
const INVISIBLE: Duration = Duration::from_secs(600);

/// Turns over a bit on this page of every index file that has it; on how many.
fn damage(world: &mut World, host: HostId, page: u64) -> usize {
    let mut damaged = 0;
    for shard in 0..3 {
        let folder = format!("/store/shard-{shard:02}/index");
        for entry in world.list(host, &folder) {
            let path = Path::new(&folder).join(entry.name);
            damaged += usize::from(world.flip_bits(host, path, page * PAGE + 50, 4));
        }
    }
    damaged
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    let mut bodies: Vec<_> = popped.iter().map(|popped| popped.message.body.as_str()).collect();
    bodies.sort_unstable();
    bodies
}

/// Entries of the first run of an index file are on its page 1; with so few queues, page 2 is its table.
#[test]
fn no_page_of_the_queue_index_ends_a_start_or_loses_what_is_in_flight() {
    for page in [1, 2] {
        let mut setup = Setup::scaled(98, "storePathRootDir=/store", StoreScale::Small);
        let in_flight = setup.run(|client| async move {
            for n in 0..32 {
                client.send(Send::new("T", n % 4, &n.to_string())).await;
            }
            let in_flight =
                client.pop(&Pop { invisible_ms: INVISIBLE.as_millis() as i64, ..Pop::new("T") }).await;
            assert_eq!(in_flight.len(), 32);
            for popped in &in_flight[..10] {
                client.ack(popped).await;
            }
            // Several runs for every shard.
            let filler = "x".repeat(4_000);
            for n in 0..600 {
                client.send(Send::new("F", n % 4, &filler)).await;
            }
            client.io.sleep(Duration::from_secs(10)).await;
            in_flight
        });
        setup.kill_and_restart_after(|world, host| {
            assert!(damage(world, host, page) >= 3, "a run for every shard");
        });
        let kept = in_flight.clone();
        setup.run(move |client| async move {
            assert!(client.pop(&Pop::new("T")).await.is_empty(), "page {page}: nothing is popped twice");
            for popped in &kept[10..20] {
                client.ack(popped).await;
            }
        });
        // Makes the runs again: the messages themselves are found by them.
        setup.kill_and_restart();
        setup.run(move |client| async move {
            client.io.sleep(INVISIBLE + Duration::from_secs(5)).await;
            let again = client.pop(&Pop::new("T")).await;
            assert_eq!(bodies(&again), bodies(&in_flight[20..]), "page {page}: what was not acknowledged");
        });
    }
}
