//! Keeps a misbehaving peer from filling the log.

use std::time::Duration;

use ringmq_reactor::Monotonic;

use crate::limits::{LOG_LINES_BURST, LOG_LINES_PER_SECOND};

/// A bucket of log lines that fills with time.
#[derive(Debug)]
pub struct LogLimit {
    lines: u32,
    refilled: Monotonic,
    suppressed: u64,
}

impl Default for LogLimit {
    fn default() -> Self {
        Self { lines: LOG_LINES_BURST, refilled: Monotonic::default(), suppressed: 0 }
    }
}

impl LogLimit {
    /// Whether a line may be written now; if so, how many were left out since the last one.
    pub fn permit(&mut self, now: Monotonic) -> Option<u64> {
        let per_line = Duration::from_secs(1) / LOG_LINES_PER_SECOND;
        let earned = now.since(self.refilled).as_nanos() / per_line.as_nanos();
        if earned > 0 {
            self.lines =
                self.lines.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(LOG_LINES_BURST);
            self.refilled = now;
        }
        if self.lines == 0 {
            self.suppressed += 1;
            return None;
        }
        self.lines -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut limit = LogLimit::default();
        let start = Monotonic(0);
        let written = (0..1000).filter(|_| limit.permit(start).is_some()).count();
        assert_eq!(written, LOG_LINES_BURST as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(limit.permit(later), Some(1000 - u64::from(LOG_LINES_BURST)));
        let written = (0..1000).filter(|_| limit.permit(later).is_some()).count();
        assert_eq!(written, LOG_LINES_PER_SECOND as usize - 1);
    }
}
