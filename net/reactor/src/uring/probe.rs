//! Does this machine have what the driver needs?
//!
//! What can be tried is tried (a ring with our flags, a buffer ring, a multishot receive); settings are read only to
//! explain a failure.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::{cqueue, opcode, types};
use nix::sys::resource::{Resource, getrlimit};
use thiserror::Error;

use super::buffers::{self, ReceiveBuffers};
use super::limits::RING_ENTRIES;
use super::operation::{Kind, UserData};
use super::ring::{Ring, Wait};

/// Oldest kernel: `DEFER_TASKRUN` came with it.
const KERNEL_MIN: (u32, u32) = (6, 1);
const DISABLED_SETTING: &str = "/proc/sys/kernel/io_uring_disabled";

/// Operations without which the driver cannot work.
const NEEDED: &[(u8, &str)] = &[
    (opcode::AcceptMulti::CODE, "ACCEPT"),
    (opcode::RecvMulti::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::AsyncCancel2::CODE, "ASYNC_CANCEL"),
    (opcode::MsgRingData::CODE, "MSG_RING"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::WriteFixed::CODE, "WRITE_FIXED"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::RenameAt::CODE, "RENAMEAT"),
    (opcode::UnlinkAt::CODE, "UNLINKAT"),
    (opcode::MkDirAt::CODE, "MKDIRAT"),
];

/// What is missing, with the live value and the remedy.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Kernel older than 6.1.
    #[error("kernel {found} is too old: 6.1 or later is needed; boot a newer kernel")]
    Kernel {
        /// `uname -r`.
        found: String,
    },
    /// The kernel was built without io_uring, or a filter hides it.
    #[error(
        "kernel {kernel} does not answer io_uring_setup (ENOSYS): it was built without CONFIG_IO_URING, or this sandbox \
         (gVisor, a seccomp filter) hides the call; use a kernel with io_uring, or a seccomp profile that allows \
         io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Absent {
        /// `uname -r`.
        kernel: String,
        /// The system call's error.
        source: io::Error,
    },
    /// The administrator has switched io_uring off.
    #[error(
        "io_uring is switched off: kernel.io_uring_disabled = {setting} ({}); allow it with `sysctl -w \
         kernel.io_uring_disabled=0`, or with 1 and kernel.io_uring_group set to a group of this user",
        disabled_meaning(setting)
    )]
    Disabled {
        /// The setting's value.
        setting: String,
        /// The system call's error.
        source: io::Error,
    },
    /// The system call is forbidden although the setting allows it.
    #[error(
        "io_uring_setup is not permitted although kernel.io_uring_disabled = {setting}: a seccomp filter (container runtime, \
         systemd SystemCallFilter=) or a security module forbids it; allow io_uring_setup, io_uring_enter and \
         io_uring_register (docker: --security-opt seccomp=PROFILE, systemd: SystemCallFilter=@io-event)"
    )]
    Forbidden {
        /// The setting's value.
        setting: String,
        /// The system call's error.
        source: io::Error,
    },
    /// Locked memory is used up.
    #[error(
        "no memory for a ring of {entries} entries: locked memory is limited to {limit}; raise it (systemd: \
         LimitMEMLOCK=infinity, shell: ulimit -l, docker: --ulimit memlock=-1)"
    )]
    LockedMemory {
        /// Entries asked for.
        entries: u32,
        /// The limit as it is.
        limit: String,
        /// The system call's error.
        source: io::Error,
    },
    /// File descriptors are used up.
    #[error(
        "no descriptor for a ring: open files are limited to {limit}; raise it (LimitNOFILE=, ulimit -n)"
    )]
    OpenFiles {
        /// The limit as it is.
        limit: String,
        /// The system call's error.
        source: io::Error,
    },
    /// The set-up flags are refused.
    #[error(
        "kernel {kernel} refuses a ring with SINGLE_ISSUER, DEFER_TASKRUN and COOP_TASKRUN: {source}; kernel 6.1 or later \
         without vendor restrictions is needed"
    )]
    Setup {
        /// `uname -r`.
        kernel: String,
        /// The system call's error.
        source: io::Error,
    },
    /// Operations are missing.
    #[error(
        "kernel {kernel} lacks the io_uring operations {missing}; 6.1 or later without vendor restrictions is needed"
    )]
    Operations {
        /// `uname -r`.
        kernel: String,
        /// Their names.
        missing: String,
    },
    /// Something that is there by version does not work.
    #[error(
        "kernel {kernel}: {feature} does not work: {source}; 6.1 or later without vendor restrictions is needed"
    )]
    Feature {
        /// `uname -r`.
        kernel: String,
        /// What was tried.
        feature: &'static str,
        /// What happened.
        source: io::Error,
    },
}

fn disabled_meaning(setting: &str) -> &'static str {
    match setting {
        "1" => "only for privileged processes and members of kernel.io_uring_group",
        _ => "for everybody",
    }
}

/// What [`probe`] found beyond the minimum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `uname -r`.
    pub kernel: String,
    /// `IORING_ENTER_NO_IOWAIT` is there: parked shards do not count as waiting for disks.
    pub no_iowait: bool,
    /// `IORING_OP_FTRUNCATE` is there (6.9).
    pub ring_truncate: bool,
    /// The limit of locked memory for this process.
    pub locked_memory: LockedMemory,
}

/// How much memory a process may pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedMemory {
    /// Bytes; `None`: no limit.
    pub bytes: Option<u64>,
}

impl fmt::Display for LockedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "{} KiB", bytes / 1024),
            None => write!(f, "unlimited"),
        }
    }
}

/// The limit of this process (privileged processes are not held to it).
pub(super) fn locked_memory_limit() -> LockedMemory {
    let soft = getrlimit(Resource::RLIMIT_MEMLOCK).map(|(soft, _)| soft).unwrap_or(0);
    LockedMemory { bytes: (soft != nix::sys::resource::RLIM_INFINITY).then_some(soft) }
}

/// Checks the kernel, its settings and the process's limits. Takes well under a millisecond; makes and closes one ring.
///
/// # Errors
/// What is missing first; the text names the remedy.
pub fn probe() -> Result<Capabilities, ProbeError> {
    let kernel = nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_else(|error| format!("(uname: {error})"));
    check_version(&kernel)?;
    let mut ring = Ring::new(RING_ENTRIES).map_err(|source| explain_setup(&kernel, source))?;
    let mut operations = io_uring::Probe::new();
    let feature = |feature| {
        let kernel = kernel.clone();
        move |source| ProbeError::Feature { kernel, feature, source }
    };
    ring.submitter()
        .register_probe(&mut operations)
        .map_err(feature("asking for the supported operations"))?;
    check_operations(&kernel, |code| operations.is_supported(code))?;
    try_multishot_receive(&mut ring).map_err(feature("a multishot receive into a provided-buffer ring"))?;
    Ok(Capabilities {
        kernel,
        no_iowait: ring.has_no_iowait(),
        ring_truncate: operations.is_supported(opcode::Ftruncate::CODE),
        locked_memory: locked_memory_limit(),
    })
}

fn check_version(release: &str) -> Result<(), ProbeError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let found = (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok));
    match found {
        (Some(major), Some(minor)) if (major, minor) >= KERNEL_MIN => Ok(()),
        _ => Err(ProbeError::Kernel { found: release.to_owned() }),
    }
}

fn check_operations(kernel: &str, is_supported: impl Fn(u8) -> bool) -> Result<(), ProbeError> {
    let missing: Vec<_> =
        NEEDED.iter().filter(|(code, _)| !is_supported(*code)).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ProbeError::Operations { kernel: kernel.to_owned(), missing: missing.join(", ") })
}

fn explain_setup(kernel: &str, source: io::Error) -> ProbeError {
    let setting = std::fs::read_to_string(DISABLED_SETTING).ok().map(|text| text.trim().to_owned());
    explain_setup_with(kernel, source, setting.as_deref())
}

/// `setting`: `kernel.io_uring_disabled`; `None` where the kernel has no such setting (before 6.6) or hides it.
fn explain_setup_with(kernel: &str, source: io::Error, setting: Option<&str>) -> ProbeError {
    let kernel = kernel.to_owned();
    match (source.raw_os_error(), setting) {
        (Some(libc::ENOSYS), _) => ProbeError::Absent { kernel, source },
        (Some(libc::EPERM | libc::EACCES), Some(setting @ ("1" | "2"))) => {
            ProbeError::Disabled { setting: setting.to_owned(), source }
        }
        (Some(libc::EPERM | libc::EACCES), setting) => {
            ProbeError::Forbidden { setting: setting.unwrap_or("(not there)").to_owned(), source }
        }
        (Some(libc::ENOMEM), _) => {
            let limit = locked_memory_limit().to_string();
            ProbeError::LockedMemory { entries: RING_ENTRIES, limit, source }
        }
        (Some(libc::EMFILE | libc::ENFILE), _) => {
            let limit = getrlimit(Resource::RLIMIT_NOFILE)
                .map_or_else(|e| e.to_string(), |(soft, _)| soft.to_string());
            ProbeError::OpenFiles { limit, source }
        }
        _ => ProbeError::Setup { kernel, source },
    }
}

/// Sends one byte through a pair of sockets and expects it in a provided buffer, with the receive still armed.
fn try_multishot_receive(ring: &mut Ring) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let buffers = ReceiveBuffers::new(ring, 2, crate::PAGE_BYTES)?;
    let (mut ours, theirs) = UnixStream::pair()?;
    let receive = UserData::new(Kind::Receive, 0, 0);
    let entry = opcode::RecvMulti::new(types::Fd(theirs.as_raw_fd()), buffers::GROUP).build();
    // SAFETY: socket and buffers live until the loop below has seen the receive's last completion, or are leaked.
    unsafe { ring.submit(entry, receive) };
    ours.write_all(b"x")?;
    let mut seen = VecDeque::new();
    ring.enter(Wait::Completion(Some(PATIENCE)))?;
    ring.reap(&mut seen);
    let outcome = match seen.front() {
        None => Err(io::Error::new(io::ErrorKind::TimedOut, "no completion within a second")),
        Some(first) => first.value().and_then(|bytes| match cqueue::buffer_select(first.flags) {
            Some(buffer) if bytes == 1 && first.more() && buffers.filled(buffer, 1) == b"x" => Ok(()),
            _ => Err(io::Error::other(format!("unexpected completion {first:?}"))),
        }),
    };
    // The end of the stream ends the receive.
    drop(ours);
    for _ in 0..10 {
        if ring.in_flight() == 0 {
            return outcome;
        }
        ring.enter(Wait::Completion(Some(PATIENCE)))?;
        ring.reap(&mut seen);
    }
    std::mem::forget((buffers, theirs));
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn this_machine_passes() {
        let capabilities = probe().expect("the tests need a kernel with io_uring");
        assert!(!capabilities.kernel.is_empty());
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for good in ["6.1", "6.1.0", "6.18.44-fc-v669", "7.0-rc1", "10.2.3"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["5.15.0-91-generic", "6.0.19", "2.6.32", "", "linux"] {
            let error = check_version(bad).expect_err(bad).to_string();
            assert!(error.contains("6.1"), "{error}");
        }
    }

    /// Each failure names what is wrong, with its value, and what to do.
    #[test]
    fn every_failure_names_its_remedy() {
        let cases = [
            (libc::ENOSYS, None, "CONFIG_IO_URING"),
            (libc::EPERM, Some("2"), "kernel.io_uring_disabled = 2 (for everybody)"),
            (libc::EPERM, Some("1"), "kernel.io_uring_group"),
            (libc::EPERM, Some("0"), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::ENOMEM, Some("0"), "LimitMEMLOCK"),
            (libc::EMFILE, Some("0"), "LimitNOFILE"),
            (libc::EINVAL, Some("0"), "DEFER_TASKRUN"),
        ];
        for (code, setting, expected) in cases {
            let error = explain_setup_with("6.1.0", os(code), setting).to_string();
            assert!(error.contains(expected), "{code} {setting:?}: {error}");
        }
    }

    #[test]
    fn missing_operations_are_named() {
        let error =
            check_operations("6.1.0", |code| code != opcode::MsgRingData::CODE).expect_err("one is missing");
        assert!(error.to_string().contains("MSG_RING"), "{error}");
        assert!(check_operations("6.1.0", |_| true).is_ok());
    }
}
