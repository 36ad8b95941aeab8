//! Mapping a file that lives in memory. No step of it waits for a disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};

use crate::Mapping;
use crate::mapping::Region;

/// Names the time since the machine's start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// See [`crate::FileOp::Map`].
pub(super) fn map(path: &Path, create: Option<usize>) -> io::Result<Mapping> {
    let boot_id = boot_id()?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create.is_some())
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)?;
    let mapped = map_file(file, create);
    if mapped.is_err() && create.is_some() {
        // What was made for nothing must not take up memory; if it cannot be removed, the first error still says more.
        let _ = std::fs::remove_file(path);
    }
    Ok(Mapping::new(Arc::new(mapped?), boot_id))
}

fn map_file(file: File, create: Option<usize>) -> io::Result<Region> {
    let system = fstatfs(&file)?;
    if ![TMPFS_MAGIC, HUGETLBFS_MAGIC].contains(&system.filesystem_type()) {
        let text = "the file system does not live in memory; use a folder on tmpfs, such as /dev/shm, or on hugetlbfs";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        let text = "not a file that belongs to this user alone";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    file.try_lock()?;
    let bytes = match create {
        Some(bytes) => {
            let unit = u64::try_from(system.block_size()).map_err(io::Error::other)?.max(1);
            let bytes = (bytes as u64).next_multiple_of(unit);
            file.set_len(bytes)?;
            bytes
        }
        None => found.len(),
    };
    if bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
    }
    Region::file(file, usize::try_from(bytes).map_err(io::Error::other)?)
}

fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string(BOOT_ID)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
    Ok(number.to_be_bytes())
}
