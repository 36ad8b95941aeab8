//! One seed, from start to verdict.

use std::time::Duration;

use ringmq_reactor::Monotonic;

use super::chaos::Chaos;
use super::checker;
use super::cluster::Cluster;
use super::ledger::{Counts, Shared, Snapshot};
use super::plan::{Build, FlushMode, Plan};

/// How long after the last fault everything must be going again: clients find out about dead connections by time-outs.
const PROGRESS_WITHIN: Duration = Duration::from_secs(60);
/// How long reading everything back may take.
const CHECK_WITHIN: Duration = Duration::from_secs(120);
/// A send in flight is answered or given up by then: what is read back next must hold all acknowledged messages.
const SENDS_END_WITHIN: Duration = Duration::from_secs(4);
/// Time before the first fault: topics are made, routes found.
const QUIET_START: Duration = Duration::from_millis(1_500);

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// Equal for equal seeds.
    pub trace_hash: u64,
    /// Events delivered.
    pub events: u64,
    /// What was done.
    pub counts: Counts,
    /// What the broker did wrong; empty for a good run.
    pub violations: Vec<String>,
    /// The plan and the newest events, if there were violations and a trace was kept.
    pub trace: String,
}

/// Runs one seed.
#[must_use]
pub fn run(seed: u64, build: Build, trace_events: usize) -> Report {
    let plan = Plan::new(seed, build);
    let shared = Shared::new(&plan);
    let mut cluster = Cluster::new(&plan, &shared, trace_events);
    let mut run = Run { plan: &plan, shared: &shared, cluster: &mut cluster };
    run.life();
    let ledger = shared.ledger();
    let violations = ledger.violations().to_vec();
    let trace =
        if violations.is_empty() { String::new() } else { format!("{plan:?}\n{}", cluster.world.trace()) };
    Report {
        trace_hash: cluster.world.trace_hash(),
        events: cluster.world.events(),
        counts: ledger.counts,
        violations,
        trace,
    }
}

struct Run<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    cluster: &'a mut Cluster,
}

impl Run<'_> {
    fn life(&mut self) {
        self.cluster.world.run_for(QUIET_START);
        let mut chaos = Chaos::new(self.plan, self.cluster);
        let end = self.cluster.world.now() + self.plan.trouble;
        chaos.run_until(self.cluster, end);
        chaos.calm(self.cluster);
        if !self.progress() {
            return;
        }
        // Consumers must have seen everything that producers were promised.
        self.shared.ledger().producing = false;
        self.cluster.world.run_for(SENDS_END_WITHIN);
        let Some(first) = self.check("at the end") else { return };
        if !self.consumers_catch_up(&first) {
            return;
        }
        if !self.poppers_catch_up(&first) {
            return;
        }
        self.shared.ledger().settle(&first);
        self.cluster.kill_clients();

        self.cluster.kill_broker();
        self.cluster.start_broker();
        let Some(second) = self.check("after a kill at rest") else { return };
        self.same(&first, &second, "a kill at rest");

        if self.plan.flush == FlushMode::Async {
            self.cluster.world.run_for(Duration::from_secs(4));
        }
        self.cluster.cut_power();
        self.cluster.start_broker();
        let Some(third) = self.check("after a power cut at rest") else { return };
        self.same(&first, &third, "a power cut at rest");
    }

    fn now(&self) -> Monotonic {
        self.cluster.world.now()
    }

    fn violation(&self, what: String) {
        self.shared.ledger().violation(self.now(), what);
    }

    /// Runs until `done` says so; false (and a violation) when it takes too long. A broker that ended is not started
    /// again: nothing is wrong with its world any more.
    fn wait(&mut self, limit: Duration, what: &str, mut done: impl FnMut(&Shared) -> bool) -> bool {
        let end = self.now() + limit;
        while !done(self.shared) {
            if self.now() >= end || !self.cluster.broker_runs() {
                let state = self.cluster.world.state(self.cluster.broker);
                self.violation(format!("no faults any more, but {what} (the broker is {state:?})"));
                return false;
            }
            self.cluster.world.run_for(Duration::from_millis(20));
        }
        true
    }

    fn progress(&mut self) -> bool {
        let before = self.shared.ledger().progress.clone();
        self.wait(PROGRESS_WITHIN, "not every producer gets on", |shared| {
            let ledger = shared.ledger();
            !ledger.progress.is_empty()
                && ledger
                    .progress
                    .iter()
                    .all(|(worker, done)| *done > before.get(worker).copied().unwrap_or(0))
        })
    }

    fn consumers_catch_up(&mut self, all: &Snapshot) -> bool {
        self.wait(PROGRESS_WITHIN, "consumers do not catch up", |shared| {
            let ledger = shared.ledger();
            all.iter().all(|(queue, records)| {
                records.is_empty() || ledger.consumed_to.get(queue).copied() >= Some(records.len() as i64)
            })
        })
    }

    fn poppers_catch_up(&mut self, all: &Snapshot) -> bool {
        self.shared.ledger().pops.finishing = true;
        // Two workers against producers that may have been much faster: however long it takes, as long as they get on.
        let mut left: Vec<_> = all.values().flatten().map(|record| record.id).collect();
        let mut end = self.now() + PROGRESS_WITHIN;
        loop {
            let before = left.len();
            left.retain(|id| !self.shared.ledger().pops.is_acked(*id));
            if left.is_empty() {
                return true;
            }
            if left.len() < before {
                end = self.now() + PROGRESS_WITHIN;
            }
            if self.now() >= end || !self.cluster.broker_runs() {
                let state = self.cluster.world.state(self.cluster.broker);
                self.violation(format!(
                    "no faults any more, but poppers do not get on (the broker is {state:?})"
                ));
                self.tell_unacked(all);
                return false;
            }
            self.cluster.world.run_for(Duration::from_millis(200));
        }
    }

    fn tell_unacked(&self, all: &Snapshot) {
        let ledger = self.shared.ledger();
        let left: Vec<_> = all
            .iter()
            .flat_map(|(queue, records)| {
                records.iter().enumerate().map(move |(at, record)| (queue, at, record))
            })
            .filter(|(_, _, record)| !ledger.pops.is_acked(record.id))
            .map(|(queue, at, record)| format!("{queue:?} offset {at}: {}", ledger.pops.history(record.id)))
            .collect();
        drop(ledger);
        let first: Vec<_> = left.iter().take(5).map(String::as_str).collect();
        self.violation(format!("{} messages are left, the first: {}", left.len(), first.join("; ")));
    }

    /// Reads everything back and compares it with what was promised.
    fn check(&mut self, when: &str) -> Option<Snapshot> {
        self.shared.ledger().snapshot = None;
        self.cluster.world.start(self.cluster.client_hosts[1], checker::process(self.shared));
        if !self.wait(CHECK_WITHIN, &format!("reading back {when} does not end"), |shared| {
            shared.ledger().snapshot.is_some()
        }) {
            return None;
        }
        let now = self.now();
        let mut ledger = self.shared.ledger();
        let snapshot = ledger.snapshot.take().expect("waited for");
        ledger.compare(&snapshot, when, now);
        Some(snapshot)
    }

    fn same(&self, before: &Snapshot, after: &Snapshot, what: &str) {
        for (queue, records) in before {
            let other = &after[queue];
            // More is possible: a send whose answer was lost may have reached the broker late.
            if let Some(at) = (0..records.len()).find(|at| other.get(*at) != Some(&records[*at])) {
                let (was, is) = (&records[at], other.get(at));
                self.violation(format!("{queue:?} offset {at} changed by {what}: {was:?} became {is:?}"));
            }
        }
    }
}
