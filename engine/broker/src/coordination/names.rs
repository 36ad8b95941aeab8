//! Which names topics and groups may have, and which are the broker's own.

use crate::config::{BrokerConfig, RETRY_TOPIC_CHARS_MAX, TOPIC_CHARS_MAX};

/// Prefix of a group's retry topic.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of a group's dead-letter topic.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";
/// Prefix of system topics.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Prefix of system groups.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// The template that topics are made after when a message is sent to an unknown one.
pub const TEMPLATE_TOPIC: &str = "TBW102";
/// Names that older servers gave to groups may have up to 255 characters; new ones at most this many.
pub const NEW_GROUP_CHARS_MAX: usize = 120;

/// Groups of tools, which may pull even where pull consumers are refused.
const TOOL_GROUPS: &[&str] = &[
    "DEFAULT_CONSUMER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];

/// System topics whatever the configuration.
const SYSTEM_TOPICS: &[&str] = &[
    TEMPLATE_TOPIC,
    "SCHEDULE_TOPIC_XXXX",
    "BenchmarkTest",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];

/// Why a name is refused; the text is what the reference answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but blanks.
    #[error("The specified {0} is blank.")]
    Blank(&'static str),
    /// A character outside `%|a-zA-Z0-9_-`.
    #[error("The specified {kind}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Characters {
        /// `topic` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Longer than its limit.
    #[error("The specified {kind}: {name}, is longer than {kind} max length: {chars_max}")]
    TooLong {
        /// `topic` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The limit.
        chars_max: usize,
    },
    /// The broker's own.
    #[error("The topic[{0}] is conflict with system topic.")]
    System(String),
}

fn check(kind: &'static str, name: &str, chars_max: usize) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Blank(kind));
    }
    // Every allowed character is one byte: the length test below counts characters.
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-')) {
        return Err(NameError::Characters { kind, name: name.to_owned() });
    }
    if name.len() > chars_max {
        return Err(NameError::TooLong { kind, name: name.to_owned(), chars_max });
    }
    Ok(())
}

/// Whether a topic may have that name.
///
/// # Errors
/// See [`NameError`].
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let of_group = name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX);
    check("topic", name, if of_group { RETRY_TOPIC_CHARS_MAX } else { TOPIC_CHARS_MAX })
}

/// Whether a group that is made now may have that name.
///
/// # Errors
/// See [`NameError`].
pub fn check_group(name: &str) -> Result<(), NameError> {
    check("group", name, NEW_GROUP_CHARS_MAX)
}

/// Whether a topic is one of the broker's own, which requests may not change.
#[must_use]
pub fn is_system_topic(name: &str, config: &BrokerConfig) -> bool {
    name.starts_with(SYSTEM_TOPIC_PREFIX)
        || SYSTEM_TOPICS.contains(&name)
        || name == config.broker_cluster_name
        || name == config.broker_name
        || name == config.reply_topic()
        || (config.trace_topic_enable && name == config.msg_trace_topic_name)
}

/// Whether a group is a system group, made even when groups are not made automatically.
#[must_use]
pub fn is_system_group(name: &str) -> bool {
    name.starts_with(SYSTEM_GROUP_PREFIX)
}

/// Whether a group may pull even where pull consumers are refused (`rejectPullConsumerEnable`).
#[must_use]
pub fn may_always_pull(group: &str) -> bool {
    is_system_group(group) || TOOL_GROUPS.contains(&group)
}

/// A group's retry topic.
#[must_use]
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_PREFIX}{group}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    #[test]
    fn topic_names() {
        for good in
            ["TopicTest", "%RETRY%a_b-c|d", "0", &"x".repeat(127), &format!("%DLQ%{}", "x".repeat(250))]
        {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        assert_eq!(check_topic(" ").expect_err("blank").to_string(), "The specified topic is blank.");
        assert_eq!(
            check_topic("a.b").expect_err("dot").to_string(),
            "The specified topic: a.b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
        );
        let long = "x".repeat(128);
        assert_eq!(
            check_topic(&long).expect_err("long").to_string(),
            format!("The specified topic: {long}, is longer than topic max length: 127")
        );
        assert!(check_topic(&format!("%RETRY%{}", "x".repeat(249))).is_err());
        assert!(check_topic("täst").is_err());
    }

    #[test]
    fn group_names() {
        assert_eq!(check_group(&"g".repeat(120)), Ok(()));
        assert!(matches!(check_group(&"g".repeat(121)), Err(NameError::TooLong { chars_max: 120, .. })));
    }

    #[test]
    fn system_topics() {
        let (config, _) =
            BrokerConfig::from_text("brokerName=broker-a", &[], &HostFacts::for_tests()).expect("valid");
        for name in ["TBW102", "broker-a", "DefaultCluster", "DefaultCluster_REPLY_TOPIC", "rmq_sys_anything"]
        {
            assert!(is_system_topic(name, &config), "{name}");
        }
        assert!(!is_system_topic("TopicTest", &config));
        assert!(!is_system_topic("%RETRY%g", &config));
    }
}
