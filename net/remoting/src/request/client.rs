//! What clients say about themselves.

headers! {
    /// Code 35: a producer or consumer leaves.
    UnregisterClientHeader {
        /// Client id.
        client_id: optional text "clientID",
        /// Group of a leaving producer.
        producer_group: optional text "producerGroup",
        /// Group of a leaving consumer.
        consumer_group: optional text "consumerGroup",
    }

    /// Codes 38 (client ids of a group), 40 (notice of a change), 203 (connections of a group).
    ConsumerGroupHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
    }

    /// Code 204: connections of a producer group.
    ProducerGroupHeader {
        /// Producer group.
        producer_group: required text "producerGroup",
    }

    /// Code 307: what a consumer is doing; relayed to it.
    ConsumerRunningInfoHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Client id.
        client_id: optional text "clientId",
        /// With stack traces.
        jstack_enable: optional boolean "jstackEnable",
    }

    /// Code 309: consume one message at once.
    ConsumeDirectlyHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Client id.
        client_id: optional text "clientId",
        /// Message id that tells where the message lies.
        msg_id: optional text "msgId",
        /// Topic.
        topic: optional text "topic",
    }
}

number_headers! {
    /// Answer to a heartbeat (34).
    HeartbeatResponse {
        /// The light heartbeat of 5.x is understood.
        is_support_heart_beat_v2: required boolean "IS_SUPPORT_HEART_BEAT_V2",
        /// The client must send its subscriptions again.
        is_sub_change: required boolean "IS_SUB_CHANGE",
    }
}
