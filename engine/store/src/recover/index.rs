//! The queue index at the end of its newest run, and runs that recovery has to write itself.
//!
//! Index files are read front to back by their runs' headers alone; then the table of the newest run gives every queue, and that of the
//! oldest one their min offsets, if the log has lost its beginning. Runs that are missing, torn or damaged before that one are made
//! again ([`super::repair`]) from their stretch of the log; where that cannot be done, and behind the newest run, the log is scanned.
//! Damage here cannot fail an opening: the log has everything.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::{AlignedBuffer, FileId, PAGE_BYTES, WriteData};

use super::scan::Scan;
use super::{Files, FoundSegment, Recovery, failed};
use crate::error::OpenError;
use crate::index::Index;
use crate::index::build::{RunBuilder, Step};
use crate::index::format::{self, Row, RunHeader};
use crate::index::runs::{INDEX_DIR, IndexFile, Run, Runs};
use crate::limits::{RECOVERY_READ_BYTES, WRITE_BYTES_MAX};
use crate::offset::LogOffset;
use crate::segments::{PAGED_FILE, file_name, parse_name};

/// The index as its runs know it.
pub(crate) struct Loaded {
    /// At the end of the newest run.
    pub index: Index,
    pub runs: Runs,
    /// Something that had been written could not be used.
    pub damaged: bool,
}

/// What an index file holds, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Run(RunHeader),
    /// Runs that are missing or damaged.
    Hole(Hole),
}

/// A stretch of the log without a usable run, although later ones are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hole {
    /// The log segment.
    pub segment: FoundSegment,
    pub from: LogOffset,
    pub to: LogOffset,
    /// The index file, and where in it the missing runs were.
    pub file: FileId,
    pub start_page: u32,
    /// Pages up to the next run in the file; `None`: there is none.
    pub room: Option<u32>,
}

/// The index file of a segment, as it was found.
pub(crate) struct FoundIndex {
    pub path: PathBuf,
    /// Open; `None`: there is none.
    pub file: Option<FileId>,
    /// What it holds and lacks, in the order of the log; nothing if there is no file.
    pub pieces: Vec<Piece>,
}

/// A page of a run that is not what was written.
#[derive(Debug)]
pub(crate) struct BadPage {
    /// Its number in the run.
    pub number: u32,
    /// `None`: it was read, and its checksum is wrong.
    pub source: Option<io::Error>,
}

impl Recovery<'_> {
    /// See the module's text. Opens the index file of every segment, making those that are missing.
    pub(super) async fn load_index(&mut self, files: &Files) -> Result<Loaded, OpenError> {
        let dir = self.config.dir.join(INDEX_DIR);
        self.io.make_dir(dir.clone()).await.map_err(failed("make", dir.clone()))?;
        let durable = files.newest_checkpoint.map_or(self.config.log_start, |known| known.durable);
        let start = files.segments.first().map_or(durable, |segment| segment.start);
        let mut runs = Runs::new(dir.clone(), start);
        self.remove_strays(files, &runs).await?;
        let mut pieces = Vec::new();
        for segment in &files.segments {
            let opened = self.find_pieces(&mut pieces, segment, runs.path(segment.start)).await?;
            let file = opened.expect("made when missing");
            runs.add_file(IndexFile { segment: segment.start, file, pages: 0 });
        }
        if let Err(error) = self.io.sync_dir(dir).await {
            tracing::warn!(%error, "the names of index files may not be durable; a lost one is made again");
        }
        // Behind the last run there is nothing to be missed.
        let last =
            pieces.iter().rposition(|(_, piece)| matches!(piece, Piece::Run(header) if !header.damaged));
        pieces.truncate(last.map_or(0, |last| last + 1));
        let mut damaged = false;
        for (segment, piece) in pieces {
            let hole = match piece {
                Piece::Run(header) if !header.damaged => {
                    if header.from != runs.end() {
                        break;
                    }
                    runs.push(segment.start, header);
                    continue;
                }
                Piece::Run(header) => Hole {
                    segment,
                    from: header.from,
                    to: header.to,
                    file: runs.file_of(segment.start).expect("opened above").file,
                    start_page: runs.file_of(segment.start).expect("opened above").pages,
                    room: Some(header.pages()),
                },
                Piece::Hole(hole) => hole,
            };
            damaged = true;
            if hole.from != runs.end() || !self.fill(&hole, &mut runs, start).await {
                break;
            }
        }
        let mut index = Index::default();
        while let Some(run) = runs.last().copied() {
            if self.table(&run, |row| index.insert_row(row)).await {
                break;
            }
            damaged = true;
            index = Index::default();
            runs.pop();
        }
        if start > LogOffset(0)
            && let Some(first) = runs.first().copied()
            && !self.table(&first, |row| index.apply_oldest_run(row)).await
        {
            damaged = true;
            index = Index::default();
            while runs.pop().is_some() {}
        }
        if damaged {
            let from = runs.end().0;
            tracing::warn!(
                from,
                "the queue index was damaged; the log is scanned for what could not be made again"
            );
        }
        Ok(Loaded { index, runs, damaged })
    }

    /// Index files whose segments are gone.
    async fn remove_strays(&self, files: &Files, runs: &Runs) -> Result<(), OpenError> {
        let entries = self.io.list(runs.dir()).await.map_err(failed("list", runs.dir()))?;
        for start in entries.iter().filter_map(|entry| parse_name(&entry.name)) {
            if files.segments.iter().any(|segment| segment.start == start) {
                continue;
            }
            let path = runs.path(start);
            self.io.remove(path.clone()).await.map_err(failed("remove", path))?;
        }
        Ok(())
    }

    /// Opens the index file of a segment and adds what it holds, and what it lacks. `None`: there is none, and it was not to be made.
    async fn find_pieces(
        &mut self,
        pieces: &mut Vec<(FoundSegment, Piece)>,
        segment: &FoundSegment,
        path: PathBuf,
    ) -> Result<Option<FileId>, OpenError> {
        let (file, bytes) = match self.open(path, self.options(PAGED_FILE)).await {
            Ok(opened) => opened,
            Err(error) => return self.may_be_missing(error),
        };
        let pages = bytes / PAGE_BYTES as u64;
        let (mut at, mut from) = (0, segment.start);
        while from < segment.end && u64::from(at) < pages {
            let Some((place, header)) = self.next_header(file, at, pages, from, segment.end).await else {
                break;
            };
            if place > at || header.from > from {
                let room = Some(place - at);
                let hole = Hole { segment: *segment, from, to: header.from, file, start_page: at, room };
                pieces.push((*segment, Piece::Hole(hole)));
            }
            pieces.push((*segment, Piece::Run(header)));
            at = place + header.pages();
            from = header.to;
        }
        if from < segment.end {
            let to = segment.end;
            let hole = Hole { segment: *segment, from, to, file, start_page: at, room: None };
            pieces.push((*segment, Piece::Hole(hole)));
        }
        Ok(Some(file))
    }

    /// The index file of a segment, as it is; for looking. Changes nothing.
    pub async fn index_file(&mut self, segment: &FoundSegment) -> Result<FoundIndex, OpenError> {
        let path = self.config.dir.join(INDEX_DIR).join(file_name(segment.start));
        let mut pieces = Vec::new();
        let file = self.find_pieces(&mut pieces, segment, path.clone()).await?;
        Ok(FoundIndex { path, file, pieces: pieces.into_iter().map(|(_, piece)| piece).collect() })
    }

    /// Page `number` of an index file; `None`: it ends before.
    pub async fn index_page(&self, file: FileId, number: u32) -> io::Result<Option<Bytes>> {
        let page = self.io.read_at(file, u64::from(number) * PAGE_BYTES as u64, PAGE_BYTES).await?;
        Ok((page.len() == PAGE_BYTES).then_some(page))
    }

    /// The next whole header of a run in `from..end`, at page `at` of the file or behind it. Pages that cannot be read hold none.
    async fn next_header(
        &self,
        file: FileId,
        mut at: u32,
        pages: u64,
        from: LogOffset,
        end: LogOffset,
    ) -> Option<(u32, RunHeader)> {
        let mut ahead = 1;
        while u64::from(at) < pages {
            let bytes = self.io.read_at(file, u64::from(at) * PAGE_BYTES as u64, ahead * PAGE_BYTES).await;
            let bytes = match bytes {
                Ok(bytes) if bytes.len() >= PAGE_BYTES => bytes,
                Ok(_) => return None,
                Err(error) => {
                    tracing::warn!(from = from.0, %error, "an index file cannot be read");
                    return None;
                }
            };
            for page in bytes.chunks_exact(PAGE_BYTES) {
                let possible = |header: &RunHeader| {
                    header.shard == self.shard.0
                        && header.from >= from
                        && header.to <= end
                        && u64::from(at) + u64::from(header.pages()) <= pages
                };
                if let Some(header) = RunHeader::decode_any(page).filter(possible) {
                    return Some((at, header));
                }
                at += 1;
            }
            // Mostly the first page is it. If not, it is far.
            ahead = WRITE_BYTES_MAX / PAGE_BYTES;
        }
        None
    }

    /// Gives the rows of a run's table; `false` if it is damaged, perhaps after some rows.
    pub(super) async fn table(&self, run: &Run, mut row: impl FnMut(&Row<'_>)) -> bool {
        let mut rows = 0;
        let read = self.run_pages(run, run.header.table_at()..run.header.pages(), |_, page| {
            for found in format::rows(page) {
                rows += 1;
                row(&found);
            }
        });
        read.await.is_ok() && rows == run.header.queues
    }

    /// Shows pages of a run, in order, as long as they are whole.
    pub async fn run_pages(
        &self,
        run: &Run,
        pages: Range<u32>,
        mut see: impl FnMut(u32, &[u8]),
    ) -> Result<(), BadPage> {
        let mut number = pages.start;
        while number < pages.end {
            let bytes = ((pages.end - number) as usize * PAGE_BYTES).min(RECOVERY_READ_BYTES);
            let read = self.io.read_at(run.file, run.place(number), bytes).await;
            let read = read.map_err(|source| BadPage { number, source: Some(source) })?;
            for at in (0..bytes).step_by(PAGE_BYTES) {
                match read.get(at..at + PAGE_BYTES) {
                    Some(page) if run.header.is_whole(number, page) => see(number, page),
                    _ => return Err(BadPage { number, source: None }),
                }
                number += 1;
            }
        }
        Ok(())
    }

    /// Writes a run from the end of the newest one to the scan's head. `false`: that failed, and should not be tried again now.
    pub(super) async fn write_run(&self, scan: &mut Scan, segment: LogOffset) -> bool {
        if scan.runs.end() == scan.head() {
            return true;
        }
        let Some(file) = scan.runs.file_of(segment) else { return false };
        let newest_time = scan.times.newest;
        let (from, to) = (scan.runs.end(), scan.head());
        let mut builder = RunBuilder::new(&scan.index, self.shard.0, from, to, newest_time);
        if let Err(error) = self.write_pages(&mut builder, &scan.index, file).await {
            tracing::warn!(%error, from = from.0, "an index run could not be written; its entries stay in memory");
            return false;
        }
        scan.runs.push(segment, *builder.header());
        while builder.mark_part(&mut scan.index, LogOffset(u64::MAX)) {}
        scan.index.reap(to);
        true
    }

    async fn write_pages(&self, builder: &mut RunBuilder, index: &Index, file: IndexFile) -> io::Result<()> {
        let place = |page: u32| u64::from(file.pages + page) * PAGE_BYTES as u64;
        loop {
            match builder.step(index, usize::MAX) {
                Step::Working => {}
                Step::Write { page, data } => self.io.write_at(file.file, place(page), data, false).await?,
                Step::Done => break,
            }
        }
        self.write_header(file, builder.header()).await
    }

    /// Writes all pages of a run at the end of a file.
    pub(super) async fn write_whole(
        &self,
        file: IndexFile,
        writes: Vec<(u32, WriteData)>,
        header: &RunHeader,
    ) -> io::Result<()> {
        for (page, data) in writes {
            let place = u64::from(file.pages + page) * PAGE_BYTES as u64;
            self.io.write_at(file.file, place, data, false).await?;
        }
        self.write_header(file, header).await
    }

    /// Makes a run count whose other pages were written.
    async fn write_header(&self, file: IndexFile, header: &RunHeader) -> io::Result<()> {
        self.io.sync_data(file.file).await?;
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        page.as_mut().copy_from_slice(&header.encode());
        let place = u64::from(file.pages) * PAGE_BYTES as u64;
        self.io.write_at(file.file, place, WriteData::Aligned(Arc::new(page)), true).await
    }
}
