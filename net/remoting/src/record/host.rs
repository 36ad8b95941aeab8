//! Host fields: address of 4 or 16 bytes, then the port in 4 bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::layout::{HOST_V4_BYTES, HOST_V6_BYTES};

pub(super) fn host_bytes(host: SocketAddr) -> usize {
    if host.is_ipv4() { HOST_V4_BYTES } else { HOST_V6_BYTES }
}

/// Writes `host` at the start of `out`, returns its size.
pub(super) fn write_host(out: &mut [u8], host: SocketAddr) -> usize {
    let address_bytes = match host.ip() {
        IpAddr::V4(address) => {
            out[..4].copy_from_slice(&address.octets());
            4
        }
        IpAddr::V6(address) => {
            out[..16].copy_from_slice(&address.octets());
            16
        }
    };
    out[address_bytes..address_bytes + 4].copy_from_slice(&u32::from(host.port()).to_be_bytes());
    address_bytes + 4
}

/// Reads a field of 8 or 20 bytes. A port above 65 535, which no writer makes, is cut to its lower 16 bits.
pub(super) fn read_host(field: &[u8]) -> SocketAddr {
    let (address, port) = field.split_at(field.len() - 4);
    let port = u16::from_be_bytes([port[2], port[3]]);
    let address = match <[u8; 16]>::try_from(address) {
        Ok(octets) => IpAddr::V6(Ipv6Addr::from(octets)),
        Err(_) => IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])),
    };
    SocketAddr::new(address, port)
}
