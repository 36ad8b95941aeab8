//! Medians, ratios and the raw results.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Median of at least one number.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(numbers: &[f64]) -> f64 {
    assert!(!numbers.is_empty(), "no numbers");
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// One measured thing of one runtime over all rounds.
#[derive(Clone, Debug)]
pub struct Series {
    /// Work, for example `echo 16x1`.
    pub work: String,
    /// Runtime's name.
    pub runtime: &'static str,
    /// What was measured, with its unit.
    pub measure: String,
    /// A number for each round.
    pub rounds: Vec<f64>,
}

/// A table of medians, each with its range over the rounds and its ratio to our reactor.
#[must_use]
pub fn table(series: &[Series]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<14} {:<26} {:<9} {:>12} {:>25} {:>14}",
        "work", "measure", "runtime", "median", "range", "to ringmq"
    );
    for one in series {
        let value = median(&one.rounds);
        let low = one.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = one.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let same = |other: &&Series| other.work == one.work && other.measure == one.measure;
        let ours = series.iter().filter(same).find(|other| other.runtime == "ringmq");
        let ratio = ours.map_or(f64::NAN, |ours| value / median(&ours.rounds));
        let range = format!("{low:.3} .. {high:.3}");
        let _ = writeln!(
            text,
            "{:<14} {:<26} {:<9} {value:>12.3} {range:>25} {ratio:>14.2}",
            one.work, one.measure, one.runtime
        );
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// All rounds as JSON.
#[must_use]
pub fn json(facts: &[(&str, String)], series: &[Series]) -> String {
    let mut text = String::from("{\n");
    for (name, value) in facts {
        let _ = writeln!(text, " {}: {},", quoted(name), quoted(value));
    }
    text.push_str(" \"series\": [\n");
    for (n, one) in series.iter().enumerate() {
        let rounds: Vec<String> = one.rounds.iter().map(|value| format!("{value:.4}")).collect();
        let comma = if n + 1 < series.len() { "," } else { "" };
        let _ = writeln!(
            text,
            "  {{\"work\": {}, \"runtime\": {}, \"measure\": {}, \"median\": {:.4}, \"rounds\": [{}]}}{comma}",
            quoted(&one.work),
            quoted(one.runtime),
            quoted(&one.measure),
            median(&one.rounds),
            rounds.join(", ")
        );
    }
    text.push_str(" ]\n}\n");
    text
}

/// `(YYYY-MM-DD, HHMMSS)` in UTC.
#[must_use]
pub fn date_and_time() -> (String, String) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let time = format!("{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    (format!("{year:04}-{month:02}-{day:02}"), time)
}

/// Date of a day counted from 1970, by walking years and months.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// Writes `text` to `<runs>/<date>-<label>/reactor-<time>.json`.
///
/// # Errors
/// Of the file system.
pub fn save(runs: &Path, label: &str, text: &str) -> io::Result<PathBuf> {
    let (date, time) = date_and_time();
    let folder = runs.join(format!("{date}-{label}"));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("reactor-{time}.json"));
    std::fs::write(&path, text)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_778, (2026, 11, 21))]
        {
            assert_eq!(civil(days), date, "{days}");
        }
    }
}
