//! Where the tail cache's blocks come from: the process' own memory, or a file in memory that outlives it.

use std::io;
use std::path::PathBuf;

use ringmq_reactor::{Block, Io, Mapping};

use super::layout::{Header, SLOT_BYTES, Slot, encode_mark};
use crate::offset::LogOffset;

/// A block, and its number in the file.
#[derive(Debug)]
pub(crate) struct CacheBlock {
    pub block: Block,
    number: Option<usize>,
}

impl CacheBlock {
    /// Empties it for another window.
    pub fn reset(&mut self, source: &mut Source) {
        if let (Source::Mapped(file), Some(number)) = (source, self.number) {
            file.clear(number);
        }
        self.block.reset();
    }
}

pub(crate) enum Source {
    /// Gone with the process.
    Memory,
    Mapped(MappedFile),
}

impl Source {
    pub fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// A block that was not in use before, empty; `None`: the file has no more.
    pub fn take(&mut self, io: &mut dyn Io, bytes: usize) -> io::Result<Option<CacheBlock>> {
        match self {
            Self::Memory => Ok(Some(CacheBlock { block: io.block(bytes)?, number: None })),
            Self::Mapped(file) => file.take(io),
        }
    }

    /// Notes which window a block holds from now on.
    pub fn note(&mut self, block: &CacheBlock, start: LogOffset, first: LogOffset, segment_end: LogOffset) {
        if let (Self::Mapped(file), Some(number)) = (self, block.number) {
            file.note(Slot { block: number, start, first, segment_end });
        }
    }

    /// Notes that everything up to `sealed` is there in whole batches.
    pub fn mark(&mut self, sealed: LogOffset) {
        if let Self::Mapped(file) = self {
            file.mark(sealed);
        }
    }
}

/// A file in memory while it is being filled. See [`super::layout`].
pub(crate) struct MappedFile {
    mapping: Mapping,
    path: PathBuf,
    header: Header,
    /// Numbers of blocks that are not in use, the next one last.
    free: Vec<usize>,
    /// Free blocks hold zeros.
    fresh: bool,
    marks: u64,
}

impl MappedFile {
    /// Takes over a file for a life of the store: whatever it held, it holds nothing but `adopted` afterwards. The header comes last:
    /// before it, the file still belongs to the life before and is not believed.
    pub fn begin(
        mut mapping: Mapping,
        path: PathBuf,
        header: Header,
        fresh: bool,
        adopted: &[Slot],
        sealed: LogOffset,
    ) -> Self {
        let layout = header.layout;
        let in_use = |block: &usize| adopted.iter().any(|slot| slot.block == *block);
        let free: Vec<usize> = (0..layout.blocks).rev().filter(|block| !in_use(block)).collect();
        if !fresh {
            for block in &free {
                mapping.write(layout.slot_at(*block), &[0; SLOT_BYTES]);
            }
        }
        for slot in adopted {
            mapping.write(layout.slot_at(slot.block), &slot.encode());
        }
        let mut file = Self { mapping, path, header, free, fresh, marks: 0 };
        file.mark(sealed);
        file.mark(sealed);
        file.mapping.write(0, &header.encode());
        file
    }

    /// Where it lies.
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// A block that was adopted.
    pub fn adopted(block: Block, number: usize) -> CacheBlock {
        CacheBlock { block, number: Some(number) }
    }

    fn take(&mut self, io: &mut dyn Io) -> io::Result<Option<CacheBlock>> {
        let Some(number) = self.free.last().copied() else { return Ok(None) };
        let layout = self.header.layout;
        let mut block = io.block_in(&mut self.mapping, layout.block_at(number), layout.block_bytes)?;
        self.free.pop();
        if !self.fresh {
            block.reset();
        }
        Ok(Some(CacheBlock { block, number: Some(number) }))
    }

    fn clear(&mut self, number: usize) {
        self.mapping.write(self.header.layout.slot_at(number), &[0; SLOT_BYTES]);
    }

    fn note(&mut self, slot: Slot) {
        self.mapping.write(self.header.layout.slot_at(slot.block), &slot.encode());
    }

    fn mark(&mut self, sealed: LogOffset) {
        self.marks += 1;
        let (at, mark) = encode_mark(self.marks, sealed);
        self.mapping.write(at, &mark);
    }
}
