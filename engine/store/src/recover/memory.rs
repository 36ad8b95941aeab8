//! The file in memory that outlived the process: what to believe of it, and taking over from it what the log on disk does not have.
//!
//! ```text
//!   identity (store's folder) ─→ map the file it names ─→ header: this store, this life, this boot? ─→ image of the log's tail
//!   … the log on disk has been scanned, judged and cut; it ends at T …
//!   batches of the image from T on ─→ appended to the log on disk, flushed, indexed; the log ends at T'
//!   new life ─→ identity ─→ the file is taken over (windows that are whole up to T' stay: a warm cache) or replaced
//! ```
//! Nothing is stored into the file before everything in it is durable in the log and the identity names the new life, which
//! makes the file worthless: whenever a crash comes, either the old file still counts as it was, or nothing of it is needed.
//!
//! Whether something is missing: every window is there until all of it has been written, and the machine has not been restarted
//! since (else the file would be refused). So if the log on disk ends before the oldest window begins, the disk has lost what it had: that is
//! corruption. And if the batches of the image end before its mark, memory was damaged: what is lost is reported.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_reactor::{AlignedBuffer, FileId, Mapping, OpenOptions, PAGE_BYTES, WriteData};

use super::image::{Image, Piece};
use super::scan::{Scan, ScanError};
use super::{Access, Examined, FoundSegment, Recovery, failed};
use crate::error::{Corruption, OpenError};
use crate::limits::{BLOCKS_MIN, WRITE_BYTES_MAX};
use crate::offset::LogOffset;
use crate::report::{TailCacheFound, TailCacheRefusal, TailCacheUse};
use crate::segments::PAGED_FILE;
use crate::tail::identity::{self, Identity};
use crate::tail::layout::{BadHeader, Header, Id, Layout};
use crate::tail::source::{MappedFile, Source};
use crate::tail::{AdoptedWindow, TailStart};

/// A process that was killed may take a moment to let go of its file.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
const LOCK_TRIES: u32 = 200;

/// What was found before the log was looked at.
pub(super) struct FoundTail {
    /// Open identity file, if the store has one.
    file: Option<FileId>,
    identity: Option<Identity>,
    mapping: Option<(Mapping, Header)>,
    refusal: Option<TailCacheRefusal>,
}

impl FoundTail {
    pub fn image(&self) -> Option<Image<'_>> {
        self.mapping.as_ref().map(|(mapping, header)| Image::new(mapping, header.layout))
    }

    /// As it is reported, without what is warm.
    fn found(&self, continued: &Continued) -> TailCacheFound {
        match (&self.mapping, self.refusal) {
            (_, Some(refusal)) => TailCacheFound::Refused(refusal),
            (None, None) => TailCacheFound::Nothing,
            (Some(_), None) => TailCacheFound::Used {
                records: continued.records,
                bytes: continued.bytes,
                warm_bytes: 0,
                lost: continued.lost,
            },
        }
    }

    /// Nothing lies behind this, in the log on disk or in memory, once the log has been continued from here.
    pub fn end_max(&self, head: LogOffset) -> LogOffset {
        self.image().map_or(head, |image| image.end_max().max(head))
    }
}

/// What was taken over.
#[derive(Default)]
pub(super) struct Continued {
    records: u64,
    bytes: u64,
    /// Where the image is damaged, and up to where it was sealed.
    lost: Option<(LogOffset, LogOffset)>,
}

/// Where the log is being continued.
struct Output {
    segment: FoundSegment,
    /// Log position of the first byte of `bytes`; page-aligned.
    at: LogOffset,
    bytes: Vec<u8>,
}

impl Recovery<'_> {
    /// What recovery would make of the file in memory; changes nothing. The scan goes on with what only that file has. Also gives the
    /// file that the store's folder names.
    pub(crate) async fn look_at_tail(
        &mut self,
        examined: &mut Examined,
    ) -> Result<(TailCacheFound, Option<PathBuf>), OpenError> {
        let tail = self.find_tail().await?;
        let scan = &mut examined.scan;
        self.check_gap(&tail, scan.head())?;
        let continued = self.continue_log(&tail, scan, &mut examined.found).await?;
        let mut found = tail.found(&continued);
        if let (TailCacheFound::Used { warm_bytes, .. }, Some(image)) = (&mut found, tail.image()) {
            let warm = image.warm(scan.head()).unwrap_or_default();
            *warm_bytes = warm.first().map_or(0, |oldest| scan.head().since(oldest.first));
        }
        Ok((found, tail.identity.and_then(|identity| identity.path)))
    }

    /// Finds the file in memory that belongs to the store's last life.
    pub(super) async fn find_tail(&mut self) -> Result<FoundTail, OpenError> {
        let mut tail = FoundTail { file: None, identity: None, mapping: None, refusal: None };
        let path = self.config.dir.join(identity::FILE_NAME);
        let create = self.config.tail_cache_path.is_some();
        let options = self.options(OpenOptions { create, direct: true, ..OpenOptions::default() });
        let (file, bytes) = match self.open(path.clone(), options).await {
            Ok(opened) => opened,
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(tail),
            Err(other) => return Err(other),
        };
        tail.file = Some(file);
        if bytes == 0 {
            if self.access == Access::Repair {
                let dir = &self.config.dir;
                self.io.sync_dir(dir.clone()).await.map_err(failed("sync", dir.clone()))?;
            }
            return Ok(tail);
        }
        let content = self.io.read_at(file, 0, 2 * PAGE_BYTES).await.map_err(failed("read", path))?;
        tail.identity = Identity::newest(&content);
        let Some(identity) = &tail.identity else {
            tail.refusal = Some(TailCacheRefusal::Unknown);
            return Ok(tail);
        };
        let Some(file) = &identity.path else { return Ok(tail) };
        match self.map(file).await? {
            None => {}
            Some(mapping) => match self.trust(&mapping, identity) {
                Ok(header) => tail.mapping = Some((mapping, header)),
                Err(refusal) => tail.refusal = Some(refusal),
            },
        }
        Ok(tail)
    }

    /// Maps a file in memory; `None` if there is none, or nothing that could be one.
    async fn map(&self, path: &Path) -> Result<Option<Mapping>, OpenError> {
        let tries = if self.access == Access::Repair { LOCK_TRIES } else { 1 };
        for _ in 0..tries {
            match self.io.map(path, None).await {
                Ok(mapping) => return Ok(Some(mapping)),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::Unsupported => {
                        return Ok(None);
                    }
                    io::ErrorKind::WouldBlock => self.io.sleep(LOCK_PAUSE).await,
                    // Better not to start than to leave behind what was acknowledged.
                    _ => return Err(failed("map", path)(error)),
                },
            }
        }
        Err(failed("map (another process holds it)", path)(io::ErrorKind::WouldBlock.into()))
    }

    /// Whether a file is the one that the store's last life filled, on this machine since its last start.
    fn trust(&self, mapping: &Mapping, identity: &Identity) -> Result<Header, TailCacheRefusal> {
        let header = match Header::decode(mapping.bytes(0, PAGE_BYTES.min(mapping.len())), mapping.len()) {
            Ok(header) => header,
            Err(BadHeader::Damaged) => return Err(TailCacheRefusal::Damaged),
            Err(BadHeader::Version(version)) => return Err(TailCacheRefusal::Version(version)),
            Err(BadHeader::Layout) => return Err(TailCacheRefusal::Layout),
        };
        if (header.store, header.shard) != (identity.store, self.shard.0) {
            return Err(TailCacheRefusal::OtherStore);
        }
        if header.boot != mapping.boot_id() {
            return Err(TailCacheRefusal::OtherBoot);
        }
        if header.life != identity.life {
            return Err(TailCacheRefusal::OtherLife);
        }
        Ok(header)
    }

    /// Whether the disk has lost what the file in memory proves it had.
    pub(super) fn check_gap(&self, tail: &FoundTail, head: LogOffset) -> Result<(), OpenError> {
        let Some(image) = tail.image() else { return Ok(()) };
        match (image.oldest(), image.mark) {
            (Some(oldest), Some(mark)) if oldest > head && mark > head && image.unreadable == 0 => {
                Err(self.corrupt(Corruption::BeforeTailCache { at: head, oldest }))
            }
            _ => Ok(()),
        }
    }

    /// Appends to the log what only the file in memory has, durably, and indexes it; where nothing may be changed, it is only indexed.
    /// The log on disk ends at the scan's head and is cut there.
    pub(super) async fn continue_log(
        &mut self,
        tail: &FoundTail,
        scan: &mut Scan,
        found: &mut Vec<FoundSegment>,
    ) -> Result<Continued, OpenError> {
        let mut continued = Continued::default();
        let Some(image) = tail.image() else { return Ok(continued) };
        let mut output = None;
        let mut walk = image.walk(scan.head());
        loop {
            let (at, segment_end) = (walk.at, walk.segment_end());
            let Ok((piece, bytes)) = walk.next() else { break };
            let segment_end = segment_end.expect("a piece has a window");
            let mut out = match output.take() {
                None if self.access == Access::Repair => Some(self.output(found, at, segment_end).await?),
                other => other,
            };
            if let Some(out) = &mut out {
                out.bytes.extend_from_slice(bytes);
            }
            match piece {
                Piece::Batch { record_bytes, records } => {
                    scan.enter_segment(segment_end);
                    scan.batch(&bytes[..record_bytes]).map_err(|error| self.inconsistent(error))?;
                    continued.records += u64::from(records);
                    continued.bytes += record_bytes as u64;
                    if let Some(out) = &mut out {
                        self.write_out(out, WRITE_BYTES_MAX).await?;
                    }
                    output = out;
                }
                Piece::Blank => {
                    scan.skip_to(segment_end);
                    if let Some(out) = out {
                        self.finish_output(out).await?;
                    }
                }
            }
        }
        if let Some(out) = output {
            self.finish_output(out).await?;
        }
        // A mark behind the end: the older of two, or of a log that has nothing but what is on disk.
        if image.mark.is_none_or(|mark| mark > walk.at) {
            continued.lost = Some((walk.at, image.mark.unwrap_or(walk.at)));
        }
        Ok(continued)
    }

    fn inconsistent(&self, error: ScanError) -> OpenError {
        match error {
            ScanError::Io(source) => failed("read", self.log_dir())(source),
            ScanError::Inconsistent { at, cause } => self.corrupt(Corruption::Inconsistent { at, cause }),
        }
    }

    /// Prepares to write at `at`, in the segment that ends at `segment_end`; makes it if it is not there.
    async fn output(
        &mut self,
        found: &mut Vec<FoundSegment>,
        at: LogOffset,
        segment_end: LogOffset,
    ) -> Result<Output, OpenError> {
        let holds = |s: &FoundSegment| s.start <= at && at < s.end && s.end == segment_end;
        let segment = match found.iter().rfind(|s| holds(s)) {
            Some(segment) => *segment,
            None => {
                let path = self.path(at);
                let known = found.iter().rfind(|s| s.start == at).map(|s| s.file);
                let file = match known {
                    Some(file) => file,
                    None => self.open(path, PAGED_FILE).await?.0,
                };
                let end = self.allocate(at, file, segment_end.since(at)).await?;
                let segment = FoundSegment { start: at, end, file };
                found.retain(|s| s.start != at);
                found.push(segment);
                segment
            }
        };
        let page = at.page_floor();
        let inside = usize::try_from(at.since(page)).expect("below a page");
        let mut bytes = Vec::with_capacity(WRITE_BYTES_MAX);
        if inside > 0 {
            let path = self.path(segment.start);
            let started = self.io.read_at(segment.file, page.since(segment.start), PAGE_BYTES).await;
            let started = started.map_err(failed("read", path.clone()))?;
            let Some(started) = started.get(..inside) else {
                return Err(failed("read", path)(io::ErrorKind::UnexpectedEof.into()));
            };
            bytes.extend_from_slice(started);
        }
        Ok(Output { segment, at: page, bytes })
    }

    /// Writes the whole pages if there are at least `enough` bytes.
    async fn write_out(&self, out: &mut Output, enough: usize) -> Result<(), OpenError> {
        let whole = out.bytes.len() - out.bytes.len() % PAGE_BYTES;
        if out.bytes.len() < enough || whole == 0 {
            return Ok(());
        }
        let mut pages = AlignedBuffer::zeroed(whole);
        pages.as_mut().copy_from_slice(&out.bytes[..whole]);
        let offset = out.at.since(out.segment.start);
        let data = WriteData::Aligned(Arc::new(pages));
        let written = self.io.write_at(out.segment.file, offset, data, false).await;
        written.map_err(failed("write", self.path(out.segment.start)))?;
        out.bytes.drain(..whole);
        out.at = out.at.plus(whole);
        Ok(())
    }

    async fn finish_output(&self, mut out: Output) -> Result<(), OpenError> {
        out.bytes.resize(out.bytes.len().next_multiple_of(PAGE_BYTES), 0);
        self.write_out(&mut out, 0).await?;
        let path = self.path(out.segment.start);
        self.io.sync_data(out.segment.file).await.map_err(failed("flush", path))
    }

    /// Begins the store's new life: its file in memory, with what it can keep of the old one, or none.
    pub(super) async fn begin_life(
        &mut self,
        tail: FoundTail,
        continued: &Continued,
        (head, segment_end): (LogOffset, LogOffset),
        prefix: Bytes,
    ) -> Result<(TailStart, TailCacheFound, TailCacheUse), OpenError> {
        let mut found = tail.found(continued);
        let FoundTail { file, identity, mapping, .. } = tail;
        let mut start = TailStart {
            source: Source::Memory,
            adopted: Vec::new(),
            head,
            segment_end,
            prefix: prefix.clone(),
        };
        let Some(file) = file else {
            return Ok((start, found, TailCacheUse::Memory { reason: "it is switched off".into() }));
        };
        let life = Identity {
            shard: self.shard.0,
            sequence: identity.as_ref().map_or(0, |old| old.sequence + 1),
            store: identity.as_ref().map_or_else(|| self.random_id(), |old| old.store),
            life: self.random_id(),
            path: None,
        };
        let old_path = identity.and_then(|old| old.path);
        let new_path: Option<PathBuf> =
            self.config.tail_cache_path.as_ref().map(|folder| life.path_in(folder));
        let layout = Layout {
            block_bytes: self.config.block_bytes,
            blocks: self.config.tail_cache_bytes / self.config.block_bytes,
        };
        let life = Identity { path: new_path.clone(), ..life };
        let kept = mapping.filter(|(_, header)| old_path == new_path && header.layout == layout);
        if let (None, Some(old)) = (&kept, &old_path) {
            self.remove_memory_file(old).await;
        }
        self.write_identity(file, &life).await?;
        let used = match (kept, new_path) {
            (Some((mapping, _)), Some(path)) => {
                let slots = Image::new(&mapping, layout).warm(head).unwrap_or_default();
                start = self.take_over(mapping, path.clone(), &life, layout, slots, start).await?;
                let oldest = start.adopted.first().map_or(head, |window| window.first);
                if let TailCacheFound::Used { warm_bytes, .. } = &mut found {
                    *warm_bytes = head.since(oldest);
                }
                TailCacheUse::Mapped { path }
            }
            (_, Some(path)) => match self.make_memory_file(&path, layout).await {
                Ok(mapping) => {
                    let header = self.header(&mapping, &life, layout);
                    let file = MappedFile::begin(mapping, path.clone(), header, true, &[], head);
                    start.source = Source::Mapped(file);
                    TailCacheUse::Mapped { path }
                }
                Err(error) => TailCacheUse::Memory { reason: error.to_string() },
            },
            (_, None) => TailCacheUse::Memory { reason: "it is switched off".into() },
        };
        self.close(file).await?;
        Ok((start, found, used))
    }

    fn header(&self, mapping: &Mapping, life: &Identity, layout: Layout) -> Header {
        Header { shard: self.shard.0, store: life.store, life: life.life, boot: mapping.boot_id(), layout }
    }

    /// Goes on in the old life's file, with those of its windows.
    async fn take_over(
        &self,
        mut mapping: Mapping,
        path: PathBuf,
        life: &Identity,
        layout: Layout,
        slots: Vec<crate::tail::layout::Slot>,
        mut start: TailStart,
    ) -> Result<TailStart, OpenError> {
        let head = start.head;
        let published: Vec<_> = {
            let image = Image::new(&mapping, layout);
            slots
                .iter()
                .enumerate()
                .map(|(at, slot)| image.published(slot, slots.get(at + 1), head))
                .collect()
        };
        let ranges = slots.iter().map(|slot| (layout.block_at(slot.block), layout.block_bytes)).collect();
        let (lent, blocks) =
            self.io.blocks_in(mapping, ranges).await.map_err(failed("lend blocks of", path.clone()))?;
        mapping = lent;
        for ((slot, mut block), published) in slots.iter().zip(blocks).zip(published) {
            if slots.last() == Some(slot) {
                // Its started page is going to be written again: as it is on disk, and zeros behind the head.
                let page = usize::try_from(head.page_floor().since(slot.start)).expect("inside a block");
                let spare = block.spare();
                spare[page..page + start.prefix.len()].copy_from_slice(&start.prefix);
                spare[published..].fill(0);
            }
            block.publish(published);
            let block = MappedFile::adopted(block, slot.block);
            start.adopted.push(AdoptedWindow { block, start: slot.start, first: slot.first });
        }
        let header = self.header(&mapping, life, layout);
        start.source = Source::Mapped(MappedFile::begin(mapping, path, header, false, &slots, head));
        Ok(start)
    }

    /// A new file in memory with room for the fewest blocks that a tail cache needs.
    async fn make_memory_file(&self, path: &Path, layout: Layout) -> io::Result<Mapping> {
        self.remove_memory_file(path).await;
        let mapping = self.io.map(path, Some(layout.file_bytes())).await?;
        let needed = layout.block_at(BLOCKS_MIN);
        if let Err(error) = mapping.reserve(0, needed) {
            drop(mapping);
            self.remove_memory_file(path).await;
            let text = format!("{}: no room for {needed} bytes: {error}", path.display());
            return Err(io::Error::new(error.kind(), text));
        }
        Ok(mapping)
    }

    async fn remove_memory_file(&self, path: &Path) {
        match self.io.remove(path).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "an old file of the tail cache cannot be removed");
            }
        }
    }

    async fn write_identity(&self, file: FileId, life: &Identity) -> Result<(), OpenError> {
        let (offset, page) = life.encode();
        let path = self.config.dir.join(identity::FILE_NAME);
        let data = WriteData::Aligned(Arc::new(page));
        self.io.write_at(file, offset, data, true).await.map_err(failed("write", path))
    }

    fn random_id(&self) -> Id {
        let bits = u128::from(self.io.random()) << 64 | u128::from(self.io.random());
        bits.to_be_bytes()
    }
}
