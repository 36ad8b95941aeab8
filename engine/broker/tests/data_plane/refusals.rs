use ringmq_remoting::code::{request, response};
use ringmq_transport::Request;

use crate::client::{Pull, Send};
use crate::setup::Setup;

#[test]
fn sends_that_are_refused_say_why() {
    Setup::new(20).run(|client| async move {
        client.send(Send::new("T", 0, "makes the topic")).await;
        let cases = [
            (Send::new("T", 4, "x"), response::INVALID_PARAMETER, "queueId[4] is illegal"),
            (Send::new("a.b", 0, "x"), response::INVALID_PARAMETER, "illegal characters"),
            (Send::new("SCHEDULE_TOPIC_XXXX", 0, "x"), response::NO_PERMISSION, "is forbidden"),
            (Send::new("T", 0, "x").property("TRAN_MSG", "true"), response::NO_PERMISSION, "transaction"),
            (Send::new("T", 0, "x").property("TIMER_DELAY_SEC", "60"), response::SYSTEM_ERROR, "delay level"),
            (
                Send::new("T", 0, "x").property("TIMER_DELAY_SEC", "soon"),
                response::MESSAGE_ILLEGAL,
                "illegal",
            ),
            (Send::new("T", 0, "").body(vec![0; (4 << 20) + 1]), response::MESSAGE_ILLEGAL, "4194304B"),
            (Send::new("T", 0, "x").property("k", &"v".repeat(32_768)), response::MESSAGE_ILLEGAL, "32KB"),
            (Send::batch("T", 0, &[]), response::MESSAGE_ILLEGAL, "no message"),
            (Send::batch("T", 0, &["x"]).property("DELAY", "1"), response::MESSAGE_ILLEGAL, "illegal"),
        ];
        for (send, code, part) in cases {
            let (got, remark) = client.refusal(&send.request()).await;
            assert!(got == code && remark.contains(part), "{got} {remark}, expected {code} …{part}…");
        }
        assert_eq!(client.offset(request::GET_MAX_OFFSET, "T", 0).await, 1, "nothing was stored");
    });
}

#[test]
fn unknown_topics_are_refused_when_they_may_not_be_made() {
    let mut setup = Setup::with(21, "autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false");
    setup.run(|client| async move {
        let (code, remark) = client.refusal(&Send::new("T", 0, "x").request()).await;
        assert_eq!(code, response::TOPIC_NOT_EXIST, "{remark}");
        assert!(remark.starts_with("topic[T] not exist, apply first please!"), "{remark}");
        let (code, _) = client.refusal(&Pull::new("T", 0, 0).request()).await;
        assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        let (code, _) = client.refusal(&Send::new("%RETRY%nobody", 0, "x").request()).await;
        assert!(
            [response::SUBSCRIPTION_GROUP_NOT_EXIST, response::TOPIC_NOT_EXIST].contains(&code),
            "{code}"
        );
    });
}

#[test]
fn pulls_that_are_refused_say_why() {
    Setup::new(22).run(|client| async move {
        client.send(Send::new("T", 0, "makes the topic")).await;
        let cases = [
            (Pull::new("unknown", 0, 0), response::TOPIC_NOT_EXIST),
            (Pull::new("T", 4, 0), response::INVALID_PARAMETER),
            (Pull::new("T", -1, 0), response::INVALID_PARAMETER),
            (Pull::new("T", 0, 0).subscribed_by_heartbeat(), response::SUBSCRIPTION_NOT_EXIST),
            (Pull::new("T", 0, 0).tags("||"), response::SUBSCRIPTION_PARSE_FAILED),
        ];
        for (pull, code) in cases {
            let (got, remark) = client.refusal(&pull.request()).await;
            assert_eq!(got, code, "{pull:?}: {remark}");
        }
        let sql = Pull::new("T", 0, 0).tags("a > 1").request().str("expressionType", "SQL92");
        let (code, remark) = client.refusal(&sql).await;
        assert!(code == response::SYSTEM_ERROR && remark.contains("SQL92"), "{code} {remark}");
    });
}

#[test]
fn requests_without_their_fields_are_answered() {
    Setup::new(23).run(|client| async move {
        for code in [
            request::SEND_MESSAGE,
            request::SEND_MESSAGE_V2,
            request::PULL_MESSAGE,
            request::UPDATE_CONSUMER_OFFSET,
            request::QUERY_CONSUMER_OFFSET,
            request::GET_MAX_OFFSET,
            request::VIEW_MESSAGE_BY_ID,
            request::CONSUMER_SEND_MSG_BACK,
        ] {
            let (got, remark) = client.refusal(&Request::new(code)).await;
            assert!(got == response::SYSTEM_ERROR && remark.contains("missing"), "{code}: {got} {remark}");
        }
        let (code, remark) = client.refusal(&Request::new(31_999)).await;
        assert_eq!(
            (code, remark.as_str()),
            (response::REQUEST_CODE_NOT_SUPPORTED, " request type 31999 not supported")
        );
    });
}

#[test]
fn commits_for_what_does_not_exist_are_refused() {
    Setup::new(24).run(|client| async move {
        client.send(Send::new("T", 0, "x")).await;
        let commit = |group: &str, topic: &str| {
            Request::new(request::UPDATE_CONSUMER_OFFSET)
                .str("consumerGroup", group)
                .str("topic", topic)
                .int("queueId", 0)
                .int("commitOffset", 1)
        };
        let (code, _) = client.refusal(&commit("nobody", "T")).await;
        assert_eq!(code, response::SUBSCRIPTION_GROUP_NOT_EXIST);
        client.pull(Pull::new("T", 0, 0)).await;
        let (code, _) = client.refusal(&commit("consumers", "unknown")).await;
        assert_eq!(code, response::TOPIC_NOT_EXIST);
    });
}
