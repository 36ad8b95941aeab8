//! Constants and small rules of the record layout.

/// Record with a 1-byte topic length.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Record with a 2-byte topic length, for topics above [`V1_TOPIC_BYTES_MAX`].
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Filler at the end of a segment: total size, this magic, then anything.
pub const BLANK_MAGIC: u32 = 0xCBD4_3194;
/// A blank is at least its size and magic: a record fits a segment only if this much is left behind it.
pub const BLANK_BYTES_MIN: usize = 8;
/// Longest topic of a V1 record, bytes: its length field is read as a signed byte.
pub const V1_TOPIC_BYTES_MAX: usize = 127;
/// Longest topic of a record, bytes: the V2 length field is signed too. The broker's own limit is 255.
pub const TOPIC_BYTES_MAX: usize = 32_767;
/// Longest properties text of a record, bytes: its length field is a signed 16-bit number.
pub const PROPERTIES_BYTES_MAX: usize = 32_767;
/// Smallest record: V1, IPv4 hosts, nothing in it.
pub const RECORD_BYTES_MIN: usize = 91;

/// Positions inside a record that do not depend on anything else in it.
pub(super) mod position {
    pub const MAGIC: usize = 4;
    pub const BODY_CRC: usize = 8;
    pub const QUEUE_ID: usize = 12;
    pub const FLAG: usize = 16;
    pub const QUEUE_OFFSET: usize = 20;
    pub const PHYSICAL_OFFSET: usize = 28;
    pub const SYS_FLAG: usize = 36;
    pub const BORN_TIMESTAMP: usize = 40;
    pub const BORN_HOST: usize = 48;
}

/// Bytes of a host field: address and 4 bytes of port.
pub(super) const HOST_V4_BYTES: usize = 8;
/// See [`HOST_V4_BYTES`].
pub(super) const HOST_V6_BYTES: usize = 20;

/// The body CRC of a record: CRC-32 (IEEE) without its highest bit.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// Bits of a record's `sysFlag`.
pub mod sys_flag {
    /// The body is compressed.
    pub const COMPRESSED: i32 = 0x1;
    /// Multi-tags (historic).
    pub const MULTI_TAGS: i32 = 0x2;
    /// Transaction type: half message.
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    /// Transaction type: committed message.
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    /// Transaction type: rolled back message.
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    /// Mask of the transaction type; 0 is an ordinary message.
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

/// Writes a blank of `bytes` at the start of `out`: its size and magic. What follows in the segment is not
/// touched.
///
/// # Panics
/// `bytes` is below [`BLANK_BYTES_MIN`], or `out` shorter than that.
pub fn write_blank(out: &mut [u8], bytes: u32) {
    assert!(bytes as usize >= BLANK_BYTES_MIN, "blank of {bytes} bytes");
    out[..4].copy_from_slice(&bytes.to_be_bytes());
    out[4..8].copy_from_slice(&BLANK_MAGIC.to_be_bytes());
}

/// The tag hash of a queue index entry: Java's `String.hashCode` of the tag, sign-extended; 0 for no tag.
pub fn tags_code(tag: &str) -> i64 {
    i64::from(java_hash(tag))
}

/// Java's `String.hashCode`: `h = 31 h + c` over UTF-16 code units, wrapping at 32 bits.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_code_equals_java() {
        for (tag, expected) in
            [("TagA", 2_598_919), ("TagB", 2_598_920), ("a", 97), ("", 0), ("订单", 1_129_459)]
        {
            assert_eq!(tags_code(tag), expected, "{tag}");
        }
        assert_eq!(tags_code("polygenelubricants"), i64::from(i32::MIN), "sign-extended");
    }

    #[test]
    fn a_blank_is_size_and_magic() {
        let mut out = [0xEE; 10];
        write_blank(&mut out, 4096);
        assert_eq!(out, [0, 0, 0x10, 0, 0xCB, 0xD4, 0x31, 0x94, 0xEE, 0xEE]);
    }
}
