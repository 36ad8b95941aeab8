//! Reads `tests/golden/data`, or the folder that `GOLDEN_DATA` names: recorded frames and their index.

use std::fmt;
use std::path::{Path, PathBuf};

use ringmq_remoting::SerializeType;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From client or broker to the server it opened the connection to.
    ToServer,
    /// Back.
    ToPeer,
}

/// One recorded frame and what the index says about it.
pub struct Frame {
    pub session: String,
    pub line: usize,
    pub direction: Direction,
    /// Request code; of a response, that of its request.
    pub request: i32,
    pub response: Option<i32>,
    pub serialize: SerializeType,
    pub bytes: Vec<u8>,
}

pub struct Session {
    pub name: String,
    pub stream: Vec<u8>,
    pub frames: Vec<Frame>,
}

impl Frame {
    pub fn contains(&self, text: &[u8]) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text)
    }

    /// Major and minor version of the peer of the session `client-4.9.8…`.
    pub fn client_version(&self) -> (u32, u32) {
        let version = self.session.split('-').nth(1).unwrap_or_default();
        let mut numbers =
            version.split('.').map(|number| number.parse().expect("a version in the session's name"));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} line {}: request {} response {:?}",
            self.session, self.line, self.request, self.response
        )
    }
}

#[allow(clippy::disallowed_methods, reason = "a test reads its data from the repository")]
pub fn sessions() -> Vec<Session> {
    let committed = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data");
    let folder = std::env::var_os("GOLDEN_DATA").map_or_else(committed, PathBuf::from);
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("golden data")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some(name.strip_suffix(".index")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 11, "sessions: {names:?}");
    names
        .into_iter()
        .map(|name| {
            let index = std::fs::read_to_string(folder.join(format!("{name}.index"))).expect("index");
            let stream = std::fs::read(folder.join(format!("{name}.frames"))).expect("frames");
            let mut rest = &stream[..];
            let frames = index
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.starts_with('#'))
                .map(|(line, text)| {
                    let words: Vec<_> = text.split(' ').collect();
                    let [direction, _kind, request, response, encoding, bytes] = words[..] else {
                        panic!("{name}: {text}")
                    };
                    let (frame, after) = rest.split_at(bytes.parse().expect("bytes"));
                    rest = after;
                    Frame {
                        session: name.clone(),
                        line: line + 1,
                        direction: if direction == "to-server" {
                            Direction::ToServer
                        } else {
                            Direction::ToPeer
                        },
                        request: request.parse().expect("request code"),
                        response: response.parse().ok(),
                        serialize: if encoding == "JSON" {
                            SerializeType::Json
                        } else {
                            SerializeType::RocketMq
                        },
                        bytes: frame.to_vec(),
                    }
                })
                .collect();
            assert!(rest.is_empty(), "{name}: frames without an index line");
            Session { name, stream, frames }
        })
        .collect()
}
