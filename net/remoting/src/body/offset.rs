//! Offset tables: files of the broker, and answers to its slaves.

use std::collections::BTreeMap;

use super::DataVersion;

beans! {
    /// Answer to 43, and `consumerOffset.json`.
    ConsumerOffsetTable {
        /// Version of the table.
        data_version: DataVersion = "dataVersion";
        /// Topics by group: derived from the rest, ignored on reading.
        group_topic_map: Option<BTreeMap<String, Vec<String>>> = "groupTopicMap";
        /// `topic@group` → queue → next offset to consume.
        offset_table: BTreeMap<String, BTreeMap<i32, i64>> = "offsetTable";
    }

    /// Answer to 45, and `delayOffset.json`.
    DelayOffsetTable {
        /// Version of the table.
        data_version: DataVersion = "dataVersion";
        /// Delay level → next offset in its queue of `SCHEDULE_TOPIC_XXXX`.
        offset_table: BTreeMap<i32, i64> = "offsetTable";
    }
}
