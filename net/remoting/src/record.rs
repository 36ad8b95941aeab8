//! Message records: the bytes of the commit log, which are also what pull responses carry.

pub mod batch;
pub mod message_id;
pub mod properties;
pub mod unique_key;

mod draft;
mod layout;
mod view;

pub use draft::RecordDraft;
pub use layout::{
    BLANK_BYTES_MIN, BLANK_MAGIC, MAGIC_V1, MAGIC_V2, PROPERTIES_BYTES_MAX, TOPIC_BYTES_MAX, sys_flag,
    tags_code, write_blank,
};
pub use view::{RecordError, RecordView};
