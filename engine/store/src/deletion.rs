//! Deleted topics.
//!
//! A deletion is a record of the log, in a topic of the store's own that no queue index knows: recovery meets it where it took place
//! and drops what the index holds of the topic up to there. So it is as durable, as ordered and as well replicated as the messages
//! themselves, and needs no file that could disagree with the log.

use ringmq_remoting::record::RecordDraft;

use crate::own::own_record;

/// Topic of the records that say "the topic named in the body was deleted here". Appends to it are refused.
pub(crate) const DELETED_TOPIC_RECORDS: &str = "rmq_sys_RINGMQ_DELETED_TOPIC";

/// The record of a deletion. The name is in the body.
pub(crate) fn deletion_record(topic: &str, timestamp: i64) -> RecordDraft<'_> {
    own_record(DELETED_TOPIC_RECORDS, topic.as_bytes(), timestamp)
}
