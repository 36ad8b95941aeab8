//! Remarks of refusals that several requests share, in the reference's words: clients and operators look for them.

use std::net::SocketAddr;

use ringmq_store::ReadError;

/// A topic is not there, or not known to this shard. With TOPIC_NOT_EXIST.
pub(crate) fn no_topic(topic: &str) -> String {
    format!("topic[{topic}] not exist, apply first please!")
}

/// A consumer names a queue that its topic, with so many queues to read, does not have.
pub(crate) fn illegal_queue(queue_id: i32, topic: &str, queues: i32, consumer: SocketAddr) -> String {
    format!(
        "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}] consumer:[{consumer}]"
    )
}

/// A consumer group is not there. With SUBSCRIPTION_GROUP_NOT_EXIST.
pub(crate) fn no_group(group: &str) -> String {
    format!("subscription group [{group}] does not exist")
}

/// A consumer group must not consume (`consumeEnable`). With NO_PERMISSION.
pub(crate) fn group_forbidden(group: &str) -> String {
    format!("subscription group no permission, {group}")
}

/// Expressions of that kind are switched off (`enablePropertyFilter`). With SYSTEM_ERROR.
pub(crate) fn no_property_filter(kind: &str) -> String {
    format!("The broker does not support consumer to filter message by {kind}")
}

/// The store could not read a queue. With SYSTEM_ERROR.
pub(crate) fn read_failed(error: &ReadError) -> String {
    format!("store getMessage failed: {error}")
}
