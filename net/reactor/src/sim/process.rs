//! A process of the world: its services, its mail, and one turn of a shard.

use std::collections::VecDeque;

use super::context::SimContext;
use super::core::{Completion, Core, ShardKey};
use crate::{Event, ProcessSpec, Service, ShardId};

/// As the kernel driver's.
pub(super) const MAILBOX_MESSAGES: usize = 1024;

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// At least one shard has not exited.
    Running,
    /// Every shard has called [`crate::Io::exit`].
    Exited,
    /// Killed, or its host lost power.
    Killed,
}

/// A process whose type of mail is not known.
pub(super) trait AnyProcess {
    /// One turn of a shard at the present time.
    fn turn(&mut self, core: &mut Core, shard: ShardKey);

    /// As much of a turn as a process makes that is killed before anything of it reaches the system: nothing is sent, and the caller
    /// takes file operations back. To be followed by the kill.
    fn turn_before_kill(&mut self, core: &mut Core, shard: ShardKey);
}

/// Mail between the shards of one process. One queue per pair: order holds within it.
pub(super) struct Mailboxes<M> {
    shards: usize,
    queues: Vec<VecDeque<M>>,
}

impl<M> Mailboxes<M> {
    fn queue(&mut self, from: usize, to: usize) -> &mut VecDeque<M> {
        &mut self.queues[to * self.shards + from]
    }

    pub(super) fn send(&mut self, from: ShardId, to: ShardId, message: M) {
        assert!(usize::from(to.0) < self.shards, "mail to shard {to} of {}", self.shards);
        self.queue(usize::from(from.0), usize::from(to.0)).push_back(message);
    }

    pub(super) fn room(&self, from: ShardId, to: ShardId) -> usize {
        let queue = &self.queues[usize::from(to.0) * self.shards + usize::from(from.0)];
        MAILBOX_MESSAGES.saturating_sub(queue.len())
    }
}

pub(super) struct TypedProcess<M: Send + 'static> {
    services: Vec<Option<Box<dyn Service<M>>>>,
    mail: Mailboxes<M>,
    /// Kept between turns for their allocations.
    letters: Vec<(ShardId, M)>,
    events: VecDeque<Completion>,
}

impl<M: Send + 'static> TypedProcess<M> {
    pub(super) fn new(spec: ProcessSpec<M>) -> Self {
        let shards = spec.shards.len();
        let services = spec.shards.into_iter().enumerate().map(|(shard, spec)| {
            let shard = ShardId(u16::try_from(shard).expect("shard ids are 16 bits"));
            Some((spec.service)(shard))
        });
        Self {
            services: services.collect(),
            mail: Mailboxes { shards, queues: (0..shards * shards).map(|_| VecDeque::new()).collect() },
            letters: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes what fits into mailboxes of their real size; the rest had to wait on the senders' side. True: some is left.
    fn collect_mail(&mut self, core: &mut Core, to: ShardKey) -> bool {
        let shards = self.mail.shards;
        let mut left = false;
        // Mail from different shards has no order.
        let first = if shards > 1 { core.rng.index(shards) } else { 0 };
        for step in 0..shards {
            let from = (first + step) % shards;
            let queue = self.mail.queue(from, usize::from(to.shard));
            let count = queue.len().min(MAILBOX_MESSAGES);
            left |= queue.len() > count;
            self.letters.extend(queue.drain(..count).map(|message| (ShardId(from as u16), message)));
        }
        left
    }
}

impl<M: Send + 'static> AnyProcess for TypedProcess<M> {
    fn turn_before_kill(&mut self, core: &mut Core, key: ShardKey) {
        let mut events = std::mem::take(&mut core.shard(key).ready);
        if matches!(events.front(), Some(Completion::Start)) {
            return;
        }
        self.collect_mail(core, key);
        let Some(mut service) = self.services[usize::from(key.shard)].take() else { return };
        let letters = std::mem::take(&mut self.letters);
        if letters.is_empty() && events.is_empty() {
            return;
        }
        let mut context = SimContext::new(core, key, &mut self.mail);
        for (from, message) in letters {
            service.handle(&mut context, Event::Mail { from, message });
        }
        for completion in events.drain(..) {
            context.deliver(service.as_mut(), completion);
        }
        service.end_of_turn(&mut context);
        self.services[usize::from(key.shard)] = Some(service);
    }

    fn turn(&mut self, core: &mut Core, key: ShardKey) {
        // Completions are reaped before the mail is drained and handled after it: causal mail.
        std::mem::swap(&mut self.events, &mut core.shard(key).ready);
        let starts = matches!(self.events.front(), Some(Completion::Start));
        let mail_left = !starts && self.collect_mail(core, key);
        let mut service =
            self.services[usize::from(key.shard)].take().expect("a shard that exited has no turns");
        let mut letters = std::mem::take(&mut self.letters);
        let mut events = std::mem::take(&mut self.events);
        let busy = core.options.turn.sample(&mut core.rng) + 200 * (letters.len() + events.len()) as u64;

        let mut context = SimContext::new(core, key, &mut self.mail);
        if starts {
            context.trace(&Completion::Start);
            events.pop_front();
            service.start(&mut context);
        }
        let had_events = !letters.is_empty() || !events.is_empty();
        for (from, message) in letters.drain(..) {
            context.trace_mail(from);
            service.handle(&mut context, Event::Mail { from, message });
        }
        for completion in events.drain(..) {
            context.deliver(service.as_mut(), completion);
        }
        if had_events {
            service.end_of_turn(&mut context);
        }
        let exits = context.finish();

        self.letters = letters;
        self.events = events;
        core.shard(key).busy_until = core.now + busy;
        if exits {
            core.exit_shard(key);
            core.exit_files(key);
            let shard = core.shard(key);
            shard.exited = true;
            shard.ready.clear();
            shard.timers.clear();
        } else {
            self.services[usize::from(key.shard)] = Some(service);
            if mail_left || starts || !core.shard(key).ready.is_empty() {
                core.wake(key);
            }
        }
    }
}
