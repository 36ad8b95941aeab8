//! Comparing what was read with what was written.

use ringmq_reactor::{ShardId, TaskIo};
use ringmq_remoting::record::RecordView;
use ringmq_store::LogOffset;
use ringmq_store::inspect::{Severity, is_own_topic};
use rustc_hash::FxHashMap;

use super::super::StoreToolError;
use super::super::place::Place;

/// Everything of a message that an import keeps, by queue in order: count and a CRC-32.
#[derive(Debug, Default)]
pub(super) struct Sums {
    queues: FxHashMap<(u16, String, i32), (u64, crc32fast::Hasher)>,
}

impl Sums {
    /// Adds a message as it stands in a log, under the queue offset that it has in the new one.
    pub fn add(&mut self, shard: ShardId, record: &RecordView<'_>, queue_offset: i64, properties: &[u8]) {
        let key = (shard.0, record.topic().to_owned(), record.queue_id());
        let (count, sum) = self.queues.entry(key).or_default();
        *count += 1;
        for number in [
            queue_offset,
            record.born_timestamp(),
            record.flag().into(),
            record.sys_flag().into(),
            record.reconsume_times().into(),
            record.prepared_transaction_offset(),
        ] {
            sum.update(&number.to_be_bytes());
        }
        for host in [record.born_host(), record.store_host()] {
            sum.update(host.to_string().as_bytes());
        }
        sum.update(record.body());
        sum.update(properties);
    }

    /// Reads the new store's shards and compares.
    pub async fn check(&self, io: &TaskIo, shards: &[Place]) -> Result<(), StoreToolError> {
        let mut found = Self::default();
        for place in shards {
            let inspection = place.open(io).await?;
            let verification = inspection.verify().await?;
            if let Some(finding) = verification.findings.iter().find(|f| f.severity >= Severity::TornTail) {
                return Err(wrong(&format!("{}: {}", finding.file.display(), finding.text)));
            }
            let mut walk = inspection.walk(LogOffset(0));
            while let Some(piece) = walk.next().await? {
                for (_, record) in piece.records() {
                    let record = record.map_err(|error| wrong(&error.to_string()))?;
                    if !is_own_topic(record.topic()) {
                        let shard = inspection.shard();
                        found.add(shard, &record, record.queue_offset(), record.properties_bytes());
                    }
                }
            }
            drop(walk);
            inspection.close().await;
        }
        let finish = |sums: &Self| -> std::collections::BTreeMap<(u16, String, i32), (u64, u32)> {
            let sums = sums.queues.iter();
            sums.map(|(key, (count, sum))| (key.clone(), (*count, sum.clone().finalize()))).collect()
        };
        let (expected, found) = (finish(self), finish(&found));
        if expected == found {
            return Ok(());
        }
        let differs = expected.iter().find(|(key, sum)| found.get(*key) != Some(*sum));
        Err(wrong(&format!("what was read and what was written differ, first in {differs:?}")))
    }
}

fn wrong(text: &str) -> StoreToolError {
    StoreToolError::Missing(format!("the new store does not hold what was imported: {text}"))
}
