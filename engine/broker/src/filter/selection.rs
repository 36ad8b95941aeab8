//! What a pull (or any other reader of a queue) wants: a filter of either kind, as the store asks it.

use std::sync::Arc;

use ringmq_remoting::record::{RecordView, properties};
use ringmq_store::{RecordFilter, SCAN_ENTRIES_MAX};

use super::{Expression, TagFilter};
use crate::message::OnlineGroup;

/// Operations that one read may spend on expressions, over all records that it looks at: under one millisecond of a shard as long as
/// property texts are short. Expressions of up to forty operations see the whole scan window.
const SCAN_OPERATIONS_MAX: usize = 40 * SCAN_ENTRIES_MAX;

/// Which messages of a queue a consumer gets. Cheap to copy; lives as long as a pull.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MessageFilter {
    /// By tag hash: the queue index decides.
    Tags(TagFilter),
    /// By properties: each record is looked at.
    Properties(Arc<Expression>),
    /// Of a retry topic (`filterSupportRetry`): each message by what its group wants of the topic it came from, if that is an
    /// expression.
    ByOrigin(Arc<OnlineGroup>),
}

impl Default for MessageFilter {
    /// Every message.
    fn default() -> Self {
        Self::Tags(TagFilter::default())
    }
}

impl MessageFilter {
    /// Whether a message that passed [`RecordFilter::may_want`] is wanted, by its properties text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Tags(_) => true,
            Self::Properties(expression) => expression.matches(text),
            Self::ByOrigin(group) => {
                let origin = properties::get(text, properties::name::RETRY_TOPIC);
                let filter = origin.and_then(|topic| group.subscriptions.get(topic)?.filter.as_ref());
                filter.is_none_or(|filter| filter.expression.matches(text))
            }
        }
    }

    /// Operations for one message, at most.
    fn operations(&self) -> usize {
        match self {
            Self::Tags(_) => 0,
            Self::Properties(expression) => expression.operations(),
            Self::ByOrigin(group) => {
                let filters = group.subscriptions.values().filter_map(|wanted| wanted.filter.as_ref());
                filters.map(|filter| filter.expression.operations()).max().unwrap_or(0)
            }
        }
    }
}

impl RecordFilter for MessageFilter {
    fn may_want(&self, tags_code: i64) -> bool {
        match self {
            Self::Tags(tags) => tags.matches(tags_code),
            Self::Properties(_) | Self::ByOrigin(_) => true,
        }
    }

    fn looks_at_records(&self) -> bool {
        !matches!(self, Self::Tags(_))
    }

    fn wants(&self, record: &RecordView<'_>) -> bool {
        self.matches(&record.properties())
    }

    fn entries_max(&self) -> usize {
        SCAN_OPERATIONS_MAX / self.operations().max(1)
    }
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashMap;

    use super::*;
    use crate::message::{ConsumeModel, ExpressionKind, PropertyFilter, Subscription};

    fn compiled(text: &str) -> Arc<Expression> {
        Arc::new(Expression::compile(text).expect("an expression"))
    }

    #[test]
    fn the_index_decides_about_tags_and_the_record_about_properties() {
        let tags = MessageFilter::Tags(TagFilter::parse("a").expect("a tag"));
        assert!(tags.may_want(97) && !tags.may_want(98) && !tags.looks_at_records());
        let properties = MessageFilter::Properties(compiled("k = 1"));
        assert!(properties.may_want(98) && properties.looks_at_records());
        assert!(properties.matches("k\u{1}1\u{2}") && !properties.matches("k\u{1}2\u{2}"));
    }

    #[test]
    fn dear_expressions_see_fewer_entries() {
        assert!(
            MessageFilter::Properties(compiled("k = 1 AND l BETWEEN 1 AND 2")).entries_max()
                >= SCAN_ENTRIES_MAX
        );
        let dear = format!("k = 1{}", " OR k = 2".repeat(700));
        let entries = MessageFilter::Properties(compiled(&dear)).entries_max();
        assert!((1..50).contains(&entries), "{entries}");
    }

    #[test]
    fn messages_that_were_sent_back_are_judged_by_where_they_came_from() {
        let wanted = Subscription {
            version: 1,
            expression: ExpressionKind::Properties,
            tag_codes: Box::default(),
            filter: Some(PropertyFilter { version: 1, expression: compiled("k = 1") }),
        };
        let subscriptions = FxHashMap::from_iter([(Arc::from("T"), Arc::new(wanted))]);
        let group = OnlineGroup { model: ConsumeModel::Clustering, subscriptions };
        let filter = MessageFilter::ByOrigin(Arc::new(group));
        assert!(filter.matches("RETRY_TOPIC\u{1}T\u{2}k\u{1}1\u{2}"));
        assert!(!filter.matches("RETRY_TOPIC\u{1}T\u{2}k\u{1}2\u{2}"));
        assert!(filter.matches("RETRY_TOPIC\u{1}U\u{2}k\u{1}2\u{2}"), "no expression for that topic");
        assert!(filter.matches("k\u{1}2\u{2}"));
    }
}
