//! Offset message ids: upper-case hex of store host address, port (4 bytes) and physical offset (8 bytes).

use std::fmt;
use std::net::SocketAddr;

use super::hex;
use super::host::{read_host, write_host};
use super::layout::{HOST_V4_BYTES, HOST_V6_BYTES};

const OFFSET_BYTES: usize = 8;
const TEXT_V4: usize = 2 * (HOST_V4_BYTES + OFFSET_BYTES);
const TEXT_V6: usize = 2 * (HOST_V6_BYTES + OFFSET_BYTES);

/// A message id as text, without allocation; dereferences to `str`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MessageId {
    text: [u8; TEXT_V6],
    length: u8,
}

/// The id of the record at `physical_offset` of the broker at `store_host`: 32 characters, 56 for IPv6.
pub fn encode(store_host: SocketAddr, physical_offset: i64) -> MessageId {
    let mut bytes = [0; HOST_V6_BYTES + OFFSET_BYTES];
    let host_bytes = write_host(&mut bytes, store_host);
    let total = host_bytes + OFFSET_BYTES;
    bytes[host_bytes..total].copy_from_slice(&physical_offset.to_be_bytes());
    let mut id = MessageId { text: [b'0'; TEXT_V6], length: 2 * total as u8 };
    hex::write(&mut id.text[..2 * total], &bytes[..total]);
    id
}

/// Address and physical offset of an id; `None` when it is not one. The client's own unique keys have the
/// same form: what comes out may be no address of a broker at all.
pub fn decode(id: &str) -> Option<(SocketAddr, i64)> {
    if id.len() != TEXT_V4 && id.len() != TEXT_V6 {
        return None;
    }
    let mut bytes = [0; HOST_V6_BYTES + OFFSET_BYTES];
    let bytes = &mut bytes[..id.len() / 2];
    hex::read(bytes, id.as_bytes())?;
    let (host, offset) = bytes.split_at(bytes.len() - OFFSET_BYTES);
    Some((read_host(host), i64::from_be_bytes(offset.try_into().ok()?)))
}

impl MessageId {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Hexadecimal digits only: always UTF-8.
        std::str::from_utf8(&self.text[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl std::ops::Deref for MessageId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MessageId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        let v4: SocketAddr = "10.0.0.1:10911".parse().expect("address");
        assert_eq!(encode(v4, 0x0100_0000_0000_002A).as_str(), "0A00000100002A9F010000000000002A");
        let v6: SocketAddr = "[2001:db8::7]:10911".parse().expect("address");
        assert_eq!(encode(v6, 1).len(), 56);
        for host in [v4, v6] {
            for offset in [0, 1, i64::MAX] {
                assert_eq!(decode(&encode(host, offset)), Some((host, offset)));
            }
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in
            ["", "0A00", "0A00000100002A9F010000000000002G", "订单订单订单订单订单订单订单订单订单订单ab"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
        assert!(decode("0a00000100002a9f010000000000002a").is_some(), "lower case is readable");
    }
}
