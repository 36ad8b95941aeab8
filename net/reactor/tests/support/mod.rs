//! A service made of closures, and a way to run it on the kernel.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::mpsc;
use std::time::Duration;

use ringmq_reactor::uring::{self, Options, Process};
use ringmq_reactor::{Context, Event, ProcessSpec, Service, ShardId, ShardSpec};

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

type Start<M> = Box<dyn FnMut(&mut dyn Context<M>) + Send>;
type Handle<M> = Box<dyn FnMut(&mut dyn Context<M>, Event<'_, M>) + Send>;

/// Exits on [`Event::Stop`]; everything else is up to the closures.
pub struct Script<M> {
    pub start: Start<M>,
    pub handle: Handle<M>,
    pub end_of_turn: Start<M>,
}

impl<M: Send + 'static> Script<M> {
    pub fn new(
        start: impl FnMut(&mut dyn Context<M>) + Send + 'static,
        handle: impl FnMut(&mut dyn Context<M>, Event<'_, M>) + Send + 'static,
    ) -> Self {
        Self { start: Box::new(start), handle: Box::new(handle), end_of_turn: Box::new(|_| {}) }
    }

    pub fn shard(self, name: &str) -> ShardSpec<M> {
        ShardSpec { name: name.to_owned(), cpu: None, service: Box::new(move |_: ShardId| Box::new(self)) }
    }
}

impl<M: Send + 'static> Service<M> for Script<M> {
    fn start(&mut self, io: &mut dyn Context<M>) {
        (self.start)(io);
    }

    fn handle(&mut self, io: &mut dyn Context<M>, event: Event<'_, M>) {
        if matches!(event, Event::Stop) {
            io.exit();
        }
        (self.handle)(io, event);
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<M>) {
        (self.end_of_turn)(io);
    }
}

pub fn launch<M: Send + 'static>(scripts: Vec<Script<M>>) -> Process {
    launch_with(scripts, Options::default())
}

pub fn launch_with<M: Send + 'static>(scripts: Vec<Script<M>>, options: Options) -> Process {
    let shards =
        scripts.into_iter().enumerate().map(|(n, script)| script.shard(&format!("shard-{n}"))).collect();
    uring::launch(ProcessSpec { name: "test".to_owned(), shards }, options).expect("the process starts")
}

/// Stops the process and checks that it ends well.
pub fn finish(process: Process) {
    process.stop();
    process.wait().expect("the process ends well");
}

pub fn channel<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel()
}

/// The next thing a shard reports.
pub fn expect<T>(receiver: &mpsc::Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("a report within the test's patience")
}
