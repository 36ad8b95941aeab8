//! A file system in an image of its own, whose power can be cut.
//!
//! The image is a sparse file behind a loop device with direct I/O, mounted in a mount namespace of the calling thread:
//! nobody else sees it, and when the thread ends, however it ends, the kernel unmounts it and frees the loop device
//! (`mount -o loop` marks the device so). Nothing else has to clean up.
//!
//! **What a cut is.** The file system's own shutdown call (`FS_IOC_GOINGDOWN`, sent by `xfs_io`, works on ext4 and XFS):
//! from that moment no byte reaches the device any more, not even the journal; every later write, flush or metadata change
//! fails with EIO. What lay in the page cache or in the running journal transaction is lost at the unmount. With
//! [`Journal::Flushed`] the running transaction is committed first: metadata of the last moments stays, file data that
//! nobody flushed does not have to.
//!
//! What becomes of the device is the choice of [`Device`]. Without a volatile cache an omitted device flush would go
//! unnoticed, since everything that the device completed is kept; with one it is lost or torn, as by a real disk
//! ([`super::cache`]). Direct I/O between loop device and image makes the first kind wait for the real disk, so that more
//! writes are in flight at a cut.

#![allow(clippy::disallowed_methods, reason = "a test harness outside the reactor: mounts file systems")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};

use super::Random;
use super::cache::{CachedDisk, Losses};

/// Size of the image; sparse, so that it costs what is written.
const IMAGE_BYTES: u64 = 4 << 30;
/// How long an unmount may be refused while the kernel takes down a killed process's ring.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(30);

/// What the image is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 with its defaults: ordered data, barriers.
    Ext4,
    /// XFS with its defaults.
    Xfs,
}

impl FileSystem {
    /// Its name for `mkfs` and people.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }
}

/// What lies below the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// What it completed is durable.
    WriteThrough,
    /// What it completed is durable after the next flush.
    WriteBack,
}

/// What becomes of the running journal transaction at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// Lost.
    Lost,
    /// Committed before everything stops.
    Flushed,
}

/// What this machine lacks for power cuts; the text says how to get it.
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root: loop devices and mounts; run as root, or leave this suite out".to_owned());
    }
    for (tool, package) in [
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.xfs", "xfsprogs"),
        ("xfs_io", "xfsprogs"),
        ("losetup", "mount"),
        ("setpriv", "util-linux"),
    ] {
        let search = format!("command -v {tool}");
        let found = Command::new("sh").args(["-c", &search]).output().is_ok_and(|done| done.status.success());
        if !found {
            return Some(format!("{tool}: install the package {package}"));
        }
    }
    (!Path::new("/dev/loop-control").exists())
        .then(|| "loop devices: the kernel needs CONFIG_BLK_DEV_LOOP".to_owned())
}

/// Gives the calling thread, and processes that it starts, mounts that nobody else sees.
///
/// # Panics
/// The kernel refuses.
pub fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    run("mount", &["--make-rprivate", "/"]);
}

/// An image and where it is mounted.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
    is_mounted: bool,
    is_cut: bool,
    // unmounted last: the file system above must be gone
    cache: Option<CachedDisk>,
}

impl Disk {
    /// Makes and formats an image in `folder`, in the place of an earlier one; mounts it.
    ///
    /// # Panics
    /// The machine refuses.
    pub fn format(folder: &Path, file_system: FileSystem, device: Device) -> Self {
        let (image, mount_point) = (folder.join("image"), folder.join("disk"));
        let _ = fs::remove_file(&image); // an earlier one, if any
        File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("a sparse image");
        fs::create_dir_all(&mount_point).expect("a mount point");
        let text = image.to_str().expect("a path of ours");
        match file_system {
            FileSystem::Ext4 => run("mkfs.ext4", &["-q", "-F", text]),
            FileSystem::Xfs => run("mkfs.xfs", &["-q", "-f", text]),
        };
        let cache = (device == Device::WriteBack)
            .then(|| CachedDisk::serve(&image, &folder.join("device")).expect("a disk served by FUSE"));
        let image = cache.as_ref().map_or(image, |cache| cache.path().to_owned());
        let mut disk = Disk { image, mount_point, is_mounted: false, is_cut: false, cache };
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Gives it power again after a cut and an unmount, and mounts it, which replays the journal. Chance decides what a
    /// volatile cache leaves.
    ///
    /// # Panics
    /// The machine refuses.
    pub fn restore(&mut self, random: &mut Random) -> Losses {
        let losses = match &self.cache {
            Some(cache) if self.is_cut => cache.power_on(random),
            _ => Losses::default(),
        };
        self.is_cut = false;
        self.mount();
        losses
    }

    fn mount(&mut self) {
        run("mount", &["-o", "loop", self.image_text(), self.mount_text()]);
        self.is_mounted = true;
        let device = run("findmnt", &["-n", "-o", "SOURCE", "--mountpoint", self.mount_text()]);
        run("losetup", &["--direct-io=on", device.trim()]);
    }

    /// Cuts the power; see the module. Gives the moment from which no flush has reached a volatile cache.
    ///
    /// # Panics
    /// The file system does not know the call.
    pub fn cut(&mut self, journal: Journal) -> Instant {
        self.is_cut = true;
        let died = Instant::now();
        if let Some(cache) = &self.cache {
            cache.cut();
        }
        let command = if journal == Journal::Flushed { "shutdown -f" } else { "shutdown" };
        let told = try_run("xfs_io", &["-x", "-c", command, self.mount_text()]);
        if let (Err(error), None) = (told, &self.cache) {
            panic!("{error}"); // above a dead device it may have shut down by itself
        }
        died
    }

    /// Unmounts it, after everything that used it has ended.
    ///
    /// # Panics
    /// It stays in use.
    pub fn unmount(&mut self) {
        let began = Instant::now();
        while let Err(error) = try_run("umount", &[self.mount_text()]) {
            assert!(began.elapsed() < UNMOUNT_LIMIT, "{error}");
            thread::sleep(Duration::from_millis(5));
        }
        self.is_mounted = false;
    }

    fn image_text(&self) -> &str {
        self.image.to_str().expect("a path of ours")
    }

    fn mount_text(&self) -> &str {
        self.mount_point.to_str().expect("a path of ours")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a failed test may have left users behind. The image stays for a look.
            let _ = try_run("umount", &["-l", self.mount_text()]);
        }
    }
}

/// A memory file system of the calling thread over a folder: what lies in it is gone when the power is.
#[derive(Debug)]
pub struct Memory {
    mount_point: PathBuf,
}

impl Memory {
    /// Over `folder`, which must exist.
    ///
    /// # Panics
    /// The machine refuses.
    pub fn new(folder: &Path) -> Self {
        let memory = Memory { mount_point: folder.to_owned() };
        memory.mount();
        memory
    }

    /// Loses everything in it.
    ///
    /// # Panics
    /// The machine refuses.
    pub fn clear(&mut self) {
        run("umount", &["-l", self.mount_text()]);
        self.mount();
    }

    fn mount(&self) {
        run("mount", &["-t", "tmpfs", "-o", "mode=1777", "power-cut", self.mount_text()]);
    }

    fn mount_text(&self) -> &str {
        self.mount_point.to_str().expect("a path of ours")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = try_run("umount", &["-l", self.mount_text()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    try_run(program, arguments).unwrap_or_else(|error| panic!("{error}"))
}

fn try_run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let done =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}
