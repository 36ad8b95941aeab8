//! Request codes under RocketMQ's own names, in the order of their numbers.
//!
//! Codes above 32 767 do not fit the ROCKETMQ header encoding; see [`restore_truncated`].

/// Code 10, handled by the broker.
pub const SEND_MESSAGE: i32 = 10;
/// Code 11, handled by the broker.
pub const PULL_MESSAGE: i32 = 11;
/// Code 12, handled by the broker.
pub const QUERY_MESSAGE: i32 = 12;
/// Code 13: reserved or historic, handled by nobody.
pub const QUERY_BROKER_OFFSET: i32 = 13;
/// Code 14, handled by the broker.
pub const QUERY_CONSUMER_OFFSET: i32 = 14;
/// Code 15, handled by the broker.
pub const UPDATE_CONSUMER_OFFSET: i32 = 15;
/// Code 17, handled by the broker.
pub const UPDATE_AND_CREATE_TOPIC: i32 = 17;
/// Code 18, handled by the broker.
pub const UPDATE_AND_CREATE_TOPIC_LIST: i32 = 18;
/// Code 21, handled by the broker.
pub const GET_ALL_TOPIC_CONFIG: i32 = 21;
/// Code 22: reserved or historic, handled by nobody.
pub const GET_TOPIC_CONFIG_LIST: i32 = 22;
/// Code 23: reserved or historic, handled by nobody.
pub const GET_TOPIC_NAME_LIST: i32 = 23;
/// Code 25, handled by the broker.
pub const UPDATE_BROKER_CONFIG: i32 = 25;
/// Code 26, handled by the broker.
pub const GET_BROKER_CONFIG: i32 = 26;
/// Code 27: reserved or historic, handled by nobody.
pub const TRIGGER_DELETE_FILES: i32 = 27;
/// Code 28, handled by the broker.
pub const GET_BROKER_RUNTIME_INFO: i32 = 28;
/// Code 29, handled by the broker.
pub const SEARCH_OFFSET_BY_TIMESTAMP: i32 = 29;
/// Code 30, handled by the broker.
pub const GET_MAX_OFFSET: i32 = 30;
/// Code 31, handled by the broker.
pub const GET_MIN_OFFSET: i32 = 31;
/// Code 32, handled by the broker.
pub const GET_EARLIEST_MSG_STORETIME: i32 = 32;
/// Code 33, handled by the broker.
pub const VIEW_MESSAGE_BY_ID: i32 = 33;
/// Code 34, handled by the broker.
pub const HEART_BEAT: i32 = 34;
/// Code 35, handled by the broker.
pub const UNREGISTER_CLIENT: i32 = 35;
/// Code 36, handled by the broker.
pub const CONSUMER_SEND_MSG_BACK: i32 = 36;
/// Code 37, handled by the broker.
pub const END_TRANSACTION: i32 = 37;
/// Code 38, handled by the broker.
pub const GET_CONSUMER_LIST_BY_GROUP: i32 = 38;
/// Code 39, handled by the client.
pub const CHECK_TRANSACTION_STATE: i32 = 39;
/// Code 40, handled by the client.
pub const NOTIFY_CONSUMER_IDS_CHANGED: i32 = 40;
/// Code 41, handled by the broker.
pub const LOCK_BATCH_MQ: i32 = 41;
/// Code 42, handled by the broker.
pub const UNLOCK_BATCH_MQ: i32 = 42;
/// Code 43, handled by the broker.
pub const GET_ALL_CONSUMER_OFFSET: i32 = 43;
/// Code 45, handled by the broker.
pub const GET_ALL_DELAY_OFFSET: i32 = 45;
/// Code 46, handled by the broker.
pub const CHECK_CLIENT_CONFIG: i32 = 46;
/// Code 47: reserved or historic, handled by nobody.
pub const GET_CLIENT_CONFIG: i32 = 47;
/// Code 60, handled by the broker.
pub const GET_TIMER_CHECK_POINT: i32 = 60;
/// Code 61, handled by the broker.
pub const GET_TIMER_METRICS: i32 = 61;
/// Code 100, handled by the name server.
pub const PUT_KV_CONFIG: i32 = 100;
/// Code 101, handled by the name server.
pub const GET_KV_CONFIG: i32 = 101;
/// Code 102, handled by the name server.
pub const DELETE_KV_CONFIG: i32 = 102;
/// Code 103, handled by the name server.
pub const REGISTER_BROKER: i32 = 103;
/// Code 104, handled by the name server.
pub const UNREGISTER_BROKER: i32 = 104;
/// Code 105, handled by the name server.
pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
/// Code 106, handled by the name server.
pub const GET_BROKER_CLUSTER_INFO: i32 = 106;
/// Code 200, handled by the broker.
pub const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP: i32 = 200;
/// Code 201, handled by the broker.
pub const GET_ALL_SUBSCRIPTIONGROUP_CONFIG: i32 = 201;
/// Code 202, handled by the broker.
pub const GET_TOPIC_STATS_INFO: i32 = 202;
/// Code 203, handled by the broker.
pub const GET_CONSUMER_CONNECTION_LIST: i32 = 203;
/// Code 204, handled by the broker.
pub const GET_PRODUCER_CONNECTION_LIST: i32 = 204;
/// Code 205, handled by the name server.
pub const WIPE_WRITE_PERM_OF_BROKER: i32 = 205;
/// Code 206, handled by the name server.
pub const GET_ALL_TOPIC_LIST_FROM_NAMESERVER: i32 = 206;
/// Code 207, handled by the broker.
pub const DELETE_SUBSCRIPTIONGROUP: i32 = 207;
/// Code 208, handled by the broker.
pub const GET_CONSUME_STATS: i32 = 208;
/// Code 209: reserved or historic, handled by nobody.
pub const SUSPEND_CONSUMER: i32 = 209;
/// Code 210: reserved or historic, handled by nobody.
pub const RESUME_CONSUMER: i32 = 210;
/// Code 211: reserved or historic, handled by nobody.
pub const RESET_CONSUMER_OFFSET_IN_CONSUMER: i32 = 211;
/// Code 212: reserved or historic, handled by nobody.
pub const RESET_CONSUMER_OFFSET_IN_BROKER: i32 = 212;
/// Code 213: reserved or historic, handled by nobody.
pub const ADJUST_CONSUMER_THREAD_POOL: i32 = 213;
/// Code 214: reserved or historic, handled by nobody.
pub const WHO_CONSUME_THE_MESSAGE: i32 = 214;
/// Code 215, handled by the broker.
pub const DELETE_TOPIC_IN_BROKER: i32 = 215;
/// Code 216, handled by the name server.
pub const DELETE_TOPIC_IN_NAMESRV: i32 = 216;
/// Code 217, handled by the name server.
pub const REGISTER_TOPIC_IN_NAMESRV: i32 = 217;
/// Code 219, handled by the name server.
pub const GET_KVLIST_BY_NAMESPACE: i32 = 219;
/// Code 220, handled by the client.
pub const RESET_CONSUMER_CLIENT_OFFSET: i32 = 220;
/// Code 221, handled by the client.
pub const GET_CONSUMER_STATUS_FROM_CLIENT: i32 = 221;
/// Code 222, handled by the broker.
pub const INVOKE_BROKER_TO_RESET_OFFSET: i32 = 222;
/// Code 223, handled by the broker.
pub const INVOKE_BROKER_TO_GET_CONSUMER_STATUS: i32 = 223;
/// Code 224, handled by the name server.
pub const GET_TOPICS_BY_CLUSTER: i32 = 224;
/// Code 225, handled by the broker.
pub const UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST: i32 = 225;
/// Code 300, handled by the broker.
pub const QUERY_TOPIC_CONSUME_BY_WHO: i32 = 300;
/// Code 301: reserved or historic, handled by nobody.
pub const REGISTER_FILTER_SERVER: i32 = 301;
/// Code 302: reserved or historic, handled by nobody.
pub const REGISTER_MESSAGE_FILTER_CLASS: i32 = 302;
/// Code 303, handled by the broker.
pub const QUERY_CONSUME_TIME_SPAN: i32 = 303;
/// Code 304, handled by the name server.
pub const GET_SYSTEM_TOPIC_LIST_FROM_NS: i32 = 304;
/// Code 305, handled by the broker.
pub const GET_SYSTEM_TOPIC_LIST_FROM_BROKER: i32 = 305;
/// Code 306, handled by the broker.
pub const CLEAN_EXPIRED_CONSUMEQUEUE: i32 = 306;
/// Code 307, handled by broker and client.
pub const GET_CONSUMER_RUNNING_INFO: i32 = 307;
/// Code 308, handled by the broker.
pub const QUERY_CORRECTION_OFFSET: i32 = 308;
/// Code 309, handled by broker and client.
pub const CONSUME_MESSAGE_DIRECTLY: i32 = 309;
/// Code 310, handled by the broker.
pub const SEND_MESSAGE_V2: i32 = 310;
/// Code 311, handled by the name server.
pub const GET_UNIT_TOPIC_LIST: i32 = 311;
/// Code 312, handled by the name server.
pub const GET_HAS_UNIT_SUB_TOPIC_LIST: i32 = 312;
/// Code 313, handled by the name server.
pub const GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST: i32 = 313;
/// Code 314, handled by the broker.
pub const CLONE_GROUP_OFFSET: i32 = 314;
/// Code 315, handled by the broker.
pub const VIEW_BROKER_STATS_DATA: i32 = 315;
/// Code 316, handled by the broker.
pub const CLEAN_UNUSED_TOPIC: i32 = 316;
/// Code 317, handled by the broker.
pub const GET_BROKER_CONSUME_STATS: i32 = 317;
/// Code 318, handled by the name server.
pub const UPDATE_NAMESRV_CONFIG: i32 = 318;
/// Code 319, handled by the name server.
pub const GET_NAMESRV_CONFIG: i32 = 319;
/// Code 320, handled by the broker.
pub const SEND_BATCH_MESSAGE: i32 = 320;
/// Code 321, handled by the broker.
pub const QUERY_CONSUME_QUEUE: i32 = 321;
/// Code 322, handled by the name server.
pub const QUERY_DATA_VERSION: i32 = 322;
/// Code 323, handled by the broker.
pub const RESUME_CHECK_HALF_MESSAGE: i32 = 323;
/// Code 324, handled by the broker.
pub const SEND_REPLY_MESSAGE: i32 = 324;
/// Code 325, handled by the broker.
pub const SEND_REPLY_MESSAGE_V2: i32 = 325;
/// Code 326, handled by the client.
pub const PUSH_REPLY_MESSAGE_TO_CLIENT: i32 = 326;
/// Code 327, handled by the name server.
pub const ADD_WRITE_PERM_OF_BROKER: i32 = 327;
/// Code 328, handled by the broker.
pub const GET_ALL_PRODUCER_INFO: i32 = 328;
/// Code 329, handled by the broker.
pub const DELETE_EXPIRED_COMMITLOG: i32 = 329;
/// Code 343, handled by the broker.
pub const QUERY_TOPICS_BY_CONSUMER: i32 = 343;
/// Code 345, handled by the broker.
pub const QUERY_SUBSCRIPTION_BY_CONSUMER: i32 = 345;
/// Code 351, handled by the broker.
pub const GET_TOPIC_CONFIG: i32 = 351;
/// Code 352, handled by the broker.
pub const GET_SUBSCRIPTIONGROUP_CONFIG: i32 = 352;
/// Code 353, handled by the broker.
pub const UPDATE_AND_GET_GROUP_FORBIDDEN: i32 = 353;
/// Code 354, handled by the broker.
pub const CHECK_ROCKSDB_CQ_WRITE_PROGRESS: i32 = 354;
/// Code 355, handled by the broker.
pub const EXPORT_ROCKSDB_CONFIG_TO_JSON: i32 = 355;
/// Code 361, handled by the broker.
pub const LITE_PULL_MESSAGE: i32 = 361;
/// Code 370, handled by the broker.
pub const RECALL_MESSAGE: i32 = 370;
/// Code 400, handled by the broker.
pub const QUERY_ASSIGNMENT: i32 = 400;
/// Code 401, handled by the broker.
pub const SET_MESSAGE_REQUEST_MODE: i32 = 401;
/// Code 402, handled by the broker.
pub const GET_ALL_MESSAGE_REQUEST_MODE: i32 = 402;
/// Code 513, handled by the broker.
pub const UPDATE_AND_CREATE_STATIC_TOPIC: i32 = 513;
/// Code 901, handled by the name server.
pub const GET_BROKER_MEMBER_GROUP: i32 = 901;
/// Code 902, handled by the broker container.
pub const ADD_BROKER: i32 = 902;
/// Code 903, handled by the broker container.
pub const REMOVE_BROKER: i32 = 903;
/// Code 904, handled by name server and controller.
pub const BROKER_HEARTBEAT: i32 = 904;
/// Code 905, handled by the broker.
pub const NOTIFY_MIN_BROKER_ID_CHANGE: i32 = 905;
/// Code 906, handled by the broker.
pub const EXCHANGE_BROKER_HA_INFO: i32 = 906;
/// Code 907, handled by the broker.
pub const GET_BROKER_HA_STATUS: i32 = 907;
/// Code 908, handled by the broker.
pub const RESET_MASTER_FLUSH_OFFSET: i32 = 908;
/// Code 1001, handled by the controller.
pub const CONTROLLER_ALTER_SYNC_STATE_SET: i32 = 1001;
/// Code 1002, handled by the controller.
pub const CONTROLLER_ELECT_MASTER: i32 = 1002;
/// Code 1003, handled by the controller.
pub const CONTROLLER_REGISTER_BROKER: i32 = 1003;
/// Code 1004, handled by the controller.
pub const CONTROLLER_GET_REPLICA_INFO: i32 = 1004;
/// Code 1005, handled by the controller.
pub const CONTROLLER_GET_METADATA_INFO: i32 = 1005;
/// Code 1006, handled by the controller.
pub const CONTROLLER_GET_SYNC_STATE_DATA: i32 = 1006;
/// Code 1007, handled by the broker.
pub const GET_BROKER_EPOCH_CACHE: i32 = 1007;
/// Code 1008, handled by the broker.
pub const NOTIFY_BROKER_ROLE_CHANGED: i32 = 1008;
/// Code 1009, handled by the controller.
pub const UPDATE_CONTROLLER_CONFIG: i32 = 1009;
/// Code 1010, handled by the controller.
pub const GET_CONTROLLER_CONFIG: i32 = 1010;
/// Code 1011, handled by the controller.
pub const CLEAN_BROKER_DATA: i32 = 1011;
/// Code 1012, handled by the controller.
pub const CONTROLLER_GET_NEXT_BROKER_ID: i32 = 1012;
/// Code 1013, handled by the controller.
pub const CONTROLLER_APPLY_BROKER_ID: i32 = 1013;
/// Code 1014, internal to the JRaft controller.
pub const BROKER_CLOSE_CHANNEL_REQUEST: i32 = 1014;
/// Code 1015, internal to the JRaft controller.
pub const CHECK_NOT_ACTIVE_BROKER_REQUEST: i32 = 1015;
/// Code 1016, internal to the JRaft controller.
pub const GET_BROKER_LIVE_INFO_REQUEST: i32 = 1016;
/// Code 1017, internal to the JRaft controller.
pub const GET_SYNC_STATE_DATA_REQUEST: i32 = 1017;
/// Code 1018, internal to the JRaft controller.
pub const RAFT_BROKER_HEART_BEAT_EVENT_REQUEST: i32 = 1018;
/// Code 2001, handled by the broker.
pub const UPDATE_COLD_DATA_FLOW_CTR_CONFIG: i32 = 2001;
/// Code 2002, handled by the broker.
pub const REMOVE_COLD_DATA_FLOW_CTR_CONFIG: i32 = 2002;
/// Code 2003, handled by the broker.
pub const GET_COLD_DATA_FLOW_CTR_INFO: i32 = 2003;
/// Code 2004, handled by the broker.
pub const SET_COMMITLOG_READ_MODE: i32 = 2004;
/// Code 3001, handled by the broker.
pub const AUTH_CREATE_USER: i32 = 3001;
/// Code 3002, handled by the broker.
pub const AUTH_UPDATE_USER: i32 = 3002;
/// Code 3003, handled by the broker.
pub const AUTH_DELETE_USER: i32 = 3003;
/// Code 3004, handled by the broker.
pub const AUTH_GET_USER: i32 = 3004;
/// Code 3005, handled by the broker.
pub const AUTH_LIST_USER: i32 = 3005;
/// Code 3006, handled by the broker.
pub const AUTH_CREATE_ACL: i32 = 3006;
/// Code 3007, handled by the broker.
pub const AUTH_UPDATE_ACL: i32 = 3007;
/// Code 3008, handled by the broker.
pub const AUTH_DELETE_ACL: i32 = 3008;
/// Code 3009, handled by the broker.
pub const AUTH_GET_ACL: i32 = 3009;
/// Code 3010, handled by the broker.
pub const AUTH_LIST_ACL: i32 = 3010;
/// Code 200050, handled by the broker.
pub const POP_MESSAGE: i32 = 200050;
/// Code 200051, handled by the broker.
pub const ACK_MESSAGE: i32 = 200051;
/// Code 200052, handled by the broker.
pub const PEEK_MESSAGE: i32 = 200052;
/// Code 200053, handled by the broker.
pub const CHANGE_MESSAGE_INVISIBLETIME: i32 = 200053;
/// Code 200054, handled by the broker.
pub const NOTIFICATION: i32 = 200054;
/// Code 200055, handled by the broker.
pub const POLLING_INFO: i32 = 200055;
/// Code 200056, handled by the broker.
pub const POP_ROLLBACK: i32 = 200056;
/// Code 200151, handled by the broker.
pub const BATCH_ACK_MESSAGE: i32 = 200151;

/// Maps a code that arrived in a ROCKETMQ header, whose code field is 16 bits wide, back to the pop request
/// it was cut from: 200 050 arrives as 3 442. Codes that cannot have been cut are returned as they are.
///
/// The codes from 3 442 to 3 543 are used by nothing else, so the mapping is unambiguous.
pub const fn restore_truncated(code: i32) -> i32 {
    match code {
        3_442..=3_448 => code - 3_442 + POP_MESSAGE,
        3_543 => BATCH_ACK_MESSAGE,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_pop_codes_come_back() {
        for code in [
            POP_MESSAGE,
            ACK_MESSAGE,
            PEEK_MESSAGE,
            CHANGE_MESSAGE_INVISIBLETIME,
            NOTIFICATION,
            POLLING_INFO,
            POP_ROLLBACK,
            BATCH_ACK_MESSAGE,
        ] {
            let on_the_wire = i32::from(code as i16);
            assert_ne!(on_the_wire, code);
            assert_eq!(restore_truncated(on_the_wire), code);
        }
        assert_eq!(restore_truncated(SEND_MESSAGE_V2), SEND_MESSAGE_V2);
        assert_eq!(restore_truncated(AUTH_LIST_ACL), AUTH_LIST_ACL);
    }
}
