//! Records that the store writes for itself, into topics of its own that no queue index knows.

use std::net::{Ipv4Addr, SocketAddr};

use ringmq_remoting::record::RecordDraft;

/// A record of nobody's: everything it says is in its topic and its body.
pub(crate) fn own_record<'a>(topic: &'a str, body: &'a [u8], timestamp: i64) -> RecordDraft<'a> {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    RecordDraft {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: timestamp,
        born_host: nobody,
        store_host: nobody,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: "",
    }
}
