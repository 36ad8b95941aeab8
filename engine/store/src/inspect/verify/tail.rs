//! The tail cache's file in memory, as recovery judges it: its header, its marks, the seals of every batch in it that counts.

use super::{Finding, Severity};
use crate::checkpoint::FlushKind;
use crate::inspect::{Forecast, Inspection};
use crate::report::{TailCacheFound, TailCacheRefusal};
use crate::tail::identity;

/// What is wrong with it. A file that is rightly refused (another store's, another life's, of before the machine's restart) is no damage.
pub(super) fn check(inspection: &Inspection, forecast: &Forecast) -> Option<Finding> {
    let own = inspection.config.dir.join(identity::FILE_NAME);
    let (at, text) = match &forecast.report.tail_cache {
        TailCacheFound::Used { lost: Some((at, sealed)), .. } if at < sealed => (
            *at,
            format!("memory is damaged: whole batches end at {at}, but they were sealed up to {sealed}"),
        ),
        TailCacheFound::Used { lost: Some((at, _)), .. } => (
            *at,
            format!("memory is damaged: whole batches end at {at}, and nothing says whether there were more"),
        ),
        TailCacheFound::Refused(
            refusal @ (TailCacheRefusal::Unknown
            | TailCacheRefusal::Damaged
            | TailCacheRefusal::Layout
            | TailCacheRefusal::Version(_)),
        ) => (forecast.disk_end, format!("{refusal}: what only it had is not taken over")),
        _ => return None,
    };
    // What is promised under SYNC_FLUSH is on disk, and so is everything after an orderly end.
    let promised = inspection
        .checkpoint()
        .is_none_or(|checkpoint| checkpoint.flush == FlushKind::Async && !checkpoint.closed);
    let (severity, what) = if promised {
        (Severity::Corruption, "acknowledged records may be lost")
    } else {
        (Severity::Derived, "nothing that was promised is lost")
    };
    let file = forecast.tail_file.clone().unwrap_or(own);
    Some(Finding { severity, at, file, bytes: 0..0, text: format!("{text}; {what}") })
}
