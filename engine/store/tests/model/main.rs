//! The store against a plain list of everything that was appended: reads, queries by key, by time and by offset, with crashes, restarts,
//! disk faults, damaged and lost index files, deleted topics and retention as commands.
//!
//! ```text
//!   script     the reference machine: which commands there are, and when each makes sense
//!   list       the plain list, and what a brute-force scan of it answers
//!   system     the store on a simulated host: carries commands out, holds recovery to what was promised
//!   questions  every kind of question, and the list's answer beside the store's
//!   key_files  what only concerns the files of the key index
//! ```
//!
//! What survives a crash beyond what was promised is the store's to say. So the script knows only what was asked for; the list lives beside
//! the store, and loses after a crash what the store says is gone, if that is allowed. From then on the two must agree: always for
//! records, offsets and times, and for keys unless the store says itself that it is building the index again; which must end.
//!
//! `PROPTEST_CASES=5000 cargo test --release -p ringmq-store --test model` for a long run.

#![forbid(unsafe_code)]

mod key_files;
mod list;
mod questions;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod system;

use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use ringmq_store::StoreConfig;

use script::{Command, Script};
use system::{System, config};

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = Script;

    fn init_test(script: &Script) -> Self {
        let config = config(script.sync_flush);
        let config = if script.in_memory { support::mapped(config) } else { config };
        Self::new(script.seed, config)
    }

    fn apply(mut self_: Self, _: &Script, command: Command) -> Self {
        self_.carry_out(&command);
        self_
    }

    fn check_invariants(system: &Self, _: &Script) {
        system.check_marks();
    }

    fn teardown(mut system: Self, _: <Script as ReferenceStateMachine>::State) {
        system.carry_out(&Command::Kill);
        system.check_everything();
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_says_what_a_plain_list_says(sequential 1..60 => System);
}

#[test]
fn a_broken_promise_is_noticed() {
    // The list must bite: with acknowledgements that come before the write, crashes lose what was promised.
    let broken = (0..20).filter(|seed| {
        let config = StoreConfig { fault_acknowledge_early: true, ..config(true) };
        std::panic::catch_unwind(|| {
            let mut system = System::new(*seed, config);
            for _ in 0..10 {
                system.append_some(5, 100);
                system.world.run_for(Duration::from_micros(150));
                system.carry_out(&Command::PowerCut);
            }
        })
        .is_err()
    });
    assert!(broken.count() > 10, "the list does not see broken promises");
}
