//! The loop of a shard, in the order that the crate's documentation promises:
//!
//! ```text
//!   reap ─→ mail ─→ completions ─→ what ended on the spot ─→ timers ─→ end_of_turn ─→ ring, send, submit, park
//! ```
//! One `io_uring_enter` a turn: it submits, lets the kernel post completions, and sleeps if nothing is due.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};

use super::buffers::ReceiveBuffers;
use super::core::{Core, Notice};
use super::driver::Driver;
use super::launch::Shared;
use super::mailbox::{Desk, Handover, Letter, PostOffice};
use super::net::Received;
use super::operation::{Kind, UserData};
use super::ring::{Completion, Ring, Wait};
use super::timers::Due;
use super::{Capabilities, Options};
use crate::{Event, Service, ShardId};

/// Everything a shard's thread owns. Fields are dropped in order: the ring (in `driver`) goes before what the kernel was
/// lent.
pub(super) struct Shard<M> {
    pub(super) driver: Driver<M>,
    pub(super) buffers: ReceiveBuffers,
    /// Where the kernel puts the count of the event descriptor.
    wake_count: Box<u64>,
    /// Reaped and not handled yet. They stay here while a service runs: were they lost in its panic, so would be the
    /// descriptors of the connections just accepted.
    pub(super) completions: VecDeque<Completion>,
    pub(super) shared: Arc<Shared>,
    stop_told: bool,
    /// The read of the event descriptor has completed and is to be armed again.
    pub(super) woken: bool,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The service called `exit`.
    Exited,
    /// Another shard failed, or the process was dropped.
    Abandoned,
}

impl<M: Send + 'static> Shard<M> {
    /// Makes the ring and what belongs to it, on the thread that will run it.
    pub(super) fn new(
        id: ShardId,
        office: Arc<PostOffice<M>>,
        shared: Arc<Shared>,
        options: Options,
        capabilities: Capabilities,
    ) -> io::Result<Self> {
        let ring = Ring::new(options.ring_entries)?;
        let buffers = ReceiveBuffers::new(&ring, options.receive_buffers, options.receive_buffer_bytes)?;
        let desk = Desk::new(office, id);
        desk.open(ring.descriptor());
        let core = Core::new(ring, id, options, capabilities, Arc::clone(shared.clock()));
        let mut shard = Self {
            driver: Driver { core, desk },
            buffers,
            wake_count: Box::new(0),
            completions: VecDeque::new(),
            shared,
            stop_told: false,
            woken: true,
        };
        shard.arm_wake();
        Ok(shard)
    }

    /// Runs the service until it exits or the process is abandoned.
    pub(super) fn run(&mut self, service: &mut dyn Service<M>) -> io::Result<Ended> {
        service.start(&mut self.driver);
        loop {
            self.settle();
            if self.driver.core.exit {
                return Ok(Ended::Exited);
            }
            self.park()?;
            if self.shared.is_abandoned() {
                return Ok(Ended::Abandoned);
            }
            if self.turn(service) {
                self.driver.core.stats.turns += 1;
                service.end_of_turn(&mut self.driver);
            }
        }
    }

    /// Delivers everything that has happened. True if there was anything.
    fn turn(&mut self, service: &mut dyn Service<M>) -> bool {
        self.driver.core.begin_turn();
        self.driver.core.ring.reap(&mut self.completions);
        // After reaping, before handling: what a shard mailed before it answered a peer is seen before what the peer does next.
        let mut any = self.deliver_mail(service);
        while let Some(completion) = self.completions.pop_front() {
            any |= self.deliver_completion(service, completion);
        }
        for _ in 0..self.driver.core.later.len() {
            let Some(notice) = self.driver.core.later.pop_front() else { break };
            any = true;
            self.tell(service, notice);
        }
        any |= self.deliver_timers(service);
        if !self.stop_told && self.driver.desk.counter().stop_asked() {
            self.stop_told = true;
            any = true;
            service.handle(&mut self.driver, Event::Stop);
        }
        any
    }

    fn deliver_mail(&mut self, service: &mut dyn Service<M>) -> bool {
        let driver = &mut self.driver;
        let me = driver.core.shard;
        let mut count = 0;
        for message in driver.desk.take_own() {
            count += 1;
            service.handle(driver, Event::Mail { from: me, message });
        }
        driver.desk.look();
        for from in (0..driver.desk.shards() as u16).rev().map(ShardId).filter(|from| *from != me) {
            let mut received = 0;
            while received < driver.desk.seen(from) {
                let Some(letter) = driver.desk.receive(from) else { break };
                received += 1;
                match letter {
                    Letter::Mail(message) => service.handle(driver, Event::Mail { from, message }),
                    Letter::Connection(handover) => adopt(driver, service, handover),
                }
            }
            if received > 0 {
                driver.desk.made_room(from);
            }
            count += received;
        }
        driver.core.stats.mails += count as u64;
        count > 0
    }

    /// True if the service was told something.
    fn deliver_completion(&mut self, service: &mut dyn Service<M>, completion: Completion) -> bool {
        let driver = &mut self.driver;
        match completion.data.kind() {
            Kind::Receive => match driver.core.on_receive(completion) {
                Received::Bytes { connection, buffer, bytes } => {
                    let bytes = self.buffers.filled(buffer, bytes);
                    service.handle(driver, Event::Received { connection, bytes });
                    self.buffers.provide(buffer);
                    true
                }
                Received::Other { buffer, notice } => {
                    if let Some(buffer) = buffer {
                        self.buffers.provide(buffer);
                    }
                    notice.is_some_and(|notice| {
                        self.tell(service, notice);
                        true
                    })
                }
            },
            Kind::Accept => {
                let Some(accepted) = driver.core.on_accept(completion) else { return false };
                if accepted.to == driver.core.shard {
                    adopt(driver, service, accepted.handover);
                } else {
                    driver.desk.send(accepted.to, Letter::Connection(accepted.handover));
                }
                true
            }
            Kind::Wake => {
                self.woken = true;
                self.arm_wake();
                false
            }
            Kind::Ringing => {
                // The other ring could not take it (it is out of memory, or gone): the event descriptor always can.
                driver.desk.wake_directly(ShardId(completion.data.index() as u16));
                false
            }
            Kind::Doorbell | Kind::Ignored => false,
            Kind::Send | Kind::Connect | Kind::File => {
                let Some(notice) = driver.core.complete(completion) else { return false };
                self.tell(service, notice);
                true
            }
        }
    }

    fn deliver_timers(&mut self, service: &mut dyn Service<M>) -> bool {
        let now = self.driver.core.now;
        let fence = self.driver.core.timers.fence();
        let mut any = false;
        while let Some(due) = self.driver.core.timers.pop(now, fence) {
            let core = &mut self.driver.core;
            let notice = match due {
                Due::Service(token) => {
                    any = true;
                    service.handle(&mut self.driver, Event::Timer { token });
                    None
                }
                Due::Connect(id) => core.connect_due(id),
                Due::Close(id) => core.close_due(id),
                Due::Accept(listener) => {
                    core.arm_accept(listener);
                    None
                }
            };
            if let Some(notice) = notice {
                any = true;
                self.tell(service, notice);
            }
        }
        any
    }

    fn tell(&mut self, service: &mut dyn Service<M>, notice: Notice) {
        let event = match notice {
            Notice::Connected { token, result } => Event::Connected { token, result },
            Notice::Drained(connection) => Event::Drained { connection },
            Notice::Closed { connection, cause } => Event::Closed { connection, cause },
            Notice::File { token, result } => Event::File { token, result },
        };
        service.handle(&mut self.driver, event);
    }

    /// Turns what the service asked for into submissions.
    pub(super) fn settle(&mut self) {
        let Driver { core, desk } = &mut self.driver;
        desk.send_waiting();
        let Core { ring, stats, .. } = core;
        desk.doorbells(|shard, descriptor| {
            stats.doorbells += 1;
            let data = UserData::new(Kind::Doorbell, 0, 0);
            let entry = opcode::MsgRingData::new(types::Fd(descriptor), 0, data.0, None).build();
            ring.submit_silent(entry, UserData::new(Kind::Ringing, u32::from(shard.0), 0));
        });
        // While mail waits for room, peers hear nothing: see `mailbox`.
        if !desk.is_held_up() {
            core.flush();
        }
        self.buffers.publish();
        core.arm_receives();
        core.blocks.reclaim(&core.ring);
    }

    fn park(&mut self) -> io::Result<()> {
        let Driver { core, desk } = &mut self.driver;
        let timeout = core.timers.next_at().map(|at| at.since(core.clock.now()));
        let due = !core.later.is_empty() || desk.has_own_mail() || timeout == Some(Duration::ZERO);
        let sleep = !due && desk.prepare_to_park();
        core.stats.parks += u64::from(sleep);
        self.publish_stats();
        let Driver { core, desk } = &mut self.driver;
        let result = core.ring.enter(if sleep { Wait::Completion(timeout) } else { Wait::No });
        desk.leave_park();
        result
    }

    pub(super) fn publish_stats(&mut self) {
        let Driver { core, desk } = &mut self.driver;
        let stats = &mut core.stats;
        stats.enters = core.ring.enters;
        stats.sqes = core.ring.submissions;
        stats.cqes = core.ring.completions;
        stats.mails_overflowed = desk.overflowed;
        self.shared.publish(core.shard, stats);
    }

    /// Listens to the event descriptor, if that is not going on already.
    pub(super) fn arm_wake(&mut self) {
        if !std::mem::take(&mut self.woken) {
            return;
        }
        let core = &mut self.driver.core;
        let descriptor = types::Fd(self.driver.desk.counter().wake_descriptor().as_raw_fd());
        let entry = opcode::Read::new(descriptor, (&raw mut *self.wake_count).cast(), 8).build();
        // SAFETY: the count is boxed and belongs to this shard, which is dropped only when nothing is in flight (and
        // leaked otherwise); the event descriptor belongs to the process, which outlives its shards.
        unsafe { core.ring.submit(entry, UserData::new(Kind::Wake, 0, 0)) };
    }
}

fn adopt<M: Send + 'static>(driver: &mut Driver<M>, service: &mut dyn Service<M>, handover: Handover) {
    let Handover { token, listener, peer, local, .. } = handover;
    if let Some(connection) = driver.core.adopt(handover) {
        service.handle(driver, Event::Accepted { token, listener, connection, peer, local });
    }
}
