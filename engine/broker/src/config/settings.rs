//! The keys that are obeyed: one declaration each, from which the field, its default, reading, printing and the
//! question "does a change apply at once" follow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ringmq_transport::limits;
use ringmq_transport::properties_file::{SettingValue, ValueError};

use super::HostFacts;
use super::for_tests::ForTests;
use super::values::{BrokerRole, DelayLevels, FlushDiskType, Hours, NameServers};

/// When a change by request 25 takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// With the next request.
    Live,
    /// Only when the broker is started again.
    AtStart,
}

macro_rules! settings {
    ($host:ident; $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal, $applies:ident, $default:expr;)+) => {
        /// See the [module](super). Fields carry their key's name; times are in milliseconds and sizes in bytes
        /// unless the key says otherwise.
        #[derive(Debug, Clone, PartialEq)]
        pub struct BrokerConfig {
            $($(#[$doc])* pub $field: $type,)+
            /// The file it was read from, which request 25 rewrites.
            pub file: Option<PathBuf>,
            /// The machine's: `deleteWhen` is local time.
            pub time_zone: jiff::tz::TimeZone,
            /// Obeyed keys that were given (file, command line, request 25), canonical names.
            pub(super) given: BTreeMap<String, String>,
            /// Given keys that are not obeyed.
            pub(super) other: BTreeMap<String, String>,
            #[doc(hidden)]
            pub for_tests: ForTests,
        }

        impl BrokerConfig {
            /// The configuration of an empty file.
            pub(super) fn defaults($host: &HostFacts) -> Self {
                Self {
                    $($field: $default,)+
                    file: None,
                    time_zone: $host.time_zone.clone(),
                    given: BTreeMap::new(),
                    other: BTreeMap::new(),
                    for_tests: ForTests::default(),
                }
            }

            /// Sets one obeyed key; `false`: no such key.
            pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, ValueError> {
                match key {
                    $($key => self.$field = <$type as SettingValue>::read(key, value)?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Value of an obeyed key, as text.
            #[must_use]
            pub fn get(&self, key: &str) -> Option<String> {
                match key {
                    $($key => Some(self.$field.text()),)+
                    _ => None,
                }
            }

            /// All obeyed keys.
            pub(super) fn obeyed_keys() -> &'static [(&'static str, Applies)] {
                &[$(($key, Applies::$applies)),+]
            }
        }
    };
}

settings! { host;
    // --- identity and addresses
    /// Cluster; also the name of a built-in topic.
    broker_cluster_name: String = "brokerClusterName", AtStart, "DefaultCluster".to_owned();
    /// Name shared by a master and its slaves; also the name of a built-in topic.
    broker_name: String = "brokerName", AtStart, host.host_name.clone();
    /// 0: master.
    broker_id: u64 = "brokerId", AtStart, 0;
    /// Master or slave.
    broker_role: BrokerRole = "brokerRole", AtStart, BrokerRole::AsyncMaster;
    /// Port for clients; 0: any free one, then without VIP channel.
    listen_port: u16 = "listenPort", AtStart, 10911;
    /// Port for slaves: the one after `listenPort`. Registered; nothing listens there before replication is built.
    ha_listen_port: u16 = "haListenPort", AtStart, 10912;
    /// Address to listen on.
    bind_address: std::net::IpAddr = "bindAddress", AtStart, std::net::Ipv4Addr::UNSPECIFIED.into();
    /// Address that clients are told, and that is part of message ids.
    broker_ip1: String = "brokerIP1", AtStart, host.address.to_string();
    /// Address that slaves are told.
    broker_ip2: String = "brokerIP2", AtStart, host.address.to_string();
    /// Name servers to register with.
    name_servers: NameServers = "namesrvAddr", Live, NameServers::default();
    /// Data shards; 1 to 127. Fixed when a store is made: a store opened with another number is refused.
    shards: u16 = "shards", AtStart, host.processors;
    /// Pin data shard threads to processors.
    pin_shards: bool = "pinShards", AtStart, true;
    /// Idle connections are closed after this many seconds.
    server_channel_max_idle_time_seconds: u32 = "serverChannelMaxIdleTimeSeconds", AtStart, 120;
    /// Sum of 4 (read) and 2 (write).
    broker_permission: u32 = "brokerPermission", Live, 6;

    // --- registration with name servers
    /// Between registrations; used within 10 000 to 60 000.
    register_name_server_period: u64 = "registerNameServerPeriod", Live, 30_000;
    /// A name server must answer within this time.
    register_broker_timeout_mills: u64 = "registerBrokerTimeoutMills", Live, 24_000;

    // --- topics and groups
    /// Unknown topics are made when a message is sent to them.
    auto_create_topic_enable: bool = "autoCreateTopicEnable", AtStart, true;
    /// Queues of the template topic TBW102.
    default_topic_queue_nums: u32 = "defaultTopicQueueNums", AtStart, 8;
    /// The cluster's own topic can be read and written.
    cluster_topic_enable: bool = "clusterTopicEnable", AtStart, true;
    /// The broker's own topic can be read and written.
    broker_topic_enable: bool = "brokerTopicEnable", AtStart, true;
    /// Unknown consumer groups are made when they show up.
    auto_create_subscription_group: bool = "autoCreateSubscriptionGroup", Live, true;
    /// System groups (`CID_RMQ_SYS_`) are made even when `autoCreateSubscriptionGroup` is off.
    enable_create_sys_group: bool = "enableCreateSysGroup", Live, true;
    /// System topics cannot be changed or deleted by request.
    validate_system_topic_when_update_topic: bool = "validateSystemTopicWhenUpdateTopic", Live, true;
    /// A topic's pop retry topics are deleted with it.
    clear_retry_topic_when_delete_topic: bool = "clearRetryTopicWhenDeleteTopic", Live, true;
    /// A topic for message traces exists.
    trace_topic_enable: bool = "traceTopicEnable", AtStart, false;
    /// Its name.
    msg_trace_topic_name: String = "msgTraceTopicName", AtStart, "RMQ_SYS_TRACE_TOPIC".to_owned();
    /// Queues of the pop revive topic.
    revive_queue_num: u32 = "reviveQueueNum", AtStart, 8;
    /// Topics may declare `message.type=MIXED`.
    enable_mixed_message_type: bool = "enableMixedMessageType", Live, false;

    // --- sending
    /// Largest body.
    max_message_size: u32 = "maxMessageSize", Live, 4 << 20;
    /// Region told to clients.
    region_id: String = "regionId", Live, "DefaultRegion".to_owned();
    /// Clients may trace messages.
    trace_on: bool = "traceOn", Live, true;
    /// Delay levels.
    message_delay_level: DelayLevels = "messageDelayLevel", AtStart,
        DelayLevels::read("", "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").expect("well-formed");
    /// Delay progress is durable after this long.
    flush_delay_offset_interval: u64 = "flushDelayOffsetInterval", Live, 10_000;

    // --- consuming
    /// Pulls at the end of a queue wait for messages.
    long_polling_enable: bool = "longPollingEnable", Live, true;
    /// How long they wait when `longPollingEnable` is off.
    short_polling_time_mills: u64 = "shortPollingTimeMills", Live, 1_000;
    /// Request 361 is served.
    lite_pull_message_enable: bool = "litePullMessageEnable", Live, true;
    /// Pulls that carry no subscription of a push consumer are refused.
    reject_pull_consumer_enable: bool = "rejectPullConsumerEnable", Live, false;
    /// Consumers may filter by SQL92 expressions on properties.
    enable_property_filter: bool = "enablePropertyFilter", Live, false;
    /// An expression on a retry topic stands for the group's expressions for the topics that its messages came from.
    filter_support_retry: bool = "filterSupportRetry", Live, false;
    /// Pops are served. RocketMQ's need its timer wheel; here the key is a switch and nothing else.
    timer_wheel_enable: bool = "timerWheelEnable", Live, true;
    /// Percentage of pops that look into the group's retry topic first.
    pop_from_retry_probability: u32 = "popFromRetryProbability", Live, 20;
    /// Pops of one group, topic and queue that wait, for each shard.
    pop_polling_size: u64 = "popPollingSize", Live, 1_024;
    /// Groups, topics and queues that pops wait for, for each shard.
    pop_polling_map_size: u64 = "popPollingMapSize", Live, 100_000;
    /// Pops that wait, for each shard.
    max_pop_polling_size: u64 = "maxPopPollingSize", Live, 100_000;
    /// A group that begins to pop at the end of a queue begins at its first message if the topic is young.
    init_pop_offset_by_check_msg_in_mem: bool = "initPopOffsetByCheckMsgInMem", Live, true;
    /// Names of pop retry topics are `%RETRY%group+topic`, not `%RETRY%group_topic`.
    enable_retry_topic_v2: bool = "enableRetryTopicV2", AtStart, false;
    /// With `enableRetryTopicV2`: messages in retry topics with the older form of name are popped, too.
    retrieve_message_from_pop_retry_topic_v1: bool = "retrieveMessageFromPopRetryTopicV1", Live, true;
    /// `popInflightMessageThreshold` counts.
    enable_pop_message_threshold: bool = "enablePopMessageThreshold", Live, false;
    /// A group pops nothing more from a queue while so many of its messages are in flight.
    pop_inflight_message_threshold: u64 = "popInflightMessageThreshold", Live, 10_000;
    /// How groups consume that nothing was set for (401): `PULL` or `POP`; for clients that let brokers share out the queues.
    default_message_request_mode: String = "defaultMessageRequestMode", Live, "PULL".to_owned();
    /// With `POP`: see request 401.
    default_pop_share_queue_num: i32 = "defaultPopShareQueueNum", Live, -1;
    /// Brokers share out the queues (400); else every member gets all.
    server_load_balancer_enable: bool = "serverLoadBalancerEnable", Live, true;
    /// Messages per pull from memory.
    max_transfer_count_in_memory: u32 = "maxTransferCountOnMessageInMemory", Live, 32;
    /// Bytes per pull from memory.
    max_transfer_bytes_in_memory: u32 = "maxTransferBytesOnMessageInMemory", Live, 256 << 10;
    /// Messages per pull from disk.
    max_transfer_count_in_disk: u32 = "maxTransferCountOnMessageInDisk", Live, 8;
    /// Bytes per pull from disk.
    max_transfer_bytes_in_disk: u32 = "maxTransferBytesOnMessageInDisk", Live, 64 << 10;
    /// Index bytes (20 per message) that one pull may scan.
    max_filter_message_size: u32 = "maxFilterMessageSize", Live, 16_000;
    /// A committed consumer offset is durable after this long.
    flush_consumer_offset_interval: u64 = "flushConsumerOffsetInterval", Live, 5_000;
    /// Members of a group are told when one comes or goes.
    notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable", Live, true;
    /// They are told at once, else every 15 s.
    real_time_notify_consumer_change: bool = "realTimeNotifyConsumerChange", Live, true;
    /// 222 moves offsets on the broker and tells clients at their next pull; else it tells them at once (220) where to go on, as up to 5.1.
    use_server_side_reset_offset: bool = "useServerSideResetOffset", Live, true;
    /// Clients without a heartbeat for this long are dropped.
    channel_expired_timeout: u64 = "channelExpiredTimeout", Live, 120_000;
    /// Subscriptions seen only in pull requests are forgotten after this time.
    subscription_expired_timeout: u64 = "subscriptionExpiredTimeout", Live, 600_000;

    // --- store
    /// All data lies below it.
    store_path_root_dir: PathBuf = "storePathRootDir", AtStart, host.store_root.clone();
    /// Segment size.
    mapped_file_size_commit_log: u64 = "mappedFileSizeCommitLog", AtStart, 1 << 30;
    /// Durability of an answered send.
    flush_disk_type: FlushDiskType = "flushDiskType", AtStart, FlushDiskType::Async;
    /// Between media flushes with ASYNC_FLUSH.
    flush_interval_commit_log: u64 = "flushIntervalCommitLog", AtStart, 500;
    /// Media flushes come once in that interval; else as soon as 16 KiB are written.
    flush_commit_log_timed: bool = "flushCommitLogTimed", AtStart, true;
    /// Folder on tmpfs or hugetlbfs for the tail caches, which outlive a killed broker there: ASYNC_FLUSH then answers without waiting
    /// for the disk. Empty: none, ASYNC_FLUSH answers after the write.
    tail_cache_path: PathBuf = "tailCachePath", AtStart, PathBuf::from("/dev/shm");
    /// A send waits this long for SYNC_FLUSH.
    sync_flush_timeout: u64 = "syncFlushTimeout", Live, 5_000;

    // --- memory, bytes; RingMQ's own keys. Beside these a shard needs its index.
    /// Newest part of the log, each shard.
    tail_cache_bytes: usize = "tailCacheBytesPerShard", AtStart, ringmq_store::TAIL_CACHE_BYTES;
    /// Blocks of older parts that were read, each shard.
    read_cache_bytes: usize = "readCacheBytesPerShard", AtStart, ringmq_store::CACHE_BYTES;
    /// A consumer that leaves more unread is cut off.
    unsent_bytes_max: usize = "unsentBytesMaxPerConnection", AtStart, limits::UNSENT_BYTES_MAX;
    /// When all connections of a shard together leave more unread, the one with most is cut off.
    unsent_bytes_total_max: usize = "unsentBytesMaxPerShard", AtStart, limits::UNSENT_BYTES_TOTAL_MAX;

    // --- retention
    /// Hours of the day, local time, in which segments past `fileReservedTime` are removed.
    delete_when: Hours = "deleteWhen", Live, Hours::read("", "04").expect("well-formed");
    /// A segment is past its time when its newest message is older than this many hours.
    file_reserved_time: u64 = "fileReservedTime", Live, 72;
    /// Above this percentage of the file system they are removed at any hour; used within 10 to 95.
    disk_max_used_space_ratio: u32 = "diskMaxUsedSpaceRatio", Live, 75;
    /// Above this percentage the oldest segments go whatever their age; used within 30 to 85.
    disk_space_clean_forcibly_ratio: u32 = "diskSpaceCleanForciblyRatio", Live, 85;
    /// Above this percentage sends are refused, too; used within 35 to 90.
    disk_space_warning_level_ratio: u32 = "diskSpaceWarningLevelRatio", Live, 90;
    /// Segments may go before their time when room is short.
    clean_file_forcibly_enable: bool = "cleanFileForciblyEnable", Live, true;
    /// Between looks at age and room.
    clean_resource_interval: u64 = "cleanResourceInterval", Live, 10_000;
    /// Between two removals.
    delete_commit_log_files_interval: u64 = "deleteCommitLogFilesInterval", Live, 100;
    /// Most segments that a shard removes after one look.
    delete_file_batch_max: u32 = "deleteFileBatchMax", Live, 10;

    // --- queries by key
    /// Keys are indexed, and requests 12 answered.
    message_index_enable: bool = "messageIndexEnable", AtStart, true;
    /// Most messages of an answer.
    max_msgs_num_batch: u32 = "maxMsgsNumBatch", Live, 64;
    /// Most messages of an answer to a query by unique key.
    default_query_max_num: u32 = "defaultQueryMaxNum", Live, 32;
    /// Memory of all data shards for filters of key files (RingMQ's own key): 10 bits a key; older files without one cost a query
    /// one read each.
    max_key_filter_size: u64 = "maxKeyFilterSize", AtStart, 64 << 20;

    // --- operation
    /// How often changed topics, groups, offsets and delay progress are exported as JSON files to the folder `config`; 0: only when
    /// the broker stops.
    export_metadata_interval: u64 = "exportMetadataInterval", Live, 60_000;
    /// Keys that request 25 may not change, separated by `;`.
    config_black_list: String = "configBlackList", AtStart, "configBlackList;brokerConfigPath".to_owned();
}
