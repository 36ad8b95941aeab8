//! The end of a shard: what was promised is sent and written, then nothing of ours is left with the kernel.
//!
//! ```text
//!   exit ────→ connections flush (EXIT_FLUSH at most), files complete ─┐
//!   failure ───────────────────────────────────────────────────────────┴─→ cancel the rest ─→ nothing in flight ─→ free
//! ```
//! After a failure the books of connections and files may be wrong (a panic loses the completion that was being handled), so
//! only the ring's own count decides whether memory may be freed.

use std::io;
use std::time::Duration;

use io_uring::{opcode, types};

use super::files::Files;
use super::limits::{EXIT_CANCEL, EXIT_FLUSH};
use super::net::{Net, Received};
use super::operation::{Kind, UserData};
use super::ring::Wait;
use super::turn::{Ended, Shard};
use crate::{CloseCause, CloseMode};

/// Cancellation reaches what is waiting, not what is just being started; it is repeated after this.
const CANCEL_AGAIN: Duration = Duration::from_millis(50);

/// Whether the shard's memory may be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KernelHolds {
    Nothing,
    /// An operation did not end: what it refers to must never be freed.
    Something,
}

impl<M: Send + 'static> Shard<M> {
    /// Ends everything the shard has. The service is told nothing.
    pub(super) fn shut_down(&mut self, ended: Ended) -> KernelHolds {
        self.driver.desk.counter().end();
        // Senders that wait for room here learn that there is no more need.
        self.shared.wake_all();
        let finished = match ended {
            Ended::Exited => self.finish(),
            Ended::Abandoned => Ok(()),
        };
        if finished.and_then(|()| self.cancel_all()).is_err() {
            return KernelHolds::Something;
        }
        let core = &mut self.driver.core;
        // Sockets and files are closed now, not when the last shard has ended.
        core.net = Net::default();
        core.files = Files::default();
        self.publish_stats();
        KernelHolds::Nothing
    }

    /// Sends and writes what was promised.
    fn finish(&mut self) -> io::Result<()> {
        let core = &mut self.driver.core;
        core.net.leaving = true;
        core.close_listeners();
        for id in core.net.ids() {
            core.close(id, CloseMode::AfterFlush);
        }
        let flush_by = core.clock.now() + EXIT_FLUSH;
        let mut cut = false;
        loop {
            let core = &mut self.driver.core;
            let mail = self.driver.desk.is_held_up() && !cut;
            if core.net.connections() == 0 && core.files.in_flight() == 0 && !mail {
                return Ok(());
            }
            let now = core.clock.now();
            if self.shared.is_abandoned() {
                return Ok(());
            }
            if !cut && now >= flush_by {
                cut = true;
                for id in core.net.ids() {
                    drop(core.end(id, CloseCause::Local));
                }
            }
            // A write that is under way is waited for as long as it takes.
            let wait = if cut { EXIT_CANCEL } else { flush_by.since(now) };
            self.settle();
            self.driver.core.ring.enter(Wait::Completion(Some(wait)))?;
            self.take_in();
            self.arm_wake();
        }
    }

    /// Takes in completions without telling the service.
    fn take_in(&mut self) {
        let core = &mut self.driver.core;
        core.ring.reap(&mut self.completions);
        while let Some(completion) = self.completions.pop_front() {
            match completion.data.kind() {
                Kind::Receive => {
                    let received = core.on_receive(completion);
                    if let Received::Bytes { buffer, .. } | Received::Other { buffer: Some(buffer), .. } =
                        received
                    {
                        self.buffers.provide(buffer);
                    }
                }
                // A connection accepted now is closed by being dropped.
                Kind::Accept => drop(core.on_accept(completion)),
                Kind::Wake => self.woken = true,
                Kind::Ringing | Kind::Doorbell | Kind::Ignored => {}
                Kind::Send | Kind::Connect | Kind::File => drop(core.complete(completion)),
            }
        }
    }

    /// Until the kernel holds nothing of this shard's.
    fn cancel_all(&mut self) -> io::Result<()> {
        let core = &mut self.driver.core;
        // Not to be armed again by the completions that end them.
        core.close_listeners();
        let deadline = core.clock.now() + EXIT_CANCEL;
        loop {
            // What they bring is nobody's any more; descriptors of connections accepted this late would stay open otherwise.
            for completion in self.completions.drain(..) {
                if completion.data.kind() == Kind::Accept {
                    drop(core.on_accept(completion));
                }
            }
            if core.ring.in_flight() == 0 {
                return Ok(());
            }
            if core.clock.now() >= deadline {
                let text = format!("{} operations did not end", core.ring.in_flight());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
            core.ring.submit_silent(cancel, UserData::new(Kind::Ignored, 0, 0));
            core.ring.enter(Wait::Completion(Some(CANCEL_AGAIN)))?;
            core.ring.reap(&mut self.completions);
        }
    }
}
