//! Progress of consumers.

use std::collections::BTreeMap;

use super::{MessageQueue, SubscriptionData};

beans! {
    /// Answer to 208: how far a group is.
    ConsumeStats {
        /// Messages per second.
        consume_tps: f64 = "consumeTps";
        /// By queue of this broker.
        offset_table: BTreeMap<MessageQueue, ConsumeOffset> = "offsetTable";
    }

    /// How far a group is in one queue.
    ConsumeOffset {
        /// One above the newest message.
        broker_offset: i64 = "brokerOffset";
        /// Next message to consume, as committed.
        consumer_offset: i64 = "consumerOffset";
        /// Store time of the message before that, ms; 0 for none.
        last_timestamp: i64 = "lastTimestamp";
        /// Next message to pull.
        pull_offset: i64 = "pullOffset";
    }

    /// Body of 220, and answer to 222.
    ResetOffsetBody {
        /// Target by queue.
        offset_table: BTreeMap<MessageQueue, i64> = "offsetTable";
    }

    /// Body of 220 for clients in C++, which cannot read objects as keys.
    ResetOffsetBodyForC {
        /// Targets.
        offset_table: Vec<ResetOffsetEntryForC> = "offsetTable";
    }

    /// A queue and its target.
    ResetOffsetEntryForC {
        /// Broker name.
        broker_name: String = "brokerName";
        /// Target.
        offset: i64 = "offset";
        /// Queue.
        queue_id: i32 = "queueId";
        /// Topic.
        topic: String = "topic";
    }

    /// Answer to 308.
    CorrectionOffsets {
        /// Smallest offset by queue.
        correction_offsets: BTreeMap<i32, i64> = "correctionOffsets";
    }

    /// Answer to 345.
    GroupSubscription {
        /// Group.
        group: String = "group";
        /// Its subscription, if it is online.
        subscription_data: Option<SubscriptionData> = "subscriptionData";
        /// Topic.
        topic: String = "topic";
    }
}
