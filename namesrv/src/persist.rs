//! Keeps one file equal to a state in memory, and those who changed it waiting until it is.
//!
//! One replacement is in flight at a time. Changes that come meanwhile ride on the next one, which carries the latest
//! content: a thousand changes at once cost two writes.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use ringmq_reactor::Tasks;
use ringmq_reactor::task::Backup;

/// See the module's text. `W` is whoever waits for a change to be on disk.
#[derive(Debug)]
pub struct Persisted<W> {
    path: PathBuf,
    /// Ride on the next replacement.
    waiting: Vec<W>,
    /// Ride on the one in flight.
    riding: Option<Vec<W>>,
    outcome: Rc<RefCell<Option<io::Result<()>>>>,
}

impl<W> Persisted<W> {
    /// For the file at `path`; its directory is made when needed.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, waiting: Vec::new(), riding: None, outcome: Rc::default() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The state has changed; `waiter` wants to know when that is on disk.
    pub fn changed(&mut self, waiter: W) {
        self.waiting.push(waiter);
    }

    /// Whether something is not on disk yet.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.riding.is_some() || !self.waiting.is_empty()
    }

    /// Starts a replacement if one is due and none in flight. True: [`Tasks::run`] is needed.
    pub fn start(&mut self, tasks: &Tasks, content: impl FnOnce() -> Bytes) -> bool {
        if self.riding.is_some() || self.waiting.is_empty() {
            return false;
        }
        self.riding = Some(std::mem::take(&mut self.waiting));
        let (task_io, path, bytes) = (tasks.handle(), self.path.clone(), content());
        let outcome = Rc::clone(&self.outcome);
        tasks.spawn(async move {
            let result = async {
                if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                    task_io.make_dir(directory).await?;
                }
                task_io.replace_file(&path, bytes, Backup::Keep).await
            };
            let result = result.await;
            *outcome.borrow_mut() = Some(result);
        });
        true
    }

    /// Who waited for the replacement that has just ended, and how it ended.
    pub fn finished(&mut self) -> Option<(Vec<W>, io::Result<()>)> {
        let result = self.outcome.borrow_mut().take()?;
        let riders = self.riding.take().expect("an outcome belongs to a replacement in flight");
        Some((riders, result))
    }
}
