//! Whether the disk itself keeps up: a file beside the store that is written and flushed again and again.
//!
//! A disk that other work keeps busy may take seconds for one flush. What a broker could not have flushed in that time it has not promised
//! to keep; without a measure of the disk's own that would look like a broker that forgot.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two flushes: no load to speak of.
const PAUSE: Duration = Duration::from_millis(20);

/// A running measurement.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<AtomicBool>,
    /// Flushes that were done: began, ended.
    thread: JoinHandle<Vec<(Instant, Instant)>>,
}

impl Pulse {
    /// Begins in a folder of the file system in question.
    ///
    /// # Panics
    /// The file cannot be made.
    pub fn start(folder: &Path) -> Self {
        let path = folder.join("pulse");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Self { stop, thread: thread::spawn(move || beat(&file, &told)) }
    }

    /// Ends it. Gives when the last flush began that was done by `end`: the disk was able to keep what was written before it.
    ///
    /// # Panics
    /// The measurement did.
    pub fn finish(self, end: Instant) -> Option<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        let beats = self.thread.join().expect("the pulse");
        beats.into_iter().rev().find(|(_, done)| *done <= end).map(|(began, _)| began)
    }
}

/// Until it is told to stop, or the disk is gone.
fn beat(file: &File, stop: &AtomicBool) -> Vec<(Instant, Instant)> {
    let mut beats = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let number = (beats.len() as u64).to_le_bytes();
        if file.write_all_at(&number, 0).and_then(|()| file.sync_data()).is_err() {
            break;
        }
        beats.push((began, Instant::now()));
        thread::sleep(PAUSE);
    }
    beats
}
