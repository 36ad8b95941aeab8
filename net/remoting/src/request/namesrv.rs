//! Requests to the name server.

headers! {
    /// Code 105: where is a topic?
    GetRouteHeader {
        /// Topic.
        topic: required text "topic",
        /// Wants standard JSON.
        accept_standard_json_only: optional boolean "acceptStandardJsonOnly",
    }

    /// Code 103: a broker registers, its topics in the body.
    RegisterBrokerHeader {
        /// Broker name.
        broker_name: required text "brokerName",
        /// `ip:port` of this broker.
        broker_addr: required text "brokerAddr",
        /// Cluster.
        cluster_name: required text "clusterName",
        /// `ip:port` for slaves.
        ha_server_addr: required text "haServerAddr",
        /// 0 master.
        broker_id: required long "brokerId",
        /// Silence after which the broker is dropped, ms; 120,000 when absent.
        heartbeat_timeout_millis: optional long "heartbeatTimeoutMillis",
        /// Absent: an old broker.
        enable_acting_master: optional boolean "enableActingMaster",
        /// The body is a zlib stream.
        compressed: optional boolean "compressed",
        /// CRC-32 of the body as sent, without its highest bit; 0 is not checked.
        body_crc32: optional int "bodyCrc32",
        /// Zone.
        zone_name: optional text "__ZONE_NAME",
    }

    /// Answer to 103, filled for slaves.
    RegisterBrokerResponse {
        /// Where the master serves its slaves.
        ha_server_addr: optional text "haServerAddr",
        /// The master.
        master_addr: optional text "masterAddr",
    }

    /// Codes 104 (a broker leaves) and 322 (are my topics still the ones you know?).
    BrokerIdentityHeader {
        /// Broker name.
        broker_name: required text "brokerName",
        /// `ip:port` of this broker.
        broker_addr: required text "brokerAddr",
        /// Cluster.
        cluster_name: required text "clusterName",
        /// 0 master.
        broker_id: required long "brokerId",
    }

    /// Code 904: a broker lives.
    BrokerHeartbeatHeader {
        /// Cluster.
        cluster_name: required text "clusterName",
        /// `ip:port` of this broker.
        broker_addr: required text "brokerAddr",
        /// Broker name.
        broker_name: required text "brokerName",
        /// 0 master.
        broker_id: optional long "brokerId",
    }

    /// Code 901: the brokers of one name.
    BrokerMemberGroupHeader {
        /// Cluster.
        cluster_name: required text "clusterName",
        /// Broker name.
        broker_name: required text "brokerName",
    }

    /// Code 905 (one-way, name server to broker): the lowest broker id has changed.
    NotifyMinBrokerIdChangeHeader {
        /// Lowest id now.
        min_broker_id: optional long "minBrokerId",
        /// Broker name.
        broker_name: optional text "brokerName",
        /// Its address.
        min_broker_addr: optional text "minBrokerAddr",
        /// Who left.
        offline_broker_addr: optional text "offlineBrokerAddr",
        /// Where it serves slaves.
        ha_broker_addr: optional text "haBrokerAddr",
    }

    /// Codes 205 and 327: take away or give back the write permission of a broker.
    BrokerNameHeader {
        /// Broker name.
        broker_name: required text "brokerName",
    }

    /// Code 224: topics of a cluster.
    ClusterHeader {
        /// Cluster.
        cluster: required text "cluster",
    }

    /// Code 216: forget a topic.
    DeleteTopicInNamesrvHeader {
        /// Topic.
        topic: required text "topic",
        /// Only its queues of this cluster.
        cluster_name: optional text "clusterName",
    }

    /// Code 100: set a value.
    PutKvConfigHeader {
        /// Namespace.
        namespace: required text "namespace",
        /// Key.
        key: required text "key",
        /// Value.
        value: required text "value",
    }

    /// Codes 101 (get) and 102 (delete).
    KvConfigHeader {
        /// Namespace.
        namespace: required text "namespace",
        /// Key.
        key: required text "key",
    }

    /// Answer to 101.
    KvConfigResponse {
        /// Value.
        value: optional text "value",
    }

    /// Code 219: all keys of a namespace.
    NamespaceHeader {
        /// Namespace.
        namespace: required text "namespace",
    }
}

number_headers! {
    /// Answer to 205.
    WipeWritePermResponse {
        /// Topics changed.
        wipe_topic_count: required int "wipeTopicCount",
    }

    /// Answer to 327.
    AddWritePermResponse {
        /// Topics changed.
        add_topic_count: required int "addTopicCount",
    }

    /// Answer to 322.
    QueryDataVersionResponse {
        /// The broker must register again.
        changed: required boolean "changed",
    }
}
