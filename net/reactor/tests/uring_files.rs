//! Files on the kernel driver.
#![allow(clippy::disallowed_methods, reason = "the tests look at the files behind the driver's back")]

mod support;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::uring::Options;
use ringmq_reactor::{
    AlignedBuffer, Block, Context, DirEntry, Event, FileId, FileOp, FileValue, OpenOptions, PAGE_BYTES,
    Token, WriteData,
};
use support::{Script, channel, expect, finish, launch, launch_with};

/// A folder on a file system with direct I/O (the temporary directory may be a tmpfs), removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a scratch folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Outcome = io::Result<FileValue>;

/// Runs operations one after the other: `next` is given the step's number and the result of the step before, and names the
/// next operation, or none.
fn run_with(
    options: Options,
    next: impl FnMut(usize, &mut dyn Context<()>, Option<Outcome>) -> Option<FileOp> + Send + 'static,
) {
    let (done, all_done) = channel();
    let next = Arc::new(std::sync::Mutex::new(next));
    let again = Arc::clone(&next);
    let mut step = 0;
    let script = Script::new(
        move |io| {
            let op = (next.lock().expect("one thread"))(0, io, None).expect("a first operation");
            io.file(Token::new(3, 0), op);
        },
        move |io, event| {
            if let Event::File { token, result } = event {
                assert_eq!(token, Token::new(3, step), "the token comes back");
                step += 1;
                match (again.lock().expect("one thread"))(step as usize, io, Some(result)) {
                    Some(op) => io.file(Token::new(3, step), op),
                    None => done.send(()).expect("the test listens"),
                }
            }
        },
    );
    let process = launch_with(vec![script], options);
    let finished = all_done.recv_timeout(support::PATIENCE);
    finish(process);
    finished.expect("all steps were made");
}

fn run(next: impl FnMut(usize, &mut dyn Context<()>, Option<Outcome>) -> Option<FileOp> + Send + 'static) {
    run_with(Options::default(), next);
}

fn opened(outcome: Option<Outcome>) -> (FileId, u64) {
    match outcome {
        Some(Ok(FileValue::Opened { file, bytes })) => (file, bytes),
        other => panic!("not opened: {other:?}"),
    }
}

fn done(outcome: Option<Outcome>) {
    assert!(matches!(outcome, Some(Ok(FileValue::Done))), "{outcome:?}");
}

fn failed(outcome: Option<Outcome>) -> io::Error {
    match outcome {
        Some(Err(error)) => error,
        other => panic!("no error: {other:?}"),
    }
}

fn open(path: &Path, options: OpenOptions) -> FileOp {
    FileOp::Open { path: path.to_owned(), options }
}

const CREATE: OpenOptions = OpenOptions {
    create: true,
    exclusive: false,
    direct: false,
    read_only: false,
    lock: false,
    truncate: false,
};
const DIRECT: OpenOptions = OpenOptions { direct: true, ..CREATE };

fn filled_block(io: &mut dyn Context<()>, pages: usize) -> Block {
    let mut block = io.block(pages * PAGE_BYTES).expect("memory");
    for (n, byte) in block.spare().iter_mut().enumerate() {
        *byte = (n / 7 % 251) as u8;
    }
    block.publish(pages * PAGE_BYTES);
    block
}

/// Blocks written directly and durably are on disk as they were in memory, with and without registration.
fn direct_durable_write(name: &str, options: Options) {
    let folder = Folder::new(name);
    let path = folder.file("log");
    let (look, mut block, mut file) = (path.clone(), None, FileId(0));
    run_with(options, move |step, io, before| match step {
        0 => Some(open(&path, DIRECT)),
        1 => {
            let bytes;
            (file, bytes) = opened(before);
            assert_eq!(bytes, 0);
            Some(FileOp::Allocate { file, bytes: 1 << 20 })
        }
        2 => {
            done(before);
            let block = &*block.insert(filled_block(io, 16));
            let data = WriteData::Block(block.pages(PAGE_BYTES, 16 * PAGE_BYTES));
            Some(FileOp::Write { file, offset: 3 * PAGE_BYTES as u64, data, durable: true })
        }
        3 => {
            assert!(
                matches!(before, Some(Ok(FileValue::Written { bytes })) if bytes == 15 * PAGE_BYTES as u64),
                "{before:?}"
            );
            assert!(block.as_ref().is_some_and(Block::is_idle), "the write has let go of the block");
            let into = AlignedBuffer::zeroed(15 * PAGE_BYTES);
            Some(FileOp::Read { file, offset: 3 * PAGE_BYTES as u64, into })
        }
        4 => {
            let Some(Ok(FileValue::Read { buffer, bytes })) = before else { panic!("not read: {before:?}") };
            assert_eq!(bytes, 15 * PAGE_BYTES);
            let block = block.as_ref().expect("made in step 2");
            assert!(buffer.as_ref()[..bytes] == block.bytes(PAGE_BYTES, 16 * PAGE_BYTES)[..], "read back");
            Some(FileOp::Close(file))
        }
        _ => {
            done(before);
            None
        }
    });
    let content = std::fs::read(look).expect("the file is there");
    assert_eq!(content.len(), 1 << 20, "allocated");
    assert!(content[..3 * PAGE_BYTES].iter().all(|byte| *byte == 0));
    assert_eq!(content[3 * PAGE_BYTES], (PAGE_BYTES / 7 % 251) as u8);
}

#[test]
fn registered_blocks_are_written_directly_and_durably() {
    direct_durable_write("registered", Options::default());
}

#[test]
fn plain_blocks_are_written_directly_and_durably() {
    direct_durable_write("plain", Options { registered_blocks: 0, ..Options::default() });
}

/// Many blocks come and go, some dropped on other threads, through a table of two slots: the slots come back.
#[test]
fn registration_survives_blocks_dropped_elsewhere() {
    let folder = Folder::new("dropped");
    let path = folder.file("log");
    let mut file = FileId(0);
    run_with(Options { registered_blocks: 2, ..Options::default() }, move |step, io, before| match step {
        0 => Some(open(&path, DIRECT)),
        400 => None,
        _ => {
            if step == 1 {
                (file, _) = opened(before);
            } else {
                assert!(matches!(before, Some(Ok(FileValue::Written { bytes: 8192 }))), "{before:?}");
            }
            let block = filled_block(io, 2);
            let slice = block.pages(0, 2 * PAGE_BYTES);
            let held = block.bytes(0, 1);
            // The last reference may be this thread's or the operation's.
            std::thread::spawn(move || drop((block, held)));
            Some(FileOp::Write { file, offset: 0, data: WriteData::Block(slice), durable: false })
        }
    });
}

#[test]
fn a_read_past_the_end_is_short() {
    for direct in [false, true] {
        let folder = Folder::new(&format!("short-{direct}"));
        let path = folder.file("data");
        std::fs::write(&path, vec![7; 5000]).expect("a file");
        let mut file = FileId(0);
        run(move |step, _, before| match step {
            0 => Some(open(&path, OpenOptions { direct, read_only: true, ..OpenOptions::default() })),
            1 => {
                let bytes;
                (file, bytes) = opened(before);
                assert_eq!(bytes, 5000);
                Some(FileOp::Read { file, offset: 4096, into: AlignedBuffer::zeroed(3 * PAGE_BYTES) })
            }
            2 => {
                let Some(Ok(FileValue::Read { buffer, bytes })) = before else { panic!("{before:?}") };
                assert_eq!((bytes, buffer.len()), (5000 - 4096, 3 * PAGE_BYTES));
                assert!(buffer.as_ref()[..bytes].iter().all(|byte| *byte == 7));
                Some(FileOp::Read { file, offset: 1 << 20, into: AlignedBuffer::zeroed(PAGE_BYTES) })
            }
            _ => {
                assert!(matches!(before, Some(Ok(FileValue::Read { bytes: 0, .. }))), "{before:?}");
                None
            }
        });
    }
}

#[test]
fn names_are_made_renamed_listed_and_removed() {
    let folder = Folder::new("names");
    let root = folder.0.clone();
    let deep = root.join("a/b/c");
    let mut file = FileId(0);
    run(move |step, _, before| match step {
        0 => Some(FileOp::MakeDir(deep.clone())),
        1 => {
            done(before);
            Some(FileOp::MakeDir(deep.clone()))
        }
        2 => {
            done(before);
            Some(open(&deep.join("x.tmp"), CREATE))
        }
        3 => {
            (file, _) = opened(before);
            Some(FileOp::Write {
                file,
                offset: 0,
                data: WriteData::Bytes(Bytes::from_static(b"hello")),
                durable: true,
            })
        }
        4 => {
            assert!(matches!(before, Some(Ok(FileValue::Written { bytes: 5 }))), "{before:?}");
            Some(FileOp::SyncData(file))
        }
        5 => {
            done(before);
            Some(FileOp::Truncate { file, bytes: 4 })
        }
        6 => {
            done(before);
            Some(FileOp::Close(file))
        }
        7 => {
            done(before);
            Some(FileOp::Rename { from: deep.join("x.tmp"), to: deep.join("x") })
        }
        8 => {
            done(before);
            Some(FileOp::SyncDir(deep.clone()))
        }
        9 => {
            done(before);
            Some(FileOp::List(deep.clone()))
        }
        10 => {
            let Some(Ok(FileValue::Listed(entries))) = before else { panic!("{before:?}") };
            assert_eq!(entries, [DirEntry { name: "x".to_owned(), is_dir: false, bytes: 4 }]);
            // A directory that is not empty stays.
            Some(FileOp::Remove(deep.clone()))
        }
        11 => {
            assert_eq!(failed(before).kind(), ErrorKind::DirectoryNotEmpty);
            Some(FileOp::Remove(deep.join("x")))
        }
        12 => {
            done(before);
            Some(FileOp::Remove(deep.clone()))
        }
        13 => {
            done(before);
            assert!(!deep.exists() && root.join("a/b").is_dir());
            Some(FileOp::Space(root.clone()))
        }
        _ => {
            let Some(Ok(FileValue::Space(space))) = before else { panic!("{before:?}") };
            assert!(space.total >= space.available && space.available > 0, "{space:?}");
            None
        }
    });
}

#[test]
fn errors_name_the_operation_and_the_path() {
    let folder = Folder::new("errors");
    let missing = folder.file("missing");
    std::fs::write(folder.file("plain"), b"x").expect("a file");
    let (plain, mut file) = (folder.file("plain"), FileId(0));
    run(move |step, _, before| match step {
        0 => Some(open(&missing, OpenOptions::default())),
        1 => {
            let error = failed(before);
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains("open") && error.to_string().contains("missing"), "{error}");
            let source = std::error::Error::source(&error)
                .and_then(|own| own.source())
                .or(std::error::Error::source(&error));
            assert!(source.is_some(), "the cause is kept");
            Some(open(&plain, OpenOptions { exclusive: true, ..CREATE }))
        }
        2 => {
            assert_eq!(failed(before).kind(), ErrorKind::AlreadyExists);
            Some(FileOp::MakeDir(plain.clone()))
        }
        3 => {
            assert_eq!(failed(before).kind(), ErrorKind::AlreadyExists, "a file is in the way");
            Some(FileOp::MakeDir(plain.join("below")))
        }
        4 => {
            assert_eq!(failed(before).kind(), ErrorKind::NotADirectory);
            Some(FileOp::SyncData(FileId(77)))
        }
        5 => {
            assert_eq!(failed(before).kind(), ErrorKind::NotFound, "no such handle");
            Some(open(&plain, DIRECT))
        }
        6 => {
            (file, _) = opened(before);
            let data = WriteData::Bytes(Bytes::from_static(b"unaligned"));
            Some(FileOp::Write { file, offset: 0, data, durable: false })
        }
        7 => {
            assert_eq!(failed(before).kind(), ErrorKind::InvalidInput, "direct files take whole pages");
            Some(FileOp::Close(file))
        }
        8 => {
            done(before);
            Some(FileOp::Close(file))
        }
        9 => {
            assert_eq!(failed(before).kind(), ErrorKind::NotFound, "closed once");
            Some(FileOp::Rename { from: missing.clone(), to: plain.clone() })
        }
        _ => {
            assert_eq!(failed(before).kind(), ErrorKind::NotFound);
            None
        }
    });
}

#[test]
fn a_locked_file_is_refused_to_others_and_not_truncated_by_them() {
    let folder = Folder::new("locked");
    let path = folder.file("lock");
    std::fs::write(&path, b"owner 1").expect("a file");
    let mut file = FileId(0);
    let locked = OpenOptions { lock: true, truncate: true, ..CREATE };
    let kept = OpenOptions { lock: true, ..CREATE };
    run(move |step, _, before| match step {
        0 => Some(open(&path, kept)),
        1 => {
            (file, _) = opened(before);
            Some(open(&path, locked))
        }
        2 => {
            assert_eq!(failed(before).kind(), ErrorKind::WouldBlock);
            assert_eq!(std::fs::read(&path).expect("the file"), b"owner 1");
            Some(FileOp::Close(file))
        }
        3 => {
            done(before);
            Some(open(&path, locked))
        }
        _ => {
            assert_eq!(opened(before).1, 0, "cut once the lock was ours");
            None
        }
    });
}

/// Close is told last, after the operations that were in flight on the file.
#[test]
fn close_waits_for_what_is_in_flight() {
    let folder = Folder::new("close-last");
    let path = folder.file("data");
    let (order, orders) = channel();
    let script = Script::<()>::new(
        move |io| io.file(Token::new(0, 0), open(&path, CREATE)),
        move |io, event| {
            let Event::File { token, result } = event else { return };
            if token.value() == 0 {
                let (file, _) = opened(Some(result));
                for n in 1..=20 {
                    let data = WriteData::Bytes(Bytes::from(vec![n as u8; 1 << 16]));
                    io.file(
                        Token::new(0, n),
                        FileOp::Write { file, offset: n << 16, data, durable: n % 5 == 0 },
                    );
                }
                io.file(Token::new(0, 99), FileOp::Close(file));
                // Too late.
                io.file(Token::new(0, 100), FileOp::SyncData(file));
            } else {
                order.send((token.value(), result.is_ok())).expect("the test listens");
            }
        },
    );
    let process = launch(vec![script]);
    let seen: Vec<(u64, bool)> = (0..22).map(|_| expect(&orders)).collect();
    finish(process);
    let after_close: Vec<_> = seen.iter().skip_while(|(token, _)| *token != 99).collect();
    assert_eq!(after_close.len(), 1, "{seen:?}");
    assert!(seen.contains(&(100, false)), "{seen:?}");
    assert_eq!(seen.iter().filter(|(_, ok)| *ok).count(), 21, "{seen:?}");
}

/// What was being written when the shard exits is on disk when the process has ended.
#[test]
fn writes_in_flight_complete_when_the_shard_exits() {
    let folder = Folder::new("exit");
    let path = folder.file("data");
    let look = path.clone();
    let script = Script::<()>::new(
        move |io| io.file(Token::new(0, 0), open(&path, CREATE)),
        move |io, event| {
            let Event::File { result: Ok(FileValue::Opened { file, .. }), .. } = event else { return };
            for n in 0..32 {
                let data = WriteData::Bytes(Bytes::from(vec![n as u8 + 1; 1 << 18]));
                io.file(Token::new(0, n), FileOp::Write { file, offset: n << 18, data, durable: true });
            }
            io.exit();
        },
    );
    launch(vec![script]).wait().expect("a good end");
    let content = std::fs::read(look).expect("the file");
    assert_eq!(content.len(), 32 << 18);
    assert!(content.iter().enumerate().all(|(at, byte)| *byte == (at >> 18) as u8 + 1));
}
