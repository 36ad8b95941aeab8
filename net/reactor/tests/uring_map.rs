//! Files that live in memory, on the kernel driver. Without a tmpfs at `/dev/shm` there is nothing to test.
#![allow(clippy::disallowed_methods, reason = "the tests look at the files behind the driver's back")]

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ringmq_reactor::uring::{self, Options};
use ringmq_reactor::{
    Context, Event, FileOp, FileValue, Mapping, OpenOptions, PAGE_BYTES, ProcessSpec, Service, ShardSpec,
    Token, WriteData,
};

const PAGE: usize = PAGE_BYTES;

/// A name in memory, removed at the end.
struct Name(PathBuf);

impl Name {
    fn new(what: &str) -> Option<Self> {
        let folder = Path::new("/dev/shm");
        let is_tmpfs = nix::sys::statfs::statfs(folder)
            .is_ok_and(|s| s.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
        if !is_tmpfs {
            println!("skipped: /dev/shm is no tmpfs");
        }
        is_tmpfs.then(|| Self(folder.join(format!("ringmq-test-{what}-{}", std::process::id()))))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

type Outcome = std::io::Result<FileValue>;
type Next = dyn FnMut(usize, &mut dyn Context<()>, Option<Outcome>) -> Option<FileOp> + Send;

/// Makes one operation after the other and exits.
struct Steps {
    next: Box<Next>,
    step: usize,
}

impl Steps {
    fn go(&mut self, io: &mut dyn Context<()>, before: Option<Outcome>) {
        match (self.next)(self.step, io, before) {
            Some(op) => io.file(Token::new(3, 0), op),
            None => io.exit(),
        }
        self.step += 1;
    }
}

impl Service<()> for Steps {
    fn start(&mut self, io: &mut dyn Context<()>) {
        self.go(io, None);
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        if let Event::File { result, .. } = event {
            self.go(io, Some(result));
        }
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

/// One life of a process.
fn run(next: impl FnMut(usize, &mut dyn Context<()>, Option<Outcome>) -> Option<FileOp> + Send + 'static) {
    let service =
        Box::new(move |_| Box::new(Steps { next: Box::new(next), step: 0 }) as Box<dyn Service<()>>);
    let shards = vec![ShardSpec { name: "map".to_owned(), cpu: None, service }];
    let process = uring::launch(ProcessSpec { name: "map".to_owned(), shards }, Options::default());
    process.expect("the process starts").wait().expect("the process ends well");
}

fn mapped(outcome: Option<Outcome>) -> Mapping {
    match outcome {
        Some(Ok(FileValue::Mapped(mapping))) => mapping,
        other => panic!("not mapped: {other:?}"),
    }
}

fn map(path: &Path, create: Option<usize>) -> FileOp {
    FileOp::Map { path: path.to_owned(), create }
}

#[test]
fn what_was_stored_is_there_for_the_next_process_and_goes_to_disk_from_there() {
    let Some(name) = Name::new("stored") else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let (path, log) = (name.0.clone(), folder.path().join("log"));
    let boot = Arc::new(Mutex::new([0; 16]));
    let (first_boot, write_to) = (Arc::clone(&boot), log.clone());
    let mut held = None;
    run(move |step, io, before| match step {
        0 => Some(map(&path, Some(3 * PAGE))),
        1 => {
            let mut mapping = mapped(before);
            assert!(mapping.len() >= 3 * PAGE);
            *first_boot.lock().expect("one thread") = mapping.boot_id();
            mapping.reserve(0, PAGE).expect("a page");
            mapping.write(10, b"header");
            let mut block = io.block_in(&mut mapping, PAGE, 2 * PAGE).expect("two pages");
            block.spare()[..2 * PAGE].fill(7);
            block.publish(2 * PAGE);
            held = Some((mapping, block));
            let options = OpenOptions { create: true, direct: true, ..OpenOptions::default() };
            Some(FileOp::Open { path: write_to.clone(), options })
        }
        2 => {
            let Some(Ok(FileValue::Opened { file, .. })) = before else { panic!("{before:?}") };
            let data = WriteData::Block(held.as_ref().expect("held").1.pages(0, 2 * PAGE));
            Some(FileOp::Write { file, offset: 0, data, durable: true })
        }
        _ => {
            assert!(matches!(before, Some(Ok(FileValue::Written { bytes: 8192 }))), "{before:?}");
            held = None;
            None
        }
    });
    assert_eq!(std::fs::read(&log).expect("written"), [7; 2 * PAGE]);
    let mode = std::fs::metadata(&name.0).expect("it stays").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for its owner only");
    let path = name.0.clone();
    run(move |step, io, before| match step {
        0 => Some(map(&path, None)),
        1 => {
            let mut mapping = mapped(before);
            assert_eq!(mapping.boot_id(), *boot.lock().expect("one thread"), "the machine was not restarted");
            assert_eq!(mapping.bytes(10, 16), b"header");
            let mut block = io.block_in(&mut mapping, PAGE, 2 * PAGE).expect("there");
            block.publish(PAGE);
            assert_eq!(&block.bytes(0, PAGE)[..], [7; PAGE]);
            Some(FileOp::Remove(path.clone()))
        }
        _ => {
            assert!(matches!(before, Some(Ok(FileValue::Done))), "{before:?}");
            assert!(!path.exists());
            None
        }
    });
}

#[test]
fn what_cannot_be_trusted_is_not_mapped() {
    let Some(name) = Name::new("refused") else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch folder");
    let (path, on_disk) = (name.0.clone(), folder.path().join("file"));
    let mut first = None;
    run(move |step, _, before| {
        let failed = |kind| {
            let Some(Err(error)) = &before else { panic!("no error: {before:?}") };
            assert_eq!(error.kind(), kind, "{error}");
        };
        match step {
            0 => Some(map(&path, None)),
            1 => {
                failed(ErrorKind::NotFound);
                Some(map(&path, Some(PAGE)))
            }
            2 => {
                first = Some(mapped(before));
                Some(map(&path, Some(PAGE)))
            }
            3 => {
                failed(ErrorKind::AlreadyExists);
                Some(map(&path, None))
            }
            4 => {
                failed(ErrorKind::WouldBlock);
                drop(first.take());
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("ours");
                Some(map(&path, None))
            }
            5 => {
                failed(ErrorKind::PermissionDenied);
                Some(map(&on_disk, Some(PAGE)))
            }
            _ => {
                failed(ErrorKind::Unsupported);
                assert!(!on_disk.exists(), "made for nothing, taken away");
                None
            }
        }
    });
}
