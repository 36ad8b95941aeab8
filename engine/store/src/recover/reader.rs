//! Reading a segment from front to back, with the next read always in flight.

use std::io;

use ringmq_reactor::task::FileCall;
use ringmq_reactor::{AlignedBuffer, FileId, FileOp, FileValue, PAGE_BYTES, TaskIo};

use crate::limits::RECOVERY_READ_BYTES;

pub(crate) struct SegmentReader<'a> {
    io: &'a TaskIo,
    file: FileId,
    read_bytes: usize,
    /// File offset of the read in flight.
    offset: u64,
    call: Option<FileCall>,
    /// Read and not consumed: `buffer[used..]`.
    buffer: Vec<u8>,
    used: usize,
    spare: Option<AlignedBuffer>,
}

impl<'a> SegmentReader<'a> {
    /// `file_bytes`: its size, so that small files are not read into large buffers.
    pub fn new(io: &'a TaskIo, file: FileId, file_bytes: u64) -> Self {
        Self::from(io, file, file_bytes, 0)
    }

    /// As [`SegmentReader::new`], from a page-aligned file offset on.
    pub fn from(io: &'a TaskIo, file: FileId, file_bytes: u64, offset: u64) -> Self {
        let read_bytes =
            usize::try_from(file_bytes).unwrap_or(usize::MAX).clamp(PAGE_BYTES, RECOVERY_READ_BYTES);
        Self::starting_at(io, file, offset, read_bytes)
    }

    /// As [`SegmentReader::from`], in reads of `read_bytes`, a number of pages.
    pub fn starting_at(io: &'a TaskIo, file: FileId, offset: u64, read_bytes: usize) -> Self {
        let mut reader =
            Self { io, file, read_bytes, offset, call: None, buffer: Vec::new(), used: 0, spare: None };
        reader.start();
        reader
    }

    /// What has been read and not consumed.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    pub fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes().len());
        self.used += bytes;
    }

    /// Reads on; `false` at the end of the file.
    pub async fn more(&mut self) -> io::Result<bool> {
        let Some(call) = self.call.take() else { return Ok(false) };
        let FileValue::Read { buffer, bytes } = call.await? else {
            return Err(io::Error::other("the driver did not answer a read with a read"));
        };
        self.buffer.drain(..self.used);
        self.used = 0;
        self.buffer.extend_from_slice(&buffer.as_ref()[..bytes]);
        let end = bytes < buffer.len();
        self.spare = Some(buffer);
        if !end {
            self.offset += bytes as u64;
            self.start();
        }
        Ok(bytes > 0)
    }

    fn start(&mut self) {
        let into = self.spare.take().unwrap_or_else(|| AlignedBuffer::zeroed(self.read_bytes));
        self.call = Some(self.io.file(FileOp::Read { file: self.file, offset: self.offset, into }));
    }
}
