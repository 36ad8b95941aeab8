//! Listening where a killed predecessor has not let go yet.

use std::io;
use std::net::SocketAddr;

use ringmq_reactor::Monotonic;

use crate::limits::LISTEN_PATIENCE;

/// How a start meets a port that is in use. The sockets of a killed process stay open until the kernel has taken down its ring, some
/// 25 ms after the process has gone: a supervisor that restarts at once must not be told that another server runs.
#[derive(Debug, Default)]
pub struct ListenPatience {
    since: Option<Monotonic>,
}

impl ListenPatience {
    /// Whether to try again after [`crate::limits::LISTEN_AGAIN`]. `false`: the error is the answer.
    pub fn lasts(&mut self, now: Monotonic, address: SocketAddr, error: &io::Error) -> bool {
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
