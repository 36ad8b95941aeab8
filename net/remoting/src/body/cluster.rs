//! Routes and clusters.

use std::collections::BTreeMap;

use super::Opaque;
use crate::json::{Style, Writer};

beans! {
    /// Answer to 105: where a topic is.
    TopicRouteData {
        /// Brokers that have it.
        broker_datas: Vec<BrokerData> = "brokerDatas";
        /// Always empty: filter servers are gone.
        filter_server_table: BTreeMap<String, Vec<String>> = "filterServerTable";
        /// `broker:queues;…` of an ordered topic.
        order_topic_conf: Option<String> = "orderTopicConf";
        /// Its queues, one entry for each broker name.
        queue_datas: Vec<QueueData> = "queueDatas";
        /// Broker name → its part; static topics only.
        topic_queue_mapping_by_broker: Option<BTreeMap<String, Opaque>> = "topicQueueMappingByBroker";
    }

    /// Brokers of one name.
    BrokerData {
        /// Broker id → `ip:port`; 0 is the master.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs";
        /// Name.
        broker_name: String = "brokerName";
        /// Cluster.
        cluster: String = "cluster";
        /// A slave may act for the master.
        enable_acting_master: bool = "enableActingMaster";
        /// Zone.
        zone_name: Option<String> = "zoneName";
    }

    /// Queues of a topic at the brokers of one name.
    QueueData {
        /// Broker name.
        broker_name: String = "brokerName";
        /// See [`super::perm`].
        perm: i32 = "perm";
        /// Queues that consumers see.
        read_queue_nums: i32 = "readQueueNums";
        /// System flag; 4.x name servers misspell it.
        topic_sys_flag: i32 = "topicSysFlag" | "topicSynFlag";
        /// Queues that producers see.
        write_queue_nums: i32 = "writeQueueNums";
    }

    /// Answer to 106.
    ClusterInfo {
        /// By broker name.
        broker_addr_table: BTreeMap<String, BrokerData> = "brokerAddrTable";
        /// Broker names by cluster.
        cluster_addr_table: BTreeMap<String, Vec<String>> = "clusterAddrTable";
    }

    /// Brokers of one name, without the answer's envelope.
    BrokerMemberGroup {
        /// Broker id → `ip:port`.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs";
        /// Name.
        broker_name: String = "brokerName";
        /// Cluster.
        cluster: String = "cluster";
    }

    /// Answer to 901.
    BrokerMemberGroupBody {
        /// The group.
        broker_member_group: BrokerMemberGroup = "brokerMemberGroup";
    }
}

impl TopicRouteData {
    /// Its text as standard JSON: for requests with version ≥ [`crate::code::version::V4_9_4`] or
    /// `acceptStandardJsonOnly`.
    pub fn to_standard_json(&self) -> String {
        Writer::text_of(self, Style::Standard)
    }
}
