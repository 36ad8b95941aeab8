//! The broker's configuration: RocketMQ's `.properties` keys and defaults.
//!
//! A [`BrokerConfig`] is a value: read once at start, shared with every shard as an `Arc`, replaced as a whole when an
//! operator changes a key at run time ([`BrokerConfig::updated`]). Reading it never touches the world: what depends on
//! the machine (host name, addresses, environment) comes in as [`HostFacts`].
//!
//! Every key of RocketMQ falls into one of four classes:
//!
//! | class | in a file | where declared |
//! |---|---|---|
//! | honoured | parsed, checked, obeyed | [`settings`] |
//! | without effect | accepted and listed: it tunes something that RingMQ does not have (thread pools, mmap, JVM) | [`other_keys`] |
//! | not built yet | accepted with a warning, or refused where starting without it would be unsafe | [`other_keys`] |
//! | unknown | kept, printed, warned about | |

mod error;
#[doc(hidden)]
pub mod for_tests;
mod host;
mod intervals;
mod other_keys;
mod print;
mod settings;
mod update;
mod values;

pub use error::{ConfigError, Notice};
pub use host::{HostFacts, first_address};
pub use other_keys::{KeyClass, OtherKey, Unbuilt, other_key};
pub use settings::BrokerConfig;
pub use update::UpdateRefused;
pub use values::{BrokerRole, DelayLevels, FlushDiskType, Hours, NameServers};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ringmq_transport::limits::UNSENT_BYTES_MIN;
use ringmq_transport::properties_file::Properties;

/// Fewer shards than this cannot be asked for.
pub const SHARDS_MIN: u16 = 1;
/// A physical offset has 8 bits for the shard (`shard << 56`), of which the sign bit stays clear.
pub const SHARDS_MAX: u16 = 127;
/// Topic names of ordinary topics, in characters.
pub const TOPIC_CHARS_MAX: usize = 127;
/// Names of retry and dead-letter topics, in characters.
pub const RETRY_TOPIC_CHARS_MAX: usize = 255;
/// Three blocks: one being filled, one being written, one that readers may still hold.
pub const TAIL_CACHE_BYTES_MIN: usize = ringmq_store::BLOCKS_MIN * ringmq_store::BLOCK_BYTES;
/// One read of one record of the largest size fits, with what is read ahead for it.
pub const READ_CACHE_BYTES_MIN: usize =
    ringmq_store::RECORD_BYTES_MAX + (ringmq_store::READ_AHEAD_BLOCKS + 2) * ringmq_store::CACHE_BLOCK_BYTES;
/// Names of consumer and producer groups, in characters: what older servers allowed.
pub const GROUP_CHARS_MAX: usize = 255;

impl BrokerConfig {
    /// Reads a configuration file's text.
    ///
    /// `overrides` (command line) win over the file. The notices say which keys have no effect, are not built yet or are
    /// unknown; they are for the log.
    ///
    /// # Errors
    /// When the text is malformed, a value cannot be read or is out of range, or a key asks for something that the broker
    /// must not pretend to do.
    pub fn from_text(
        text: &str,
        overrides: &[(&str, &str)],
        host: &HostFacts,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut properties = Properties::parse(text)?;
        for (key, value) in overrides {
            properties.set(key, value);
        }
        Self::from_properties(&properties, host).map_err(|error| error.located_in(text))
    }

    /// As [`BrokerConfig::from_text`], from a file's bytes: UTF-8, or else ISO 8859-1, which is what Java takes such files for.
    ///
    /// # Errors
    /// As [`BrokerConfig::from_text`].
    pub fn from_bytes(
        bytes: &[u8],
        overrides: &[(&str, &str)],
        host: &HostFacts,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_text(text, overrides, host),
            Err(_) => {
                let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
                Self::from_text(&text, overrides, host)
            }
        }
    }

    /// As [`BrokerConfig::from_text`], from parsed properties: errors carry no line.
    ///
    /// # Errors
    /// As [`BrokerConfig::from_text`].
    pub fn from_properties(
        properties: &Properties,
        host: &HostFacts,
    ) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut config = Self::defaults(host);
        if let Some(name_servers) = &host.name_servers {
            config.set("namesrvAddr", name_servers)?;
        }
        let mut notices = Vec::new();
        for (key, value) in properties.iter() {
            let key = values::canonical_key(key);
            if config.set(key, value)? {
                config.given.insert(key.to_owned(), value.to_owned());
                continue;
            }
            match other_key(key) {
                Some(other) => notices.extend(other.judge(value)?),
                None => notices.push(Notice::Unknown { key: key.to_owned() }),
            }
            config.other.insert(key.to_owned(), value.to_owned());
        }
        config.derive();
        config.check()?;
        Ok((config, notices))
    }

    /// Fills in what follows from other keys and was not given.
    fn derive(&mut self) {
        let given = |config: &Self, key: &str| config.given.contains_key(key);
        if !given(self, "haListenPort") {
            self.ha_listen_port = self.listen_port.saturating_add(1);
        }
        if !given(self, "brokerIP2") {
            self.broker_ip2.clone_from(&self.broker_ip1);
        }
    }

    /// Relations between keys, and ranges.
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: &'static str, why: String| {
            let value = self.get(key).unwrap_or_default();
            Err(ConfigError::Refused { key: key.to_owned(), value, line: None, why })
        };
        match self.broker_role {
            BrokerRole::AsyncMaster => {}
            BrokerRole::Slave => {
                return refuse(
                    "brokerRole",
                    "replication is not built yet: this broker cannot copy a master's log. Start it as ASYNC_MASTER \
                     under a brokerName of its own"
                        .to_owned(),
                );
            }
            BrokerRole::SyncMaster => {
                return refuse(
                    "brokerRole",
                    "replication is not built yet: SYNC_MASTER promises a second copy that nobody would hold. Use \
                     ASYNC_MASTER, with flushDiskType=SYNC_FLUSH for durability on this machine"
                        .to_owned(),
                );
            }
        }
        if self.broker_id != 0 {
            return refuse(
                "brokerId",
                "a master has brokerId 0; slaves need replication, which is not built yet".to_owned(),
            );
        }
        if !(SHARDS_MIN..=SHARDS_MAX).contains(&self.shards) {
            return refuse("shards", format!("must lie between {SHARDS_MIN} and {SHARDS_MAX}"));
        }
        for (key, name) in
            [("brokerName", &self.broker_name), ("brokerClusterName", &self.broker_cluster_name)]
        {
            if name.is_empty() || name.chars().count() > TOPIC_CHARS_MAX {
                return refuse(
                    key,
                    format!("must have 1 to {TOPIC_CHARS_MAX} characters: a topic carries this name"),
                );
            }
        }
        if self.broker_permission & !7 != 0 {
            return refuse(
                "brokerPermission",
                "must be a sum of 4 (read), 2 (write) and 1 (inherit)".to_owned(),
            );
        }
        if self.default_topic_queue_nums == 0 {
            return refuse("defaultTopicQueueNums", "must be at least 1".to_owned());
        }
        if !(1..=values::MESSAGE_BYTES_LIMIT).contains(&self.max_message_size) {
            return refuse(
                "maxMessageSize",
                format!("must lie between 1 and {}: a frame has at most 16 MiB", values::MESSAGE_BYTES_LIMIT),
            );
        }
        if self.mapped_file_size_commit_log < values::SEGMENT_BYTES_MIN {
            return refuse(
                "mappedFileSizeCommitLog",
                format!("must be at least {}: one record must fit into a segment", values::SEGMENT_BYTES_MIN),
            );
        }
        let smallest = [
            ("tailCacheBytesPerShard", self.tail_cache_bytes, TAIL_CACHE_BYTES_MIN),
            ("readCacheBytesPerShard", self.read_cache_bytes, READ_CACHE_BYTES_MIN),
            ("unsentBytesMaxPerConnection", self.unsent_bytes_max, UNSENT_BYTES_MIN),
            ("unsentBytesMaxPerShard", self.unsent_bytes_total_max, self.unsent_bytes_max),
        ];
        for (key, value, min) in smallest {
            if value < min {
                return refuse(key, format!("must be at least {min}"));
            }
        }
        for (key, address) in [("brokerIP1", &self.broker_ip1), ("brokerIP2", &self.broker_ip2)] {
            if address.parse::<IpAddr>().is_err() {
                return refuse(
                    key,
                    "must be an IP address: it becomes part of every message id. Host names are not resolved"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    /// Port of the VIP channel (old clients send there by default): two below the listen port. `None` when the listen
    /// port is chosen by the system or leaves no room.
    #[must_use]
    pub fn vip_port(&self) -> Option<u16> {
        self.listen_port.checked_sub(2).filter(|&port| port > 0)
    }

    /// Address under which clients and name servers know the broker: `brokerIP1`, with the port it listens on.
    ///
    /// # Panics
    /// Never: `check` has parsed it.
    #[must_use]
    pub fn broker_address(&self, port: u16) -> SocketAddr {
        let ip: IpAddr = self.broker_ip1.parse().expect("checked when the configuration was read");
        SocketAddr::new(ip, port)
    }

    /// Folder of the metadata store.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        self.store_path_root_dir.join("metadata")
    }

    /// Folder of exported metadata (`topics.json` …).
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.store_path_root_dir.join("config")
    }

    /// Whether a name denotes a system topic of this broker, beyond the fixed names.
    #[must_use]
    pub fn reply_topic(&self) -> String {
        format!("{}_REPLY_TOPIC", self.broker_cluster_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (BrokerConfig, Vec<Notice>) {
        BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect("valid configuration")
    }

    fn refused(text: &str) -> String {
        BrokerConfig::from_text(text, &[], &HostFacts::for_tests()).expect_err("refused").to_string()
    }

    #[test]
    fn defaults_are_those_of_rocketmq() {
        let (config, notices) = read("");
        assert!(notices.is_empty(), "{notices:?}");
        assert_eq!(config.listen_port, 10911);
        assert_eq!(config.vip_port(), Some(10909));
        assert_eq!(config.ha_listen_port, 10912);
        assert_eq!(config.broker_cluster_name, "DefaultCluster");
        assert_eq!(config.broker_name, "test-host");
        assert_eq!(config.default_topic_queue_nums, 8);
        assert_eq!(config.max_message_size, 4 << 20);
        assert_eq!(config.flush_disk_type, FlushDiskType::Async);
        assert_eq!(config.message_delay_level.count(), 18);
        assert_eq!(config.name_servers.texts().collect::<Vec<_>>(), ["10.1.1.1:9876"]);
    }

    #[test]
    fn apaches_sample_file_is_understood() {
        let (config, notices) = read(
            "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\n\
             fileReservedTime = 48\nbrokerRole = ASYNC_MASTER\nflushDiskType = SYNC_FLUSH\n\
             namesrvAddr = 10.0.0.1:9876; 10.0.0.2:9876\nlistenPort=20911\nmapedFileSizeCommitLog=67108864\n\
             sendMessageThreadPoolNums=128\nstorePathIndex=/x\nmyOwnKey=1\n",
        );
        assert_eq!(config.broker_name, "broker-a");
        assert_eq!(config.flush_disk_type, FlushDiskType::Sync);
        assert_eq!(config.name_servers.texts().count(), 2);
        assert_eq!(config.ha_listen_port, 20912);
        assert_eq!(config.mapped_file_size_commit_log, 64 << 20);
        let text: Vec<String> = notices.iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|n| n.starts_with("sendMessageThreadPoolNums has no effect")), "{text:?}");
        assert_eq!(config.file_reserved_time, 48);
        assert!(text.iter().any(|n| n.contains("myOwnKey is not known")), "{text:?}");
        let printed = config.to_properties();
        assert_eq!(printed.get("myOwnKey"), Some("1"));
        assert_eq!(printed.get("listenPort"), Some("20911"));
    }

    #[test]
    fn errors_name_key_value_and_line() {
        let error = refused("brokerName=a\n# note\nlistenPort = 70000\n");
        assert_eq!(error, "line 3: listenPort=70000: a whole number from 0 to 65535 expected");
        let error = refused("brokerRole=SLAVE\nbrokerId=1");
        assert!(error.starts_with("line 1: brokerRole=SLAVE: replication is not built yet"), "{error}");
        assert!(refused("brokerRole=SYNC_MASTER").contains("flushDiskType=SYNC_FLUSH"));
        assert!(refused("\naclEnable=true").starts_with("line 2: aclEnable=true: "));
        assert!(refused("brokerIP1=broker.example").contains("must be an IP address"));
        assert!(refused("messageDelayLevel=1s 5x").contains("messageDelayLevel"));
        assert!(refused("shards=200").contains("between 1 and 127"));
        assert!(refused("tailCacheBytesPerShard=1000000").contains("must be at least"));
        assert!(refused("unsentBytesMaxPerShard=1000000").contains("must be at least"));
    }

    #[test]
    fn what_is_printed_reads_back_equal() {
        let (config, _) =
            read("listenPort=30911\nflushDiskType=SYNC_FLUSH\nunknownKey=7\nbrokerIP1=10.9.8.7");
        let text = config.to_properties().to_file_text();
        let (again, _) = read(&text);
        assert_eq!(again.to_properties().to_plain_text(), config.to_properties().to_plain_text());
        assert_eq!(again.broker_ip2, "10.9.8.7");
    }

    #[test]
    fn overrides_win_over_the_file() {
        let (config, _) =
            BrokerConfig::from_text("namesrvAddr=a:1", &[("namesrvAddr", "b:2")], &HostFacts::for_tests())
                .expect("valid");
        assert_eq!(config.name_servers.texts().collect::<Vec<_>>(), ["b:2"]);
    }
}
