//! How `flushConsumerOffsetInterval` and `flushDelayOffsetInterval` are shared out between those who keep offsets to themselves for a
//! while: what a client was told is durable after the interval and one write.

use std::time::Duration;

use super::BrokerConfig;

/// Longest time that a data shard keeps changed offsets to itself.
const REPORT_AFTER_MAX: Duration = Duration::from_secs(1);
/// Shortest period of writing: shorter ones are taken as this.
const FLUSH_PERIOD_MIN: Duration = Duration::from_millis(50);

impl BrokerConfig {
    /// How long a data shard may keep changed offsets and delay progress before it reports them: a fifth of the interval.
    #[must_use]
    pub fn report_offsets_after(&self) -> Duration {
        (self.offset_interval() / 5).min(REPORT_AFTER_MAX)
    }

    /// How often the coordination shard writes what was reported: the rest of the interval.
    #[must_use]
    pub fn flush_offsets_period(&self) -> Duration {
        (self.offset_interval() - self.report_offsets_after()).max(FLUSH_PERIOD_MIN)
    }

    /// Both travel together, so the shorter interval counts.
    fn offset_interval(&self) -> Duration {
        Duration::from_millis(self.flush_consumer_offset_interval.min(self.flush_delay_offset_interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    #[test]
    fn reporting_and_writing_together_keep_to_the_interval() {
        for (offsets, delay, report, period) in [
            (5_000, 10_000, 1_000, 4_000),
            (60_000, 60_000, 1_000, 59_000),
            (500, 10_000, 100, 400),
            (5_000, 1_000, 200, 800),
            (10, 10, 2, 50),
        ] {
            let text = format!("flushConsumerOffsetInterval={offsets}\nflushDelayOffsetInterval={delay}");
            let (config, _) = BrokerConfig::from_text(&text, &[], &HostFacts::for_tests()).expect("valid");
            let ms = Duration::from_millis;
            assert_eq!(
                (config.report_offsets_after(), config.flush_offsets_period()),
                (ms(report), ms(period))
            );
        }
    }
}
