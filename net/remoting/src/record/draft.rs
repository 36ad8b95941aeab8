//! A record before it has its place in the log.

use std::net::SocketAddr;

/// What a record says, before it has its place. [`RecordDraft::encode`] lays it out once, straight into the log's buffer.
///
/// The IPv6 bits of `sys_flag` are set or cleared by the hosts, the magic follows the topic's length, the body CRC is
/// computed on encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordDraft<'a> {
    /// At most 127 bytes for ordinary topics, 255 for retry and dead-letter topics.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: i32,
    /// The user's flag, opaque.
    pub flag: i32,
    /// See [`super::sys_flag`].
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
    /// Properties text, see [`super::properties`]; at most [`super::PROPERTIES_BYTES_MAX`] bytes.
    pub properties: &'a str,
}

impl RecordDraft<'_> {
    /// Bytes that [`RecordDraft::encode`] writes.
    pub fn encoded_bytes(&self) -> usize {
        todo!()
    }

    /// Writes the record at the start of `out` and returns its size.
    ///
    /// # Panics
    /// `out` is shorter than [`RecordDraft::encoded_bytes`], or topic, body or properties exceed their length fields.
    pub fn encode(
        &self,
        out: &mut [u8],
        queue_offset: i64,
        physical_offset: i64,
        store_timestamp: i64,
    ) -> usize {
        let _ = (out, queue_offset, physical_offset, store_timestamp);
        todo!()
    }
}
