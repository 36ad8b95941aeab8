//! A process that is one task: tools, tests, scripted clients.

use std::future::Future;

use super::{TaskIo, Tasks};
use crate::{Context, Event, ProcessSpec, Service, ShardSpec};

struct TaskService {
    tasks: Tasks,
}

impl TaskService {
    fn run(&mut self, io: &mut dyn Context<()>) {
        self.tasks.run(io);
        if self.tasks.count() == 0 {
            io.exit();
        }
    }
}

impl Service<()> for TaskService {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.run(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        if let Some(Event::Stop) = self.tasks.on_event(event) {
            io.exit();
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        self.run(io);
    }
}

/// A process of one shard that runs `program` (and what it spawns) and exits with the last task, or when it is asked to stop.
pub fn process<F, P>(name: &str, program: P) -> ProcessSpec<()>
where
    F: Future<Output = ()> + 'static,
    P: FnOnce(TaskIo) -> F + Send + 'static,
{
    let service = move |_shard| -> Box<dyn Service<()>> {
        let tasks = Tasks::new();
        tasks.spawn(program(tasks.handle()));
        Box::new(TaskService { tasks })
    };
    ProcessSpec {
        name: name.to_owned(),
        shards: vec![ShardSpec {
            name: name.chars().take(15).collect(),
            cpu: None,
            service: Box::new(service),
        }],
    }
}
