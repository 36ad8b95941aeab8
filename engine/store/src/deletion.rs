//! Deleted topics.
//!
//! A deletion is a record of the log, in a topic of the store's own that no queue index knows: recovery meets it where it took place
//! and drops what the index holds of the topic up to there. So it is as durable, as ordered and as well replicated as the messages
//! themselves, and needs no file that could disagree with the log.

use std::net::{Ipv4Addr, SocketAddr};

use ringmq_remoting::record::RecordDraft;

/// Topic of the records that say "the topic named in the body was deleted here". Appends to it are refused.
pub(crate) const DELETED_TOPIC_RECORDS: &str = "rmq_sys_RINGMQ_DELETED_TOPIC";

/// The record of a deletion. The name is in the body.
pub(crate) fn deletion_record(topic: &str, timestamp: i64) -> RecordDraft<'_> {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    RecordDraft {
        topic: DELETED_TOPIC_RECORDS,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: timestamp,
        born_host: nobody,
        store_host: nobody,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: topic.as_bytes(),
        properties: "",
    }
}
