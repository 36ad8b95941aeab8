//! Tasks, driven by the simulator.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::network::echo_server;
use super::{SECOND, address, log, note, taken, world};
use crate::sim::ProcessState;
use crate::task::{self, Backup, Elapsed, Notify, SenderDropped, oneshot};
use crate::{FileId, FileOp, OpenOptions};

const MS: Duration = Duration::from_millis(1);
const CREATE: OpenOptions = OpenOptions {
    create: true,
    exclusive: false,
    direct: false,
    read_only: false,
    lock: true,
    truncate: false,
};

/// Runs one task to its end on a host with an echo server; gives what it noted.
fn check<F: Future<Output = ()> + 'static>(
    program: impl FnOnce(task::TaskIo, super::Log<String>) -> F + Send + 'static,
) -> Vec<String> {
    let (mut world, hosts) = world(11, 2);
    world.start(hosts[0], echo_server(address(1, 1000)));
    world.run_for(MS);
    let seen = log();
    let for_task = seen.clone();
    let process = world.start(hosts[1], task::process("program", move |io| program(io, for_task)));
    world.run_for(100 * SECOND);
    assert_eq!(world.state(process), ProcessState::Exited, "{}", world.trace());
    taken(&seen)
}

#[test]
fn sleepers_wake_in_the_order_of_their_times() {
    let seen = check(|io, log| async move {
        for ms in [30, 10, 20] {
            let (io2, log) = (io.clone(), log.clone());
            io.spawn(async move {
                let before = io2.now();
                io2.sleep(ms * MS).await;
                assert!(io2.now().since(before) >= ms * MS);
                note(&log, ms.to_string());
            });
        }
        io.yield_now().await;
        note(&log, "first".to_owned());
    });
    assert_eq!(seen, ["first", "10", "20", "30"]);
}

#[test]
fn a_timeout_drops_what_it_waited_for() {
    let seen = check(|io, log| async move {
        let slow = io.timeout(10 * MS, io.sleep(SECOND)).await;
        note(&log, format!("{:?}", slow == Err(Elapsed)));
        let quick = io.timeout(SECOND, io.sleep(MS)).await;
        note(&log, format!("{quick:?}"));
        let before = io.now();
        io.sleep(MS).await;
        assert!(io.now().since(before) < SECOND / 2, "the timers taken back hold nothing up");
    });
    assert_eq!(seen, ["true", "Ok(())"]);
}

#[test]
fn a_dropped_open_closes_the_file_it_opened() {
    let seen = check(|io, log| async move {
        // The lock tells whether the file is still open.
        drop(io.file(FileOp::Open { path: "/lock".into(), options: CREATE }));
        io.sleep(10 * MS).await;
        note(&log, format!("{}", io.open("/lock", CREATE).await.is_ok()));
        // Completed and not looked at.
        let opened = io.file(FileOp::Open { path: "/other".into(), options: CREATE });
        io.sleep(10 * MS).await;
        drop(opened);
        io.sleep(10 * MS).await;
        note(&log, format!("{}", io.open("/other", CREATE).await.is_ok()));
        note(&log, format!("{}", io.open("/other", CREATE).await.is_ok()));
    });
    assert_eq!(seen, ["true", "true", "false"]);
}

#[test]
fn operations_run_side_by_side_when_started_before_they_are_awaited() {
    let seen = check(|io, log| async move {
        let (file, _) = io.open("/f", CREATE).await.expect("opened");
        let syncs: Vec<_> = (0..100).map(|_| io.file(FileOp::SyncData(file))).collect();
        let before = io.now();
        for sync in syncs {
            sync.await.expect("synced");
        }
        // One after the other they take at least 60 µs each.
        note(&log, format!("{}", io.now().since(before) < Duration::from_micros(100 * 60 + 30_000)));
        let unknown = io.file(FileOp::SyncData(FileId(99))).await;
        note(&log, format!("{:?}", unknown.map_err(|error| error.raw_os_error()).err()));
    });
    assert_eq!(seen, ["true", format!("{:?}", Some(Some(libc::EBADF))).as_str()]);
}

#[test]
fn files_are_replaced_and_read_whole() {
    let seen = check(|io, log| async move {
        io.make_dir("/a/b").await.expect("made");
        for text in ["one", "two", ""] {
            io.replace_file("/a/b/c", Bytes::from_static(text.as_bytes()), Backup::Keep)
                .await
                .expect("replaced");
        }
        for path in ["/a/b/c", "/a/b/c.bak"] {
            note(&log, format!("{:?}", io.read_file(path).await.expect("there")));
        }
        let missing = io.read_file("/a/b/d").await.expect_err("missing");
        note(&log, format!("{:?} {missing}", missing.kind()));
        let names = io.list("/a/b").await.expect("there").into_iter().map(|entry| entry.name);
        note(&log, names.collect::<Vec<_>>().join(" "));
    });
    assert_eq!(seen, ["b\"\"", "b\"two\"", "NotFound open /a/b/d: entity not found", "c c.bak"]);
}

#[test]
fn connections_end_with_their_handles() {
    let seen = check(|io, log| async move {
        let connection = io.connect(address(1, 1000)).await.expect("listening");
        connection.send(Bytes::from_static(b"hello")).expect("open");
        let mut got = Vec::new();
        while got.len() < 5 {
            got.extend_from_slice(&connection.recv().await.expect("open").expect("open"));
        }
        note(&log, String::from_utf8(got).expect("text"));
        connection.close();
        note(&log, format!("{:?}", connection.send(Bytes::from_static(b"late")).map_err(|e| e.kind())));
        note(&log, format!("{:?}", connection.recv().await.map_err(|e| e.kind())));
        assert!(connection.is_closed());
        // Dropped while being opened, and while open.
        drop(io.timeout(Duration::from_micros(10), io.connect(address(1, 1000))).await);
        drop(io.connect(address(1, 1000)).await.expect("listening"));
        io.sleep(SECOND).await;
        let refused = io.connect(SocketAddr::from(([10, 0, 0, 1], 1))).await;
        note(&log, format!("{:?}", refused.map_err(|error| error.kind()).err()));
    });
    assert_eq!(seen, ["hello", "Err(NotConnected)", "Ok(None)", "Some(ConnectionRefused)"]);
}

#[test]
fn a_notice_goes_to_one_who_waits_and_is_kept_for_one_who_comes() {
    let seen = check(|io, log| async move {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        assert_eq!(io.timeout(MS, notify.notified()).await, Err(Elapsed), "kept once only");
        for name in ["a", "b"] {
            let (notify, log) = (notify.clone(), log.clone());
            io.spawn(async move {
                notify.notified().await;
                note(&log, name.to_owned());
            });
        }
        io.sleep(MS).await;
        notify.notify_one();
        io.sleep(MS).await;
        note(&log, "-".to_owned());
        notify.notify_all();
        io.sleep(MS).await;
        // Given to a waiter that goes away without looking: passed on.
        let mut early = Box::pin(notify.notified());
        std::future::poll_fn(|cx| std::task::Poll::Ready(early.as_mut().poll(cx)))
            .await
            .is_pending()
            .then_some(())
            .expect("waits");
        notify.notify_one();
        drop(early);
        notify.notified().await;
        note(&log, "passed on".to_owned());
    });
    assert_eq!(seen, ["a", "-", "b", "passed on"]);
}

#[test]
fn oneshots_give_their_value_or_tell_that_nobody_will() {
    let seen = check(|io, log| async move {
        let (sender, receiver) = oneshot();
        let waits = io.clone();
        io.spawn(async move {
            waits.sleep(MS).await;
            sender.send(7).expect("somebody waits");
        });
        note(&log, format!("{:?}", receiver.await));
        let (sender, receiver) = oneshot::<u32>();
        drop(sender);
        note(&log, format!("{}", receiver.await == Err(SenderDropped)));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.is_cancelled());
        note(&log, format!("{:?}", sender.send(8)));
    });
    assert_eq!(seen, ["Ok(7)", "true", "Err(8)"]);
}

#[test]
fn tasks_that_are_dropped_with_their_executor_drop_what_they_hold() {
    struct Marks(Rc<RefCell<u32>>);
    impl Drop for Marks {
        fn drop(&mut self) {
            *self.0.borrow_mut() += 1;
        }
    }
    let dropped = Rc::new(RefCell::new(0));
    let tasks = crate::Tasks::new();
    let (io, mark) = (tasks.handle(), Marks(Rc::clone(&dropped)));
    tasks.spawn(async move {
        let _mark = mark;
        io.sleep(SECOND).await;
    });
    assert_eq!(tasks.count(), 1);
    drop(tasks);
    assert_eq!(*dropped.borrow(), 1);
}
