//! Pulling.

/// Bits of the `sysFlag` of a pull request.
pub mod pull_flag {
    /// `commitOffset` is to be stored.
    pub const COMMIT_OFFSET: i32 = 0x1;
    /// The broker may hold the request until a message arrives.
    pub const SUSPEND: i32 = 0x2;
    /// The request carries its subscription.
    pub const SUBSCRIPTION: i32 = 0x4;
    /// Class filter (removed from the reference).
    pub const CLASS_FILTER: i32 = 0x8;
    /// Lite pull.
    pub const LITE_PULL: i32 = 0x10;
}

headers! {
    /// Codes 11 and 361: records of one queue from an offset on.
    PullHeader {
        /// Consumer group.
        consumer_group: required text "consumerGroup",
        /// Topic.
        topic: required text "topic",
        /// Queue.
        queue_id: required int "queueId",
        /// First queue offset wanted.
        queue_offset: required long "queueOffset",
        /// Most messages wanted.
        max_msg_nums: required int "maxMsgNums",
        /// See [`pull_flag`].
        sys_flag: required int "sysFlag",
        /// Consumed up to here; see [`pull_flag::COMMIT_OFFSET`]. Absent: 0, as the reference reads this and the next two.
        commit_offset: optional long "commitOffset",
        /// How long the request may be held, ms; see [`pull_flag::SUSPEND`].
        suspend_timeout_millis: optional long "suspendTimeoutMillis",
        /// Filter expression; see [`pull_flag::SUBSCRIPTION`].
        subscription: optional text "subscription",
        /// Version of the subscription, ms.
        sub_version: optional long "subVersion",
        /// `TAG` (also when absent) or `SQL92`.
        expression_type: optional text "expressionType",
        /// Most bytes wanted (5.x; carried, not applied by the reference).
        max_msg_bytes: optional int "maxMsgBytes",
        /// Who asks (5.x): -1 client, 0 to 2 proxy.
        request_source: optional int "requestSource",
        /// Client behind a proxy; the spelling is the wire's.
        proxy_forward_client_id: optional text "proxyFrowardClientId",
        /// Broker name the client believes to talk to.
        broker_name: optional text "bname",
    }
}

number_headers! {
    /// Answer to a pull, also with codes 19, 20 and 21.
    PullResponse {
        /// Broker id to pull from next.
        suggest_which_broker_id: required long "suggestWhichBrokerId",
        /// Queue offset to pull next.
        next_begin_offset: required long "nextBeginOffset",
        /// Lowest queue offset there is.
        min_offset: required long "minOffset",
        /// One above the highest queue offset.
        max_offset: required long "maxOffset",
        /// Static topics only.
        offset_delta: optional long "offsetDelta",
        /// The topic's system flag.
        topic_sys_flag: optional int "topicSysFlag",
        /// The group's system flag.
        group_sys_flag: optional int "groupSysFlag",
        /// With code 16: 1 broker, 2 group, 3 topic, 4 broadcasting, 5 subscription.
        forbidden_type: optional int "forbiddenType",
    }
}
