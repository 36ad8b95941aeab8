//! What a process on this host has used, from `/proc`.

use std::fs;

/// A reading of a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
}

/// Reads `/proc/<pid>`; `None` if there is no such process.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "a command-line tool reading /proc outside any shard")]
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // the name in parentheses may contain anything; fields count from behind it
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0);
    Some(Usage { cpu_seconds: ticks as f64 / per_second as f64, rss_bytes: kilobytes * 1024 })
}

/// Used between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// CPU seconds.
    pub cpu_seconds: f64,
    /// Resident bytes at the end.
    pub rss_bytes: u64,
    /// Most resident bytes in any reading.
    pub rss_max_bytes: u64,
    /// Seconds between the readings.
    pub seconds: f64,
}
