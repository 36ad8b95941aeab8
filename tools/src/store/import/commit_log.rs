//! Reading the CommitLog of an Apache broker, record by record.
//!
//! Files are named by the offset of their first byte, in 20 digits, and are all of one size; a record never crosses a border: what is left is
//! a blank. The last files may be made ahead and hold nothing but zeros. The log ends at the first record that is not whole, as Apache's
//! own recovery has it; if a later file holds records, that is damage, and the import stops.

use std::path::PathBuf;

use bytes::Bytes;
use ringmq_reactor::{FileId, OpenOptions, TaskIo};
use ringmq_remoting::record::{RecordError, RecordView};

use super::super::StoreToolError;

/// One read.
const READ_BYTES: usize = 4 << 20;
const NAME_DIGITS: usize = 20;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogFile {
    path: PathBuf,
    start: u64,
    bytes: u64,
}

/// The files of a log, in order.
#[derive(Clone, Debug)]
pub(super) struct CommitLog {
    files: Vec<LogFile>,
}

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Offset behind the last whole record.
    pub at: u64,
    /// What stands there, if it is not the untouched rest of a file.
    pub torn: Option<String>,
}

impl CommitLog {
    /// Finds the files in `folders` (a broker may have several).
    pub async fn open(io: &TaskIo, folders: &[PathBuf]) -> Result<Self, StoreToolError> {
        let mut files = Vec::new();
        for folder in folders {
            let entries = io.list(folder).await.map_err(|source| StoreToolError::Io {
                what: format!("cannot list {}", folder.display()),
                source,
            })?;
            let named = entries.into_iter().filter(|entry| !entry.is_dir).filter_map(|entry| {
                let digits =
                    entry.name.len() == NAME_DIGITS && entry.name.bytes().all(|b| b.is_ascii_digit());
                let start = digits.then(|| entry.name.parse().ok()).flatten()?;
                Some(LogFile { path: folder.join(&entry.name), start, bytes: entry.bytes })
            });
            files.extend(named);
        }
        files.sort_by_key(|file| file.start);
        if let Some(pair) = files.windows(2).find(|pair| pair[0].start + pair[0].bytes != pair[1].start) {
            return Err(StoreToolError::Missing(format!(
                "{} ends at offset {}, but the next file is {}: a file of the log is missing or cut",
                pair[0].path.display(),
                pair[0].start + pair[0].bytes,
                pair[1].path.display()
            )));
        }
        Ok(Self { files })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub fn reader<'a>(&'a self, io: &'a TaskIo) -> Reader<'a> {
        Reader { io, log: self, next_file: 0, open: None, end: None }
    }
}

struct OpenFile<'a> {
    file: &'a LogFile,
    handle: FileId,
    /// Offset inside the file of the first byte of `buffer`.
    at: u64,
    buffer: Bytes,
}

/// Goes through a log once.
pub(super) struct Reader<'a> {
    io: &'a TaskIo,
    log: &'a CommitLog,
    next_file: usize,
    open: Option<OpenFile<'a>>,
    end: Option<End>,
}

/// Records that lie one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Offset of the first.
    pub start: u64,
    /// Whole records with right CRCs.
    pub bytes: Bytes,
}

impl<'a> Reader<'a> {
    /// The next records; `None` at the end of the log.
    pub async fn next(&mut self) -> Result<Option<Stretch>, StoreToolError> {
        while self.end.is_none() {
            let Some(mut open) = self.open.take() else {
                self.open_next().await?;
                continue;
            };
            let (whole, stop) = whole_records(&open.buffer, open.file.start + open.at);
            let stretch = Stretch { start: open.file.start + open.at, bytes: open.buffer.slice(..whole) };
            open.at += whole as u64;
            match stop {
                Stop::More => self.refill(open, whole).await?,
                Stop::Blank => self.close(open).await?,
                Stop::Zeros => self.end_at(open, None).await?,
                Stop::Invalid(cause) => self.end_at(open, Some(cause)).await?,
            }
            if whole > 0 {
                return Ok(Some(stretch));
            }
        }
        Ok(None)
    }

    /// How the log ended, once [`Reader::next`] has given `None`.
    pub fn end(self) -> End {
        self.end.expect("read to its end")
    }

    async fn open_next(&mut self) -> Result<(), StoreToolError> {
        let Some(file) = self.log.files.get(self.next_file) else {
            let at = self.log.files.last().map_or(0, |file| file.start + file.bytes);
            self.end = Some(End { at, torn: None });
            return Ok(());
        };
        self.next_file += 1;
        let options = OpenOptions { read_only: true, ..OpenOptions::default() };
        let (handle, _) = self.io.open(&file.path, options).await.map_err(|e| cannot_read(file, e))?;
        let open = OpenFile { file, handle, at: 0, buffer: Bytes::new() };
        self.refill(open, 0).await
    }

    /// Reads from the first byte that is not consumed, at least twice what was at hand: a record may be longer than one read.
    async fn refill(&mut self, mut open: OpenFile<'a>, consumed: usize) -> Result<(), StoreToolError> {
        let left = open.file.bytes - open.at;
        let kept = open.buffer.len() - consumed;
        if kept as u64 == left && left > 0 {
            let cause = "the file ends inside a record".to_owned();
            return self.end_at(open, Some(cause)).await;
        }
        if left == 0 {
            return self.close(open).await;
        }
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES.max(2 * kept));
        let read = self.io.read_at(open.handle, open.at, bytes).await;
        open.buffer = read.map_err(|e| cannot_read(open.file, e))?;
        if open.buffer.len() < bytes {
            return Err(cannot_read(open.file, std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.open = Some(open);
        Ok(())
    }

    async fn close(&mut self, open: OpenFile<'a>) -> Result<(), StoreToolError> {
        self.io.close(open.handle).await.map_err(|e| cannot_read(open.file, e))
    }

    /// The log ends here, unless a later file holds something.
    async fn end_at(&mut self, open: OpenFile<'a>, torn: Option<String>) -> Result<(), StoreToolError> {
        let (path, inside) = (open.file.path.clone(), open.at);
        let at = open.file.start + open.at;
        self.close(open).await?;
        for later in &self.log.files[self.next_file..] {
            let options = OpenOptions { read_only: true, ..OpenOptions::default() };
            let (handle, _) = self.io.open(&later.path, options).await.map_err(|e| cannot_read(later, e))?;
            let begin = self.io.read_at(handle, 0, 8).await.map_err(|e| cannot_read(later, e))?;
            self.io.close(handle).await.map_err(|e| cannot_read(later, e))?;
            if begin.iter().any(|byte| *byte != 0) {
                let cause = torn.unwrap_or_else(|| "nothing was written there".to_owned());
                return Err(StoreToolError::Missing(format!(
                    "{} is damaged at byte {inside}: {cause}, but {} holds records. Nothing was imported; restore the file, or let the \
                     Apache broker recover the store first",
                    path.display(),
                    later.path.display()
                )));
            }
        }
        self.end = Some(End { at, torn });
        Ok(())
    }
}

enum Stop {
    More,
    Blank,
    Zeros,
    Invalid(String),
}

/// Bytes of whole, valid records at the start of `bytes`, which stand at `at`, and what follows them.
fn whole_records(bytes: &[u8], at: u64) -> (usize, Stop) {
    let mut place = 0;
    loop {
        let rest = &bytes[place..];
        let stop = match RecordView::parse(rest) {
            Ok(record) => {
                let stored = u64::try_from(record.physical_offset()).ok();
                if stored != Some(at + place as u64) {
                    Stop::Invalid(format!("a record that says it stands at {}", record.physical_offset()))
                } else if let Err(error) = record.check_crc() {
                    Stop::Invalid(error.to_string())
                } else {
                    place += record.total_bytes();
                    continue;
                }
            }
            Err(RecordError::Truncated { .. }) => Stop::More,
            Err(RecordError::Blank { .. }) => Stop::Blank,
            Err(RecordError::Magic { magic: 0 }) if rest.starts_with(&[0; 4]) => Stop::Zeros,
            Err(error) => Stop::Invalid(error.to_string()),
        };
        return (place, stop);
    }
}

fn cannot_read(file: &LogFile, source: std::io::Error) -> StoreToolError {
    StoreToolError::Io { what: format!("cannot read {}", file.path.display()), source }
}
