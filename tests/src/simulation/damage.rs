//! Bits that turn over in the broker's files while it does not run.

use std::path::PathBuf;
use std::time::Duration;

use super::cluster::Cluster;
use super::plan::SHARDS;

/// Bytes on each side of a damaged one that tell whether the file has been written there since.
const AROUND: usize = 32;
const PAGE: usize = 4096;
/// A broker that finds damage at its start has ended by then.
const START_WITHIN: Duration = Duration::from_secs(2);

/// Where a bit turned over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    QueueIndex,
    Checkpoint,
    KeyIndex,
    Metadata,
    TailCache,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Log, Self::QueueIndex, Self::Checkpoint, Self::KeyIndex, Self::Metadata, Self::TailCache];

    /// Whether the broker ends in order before: then everything in the file counts. What a killed process wrote last cannot be told from
    /// a torn write; so the log and what vouches for it are damaged at rest.
    fn is_at_rest(self) -> bool {
        matches!(self, Self::Log | Self::Checkpoint | Self::Metadata)
    }

    /// Whether the broker may refuse to start: nothing else holds what is damaged.
    fn may_end_the_start(self) -> bool {
        matches!(self, Self::Log | Self::Metadata)
    }

    fn folder(self, shard: u64) -> String {
        match self {
            Self::Log => format!("/store/shard-{shard:02}/log"),
            Self::QueueIndex => format!("/store/shard-{shard:02}/index"),
            Self::Checkpoint => format!("/store/shard-{shard:02}"),
            Self::KeyIndex => format!("/store/shard-{shard:02}/keys"),
            Self::Metadata => "/store/metadata".to_owned(),
            Self::TailCache => String::new(),
        }
    }
}

/// One bit, and how to find out whether it is still there.
pub struct Damage {
    kind: Kind,
    path: PathBuf,
    at: usize,
    mask: u8,
    /// The damaged byte and what is around it.
    around: Vec<u8>,
}

impl Damage {
    /// Ends the broker and does it; `None`: there is no such file, or nothing in it.
    pub fn new(cluster: &mut Cluster) -> Option<Self> {
        let random = cluster.world.random();
        let (kind, shard) = (Kind::ALL[random.index(Kind::ALL.len())], random.below(u64::from(SHARDS)));
        if !kind.is_at_rest() {
            cluster.kill_broker();
        } else if !cluster.close_broker() {
            return None;
        }
        let path = file(cluster, kind, shard)?;
        let bytes = read(cluster, kind, &path)?;
        // Files are made ahead: mostly zeros, in which nothing turns over that matters.
        let pages: Vec<usize> = (0..bytes.len())
            .step_by(PAGE)
            .filter(|at| bytes[*at..].iter().take(PAGE).any(|b| *b != 0))
            .collect();
        if pages.is_empty() {
            return None;
        }
        let random = cluster.world.random();
        let at = (pages[random.index(pages.len())] + random.index(PAGE)).min(bytes.len() - 1);
        let mask = 1 << random.below(8);
        let mut damage = Self { kind, path, at, mask, around: Vec::new() };
        damage.flip(cluster);
        damage.around = damage.look(cluster)?;
        if kind == Kind::TailCache {
            cluster.memory_damaged();
        }
        Some(damage)
    }

    /// Starts the broker; whether it gets over it. If not, the damage was told.
    pub fn is_survived(&self, cluster: &mut Cluster) -> bool {
        cluster.start_broker();
        cluster.world.run_for(START_WITHIN);
        let survived = cluster.broker_runs();
        cluster.flipped(survived);
        if !survived && !self.kind.may_end_the_start() {
            cluster.violation(format!(
                "the broker does not start with bit {:#x} of byte {} of {} turned over",
                self.mask,
                self.at,
                self.path.display()
            ));
        }
        survived
    }

    /// Turns the bit back, unless the file has been written there since.
    pub fn mend(&self, cluster: &mut Cluster) {
        // The tail cache's file is another one in every life of the broker.
        if self.kind != Kind::TailCache && self.look(cluster).as_ref() == Some(&self.around) {
            self.flip(cluster);
        }
    }

    fn flip(&self, cluster: &mut Cluster) {
        let host = cluster.broker_host;
        if self.kind == Kind::TailCache {
            let mut bytes = cluster.world.read_memory_file(host, &self.path).expect("looked at before");
            bytes[self.at] ^= self.mask;
            cluster.world.put_memory_file(host, &self.path, &bytes);
        } else {
            cluster.world.flip_bits(host, &self.path, self.at as u64, self.mask);
        }
    }

    fn look(&self, cluster: &Cluster) -> Option<Vec<u8>> {
        let bytes = read(cluster, self.kind, &self.path)?;
        let range = self.at.saturating_sub(AROUND)..(self.at + AROUND).min(bytes.len());
        bytes.get(range).map(<[u8]>::to_vec)
    }
}

fn file(cluster: &mut Cluster, kind: Kind, shard: u64) -> Option<PathBuf> {
    let host = cluster.broker_host;
    let mut paths = if kind == Kind::TailCache {
        cluster.world.memory_files(host)
    } else {
        let folder = PathBuf::from(kind.folder(shard));
        let entries = cluster.world.list(host, &folder).into_iter().filter(|entry| entry.bytes > 0);
        let wanted = entries.filter(|entry| match kind {
            Kind::Log => !entry.name.starts_with("spare-"),
            Kind::Checkpoint => entry.name == "checkpoint",
            _ => true,
        });
        wanted.map(|entry| folder.join(entry.name)).collect()
    };
    if paths.is_empty() {
        return None;
    }
    let index = cluster.world.random().index(paths.len());
    Some(paths.swap_remove(index))
}

fn read(cluster: &Cluster, kind: Kind, path: &PathBuf) -> Option<Vec<u8>> {
    match kind {
        Kind::TailCache => cluster.world.read_memory_file(cluster.broker_host, path),
        _ => cluster.world.read_file(cluster.broker_host, path),
    }
}
