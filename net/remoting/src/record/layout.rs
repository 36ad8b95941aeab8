//! Constants of the record layout.

/// Record with a 1-byte topic length.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Record with a 2-byte topic length, for topics above 127 bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Filler at the end of a segment: total size, this magic, then anything.
pub const BLANK_MAGIC: u32 = 0xCBD4_3194;
/// A blank is at least its size and magic: a record fits a segment only if this much is left behind it.
pub const BLANK_BYTES_MIN: usize = 8;
/// Longest properties text of a record, bytes (its length field is a signed 16-bit number).
pub const PROPERTIES_BYTES_MAX: usize = 32_767;
/// Longest topic of a record, bytes (retry and dead-letter topics).
pub const TOPIC_BYTES_MAX: usize = 32_767;

/// Bits of a record's `sysFlag`.
pub mod sys_flag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// Multi-tags (historic).
    pub const MULTI_TAGS: i32 = 0x2;
    /// Half message; both transaction bits together are the type.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Committed message.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// Rolled back message.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// Mask of the transaction type.
    pub const TRANSACTION_MASK: i32 = 0xC;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: i32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: i32 = 0x20;
    /// Inner batch that the consumer unwraps.
    pub const NEED_UNWRAP: i32 = 0x40;
    /// Inner batch.
    pub const INNER_BATCH: i32 = 0x80;
    /// Mask of the compression type; 0 with [`COMPRESSED`] set means ZLIB.
    pub const COMPRESSION_MASK: i32 = 0x700;
}

/// Writes a blank of `bytes` (≥ [`BLANK_BYTES_MIN`]) at the start of `out`: only its 8 bytes of size and magic.
pub fn write_blank(out: &mut [u8], bytes: u32) {
    let _ = (out, bytes);
    todo!()
}

/// The tag hash of a queue index entry: Java's `String.hashCode` of the tag, sign-extended; 0 for no tag.
pub fn tags_code(tag: &str) -> i64 {
    i64::from(java_hash(tag))
}

/// Java's `String.hashCode`.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}
