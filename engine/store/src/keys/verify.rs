//! One run against the keys of its stretch of the log. Reads everything, changes nothing.

use std::cmp::Ordering;

use ringmq_reactor::{PAGE_BYTES, TaskIo};
use ringmq_remoting::record::RecordView;

use super::format::ENTRIES_PER_PAGE;
use super::hash::RecordKeys;
use super::run::{Run, RunError, RunReader};
use super::table::{Entry, KeyTable};
use crate::offset::LogOffset;

/// The keys of a stretch of the log, as they come.
pub(crate) struct Expected(KeyTable);

impl Expected {
    /// Nothing yet.
    pub fn new(run: &Run) -> Self {
        Self(KeyTable::new(run.span().from, 0))
    }

    /// Adds those of the next record.
    pub fn add(&mut self, record: &RecordView<'_>, at: LogOffset) {
        let properties = record.properties();
        let keys = RecordKeys::of(record.sys_flag(), &properties);
        self.0.add(record.topic(), keys, at, record.store_timestamp());
    }

    /// Compares them with what a run has, entry by entry: none is missing, none too many, each where a query looks for it.
    ///
    /// # Errors
    /// The first page that is damaged, or what does not agree.
    pub async fn compare(&self, io: &TaskIo, run: &Run) -> Result<u64, Wrong> {
        if run.missing_filter().is_some() {
            run.load_filter(io).await?;
        }
        let mut reader = RunReader::new(io, run);
        let (mut number, mut last) = (0, None);
        let mut expected = self.0.sorted().flatten().peekable();
        while let Some(found) = reader.next().await? {
            let page = 1 + u32::try_from(number / ENTRIES_PER_PAGE as u64).unwrap_or(u32::MAX);
            let wrong = |what: String| Wrong { page: Some(page), what };
            let record = run.span().candidate(&found).offset;
            if last.is_some_and(|last| (found.hash, found.offset) < last) {
                return Err(wrong(format!("entry {number} is not in order")));
            }
            last = Some((found.hash, found.offset));
            match expected.peek().map_or(Ordering::Greater, |expected| order(expected, &found)) {
                Ordering::Less => {
                    let entry = expected.next().expect("peeked");
                    let record = run.span().candidate(&entry).offset;
                    return Err(wrong(format!("a key of the record at log offset {record} is missing")));
                }
                Ordering::Greater => {
                    return Err(wrong(format!("it has a key that no record has, for log offset {record}")));
                }
                Ordering::Equal => {}
            }
            let own = expected.next().expect("peeked");
            if !self.is_time(run, &own, &found) {
                return Err(wrong(format!("it has another store time for log offset {record}")));
            }
            if !run.may_contain(found.hash) {
                return Err(Wrong { page: None, what: format!("its filter hides log offset {record}") });
            }
            if !run.pages_of(found.hash).is_some_and(|pages| pages.contains(&page)) {
                return Err(Wrong { page: None, what: format!("its fences hide log offset {record}") });
            }
            number += 1;
        }
        if let Some(entry) = expected.next() {
            let record = run.span().candidate(&entry).offset;
            let what = format!("a key of the record at log offset {record} is missing");
            return Err(Wrong { page: None, what });
        }
        if number != run.header.entries {
            let what = format!("it has {number} entries, its header says {}", run.header.entries);
            return Err(Wrong { page: Some(0), what });
        }
        Ok(number)
    }

    /// Whether an entry's time is the record's. Times never go back in the log, those that records carry may: then an entry has the
    /// later one, within what the header promises to searches by time.
    fn is_time(&self, run: &Run, own: &Entry, found: &Entry) -> bool {
        let (own, found) = (self.0.span().candidate(own), run.span().candidate(found));
        let span = run.span();
        !found.exact || found.time == own.time || (own.time..=span.last_time).contains(&found.time)
    }
}

/// Reads all pages of a run whose stretch of the log cannot be read.
///
/// # Errors
/// The first page that is damaged.
pub(crate) async fn check_pages(io: &TaskIo, run: &Run) -> Result<(), Wrong> {
    if run.missing_filter().is_some() {
        run.load_filter(io).await?;
    }
    let mut reader = RunReader::new(io, run);
    while reader.next().await?.is_some() {}
    Ok(())
}

fn order(a: &Entry, b: &Entry) -> Ordering {
    (a.hash, a.offset).cmp(&(b.hash, b.offset))
}

/// What is wrong with a run.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// On which page; `None`: on none alone.
    pub page: Option<u32>,
    pub what: String,
}

impl From<RunError> for Wrong {
    fn from(error: RunError) -> Self {
        let page = if let RunError::Damaged { page } = error { Some(page) } else { None };
        Self { page, what: error.to_string() }
    }
}

impl Wrong {
    /// The bad bytes of the file, as far as they are known.
    pub fn bytes(&self, file_bytes: u64) -> std::ops::Range<u64> {
        let page = |number: u32| u64::from(number) * PAGE_BYTES as u64;
        self.page.map_or(0..file_bytes, |number| page(number)..page(number + 1))
    }
}
