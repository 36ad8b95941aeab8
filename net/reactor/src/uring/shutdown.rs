//! The end of a shard: what was promised is sent and written, then nothing of ours is left with the kernel.
//!
//! ```text
//!   exit ─→ connections flush (EXIT_FLUSH at most), files complete ─→ cancel the rest ─→ nothing in flight ─→ free
//! ```

use std::time::Duration;

use io_uring::{opcode, types};

use super::limits::{EXIT_CANCEL, EXIT_FLUSH};
use super::net::Received;
use super::operation::{Kind, UserData};
use super::ring::Wait;
use super::turn::{Ended, Shard};
use crate::{CloseCause, CloseMode, Monotonic};

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
        let core = &mut self.driver.core;
        core.net.leaving = true;
        core.close_listeners();
        for id in core.net.ids() {
            match ended {
                Ended::Exited => core.close(id, CloseMode::AfterFlush),
                Ended::Abandoned => drop(core.end(id, CloseCause::Local)),
            }
        }
        let flush_by = core.clock.now() + EXIT_FLUSH;
        if self.finish(flush_by).is_err() {
            return KernelHolds::Something;
        }
        let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        self.driver.core.ring.submit_silent(cancel, UserData::new(Kind::Ignored, 0, 0));
        let deadline = self.driver.core.clock.now() + EXIT_CANCEL;
        while self.driver.core.ring.in_flight() > 0 {
            let now = self.driver.core.clock.now();
            if now >= deadline || self.step(deadline.since(now)).is_err() {
                return KernelHolds::Something;
            }
        }
        self.driver.core.files.close_all();
        self.publish_stats();
        KernelHolds::Nothing
    }

    /// Until all connections have ended and all file operations have completed.
    fn finish(&mut self, flush_by: Monotonic) -> std::io::Result<()> {
        let mut cut = false;
        loop {
            let core = &mut self.driver.core;
            let files = core.files.in_flight();
            let mail = self.driver.desk.is_held_up() && !cut;
            if core.net.connections() == 0 && files == 0 && !mail {
                return Ok(());
            }
            let now = core.clock.now();
            if !cut && (now >= flush_by || self.shared.is_abandoned()) {
                cut = true;
                for id in core.net.ids() {
                    drop(core.end(id, CloseCause::Local));
                }
            }
            // A write that is under way is waited for as long as it takes: nobody may free its buffer before.
            let wait = if cut { EXIT_CANCEL } else { flush_by.since(now) };
            self.settle();
            self.step(wait)?;
            self.arm_wake();
        }
    }

    /// Submits, waits for completions and takes them in without telling the service.
    fn step(&mut self, wait: Duration) -> std::io::Result<()> {
        self.driver.core.ring.enter(Wait::Completion(Some(wait)))?;
        let mut completions = std::mem::take(&mut self.completions);
        completions.clear();
        let core = &mut self.driver.core;
        core.ring.reap(&mut completions);
        for completion in completions.drain(..) {
            match completion.data.kind() {
                Kind::Receive => {
                    let (Received::Bytes { buffer, .. } | Received::Other { buffer: Some(buffer), .. }) =
                        core.on_receive(completion)
                    else {
                        continue;
                    };
                    self.buffers.provide(buffer);
                }
                // A connection accepted now is closed by being dropped.
                Kind::Accept => drop(core.on_accept(completion)),
                Kind::Wake => self.woken = true,
                Kind::Ringing | Kind::Doorbell | Kind::Ignored => {}
                Kind::Send | Kind::Connect | Kind::File => drop(core.complete(completion)),
            }
        }
        self.completions = completions;
        Ok(())
    }
}
