//! What the simulator promises, each part by itself.

mod disk;
mod mail;
mod memory;
mod network;
mod tasks;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{HostId, SimOptions, World};

/// A world of hosts 10.0.0.1, 10.0.0.2 …
fn world(seed: u64, hosts: u8) -> (World, Vec<HostId>) {
    let mut world = World::new(seed, SimOptions { trace_events: 200, ..SimOptions::default() });
    let ids = (1..=hosts).map(|n| world.add_host([10, 0, 0, n].into())).collect();
    (world, ids)
}

fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// What services report to the test.
type Log<T> = Arc<Mutex<Vec<T>>>;

fn log<T>() -> Log<T> {
    Arc::default()
}

fn note<T>(log: &Log<T>, entry: T) {
    log.lock().expect("not poisoned").push(entry);
}

fn taken<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut *log.lock().expect("not poisoned"))
}

const SECOND: Duration = Duration::from_secs(1);

/// A run with network, disk, mail, faults and crashes.
fn eventful(seed: u64) -> (u64, u64) {
    let (mut world, hosts) = world(seed, 2);
    let server = world.start(hosts[0], network::echo_server(address(1, 1000)));
    let heard = log();
    world.start(hosts[1], network::chatty_client(address(1, 1000), 200, &heard));
    world.start(hosts[1], disk::writer("/data", 50));
    world.run_for(SECOND);
    world.cut(hosts[0], hosts[1]);
    world.run_for(SECOND);
    world.heal_all();
    world.kill(server);
    world.power_cut(hosts[1]);
    world.start(hosts[1], disk::writer("/data", 50));
    world.run_for(SECOND);
    (world.trace_hash(), world.events())
}

#[test]
fn equal_seeds_give_equal_runs_and_others_differ() {
    let mut hashes: Vec<u64> = (0..40).map(|seed| eventful(seed).0).collect();
    for seed in [0, 7, 39] {
        assert_eq!(eventful(seed).0, hashes[seed as usize], "seed {seed}");
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 40);
    assert!(eventful(3).1 > 500, "{:?}", eventful(3));
}

/// Not a limit, a figure: `cargo test --release -p ringmq-reactor -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn speed() {
    let started = std::time::Instant::now();
    let (mut world, hosts) = world(1, 4);
    for host in 0..4 {
        world.start(hosts[usize::from(host)], network::echo_server(address(host + 1, 1000)));
        for to in 0..4 {
            world.start(
                hosts[usize::from(host)],
                network::chatty_client(address(to + 1, 1000), 50_000, &log()),
            );
        }
    }
    world.run_for(60 * SECOND);
    let (events, elapsed) = (world.events(), started.elapsed());
    println!("{events} events in {elapsed:?}: {:.2} million/s", events as f64 / elapsed.as_secs_f64() / 1e6);
    assert!(events > 1_000_000);
}
