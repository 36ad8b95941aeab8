//! The files of the log.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ringmq_reactor::{FileId, OpenOptions};

use crate::offset::LogOffset;

/// How segments and index files are opened: direct, made if missing. One left by a crash in the middle of being made is taken over.
pub(crate) const PAGED_FILE: OpenOptions = OpenOptions {
    create: true,
    exclusive: false,
    direct: true,
    read_only: false,
    lock: false,
    truncate: false,
};

/// Digits of a segment's name: its start offset, as RocketMQ names CommitLog files.
const NAME_DIGITS: usize = 20;

/// Folder of the segments inside the store's.
pub(crate) const LOG_DIR: &str = "log";

/// The file name of the segment that starts at `start`.
pub(crate) fn file_name(start: LogOffset) -> String {
    format!("{:0NAME_DIGITS$}", start.0)
}

/// The start offset that a file name gives; `None` for any other name.
pub(crate) fn parse_name(name: &str) -> Option<LogOffset> {
    let valid = name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| name.parse().ok().map(LogOffset)).flatten()
}

/// One open file of the log, allocated in full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub start: LogOffset,
    pub end: LogOffset,
    /// Open for direct I/O.
    pub file: FileId,
    /// All of it has been written before, in an earlier life.
    pub recycled: bool,
}

/// The log's files in order, without gaps; the last one may be ahead of the log's end.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    list: VecDeque<Segment>,
}

impl Segments {
    /// # Panics
    /// If there are none, or gaps.
    pub fn new(dir: PathBuf, list: Vec<Segment>) -> Self {
        assert!(!list.is_empty(), "a log has a segment");
        assert!(
            list.windows(2).all(|pair| pair[0].end == pair[1].start),
            "segments follow each other: {list:?}"
        );
        Self { dir, list: list.into() }
    }

    /// The folder that holds them.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn path(&self, start: LogOffset) -> PathBuf {
        self.dir.join(file_name(start))
    }

    /// The segment that holds `at`.
    pub fn find(&self, at: LogOffset) -> Option<&Segment> {
        let after = self.list.partition_point(|s| s.start <= at);
        self.list.get(after.checked_sub(1)?).filter(|s| at < s.end)
    }

    pub fn start(&self) -> LogOffset {
        self.first().start
    }

    /// The oldest one.
    pub fn first(&self) -> &Segment {
        &self.list[0]
    }

    /// Where the next segment begins.
    pub fn end(&self) -> LogOffset {
        self.list[self.list.len() - 1].end
    }

    pub fn push(&mut self, segment: Segment) {
        assert_eq!(self.end(), segment.start, "segments follow each other");
        self.list.push_back(segment);
    }

    /// The oldest one is no longer part of the log.
    ///
    /// # Panics
    /// If it is the only one.
    pub fn remove_first(&mut self) {
        assert!(self.list.len() > 1, "a log has a segment");
        self.list.pop_front();
    }

    pub fn count(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_twenty_digits_and_nothing_else() {
        assert_eq!(file_name(LogOffset(1 << 30)), "00000000001073741824");
        assert_eq!(parse_name("00000000001073741824"), Some(LogOffset(1 << 30)));
        for bad in ["1073741824", "0000000000107374182x", "000000000010737418240", "", "+0000000000000000001"]
        {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
        assert_eq!(parse_name("99999999999999999999"), None, "exceeds 64 bits");
    }

    #[test]
    fn segments_are_found_by_offset() {
        let segment = |start, end, file| Segment {
            start: LogOffset(start),
            end: LogOffset(end),
            file: FileId(file),
            recycled: false,
        };
        let mut segments = Segments::new(PathBuf::from("d"), vec![segment(100, 200, 1)]);
        segments.push(segment(200, 250, 2));
        let file = |at| segments.find(LogOffset(at)).map(|s| s.file.0);
        assert_eq!(
            [file(99), file(100), file(199), file(200), file(250)],
            [None, Some(1), Some(1), Some(2), None]
        );
    }
}
