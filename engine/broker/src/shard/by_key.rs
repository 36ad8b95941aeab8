//! This shard's share of QUERY_MESSAGE (12), which the coordination shard gathers.

use ringmq_store::{KeyError, KeyFind, KeyLookup};

use super::plane::{Cold, Plane};
use super::wire::Wire;
use crate::message::{Answer, KeyedMessages, ShardMessage};

/// A question that is being answered.
#[derive(Debug)]
pub(crate) struct KeyedWork {
    pub(crate) id: u64,
    pub(crate) lookup: KeyLookup,
}

impl Plane {
    /// Looks on, until the answer is there or the disk is asked.
    pub(crate) fn run_keyed(&mut self, wire: &mut Wire<'_>, mut work: KeyedWork) {
        let found = match self.store.find_by_key(wire.io, &mut work.lookup) {
            KeyFind::Wait(ticket) => {
                self.cold.insert(ticket, Cold::Keyed(Box::new(work)));
                return;
            }
            KeyFind::Ready(matches) => Ok(KeyedMessages { matches, end: self.store.key_index_end() }),
            KeyFind::Failed(error) => {
                if !matches!(error, KeyError::Building { .. }) {
                    tracing::error!(%error, "a query by key failed");
                }
                Err(error.to_string())
            }
        };
        let (id, answer) = (work.id, Answer::Keyed(found));
        let coordination = self.owner.coordination();
        wire.post.mail(wire.io, coordination, ShardMessage::Answer { id, answer });
    }
}
