//! Pages of derived files: 4 KiB, each with a checksum that also covers what the page is and where it belongs.
//!
//! ```text
//!   0 CRC-32 of the page's identity and of bytes 4.., 4 │ 4 content, 4092
//! ```
//! The identity (kind, part of the log, number) is not stored: a page that was written for another place, or for an earlier attempt
//! at the same place, does not pass for the one that is asked for. A file of such pages is written in any order; the page that makes
//! it count goes last, after a flush.

use ringmq_reactor::PAGE_BYTES;

use crate::offset::LogOffset;

/// Where a page's content starts.
pub(crate) const PAGE_CONTENT_AT: usize = 4;

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageId {
    /// Of file or of content; each user of this module has its own.
    pub kind: u32,
    /// The part of the log that the page speaks of.
    pub from: LogOffset,
    /// End of that part; 0 where it is not known when the page is read.
    pub to: LogOffset,
    /// Its place among the pages of that part.
    pub number: u32,
}

impl PageId {
    fn crc(self, page: &[u8]) -> u32 {
        let mut identity = [0; 24];
        identity[0..4].copy_from_slice(&self.kind.to_be_bytes());
        identity[4..12].copy_from_slice(&self.from.0.to_be_bytes());
        identity[12..20].copy_from_slice(&self.to.0.to_be_bytes());
        identity[20..24].copy_from_slice(&self.number.to_be_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&identity);
        crc.update(&page[PAGE_CONTENT_AT..PAGE_BYTES]);
        crc.finalize()
    }

    /// Puts the checksum on a page.
    pub fn seal(self, page: &mut [u8]) {
        assert_eq!(page.len(), PAGE_BYTES);
        let crc = self.crc(page);
        page[..PAGE_CONTENT_AT].copy_from_slice(&crc.to_be_bytes());
    }

    /// Whether a page is this one, unchanged.
    pub fn is_whole(self, page: &[u8]) -> bool {
        page.len() == PAGE_BYTES && page[..PAGE_CONTENT_AT] == self.crc(page).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PageId = PageId { kind: 7, from: LogOffset(4096), to: LogOffset(9999), number: 3 };

    #[test]
    fn every_bit_of_a_page_and_its_place_count() {
        let mut page: Vec<u8> = (0..PAGE_BYTES).map(|i| (i * 31) as u8).collect();
        ID.seal(&mut page);
        assert!(ID.is_whole(&page));
        for bit in 0..PAGE_BYTES * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(!ID.is_whole(&page), "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
        let others = [
            PageId { kind: 8, ..ID },
            PageId { from: LogOffset(8192), ..ID },
            PageId { to: LogOffset(9998), ..ID },
            PageId { number: 4, ..ID },
        ];
        assert!(others.iter().all(|other| !other.is_whole(&page)));
        assert!(!ID.is_whole(&page[..100]));
        assert!(!ID.is_whole(&[0; PAGE_BYTES]), "what was never written is no page");
    }
}
