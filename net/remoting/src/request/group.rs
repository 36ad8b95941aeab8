//! Administration of consumer groups.

headers! {
    /// Code 207: delete a group.
    DeleteGroupHeader {
        /// Group.
        group_name: required text "groupName",
        /// Its offsets too.
        clean_offset: optional boolean "cleanOffset",
    }

    /// Codes 343 (topics of a group) and 352 (configuration of a group).
    GroupHeader {
        /// Group.
        group: required text "group",
    }

    /// Code 208: progress of a group.
    ConsumeStatsHeader {
        /// Group.
        consumer_group: required text "consumerGroup",
        /// One topic; absent or empty for all of the group.
        topic: optional text "topic",
        /// Several topics, joined by `;` (newest clients).
        topic_list: optional text "topicList",
    }

    /// Code 308: offsets of the groups of a topic, compared with one of them.
    CorrectionOffsetHeader {
        /// Groups that do not count, joined by `,`.
        filter_groups: optional text "filterGroups",
        /// The group that is compared.
        compare_group: required text "compareGroup",
        /// Topic.
        topic: required text "topic",
    }

    /// Code 345, 303: a group's view of a topic.
    GroupTopicHeader {
        /// Group.
        group: required text "group",
        /// Topic.
        topic: required text "topic",
    }

    /// Code 222: set a group's offsets by time or to a value.
    ResetOffsetHeader {
        /// Topic.
        topic: required text "topic",
        /// Consumer group.
        group: required text "group",
        /// Target time, ms; -1 for the end.
        timestamp: required long "timestamp",
        /// Also forward.
        is_force: required boolean "isForce",
        /// -1 or absent: all queues.
        queue_id: optional int "queueId",
        /// Target offset for one queue.
        offset: optional long "offset",
    }
}
