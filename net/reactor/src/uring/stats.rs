//! Counters of a shard, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$text:meta])* $name:ident,)*) => {
        /// What a shard (or all of them, see [`super::Handle::total`]) has done since it started. Taken without stopping it,
        /// so the fields may be a turn apart from each other.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$text])* pub $name: u64,)*
        }

        impl Stats {
            /// Field by field.
            #[must_use]
            pub fn plus(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name,)* }
            }

            /// What was added since `earlier`, field by field.
            #[must_use]
            pub fn since(self, earlier: Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }

            /// Names and values, for metrics.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        /// The published copy: written by the shard once a turn, on cache lines of its own.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(super) struct Published {
            $($name: AtomicU64,)*
        }

        impl Published {
            pub(super) fn store(&self, stats: &Stats) {
                $(self.$name.store(stats.$name, Ordering::Relaxed);)*
            }

            pub(super) fn load(&self) -> Stats {
                Stats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Turns of the loop that had events.
    turns,
    /// `io_uring_enter` calls.
    enters,
    /// Enters that were allowed to sleep.
    parks,
    /// Submission queue entries.
    sqes,
    /// Completions reaped.
    cqes,
    /// Sends started.
    sends,
    /// Bytes the kernel took from sends.
    sent_bytes,
    /// Receive completions with bytes.
    receives,
    /// Bytes received.
    received_bytes,
    /// Times a multishot receive ran out of buffers.
    receive_starved,
    /// Connections accepted for this shard.
    accepted,
    /// Messages taken from mailboxes (also this shard's own).
    mails,
    /// Messages that had to wait on the sender's side.
    mails_overflowed,
    /// Parked shards woken by `MSG_RING`.
    doorbells,
    /// File operations started.
    file_operations,
    /// System calls made outside the ring, once for each file operation or buffer registration that needs them.
    direct_calls,
}
