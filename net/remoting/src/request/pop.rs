//! Consuming by message (pop).

headers! {
    /// Code 200050: messages of any queue of a topic, or of one, invisible to others for a while.
    PopHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue; negative: any.
        queue_id: required int "queueId",
        /// Most messages wanted.
        max_msg_nums: required int "maxMsgNums",
        /// How long the messages are nobody else's, ms.
        invisible_time: required long "invisibleTime",
        /// How long the request may be held, ms from `bornTime`.
        poll_time: required long "pollTime",
        /// When the client made the request, ms; absent or 0: now.
        born_time: optional long "bornTime",
        /// Where a new group begins: 0 at the first message, 1 at the end.
        init_mode: required int "initMode",
        /// `TAG` (also when absent) or `SQL92`.
        exp_type: optional text "expType",
        /// Filter expression; absent or empty: all messages.
        exp: optional text "exp",
        /// In order: no further batch of a queue before this one is done with.
        order: optional boolean "order",
        /// In order: names the attempt, so that a repeated request gets its batch again.
        attempt_id: optional text "attemptId",
    }

    /// Code 200051: a message was consumed.
    AckHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic that holds the message: of a retried one its pop retry topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// Receipt handle, see [`crate::pop::ReceiptHandle`].
        extra_info: required text "extraInfo",
        /// Queue offset.
        offset: required long "offset",
    }

    /// Code 200053: a message stays invisible for that long from now.
    ChangeInvisibleTimeHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic that holds the message.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// Receipt handle, see [`crate::pop::ReceiptHandle`].
        extra_info: required text "extraInfo",
        /// Queue offset.
        offset: required long "offset",
        /// From now, ms.
        invisible_time: required long "invisibleTime",
    }

    /// Code 200052: messages as a pop would give them, without taking them.
    PeekHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue; negative: any.
        queue_id: required int "queueId",
        /// Most messages wanted.
        max_msg_nums: required int "maxMsgNums",
    }

    /// Code 200054: tells when there is something to pop.
    NotificationHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue; negative: any.
        queue_id: required int "queueId",
        /// How long the request may be held, ms from `bornTime`.
        poll_time: required long "pollTime",
        /// When the client made the request, ms; 0: now.
        born_time: required long "bornTime",
        /// For pops in order.
        order: optional boolean "order",
        /// As in [`PopHeader::attempt_id`].
        attempt_id: optional text "attemptId",
        /// As in [`PopHeader::exp_type`].
        exp_type: optional text "expType",
        /// As in [`PopHeader::exp`].
        exp: optional text "exp",
    }

    /// Code 200055: how many pops are held.
    PollingInfoHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue, as the held pops named it.
        queue_id: required int "queueId",
    }
}
