//! Offset message ids: upper-case hex of store host address, port (4 bytes) and physical offset (8 bytes).

use std::net::SocketAddr;

/// A message id as text, without allocation; dereferences to `str`.
#[derive(Clone, Copy)]
pub struct MessageId {
    text: [u8; 56],
    length: u8,
}

/// The id of the record at `physical_offset` of the broker at `store_host`: 32 characters, 56 for IPv6.
pub fn encode(store_host: SocketAddr, physical_offset: i64) -> MessageId {
    let _ = (store_host, physical_offset);
    todo!()
}

/// Address and physical offset of an id; `None` when it is not one.
pub fn decode(id: &str) -> Option<(SocketAddr, i64)> {
    let _ = id;
    todo!()
}

impl MessageId {
    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::ops::Deref for MessageId {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}
