//! Delay progress: how far each shard has delivered each level.

use std::collections::BTreeMap;

use ringmq_remoting::body::DataVersion;
use ringmq_remoting::json::{self, FromJson, JsonError, ToJson, Writer};

/// Content of `delayOffset.json` and of the answer to 45: the reference's members, and the progress of each shard, which has
/// parking queues of its own.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct DelayProgress {
    /// Version of the table.
    pub data_version: DataVersion,
    /// Shard → delay level (from 1) → next offset in that shard's parking queue.
    pub shards: BTreeMap<i32, BTreeMap<i32, i64>>,
}

impl DelayProgress {
    /// A shard's levels have moved on.
    pub fn moved(&mut self, shard: u16, levels: &[(i32, i64)]) {
        self.shards.entry(i32::from(shard)).or_default().extend(levels.iter().copied());
    }

    /// Level → sum over the shards: what the reference's own member says.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<i32, i64> {
        let mut sums = BTreeMap::new();
        for (level, offset) in self.shards.values().flatten() {
            *sums.entry(*level).or_default() += offset;
        }
        sums
    }

    /// Reads the file. The reference's own file, without shards, gives no progress: its offsets belong to another log.
    ///
    /// # Errors
    /// When the text is not of that shape.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        let value = json::parse(text)?;
        let member = |name: &str| value.get(name);
        Ok(Self {
            data_version: member("dataVersion").map(DataVersion::read).transpose()?.unwrap_or_default(),
            shards: member("shardOffsetTable").map(BTreeMap::read).transpose()?.unwrap_or_default(),
        })
    }
}

impl ToJson for DelayProgress {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            object.member("dataVersion", &self.data_version);
            object.member("offsetTable", &self.sums());
            object.member("shardOffsetTable", &self.shards);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_kept_per_shard() {
        let mut progress = DelayProgress::default();
        progress.moved(0, &[(1, 5), (3, 2)]);
        progress.moved(1, &[(3, 4)]);
        progress.moved(0, &[(1, 6)]);
        let text = json::to_text(&progress);
        assert!(text.contains("\"offsetTable\":{1:6,3:6}"), "{text}");
        assert_eq!(DelayProgress::from_json(text.as_bytes()), Ok(progress));
        let apache = DelayProgress::from_json(b"{\"offsetTable\":{1:12,3:4}}").expect("readable");
        assert!(apache.shards.is_empty());
    }
}
