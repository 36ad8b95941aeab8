//! Heartbeats and connections.

use std::collections::BTreeMap;

use super::{MessageQueue, SubscriptionData};

beans! {
    /// Body of 34.
    HeartbeatData {
        /// Client id.
        client_id: String = "clientID";
        /// Its consumers.
        consumer_data_set: Vec<ConsumerData> = "consumerDataSet";
        /// Hash of the whole (5.x); 0 when not used.
        heartbeat_fingerprint: i32 = "heartbeatFingerprint";
        /// Its producers.
        producer_data_set: Vec<ProducerData> = "producerDataSet";
        /// The subscriptions are left out, since the broker knows them.
        without_sub: bool = "withoutSub";
    }

    /// One consumer of a client.
    ConsumerData {
        /// `CONSUME_FROM_LAST_OFFSET` and others.
        consume_from_where: String = "consumeFromWhere", or "CONSUME_FROM_LAST_OFFSET".to_owned();
        /// `CONSUME_ACTIVELY` (pull), `CONSUME_PASSIVELY` (push), `CONSUME_POP`.
        consume_type: String = "consumeType", or "CONSUME_PASSIVELY".to_owned();
        /// Group.
        group_name: String = "groupName";
        /// `CLUSTERING` or `BROADCASTING`.
        message_model: String = "messageModel", or "CLUSTERING".to_owned();
        /// Its subscriptions.
        subscription_data_set: Vec<SubscriptionData> = "subscriptionDataSet";
        /// Unit mode.
        unit_mode: bool = "unitMode";
    }

    /// One producer of a client.
    ProducerData {
        /// Group.
        group_name: String = "groupName";
    }

    /// Body of 46.
    CheckClientConfig {
        /// Client id.
        client_id: String = "clientId";
        /// Group.
        group: String = "group";
        /// Namespace.
        namespace: Option<String> = "namespace";
        /// What is to be checked.
        subscription_data: Option<SubscriptionData> = "subscriptionData";
    }

    /// A connection of a group.
    Connection {
        /// `ip:port`.
        client_addr: String = "clientAddr";
        /// Client id.
        client_id: String = "clientId";
        /// Language, by name.
        language: String = "language", or "JAVA".to_owned();
        /// Version ordinal.
        version: i32 = "version";
    }

    /// Answer to 203.
    ConsumerConnection {
        /// Who.
        connection_set: Vec<Connection> = "connectionSet";
        /// As in the heartbeat.
        consume_from_where: Option<String> = "consumeFromWhere";
        /// As in the heartbeat.
        consume_type: Option<String> = "consumeType";
        /// As in the heartbeat.
        message_model: Option<String> = "messageModel";
        /// By topic.
        subscription_table: BTreeMap<String, SubscriptionData> = "subscriptionTable";
    }

    /// Answer to 204.
    ProducerConnection {
        /// Who.
        connection_set: Vec<Connection> = "connectionSet";
    }

    /// Body of 41 and 42.
    LockBatchRequest {
        /// Client id.
        client_id: String = "clientId";
        /// Group.
        consumer_group: String = "consumerGroup";
        /// Queues.
        queues: Vec<MessageQueue> = "mqSet";
        /// Do not ask the other brokers (5.x).
        only_this_broker: bool = "onlyThisBroker";
    }

    /// Answer to 41.
    LockBatchResponse {
        /// Queues that the client holds now.
        locked_queues: Vec<MessageQueue> = "lockOKMQSet";
    }
}
