//! A run on disk, as far as it is known in memory: its header, its fences, and its filter while there is room for it.

use std::cell::RefCell;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use ringmq_reactor::{FileId, FileOp, OpenOptions, PAGE_BYTES, TaskIo};

use super::filter::Filter;
use super::format::{self, Header};
use super::table::{Candidate, Span};
use crate::offset::LogOffset;

/// Pages per read where many follow each other.
const READ_PAGES: u32 = 32;

/// Why a key file cannot be used. Remedy: none needed, it is built again from the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("page {page} is damaged")]
    Damaged { page: u32 },
    #[error("the header does not fit the file's name or its length")]
    Mismatch,
}

/// An open file that is closed when it is no longer used.
pub(crate) struct OwnedFile {
    io: TaskIo,
    pub id: FileId,
}

impl OwnedFile {
    pub async fn open(io: &TaskIo, path: &Path, options: OpenOptions) -> io::Result<(Self, u64)> {
        let (id, bytes) = io.open(path, options).await?;
        Ok((Self { io: io.clone(), id }, bytes))
    }
}

impl Drop for OwnedFile {
    fn drop(&mut self) {
        // The operation starts here; nobody waits for it, and its failure would change nothing.
        drop(self.io.file(FileOp::Close(self.id)));
    }
}

/// See the module's text. Shared by the index and by the lookups that still read it after it was replaced.
pub(crate) struct Run {
    /// Names it in caches; never reused within a store's life.
    pub id: u64,
    pub header: Header,
    pub file: OwnedFile,
    pub path: PathBuf,
    fences: Vec<u32>,
    filter: RefCell<Option<Filter>>,
}

impl Run {
    pub fn new(
        id: u64,
        header: Header,
        file: OwnedFile,
        path: PathBuf,
        fences: Vec<u32>,
        filter: Option<Filter>,
    ) -> Self {
        assert_eq!(fences.len(), header.entry_pages() as usize, "a fence for each page");
        Self { id, header, file, path, fences, filter: RefCell::new(filter) }
    }

    /// Opens the file whose name says that it indexes `from..to`.
    pub async fn open(
        io: &TaskIo,
        id: u64,
        path: PathBuf,
        shard: u16,
        (from, to): (LogOffset, LogOffset),
    ) -> Result<Self, RunError> {
        let options = OpenOptions { direct: true, read_only: true, ..OpenOptions::default() };
        let (file, bytes) = OwnedFile::open(io, &path, options).await?;
        let page = io.read_at(file.id, 0, PAGE_BYTES).await?;
        let header = Header::decode(&page, from).ok_or(RunError::Damaged { page: 0 })?;
        if header.span.to != to || header.shard != shard || header.file_bytes() != bytes {
            return Err(RunError::Mismatch);
        }
        let mut fences = Vec::with_capacity(header.entry_pages() as usize);
        let pages = header.first_fence_page()..header.first_filter_page();
        read_pages(io, &file, pages, |number, page| format::read_fences(page, from, number, &mut fences))
            .await?;
        if fences.len() != header.entry_pages() as usize {
            return Err(RunError::Mismatch);
        }
        Ok(Self::new(id, header, file, path, fences, None))
    }

    pub fn span(&self) -> Span {
        self.header.span
    }

    /// `false`: no record of this run has the hash.
    pub fn may_contain(&self, hash: u64) -> bool {
        self.header.entries > 0 && self.filter.borrow().as_ref().is_none_or(|filter| filter.may_contain(hash))
    }

    /// The entry pages on which the hash can be, if there are any.
    pub fn pages_of(&self, hash: u64) -> Option<RangeInclusive<u32>> {
        let fence = (hash >> 32) as u32;
        let end = self.fences.partition_point(|first| *first <= fence);
        let start = self.fences.partition_point(|first| *first < fence).saturating_sub(1);
        let page = |place: usize| 1 + u32::try_from(place).expect("pages are counted in 32 bits");
        (end > 0).then(|| page(start)..=page(end - 1))
    }

    /// Adds the records of a page that have the hash, newest first. Gives whether an earlier page can hold more.
    pub fn search(
        &self,
        number: u32,
        page: &[u8],
        hash: u64,
        into: &mut Vec<Candidate>,
    ) -> Result<bool, RunError> {
        let span = self.span();
        let entries = format::entries(page, span.from, number).ok_or(RunError::Damaged { page: number })?;
        let mut all_at_or_above = true;
        for entry in entries.rev() {
            if entry.hash == hash {
                into.push(span.candidate(&entry));
            } else if entry.hash < hash {
                all_at_or_above = false;
                break;
            }
        }
        Ok(all_at_or_above)
    }

    pub fn filter_bytes(&self) -> usize {
        self.filter.borrow().as_ref().map_or(0, Filter::bytes)
    }

    /// Whether it has a filter on disk that is not in memory; its size in bytes.
    pub fn missing_filter(&self) -> Option<usize> {
        let blocks = self.header.filter_blocks as usize;
        (blocks > 0 && self.filter.borrow().is_none()).then_some(blocks * super::filter::BLOCK_BYTES)
    }

    pub fn drop_filter(&self) {
        *self.filter.borrow_mut() = None;
    }

    /// Size of the file, as its header says.
    pub fn file_bytes(&self) -> u64 {
        self.header.file_bytes()
    }

    /// Reads the filter from the file.
    pub async fn load_filter(&self, io: &TaskIo) -> Result<(), RunError> {
        let header = self.header;
        let blocks = header.filter_blocks as usize;
        let mut bytes = Vec::with_capacity(blocks * super::filter::BLOCK_BYTES);
        let pages = header.first_filter_page()..header.first_filter_page() + header.filter_pages();
        read_pages(io, &self.file, pages, |number, page| {
            format::read_blocks(page, header.span.from, number, &mut bytes)
        })
        .await?;
        if bytes.len() != blocks * super::filter::BLOCK_BYTES {
            return Err(RunError::Mismatch);
        }
        *self.filter.borrow_mut() = Some(Filter::read(&bytes));
        Ok(())
    }
}

/// Reads pages in order, some at a time, and shows each to `see`, which gives `None` for a damaged one.
async fn read_pages(
    io: &TaskIo,
    file: &OwnedFile,
    pages: std::ops::Range<u32>,
    mut see: impl FnMut(u32, &[u8]) -> Option<()>,
) -> Result<(), RunError> {
    let mut next = pages.start;
    while next < pages.end {
        let count = (pages.end - next).min(READ_PAGES);
        let offset = u64::from(next) * PAGE_BYTES as u64;
        let bytes = io.read_at(file.id, offset, count as usize * PAGE_BYTES).await?;
        for number in next..next + count {
            let start = (number - next) as usize * PAGE_BYTES;
            let page = bytes.get(start..start + PAGE_BYTES).ok_or(RunError::Damaged { page: number })?;
            see(number, page).ok_or(RunError::Damaged { page: number })?;
        }
        next += count;
    }
    Ok(())
}

/// The entries of a run in order, read some pages at a time.
pub(crate) struct RunReader<'a> {
    io: &'a TaskIo,
    run: &'a Run,
    /// Next entry page to read.
    page: u32,
    entries: std::vec::IntoIter<super::table::Entry>,
}

impl<'a> RunReader<'a> {
    pub fn new(io: &'a TaskIo, run: &'a Run) -> Self {
        Self { io, run, page: 1, entries: Vec::new().into_iter() }
    }

    pub async fn next(&mut self) -> Result<Option<super::table::Entry>, RunError> {
        if let Some(entry) = self.entries.next() {
            return Ok(Some(entry));
        }
        let end = self.run.header.first_fence_page();
        if self.page >= end {
            return Ok(None);
        }
        let pages = self.page..end.min(self.page + READ_PAGES / 2);
        self.page = pages.end;
        let mut entries = Vec::with_capacity(pages.len() * format::ENTRIES_PER_PAGE);
        read_pages(self.io, &self.run.file, pages, |number, page| {
            entries.extend(format::entries(page, self.run.span().from, number)?);
            Some(())
        })
        .await?;
        self.entries = entries.into_iter();
        Ok(self.entries.next())
    }
}
