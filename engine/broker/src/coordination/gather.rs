//! Questions to all data shards that are not answered by all of them yet.

use std::collections::BTreeMap;

use ringmq_reactor::ShardId;
use ringmq_reactor::task::{OneshotReceiver, OneshotSender, oneshot};

use crate::message::Answer;

/// Most questions open at a time. Each costs every data shard some work; what comes beyond is refused.
pub const QUESTIONS_MAX: usize = 1_024;

/// [`QUESTIONS_MAX`] is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "[OVERLOAD]system busy, start flow control for a while: {QUESTIONS_MAX} broker-wide questions are open"
)]
pub struct TooManyQuestions;

/// See the module's text.
#[derive(Default)]
pub struct Questions {
    next_id: u64,
    open: BTreeMap<u64, Open>,
}

struct Open {
    missing: u16,
    /// By shard, so that equal answers come in equal order whoever was first.
    answers: BTreeMap<ShardId, Answer>,
    sender: OneshotSender<Vec<Answer>>,
}

impl Questions {
    /// A new question that `shards` shards will answer.
    pub fn open(&mut self, shards: u16) -> Result<(u64, OneshotReceiver<Vec<Answer>>), TooManyQuestions> {
        if self.open.len() >= QUESTIONS_MAX {
            return Err(TooManyQuestions);
        }
        let id = self.next_id;
        self.next_id += 1;
        let (sender, receiver) = oneshot();
        self.open.insert(id, Open { missing: shards, answers: BTreeMap::new(), sender });
        Ok((id, receiver))
    }

    /// One shard's answer.
    ///
    /// # Panics
    /// If nobody asked: shards of one process do not make answers up.
    pub fn answered(&mut self, id: u64, from: ShardId, answer: Answer) {
        let open =
            self.open.get_mut(&id).unwrap_or_else(|| panic!("answer to question {id}, which is not open"));
        let earlier = open.answers.insert(from, answer);
        assert!(earlier.is_none(), "shard {from} answered question {id} twice");
        open.missing -= 1;
        if open.missing == 0 {
            let open = self.open.remove(&id).expect("found above");
            // Whoever asked may have given up.
            let _ = open.sender.send(open.answers.into_values().collect());
        }
    }
}
