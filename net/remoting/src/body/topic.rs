//! Topic configuration.

use std::collections::BTreeMap;

use super::DataVersion;

/// Bits of a topic's or broker's `perm`.
pub mod perm {
    /// New topics may take over from this one.
    pub const INHERIT: i32 = 1;
    /// Producers may send.
    pub const WRITE: i32 = 2;
    /// Consumers may read.
    pub const READ: i32 = 4;
}

beans! {
    /// Configuration of a topic at a broker.
    TopicConfig {
        /// Attributes such as `message.type`.
        attributes: BTreeMap<String, String> = "attributes";
        /// Ordered topic.
        order: bool = "order";
        /// See [`perm`].
        perm: i32 = "perm", or perm::READ | perm::WRITE;
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums", or 16;
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: String = "topicFilterType", or "SINGLE_TAG".to_owned();
        /// Name.
        topic_name: String = "topicName";
        /// System flag.
        topic_sys_flag: i32 = "topicSysFlag";
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums", or 16;
    }

    /// All topics of a broker: answer to 21, and `topics.json`.
    TopicConfigWrapper {
        /// Version of the table.
        data_version: DataVersion = "dataVersion";
        /// By name.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable";
    }

    /// Body of 18.
    TopicConfigList {
        /// Topics to make or change.
        topic_config_list: Vec<TopicConfig> = "topicConfigList";
    }
}

impl Eq for TopicConfig {}
