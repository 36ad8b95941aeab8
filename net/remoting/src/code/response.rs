//! Response codes under RocketMQ's own names, in the order of their numbers.

/// Code -1006: never sent: used by RPC layers inside a process.
pub const RPC_TIME_OUT: i32 = -1006;
/// Code -1004: never sent: used by RPC layers inside a process.
pub const RPC_SEND_TO_CHANNEL_FAILED: i32 = -1004;
/// Code -1002: never sent: used by RPC layers inside a process.
pub const RPC_ADDR_IS_NULL: i32 = -1002;
/// Code -1000: never sent: used by RPC layers inside a process.
pub const RPC_UNKNOWN: i32 = -1000;
/// Code 0: done.
pub const SUCCESS: i32 = 0;
/// Code 1: failed, the remark says why; also every failure without a code of its own.
pub const SYSTEM_ERROR: i32 = 1;
/// Code 2: refused before execution by flow control.
pub const SYSTEM_BUSY: i32 = 2;
/// Code 3: no processor for the request code.
pub const REQUEST_CODE_NOT_SUPPORTED: i32 = 3;
/// Code 4: transaction failed.
pub const TRANSACTION_FAILED: i32 = 4;
/// Code 10: stored, but not flushed in time.
pub const FLUSH_DISK_TIMEOUT: i32 = 10;
/// Code 11: stored, but no slave is there to hold it; also: this broker is a slave.
pub const SLAVE_NOT_AVAILABLE: i32 = 11;
/// Code 12: stored, but no slave confirmed in time.
pub const FLUSH_SLAVE_TIMEOUT: i32 = 12;
/// Code 13: the message breaks a limit or rule.
pub const MESSAGE_ILLEGAL: i32 = 13;
/// Code 14: the store takes no messages now (shut down, disk full, slave).
pub const SERVICE_NOT_AVAILABLE: i32 = 14;
/// Code 15: version not supported.
pub const VERSION_NOT_SUPPORTED: i32 = 15;
/// Code 16: broker, topic or group does not allow it.
pub const NO_PERMISSION: i32 = 16;
/// Code 17: unknown topic.
pub const TOPIC_NOT_EXIST: i32 = 17;
/// Code 18: topic exist already.
pub const TOPIC_EXIST_ALREADY: i32 = 18;
/// Code 19: no message at that offset yet.
pub const PULL_NOT_FOUND: i32 = 19;
/// Code 20: nothing matched so far, go on from nextBeginOffset.
pub const PULL_RETRY_IMMEDIATELY: i32 = 20;
/// Code 21: the offset is outside the queue.
pub const PULL_OFFSET_MOVED: i32 = 21;
/// Code 22: nothing found.
pub const QUERY_NOT_FOUND: i32 = 22;
/// Code 23: the filter expression does not parse.
pub const SUBSCRIPTION_PARSE_FAILED: i32 = 23;
/// Code 24: the group is not subscribed to the topic.
pub const SUBSCRIPTION_NOT_EXIST: i32 = 24;
/// Code 25: the broker knows an older subscription than the request.
pub const SUBSCRIPTION_NOT_LATEST: i32 = 25;
/// Code 26: unknown consumer group.
pub const SUBSCRIPTION_GROUP_NOT_EXIST: i32 = 26;
/// Code 27: filter data not exist.
pub const FILTER_DATA_NOT_EXIST: i32 = 27;
/// Code 28: filter data not latest.
pub const FILTER_DATA_NOT_LATEST: i32 = 28;
/// Code 29: an argument is wrong (5.3 and later; SYSTEM_ERROR before).
pub const INVALID_PARAMETER: i32 = 29;
/// Code 200: transaction should commit.
pub const TRANSACTION_SHOULD_COMMIT: i32 = 200;
/// Code 201: transaction should rollback.
pub const TRANSACTION_SHOULD_ROLLBACK: i32 = 201;
/// Code 202: transaction state unknow.
pub const TRANSACTION_STATE_UNKNOW: i32 = 202;
/// Code 203: transaction state group wrong.
pub const TRANSACTION_STATE_GROUP_WRONG: i32 = 203;
/// Code 204: no buyer id.
pub const NO_BUYER_ID: i32 = 204;
/// Code 205: not in current unit.
pub const NOT_IN_CURRENT_UNIT: i32 = 205;
/// Code 206: no client of that group is connected.
pub const CONSUMER_NOT_ONLINE: i32 = 206;
/// Code 207: consume msg timeout.
pub const CONSUME_MSG_TIMEOUT: i32 = 207;
/// Code 208: no message.
pub const NO_MESSAGE: i32 = 208;
/// Code 209: polling full.
pub const POLLING_FULL: i32 = 209;
/// Code 210: polling timeout.
pub const POLLING_TIMEOUT: i32 = 210;
/// Code 211: broker not exist.
pub const BROKER_NOT_EXIST: i32 = 211;
/// Code 212: broker dispatch not complete.
pub const BROKER_DISPATCH_NOT_COMPLETE: i32 = 212;
/// Code 213: broadcast consumption.
pub const BROADCAST_CONSUMPTION: i32 = 213;
/// Code 215: the client goes too fast.
pub const FLOW_CONTROL: i32 = 215;
/// Code 501: not leader for queue.
pub const NOT_LEADER_FOR_QUEUE: i32 = 501;
/// Code 604: illegal operation.
pub const ILLEGAL_OPERATION: i32 = 604;
/// Code 1500: the server shuts down, reconnect elsewhere.
pub const GO_AWAY: i32 = 1500;
/// Code 2000: controller.
pub const FENCED_MASTER_EPOCH: i32 = 2000;
/// Code 2001: controller.
pub const FENCED_SYNC_STATE_SET_EPOCH: i32 = 2001;
/// Code 2002: controller.
pub const INVALID_MASTER: i32 = 2002;
/// Code 2003: controller.
pub const INVALID_REPLICAS: i32 = 2003;
/// Code 2004: controller.
pub const MASTER_NOT_AVAILABLE: i32 = 2004;
/// Code 2005: controller.
pub const INVALID_REQUEST: i32 = 2005;
/// Code 2006: controller.
pub const BROKER_NOT_ALIVE: i32 = 2006;
/// Code 2007: controller.
pub const NOT_LEADER: i32 = 2007;
/// Code 2008: controller.
pub const BROKER_METADATA_NOT_EXIST: i32 = 2008;
/// Code 2009: controller.
pub const INVALID_CLEAN_BROKER_METADATA: i32 = 2009;
/// Code 2010: controller.
pub const BROKER_NEED_TO_BE_REGISTERED: i32 = 2010;
/// Code 2011: controller.
pub const MASTER_STILL_EXIST: i32 = 2011;
/// Code 2012: controller.
pub const ELECT_MASTER_FAILED: i32 = 2012;
/// Code 2013: controller.
pub const ALTER_SYNC_STATE_SET_FAILED: i32 = 2013;
/// Code 2014: controller.
pub const BROKER_ID_INVALID: i32 = 2014;
/// Code 2015: controller.
pub const JRAFT_INTERNAL_ERROR: i32 = 2015;
/// Code 2016: controller.
pub const BROKER_LIVE_INFO_NOT_EXISTS: i32 = 2016;
/// Code 3001: user not exist.
pub const USER_NOT_EXIST: i32 = 3001;
/// Code 3002: policy not exist.
pub const POLICY_NOT_EXIST: i32 = 3002;
