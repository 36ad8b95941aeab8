//! What an append run measures, and how it travels from the child to the parent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use super::FILE_BYTES;

/// Latencies of a run and the processor time of the process (kernel workers included) meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    nanos: Vec<u64>,
    begun: Option<(Instant, Duration)>,
    elapsed: Duration,
    cpu: Duration,
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("asking for one's own usage");
    let time = |t: nix::sys::time::TimeVal| {
        Duration::from_secs(t.tv_sec().unsigned_abs()) + Duration::from_micros(t.tv_usec().unsigned_abs())
    };
    time(usage.user_time()) + time(usage.system_time())
}

impl Samples {
    /// The run begins.
    pub fn begin(&mut self) {
        self.begun = Some((Instant::now(), cpu_time()));
    }

    /// One write took this long.
    pub fn add(&mut self, latency: Duration) {
        self.nanos.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The run has ended.
    ///
    /// # Panics
    /// If it had not begun.
    pub fn end(&mut self) {
        let (at, cpu) = self.begun.expect("begun");
        self.elapsed = at.elapsed();
        self.cpu = cpu_time() - cpu;
        self.nanos.sort_unstable();
    }

    /// One line for the parent.
    #[must_use]
    pub fn line(&self) -> String {
        let at = |share: f64| {
            let index = (self.nanos.len() as f64 * share) as usize;
            self.nanos.get(index.min(self.nanos.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let numbers = [
            self.nanos.len() as u64,
            at(0.5),
            at(0.99),
            u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
            u64::try_from(self.cpu.as_nanos()).unwrap_or(u64::MAX),
        ];
        numbers.map(|n| n.to_string()).join(" ")
    }
}

/// What the parent reads from [`Samples::line`].
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// Writes.
    pub writes: u64,
    /// Median latency, ns.
    pub p50_nanos: u64,
    /// 99th percentile, ns.
    pub p99_nanos: u64,
    /// Length of the run, ns.
    pub elapsed_nanos: u64,
    /// Processor time, ns.
    pub cpu_nanos: u64,
}

impl Appended {
    /// # Errors
    /// When the line is not one of [`Samples::line`].
    pub fn parse(line: &str) -> io::Result<Self> {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [writes, p50_nanos, p99_nanos, elapsed_nanos, cpu_nanos] = numbers[..] else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a result: {line:?}")));
        };
        Ok(Self { writes, p50_nanos, p99_nanos, elapsed_nanos, cpu_nanos })
    }
}

/// Makes the file that appends go into: written, not only allocated, so that no write has metadata to flush.
///
/// # Errors
/// Of the file system.
pub fn make_file(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join(format!("reactor-append-{}.tmp", std::process::id()));
    let zeros = vec![0; 1 << 20];
    let mut file = std::fs::File::create(&path)?;
    for _ in 0..FILE_BYTES >> 20 {
        io::Write::write_all(&mut file, &zeros)?;
    }
    file.sync_all()?;
    Ok(path)
}
