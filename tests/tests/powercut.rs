//! Power cuts under load on ext4 and XFS; see `ringmq_tests::durability` for what a round is and what is checked, and its
//! modules `disk` and `cache` for what a cut is. Needs root, `mkfs.ext4`, `mkfs.xfs`, `xfs_io` and `/dev/fuse`.
//!
//! | environment | meaning | default |
//! |---|---|---|
//! | `RINGMQ_POWERCUTS` | cuts under SYNC_FLUSH, over both file systems and both kinds of disk; a quarter as many under ASYNC_FLUSH | 12, with `RINGMQ_LONG` 1000 |
//! | `RINGMQ_POWERCUT_SEED` | chooses moments, sizes, queues and losses | 1 |
//! | `RINGMQ_APACHE_JARS` | for the ignored test: the folder of the Apache broker's jars | |

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;

use ringmq_tests::durability::disk::{self, Device, Disk, FileSystem, Journal};
use ringmq_tests::durability::power::{self, Campaign, Totals};
use ringmq_tests::durability::{FaultKind, expect_none};
use ringmq_tests::process::{Program, fresh_folder, remove_folder};

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number is expected")),
        Err(_) => default,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    Sync,
    Async,
    /// Acknowledged by ASYNC_FLUSH, checked as if by SYNC_FLUSH.
    AsyncCalledSync,
}

fn campaign(program: Program, file_system: FileSystem, device: Device, flush: Flush) -> Totals {
    let all = setting("RINGMQ_POWERCUTS", if std::env::var_os("RINGMQ_LONG").is_some() { 1_000 } else { 12 });
    let cuts = match flush {
        Flush::Sync => all.div_ceil(4),
        Flush::Async => all.div_ceil(8),
        Flush::AsyncCalledSync => 3,
    };
    let cuts = u32::try_from(cuts.max(2)).expect("a sensible number of cuts");
    let seed = setting("RINGMQ_POWERCUT_SEED", 1);
    let flushes_late = flush == Flush::AsyncCalledSync;
    let is_sync = flush != Flush::Async;
    let totals = power::run(&Campaign { program, file_system, device, is_sync, flushes_late, cuts, seed });
    println!(
        "{} {device:?} {flush:?}: {} power cuts ({} at start, {} after a stop, {} of a disk that stood still), {} of {} unflushed sectors lost, \
         {} messages acknowledged, {} of them after the cut, {} requests refused, {} messages gone as allowed, \
         {} read back, {} offsets committed, longest start {:?}, {} broken promises",
        file_system.name(),
        totals.cuts,
        totals.at_start,
        totals.after_stop,
        totals.stalls,
        totals.losses.lost,
        totals.losses.unflushed,
        totals.acknowledged,
        totals.acknowledged_late,
        totals.refused,
        totals.gone,
        totals.read,
        totals.commits,
        totals.start_max,
        totals.faults.len()
    );
    assert!(
        totals.acknowledged > u64::from(totals.cuts) * 10,
        "a load that sends nothing proves nothing: {totals:?}"
    );
    assert!(totals.stalls < totals.cuts, "a disk that does nothing proves nothing: {totals:?}");
    totals
}

fn ours(file_system: FileSystem, device: Device, flush: Flush) -> Totals {
    campaign(Program::RingMq, file_system, device, flush)
}

#[test]
fn ext4_synchronous_flush_keeps_everything_acknowledged() {
    expect_none(&ours(FileSystem::Ext4, Device::WriteThrough, Flush::Sync).faults);
}

#[test]
fn xfs_synchronous_flush_keeps_everything_acknowledged() {
    expect_none(&ours(FileSystem::Xfs, Device::WriteThrough, Flush::Sync).faults);
}

#[test]
fn ext4_synchronous_flush_reaches_through_a_volatile_cache() {
    expect_none(&ours(FileSystem::Ext4, Device::WriteBack, Flush::Sync).faults);
}

#[test]
fn xfs_synchronous_flush_reaches_through_a_volatile_cache() {
    expect_none(&ours(FileSystem::Xfs, Device::WriteBack, Flush::Sync).faults);
}

#[test]
fn ext4_asynchronous_flush_loses_no_more_than_its_interval() {
    expect_none(&ours(FileSystem::Ext4, Device::WriteBack, Flush::Async).faults);
}

#[test]
fn xfs_asynchronous_flush_loses_no_more_than_its_interval() {
    expect_none(&ours(FileSystem::Xfs, Device::WriteBack, Flush::Async).faults);
}

/// The rounds would see a lost message: a broker that acknowledges before its flush does not get through them.
#[test]
fn a_late_flush_is_found_out() {
    let totals = ours(FileSystem::Ext4, Device::WriteBack, Flush::AsyncCalledSync);
    assert!(totals.faults.iter().any(|fault| fault.kind == FaultKind::Lost), "{totals:?}");
}

/// What the reactor asks after each flush: see its module `uring::files`.
#[test]
fn an_empty_read_tells_whether_a_file_system_lives() {
    if let Some(what) = disk::missing() {
        panic!("missing: {what}");
    }
    // its mounts end with it
    let thread = thread::spawn(|| {
        disk::own_mounts();
        for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
            let folder = fresh_folder(&format!("shutdown-{}", file_system.name()));
            let mut disk = Disk::format(&folder, file_system, Device::WriteThrough);
            let mut options = File::options();
            let file = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(disk.path().join("file"))
                .expect("a file");
            file.write_all_at(b"content", 0).and_then(|()| file.sync_all()).expect("a disk that works");
            assert_eq!(file.read_at(&mut [], 0).expect("alive"), 0);
            disk.cut(Journal::Lost);
            let error = file.read_at(&mut [], 0).expect_err("shut down");
            assert_eq!(error.raw_os_error(), Some(nix::libc::EIO), "{file_system:?}");
            drop(file);
            disk.unmount();
            remove_folder(&folder);
        }
    });
    thread.join().expect("both file systems");
}

/// What the same rounds find at the Apache broker. A measurement: it fails only when it could not be made.
#[test]
#[ignore = "needs Apache's jars; benches/powercut runs it"]
fn apache_under_synchronous_flush() {
    let jars =
        std::env::var_os("RINGMQ_APACHE_JARS").expect("RINGMQ_APACHE_JARS: the folder of Apache's jars");
    let program = Program::Apache { jars: jars.into() };
    for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
        for device in [Device::WriteThrough, Device::WriteBack] {
            let totals = campaign(program.clone(), file_system, device, Flush::Sync);
            for kind in [
                FaultKind::Lost,
                FaultKind::Changed,
                FaultKind::Repeated,
                FaultKind::Unsent,
                FaultKind::Unreadable,
                FaultKind::Offset,
            ] {
                let of_kind: Vec<_> = totals.faults.iter().filter(|fault| fault.kind == kind).collect();
                if let Some(first) = of_kind.first() {
                    println!("  {kind:?}: {}, the first: {}", of_kind.len(), first.detail);
                }
            }
        }
    }
}
