//! Compiled expressions of consumer groups, as heartbeats bring them. Pure state with the reference's rules.
//!
//! An expression is compiled once, when a heartbeat brings it with a newer version than the one known; data shards get the result with
//! what else they learn of a group. It outlives the group's last member by a day, so that a member with an older version cannot bring
//! back an older expression. In memory only: after a restart the clients bring their expressions with their first heartbeat.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmq_remoting::body::{EXPRESSION_SQL92, SubscriptionData};
use tracing::{info, warn};

use crate::filter::Expression;
use crate::message::PropertyFilter;

/// How long the expressions of a group without members are kept, ms.
const DEAD_KEPT_MS: u64 = 24 * 3600 * 1000;
/// The texts of all expressions, bytes. What comes beyond is not compiled: pulls are told so (27), and the log says why.
const TEXT_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
struct Filter {
    version: i64,
    expression: Arc<Expression>,
    /// When the group lost its last member, or its interest in the topic; wall clock ms.
    dead_since_ms: Option<u64>,
}

/// By group and topic.
#[derive(Debug, Default)]
pub struct FilterTable {
    groups: BTreeMap<String, BTreeMap<String, Filter>>,
    text_bytes: usize,
}

impl FilterTable {
    /// The subscriptions of a heartbeat of that group. True: data shards must learn something.
    pub fn register(&mut self, group: &str, subscriptions: &[SubscriptionData], now_ms: u64) -> bool {
        let mut has_changed = false;
        for subscription in subscriptions {
            if !subscription.is_tag_type() && !subscription.sub_string.is_empty() {
                has_changed |= self.register_one(group, subscription);
            }
        }
        for (topic, filter) in self.groups.get_mut(group).into_iter().flatten() {
            if !subscriptions.iter().any(|subscription| subscription.topic == *topic) {
                filter.dead_since_ms.get_or_insert(now_ms);
            }
        }
        has_changed
    }

    fn register_one(&mut self, group: &str, subscription: &SubscriptionData) -> bool {
        let SubscriptionData { topic, sub_string: text, sub_version: version, .. } = subscription;
        if let Some(known) = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
            if *version <= known.version {
                if *version == known.version {
                    known.dead_since_ms = None;
                }
                return false;
            }
            if known.expression.text() == text && subscription.expression_type == EXPRESSION_SQL92 {
                known.version = *version;
                known.dead_since_ms = None;
                return true;
            }
            self.remove(group, topic);
        }
        match self.compile(subscription) {
            Ok(expression) => {
                self.text_bytes += text.len();
                let filter =
                    Filter { version: *version, expression: Arc::new(expression), dead_since_ms: None };
                self.groups.entry(group.to_owned()).or_default().insert(topic.clone(), filter);
            }
            Err(why) => warn!(group, topic, expression = text, why, "the expression of a group is not used"),
        }
        true
    }

    fn compile(&self, subscription: &SubscriptionData) -> Result<Expression, String> {
        let SubscriptionData { sub_string: text, expression_type: kind, .. } = subscription;
        if kind != EXPRESSION_SQL92 {
            return Err(format!("unknown expression type {kind}"));
        }
        if self.text_bytes + text.len() > TEXT_BYTES_MAX {
            return Err(format!("the expressions of all groups exceed {TEXT_BYTES_MAX} bytes"));
        }
        Expression::compile(text).map_err(|error| error.to_string())
    }

    fn remove(&mut self, group: &str, topic: &str) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        if let Some(removed) = topics.remove(topic) {
            self.text_bytes -= removed.expression.text().len();
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// The group has no member any more.
    pub fn unregister(&mut self, group: &str, now_ms: u64) {
        for filter in self.groups.get_mut(group).into_iter().flat_map(BTreeMap::values_mut) {
            filter.dead_since_ms.get_or_insert(now_ms);
        }
    }

    /// What a group's expression for a topic was compiled to, if it could be.
    #[must_use]
    pub fn get(&self, group: &str, topic: &str) -> Option<PropertyFilter> {
        let filter = self.groups.get(group)?.get(topic)?;
        Some(PropertyFilter { version: filter.version, expression: Arc::clone(&filter.expression) })
    }

    /// Forgets what has been dead for a day.
    pub fn expire(&mut self, now_ms: u64) {
        let is_over = |since: u64| now_ms.saturating_sub(since) >= DEAD_KEPT_MS;
        let text_bytes = &mut self.text_bytes;
        self.groups.retain(|group, topics| {
            topics.retain(|topic, filter| {
                let is_kept = !filter.dead_since_ms.is_some_and(is_over);
                if !is_kept {
                    info!(group, topic, "the expression of a group without members is forgotten");
                    *text_bytes -= filter.expression.text().len();
                }
                is_kept
            });
            !topics.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(topic: &str, text: &str, version: i64) -> SubscriptionData {
        SubscriptionData::parse(topic, text, Some(EXPRESSION_SQL92), version).expect("taken as it is")
    }

    /// Version and text of `g`'s expression for `T`.
    fn known(filters: &FilterTable) -> Option<(i64, String)> {
        filters.get("g", "T").map(|filter| (filter.version, filter.expression.text().to_owned()))
    }

    #[test]
    fn newer_versions_replace_older_ones() {
        let mut filters = FilterTable::default();
        assert!(filters.register("g", &[wants("T", "a = 1", 5)], 0));
        assert!(!filters.register("g", &[wants("T", "a = 1", 5)], 0), "the same again");
        assert!(!filters.register("g", &[wants("T", "a = 2", 5)], 0), "not newer");
        assert!(!filters.register("g", &[wants("T", "a = 3", 4)], 0));
        assert_eq!(known(&filters), Some((5, "a = 1".to_owned())));
        assert!(filters.register("g", &[wants("T", "a = 1", 6)], 0), "pulls carry the new version");
        assert!(filters.register("g", &[wants("T", "a = 2", 7)], 0));
        assert_eq!(known(&filters), Some((7, "a = 2".to_owned())));
        assert_eq!(filters.text_bytes, 5);
    }

    #[test]
    fn a_new_expression_that_is_wrong_ends_the_old_one() {
        let mut filters = FilterTable::default();
        assert!(filters.register("g", &[wants("T", "a =", 1)], 0));
        assert_eq!(known(&filters), None);
        filters.register("g", &[wants("T", "a = 1", 2)], 0);
        assert!(!filters.register("g", &[wants("T", "a =", 2)], 0));
        assert!(known(&filters).is_some(), "ignored: not newer");
        assert!(filters.register("g", &[wants("T", "a =", 3)], 0));
        assert_eq!(known(&filters), None);
        let mut other = wants("T", "a = 1", 4);
        other.expression_type = "XPATH".to_owned();
        filters.register("g", &[other], 0);
        assert_eq!((known(&filters), filters.text_bytes), (None, 0));
    }

    #[test]
    fn tags_and_empty_texts_are_no_expressions() {
        let mut filters = FilterTable::default();
        let tags = SubscriptionData::parse("T", "a || b", None, 1).expect("tags");
        assert!(!filters.register("g", &[tags, wants("T", "", 1)], 0));
        assert_eq!(known(&filters), None);
    }

    #[test]
    fn the_dead_are_kept_for_a_day() {
        let mut filters = FilterTable::default();
        filters.register("g", &[wants("T", "a = 1", 5), wants("U", "a = 1", 5)], 0);
        filters.unregister("g", 1_000);
        filters.unregister("g", 2_000);
        filters.expire(DEAD_KEPT_MS + 999);
        assert!(!filters.register("g", &[wants("T", "a = 2", 4)], 3_000), "an older member is ignored");
        assert_eq!(known(&filters), Some((5, "a = 1".to_owned())));
        assert!(!filters.register("g", &[wants("T", "a = 1", 5)], 3_000), "back to life");
        filters.expire(DEAD_KEPT_MS + 1_000);
        assert!(known(&filters).is_some());
        assert_eq!(filters.get("g", "U"), None);
        filters.register("g", &[], 4_000);
        filters.expire(DEAD_KEPT_MS + 4_000);
        assert_eq!((known(&filters), filters.text_bytes, filters.groups.len()), (None, 0, 0));
    }

    #[test]
    fn the_texts_of_all_groups_are_bounded() {
        let mut filters = FilterTable::default();
        let text = format!("a = '{}'", "x".repeat(60_000));
        for number in 0..TEXT_BYTES_MAX / 60_000 + 10 {
            filters.register(&format!("g{number}"), &[wants("T", &text, 1)], 0);
        }
        assert!(filters.text_bytes <= TEXT_BYTES_MAX);
        assert!(filters.groups.len() > 200);
    }
}
