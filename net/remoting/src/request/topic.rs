//! Administration of topics and of the broker.

headers! {
    /// Codes 202, 215, 217, 300: about one topic.
    TopicHeader {
        /// Topic.
        topic: required text "topic",
    }

    /// Code 17: make or change a topic.
    CreateTopicHeader {
        /// Topic.
        topic: required text "topic",
        /// Ignored.
        default_topic: optional text "defaultTopic",
        /// Queues that consumers see.
        read_queue_nums: required int "readQueueNums",
        /// Queues that producers see.
        write_queue_nums: required int "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: required int "perm",
        /// `SINGLE_TAG` or `MULTI_TAG`.
        topic_filter_type: required text "topicFilterType",
        /// System flag.
        topic_sys_flag: optional int "topicSysFlag",
        /// Ordered topic.
        order: optional boolean "order",
        /// Changes of attributes: `+key=value,-key`.
        attributes: optional text "attributes",
        /// Passed by newer clients.
        force: optional boolean "force",
    }

    /// Code 351: configuration of one topic.
    GetTopicConfigHeader {
        /// Topic.
        topic: required text "topic",
        /// With the mapping of a static topic.
        with_mapping: optional boolean "lo",
    }

    /// Answer to 26: configuration of the broker.
    BrokerConfigResponse {
        /// DataVersion as JSON.
        version: required text "version",
    }

    /// Code 315: one of the broker's counters.
    BrokerStatsHeader {
        /// Kind of counter.
        stats_name: required text "statsName",
        /// Topic, or `topic@group`.
        stats_key: required text "statsKey",
    }
}
