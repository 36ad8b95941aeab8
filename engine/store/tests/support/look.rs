//! Looking at a store that nobody has open.

use std::sync::{Arc, Mutex};

use ringmq_reactor::sim::ProcessState;
use ringmq_reactor::{TaskIo, task};
use ringmq_store::OpenError;
use ringmq_store::inspect::{Inspection, Verification};

use super::bench::{Bench, SECOND};

/// Runs a task beside the store's host.
pub fn look<T, F>(bench: &mut Bench, program: impl FnOnce(TaskIo) -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let spec = task::process("inspect", move |io| {
        let future = program(io);
        async move {
            let value = future.await;
            *slot.lock().expect("not poisoned") = Some(value);
        }
    });
    let process = bench.world.start(bench.host, spec);
    assert!(bench.world.run_until(10 * SECOND, |w| w.state(process) == ProcessState::Exited), "ends");
    result.lock().expect("not poisoned").take().expect("a result")
}

/// Verifies the store in `/s`.
pub fn verify(bench: &mut Bench) -> Result<Verification, OpenError> {
    look(bench, async |io| {
        let inspection = Inspection::open(io, "/s", None).await?;
        let verification = inspection.verify().await;
        inspection.close().await;
        verification
    })
}
