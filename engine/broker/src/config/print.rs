//! The configuration as text: for `-p`, and for request 26.

use ringmq_transport::properties_file::Properties;

use super::BrokerConfig;
use super::other_keys::OTHER_KEYS;

impl BrokerConfig {
    /// Every key with its value, in alphabetical order: obeyed ones as they are in effect, the others as given or with
    /// the value that describes what the broker does.
    #[must_use]
    pub fn to_properties(&self) -> Properties {
        let mut all: Vec<(&str, String)> = Self::obeyed_keys()
            .iter()
            .map(|(key, _)| (*key, self.get(key).expect("an obeyed key has a value")))
            .collect();
        for other in OTHER_KEYS {
            if !self.other.contains_key(other.key) {
                all.push((other.key, other.shown.to_owned()));
            }
        }
        all.extend(self.other.iter().map(|(key, value)| (key.as_str(), value.clone())));
        all.sort();
        properties(&all)
    }

    /// The obeyed keys that matter for a first look (`-m`).
    #[must_use]
    pub fn important_properties(&self) -> Properties {
        const IMPORTANT: &[&str] = &[
            "autoCreateSubscriptionGroup",
            "autoCreateTopicEnable",
            "bindAddress",
            "brokerClusterName",
            "brokerIP1",
            "brokerIP2",
            "brokerId",
            "brokerName",
            "brokerPermission",
            "brokerRole",
            "defaultTopicQueueNums",
            "flushDiskType",
            "flushIntervalCommitLog",
            "listenPort",
            "longPollingEnable",
            "mappedFileSizeCommitLog",
            "maxMessageSize",
            "messageDelayLevel",
            "namesrvAddr",
            "shards",
            "storePathRootDir",
            "tailCachePath",
            "traceTopicEnable",
        ];
        let all: Vec<(&str, String)> =
            IMPORTANT.iter().filter_map(|key| self.get(key).map(|value| (*key, value))).collect();
        properties(&all)
    }

    /// What was given, for rewriting the configuration file after request 25.
    #[must_use]
    pub fn given_properties(&self) -> Properties {
        let all: Vec<(&str, String)> =
            self.given.iter().chain(&self.other).map(|(key, value)| (key.as_str(), value.clone())).collect();
        properties(&all)
    }
}

fn properties(all: &[(&str, String)]) -> Properties {
    let mut properties = Properties::default();
    for (key, value) in all {
        properties.set(key, value);
    }
    properties
}
