//! Statistics.

use std::collections::BTreeMap;

use super::MessageQueue;

beans! {
    /// Answer to 202.
    TopicStatsTable {
        /// By queue.
        offset_table: BTreeMap<MessageQueue, TopicOffset> = "offsetTable";
        /// Messages put per second (5.x).
        topic_put_tps: f64 = "topicPutTps";
    }

    /// Offsets of one queue.
    TopicOffset {
        /// Store time of the newest message, ms; 0 for none.
        last_update_timestamp: i64 = "lastUpdateTimestamp";
        /// One above the highest queue offset.
        max_offset: i64 = "maxOffset";
        /// Lowest queue offset.
        min_offset: i64 = "minOffset";
    }

    /// Answer to 315.
    BrokerStatsData {
        /// Of the last day.
        stats_day: BrokerStatsItem = "statsDay";
        /// Of the last hour.
        stats_hour: BrokerStatsItem = "statsHour";
        /// Of the last minute.
        stats_minute: BrokerStatsItem = "statsMinute";
    }

    /// One counter over one span.
    BrokerStatsItem {
        /// Average per call.
        average: f64 = "avgpt";
        /// Sum.
        sum: i64 = "sum";
        /// Per second.
        tps: f64 = "tps";
    }
}
