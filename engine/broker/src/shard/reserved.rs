//! Topics with a meaning of their own on the data plane.

use crate::coordination::names::RETRY_PREFIX;

/// Where delayed messages are parked: queue = level - 1, on the shard that owns the real queue.
pub(crate) const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// Topics that only the broker itself writes.
const NOT_FOR_CLIENTS: [&str; 6] = [
    SCHEDULE_TOPIC,
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Whether clients must not send to it.
pub(crate) fn is_not_for_clients(topic: &str) -> bool {
    NOT_FOR_CLIENTS.contains(&topic)
}

/// The group of a retry topic.
pub(crate) fn retry_group(topic: &str) -> Option<&str> {
    topic.strip_prefix(RETRY_PREFIX)
}
