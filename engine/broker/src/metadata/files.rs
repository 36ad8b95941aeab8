//! Files of the metadata store: their names, and frames read one after the other.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use ringmq_reactor::{FileId, OpenOptions, TaskIo};

use super::frame::{self, HEADER_BYTES, Header};

/// Bytes per read.
const READ_BYTES: usize = 1 << 20;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The state.
    Snapshot,
    /// Changes.
    Log,
}

impl Role {
    fn extension(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Log => "log",
        }
    }
}

/// Name of a generation's file; a snapshot gets it only when it is whole, and has [`TEMPORARY`] appended before.
#[must_use]
pub fn path(dir: &Path, generation: u64, role: Role) -> PathBuf {
    dir.join(format!("{generation:020}.{}", role.extension()))
}

/// Appended to the name of a snapshot that is being written.
pub const TEMPORARY: &str = ".tmp";

/// What a name means; `None`: it is not one of ours.
#[must_use]
pub fn read_name(name: &str) -> Option<(u64, Role)> {
    let (number, extension) = name.split_once('.')?;
    let role = [Role::Snapshot, Role::Log].into_iter().find(|role| role.extension() == extension)?;
    let generation = number.parse().ok().filter(|_| number.len() == 20)?;
    Some((generation, role))
}

/// What comes next in a file.
#[derive(Debug)]
pub enum Next {
    /// A valid frame.
    Frame(Header, Bytes),
    /// Nothing: the file ends here.
    End,
    /// Something that is no frame.
    Invalid,
}

/// Reads a file of frames. To be closed with [`FrameReader::close`].
#[derive(Debug)]
pub struct FrameReader {
    io: TaskIo,
    file: FileId,
    /// Where the window begins in the file.
    position: u64,
    window: BytesMut,
    is_end_read: bool,
}

impl FrameReader {
    /// Opens it.
    ///
    /// # Errors
    /// As `open`.
    pub async fn open(io: &TaskIo, path: &Path) -> io::Result<Self> {
        let options = OpenOptions { read_only: true, ..OpenOptions::default() };
        let (file, _) = io.open(path, options).await?;
        Ok(Self { io: io.clone(), file, position: 0, window: BytesMut::new(), is_end_read: false })
    }

    /// Closes it.
    pub async fn close(self) {
        // It was only read: nothing can be lost.
        let _ = self.io.close(self.file).await;
    }

    /// Makes what was read durable, should it only be in the page cache.
    ///
    /// # Errors
    /// As `fdatasync`.
    pub async fn sync(&self) -> io::Result<()> {
        self.io.sync_data(self.file).await
    }

    /// Where the next frame begins, or what is none.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next frame. What is invalid is not passed over.
    ///
    /// # Errors
    /// As `pread`.
    pub async fn next(&mut self) -> io::Result<Next> {
        self.fill(HEADER_BYTES).await?;
        if self.window.is_empty() {
            return Ok(Next::End);
        }
        let Some(header) = frame::header(&self.window) else { return Ok(Next::Invalid) };
        let bytes = HEADER_BYTES + header.payload_bytes;
        self.fill(bytes).await?;
        if self.window.len() < bytes || !header.fits(&self.window[HEADER_BYTES..bytes]) {
            return Ok(Next::Invalid);
        }
        let mut frame = self.window.split_to(bytes);
        self.position += bytes as u64;
        frame.advance(HEADER_BYTES);
        Ok(Next::Frame(header, frame.freeze()))
    }

    /// Looks behind the present position for a valid frame of this generation: gives its header and where it begins.
    ///
    /// # Errors
    /// As `pread`.
    pub async fn find_frame(&mut self, generation: u64) -> io::Result<Option<(Header, u64)>> {
        loop {
            // From the next byte on; what cannot hold the beginning of a frame is dropped, so that the window stays small.
            self.fill(READ_BYTES).await?;
            if self.window.is_empty() {
                return Ok(None);
            }
            let skipped = frame::find_magic(&self.window, 1).unwrap_or_else(|| {
                let kept = if self.is_end_read { 0 } else { HEADER_BYTES };
                self.window.len().saturating_sub(kept).max(1)
            });
            self.window.advance(skipped);
            self.position += skipped as u64;
            self.fill(HEADER_BYTES).await?;
            let Some(header) = frame::header(&self.window).filter(|h| h.generation == generation) else {
                continue;
            };
            let bytes = HEADER_BYTES + header.payload_bytes;
            self.fill(bytes).await?;
            if self.window.get(HEADER_BYTES..bytes).is_some_and(|payload| header.fits(payload)) {
                return Ok(Some((header, self.position)));
            }
        }
    }

    /// Reads until the window has `bytes` bytes, or the rest of the file.
    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.window.len() < bytes && !self.is_end_read {
            let wanted = (bytes - self.window.len()).max(READ_BYTES);
            let at = self.position + self.window.len() as u64;
            let read = self.io.read_at(self.file, at, wanted).await?;
            self.is_end_read = read.len() < wanted;
            self.window.extend_from_slice(&read);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let dir = Path::new("/m");
        assert_eq!(path(dir, 7, Role::Log).to_str(), Some("/m/00000000000000000007.log"));
        assert_eq!(read_name("00000000000000000007.snapshot"), Some((7, Role::Snapshot)));
        for strange in ["7.log", "00000000000000000007.snapshot.tmp", "lock", "00000000000000000007", "x.log"]
        {
            assert_eq!(read_name(strange), None, "{strange}");
        }
    }
}
