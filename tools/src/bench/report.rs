//! The result: a table for people, JSON for programs.

use std::fmt::Write as _;

use super::host::Used;
use super::measure::Tally;
use super::options::Common;

const PERCENTILES: [(&str, f64); 6] =
    [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99), ("max", 100.0)];

/// Everything one run found out.
#[derive(Debug)]
pub struct Report<'a> {
    /// `produce`, `consume` or `run`.
    pub command: &'a str,
    /// As asked for.
    pub options: &'a Common,
    /// Producing side.
    pub produced: Option<Tally>,
    /// Consuming side.
    pub consumed: Option<Tally>,
    /// This process.
    pub own: Option<Used>,
    /// The broker process, when its id was given.
    pub broker: Option<Used>,
}

impl Report<'_> {
    /// Lines for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (name, tally) in [("sent", &self.produced), ("received", &self.consumed)] {
            let Some(tally) = tally else { continue };
            let _ = writeln!(
                out,
                "{name}: {} messages, {:.0} msg/s, {:.1} MB/s, {} requests",
                tally.messages,
                tally.rate(),
                tally.rate() * mean_body(tally) / 1e6,
                tally.requests
            );
            if !tally.latency.is_empty() {
                let _ = write!(out, "  latency ms");
                for (label, p) in PERCENTILES {
                    let _ = write!(out, "  {label} {:.3}", tally.latency.value_at_percentile(p) as f64 / 1e3);
                }
                let _ = writeln!(out);
            }
            for (code, count) in &tally.errors {
                let what = if *code == -1 { "connection lost".to_owned() } else { format!("code {code}") };
                let _ = writeln!(out, "  failed: {count} ({what})");
            }
        }
        let messages = self.messages();
        for (name, used) in [("broker", &self.broker), ("rmq-bench", &self.own)] {
            if let Some(used) = used {
                let _ = writeln!(
                    out,
                    "{name}: {:.2} cores, {:.2} CPU s per million messages, {:.0} MB resident",
                    used.cpu_seconds / used.seconds,
                    per_million(used, messages),
                    used.rss_bytes as f64 / 1e6
                );
            }
        }
        out
    }

    /// Messages that the CPU time is divided by: those sent, or those received when none were sent.
    fn messages(&self) -> u64 {
        self.produced.as_ref().or(self.consumed.as_ref()).map_or(0, |t| t.messages)
    }

    /// One JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        let o = self.options;
        let mut out = String::from("{");
        let _ = write!(
            out,
            "\"command\":\"{}\",\"label\":{:?},\"topics\":{},\"queues\":{},\"order\":\"{:?}\",\"connections\":{},\"in_flight\":{},\"size\":{},\
             \"batch\":{},\"rate\":{},\"duration\":{},\"warmup\":{},\"threads\":{},\"encoding\":\"{:?}\"",
            self.command,
            o.label,
            o.topics,
            o.queues,
            o.order,
            o.connections,
            o.in_flight,
            o.size,
            o.batch,
            o.rate,
            o.duration,
            o.warmup,
            o.threads,
            o.encoding
        );
        for (name, tally) in [("sent", &self.produced), ("received", &self.consumed)] {
            if let Some(tally) = tally {
                let _ = write!(out, ",\"{name}\":{}", tally_json(tally));
            }
        }
        for (name, used) in [("broker", &self.broker), ("bench", &self.own)] {
            if let Some(used) = used {
                let _ = write!(
                    out,
                    ",\"{name}\":{{\"cpu_seconds\":{:.3},\"cores\":{:.4},\"cpu_seconds_per_million\":{:.3},\"rss_bytes\":{},\"rss_max_bytes\":{}}}",
                    used.cpu_seconds,
                    used.cpu_seconds / used.seconds,
                    per_million(used, self.messages()),
                    used.rss_bytes,
                    used.rss_max_bytes
                );
            }
        }
        out.push_str("}\n");
        out
    }
}

fn mean_body(tally: &Tally) -> f64 {
    if tally.messages == 0 { 0.0 } else { tally.body_bytes as f64 / tally.messages as f64 }
}

/// CPU time covers the measured time as messages do.
fn per_million(used: &Used, messages: u64) -> f64 {
    if messages == 0 { 0.0 } else { used.cpu_seconds * 1e6 / messages as f64 }
}

fn tally_json(tally: &Tally) -> String {
    let mut out = format!(
        "{{\"messages\":{},\"requests\":{},\"body_bytes\":{},\"elapsed_ns\":{},\"per_second\":{:.1},\"latency_us\":{{\"mean\":{:.1}",
        tally.messages,
        tally.requests,
        tally.body_bytes,
        tally.elapsed_ns,
        tally.rate(),
        tally.latency.mean()
    );
    for (label, p) in PERCENTILES {
        let _ = write!(out, ",\"{label}\":{}", tally.latency.value_at_percentile(p));
    }
    out.push_str("},\"histogram_us\":[");
    for (k, bucket) in tally.latency.iter_recorded().enumerate() {
        let comma = if k == 0 { "" } else { "," };
        let _ =
            write!(out, "{comma}[{},{}]", bucket.value_iterated_to(), bucket.count_since_last_iteration());
    }
    out.push_str("],\"errors\":{");
    for (k, (code, count)) in tally.errors.iter().enumerate() {
        let comma = if k == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{code}\":{count}");
    }
    out.push_str("}}");
    out
}
