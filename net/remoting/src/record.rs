//! Message records: the bytes of the commit log, which are also what pull responses carry.
//!
//! | bytes | field | bytes | field |
//! |---|---|---|---|
//! | 4 | total size | 8 or 20 | born host |
//! | 4 | magic | 8 | store timestamp |
//! | 4 | body CRC | 8 or 20 | store host |
//! | 4 | queue id | 4 | reconsume times |
//! | 4 | flag | 8 | prepared transaction offset |
//! | 8 | queue offset | 4 + n | body |
//! | 8 | physical offset | 1 or 2 + n | topic |
//! | 4 | sys flag | 2 + n | properties |
//! | 8 | born timestamp | | |

pub mod batch;
pub mod message_id;
pub mod properties;
pub mod unique_key;

mod draft;
mod hex;
mod host;
mod layout;
mod view;

pub use draft::RecordDraft;
pub use layout::{
    BLANK_BYTES_MIN, BLANK_MAGIC, MAGIC_V1, MAGIC_V2, PROPERTIES_BYTES_MAX, RECORD_BYTES_MIN,
    TOPIC_BYTES_MAX, V1_TOPIC_BYTES_MAX, body_crc, java_hash, sys_flag, tags_code, write_blank,
};
pub use view::{RecordError, RecordView, records};

#[cfg(test)]
mod tests;
