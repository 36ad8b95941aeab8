//! Lists and tables of names.

use std::collections::BTreeMap;

beans! {
    /// Answer to 206, 224, 304, 305, 311, 312, 313 and 343.
    TopicList {
        /// One broker's address, with 304 and 343.
        broker_addr: Option<String> = "brokerAddr";
        /// Topics; with 304 names of clusters and brokers.
        topic_list: Vec<String> = "topicList";
    }

    /// Answer to 300.
    GroupList {
        /// Groups.
        group_list: Vec<String> = "groupList";
    }

    /// Answer to 38.
    ConsumerList {
        /// Client ids.
        consumer_id_list: Vec<String> = "consumerIdList";
    }

    /// Answer to 28, 219 and 103.
    KvTable {
        /// All values are strings.
        table: BTreeMap<String, String> = "table";
    }

    /// `kvConfig.json` of the name server.
    KvConfig {
        /// Namespace → key → value.
        config_table: BTreeMap<String, BTreeMap<String, String>> = "configTable";
    }
}
