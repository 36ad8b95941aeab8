//! A record before it has its place in the log.

use std::net::SocketAddr;

use super::host::{host_bytes, write_host};
use super::layout::{
    self, HOST_V4_BYTES, MAGIC_V1, MAGIC_V2, PROPERTIES_BYTES_MAX, RECORD_BYTES_MIN, TOPIC_BYTES_MAX,
    V1_TOPIC_BYTES_MAX, sys_flag,
};

/// What a record says, before it has its place. [`RecordDraft::encode`] lays it out once, straight into the
/// log's buffer.
///
/// The IPv6 bits of `sys_flag` are set or cleared by the hosts, the magic follows the topic's length, and the
/// body CRC is computed on encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordDraft<'a> {
    /// At most 127 bytes for ordinary topics, 255 for retry and dead-letter topics.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The user's flag, opaque.
    pub flag: i32,
    /// See [`sys_flag`].
    pub sys_flag: i32,
    /// When the producer made it, ms since 1970.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often it has been consumed in vain.
    pub reconsume_times: i32,
    /// Of a committed message: physical offset of its half message; else 0.
    pub prepared_transaction_offset: i64,
    /// As sent, possibly compressed.
    pub body: &'a [u8],
    /// Properties text, see [`super::properties`]; at most [`PROPERTIES_BYTES_MAX`] bytes.
    pub properties: &'a str,
}

impl RecordDraft<'_> {
    /// Bytes that [`RecordDraft::encode`] writes.
    pub fn encoded_bytes(&self) -> usize {
        RECORD_BYTES_MIN - 2 * HOST_V4_BYTES
            + host_bytes(self.born_host)
            + host_bytes(self.store_host)
            + usize::from(self.has_long_topic())
            + self.topic.len()
            + self.body.len()
            + self.properties.len()
    }

    /// Writes the record at the start of `out` and returns its size.
    ///
    /// # Panics
    /// `out` is shorter than [`RecordDraft::encoded_bytes`], or topic, body or properties exceed their length
    /// fields: the broker's limits, all lower, have been checked before.
    pub fn encode(
        &self,
        out: &mut [u8],
        queue_offset: i64,
        physical_offset: i64,
        store_timestamp: i64,
    ) -> usize {
        let total = self.encoded_bytes();
        assert!(self.topic.len() <= TOPIC_BYTES_MAX, "topic of {} bytes", self.topic.len());
        assert!(
            self.properties.len() <= PROPERTIES_BYTES_MAX,
            "properties of {} bytes",
            self.properties.len()
        );
        assert!(i32::try_from(total).is_ok(), "record of {total} bytes");
        assert!(total <= out.len(), "record of {total} bytes, room for {}", out.len());

        let mut writer = Writer { out: &mut out[..total], position: 0 };
        writer.int(total as u32);
        writer.int(if self.has_long_topic() { MAGIC_V2 } else { MAGIC_V1 });
        writer.int(layout::body_crc(self.body));
        writer.int(self.queue_id as u32);
        writer.int(self.flag as u32);
        writer.long(queue_offset);
        writer.long(physical_offset);
        writer.int(self.wire_sys_flag() as u32);
        writer.long(self.born_timestamp);
        writer.host(self.born_host);
        writer.long(store_timestamp);
        writer.host(self.store_host);
        writer.int(self.reconsume_times as u32);
        writer.long(self.prepared_transaction_offset);
        writer.int(self.body.len() as u32);
        writer.bytes(self.body);
        if self.has_long_topic() {
            writer.bytes(&(self.topic.len() as u16).to_be_bytes());
        } else {
            writer.bytes(&[self.topic.len() as u8]);
        }
        writer.bytes(self.topic.as_bytes());
        writer.bytes(&(self.properties.len() as u16).to_be_bytes());
        writer.bytes(self.properties.as_bytes());
        assert_eq!(writer.position, total, "encoded size of a record");
        total
    }

    fn has_long_topic(&self) -> bool {
        self.topic.len() > V1_TOPIC_BYTES_MAX
    }

    fn wire_sys_flag(&self) -> i32 {
        let born = if self.born_host.is_ipv6() { sys_flag::BORN_HOST_V6 } else { 0 };
        let store = if self.store_host.is_ipv6() { sys_flag::STORE_HOST_V6 } else { 0 };
        self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6) | born | store
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    position: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.position..self.position + bytes.len()].copy_from_slice(bytes);
        self.position += bytes.len();
    }

    fn int(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    fn long(&mut self, number: i64) {
        self.bytes(&number.to_be_bytes());
    }

    fn host(&mut self, host: SocketAddr) {
        self.position += write_host(&mut self.out[self.position..], host);
    }
}
