//! A process of the simulated world that runs one task and ends with it.

#![allow(dead_code, reason = "each test file uses a part")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmq_reactor::sim::{HostId, SimOptions, World};
use ringmq_reactor::{Context, Event, ProcessSpec, Service, ShardSpec, TaskIo, Tasks};

/// A name for the future of a script.
type ScriptFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Script {
    tasks: Tasks,
    main: Option<Box<dyn FnOnce(TaskIo) -> ScriptFuture + Send>>,
}

impl Service<()> for Script {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let main = self.main.take().expect("started once");
        // The clock is only known to tasks after the first run.
        self.tasks.run(io);
        self.tasks.spawn(main(self.tasks.handle()));
        self.tasks.run(io);
    }

    fn handle(&mut self, _: &mut dyn Context<()>, event: Event<'_, ()>) {
        let _ = self.tasks.on_event(event);
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        self.tasks.run(io);
        if self.tasks.count() == 0 {
            io.exit();
        }
    }
}

/// A process that runs `main`.
pub fn script<Fut>(main: impl FnOnce(TaskIo) -> Fut + Send + 'static) -> ProcessSpec<()>
where
    Fut: Future<Output = ()> + 'static,
{
    let shard = ShardSpec {
        name: "script".to_owned(),
        cpu: None,
        service: Box::new(move |_| {
            let main = Box::new(move |io| Box::pin(main(io)) as ScriptFuture) as Box<_>;
            Box::new(Script { tasks: Tasks::new(), main: Some(main) }) as Box<dyn Service<()>>
        }),
    };
    ProcessSpec { name: "script".to_owned(), shards: vec![shard] }
}

/// A world of `hosts` hosts at 10.0.0.1 and up.
pub fn world(seed: u64, hosts: u8) -> (World, Vec<HostId>) {
    let mut world = World::new(seed, SimOptions::default());
    let ids = (1..=hosts).map(|n| world.add_host(ip(n))).collect();
    (world, ids)
}

/// Address of a host, by its place from 1.
pub fn ip(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

/// A port of a host.
pub fn address(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(ip(host), port)
}

/// Runs `main` on a host of the world and gives what it gave.
///
/// # Panics
/// If it has not ended after `limit`.
pub fn run<T, Fut>(
    world: &mut World,
    host: HostId,
    limit: Duration,
    main: impl FnOnce(TaskIo) -> Fut + Send + 'static,
) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let spec = script(move |io| {
        let future = main(io);
        async move {
            let value = future.await;
            *slot.lock().expect("one thread") = Some(value);
        }
    });
    world.start(host, spec);
    let ended = world.run_until(limit, |_| result.lock().expect("one thread").is_some());
    assert!(ended, "the script has not ended within {limit:?}");
    let value = result.lock().expect("one thread").take();
    value.expect("checked above")
}
