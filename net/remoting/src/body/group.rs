//! Consumer group configuration.

use std::collections::BTreeMap;

use super::DataVersion;

/// The delay levels of `messageDelayLevel`, ms.
const DEFAULT_RETRY_DELAYS_MS: [i64; 18] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000, 480_000,
    540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
];

beans! {
    /// Configuration of a consumer group at a broker.
    SubscriptionGroupConfig {
        /// Attributes.
        attributes: BTreeMap<String, String> = "attributes";
        /// Broker that serves the group; 0 the master.
        broker_id: i64 = "brokerId";
        /// Broadcasting allowed.
        consume_broadcast_enable: bool = "consumeBroadcastEnable", or true;
        /// Consuming allowed.
        consume_enable: bool = "consumeEnable", or true;
        /// Starting at the oldest message allowed.
        consume_from_min_enable: bool = "consumeFromMinEnable", or true;
        /// Ordered on the server side (pop).
        consume_message_orderly: bool = "consumeMessageOrderly";
        /// Minutes.
        consume_timeout_minute: i32 = "consumeTimeoutMinute", or 15;
        /// Name.
        group_name: String = "groupName";
        /// Delays between attempts (5.x).
        group_retry_policy: GroupRetryPolicy = "groupRetryPolicy";
        /// System flag.
        group_sys_flag: i32 = "groupSysFlag";
        /// Members hear of changes.
        notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable", or true;
        /// Attempts before the dead-letter queue.
        retry_max_times: i32 = "retryMaxTimes", or 16;
        /// Queues of `%RETRY%group`.
        retry_queue_nums: i32 = "retryQueueNums", or 1;
        /// Fixed subscriptions, when set.
        subscription_data_set: Option<Vec<SimpleSubscriptionData>> = "subscriptionDataSet";
        /// Broker to read from when the consumer is far behind.
        which_broker_when_consume_slowly: i64 = "whichBrokerWhenConsumeSlowly", or 1;
    }

    /// Delays between attempts. Brokers keep it for 5.x proxies, which count the attempts of their clients themselves.
    GroupRetryPolicy {
        /// With `CUSTOMIZED`.
        customized_retry_policy: Option<CustomizedRetryPolicy> = "customizedRetryPolicy";
        /// With `EXPONENTIAL`.
        exponential_retry_policy: Option<ExponentialRetryPolicy> = "exponentialRetryPolicy";
        /// `CUSTOMIZED` or `EXPONENTIAL`.
        kind: String = "type", or "CUSTOMIZED".to_owned();
    }

    /// The delays themselves.
    CustomizedRetryPolicy {
        /// Before the second attempt, the third and so on, ms; the last one counts for all further.
        next: Vec<i64> = "next", or DEFAULT_RETRY_DELAYS_MS.to_vec();
    }

    /// Delays that grow by a factor.
    ExponentialRetryPolicy {
        /// The first, ms.
        initial: i64 = "initial", or 5_000;
        /// The largest, ms.
        max: i64 = "max", or 7_200_000;
        /// The factor.
        multiplier: i64 = "multiplier", or 2;
    }

    /// A fixed subscription of a group.
    SimpleSubscriptionData {
        /// Expression.
        expression: Option<String> = "expression";
        /// `TAG` or `SQL92`.
        expression_type: Option<String> = "expressionType";
        /// Topic.
        topic: String = "topic";
        /// Version.
        version: i64 = "version";
    }

    /// All groups of a broker: answer to 201, and `subscriptionGroup.json`.
    SubscriptionGroupWrapper {
        /// Version of the table.
        data_version: DataVersion = "dataVersion";
        /// Group → topic → bits; bit 2 forbids reading. Clients need it, if only empty.
        forbidden_table: BTreeMap<String, BTreeMap<String, i32>> = "forbiddenTable";
        /// By name.
        subscription_group_table: BTreeMap<String, SubscriptionGroupConfig> = "subscriptionGroupTable";
    }

    /// Body of 225.
    SubscriptionGroupList {
        /// Groups to make or change.
        group_config_list: Vec<SubscriptionGroupConfig> = "groupConfigList";
    }
}

impl Eq for SubscriptionGroupConfig {}
impl Eq for GroupRetryPolicy {}
impl Eq for CustomizedRetryPolicy {}
impl Eq for ExponentialRetryPolicy {}
impl Eq for SimpleSubscriptionData {}
