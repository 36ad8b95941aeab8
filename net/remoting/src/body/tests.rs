use std::collections::BTreeMap;

use super::*;
use crate::code::version;

/// Reads a text into a type and compares what it writes.
macro_rules! check {
    ($type:ty, $text:expr) => {
        check!($type, $text, $text)
    };
    ($type:ty, $text:expr, $expected:expr) => {
        assert_eq!(<$type>::from_json($text.as_bytes()).expect("readable").to_json(), $expected)
    };
}

#[test]
fn shapes_of_the_reference_round_trip() {
    check!(
        TopicRouteData,
        r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"orderTopicConf":"broker-a:4","queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
    );
    check!(
        ClusterInfo,
        r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"10.0.0.1:10911",1:"x"},"brokerName":"broker-a","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"]}}"#
    );
    check!(
        TopicConfigWrapper,
        r#"{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":1700000000000},"topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":8,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":8}}}"#
    );
    check!(
        SubscriptionGroupConfig,
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"G","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
    );
    check!(
        HeartbeatData,
        r#"{"clientID":"10.0.0.9@1234#5678","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":1700000000000,"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"P"}],"withoutSub":false}"#
    );
    check!(
        TopicStatsTable,
        r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":1700000000000,"maxOffset":5,"minOffset":0}},"topicPutTps":0.0}"#
    );
    check!(
        ConsumeStats,
        r#"{"consumeTps":0.5,"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:{"brokerOffset":5,"consumerOffset":3,"lastTimestamp":1700000000000,"pullOffset":4}}}"#
    );
    check!(
        ConsumerOffsetTable,
        r#"{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1},"groupTopicMap":{"g":["T"]},"offsetTable":{"%RETRY%g@g":{0:0},"T@g":{0:10,1:7}}}"#
    );
    check!(
        DelayOffsetTable,
        r#"{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":1},"offsetTable":{1:12,3:4}}"#
    );
    check!(
        LockBatchRequest,
        r#"{"clientId":"c","consumerGroup":"G","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"T"}],"onlyThisBroker":false}"#
    );
    check!(LockBatchResponse, r#"{"lockOKMQSet":[{"brokerName":"broker-a","queueId":0,"topic":"T"}]}"#);
    check!(ResetOffsetBody, r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:7}}"#);
    check!(
        BrokerMemberGroupBody,
        r#"{"brokerMemberGroup":{"brokerAddrs":{0:"x"},"brokerName":"b","cluster":"c"}}"#
    );
    check!(KvTable, r#"{"table":{"a":"1"}}"#);
    check!(TopicList, r#"{"topicList":["T1","T2"]}"#);
    check!(ConsumerList, r#"{"consumerIdList":["10.0.0.9@1"]}"#);
    check!(
        RegisterBrokerBody,
        r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":5},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":5},"topicConfigTable":{},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{"x":{0:{"bname":"b"}}}}}"#
    );
}

#[test]
fn other_writers_are_understood() {
    // Go: no fingerprint, no codes; quoted numbers; null sets; a quoted broker id.
    check!(
        HeartbeatData,
        r#"{"clientID":"c","producerDataSet":null,"consumerDataSet":[{"groupName":"G","subscriptionDataSet":[{"topic":"T","subString":"*","subVersion":"5"}]}]}"#,
        r#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[],"expressionType":"TAG","subString":"*","subVersion":5,"tagsSet":[],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[],"withoutSub":false}"#
    );
    check!(
        QueueData,
        r#"{"brokerName":"b","perm":6,"readQueueNums":4,"topicSynFlag":1,"writeQueueNums":4}"#,
        r#"{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":1,"writeQueueNums":4}"#
    );
    let route =
        TopicRouteData::from_json(br#"{"brokerDatas":[{"brokerAddrs":{"0":"a"}}]}"#).expect("quoted id");
    assert_eq!(route.broker_datas[0].broker_addrs[&0], "a");
    assert!(
        route.to_standard_json().starts_with(r#"{"brokerDatas":[{"brokerAddrs":{"0":"a"}"#),
        "standard JSON quotes the ids"
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let error =
        HeartbeatData::from_json(br#"{"consumerDataSet":[{"unitMode":[]}]}"#).expect_err("no boolean");
    assert_eq!(
        error.to_string(),
        "body of HeartbeatData: consumerDataSet: unitMode: a boolean expected, an array found"
    );
    let error = KvTable::from_json(b"[1]").expect_err("no object");
    assert_eq!(error.to_string(), "body of KvTable: an object expected, an array found");
    let error = KvTable::from_json(b"{").expect_err("cut");
    assert_eq!(error.to_string(), "body of KvTable: byte 1: a value is missing");
}

#[test]
fn tag_expressions_parse_as_in_java() {
    #[track_caller]
    fn check(expression: &str, expected: Result<(&str, &[&str]), TagExpressionError>) {
        let parsed = SubscriptionData::parse("T", expression, None, 9);
        let parsed = parsed.as_ref().map(|parsed| (parsed.sub_string.as_str(), &parsed.tags_set[..]));
        match (parsed, expected) {
            (Ok((text, tags)), Ok((expected_text, expected_tags))) => {
                assert_eq!(
                    (text, tags),
                    (
                        expected_text,
                        &expected_tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>()[..]
                    )
                );
            }
            (parsed, expected) => assert_eq!(parsed.is_err(), expected.is_err(), "{expression}"),
        }
    }
    check("*", Ok(("*", &[])));
    check("", Ok(("*", &[])));
    check("TagA", Ok(("TagA", &["TagA"])));
    check(" TagA ||TagB|| TagA||", Ok((" TagA ||TagB|| TagA||", &["TagA", "TagB"])));
    check("||", Err(TagExpressionError));

    let subscription = SubscriptionData::parse("T", "TagA||TagB", None, 9).expect("tags");
    assert_eq!(subscription.code_set, [2_598_919, 2_598_920]);
    assert!(subscription.matches(2_598_919) && !subscription.matches(0));
    assert!(SubscriptionData::parse("T", "*", None, 9).expect("all").matches(0));
    let sql = SubscriptionData::parse("T", "a > 1", Some("SQL92"), 9).expect("taken as it is");
    assert!(!sql.is_tag_type() && sql.tags_set.is_empty());
}

#[test]
fn registrations_are_read_in_every_form() {
    let mut topics = BTreeMap::new();
    for (name, attributes) in
        [("A", BTreeMap::new()), ("B", BTreeMap::from([("message.type".into(), "FIFO x".into())]))]
    {
        let topic =
            TopicConfig { topic_name: name.into(), attributes, read_queue_nums: 3, ..TopicConfig::default() };
        topics.insert(name.to_owned(), topic);
    }
    let body = RegisterBrokerBody {
        filter_server_list: vec!["f".into()],
        topics: RegisteredTopics {
            data_version: DataVersion { counter: 1, state_version: 2, timestamp: 3 },
            topic_config_table: topics,
            ..RegisteredTopics::default()
        },
    };
    assert_eq!(
        RegisterBrokerBody::read(body.to_json().as_bytes(), false, version::CURRENT),
        Ok(body.clone())
    );
    for broker_version in [version::V4_9_4, version::CURRENT] {
        let packed = body.to_compressed(broker_version);
        assert_eq!(RegisterBrokerBody::read(&packed, true, broker_version), Ok(body.clone()));
        assert_eq!(RegisterBrokerBody::read(&packed, false, broker_version), Ok(body.clone()), "recognised");
        for cut in 1..packed.len() {
            assert!(RegisterBrokerBody::read(&packed[..cut], true, broker_version).is_err(), "cut at {cut}");
        }
    }
    let bare = TopicConfigWrapper {
        data_version: body.topics.data_version,
        topic_config_table: body.topics.topic_config_table.clone(),
    };
    let old = RegisterBrokerBody::read(bare.to_json().as_bytes(), false, 36).expect("a bare table");
    assert_eq!(old.topics, body.topics);
    assert!(RegisterBrokerBody::read(b"", false, 479).is_ok());
}

#[test]
fn a_bomb_is_not_unpacked() {
    use std::io::Read;
    let zeros = std::io::repeat(0).take(REGISTER_BODY_BYTES_MAX as u64 + 10);
    let mut packed = Vec::new();
    flate2::read::ZlibEncoder::new(zeros, flate2::Compression::fast())
        .read_to_end(&mut packed)
        .expect("memory");
    let error = RegisterBrokerBody::read(&packed, true, 479).expect_err("a bomb");
    assert!(error.to_string().ends_with("it unpacks to too much"), "{error}");
}
