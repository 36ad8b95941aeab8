//! Reading a record in place.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;

use super::host::read_host;
use super::layout::{
    self, BLANK_BYTES_MIN, BLANK_MAGIC, HOST_V4_BYTES, HOST_V6_BYTES, MAGIC_V1, MAGIC_V2, RECORD_BYTES_MIN,
    position, sys_flag,
};
use super::{RecordDraft, properties};

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub enum RecordError {
    /// Fewer bytes than the record needs; the rest may follow.
    #[error("record of {needed} bytes, {given} given")]
    Truncated {
        /// Bytes needed to go on.
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

/// One record, borrowed from the log or a response body. All its lengths are checked; its body only by
/// [`RecordView::check_crc`].
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Exactly the record.
    bytes: &'a [u8],
    /// Where what follows the born host starts.
    store_timestamp_at: usize,
    /// Where what follows the store host starts.
    reconsume_times_at: usize,
    topic: &'a str,
    /// Start of the properties, which reach to the end.
    properties_at: usize,
}

impl<'a> RecordView<'a> {
    /// Reads the record at the start of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// See [`RecordError`]; [`RecordError::Truncated`] and [`RecordError::Blank`] are ordinary while scanning
    /// a log.
    pub fn parse(bytes: &'a [u8]) -> Result<RecordView<'a>, RecordError> {
        if bytes.len() < BLANK_BYTES_MIN {
            return Err(RecordError::Truncated { needed: BLANK_BYTES_MIN, given: bytes.len() });
        }
        let total = u32_at(bytes, 0);
        let magic = u32_at(bytes, position::MAGIC);
        match magic {
            MAGIC_V1 | MAGIC_V2 => {}
            BLANK_MAGIC => return Err(RecordError::Blank { bytes: total }),
            magic => return Err(RecordError::Magic { magic }),
        }
        let layout = |what| RecordError::Layout { total, what };
        let total_bytes = total as usize;
        if total_bytes < RECORD_BYTES_MIN || total > i32::MAX as u32 {
            return Err(layout("not a possible size"));
        }
        let given = bytes.len();
        let bytes = bytes.get(..total_bytes).ok_or(RecordError::Truncated { needed: total_bytes, given })?;

        let flags = u32_at(bytes, position::SYS_FLAG) as i32;
        let host_bytes = |bit| if flags & bit == 0 { HOST_V4_BYTES } else { HOST_V6_BYTES };
        let store_timestamp_at = position::BORN_HOST + host_bytes(sys_flag::BORN_HOST_V6);
        let reconsume_times_at = store_timestamp_at + 8 + host_bytes(sys_flag::STORE_HOST_V6);

        let mut rest = bytes.get(reconsume_times_at + 12..).ok_or(layout("no room for its hosts"))?;
        let body_bytes = take(&mut rest, 4).ok_or(layout("no room for the body length"))?;
        take(&mut rest, u32_at(body_bytes, 0) as usize).ok_or(layout("body is longer than the record"))?;
        let width = if magic == MAGIC_V1 { 1 } else { 2 };
        let topic_bytes = take(&mut rest, width).ok_or(layout("no room for the topic length"))?;
        let topic_bytes = match topic_bytes {
            &[short] => usize::from(short),
            long => usize::from(u16::from_be_bytes([long[0], long[1]])),
        };
        let topic = take(&mut rest, topic_bytes).ok_or(layout("topic is longer than the record"))?;
        let topic = std::str::from_utf8(topic).map_err(|_| layout("topic is not UTF-8"))?;
        let properties_bytes = take(&mut rest, 2).ok_or(layout("no room for the properties length"))?;
        if usize::from(u16::from_be_bytes([properties_bytes[0], properties_bytes[1]])) != rest.len() {
            return Err(layout("properties do not end with the record"));
        }
        let properties_at = total_bytes - rest.len();
        Ok(RecordView { bytes, store_timestamp_at, reconsume_times_at, topic, properties_at })
    }

    /// The whole record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Size of the whole record.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Compares the body with its CRC.
    ///
    /// # Errors
    /// [`RecordError::Crc`].
    pub fn check_crc(&self) -> Result<(), RecordError> {
        let (stored, computed) = (self.body_crc(), layout::body_crc(self.body()));
        if stored == computed { Ok(()) } else { Err(RecordError::Crc { stored, computed }) }
    }

    /// [`layout::MAGIC_V1`](super::MAGIC_V1) or V2.
    pub fn magic(&self) -> u32 {
        u32_at(self.bytes, position::MAGIC)
    }

    /// CRC as stored.
    pub fn body_crc(&self) -> u32 {
        u32_at(self.bytes, position::BODY_CRC)
    }

    /// Queue within the topic.
    pub fn queue_id(&self) -> i32 {
        u32_at(self.bytes, position::QUEUE_ID) as i32
    }

    /// The user's flag.
    pub fn flag(&self) -> i32 {
        u32_at(self.bytes, position::FLAG) as i32
    }

    /// Index within the queue.
    pub fn queue_offset(&self) -> i64 {
        i64_at(self.bytes, position::QUEUE_OFFSET)
    }

    /// Place in the log, as clients see it.
    pub fn physical_offset(&self) -> i64 {
        i64_at(self.bytes, position::PHYSICAL_OFFSET)
    }

    /// See [`sys_flag`].
    pub fn sys_flag(&self) -> i32 {
        u32_at(self.bytes, position::SYS_FLAG) as i32
    }

    /// When the producer made it, ms since 1970.
    pub fn born_timestamp(&self) -> i64 {
        i64_at(self.bytes, position::BORN_TIMESTAMP)
    }

    /// The producer's address.
    pub fn born_host(&self) -> SocketAddr {
        read_host(&self.bytes[position::BORN_HOST..self.store_timestamp_at])
    }

    /// When the broker stored it, ms since 1970.
    pub fn store_timestamp(&self) -> i64 {
        i64_at(self.bytes, self.store_timestamp_at)
    }

    /// The broker's address.
    pub fn store_host(&self) -> SocketAddr {
        read_host(&self.bytes[self.store_timestamp_at + 8..self.reconsume_times_at])
    }

    /// How often it has been consumed in vain.
    pub fn reconsume_times(&self) -> i32 {
        u32_at(self.bytes, self.reconsume_times_at) as i32
    }

    /// Of a committed message: physical offset of its half message; else 0.
    pub fn prepared_transaction_offset(&self) -> i64 {
        i64_at(self.bytes, self.reconsume_times_at + 4)
    }

    /// As sent, possibly compressed.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.body_range()]
    }

    /// Where the body lies inside the record.
    pub fn body_range(&self) -> Range<usize> {
        let start = self.reconsume_times_at + 16;
        start..start + u32_at(self.bytes, start - 4) as usize
    }

    /// Topic.
    pub fn topic(&self) -> &'a str {
        self.topic
    }

    /// Properties as stored.
    pub fn properties_bytes(&self) -> &'a [u8] {
        &self.bytes[self.properties_at..]
    }

    /// Properties text; bytes that are not UTF-8 are replaced, as the reference does on reading.
    pub fn properties(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.properties_bytes())
    }

    /// The tag hash for the queue index: of the property TAGS, 0 without one.
    pub fn tags_code(&self) -> i64 {
        properties::get(&self.properties(), properties::name::TAGS).map_or(0, layout::tags_code)
    }

    /// A draft of the same message with other properties (or those of [`RecordView::properties`]), to be
    /// stored again: change topic, queue, counters and hosts as needed.
    pub fn draft(&self, properties: &'a str) -> RecordDraft<'a> {
        RecordDraft {
            topic: self.topic,
            queue_id: self.queue_id(),
            flag: self.flag(),
            sys_flag: self.sys_flag(),
            born_timestamp: self.born_timestamp(),
            born_host: self.born_host(),
            store_host: self.store_host(),
            reconsume_times: self.reconsume_times(),
            prepared_transaction_offset: self.prepared_transaction_offset(),
            body: self.body(),
            properties,
        }
    }
}

/// The records of a pull response or a piece of log, one behind the other. After the first error the iterator
/// ends.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let parsed = RecordView::parse(rest);
        rest = parsed.as_ref().map_or(&[], |record| &rest[record.total_bytes()..]);
        Some(parsed)
    })
}

/// Takes `count` bytes off the front.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn u32_at(bytes: &[u8], position: usize) -> u32 {
    u32::from_be_bytes([bytes[position], bytes[position + 1], bytes[position + 2], bytes[position + 3]])
}

fn i64_at(bytes: &[u8], position: usize) -> i64 {
    (i64::from(u32_at(bytes, position)) << 32) | i64::from(u32_at(bytes, position + 4))
}
