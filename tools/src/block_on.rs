//! Runs one future on a reactor of its own: how command-line tools do network and disk work.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use ringmq_reactor::{Context, Event, ProcessSpec, Service, ShardSpec, TaskIo, Tasks, uring};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BlockOnError {
    /// The reactor did not start.
    #[error(transparent)]
    Start(#[from] uring::StartError),
    /// It ended before the future did.
    #[error(transparent)]
    Process(#[from] uring::ProcessError),
    /// Interrupted.
    #[error("stopped before it was done")]
    Stopped,
}

type Main<T> = Box<dyn FnOnce(TaskIo) -> Pin<Box<dyn Future<Output = T>>> + Send>;

struct OneFuture<T> {
    main: Option<Main<T>>,
    tasks: Tasks,
    result: Arc<Mutex<Option<T>>>,
}

impl<T: Send + 'static> Service<()> for OneFuture<T> {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let main = self.main.take().expect("started once");
        let future = main(self.tasks.handle());
        let result = Arc::clone(&self.result);
        self.tasks.spawn(async move {
            let value = future.await;
            *result.lock().expect("nobody panicked") = Some(value);
        });
        self.end_of_turn(io);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        if let Some(Event::Stop) = self.tasks.on_event(event) {
            io.exit();
        }
    }

    fn end_of_turn(&mut self, io: &mut dyn Context<()>) {
        self.tasks.run(io);
        if self.result.lock().expect("nobody panicked").is_some() {
            io.exit();
        }
    }
}

/// Runs the future that `main` makes to its end, on a thread with a ring of its own; blocks the calling thread meanwhile.
///
/// # Errors
/// When the reactor does not start or ends early.
pub fn block_on<T, F>(main: impl FnOnce(TaskIo) -> F + Send + 'static) -> Result<T, BlockOnError>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let spec = ProcessSpec {
        name: "tool".to_owned(),
        shards: vec![ShardSpec {
            name: "tool".to_owned(),
            cpu: None,
            service: Box::new(move |_| {
                let main: Main<T> = Box::new(move |io| Box::pin(main(io)));
                Box::new(OneFuture { main: Some(main), tasks: Tasks::new(), result: slot })
            }),
        }],
    };
    uring::launch(spec, uring::Options::default())?.wait()?;
    result.lock().expect("nobody panicked").take().ok_or(BlockOnError::Stopped)
}
