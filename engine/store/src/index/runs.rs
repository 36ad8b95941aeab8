//! The durable runs of the index and the files they are in.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ringmq_reactor::{FileId, PAGE_BYTES};

use super::format::RunHeader;
use crate::offset::LogOffset;
use crate::segments::file_name;

/// Folder of the index files inside the store's.
pub(crate) const INDEX_DIR: &str = "index";

/// A durable run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub header: RunHeader,
    pub file: FileId,
    /// Where it starts in the file, pages.
    pub start_page: u32,
}

impl Run {
    /// Place of one of its pages in the file, bytes.
    pub fn place(&self, page: u32) -> u64 {
        u64::from(self.start_page + page) * PAGE_BYTES as u64
    }
}

/// The index file of one log segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexFile {
    /// Start of the segment.
    pub segment: LogOffset,
    pub file: FileId,
    /// Where the next run goes, pages.
    pub pages: u32,
}

/// Runs in order, without gaps.
#[derive(Debug)]
pub(crate) struct Runs {
    dir: PathBuf,
    list: VecDeque<Run>,
    files: VecDeque<IndexFile>,
    /// Where the next run starts.
    end: LogOffset,
}

impl Runs {
    /// No runs; the first one will start at `start`.
    pub fn new(dir: PathBuf, start: LogOffset) -> Self {
        Self { dir, list: VecDeque::new(), files: VecDeque::new(), end: start }
    }

    /// The folder of the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Name of the index file of a segment.
    pub fn path(&self, segment: LogOffset) -> PathBuf {
        self.dir.join(file_name(segment))
    }

    /// Where the durable runs end: below, the index can be read from them.
    pub fn end(&self) -> LogOffset {
        self.end
    }

    pub fn count(&self) -> usize {
        self.list.len()
    }

    pub fn get(&self, place: usize) -> Option<&Run> {
        self.list.get(place)
    }

    pub fn first(&self) -> Option<&Run> {
        self.list.front()
    }

    pub fn last(&self) -> Option<&Run> {
        self.list.back()
    }

    /// Notes that a run is damaged; gives it, the first time.
    pub fn mark_damaged(&mut self, from: LogOffset) -> Option<Run> {
        let place = self.list.binary_search_by_key(&from, |run| run.header.from).ok()?;
        let run = &mut self.list[place];
        let marked = std::mem::replace(&mut run.header.damaged, true);
        (!marked).then_some(*run)
    }

    /// The file of a segment, if it is open.
    pub fn file_of(&self, segment: LogOffset) -> Option<IndexFile> {
        self.files.iter().rev().find(|file| file.segment == segment).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.list.iter()
    }

    pub fn files(&self) -> impl Iterator<Item = &IndexFile> {
        self.files.iter()
    }

    /// Place of the first run whose newest record's store time is `late`, which is monotone.
    pub fn first_late(&self, late: impl Fn(i64) -> bool) -> Option<usize> {
        let place = self.list.partition_point(|run| !late(run.header.newest_time));
        (place < self.list.len()).then_some(place)
    }

    /// How many runs start below `end`.
    pub fn count_below(&self, end: LogOffset) -> usize {
        self.list.partition_point(|run| run.header.from < end)
    }

    /// A file that was opened; its runs follow.
    pub fn add_file(&mut self, file: IndexFile) {
        assert!(self.files.back().is_none_or(|last| last.segment < file.segment), "{file:?}");
        self.files.push_back(file);
    }

    /// A run that became durable, at the end of its segment's file.
    pub fn push(&mut self, segment: LogOffset, header: RunHeader) {
        assert_eq!(header.from, self.end, "runs follow each other");
        let file =
            self.files.iter_mut().rev().find(|file| file.segment == segment).expect("its file is open");
        self.list.push_back(Run { header, file: file.file, start_page: file.pages });
        file.pages += header.pages();
        self.end = header.to;
    }

    /// Takes back the newest run, which turned out to be damaged: the next one will take its place.
    pub fn pop(&mut self) -> Option<Run> {
        let run = self.list.pop_back()?;
        self.end = run.header.from;
        for file in &mut self.files {
            if file.file == run.file {
                file.pages = run.start_page;
            }
        }
        Some(run)
    }

    /// Gives up the runs below `log_min`, the start of a segment, and the files of their segments, which are to be closed and removed.
    pub fn forget_below(&mut self, log_min: LogOffset) -> Vec<IndexFile> {
        while self.list.pop_front_if(|run| run.header.to <= log_min).is_some() {}
        self.end = self.end.max(log_min);
        let mut gone = Vec::new();
        while let Some(file) = self.files.pop_front_if(|file| file.segment < log_min) {
            gone.push(file);
        }
        gone
    }
}
