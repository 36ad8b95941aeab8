//! Content of simulated files: what a reader sees, and what a power cut may make of it.
//!
//! Content is kept by page. A page written and not known to be on stable media is *pending*: beside what readers see it
//! keeps what the media may hold instead. A power cut chooses for every pending sector by itself among these
//! versions, so writes are torn at sector boundaries and in any order.
//!
//! ```text
//!   write A      write B (a flush of A is in flight)      flush of A ends         power cut
//!   seen A       seen B                                   seen B                  each sector: A or B
//!   media: 0     media: 0 or A                            media: A                never 0
//! ```

use std::collections::BTreeMap;

use super::Rng;
use crate::PAGE_BYTES;

/// What a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: usize = 512;
const SECTORS: usize = PAGE_BYTES / SECTOR_BYTES;

type Page = Option<Box<[u8; PAGE_BYTES]>>;

static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// What the media may hold of a page instead of what readers see.
struct Pending {
    /// Version that readers see.
    seen: u64,
    /// Older versions, the durable one first.
    older: Vec<(u64, Page)>,
    /// Sectors touched since the durable version.
    sectors: u8,
    /// Its write-back failed: no flush makes it durable until it is written again.
    forgotten: bool,
}

/// What a flush covers: taken when it is asked for, applied when it succeeds.
#[derive(Debug)]
pub(super) struct Snapshot {
    pages: Vec<(u64, u64)>,
    bytes: u64,
}

/// How writes of a file travel; it decides what a failed flush leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PathToDisk {
    /// The kernel forgets pages whose write-back failed: no later flush makes them durable.
    PageCache,
    /// The drive still has what it took: a later flush may make it durable.
    Direct,
}

#[derive(Default)]
pub(super) struct Content {
    /// `None` is a page of zeros.
    pages: Vec<Page>,
    bytes: u64,
    durable_bytes: u64,
    pending: BTreeMap<u64, Pending>,
    version: u64,
    /// Flushes in flight: as long as there are any, every version counts.
    flushes: u32,
}

impl Content {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let length = self.bytes.saturating_sub(offset).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let (page, within) = locate(offset + done as u64);
            let count = (PAGE_BYTES - within).min(length - done);
            let source = self.pages.get(page).and_then(Option::as_deref).unwrap_or(&ZEROS);
            into[done..done + count].copy_from_slice(&source[within..within + count]);
            done += count;
        }
        length
    }

    /// Writes into what readers see; pending until a flush.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        self.version += 1;
        let mut done = 0;
        while done < data.len() {
            let (page, within) = locate(offset + done as u64);
            let count = (PAGE_BYTES - within).min(data.len() - done);
            self.write_in_page(page, within, &data[done..done + count]);
            done += count;
        }
        self.bytes = self.bytes.max(offset + data.len() as u64);
    }

    fn write_in_page(&mut self, page: usize, within: usize, data: &[u8]) {
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let old = self.pages[page].take();
        let zeros = data.len() == PAGE_BYTES && *data == ZEROS;
        if zeros && old.is_none() && !self.pending.contains_key(&(page as u64)) {
            // Zeros over durable zeros: files are zeroed ahead by the gigabyte, at no cost here.
            return;
        }
        let new = if zeros {
            None
        } else {
            let mut new = old.clone().unwrap_or_else(|| Box::new(ZEROS));
            new[within..within + data.len()].copy_from_slice(data);
            Some(new)
        };
        self.pages[page] = new;
        let pending = self.pending.entry(page as u64).or_insert(Pending {
            seen: 0,
            older: Vec::new(),
            sectors: 0,
            forgotten: false,
        });
        if pending.older.is_empty() || self.flushes > 0 {
            pending.older.push((pending.seen, old));
        }
        pending.seen = self.version;
        pending.forgotten = false;
        let (first, last) = (within / SECTOR_BYTES, (within + data.len() - 1) / SECTOR_BYTES);
        for sector in first..=last {
            pending.sectors |= 1 << sector;
        }
    }

    /// Sets the size; what is cut off reads as zeros ever after.
    pub(super) fn set_bytes(&mut self, bytes: u64) {
        if bytes < self.bytes {
            let (first, within) = locate(bytes);
            self.version += 1;
            let pages = self.pages.len();
            if within > 0 && first < pages {
                self.write_in_page(first, within, &ZEROS[within..]);
            }
            for page in first + usize::from(within > 0)..pages {
                if self.pages[page].is_some() {
                    self.write_in_page(page, 0, &ZEROS);
                }
            }
        }
        self.bytes = bytes;
    }

    /// A flush of everything written so far begins. To be ended by exactly one of the calls below.
    pub(super) fn begin_flush(&mut self) -> Snapshot {
        self.flushes += 1;
        let pending = self.pending.iter().filter(|(_, p)| !p.forgotten);
        Snapshot { pages: pending.map(|(page, p)| (*page, p.seen)).collect(), bytes: self.bytes }
    }

    /// As [`Content::begin_flush`], of a range only.
    pub(super) fn begin_flush_range(&mut self, offset: u64, length: usize) -> Snapshot {
        self.flushes += 1;
        let (first, last) = (locate(offset).0 as u64, locate(offset + length as u64 - 1).0 as u64);
        let pages = self.pending.range(first..=last).map(|(page, p)| (*page, p.seen)).collect();
        Snapshot { pages, bytes: self.bytes }
    }

    /// The flush succeeded: what it covers is on stable media.
    pub(super) fn end_flush(&mut self, snapshot: &Snapshot) {
        self.flushes -= 1;
        for (page, version) in &snapshot.pages {
            let Some(pending) = self.pending.get_mut(page) else { continue };
            if pending.seen == *version {
                self.pending.remove(page);
            } else if let Some(at) = pending.older.iter().position(|(v, _)| v == version) {
                // Written again meanwhile: from now on the media holds this version or a newer one.
                pending.older.drain(..at);
            }
        }
        self.durable_bytes = snapshot.bytes.min(self.bytes);
    }

    /// The flush failed: every page it covers made it or did not.
    pub(super) fn fail_flush(&mut self, snapshot: &Snapshot, path: PathToDisk, rng: &mut Rng) {
        self.flushes -= 1;
        for (page, version) in &snapshot.pages {
            let Some(pending) = self.pending.get_mut(page) else { continue };
            if pending.seen == *version {
                if rng.one_in(2) {
                    self.pending.remove(page);
                } else {
                    pending.forgotten = path == PathToDisk::PageCache;
                }
            }
        }
    }

    /// Nothing came of a flush (its process is gone).
    pub(super) fn abandon_flush(&mut self) {
        self.flushes -= 1;
    }

    /// What the media holds is all there is now.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        self.flushes = 0;
        if self.bytes != self.durable_bytes && rng.one_in(2) {
            self.bytes = self.durable_bytes;
        }
        for (page, pending) in std::mem::take(&mut self.pending) {
            // Whole pages mostly share one fate, as in earnest: sectors apart are the exception that finds torn records.
            let together = rng.one_in(2).then(|| rng.index(pending.older.len() + 1));
            for sector in (0..SECTORS).filter(|sector| pending.sectors & 1 << sector != 0) {
                let choice = together.unwrap_or_else(|| rng.index(pending.older.len() + 1));
                if let Some((_, older)) = pending.older.get(choice) {
                    let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                    let source = older.as_deref().unwrap_or(&ZEROS);
                    let seen = self.pages[page as usize].get_or_insert_with(|| Box::new(ZEROS));
                    seen[range.clone()].copy_from_slice(&source[range]);
                }
            }
        }
        // Past the end nothing is left: a file that grows again reads zeros there.
        let bytes = self.bytes;
        self.bytes = u64::MAX;
        self.set_bytes(bytes);
        self.pending.clear();
        self.durable_bytes = bytes;
    }

    /// Turns bits over, on the media and for readers alike.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        let (page, within) = locate(offset);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        self.pages[page].get_or_insert_with(|| Box::new(ZEROS))[within] ^= mask;
        if let Some(pending) = self.pending.get_mut(&(page as u64)) {
            for (_, older) in &mut pending.older {
                older.get_or_insert_with(|| Box::new(ZEROS))[within] ^= mask;
            }
        }
    }
}

fn locate(offset: u64) -> (usize, usize) {
    ((offset / PAGE_BYTES as u64) as usize, (offset % PAGE_BYTES as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = PAGE_BYTES;

    fn first_bytes(content: &Content, page: usize) -> Vec<u8> {
        let mut all = vec![0; PAGE];
        let read = content.read((page * PAGE) as u64, &mut all);
        (0..read.div_ceil(SECTOR_BYTES)).map(|sector| all[sector * SECTOR_BYTES]).collect()
    }

    #[test]
    fn what_was_flushed_survives_and_the_rest_is_torn_by_sector() {
        let (mut torn, mut kept, mut lost) = (0, 0, 0);
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut content = Content::default();
            content.write(0, &[1; 2 * PAGE]);
            let flush = content.begin_flush();
            content.end_flush(&flush);
            content.write(PAGE as u64, &[2; PAGE]);
            content.power_cut(&mut rng);
            assert_eq!(first_bytes(&content, 0), [1; SECTORS]);
            let second = first_bytes(&content, 1);
            assert!(second.iter().all(|b| [1, 2].contains(b)), "{second:?}");
            match second.iter().filter(|b| **b == 2).count() {
                0 => lost += 1,
                SECTORS => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(torn > 20 && kept > 20 && lost > 20, "torn {torn} kept {kept} lost {lost}");
    }

    #[test]
    fn a_flush_covers_what_was_written_before_it_began_and_no_more() {
        let mut newest = 0;
        for seed in 0..100 {
            let mut rng = Rng::new(seed);
            let mut content = Content::default();
            content.write(0, &[1; PAGE]);
            let flush = content.begin_flush();
            content.write(0, &[2; PAGE]);
            content.end_flush(&flush);
            content.power_cut(&mut rng);
            let page = first_bytes(&content, 0);
            assert!(page.iter().all(|b| [1, 2].contains(b)), "neither version: {page:?}");
            newest += usize::from(page == [2; SECTORS]);
        }
        assert!(
            (10..90).contains(&newest),
            "the second write must be kept sometimes and lost sometimes: {newest}"
        );
    }

    #[test]
    fn what_a_failed_flush_forgot_is_not_made_durable_by_the_next() {
        assert!((10..80).contains(&lost_after_failed_flush(PathToDisk::PageCache)));
        assert_eq!(lost_after_failed_flush(PathToDisk::Direct), 0);
    }

    /// Runs out of 100 that lose a page whose flush failed once and succeeded then.
    fn lost_after_failed_flush(path: PathToDisk) -> usize {
        let mut lost = 0;
        for seed in 0..100 {
            let mut rng = Rng::new(seed);
            let mut content = Content::default();
            content.set_bytes(PAGE as u64);
            let flush = content.begin_flush();
            content.end_flush(&flush);
            content.write(0, &[1; PAGE]);
            let flush = content.begin_flush();
            content.fail_flush(&flush, path, &mut rng);
            let flush = content.begin_flush();
            content.end_flush(&flush);
            content.power_cut(&mut rng);
            lost += usize::from(first_bytes(&content, 0) != [1; SECTORS]);
        }
        lost
    }

    #[test]
    fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
        let mut content = Content::default();
        content.write(0, &[7; 3 * PAGE]);
        content.set_bytes(PAGE as u64 + 10);
        content.set_bytes(3 * PAGE as u64);
        let mut all = vec![1; 3 * PAGE];
        assert_eq!(content.read(0, &mut all), 3 * PAGE);
        assert!(all[..PAGE + 10].iter().all(|b| *b == 7) && all[PAGE + 10..].iter().all(|b| *b == 0));
    }
}
