//! RocketMQ's keys that RingMQ does not obey: those without a meaning here, and those of parts that are not built yet.

use super::error::{ConfigError, Notice};

/// What is missing for a key to be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbuilt {
    /// Starting without it is safe: say what happens instead.
    Warn(&'static str),
    /// Starting without it would break a promise (safety, access): refuse and say why.
    Refuse(&'static str),
}

/// See [`OtherKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyClass {
    /// Tunes something that RingMQ does not have.
    NoEffect,
    /// Belongs to a part that is not built. Values equal to the printed one are accepted silently.
    NotYet(Unbuilt),
}

/// A key of RocketMQ that is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherKey {
    /// Its name.
    pub key: &'static str,
    /// What request 26 shows when it was not given: RocketMQ's default, or what RingMQ really does.
    pub shown: &'static str,
    /// Why it is not obeyed.
    pub class: KeyClass,
}

impl OtherKey {
    /// What to say about a given value.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] for keys that must not be ignored.
    pub(super) fn judge(&self, value: &str) -> Result<Option<Notice>, ConfigError> {
        match self.class {
            KeyClass::NoEffect => Ok(Some(Notice::NoEffect { key: self.key.to_owned() })),
            KeyClass::NotYet(_) if value == self.shown => Ok(None),
            KeyClass::NotYet(Unbuilt::Warn(instead)) => {
                Ok(Some(Notice::NotYet { key: self.key.to_owned(), value: value.to_owned(), instead }))
            }
            KeyClass::NotYet(Unbuilt::Refuse(why)) => Err(ConfigError::Refused {
                key: self.key.to_owned(),
                value: value.to_owned(),
                line: None,
                why: why.to_owned(),
            }),
        }
    }
}

/// Looks a key up.
#[must_use]
pub fn other_key(key: &str) -> Option<&'static OtherKey> {
    OTHER_KEYS.iter().find(|other| other.key == key)
}

const fn idle(key: &'static str, shown: &'static str) -> OtherKey {
    OtherKey { key, shown, class: KeyClass::NoEffect }
}

const fn warn(key: &'static str, shown: &'static str, instead: &'static str) -> OtherKey {
    OtherKey { key, shown, class: KeyClass::NotYet(Unbuilt::Warn(instead)) }
}

const fn refuse(key: &'static str, shown: &'static str, why: &'static str) -> OtherKey {
    OtherKey { key, shown, class: KeyClass::NotYet(Unbuilt::Refuse(why)) }
}

const NO_TRANSACTIONS: &str = "transactions are not built yet, half messages are refused";
const NO_TIMER: &str = "arbitrary delays are not built yet, messages that ask for them are refused";
const NO_PROXY: &str = "broadcast offsets of proxies are not kept yet";
const NO_REPLICATION: &str = "replication is not built yet, there are no slaves";
const NO_METRICS: &str = "the metrics endpoint is not built yet";
const NO_ACCESS_CONTROL: &str =
    "access control is not built yet, and a broker that was told to check access must not run without";
const NO_CONTROLLER: &str = "automatic failover is not built yet; remove the key to run a single master";

/// All of them, grouped as in the reference's tables.
pub(super) const OTHER_KEYS: &[OtherKey] = &[
    // Threads and their queues: shards have neither.
    idle("sendMessageThreadPoolNums", "1"),
    idle("putMessageFutureThreadPoolNums", "1"),
    idle("pullMessageThreadPoolNums", "1"),
    idle("litePullMessageThreadPoolNums", "1"),
    idle("processReplyMessageThreadPoolNums", "1"),
    idle("ackMessageThreadPoolNums", "1"),
    idle("adminBrokerThreadPoolNums", "1"),
    idle("queryMessageThreadPoolNums", "1"),
    idle("clientManageThreadPoolNums", "1"),
    idle("consumerManageThreadPoolNums", "1"),
    idle("loadBalanceProcessorThreadPoolNums", "1"),
    idle("heartbeatThreadPoolNums", "1"),
    idle("endTransactionThreadPoolNums", "1"),
    idle("recoverThreadPoolNums", "1"),
    idle("flushConsumerOffsetHistoryInterval", "60000"),
    idle("sendThreadPoolQueueCapacity", "10000"),
    idle("putThreadPoolQueueCapacity", "10000"),
    idle("pullThreadPoolQueueCapacity", "100000"),
    idle("litePullThreadPoolQueueCapacity", "100000"),
    idle("ackThreadPoolQueueCapacity", "100000"),
    idle("replyThreadPoolQueueCapacity", "10000"),
    idle("queryThreadPoolQueueCapacity", "20000"),
    idle("clientManagerThreadPoolQueueCapacity", "1000000"),
    idle("consumerManagerThreadPoolQueueCapacity", "1000000"),
    idle("heartbeatThreadPoolQueueCapacity", "50000"),
    idle("endTransactionPoolQueueCapacity", "100000"),
    idle("adminBrokerThreadPoolQueueCapacity", "10000"),
    idle("loadBalanceThreadPoolQueueCapacity", "100000"),
    idle("brokerFastFailureEnable", "true"),
    idle("waitTimeMillsInSendQueue", "200"),
    idle("waitTimeMillsInPullQueue", "5000"),
    idle("waitTimeMillsInLitePullQueue", "5000"),
    idle("waitTimeMillsInHeartbeatQueue", "31000"),
    idle("waitTimeMillsInTransactionQueue", "3000"),
    idle("waitTimeMillsInAckQueue", "3000"),
    idle("waitTimeMillsInAdminBrokerQueue", "5000"),
    idle("asyncSendEnable", "true"),
    idle("enableNetWorkFlowControl", "false"),
    // Netty.
    idle("serverWorkerThreads", "8"),
    idle("serverSelectorThreads", "3"),
    idle("serverCallbackExecutorThreads", "0"),
    idle("serverOnewaySemaphoreValue", "256"),
    idle("serverAsyncSemaphoreValue", "64"),
    idle("serverSocketSndBufSize", "0"),
    idle("serverSocketRcvBufSize", "0"),
    idle("serverSocketBacklog", "1024"),
    idle("writeBufferHighWaterMark", "0"),
    idle("writeBufferLowWaterMark", "0"),
    idle("useEpollNativeSelector", "false"),
    idle("serverPooledByteBufAllocatorEnable", "true"),
    idle("clientWorkerThreads", "4"),
    idle("clientCallbackExecutorThreads", "2"),
    idle("clientOnewaySemaphoreValue", "65535"),
    idle("clientAsyncSemaphoreValue", "65535"),
    idle("connectTimeoutMillis", "3000"),
    idle("channelNotActiveInterval", "60000"),
    idle("clientChannelMaxIdleTimeSeconds", "120"),
    idle("clientSocketSndBufSize", "0"),
    idle("clientSocketRcvBufSize", "0"),
    idle("clientPooledByteBufAllocatorEnable", "false"),
    idle("clientCloseSocketIfTimeout", "true"),
    // Registration variants: every registration carries all topics, uncompressed.
    idle("forceRegister", "true"),
    idle("compressedRegister", "false"),
    idle("enableSingleTopicRegister", "false"),
    idle("enableSplitRegistration", "false"),
    idle("splitRegistrationSize", "800"),
    idle("brokerHeartbeatInterval", "1000"),
    idle("brokerNotActiveTimeoutMillis", "10000"),
    idle("rocketmqHome", ""),
    warn("fetchNamesrvAddrByAddressServer", "false", "name servers are taken from namesrvAddr only"),
    warn("fetchNameSrvAddrByDnsLookup", "false", "name servers are taken from namesrvAddr only"),
    // The page cache and memory maps of the reference's store.
    idle("transferMsgByHeap", "true"),
    idle("mappedFileSizeConsumeQueue", "6000000"),
    idle("flushCommitLogLeastPages", "4"),
    idle("flushCommitLogThoroughInterval", "10000"),
    idle("commitIntervalCommitLog", "200"),
    idle("commitCommitLogLeastPages", "4"),
    idle("commitCommitLogThoroughInterval", "200"),
    idle("flushIntervalConsumeQueue", "1000"),
    idle("flushConsumeQueueLeastPages", "2"),
    idle("flushConsumeQueueThoroughInterval", "60000"),
    idle("transientStorePoolEnable", "false"),
    idle("transientStorePoolSize", "5"),
    idle("fastFailIfNoBufferInStorePool", "false"),
    idle("osPageCacheBusyTimeOutMills", "1000"),
    idle("useReentrantLockWhenPutMessage", "true"),
    idle("warmMapedFileEnable", "false"),
    idle("putMessageTimeout", "8000"),
    idle("accessMessageInMemoryMaxRatio", "40"),
    idle("travelCqFileNumWhenGetMessage", "1"),
    idle("maxHashSlotNum", "5000000"),
    idle("maxIndexNum", "20000000"),
    idle("storePathConsumeQueue", ""),
    idle("storePathIndex", ""),
    idle("storeCheckpoint", ""),
    idle("abortFile", ""),
    idle("checkCRCOnRecover", "true"),
    idle("maxTopicLength", "127"),
    idle("autoMessageVersionOnTopicLen", "true"),
    idle("enableConsumeQueueExt", "false"),
    idle("mappedFileSizeConsumeQueueExt", "50331648"),
    idle("bitMapLengthConsumeQueueExt", "64"),
    idle("messageIndexSafe", "false"),
    idle("consumerOffsetUpdateVersionStep", "500"),
    idle("startAcceptSendRequestTimeStamp", "0"),
    idle("lockInStrictMode", "false"),
    warn("storePathCommitLog", "", "the log lies below storePathRootDir"),
    warn("storeType", "default", "RingMQ has one kind of store"),
    warn("duplicationEnable", "false", NO_REPLICATION),
    // Retention: an index goes with its segment, and no file is ever in use by a reader.
    idle("deleteConsumeQueueFilesInterval", "100"),
    idle("destroyMapedFileIntervalForcibly", "120000"),
    idle("redeleteHangedFileInterval", "120000"),
    // Filters: what the bit map spares the reference, reading records, costs little here.
    idle("enableCalcFilterBitMap", "false"),
    idle("expectConsumerNumUseFilter", "32"),
    idle("maxErrorRateOfBloomFilter", "20"),
    // Transactions.
    warn("rejectTransactionMessage", "true", NO_TRANSACTIONS),
    warn("transactionTimeOut", "6000", NO_TRANSACTIONS),
    warn("transactionCheckInterval", "30000", NO_TRANSACTIONS),
    warn("transactionCheckMax", "15", NO_TRANSACTIONS),
    warn("transactionOpMsgMaxSize", "4096", NO_TRANSACTIONS),
    warn("transactionOpBatchInterval", "3000", NO_TRANSACTIONS),
    // Timers.
    warn("timerPrecisionMs", "1000", NO_TIMER),
    warn("timerRollWindowSlot", "172800", NO_TIMER),
    warn("timerMaxDelaySec", "259200", NO_TIMER),
    warn("timerCongestNumEachSlot", "2147483647", NO_TIMER),
    warn("timerStopEnqueue", "false", NO_TIMER),
    warn("timerStopDequeue", "false", NO_TIMER),
    warn("timerSkipUnknownError", "false", NO_TIMER),
    warn("timerInterceptDelayLevel", "false", NO_TIMER),
    idle("mappedFileSizeTimerLog", "104857600"),
    warn("recallMessageEnable", "false", NO_TIMER),
    warn("allowRecallWhenBrokerNotWriteable", "true", NO_TIMER),
    // Pop.
    idle("reviveInterval", "1000"),
    idle("reviveScanTime", "10000"),
    idle("reviveMaxSlow", "3"),
    idle("enablePopBufferMerge", "false"),
    idle("popCkStayBufferTime", "10000"),
    idle("popCkStayBufferTimeOut", "3000"),
    idle("popCkMaxBufferSize", "200000"),
    idle("enablePopBatchAck", "false"),
    idle("popConsumerKVServiceEnable", "false"),
    warn("enableBroadcastOffsetStore", "true", NO_PROXY),
    warn("storeReplyMessageEnable", "true", "request-reply is not built yet"),
    warn("enableCleanExpiredOffset", "false", "offsets of groups and topics stay until these are deleted"),
    warn("disableConsumeIfConsumerReadSlowly", "false", "slow groups are not stopped"),
    warn("consumerFallbehindThreshold", "17179869184", "slow groups are not stopped"),
    // Replication.
    warn("haMasterAddress", "", NO_REPLICATION),
    warn("slaveReadEnable", "false", NO_REPLICATION),
    warn("slaveTimeout", "3000", NO_REPLICATION),
    warn("offsetCheckInSlave", "false", NO_REPLICATION),
    warn("haSendHeartbeatInterval", "5000", NO_REPLICATION),
    warn("haHousekeepingInterval", "20000", NO_REPLICATION),
    warn("haTransferBatchSize", "32768", NO_REPLICATION),
    warn("haMaxGapNotInSync", "268435456", NO_REPLICATION),
    warn("haFlowControlEnable", "false", NO_REPLICATION),
    warn("maxHaTransferByteInSecond", "104857600", NO_REPLICATION),
    warn("totalReplicas", "1", NO_REPLICATION),
    refuse("inSyncReplicas", "1", "replication is not built yet: no second copy would confirm a message"),
    refuse("minInSyncReplicas", "1", "replication is not built yet: no second copy would confirm a message"),
    warn("enableAutoInSyncReplicas", "false", NO_REPLICATION),
    warn("allAckInSyncStateSet", "false", NO_REPLICATION),
    refuse("enableDLegerCommitLog", "false", NO_CONTROLLER),
    warn("dLegerGroup", "", NO_REPLICATION),
    warn("dLegerPeers", "", NO_REPLICATION),
    warn("dLegerSelfId", "", NO_REPLICATION),
    warn("preferredLeaderId", "", NO_REPLICATION),
    refuse("enableControllerMode", "false", NO_CONTROLLER),
    warn("controllerAddr", "", NO_REPLICATION),
    refuse("enableSlaveActingMaster", "false", NO_CONTROLLER),
    refuse("enableRemoteEscape", "false", NO_CONTROLLER),
    // Light queues and compaction.
    warn("enableLmq", "false", "light queues are not built yet"),
    warn("enableMultiDispatch", "false", "light queues are not built yet"),
    warn("maxLmqConsumeQueueNum", "20000", "light queues are not built yet"),
    warn("enableCompaction", "false", "COMPACTION topics are not built yet"),
    warn("enableSplitMetadata", "false", "21 and 201 answer everything at once"),
    warn("splitMetadataSize", "2000", "21 and 201 answer everything at once"),
    // Access control.
    refuse("aclEnable", "false", NO_ACCESS_CONTROL),
    refuse("authenticationEnabled", "false", NO_ACCESS_CONTROL),
    refuse("authorizationEnabled", "false", NO_ACCESS_CONTROL),
    warn("migrateAuthFromV1Enabled", "false", "access control is not built yet"),
    // Metrics.
    warn("metricsExporterType", "DISABLE", NO_METRICS),
    warn("metricsPromExporterPort", "5557", NO_METRICS),
    warn("metricsPromExporterHost", "", NO_METRICS),
    warn("metricsGrpcExporterTarget", "", NO_METRICS),
    warn("metricsLabel", "", NO_METRICS),
    warn("metricsInDelta", "false", NO_METRICS),
];

#[cfg(test)]
mod tests {
    use super::super::BrokerConfig;
    use super::*;

    #[test]
    fn no_key_is_declared_twice() {
        let mut keys: Vec<&str> = OTHER_KEYS.iter().map(|other| other.key).collect();
        keys.extend(BrokerConfig::obeyed_keys().iter().map(|(key, _)| *key));
        keys.sort_unstable();
        for pair in keys.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }
}
