//! Listening where a killed predecessor has not let go yet.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringmq_reactor::{Monotonic, TaskIo};

use crate::limits::{LISTEN_AGAIN, LISTEN_PATIENCE};

/// How a start meets a port that is in use. The sockets of a killed process stay open until the kernel has taken down its ring, some
/// 25 ms after the process has gone: a supervisor that restarts at once must not be told that another server runs.
///
/// Owned by the service that listens, on its shard's thread.
#[derive(Debug, Default)]
pub struct ListenPatience {
    since: Option<Monotonic>,
    is_due: Rc<Cell<bool>>,
}

impl ListenPatience {
    /// The first attempt is due.
    pub fn begin(&self) {
        self.is_due.set(true);
    }

    /// Whether an attempt is due; to be asked in every turn, and told once.
    pub fn take_due(&self) -> bool {
        self.is_due.take()
    }

    /// An attempt has failed. `true`: another one will be due after [`LISTEN_AGAIN`]; `false`: the error is the answer.
    pub fn try_again(&mut self, io: &TaskIo, address: SocketAddr, error: &io::Error) -> bool {
        let again = self.lasts(io.now(), address, error);
        if again {
            let (task_io, is_due) = (io.clone(), Rc::clone(&self.is_due));
            io.spawn(async move {
                task_io.sleep(LISTEN_AGAIN).await;
                is_due.set(true);
            });
        }
        again
    }

    fn lasts(&mut self, now: Monotonic, address: SocketAddr, error: &io::Error) -> bool {
        if error.kind() != io::ErrorKind::AddrInUse {
            return false;
        }
        let first = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        let lasts = now.since(since) < LISTEN_PATIENCE;
        if first && lasts {
            tracing::info!(%address, "the address is in use; trying again for {LISTEN_PATIENCE:?}");
        }
        lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_for_a_while_and_for_one_kind_of_error_only() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let in_use = io::Error::from(io::ErrorKind::AddrInUse);
        let start = Monotonic(5_000);
        let mut patience = ListenPatience::default();
        assert!(!patience.lasts(start, address, &io::ErrorKind::PermissionDenied.into()));
        assert!(patience.lasts(start, address, &in_use));
        assert!(patience.lasts(start + LISTEN_PATIENCE / 2, address, &in_use));
        assert!(!patience.lasts(start + LISTEN_PATIENCE, address, &in_use));
    }
}
