//! One load thread: a service with a producing and a consuming side.

use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{Context, Event, Io, Monotonic, Service, Token};

use super::clock::Clock;
use super::consume::{self, ConsumePlan, Consumer};
use super::measure::{Progress, Results};
use super::produce::{self, ProducePlan, Producer};
use super::template::{Template, TemplateSpec};

const OWNER_SELF: u8 = 3;
/// How often a thread looks whether it is done.
const TICK: Duration = Duration::from_millis(20);
/// How long answers are waited for after the last request.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// A topic to send to, as data that may cross threads.
#[derive(Debug, Clone)]
pub struct TemplatePlan {
    /// Index of its broker.
    pub broker: usize,
    /// Topic.
    pub topic: String,
    /// Its queues.
    pub queues: u32,
}

/// Everything one load thread does.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Producing side.
    pub produce: Option<(ProducePlan, Vec<TemplatePlan>)>,
    /// Messages per request.
    pub batch: usize,
    /// Header encoding.
    pub serialize: ringmq_remoting::command::SerializeType,
    /// Consuming side.
    pub consume: Option<ConsumePlan>,
}

/// See the module.
pub struct LoadShard {
    plan: Option<LoadPlan>,
    producer: Option<Producer>,
    consumer: Option<Consumer>,
    progress: Arc<Progress>,
    results: Arc<Results>,
    deadline: Option<Monotonic>,
    ended: bool,
}

impl LoadShard {
    /// Does `plan` once started, then leaves its tallies in `results` and exits.
    #[must_use]
    pub fn new(plan: LoadPlan, progress: Arc<Progress>, results: Arc<Results>) -> Self {
        Self {
            plan: Some(plan),
            producer: None,
            consumer: None,
            progress,
            results,
            deadline: None,
            ended: false,
        }
    }

    fn check_end(&mut self, io: &mut dyn Io) {
        let now = io.now();
        let produced = self.producer.as_ref().is_none_or(|p| p.is_finished(now));
        let consumed = self.consumer.as_ref().is_none_or(|c| c.is_finished(now));
        let late = self.deadline.is_some_and(|at| now >= at);
        if (produced && consumed) || late {
            self.end(io);
        } else {
            io.timer(now + TICK, Token::new(OWNER_SELF, 0));
        }
    }

    fn end(&mut self, io: &mut dyn Io) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(producer) = &self.producer {
            self.results.produced.lock().expect("no thread panicked").merge(&producer.tally());
        }
        if let Some(consumer) = &self.consumer {
            self.results.consumed.lock().expect("no thread panicked").merge(&consumer.tally());
        }
        Progress::add(&self.progress.ended, 1);
        io.exit();
    }
}

impl Service<()> for LoadShard {
    fn start(&mut self, io: &mut dyn Context<()>) {
        let plan = self.plan.take().expect("started once");
        let clock = Clock::new(io.now());
        let mut longest = Duration::ZERO;
        if let Some((produce, queues)) = plan.produce {
            longest = longest.max(produce.warmup + produce.duration);
            let templates = queues
                .iter()
                .map(|q| {
                    let spec = TemplateSpec {
                        topic: &q.topic,
                        queues: q.queues,
                        body_bytes: produce.body_bytes,
                        batch: plan.batch,
                        serialize: plan.serialize,
                    };
                    Template::new(&spec, q.broker)
                })
                .collect();
            let mut producer = Producer::new(produce, templates, clock, Arc::clone(&self.progress));
            producer.start(io);
            self.producer = Some(producer);
        }
        if let Some(consume) = plan.consume {
            longest = longest.max(consume.warmup + consume.duration);
            let mut consumer = Consumer::new(consume, clock, Arc::clone(&self.progress));
            consumer.start(io);
            self.consumer = Some(consumer);
        }
        self.deadline = Some(io.now() + longest + STRAGGLERS);
        io.timer(io.now() + TICK, Token::new(OWNER_SELF, 0));
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        match event {
            Event::Connected { token, result } => {
                match (token.owner(), &mut self.producer, &mut self.consumer) {
                    (produce::OWNER, Some(producer), _) => producer.on_connected(io, token, result),
                    (consume::OWNER, _, Some(consumer)) => consumer.on_connected(io, token, result),
                    _ => {}
                }
            }
            Event::Timer { token } => match (token.owner(), &mut self.producer, &mut self.consumer) {
                (produce::OWNER, Some(producer), _) => producer.on_timer(io, token),
                (consume::OWNER, _, Some(consumer)) => consumer.on_timer(io, token),
                _ => self.check_end(io),
            },
            Event::Received { connection, bytes } => {
                if let Some((producer, index)) =
                    self.producer.as_mut().and_then(|p| p.index_of(connection).map(|i| (p, i)))
                {
                    producer.on_received(io, index, bytes);
                } else if let Some((consumer, index)) =
                    self.consumer.as_mut().and_then(|c| c.index_of(connection).map(|i| (c, i)))
                {
                    consumer.on_received(io, index, bytes);
                }
            }
            Event::Closed { connection, .. } => {
                if let Some((producer, index)) =
                    self.producer.as_mut().and_then(|p| p.index_of(connection).map(|i| (p, i)))
                {
                    producer.on_closed(io, index);
                } else if let Some((consumer, index)) =
                    self.consumer.as_mut().and_then(|c| c.index_of(connection).map(|i| (c, i)))
                {
                    consumer.on_closed(io, index);
                }
            }
            Event::Stop => self.end(io),
            Event::Accepted { .. } | Event::Drained { .. } | Event::File { .. } | Event::Mail { .. } => {}
        }
    }

    fn end_of_turn(&mut self, _io: &mut dyn Context<()>) {}
}
