//! One run of the queue index against the log that it indexes.

use rustc_hash::FxHashSet;

use crate::index::format::{self, PAGE_ENTRIES, Row, RunHeader};
use crate::index::runs::Run;
use crate::index::{Entry, Index, QueueSlot};
use crate::offset::LogOffset;
use crate::recover::Recovery;
use crate::recover::index::BadPage;
use crate::recover::scan::Scan;

/// The first thing that is wrong with a run.
pub(super) struct Wrong {
    /// Number of the page in the run.
    pub page: u32,
    pub what: String,
}

impl From<BadPage> for Wrong {
    fn from(bad: BadPage) -> Self {
        let what = match bad.source {
            Some(error) => format!("page {} of the run cannot be read: {error}", bad.number),
            None => format!("page {} of the run is damaged", bad.number),
        };
        Self { page: bad.number, what }
    }
}

/// Whether all of its pages are what was written.
pub(super) async fn check_pages(recovery: &Recovery<'_>, run: &Run) -> Result<(), Wrong> {
    Ok(recovery.run_pages(run, 0..run.header.pages(), |_, _| {}).await?)
}

/// Compares a run with the log, of which `scan` knows everything from `since` to the run's end. Gives the number of entries.
pub(super) async fn check(
    recovery: &Recovery<'_>,
    run: &Run,
    scan: &Scan,
    since: LogOffset,
) -> Result<u32, Wrong> {
    let header = &run.header;
    let mut table = TableCheck::new(header, scan.index(), since);
    recovery.run_pages(run, 0..1, |_, _| {}).await?;
    recovery
        .run_pages(run, header.table_at()..header.pages(), |number, page| table.page(number, page))
        .await?;
    let parts = table.finish()?;
    let mut entries =
        EntryCheck { header, index: scan.index(), parts: &parts, since, number: 0, wrong: None };
    recovery.run_pages(run, 1..header.table_at(), |number, page| entries.page(number, page)).await?;
    if let Some(wrong) = entries.wrong {
        return Err(wrong);
    }
    let newest = scan.newest_time();
    // A later time is no harm: it may be of a record that retention has taken.
    if header.newest_time < newest {
        let what = format!("its newest record was stored at {newest}, not at {}", header.newest_time);
        return Err(Wrong { page: 0, what });
    }
    Ok(header.entries)
}

/// The entries of one queue in the run.
struct Part {
    slot: QueueSlot,
    first: i64,
    /// Numbers of its entries in the run end here.
    end: u32,
}

/// The queue table: a row for every queue, each where a reader looks for it, and nothing else.
struct TableCheck<'a> {
    header: &'a RunHeader,
    index: &'a Index,
    since: LogOffset,
    seen: FxHashSet<QueueSlot>,
    parts: Vec<Part>,
    rows: u32,
    place: u32,
    /// The first page of the table from which a search comes to this page.
    reached_from: u32,
    spills: bool,
    wrong: Option<Wrong>,
}

impl<'a> TableCheck<'a> {
    fn new(header: &'a RunHeader, index: &'a Index, since: LogOffset) -> Self {
        Self {
            header,
            index,
            since,
            seen: FxHashSet::default(),
            parts: Vec::new(),
            rows: 0,
            place: 0,
            reached_from: 0,
            spills: false,
            wrong: None,
        }
    }

    fn page(&mut self, number: u32, page: &[u8]) {
        let bucket = number - self.header.table_at();
        if !self.spills {
            self.reached_from = bucket;
        }
        for row in format::rows(page) {
            if let Err(what) = self.row(&row, bucket) {
                let what = format!("{} queue {}: {what}", row.topic, row.queue_id);
                self.wrong.get_or_insert(Wrong { page: number, what });
            }
        }
        self.spills = format::spills(page);
    }

    fn row(&mut self, row: &Row<'_>, bucket: u32) -> Result<(), String> {
        self.rows += 1;
        let place = self.place;
        self.place = place.saturating_add(row.count);
        if row.hash != format::hash(row.topic, row.queue_id)
            || !(self.reached_from..=bucket).contains(&self.header.bucket(row.hash))
        {
            return Err("its row is not where it is looked for".to_owned());
        }
        if row.place != place {
            return Err(format!("its entries begin at number {}, not at {place}", row.place));
        }
        let Some(slot) = self.index.find(row.topic, row.queue_id) else {
            // All of its messages may be gone with older segments.
            let may_be = row.count == 0 && row.born < self.since;
            return may_be.then_some(()).ok_or_else(|| "the log has no such queue".to_owned());
        };
        if !self.seen.insert(slot) {
            return Err("it has two rows".to_owned());
        }
        let queue = self.index.queue(slot);
        let (first, count) = (queue.indexed(), queue.count_below(self.header.to));
        if (row.first, row.count) != (first, count) {
            let found = format!("{} entries from queue offset {}", row.count, row.first);
            return Err(format!("it has {found}, where the log has {count} from {first}"));
        }
        if row.born != queue.born() && row.born >= self.since {
            return Err(format!("it was born at log offset {}, not at {}", queue.born(), row.born));
        }
        if row.min > row.end() {
            return Err(format!("its min offset {} lies behind its end {}", row.min, row.end()));
        }
        if count > 0 {
            self.parts.push(Part { slot, first, end: self.place });
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Part>, Wrong> {
        let page = self.header.table_at();
        let missing = (0..self.index.slot_end() as usize)
            .filter_map(|at| self.index.at(at))
            .find(|(slot, queue)| queue.born() < self.header.to && !self.seen.contains(slot));
        let what = match (self.wrong, missing) {
            (Some(wrong), _) => return Err(wrong),
            (None, Some((_, queue))) => {
                format!("{} queue {} has no row in the run", queue.topic(), queue.queue_id())
            }
            _ if (self.rows, self.place) != (self.header.queues, self.header.entries) => format!(
                "the table has {} queues with {} entries, the header says {} with {}",
                self.rows, self.place, self.header.queues, self.header.entries
            ),
            _ => return Ok(self.parts),
        };
        Err(Wrong { page, what })
    }
}

/// The entries, in the order of the rows, against those that the scan made from the records.
struct EntryCheck<'a> {
    header: &'a RunHeader,
    index: &'a Index,
    parts: &'a [Part],
    since: LogOffset,
    /// Of the next entry.
    number: u32,
    wrong: Option<Wrong>,
}

impl EntryCheck<'_> {
    fn page(&mut self, number: u32, page: &[u8]) {
        for place in 0..PAGE_ENTRIES.min(self.header.entries - self.number) {
            let found = format::get_entry(page, place, self.header.from, self.header.base_time);
            if let Err(what) = self.entry(&found) {
                self.wrong.get_or_insert(Wrong { page: number, what });
            }
            self.number += 1;
        }
    }

    fn entry(&self, found: &Entry) -> Result<(), String> {
        let place = self.parts.partition_point(|part| part.end <= self.number);
        let part = self.parts.get(place).expect("the table has all entries of the header");
        let begin = place.checked_sub(1).map_or(0, |before| self.parts[before].end);
        let offset = part.first + i64::from(self.number - begin);
        let queue = self.index.queue(part.slot);
        let expected = queue.entry(offset).expect("what is not in a run is in memory");
        let record = |entry: &Entry| (entry.offset, entry.bytes, entry.crc, entry.tags_code);
        // Times never go back in the log; how late the records before `since` were is not known.
        let is_time = found.store_timestamp == expected.store_timestamp
            || (self.since > LogOffset(0)
                && (expected.store_timestamp..=self.header.newest_time).contains(&found.store_timestamp));
        if record(found) == record(&expected) && is_time {
            return Ok(());
        }
        let (topic, queue_id) = (queue.topic(), queue.queue_id());
        Err(format!(
            "the entry of {topic} queue {queue_id} offset {offset} is {found:?} instead of {expected:?}"
        ))
    }
}
