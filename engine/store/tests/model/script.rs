//! The reference machine: the commands, and when each makes sense.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// Queues that messages go to: `QUEUES / 2` topics of two queues.
pub const QUEUES: u8 = 6;
/// Query keys that [`Command::Query`] chooses from, see `list::query_key`.
pub const KEYS: u8 = 9;

/// Bytes of log that make sure of a file of an index (runs of 24 KiB, see `support::small_config`).
const INDEXED_BYTES: u64 = 32 << 10;
/// Bytes of log that make sure of a second segment (128 KiB each).
const SECOND_SEGMENT_BYTES: u64 = 140 << 10;

/// Derived files that can be harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// Runs of the queue index.
    QueueIndex,
    /// Runs of the key index.
    Keys,
}

/// What fails next.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    Write,
    Sync,
    Read,
    Allocate,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Messages to one queue, each by itself.
    Append {
        queue: u8,
        keys: u8,
        body_bytes: u16,
        count: u8,
        rolled_back: bool,
    },
    /// Messages to one queue as one batch.
    Batch {
        queue: u8,
        keys: u8,
        body_bytes: u16,
        count: u8,
    },
    DeleteTopic(u8),
    /// Lets this many microseconds pass.
    Run(u32),
    /// Reads a queue from somewhere, without waiting for anything.
    Read {
        queue: u8,
        offset: u8,
    },
    /// By key; the time range ends near the times of records, by their place in the list.
    Query {
        topic: u8,
        key: u8,
        messages_max: u8,
        first: u8,
        last: u8,
    },
    /// One message, by its place in the list: by its unique key, its physical offset and its time; and its queue entry by entry.
    Look(u8),
    Kill,
    PowerCut,
    /// An orderly end and a new start.
    Restart,
    /// Retention removes all segments but the newest, and goes on for this many microseconds before the next command.
    Retire(u32),
    /// The next operation of a kind fails: on the log, or on a derived file.
    Fail(Fault, Option<Derived>),
    /// A bit of a derived file turns over.
    Flip {
        what: Derived,
        file: u8,
        place: u32,
    },
    /// A derived file is gone at the next start.
    Lose {
        what: Derived,
        file: u8,
    },
}

/// What was asked for so far. Equal scripts give equal runs.
#[derive(Clone, Debug)]
pub struct Script {
    pub seed: u64,
    pub sync_flush: bool,
    /// The tail cache outlives the process.
    pub in_memory: bool,
    /// Queues that messages were sent to.
    written: BTreeSet<u8>,
    /// Bytes of their bodies.
    bytes: u64,
}

impl Script {
    fn topics(&self) -> Vec<u8> {
        let mut topics: Vec<_> = self.written.iter().map(|queue| queue / 2).collect();
        topics.dedup();
        topics
    }

    fn makes_sense(&self, command: &Command) -> bool {
        match command {
            Command::DeleteTopic(topic) | Command::Query { topic, .. } => self.topics().contains(topic),
            Command::Look(_) | Command::Read { .. } => !self.written.is_empty(),
            Command::Retire(_) => self.bytes >= SECOND_SEGMENT_BYTES,
            Command::Flip { .. } | Command::Lose { .. } => self.bytes >= INDEXED_BYTES,
            _ => true,
        }
    }
}

fn derived() -> impl Strategy<Value = Derived> + Clone {
    prop_oneof![Just(Derived::QueueIndex), Just(Derived::Keys)]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Write), Just(Fault::Sync), Just(Fault::Read), Just(Fault::Allocate)]
}

impl ReferenceStateMachine for Script {
    type State = Self;
    type Transition = Command;

    fn init_state() -> BoxedStrategy<Self> {
        // A smaller seed is no simpler one.
        (any::<u64>().no_shrink(), any::<bool>(), any::<bool>())
            .prop_map(|(seed, sync_flush, in_memory)| Self {
                seed,
                sync_flush,
                in_memory,
                written: BTreeSet::new(),
                bytes: 0,
            })
            .boxed()
    }

    fn transitions(script: &Self) -> BoxedStrategy<Command> {
        let sizes = prop_oneof![8 => 0u16..300, 4 => 300u16..3000, 1 => 3000u16..7500];
        let always = prop_oneof![
            12 => (0..QUEUES, any::<u8>(), sizes, 1u8..25, prop::bool::weighted(0.1)).prop_map(
                |(queue, keys, body_bytes, count, rolled_back)| Command::Append { queue, keys, body_bytes, count, rolled_back }),
            3 => (0..QUEUES, any::<u8>(), 0u16..600, 1u8..12)
                .prop_map(|(queue, keys, body_bytes, count)| Command::Batch { queue, keys, body_bytes, count }),
            8 => prop_oneof![0u32..500, 500u32..50_000].prop_map(Command::Run),
            2 => Just(Command::Kill),
            2 => Just(Command::PowerCut),
            1 => Just(Command::Restart),
            1 => (fault(), proptest::option::of(derived())).prop_map(|(fault, what)| Command::Fail(fault, what)),
        ];
        // What depends on the script is checked again when a failing run is made smaller, see `preconditions`.
        let mut choices = vec![(29, always.boxed())];
        let topics = script.topics();
        if !topics.is_empty() {
            let topics = proptest::sample::select(topics);
            choices.extend([
                (1, topics.clone().prop_map(Command::DeleteTopic).boxed()),
                (2, (0..QUEUES, 0u8..40).prop_map(|(queue, offset)| Command::Read { queue, offset }).boxed()),
                (4, any::<u8>().prop_map(Command::Look).boxed()),
                (
                    5,
                    (topics, 0..KEYS, 1u8..80, any::<u8>(), any::<u8>())
                        .prop_map(|(topic, key, messages_max, first, last)| Command::Query {
                            topic,
                            key,
                            messages_max,
                            first,
                            last,
                        })
                        .boxed(),
                ),
            ]);
        }
        if script.bytes >= INDEXED_BYTES {
            choices.extend([
                (
                    2,
                    (derived(), any::<u8>(), any::<u32>())
                        .prop_map(|(what, file, place)| Command::Flip { what, file, place })
                        .boxed(),
                ),
                (1, (derived(), any::<u8>()).prop_map(|(what, file)| Command::Lose { what, file }).boxed()),
            ]);
        }
        if script.bytes >= SECOND_SEGMENT_BYTES {
            choices.push((3, prop_oneof![0u32..2_000, 2_000u32..60_000].prop_map(Command::Retire).boxed()));
        }
        proptest::strategy::Union::new_weighted(choices).boxed()
    }

    fn preconditions(script: &Self, command: &Command) -> bool {
        script.makes_sense(command)
    }

    fn apply(mut script: Self, command: &Command) -> Self {
        match command {
            Command::Append { queue, body_bytes, count, .. }
            | Command::Batch { queue, body_bytes, count, .. } => {
                script.written.insert(*queue);
                script.bytes += u64::from(*body_bytes) * u64::from(*count);
            }
            Command::DeleteTopic(topic) => script.written.retain(|queue| queue / 2 != *topic),
            _ => {}
        }
        script
    }
}
