//! Files as processes see them, across kills and power cuts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{SECOND, log, note, taken, world};
use crate::sim::{DiskFaults, FaultKind};
use crate::task::{self, Backup};
use crate::{FileOp, OpenOptions, PAGE_BYTES, ProcessSpec, WriteData};

const CREATE: OpenOptions = OpenOptions {
    create: true,
    exclusive: false,
    direct: false,
    read_only: false,
    lock: false,
    truncate: false,
};

/// Writes some pages here and there, with flushes.
pub(super) fn writer(directory: &'static str, writes: u64) -> ProcessSpec<()> {
    task::process("writer", move |io| async move {
        io.make_dir(directory).await.expect("made");
        let (file, _) = io.open(format!("{directory}/file"), CREATE).await.expect("opened");
        for write in 0..writes {
            let page = io.random() % 16;
            let data = WriteData::Bytes(vec![write as u8; PAGE_BYTES].into());
            io.write_at(file, page * PAGE_BYTES as u64, data, write % 3 == 0).await.expect("written");
            if write % 5 == 0 {
                io.sync_data(file).await.expect("synced");
            }
        }
        let content = io.read_at(file, 0, 16 * PAGE_BYTES).await.expect("read");
        io.sleep(Duration::from_micros(u64::from(content.iter().map(|b| u32::from(*b)).sum::<u32>()))).await;
    })
}

const SECTOR: usize = 512;
const SECTORS: usize = 64;

/// What each sector may hold: written values from the last durable one on; the last is what a reader sees.
struct Model {
    sectors: Vec<Vec<u32>>,
    /// Being written (first sector, count, value): may be there or not.
    in_flight: Option<(usize, usize, u32)>,
}

impl Model {
    fn settle(&mut self) {
        if let Some((sector, count, value)) = self.in_flight.take() {
            for values in &mut self.sectors[sector..sector + count] {
                values.push(value);
            }
        }
    }

    fn flushed(&mut self, sectors: std::ops::Range<usize>) {
        for values in &mut self.sectors[sectors] {
            values.drain(..values.len() - 1);
        }
    }

    fn in_flight_value(&self, sector: usize) -> Option<u32> {
        self.in_flight.filter(|(first, count, _)| (*first..first + count).contains(&sector)).map(|f| f.2)
    }

    /// What is there after a crash must be allowed, and is what counts from now on.
    fn check(&mut self, content: &[u8], power_cut: bool) {
        for sector in 0..SECTORS {
            let bytes = &content[sector * SECTOR..(sector + 1) * SECTOR];
            let found = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
            assert_eq!(bytes, pattern(found), "sector {sector} is torn inside");
            let in_flight = self.in_flight_value(sector);
            let values = &mut self.sectors[sector];
            let seen = *values.last().expect("never empty");
            let allowed = found == seen || in_flight == Some(found) || power_cut && values.contains(&found);
            assert!(allowed, "sector {sector} holds {found}, not one of {values:?} or {in_flight:?}");
            if power_cut {
                *values = vec![found];
            } else if found != seen {
                values.push(found);
            }
        }
        self.in_flight = None;
    }
}

fn pattern(value: u32) -> Vec<u8> {
    value.to_le_bytes().repeat(SECTOR / 4)
}

/// Random writes of whole sectors, some durable, with flushes; the model is told before and after each.
fn worker(model: &Arc<Mutex<Model>>, first_value: u32) -> ProcessSpec<()> {
    let model = Arc::clone(model);
    task::process("worker", move |io| async move {
        let (file, _) = io.open("/f", CREATE).await.expect("opened");
        for value in first_value..first_value + 1000 {
            let count = 1 + io.random() as usize % 16;
            let sector = io.random() as usize % (SECTORS - count + 1);
            let durable = io.random().is_multiple_of(3);
            model.lock().expect("whole").in_flight = Some((sector, count, value));
            let data = WriteData::Bytes(pattern(value).repeat(count).into());
            io.write_at(file, (sector * SECTOR) as u64, data, durable).await.expect("written");
            {
                let mut model = model.lock().expect("whole");
                model.settle();
                if durable {
                    // Durable by the page, as the kernel's page cache has it: at least these sectors.
                    model.flushed(sector..sector + count);
                }
            }
            if io.random().is_multiple_of(7) {
                io.sync_data(file).await.expect("synced");
                model.lock().expect("whole").flushed(0..SECTORS);
            }
        }
    })
}

#[test]
fn crashes_leave_what_the_durability_rules_allow() {
    let mut lost = 0;
    for seed in 0..150 {
        let (mut world, hosts) = world(seed, 1);
        world.start(
            hosts[0],
            task::process("maker", |io| async move {
                let (file, _) = io.open("/f", CREATE).await.expect("opened");
                io.truncate(file, (SECTORS * SECTOR) as u64).await.expect("room");
                io.sync_data(file).await.expect("synced");
                io.sync_dir("/").await.expect("synced");
            }),
        );
        world.run_for(SECOND);
        let sectors = (0..SECTORS).map(|_| vec![0]).collect();
        let model = Arc::new(Mutex::new(Model { sectors, in_flight: None }));
        for life in 0..6u32 {
            let worker = world.start(hosts[0], worker(&model, life * 1000 + 1));
            let time = world.random().below(40_000);
            world.run_for(Duration::from_micros(time));
            let power_cut = world.random().one_in(2);
            if power_cut {
                world.power_cut(hosts[0]);
            } else {
                world.kill(worker);
            }
            let content = world.read_file(hosts[0], "/f").expect("its name is durable");
            let mut model = model.lock().expect("whole");
            let before: Vec<u32> = model.sectors.iter().map(|v| *v.last().expect("never empty")).collect();
            model.check(&content, power_cut);
            let after = model.sectors.iter().map(|v| *v.last().expect("never empty"));
            lost += before.into_iter().zip(after).filter(|(b, a)| b != a).count();
        }
    }
    assert!(lost > 100, "power cuts must take something back: {lost}");
}

#[test]
fn a_replaced_file_is_whole_whenever_the_power_goes() {
    let (mut outcomes, mut newest) = (0, 0);
    for seed in 0..200 {
        let (mut world, hosts) = world(seed, 1);
        let done = log();
        let for_task = done.clone();
        world.start(
            hosts[0],
            task::process("replacer", move |io| async move {
                io.make_dir("/conf").await.expect("made");
                for round in 0u32.. {
                    let content = vec![round as u8; 1000 + round as usize];
                    io.replace_file("/conf/f.json", content.into(), Backup::Keep).await.expect("replaced");
                    note(&for_task, round);
                }
            }),
        );
        let time = world.random().below(100_000);
        world.run_for(Duration::from_micros(time));
        world.power_cut(hosts[0]);
        let Some(promised) = taken(&done).last().copied() else { continue };
        let content = world.read_file(hosts[0], "/conf/f.json").expect("there since the first time");
        let round = content.len() as u32 - 1000;
        assert!(content.iter().all(|byte| *byte == round as u8), "seed {seed}: torn");
        assert!(round == promised || round == promised + 1, "seed {seed}: {round} after {promised}");
        if promised > 0 {
            let backup = world.read_file(hosts[0], "/conf/f.json.bak").expect("kept");
            assert!([promised, promised - 1].contains(&(backup.len() as u32 - 1000)), "seed {seed}");
        }
        outcomes += 1;
        newest += u32::from(round > promised);
    }
    assert!(outcomes > 50 && newest > 0, "{outcomes} {newest}");
}

#[test]
fn faults_fail_the_operation_they_were_asked_for() {
    let (mut world, hosts) = world(1, 1);
    let seen = log();
    let for_task = seen.clone();
    world.fail_next(hosts[0], FaultKind::Write, "b.log", 1);
    world.fail_next(hosts[0], FaultKind::Sync, "a.log", 1);
    world.set_disk_capacity(hosts[0], 3 * PAGE_BYTES as u64);
    world.start(
        hosts[0],
        task::process("writer", move |io| async move {
            let page = || WriteData::Bytes(vec![1; PAGE_BYTES].into());
            let kind = |result: std::io::Result<()>| result.map_err(|error| error.raw_os_error());
            let (a, _) = io.open("/a.log", CREATE).await.expect("opened");
            let (b, _) = io.open("/b.log", CREATE).await.expect("opened");
            note(&for_task, kind(io.write_at(a, 0, page(), false).await));
            note(&for_task, kind(io.write_at(b, 0, page(), false).await));
            note(&for_task, kind(io.write_at(b, 0, page(), true).await));
            note(&for_task, kind(io.sync_data(a).await));
            note(&for_task, kind(io.sync_data(a).await));
            note(&for_task, kind(io.write_at(a, 2 * PAGE_BYTES as u64, page(), false).await));
            io.remove("/b.log").await.expect("removed");
            io.close(b).await.expect("closed");
            io.sync_dir("/").await.expect("synced");
            note(&for_task, kind(io.write_at(a, 2 * PAGE_BYTES as u64, page(), false).await));
            assert_eq!(io.space("/").await.expect("known").available, 0);
        }),
    );
    world.run_for(SECOND);
    let (eio, enospc) = (Err(Some(libc::EIO)), Err(Some(libc::ENOSPC)));
    assert_eq!(taken(&seen), [Ok(()), eio, Ok(()), eio, Ok(()), enospc, Ok(())]);
}

#[test]
fn chance_faults_come_and_go() {
    let (mut world, hosts) = world(1, 1);
    let seen = log();
    let for_task = seen.clone();
    world.set_disk_faults(hosts[0], DiskFaults { write_error: 0.5, slowness: 10.0, ..DiskFaults::default() });
    world.start(
        hosts[0],
        task::process("writer", move |io| async move {
            let (file, _) = io.open("/a", CREATE).await.expect("opened");
            for _ in 0..400 {
                let data = WriteData::Bytes(vec![1; 10].into());
                note(&for_task, io.write_at(file, 0, data, false).await.is_ok());
            }
        }),
    );
    world.run_for(SECOND / 5);
    let faulty = taken(&seen);
    assert!(faulty.contains(&true) && faulty.contains(&false) && faulty.len() < 390, "{}", faulty.len());
    world.set_disk_faults(hosts[0], DiskFaults::default());
    world.run_for(10 * SECOND);
    // One write may have been submitted under the old rules.
    assert!(taken(&seen)[1..].iter().all(|ok| *ok));
}

#[test]
fn a_lock_is_held_until_its_process_is_gone() {
    const LOCK: OpenOptions = OpenOptions { lock: true, ..CREATE };
    let (mut world, hosts) = world(1, 1);
    let seen = log();
    let locker = |seen: &super::Log<bool>| {
        let seen = seen.clone();
        task::process("locker", move |io| async move {
            note(&seen, io.open("/lock", LOCK).await.is_ok());
            io.sleep(100 * SECOND).await;
        })
    };
    let first = world.start(hosts[0], locker(&seen));
    world.run_for(SECOND);
    world.start(hosts[0], locker(&seen));
    world.run_for(SECOND);
    world.kill(first);
    world.start(hosts[0], locker(&seen));
    world.run_for(SECOND);
    assert_eq!(taken(&seen), [true, false, true]);
}

#[test]
fn direct_files_want_whole_pages_and_closed_ones_refuse() {
    let (mut world, hosts) = world(1, 1);
    let seen = log();
    let for_task = seen.clone();
    world.start(
        hosts[0],
        task::process("writer", move |io| async move {
            let (file, _) = io.open("/d", OpenOptions { direct: true, ..CREATE }).await.expect("opened");
            let write =
                |offset, bytes| io.write_at(file, offset, WriteData::Bytes(vec![3; bytes].into()), false);
            let code = |result: std::io::Result<()>| result.err().and_then(|error| error.raw_os_error());
            note(&for_task, code(write(0, PAGE_BYTES).await));
            note(&for_task, code(write(1, PAGE_BYTES).await));
            note(&for_task, code(write(0, 100).await));
            let (late, closed) = (io.file(FileOp::SyncData(file)), io.file(FileOp::Close(file)));
            note(&for_task, late.await.err().and_then(|error| error.raw_os_error()));
            closed.await.expect("closed");
            note(&for_task, code(io.sync_data(file).await));
        }),
    );
    world.run_for(SECOND);
    let (einval, ebadf) = (Some(libc::EINVAL), Some(libc::EBADF));
    assert_eq!(taken(&seen), [None, einval, einval, None, ebadf]);
    assert!(world.flip_bits(hosts[0], "/d", 5, 0xFF) && !world.flip_bits(hosts[0], "/d", 4096, 1));
    assert_eq!(world.read_file(hosts[0], "/d").expect("there")[5], 3 ^ 0xFF);
    assert_eq!(world.list(hosts[0], "/").len(), 1);
}
