//! What may precede the first frame of a connection: a PROXY protocol header (HAProxy, versions 1 and 2), or a TLS
//! `ClientHello` that we cannot answer.
//!
//! The first byte decides in almost every case: a frame starts with 0x00 (0x01 only at exactly 16 MiB), TLS with 0x16,
//! `PROXY ` with `P`, the binary signature with a carriage return.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest version 1 header, with its line end.
const V1_BYTES_MAX: usize = 107;
/// Signature, version and command, family, length of what follows.
const V2_FIXED_BYTES: usize = 16;
/// First byte of a TLS `ClientHello`.
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;

/// What the first bytes of a connection turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Preamble {
    /// Could still become a PROXY header: keep the bytes and ask again with more.
    Incomplete,
    /// Not for us: frames start at the first byte.
    None,
    /// A PROXY header of `bytes` bytes; frames start after it.
    Proxy {
        /// Length of the header.
        bytes: usize,
        /// The client's address and the one it connected to, unless the proxy speaks for itself (`LOCAL`, `UNKNOWN`).
        addresses: Option<(SocketAddr, SocketAddr)>,
    },
    /// A TLS `ClientHello`.
    Tls,
}

/// Why a PROXY header cannot be used; the connection is closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PreambleError {
    /// A version 1 header that does not end within 107 bytes.
    #[error("PROXY header (version 1) does not end within {V1_BYTES_MAX} bytes")]
    Endless,
    /// A version 1 header that is not `PROXY TCP4|TCP6 source target sourcePort targetPort`.
    #[error("PROXY header (version 1): {0} is missing or malformed")]
    Text(&'static str),
    /// A version 2 header of an unknown version or command.
    #[error("PROXY header (version 2): version and command byte {0:#04x} is unknown")]
    Command(u8),
    /// A version 2 header that is shorter than the addresses it announces.
    #[error("PROXY header (version 2): {0} bytes are too few for its address family")]
    Short(usize),
}

/// Looks at everything received so far on a new connection.
///
/// # Errors
/// When the bytes begin a PROXY header and it is malformed.
pub fn inspect(bytes: &[u8]) -> Result<Preamble, PreambleError> {
    match bytes.first() {
        None => Ok(Preamble::Incomplete),
        Some(&TLS_HANDSHAKE) => Ok(Preamble::Tls),
        Some(_) if bytes.starts_with(V1_SIGNATURE) => version_1(bytes),
        Some(_) if bytes.starts_with(V2_SIGNATURE) => version_2(bytes),
        Some(_) if V1_SIGNATURE.starts_with(bytes) || V2_SIGNATURE.starts_with(bytes) => {
            Ok(Preamble::Incomplete)
        }
        Some(_) => Ok(Preamble::None),
    }
}

fn version_1(bytes: &[u8]) -> Result<Preamble, PreambleError> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX {
            Ok(Preamble::Incomplete)
        } else {
            Err(PreambleError::Endless)
        };
    };
    let line = std::str::from_utf8(&bytes[V1_SIGNATURE.len()..end])
        .map_err(|_| PreambleError::Text("ASCII text"))?;
    let mut words = line.split(' ');
    let addresses = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4" | "TCP6") => {
            let mut ip = |what| {
                words.next().and_then(|word| word.parse::<IpAddr>().ok()).ok_or(PreambleError::Text(what))
            };
            let (source, target) = (ip("source address")?, ip("target address")?);
            let mut port = |what| {
                words.next().and_then(|word| word.parse::<u16>().ok()).ok_or(PreambleError::Text(what))
            };
            let (source_port, target_port) = (port("source port")?, port("target port")?);
            Some((SocketAddr::new(source, source_port), SocketAddr::new(target, target_port)))
        }
        _ => return Err(PreambleError::Text("protocol")),
    };
    Ok(Preamble::Proxy { bytes: end + 2, addresses })
}

fn version_2(bytes: &[u8]) -> Result<Preamble, PreambleError> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    const TCP4: u8 = 0x11;
    const TCP6: u8 = 0x21;
    let Some(fixed) = bytes.first_chunk::<V2_FIXED_BYTES>() else { return Ok(Preamble::Incomplete) };
    let (command, family) = (fixed[12], fixed[13]);
    if command != LOCAL && command != PROXY {
        return Err(PreambleError::Command(command));
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let total = V2_FIXED_BYTES + length;
    if bytes.len() < total {
        return Ok(Preamble::Incomplete);
    }
    // What follows the addresses are type-length-value entries that we have no use for.
    let rest = &bytes[V2_FIXED_BYTES..total];
    let addresses = match (command, family) {
        (PROXY, TCP4) => {
            let block = rest.first_chunk::<12>().ok_or(PreambleError::Short(length))?;
            let ip = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
            Some(((ip(0), port(block, 8)).into(), (ip(4), port(block, 10)).into()))
        }
        (PROXY, TCP6) => {
            let block = rest.first_chunk::<36>().ok_or(PreambleError::Short(length))?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&block[at..at + 16]);
                Ipv6Addr::from(octets)
            };
            Some(((ip(0), port(block, 32)).into(), (ip(16), port(block, 34)).into()))
        }
        // LOCAL: the proxy's own health check; other families carry no address that we could use.
        _ => None,
    };
    Ok(Preamble::Proxy { bytes: total, addresses })
}

fn port(block: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([block[at], block[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(bytes: usize, source: &str, target: &str) -> Preamble {
        let addresses = Some((source.parse().expect("address"), target.parse().expect("address")));
        Preamble::Proxy { bytes, addresses }
    }

    /// Every proper prefix must ask for more, the whole must give `expected` whatever follows.
    fn check(header: &[u8], expected: &Preamble) {
        for end in 0..header.len() {
            assert_eq!(inspect(&header[..end]), Ok(Preamble::Incomplete), "first {end} bytes");
        }
        let mut with_frame = header.to_vec();
        with_frame.extend_from_slice(&[0, 0, 0, 9]);
        assert_eq!(inspect(&with_frame).as_ref(), Ok(expected));
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut header = V2_SIGNATURE.to_vec();
        header.extend_from_slice(&[command, family]);
        header.extend_from_slice(&u16::try_from(block.len()).expect("short").to_be_bytes());
        header.extend_from_slice(block);
        header
    }

    #[test]
    fn frames_and_tls_are_told_by_the_first_byte() {
        assert_eq!(inspect(&[0]), Ok(Preamble::None));
        assert_eq!(inspect(&[1, 0, 0, 0]), Ok(Preamble::None));
        assert_eq!(inspect(&[0x16, 3, 1]), Ok(Preamble::Tls));
        assert_eq!(inspect(b"GET / HTTP/1.1\r\n"), Ok(Preamble::None));
        assert_eq!(inspect(b"PRO-forma"), Ok(Preamble::None));
    }

    #[test]
    fn version_1_headers() {
        let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 10911\r\n";
        check(header, &proxied(header.len(), "192.0.2.7:40000", "192.0.2.1:10911"));
        let header = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 10911\r\n";
        check(header, &proxied(header.len(), "[2001:db8::7]:40000", "[2001:db8::1]:10911"));
        check(b"PROXY UNKNOWN\r\n", &Preamble::Proxy { bytes: 15, addresses: None });
    }

    #[test]
    fn malformed_version_1_headers() {
        assert_eq!(inspect(b"PROXY UDP4 1 2 3 4\r\n"), Err(PreambleError::Text("protocol")));
        assert_eq!(inspect(b"PROXY TCP4 1.2.3.4 nobody 1 2\r\n"), Err(PreambleError::Text("target address")));
        assert_eq!(
            inspect(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n"),
            Err(PreambleError::Text("target port"))
        );
        assert_eq!(inspect(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()), Err(PreambleError::Endless));
    }

    #[test]
    fn version_2_headers() {
        let block = [192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 0x2a, 0x9f];
        check(&v2(0x21, 0x11, &block), &proxied(28, "192.0.2.7:40000", "192.0.2.1:10911"));
        let with_entries = [block.as_slice(), &[3, 0, 1, 9]].concat();
        check(&v2(0x21, 0x11, &with_entries), &proxied(32, "192.0.2.7:40000", "192.0.2.1:10911"));
        let mut block = [0; 36];
        (block[15], block[31], block[33], block[35]) = (7, 1, 80, 81);
        check(&v2(0x21, 0x21, &block), &proxied(52, "[::7]:80", "[::1]:81"));
        check(&v2(0x20, 0x00, &[]), &Preamble::Proxy { bytes: 16, addresses: None });
    }

    #[test]
    fn malformed_version_2_headers() {
        assert_eq!(inspect(&v2(0x31, 0x11, &[0; 12])), Err(PreambleError::Command(0x31)));
        assert_eq!(inspect(&v2(0x21, 0x11, &[0; 11])), Err(PreambleError::Short(11)));
    }
}
