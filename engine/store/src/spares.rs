//! Old segments that are used again.
//!
//! Space that was never written costs a metadata commit at each first flush (see `zero`). A segment that retention removes is
//! space that was written: instead of being unlinked it is renamed to `spare-…`, and renamed again when the next segment is due. That saves
//! writing as many zeros as messages.
//!
//! **What lies in a recycled segment must never pass for new.** No epoch is needed for that: in the life of a store a position of the
//! log is its own epoch. Each seal, and each blank, names its position, and recovery takes neither from any other place. Bytes that name a
//! position at or behind the log's end would be dangerous; in a spare there are none:
//! - A spare was the oldest segment, wholly below the durable mark, so it names positions below every later end of the log.
//! - Positions are used again only behind a torn tail that recovery cut. What it cuts it zeroes or unlinks; it makes no spares.
//! - The spares of an earlier life (a store made anew in the same folder, or one that has lost its checkpoint) are unlinked, durably,
//!   before anything else is done.
//!
//! Which shard a record belongs to it says itself, and recovery compares.
//!
//! The new name is durable before the first write under it: whatever a power cut brings back of the old name is the old segment,
//! unchanged.

use std::path::{Path, PathBuf};

use crate::offset::LogOffset;
use crate::segments::{file_name, parse_name};

const PREFIX: &str = "spare-";

/// The name of what was the segment that started at `start`.
pub(crate) fn spare_name(start: LogOffset) -> String {
    format!("{PREFIX}{}", file_name(start))
}

/// Whether a file of the log folder is a spare.
pub(crate) fn is_spare(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| parse_name(rest).is_some())
}

/// The spares there are, at most a number of them.
#[derive(Debug)]
pub(crate) struct Spares {
    max: usize,
    paths: Vec<PathBuf>,
}

impl Spares {
    pub fn new(max: usize, paths: Vec<PathBuf>) -> Self {
        Self { max, paths }
    }

    pub fn count(&self) -> usize {
        self.paths.len()
    }

    /// Where the segment that starts at `start` goes, if there is room for another spare.
    pub fn place_for(&self, dir: &Path, start: LogOffset) -> Option<PathBuf> {
        (self.paths.len() < self.max).then(|| dir.join(spare_name(start)))
    }

    pub fn add(&mut self, path: PathBuf) {
        self.paths.push(path);
    }

    pub fn take(&mut self) -> Option<PathBuf> {
        self.paths.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_bounded_and_told_from_segments() {
        assert!(is_spare(&spare_name(LogOffset(7))));
        for name in ["spare-", "spare-7", "00000000000000000007", "spare-00000000000000000007.old"] {
            assert!(!is_spare(name), "{name}");
        }
        assert_eq!(parse_name(&spare_name(LogOffset(7))), None);
        let mut spares = Spares::new(1, Vec::new());
        let place = spares.place_for(Path::new("/log"), LogOffset(7)).expect("room");
        spares.add(place.clone());
        assert_eq!(spares.place_for(Path::new("/log"), LogOffset(8)), None);
        assert_eq!((spares.take(), spares.count()), (Some(place), 0));
    }
}
