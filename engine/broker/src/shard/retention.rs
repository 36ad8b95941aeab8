//! What the store keeps, as the configuration says it.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringmq_store::{DeleteWhen, Retention};

use crate::config::{BrokerConfig, Hours};

/// Bounds within which RocketMQ uses its ratios, percent.
const USED_MAX: (u32, u32) = (10, 95);
const CLEAN_FORCIBLY: (u32, u32) = (30, 85);
const WARNING: (u32, u32) = (35, 90);
/// Shortest time between looks at the file system.
const CHECK_EVERY_MIN: Duration = Duration::from_millis(100);

/// The store's rules.
pub(crate) fn retention_of(config: &BrokerConfig) -> Retention {
    let ratio = |percent: u32, (low, high): (u32, u32)| f64::from(percent.clamp(low, high)) / 100.0;
    let (hours, zone) = (config.delete_when.clone(), config.time_zone.clone());
    Retention {
        reserved: Duration::from_secs(config.file_reserved_time.saturating_mul(3_600)),
        delete_when: DeleteWhen::new(move |wall_ms| is_hour(&hours, &zone, wall_ms)),
        used_max: ratio(config.disk_max_used_space_ratio, USED_MAX),
        clean_forcibly: ratio(config.disk_space_clean_forcibly_ratio, CLEAN_FORCIBLY),
        warning: ratio(config.disk_space_warning_level_ratio, WARNING),
        clean_forcibly_enable: config.clean_file_forcibly_enable,
        check_every: Duration::from_millis(config.clean_resource_interval).max(CHECK_EVERY_MIN),
        pause: Duration::from_millis(config.delete_commit_log_files_interval),
        batch_max: config.delete_file_batch_max.max(1) as usize,
    }
}

fn is_hour(hours: &Hours, zone: &TimeZone, wall_ms: u64) -> bool {
    let time = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    // A clock beyond the year 9999 has no hour.
    let hour = time.and_then(|time| u8::try_from(zone.to_datetime(time).hour()).ok());
    hour.is_some_and(|hour| hours.contains(hour))
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;
    use crate::config::HostFacts;

    fn config(text: &str) -> BrokerConfig {
        BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect("valid").0
    }

    #[test]
    fn hours_are_local_time() {
        let hours = config("deleteWhen=04;23").delete_when;
        let zone = TimeZone::fixed(Offset::constant(8));
        // 2026-11-21, hours of UTC.
        let at = |hour: u64| is_hour(&hours, &zone, 1_795_219_200_000 + hour * 3_600_000 + 1_234);
        let due: Vec<u64> = (0..24).filter(|hour| at(*hour)).collect();
        assert_eq!(due, [15, 20]);
        assert!(!is_hour(&hours, &zone, u64::MAX));
    }

    #[test]
    fn ratios_stay_within_the_references_bounds() {
        let retention = retention_of(&config(
            "diskMaxUsedSpaceRatio=99\ndiskSpaceCleanForciblyRatio=99\ndiskSpaceWarningLevelRatio=10\nfileReservedTime=2",
        ));
        assert_eq!((retention.used_max, retention.clean_forcibly, retention.warning), (0.95, 0.85, 0.35));
        assert_eq!(retention.reserved, Duration::from_secs(7_200));
        let retention = retention_of(&config(""));
        assert_eq!((retention.used_max, retention.clean_forcibly, retention.warning), (0.75, 0.85, 0.90));
    }
}
