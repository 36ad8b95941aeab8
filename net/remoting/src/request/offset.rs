//! Offsets of queues and of consumers.

headers! {
    /// Code 14: where a group stands in a queue.
    QueryConsumerOffsetHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// Newer clients: `false` forbids the answer 0 for a group without offset.
        set_zero_if_not_found: optional boolean "setZeroIfNotFound",
    }

    /// Code 15: store where a group stands in a queue. Queue and offset are needed, but have their own answer
    /// (29).
    UpdateConsumerOffsetHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: optional int "queueId",
        /// Next queue offset to consume.
        commit_offset: optional long "commitOffset",
    }

    /// Code 30: one above the highest queue offset.
    GetMaxOffsetHeader {
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// Only what consumers can see (default).
        committed: optional boolean "committed",
    }

    /// Codes 31 (lowest queue offset) and 32 (store time of the oldest message).
    QueueHeader {
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
    }

    /// Code 29: queue offset by store time.
    SearchOffsetHeader {
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// Store time, ms.
        timestamp: required long "timestamp",
        /// `LOWER` (default) or `UPPER`, in any case of letters.
        boundary_type: optional text "boundaryType",
    }
}

number_headers! {
    /// Answer to 14, 29, 30 and 31.
    OffsetResponse {
        /// Queue offset.
        offset: required long "offset",
    }

    /// Answer to 32.
    TimestampResponse {
        /// Store time, ms; -1 for none.
        timestamp: required long "timestamp",
    }
}
