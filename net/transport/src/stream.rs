//! One connection's bytes on their way to frames: preamble first, then the frame assembler.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use ringmq_remoting::frame::{FRAME_BYTES_MAX, FrameAssembler, FrameError};

use crate::preamble::{Preamble, PreambleError, TLS_HANDSHAKE, inspect};

/// Why a connection's input cannot be trusted any more: it is closed and the text goes to the log.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No frame, or a frame that cannot be read.
    #[error("malformed frame: {0}")]
    Frame(#[from] FrameError),
    /// A PROXY header that cannot be read.
    #[error("malformed preamble: {0}")]
    Preamble(#[from] PreambleError),
    /// TLS is not served on this port.
    #[error(
        "the client wants TLS, which this server does not offer yet: \
         start the client with -Dtls.enable=false (tls.server.mode is `disabled` here)"
    )]
    Tls,
}

/// The receiving half of a connection's state.
#[derive(Debug)]
pub(crate) struct Stream {
    /// First bytes that do not yet tell what they are; `None` once that is known.
    preamble: Option<Vec<u8>>,
    frames: FrameAssembler,
    /// Received while frames had to wait.
    held: Vec<u8>,
}

/// What a stream hands out.
pub(crate) enum Input<'a> {
    /// The PROXY header's addresses: the client's, and the one it connected to. Comes before the first frame.
    Proxied(SocketAddr, SocketAddr),
    /// A whole frame.
    Frame(&'a [u8]),
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { preamble: Some(Vec::new()), frames: FrameAssembler::new(FRAME_BYTES_MAX), held: Vec::new() }
    }

    /// Keeps bytes for later: the driver may deliver what it had received before it was told to stop.
    pub(crate) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Hands out what is whole in the bytes held and received. After `Break` the rest stays for the next call.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut on_input: impl FnMut(Input<'_>) -> ControlFlow<()>,
    ) -> Result<(), StreamError> {
        if self.held.is_empty() {
            return self.feed_received(bytes, &mut on_input);
        }
        let held = std::mem::take(&mut self.held);
        let mut stopped = false;
        self.feed_received(&held, &mut |input| {
            let flow = on_input(input);
            stopped = flow.is_break();
            flow
        })?;
        if stopped {
            self.hold(bytes);
            return Ok(());
        }
        self.feed_received(bytes, &mut on_input)
    }

    fn feed_received(
        &mut self,
        bytes: &[u8],
        on_input: &mut impl FnMut(Input<'_>) -> ControlFlow<()>,
    ) -> Result<(), StreamError> {
        let Some(begun) = &mut self.preamble else {
            return Ok(self.frames.feed(bytes, |frame| on_input(Input::Frame(frame)))?);
        };
        // Nearly always the first bytes begin a frame and nothing needs to be kept.
        let joined;
        let all = if begun.is_empty() {
            bytes
        } else {
            begun.extend_from_slice(bytes);
            joined = std::mem::take(begun);
            &joined
        };
        let frames = match inspect(all)? {
            Preamble::Incomplete => {
                *begun = all.to_vec();
                return Ok(());
            }
            Preamble::Tls => return Err(StreamError::Tls),
            Preamble::None => all,
            Preamble::Proxy { bytes: header, addresses } => {
                if let Some((client, target)) = addresses {
                    let _ = on_input(Input::Proxied(client, target));
                }
                // TLS behind a PROXY header is as little served as without one.
                if all.get(header) == Some(&TLS_HANDSHAKE) {
                    return Err(StreamError::Tls);
                }
                &all[header..]
            }
        };
        self.preamble = None;
        Ok(self.frames.feed(frames, |frame| on_input(Input::Frame(frame)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames_of(
        stream: &mut Stream,
        chunks: &[&[u8]],
    ) -> Result<(Vec<Vec<u8>>, Option<SocketAddr>), StreamError> {
        let (mut frames, mut client) = (Vec::new(), None);
        for chunk in chunks {
            stream.feed(chunk, |input| {
                match input {
                    Input::Proxied(address, _) => {
                        assert!(frames.is_empty(), "the address comes before the first frame");
                        client = Some(address);
                    }
                    Input::Frame(frame) => frames.push(frame.to_vec()),
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok((frames, client))
    }

    const FRAME: [u8; 9] = [0, 0, 0, 5, 0, 0, 0, 1, b'x'];

    #[test]
    fn frames_without_preamble() {
        let (frames, client) =
            frames_of(&mut Stream::new(), &[&FRAME, &FRAME[..1], &FRAME[1..]]).expect("frames");
        assert_eq!(frames, [FRAME, FRAME]);
        assert_eq!(client, None);
    }

    #[test]
    fn a_proxy_header_in_any_cut_is_taken_off() {
        let whole = [b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 10911\r\n".as_slice(), &FRAME].concat();
        for cut in 1..whole.len() {
            let (frames, client) =
                frames_of(&mut Stream::new(), &[&whole[..cut], &whole[cut..]]).expect("frames");
            assert_eq!(frames, [FRAME], "cut at {cut}");
            assert_eq!(client, Some("192.0.2.7:40000".parse().expect("address")));
        }
    }

    #[test]
    fn a_proxy_header_is_only_expected_once() {
        let error = frames_of(&mut Stream::new(), &[&FRAME, b"PROXY UNKNOWN\r\n"]).expect_err("not a frame");
        assert!(matches!(error, StreamError::Frame(FrameError::TooLong { .. })), "{error}");
    }

    #[test]
    fn tls_is_named_in_the_error() {
        for bytes in [b"\x16\x03\x01".as_slice(), b"PROXY UNKNOWN\r\n\x16\x03\x01"] {
            let error = frames_of(&mut Stream::new(), &[bytes]).expect_err("TLS");
            assert!(error.to_string().contains("TLS"), "{error}");
        }
    }

    #[test]
    fn what_is_held_comes_first_and_stops_again() {
        let mut stream = Stream::new();
        let numbered = |n: u8| [0, 0, 0, 5, 0, 0, 0, 1, n];
        let mut seen = Vec::new();
        let mut take_one = |stream: &mut Stream, bytes: &[u8]| {
            stream
                .feed(bytes, |input| {
                    let Input::Frame(frame) = input else { panic!("no PROXY header was sent") };
                    seen.push(frame[8]);
                    ControlFlow::Break(())
                })
                .expect("frames");
            seen.clone()
        };
        assert_eq!(take_one(&mut stream, &[numbered(1), numbered(2)].concat()), [1]);
        stream.hold(&[numbered(3), numbered(4)].concat());
        for (bytes, expected) in [(&[][..], 2), (&numbered(5)[..], 3), (&[], 4), (&[], 5)] {
            assert_eq!(take_one(&mut stream, bytes).last(), Some(&expected));
        }
    }
}
