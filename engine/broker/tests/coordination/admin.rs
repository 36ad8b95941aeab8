//! Questions and commands of operators.

use ringmq_remoting::body::{
    ConsumeStats, KvTable, MessageQueue, TopicConfigWrapper, TopicList, TopicStatsTable,
};
use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::setup::{Setup, heartbeat, update_topic};

fn send(topic: &str, queue: i64) -> Request {
    Request::new(request::SEND_MESSAGE_V2)
        .str("a", "producers")
        .str("b", topic)
        .str("c", "TBW102")
        .int("d", 4)
        .int("e", queue)
        .int("f", 0)
        .int("g", 1_700_000_000_000)
        .int("h", 0)
        .str("i", "")
        .body("hello")
}

fn commit(group: &str, topic: &str, queue: i64, offset: i64) -> Request {
    Request::new(request::UPDATE_CONSUMER_OFFSET)
        .str("consumerGroup", group)
        .str("topic", topic)
        .int("queueId", queue)
        .int("commitOffset", offset)
}

#[test]
fn topic_and_consume_statistics_cover_all_shards() {
    let mut setup = Setup::new(1);
    setup.run(|caller| async move {
        caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
        for queue in [0, 0, 1, 3] {
            caller.done(send("T", queue)).await;
        }
        let stats = caller.done(Request::new(request::GET_TOPIC_STATS_INFO).str("topic", "T")).await;
        let stats = TopicStatsTable::from_json(&stats.body()).expect("statistics");
        let max: Vec<i64> = stats.offset_table.values().map(|queue| queue.max_offset).collect();
        assert_eq!(max, [2, 1, 0, 1], "queues that were never written to are shown");

        caller.done(commit("g", "T", 0, 1)).await;
        let consume = |topic: &str| {
            Request::new(request::GET_CONSUME_STATS).str("consumerGroup", "g").str("topic", topic)
        };
        let stats = caller.done(consume("")).await;
        let stats = ConsumeStats::from_json(&stats.body()).expect("statistics");
        let key =
            |queue_id| MessageQueue { broker_name: "broker-a".to_owned(), queue_id, topic: "T".to_owned() };
        assert_eq!(stats.offset_table.len(), 4);
        let first = &stats.offset_table[&key(0)];
        assert_eq!((first.broker_offset, first.consumer_offset), (2, 1));
        assert!(first.last_timestamp > 0);
        assert_eq!(stats.offset_table[&key(3)].broker_offset, 1);

        caller.done(update_topic("Other", 4)).await;
        caller.done(commit("g", "Other", 0, 1)).await;
        let stats = ConsumeStats::from_json(&caller.done(consume("")).await.body()).expect("statistics");
        assert!(
            stats.offset_table.keys().all(|queue| queue.topic == "T"),
            "while it is online, a group is shown in the topics that it subscribes to"
        );
        let (code, _) =
            caller.refused(Request::new(request::GET_TOPIC_STATS_INFO).str("topic", "none")).await;
        assert_eq!(code, response::TOPIC_NOT_EXIST);
    });
}

#[test]
fn runtime_information_counts_messages() {
    let mut setup = Setup::new(2);
    setup.run(|caller| async move {
        for queue in 0..4 {
            caller.done(send("T", queue)).await;
        }
        let info = caller.done(Request::new(request::GET_BROKER_RUNTIME_INFO)).await;
        let table = KvTable::from_json(&info.body()).expect("a table").table;
        assert_eq!(table["brokerVersionDesc"], "V5_3_3");
        assert_eq!(table["putMessageTimesTotal"], "4");
        assert_eq!(table["msgPutTotalTodayNow"], "4");
        assert_eq!(table["putTps"].split(' ').count(), 3);
        assert!(table["commitLogMaxOffset"].parse::<u64>().expect("a number") > 0);
    });
}

#[test]
fn configuration_changes_apply_at_once_or_say_when() {
    let mut setup = Setup::new(3);
    setup.run(|caller| async move {
        let update = |text: &'static str| Request::new(request::UPDATE_BROKER_CONFIG).body(text);
        let large = || send("T", 0).body(vec![b'x'; 2_000]);
        caller.done(large()).await;
        assert_eq!(caller.done(update("maxMessageSize=1000")).await.remark(), "");
        assert_eq!(caller.call(large()).await.code(), response::MESSAGE_ILLEGAL);
        let answer = caller.done(update("listenPort=1\nmaxMessageSize=3000")).await;
        assert_eq!(answer.remark(), "effective after a restart: listenPort");
        caller.done(large()).await;
        let config = caller.done(Request::new(request::GET_BROKER_CONFIG)).await;
        let text = String::from_utf8(config.body().to_vec()).expect("text");
        assert!(text.contains("\nmaxMessageSize=3000\n"), "{text}");
        assert!(text.contains("\nlistenPort=10911\n"), "what is in effect");
        assert!(config.field("version").expect("set").contains("\"counter\":2"));
        let (code, _) = caller.refused(update("configBlackList=a")).await;
        assert_eq!(code, response::NO_PERMISSION);
        let (code, remark) = caller.refused(update("longPollingEnable=perhaps")).await;
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains("longPollingEnable=perhaps"), "{remark}");
    });
}

#[test]
fn offsets_are_reset_on_the_broker() {
    let mut setup = Setup::new(4);
    setup.run(|caller| async move {
        caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
        for _ in 0..5 {
            caller.done(send("T", 0)).await;
        }
        caller.done(commit("g", "T", 0, 5)).await;
        let reset = |group: &str| {
            Request::new(request::INVOKE_BROKER_TO_RESET_OFFSET)
                .str("topic", "T")
                .str("group", group)
                .int("timestamp", 0)
                .bool("isForce", true)
        };
        let answer = caller.done(reset("g")).await;
        let text = String::from_utf8(answer.body().to_vec()).expect("text");
        assert!(text.contains("{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"T\"}:0"), "{text}");
        let (code, _) = caller.refused(reset("nobody")).await;
        assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
    });
}

#[test]
fn lists_of_topics_and_groups() {
    let mut setup = Setup::new(5);
    setup.run(|caller| async move {
        caller.done(update_topic("T", 4)).await;
        let all = caller.done(Request::new(request::GET_ALL_TOPIC_CONFIG)).await;
        let all = TopicConfigWrapper::from_json(&all.body()).expect("topics");
        assert!(all.topic_config_table.contains_key("T") && all.topic_config_table.contains_key("TBW102"));
        let system = caller.done(Request::new(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER)).await;
        let system = TopicList::from_json(&system.body()).expect("a list").topic_list;
        assert!(system.contains(&"TBW102".to_owned()) && !system.contains(&"T".to_owned()));
        caller.heartbeat(&heartbeat("one", "g", &["T"])).await;
        let groups = caller.done(Request::new(request::QUERY_TOPIC_CONSUME_BY_WHO).str("topic", "T")).await;
        assert_eq!(&groups.body()[..], b"{\"groupList\":[\"g\"]}");
        let producers = caller.done(Request::new(request::GET_ALL_PRODUCER_INFO)).await;
        let text = String::from_utf8(producers.body().to_vec()).expect("text");
        assert!(
            text.starts_with("{\"data\":{\"producers\":[{\"clientId\":\"one\",\"language\":\"JAVA\""),
            "{text}"
        );
    });
}

#[test]
fn what_is_not_known_or_not_built_is_said() {
    let mut setup = Setup::new(6);
    setup.run(|caller| async move {
        let (code, remark) = caller.refused(Request::new(9_999)).await;
        assert_eq!((code, remark.as_str()), (3, " request type 9999 not supported"));
        let counter =
            Request::new(request::VIEW_BROKER_STATS_DATA).str("statsName", "X").str("statsKey", "Y");
        let (code, remark) = caller.refused(counter).await;
        assert_eq!((code, remark.as_str()), (response::SYSTEM_ERROR, "The stats <X> <Y> not exist"));
        let sql =
            r#"{"clientId":"c","group":"g","subscriptionData":{"expressionType":"SQL92","subString":"a>1"}}"#;
        let (code, remark) = caller.refused(Request::new(request::CHECK_CLIENT_CONFIG).body(sql)).await;
        assert_eq!(code, response::SYSTEM_ERROR);
        assert_eq!(remark, "The broker does not support consumer to filter message by SQL92");
        let (code, remark) =
            caller.refused(Request::new(request::UPDATE_AND_CREATE_TOPIC).str("topic", "T")).await;
        assert_eq!(code, response::SYSTEM_ERROR);
        assert!(remark.contains("readQueueNums"), "{remark}");
    });
}
