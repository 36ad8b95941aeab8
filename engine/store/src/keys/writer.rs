//! Writing a run: pages in order under a temporary name, then the header, a flush, and the name.
//!
//! Until the name is there, durably, nothing counts: a crash leaves a temporary file, which the next start removes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringmq_reactor::{AlignedBuffer, OpenOptions, PAGE_BYTES, TaskIo, WriteData};

use super::filter::{BLOCK_BYTES, Filter};
use super::format::{self, BLOCKS_PER_PAGE, ENTRIES_PER_PAGE, FENCES_PER_PAGE, Header, TEMPORARY};
use super::run::{OwnedFile, Run};
use super::table::{Entry, Span};

/// Pages per write.
const WRITE_PAGES: usize = 16;

pub(crate) struct RunWriter<'a> {
    io: &'a TaskIo,
    dir: &'a Path,
    shard: u16,
    span: Span,
    temporary: PathBuf,
    file: OwnedFile,
    /// Pages that are filled but not written, and the number of the first of them.
    chunk: AlignedBuffer,
    first: u32,
    pages: usize,
    /// Entries on the last page of the chunk, which is still open.
    on_page: usize,
    entries: u64,
    last: Option<Entry>,
    fences: Vec<u32>,
    filter: Option<Filter>,
}

impl<'a> RunWriter<'a> {
    /// `keys`: how many entries will come, for the filter; `filter_bytes_max`: a larger filter is left out.
    pub async fn create(
        io: &'a TaskIo,
        dir: &'a Path,
        shard: u16,
        span: Span,
        keys: u64,
        filter_bytes_max: usize,
    ) -> io::Result<Self> {
        let temporary = dir.join(format::file_name(span.from, span.to) + TEMPORARY);
        let options = OpenOptions { create: true, direct: true, truncate: true, ..OpenOptions::default() };
        let (file, _) = OwnedFile::open(io, &temporary, options).await?;
        let bytes = Filter::blocks_for(keys) * BLOCK_BYTES as u64;
        let filter = (keys > 0 && bytes <= filter_bytes_max as u64).then(|| Filter::new(keys));
        Ok(Self {
            io,
            dir,
            shard,
            span,
            temporary,
            file,
            chunk: AlignedBuffer::zeroed(WRITE_PAGES * PAGE_BYTES),
            first: 1,
            pages: 0,
            on_page: 0,
            entries: 0,
            last: None,
            fences: Vec::new(),
            filter,
        })
    }

    /// Adds the next entry.
    ///
    /// # Panics
    /// If it is smaller than the one before: lookups rely on the order.
    pub async fn push(&mut self, entry: Entry) -> io::Result<()> {
        assert!(self.last.is_none_or(|last| last <= entry), "{:?} before {entry:?}", self.last);
        self.last = Some(entry);
        if self.on_page == 0 {
            self.fences.push((entry.hash >> 32) as u32);
        }
        if let Some(filter) = &mut self.filter {
            filter.insert(entry.hash);
        }
        let number = self.on_page;
        format::put_entry(self.page(), number, &entry);
        self.on_page += 1;
        self.entries += 1;
        if self.on_page == ENTRIES_PER_PAGE {
            self.end_page(ENTRIES_PER_PAGE).await?;
        }
        Ok(())
    }

    fn page(&mut self) -> &mut [u8] {
        let start = self.pages * PAGE_BYTES;
        &mut self.chunk.as_mut()[start..start + PAGE_BYTES]
    }

    /// Closes the open page, which has that many items.
    async fn end_page(&mut self, items: usize) -> io::Result<()> {
        let number = self.first + u32::try_from(self.pages).expect("a chunk");
        let from = self.span.from;
        format::close_page(self.page(), from, number, items);
        self.pages += 1;
        self.on_page = 0;
        if self.pages == WRITE_PAGES { self.write_chunk().await } else { Ok(()) }
    }

    async fn write_chunk(&mut self) -> io::Result<()> {
        if self.pages == 0 {
            return Ok(());
        }
        let mut chunk = std::mem::replace(&mut self.chunk, AlignedBuffer::zeroed(WRITE_PAGES * PAGE_BYTES));
        let bytes = self.pages * PAGE_BYTES;
        if bytes < chunk.len() {
            let mut shorter = AlignedBuffer::zeroed(bytes);
            shorter.as_mut().copy_from_slice(&chunk.as_ref()[..bytes]);
            chunk = shorter;
        }
        let offset = u64::from(self.first) * PAGE_BYTES as u64;
        self.first += u32::try_from(self.pages).expect("a chunk");
        self.pages = 0;
        self.io.write_at(self.file.id, offset, WriteData::Aligned(Arc::new(chunk)), false).await
    }

    /// Writes what follows the entries and makes the run durable under its name.
    pub async fn finish(mut self, id: u64) -> io::Result<Run> {
        if self.on_page > 0 {
            self.end_page(self.on_page).await?;
        }
        let fences = std::mem::take(&mut self.fences);
        for part in fences.chunks(FENCES_PER_PAGE) {
            let page = self.page();
            part.iter().enumerate().for_each(|(number, fence)| format::put_fence(page, number, *fence));
            self.end_page(part.len()).await?;
        }
        let filter = self.filter.take();
        let blocks = filter.as_ref().map_or(0, Filter::block_count);
        if let Some(filter) = &filter {
            for start in (0..blocks).step_by(BLOCKS_PER_PAGE) {
                let count = BLOCKS_PER_PAGE.min(blocks - start);
                let page = self.page();
                for number in 0..count {
                    filter.write(start + number, &mut page[format::block_place(number)]);
                }
                self.end_page(count).await?;
            }
        }
        self.write_chunk().await?;
        let header = Header {
            shard: self.shard,
            span: self.span,
            entries: self.entries,
            filter_blocks: u32::try_from(blocks).expect("a filter fits in memory"),
        };
        assert_eq!(
            u64::from(self.first) * PAGE_BYTES as u64,
            header.file_bytes(),
            "pages as the header says"
        );
        let mut page = AlignedBuffer::zeroed(PAGE_BYTES);
        header.encode(page.as_mut());
        self.io.write_at(self.file.id, 0, WriteData::Aligned(Arc::new(page)), false).await?;
        self.io.sync_data(self.file.id).await?;
        let path = self.dir.join(format::file_name(self.span.from, self.span.to));
        self.io.rename(self.temporary, &path).await?;
        self.io.sync_dir(self.dir).await?;
        Ok(Run::new(id, header, self.file, path, fences, filter))
    }
}
