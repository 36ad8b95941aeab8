//! Reading a record in place.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::RecordDraft;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum RecordError {
    /// Fewer bytes than the record needs; the rest may follow.
    #[error("record of {needed} bytes, {given} given")]
    Truncated {
        /// Bytes needed to say more.
        needed: usize,
        /// Bytes at hand.
        given: usize,
    },
    /// A blank: the segment ends here.
    #[error("blank of {bytes} bytes")]
    Blank {
        /// Its total size.
        bytes: u32,
    },
    /// Neither record nor blank.
    #[error("unknown magic {magic:#010x}")]
    Magic {
        /// What stands there.
        magic: u32,
    },
    /// The inner lengths contradict the total size.
    #[error("record of {total} bytes: {what}")]
    Layout {
        /// Its total size field.
        total: u32,
        /// What contradicts it.
        what: &'static str,
    },
    /// The body is not what was written.
    #[error("body CRC {stored:#010x} stored, {computed:#010x} computed")]
    Crc {
        /// In the record.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
}

/// One record, borrowed from the log or a response body. All its lengths are checked; its CRC only by
/// [`RecordView::check_crc`].
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
}

#[allow(missing_docs, reason = "skeleton")]
impl<'a> RecordView<'a> {
    /// Reads the record at the start of `bytes`; what follows it is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<RecordView<'a>, RecordError> {
        let _ = bytes;
        todo!()
    }
    /// The whole record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }
    pub fn check_crc(&self) -> Result<(), RecordError> {
        todo!()
    }
    pub fn magic(&self) -> u32 {
        todo!()
    }
    pub fn body_crc(&self) -> u32 {
        todo!()
    }
    pub fn queue_id(&self) -> i32 {
        todo!()
    }
    pub fn flag(&self) -> i32 {
        todo!()
    }
    pub fn queue_offset(&self) -> i64 {
        todo!()
    }
    pub fn physical_offset(&self) -> i64 {
        todo!()
    }
    pub fn sys_flag(&self) -> i32 {
        todo!()
    }
    pub fn born_timestamp(&self) -> i64 {
        todo!()
    }
    pub fn born_host(&self) -> SocketAddr {
        todo!()
    }
    pub fn store_timestamp(&self) -> i64 {
        todo!()
    }
    pub fn store_host(&self) -> SocketAddr {
        todo!()
    }
    pub fn reconsume_times(&self) -> i32 {
        todo!()
    }
    pub fn prepared_transaction_offset(&self) -> i64 {
        todo!()
    }
    pub fn body(&self) -> &'a [u8] {
        todo!()
    }
    pub fn topic(&self) -> &'a str {
        todo!()
    }
    pub fn properties_bytes(&self) -> &'a [u8] {
        todo!()
    }
    /// Properties text; bytes that are not UTF-8 are replaced, as the reference does on reading.
    pub fn properties(&self) -> Cow<'a, str> {
        todo!()
    }
    /// The tag hash for the queue index.
    pub fn tags_code(&self) -> i64 {
        todo!()
    }
    /// A draft of the same message, to be stored again: change topic, queue, counters as needed.
    pub fn draft(&self, properties: &'a str) -> RecordDraft<'a> {
        let _ = properties;
        todo!()
    }
}
