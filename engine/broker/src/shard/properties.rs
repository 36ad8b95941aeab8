//! A message's property text on its way into the log: what the broker looks for, and what it adds.
//!
//! One pass finds everything that decides about the message. The stored text is the client's with `MSG_REGION`, `TRACE_ON`
//! and `CLUSTER` set, `UNIQ_KEY` added if there is none, and `POP_CK` (a receipt handle that only a broker may issue) removed.

use ringmq_remoting::record::properties::{self, name};

use crate::config::BrokerConfig;

/// `TIMER_*` properties of a message that is to be delivered at a given time.
const TIMER_NAMES: [&str; 3] = [name::TIMER_DELAY_SEC, name::TIMER_DELAY_MS, name::TIMER_DELIVER_MS];

/// What one pass over a property text finds. Of duplicates the last one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) tags: Option<&'a str>,
    pub(crate) keys: Option<&'a str>,
    pub(crate) unique_key: Option<&'a str>,
    /// `WAIT=false`: the producer does not wait for the disk.
    pub(crate) no_wait: bool,
    /// `DELAY`, if it is a number above 0.
    pub(crate) delay_level: i32,
    /// `TRAN_MSG=true`.
    pub(crate) half: bool,
    /// Seconds from now, milliseconds from now, absolute milliseconds; in this order of precedence.
    pub(crate) timer: [Option<&'a str>; 3],
    /// Carries a name that the broker sets or removes itself.
    pub(crate) needs_rewrite: bool,
}

impl<'a> Found<'a> {
    pub(crate) fn scan(text: &'a str) -> Self {
        let mut found = Self::default();
        for (key, value) in properties::iter(text) {
            match key {
                name::TAGS => found.tags = Some(value),
                name::KEYS => found.keys = Some(value),
                name::UNIQ_KEY => found.unique_key = Some(value).filter(|value| !value.is_empty()),
                name::WAIT => found.no_wait = value.eq_ignore_ascii_case("false"),
                name::DELAY => found.delay_level = value.parse().unwrap_or(0).max(0),
                name::TRANSACTION_PREPARED => found.half = value.eq_ignore_ascii_case("true"),
                name::MSG_REGION | name::TRACE_ON | name::CLUSTER | name::POP_CK => {
                    found.needs_rewrite = true
                }
                _ => {
                    if let Some(place) = TIMER_NAMES.iter().position(|&timer| timer == key) {
                        found.timer[place] = Some(value);
                    }
                }
            }
        }
        found
    }

    /// When a timed message is due, wall clock ms. `None`: it is not timed; an error: not a number.
    pub(crate) fn deliver_at(&self, now_ms: i64) -> Option<Result<i64, std::num::ParseIntError>> {
        let [seconds, millis, absolute] = self.timer;
        if let Some(seconds) = seconds {
            return Some(seconds.parse::<i64>().map(|s| now_ms.saturating_add(s.saturating_mul(1000))));
        }
        if let Some(millis) = millis {
            return Some(millis.parse::<i64>().map(|ms| now_ms.saturating_add(ms)));
        }
        absolute.map(str::parse)
    }
}

/// What the broker adds to every message, prepared once per configuration.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    text: String,
}

impl Stamp {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let mut text = String::new();
        push(&mut text, name::MSG_REGION, &config.region_id);
        push(&mut text, name::TRACE_ON, if config.trace_on { "true" } else { "false" });
        push(&mut text, name::CLUSTER, &config.broker_cluster_name);
        Self { text }
    }

    /// Writes the text to be stored into `out` (cleared first). `unique_key`: to be added.
    pub(crate) fn apply(&self, text: &str, found: &Found<'_>, unique_key: Option<&str>, out: &mut String) {
        out.clear();
        if found.needs_rewrite {
            let ours = [name::MSG_REGION, name::TRACE_ON, name::CLUSTER, name::POP_CK];
            copy_without(text, &ours, out);
        } else {
            out.push_str(text);
            close(out);
        }
        if let Some(key) = unique_key {
            // The client's text may hold an empty one; of duplicates the last counts.
            push(out, name::UNIQ_KEY, key);
        }
        out.push_str(&self.text);
    }
}

/// Appends `text` to `out` without the properties named in `without`.
pub(crate) fn copy_without(text: &str, without: &[&str], out: &mut String) {
    for (key, value) in properties::iter(text).filter(|(key, _)| !without.contains(key)) {
        push(out, key, value);
    }
}

/// Appends one property.
pub(crate) fn push(out: &mut String, key: &str, value: &str) {
    out.push_str(key);
    out.push('\u{1}');
    out.push_str(value);
    out.push('\u{2}');
}

/// Old clients leave the last separator out; without it, what is appended would become part of the last value.
pub(crate) fn close(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\u{2}') {
        out.push('\u{2}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(properties: &[(&str, &str)]) -> String {
        let mut out = String::new();
        for (key, value) in properties {
            push(&mut out, key, value);
        }
        out
    }

    fn stamp() -> Stamp {
        Stamp { text: text(&[("MSG_REGION", "R"), ("TRACE_ON", "true"), ("CLUSTER", "C")]) }
    }

    fn check_stored(given: &str, unique_key: Option<&str>, expected: &str) {
        let mut out = String::from("left over");
        stamp().apply(given, &Found::scan(given), unique_key, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn one_pass_finds_what_decides_about_a_message() {
        let given = text(&[
            ("KEYS", "k1 k2"),
            ("TAGS", "TagA"),
            ("WAIT", "false"),
            ("DELAY", "3"),
            ("TRAN_MSG", "true"),
            ("UNIQ_KEY", "U"),
            ("TIMER_DELAY_MS", "250"),
        ]);
        let found = Found::scan(&given);
        assert_eq!((found.tags, found.keys, found.unique_key), (Some("TagA"), Some("k1 k2"), Some("U")));
        assert!(found.no_wait && found.half && !found.needs_rewrite);
        assert_eq!(found.delay_level, 3);
        assert_eq!(found.deliver_at(1_000), Some(Ok(1_250)));
    }

    #[test]
    fn absent_and_odd_values() {
        let found = Found::scan("DELAY\u{1}x\u{2}UNIQ_KEY\u{1}\u{2}TIMER_DELIVER_MS\u{1}soon\u{2}");
        assert_eq!((found.delay_level, found.unique_key, found.no_wait), (0, None, false));
        assert!(found.deliver_at(0).expect("timed").is_err());
        assert_eq!(Found::scan("").deliver_at(0), None);
    }

    #[test]
    fn the_broker_adds_its_properties_behind_the_clients() {
        let ours = text(&[("MSG_REGION", "R"), ("TRACE_ON", "true"), ("CLUSTER", "C")]);
        check_stored("a\u{1}b", Some("U"), &format!("a\u{1}b\u{2}UNIQ_KEY\u{1}U\u{2}{ours}"));
        check_stored("", None, &ours);
        let spoofed = text(&[("CLUSTER", "other"), ("a", "b"), ("POP_CK", "handle")]);
        check_stored(&spoofed, None, &format!("a\u{1}b\u{2}{ours}"));
    }
}
