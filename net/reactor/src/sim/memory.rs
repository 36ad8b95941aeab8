//! Files that live in a host's memory: they survive its processes, not its power.
//!
//! A service stores into a mapping at any time during its turns, so a process that is killed may have made some of its last turn's
//! stores and not the others. [`super::World::kill`] therefore lets such a process begin the turn that would come next, and
//! keeps of what that changed a part: what was stored before some [`Mapping::write`], which promises that order, and anything
//! of what was stored until the next. See [`HostMemory::keep_part`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Rng;
use super::core::ShardKey;
use crate::mapping::{Mapping, Region};

/// The one folder of a simulated host that lives in memory.
const FOLDER: &str = "/dev/shm";

/// What a killed process leaves or takes as a whole: a store of one machine word.
const WORD_BYTES: usize = 8;

struct Entry {
    region: Arc<Region>,
    /// Who has mapped it.
    holder: Option<ShardKey>,
}

pub(super) struct HostMemory {
    files: BTreeMap<PathBuf, Entry>,
    /// Counts the host's starts.
    boot: u128,
}

impl Default for HostMemory {
    fn default() -> Self {
        Self { files: BTreeMap::new(), boot: 1 }
    }
}

impl HostMemory {
    pub(super) fn map(&mut self, shard: ShardKey, path: &Path, create: Option<usize>) -> io::Result<Mapping> {
        if !path.starts_with(FOLDER) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "not a folder that lives in memory"));
        }
        let entry = match (self.files.get_mut(path), create) {
            (Some(_), Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
            (Some(entry), None) => {
                if entry.holder.is_some() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                if Arc::strong_count(&entry.region) > 1 {
                    // Slices of the dead process that the world's owner still looks at stay what they are.
                    let copy = Region::heap(entry.region.len());
                    copy.overwrite(0, &entry.region.to_vec());
                    entry.region = Arc::new(copy);
                }
                entry
            }
            (None, Some(bytes)) => {
                let entry = Entry { region: Arc::new(Region::heap(bytes)), holder: None };
                self.files.entry(path.to_owned()).or_insert(entry)
            }
        };
        entry.holder = Some(shard);
        Ok(Mapping::new(Arc::clone(&entry.region), self.boot.to_be_bytes()))
    }

    /// Takes the name away; whoever has mapped it keeps the memory. False if there is none.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        self.files.remove(path).is_some()
    }

    /// Shards are gone.
    pub(super) fn release(&mut self, whose: impl Fn(ShardKey) -> bool) {
        for entry in self.files.values_mut() {
            entry.holder = entry.holder.filter(|holder| !whose(*holder));
        }
    }

    /// Everything is gone; the next start of the host has another number.
    pub(super) fn power_cut(&mut self) {
        self.files.clear();
        self.boot += 1;
    }

    /// Whether a process has mapped anything.
    pub(super) fn is_used_by(&self, process: u32) -> bool {
        self.held_by(process).next().is_some()
    }

    fn held_by(&self, process: u32) -> impl Iterator<Item = &Entry> {
        self.files.values().filter(move |e| e.holder.is_some_and(|holder| holder.process == process))
    }

    /// The last turn of a process begins. Gives what its mappings hold.
    pub(super) fn begin_last_turn(&self, process: u32) -> Vec<Vec<u8>> {
        let begin = |entry: &Entry| {
            entry.region.record_states();
            entry.region.to_vec()
        };
        self.held_by(process).map(begin).collect()
    }

    /// The last turn is over, and some of its stores were made.
    pub(super) fn keep_part(&mut self, process: u32, before: Vec<Vec<u8>>, rng: &mut Rng) {
        for (entry, first) in self.held_by(process).zip(before) {
            let region = &entry.region;
            let mut states = vec![first];
            states.append(&mut region.take_states());
            states.push(region.to_vec());
            let reached = rng.index(states.len() - 1);
            let (old, new) = (&states[reached], &states[reached + 1]);
            region.overwrite(0, new);
            let changed: Vec<usize> = (0..new.len().div_ceil(WORD_BYTES))
                .map(|word| word * WORD_BYTES)
                .filter(|at| old[*at..].iter().zip(&new[*at..]).take(WORD_BYTES).any(|(a, b)| a != b))
                .collect();
            // Stores mostly go from low to high addresses, so what is lost is mostly an end; but nothing promises that.
            let (order, border) = (rng.below(4), rng.index(changed.len() + 1));
            for (index, at) in changed.into_iter().enumerate() {
                let lost = match order {
                    0 => false,
                    1 => index >= border,
                    2 => index < border,
                    _ => rng.one_in(2),
                };
                if lost {
                    region.overwrite(at, &old[at..old.len().min(at + WORD_BYTES)]);
                }
            }
        }
    }

    pub(super) fn read_all(&self, path: &Path) -> Option<Vec<u8>> {
        self.files.get(path).map(|entry| entry.region.to_vec())
    }

    /// Puts a file there, or in the place of one that nobody has mapped.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let region = Region::heap(bytes.len());
        region.overwrite(0, bytes);
        let old = self.files.insert(path.to_owned(), Entry { region: Arc::new(region), holder: None });
        assert!(old.is_none_or(|old| old.holder.is_none()), "{} is in use", path.display());
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }
}
