//! What is removed when: by age and by room on the file system, as RocketMQ does it.
//!
//! ```text
//!   every check_every:  ask for the room ─→ refuse or take appends ─→ anything to remove?
//!        ╭──────────────────────────────────────────────────────────────╯
//!        ▼ the hour has come, room is short, or an operator asks: a round of at most batch_max segments, oldest first
//!   remove one ─→ pause ─→ ask for the room again ─→ …
//! ```
//!
//! | used part of the file system | what happens |
//! |---|---|
//! | above `used_max` | segments past their time go at once instead of at the hour |
//! | above `clean_forcibly` | the oldest segments go whatever their age, one by one, until it is below |
//! | above `warning` | the same, and appends are refused |
//!
//! A segment's time is the store time of its newest record. The segment that the log's end is in is never removed, nor one that
//! the durable checkpoint has not passed.
//!
//! RocketMQ removes a whole batch of files before it looks at the disk again; here each removal is followed by a look, so forced cleaning
//! takes no more than it has to.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringmq_reactor::{FileOp, Io, Space};

use crate::token::{Kind, Tokens};

/// Rounds that an operator's request starts at most, one each check: RocketMQ's number.
pub const MANUAL_ROUNDS: u32 = 20;

/// What is kept (`fileReservedTime` and its neighbours). Ratios are the used part of the file system, 0 to 1.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Segments whose newest record is older than this are removed (`fileReservedTime`).
    pub reserved: Duration,
    /// When (`deleteWhen`).
    pub delete_when: DeleteWhen,
    /// Above this they are removed at any hour (`diskMaxUsedSpaceRatio`).
    pub used_max: f64,
    /// Above this the oldest are removed whatever their age (`diskSpaceCleanForciblyRatio`), if `clean_forcibly_enable`.
    pub clean_forcibly: f64,
    /// Above this appends are refused, too (`diskSpaceWarningLevelRatio`).
    pub warning: f64,
    /// `cleanFileForciblyEnable`.
    pub clean_forcibly_enable: bool,
    /// Time between looks (`cleanResourceInterval`).
    pub check_every: Duration,
    /// Pause after each removal (`deleteCommitLogFilesInterval`).
    pub pause: Duration,
    /// Segments removed in one round (`deleteFileBatchMax`).
    pub batch_max: usize,
}

/// Whether segments past their time may be removed at a moment, given in milliseconds since 1970.
#[derive(Clone)]
pub struct DeleteWhen(Arc<IsTime>);

type IsTime = dyn Fn(u64) -> bool + Send + Sync + UnwindSafe + RefUnwindSafe;

impl DeleteWhen {
    /// By a function of the wall clock.
    #[must_use]
    pub fn new(is_time: impl Fn(u64) -> bool + Send + Sync + UnwindSafe + RefUnwindSafe + 'static) -> Self {
        Self(Arc::new(is_time))
    }

    /// At any time.
    #[must_use]
    pub fn always() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for DeleteWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeleteWhen")
    }
}

/// The oldest segment, if it may be removed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oldest {
    /// There is only the one that is being written.
    None,
    /// Something has to become durable first.
    NotYet,
    /// It may go; store time of its newest record, ms.
    Ready(i64),
}

/// What a look leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Nothing,
    /// Unlink what is kept for reuse: it is room.
    RemoveSpare,
    /// Remove the oldest segment now.
    Remove {
        /// Room is short: nothing of it is to be kept for reuse.
        room_is_short: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is under way; the next turn looks.
    Idle,
    /// Until the timer.
    Waiting,
    /// For the room on the file system.
    Asking,
    /// For a removal.
    Removing,
}

/// A round that is under way.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Segments past their time go, whatever the hour and the room are by now.
    expired: bool,
    left: usize,
}

/// The keeper of the policy. Looks, and says when a segment is to go.
#[derive(Debug)]
pub(crate) struct Keeper {
    policy: Option<Retention>,
    state: State,
    round: Option<Round>,
    manual_rounds: u32,
    /// Used part at the last look, 0 to 1.
    used: f64,
    refuses: bool,
}

fn used_part(space: Space) -> f64 {
    if space.total == 0 {
        return 0.0;
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    let used = space.total.saturating_sub(space.available) as f64 / space.total as f64;
    used
}

impl Keeper {
    pub fn new(policy: Option<Retention>) -> Self {
        Self { policy, state: State::Idle, round: None, manual_rounds: 0, used: 0.0, refuses: false }
    }

    /// Whether anything is ever removed.
    pub fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    pub fn is_busy(&self) -> bool {
        self.state == State::Asking
    }

    /// Takes effect with the next look.
    pub fn set_policy(&mut self, policy: Option<Retention>) {
        self.refuses &= policy.is_some();
        self.policy = policy;
    }

    /// An operator asks for what is past its time, at once.
    pub fn clean_now(&mut self) {
        self.manual_rounds = MANUAL_ROUNDS;
        // The look that is waited for may be far away: a timer of an earlier look does no harm.
        if self.state == State::Waiting {
            self.state = State::Idle;
        }
    }

    pub fn used(&self) -> f64 {
        self.used
    }

    /// The used part of the file system above which appends are refused, and what is used: both as parts of 1.
    pub fn refusal(&self) -> Option<(f64, f64)> {
        let policy = self.policy.as_ref()?;
        self.refuses.then_some((self.used, policy.warning))
    }

    /// Looks, if it is time.
    pub fn drive(&mut self, io: &mut dyn Io, tokens: Tokens, dir: &Path) {
        if self.policy.is_some() && self.state == State::Idle {
            self.state = State::Asking;
            io.file(tokens.of(Kind::Space, 0), FileOp::Space(dir.to_owned()));
        }
    }

    /// The timer fired.
    pub fn on_timer(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Idle;
        }
    }

    /// The answer to a look; `None`: the file system did not say.
    pub fn on_space(
        &mut self,
        io: &mut dyn Io,
        tokens: Tokens,
        space: Option<Space>,
        oldest: Oldest,
        spares: usize,
    ) -> Order {
        if self.state != State::Asking {
            // Somebody else's question.
            return Order::Nothing;
        }
        let Some(policy) = self.policy.clone() else {
            self.state = State::Idle;
            return Order::Nothing;
        };
        if let Some(space) = space {
            self.used = used_part(space);
        }
        self.note_refusal(&policy);
        let forced = policy.clean_forcibly_enable && self.used > policy.clean_forcibly.min(policy.warning);
        let short = self.used > policy.used_max || forced;
        if short && spares > 0 {
            self.state = State::Removing;
            return Order::RemoveSpare;
        }
        if self.round.is_none() {
            let manual = self.manual_rounds > 0;
            self.manual_rounds -= u32::from(manual);
            let expired = manual || short || (policy.delete_when.0)(io.wall_ms());
            if expired {
                self.round = Some(Round { expired, left: policy.batch_max });
            }
        }
        let order = self.judge(&policy, forced, short, oldest, io.wall_ms());
        match order {
            Some(Order::Remove { .. } | Order::RemoveSpare) => self.state = State::Removing,
            Some(Order::Nothing) => self.wait(io, tokens, policy.pause),
            None => {
                self.round = None;
                self.wait(io, tokens, policy.check_every);
            }
        }
        order.unwrap_or(Order::Nothing)
    }

    /// `None`: the round is over.
    fn judge(
        &mut self,
        policy: &Retention,
        forced: bool,
        short: bool,
        oldest: Oldest,
        wall_ms: u64,
    ) -> Option<Order> {
        let round = self.round.as_mut().filter(|round| round.left > 0)?;
        let newest = match oldest {
            Oldest::None => {
                if forced {
                    tracing::warn!(
                        used = self.used,
                        "room is short, but only the segment that is being written is left"
                    );
                }
                return None;
            }
            Oldest::NotYet if forced => return Some(Order::Nothing),
            Oldest::NotYet => return None,
            Oldest::Ready(newest) => u64::try_from(newest).unwrap_or(0),
        };
        let reserved = u64::try_from(policy.reserved.as_millis()).unwrap_or(u64::MAX);
        let is_past = wall_ms.saturating_sub(newest) >= reserved;
        if forced || (round.expired && is_past) {
            round.left -= 1;
            return Some(Order::Remove { room_is_short: short });
        }
        None
    }

    fn note_refusal(&mut self, policy: &Retention) {
        let refuses = self.used > policy.warning;
        if refuses != self.refuses {
            let (used, limit) = (self.used, policy.warning);
            if refuses {
                tracing::error!(
                    used,
                    limit,
                    "the disk is almost full: messages are refused until there is room"
                );
            } else {
                tracing::info!(used, limit, "there is room on the disk again: messages are taken");
            }
        }
        self.refuses = refuses;
    }

    /// The removal that was ordered is done.
    pub fn removed(&mut self, io: &mut dyn Io, tokens: Tokens) {
        assert_eq!(self.state, State::Removing, "a removal that was ordered");
        let pause = self.policy.as_ref().map_or(Duration::ZERO, |policy| policy.pause);
        self.wait(io, tokens, pause);
    }

    fn wait(&mut self, io: &mut dyn Io, tokens: Tokens, time: Duration) {
        self.state = State::Waiting;
        io.timer(io.now() + time, tokens.of(Kind::RetentionTimer, 0));
    }
}
