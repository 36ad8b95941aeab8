//! Subscriptions and their tag expressions.

use crate::record::java_hash;

/// Expression type of tag filters; also when absent.
pub const EXPRESSION_TAG: &str = "TAG";
/// Expression type of SQL filters.
pub const EXPRESSION_SQL92: &str = "SQL92";
/// Subscribes to everything.
pub const SUBSCRIBE_ALL: &str = "*";

beans! {
    /// What a consumer wants of a topic.
    SubscriptionData {
        /// Class filter (gone).
        class_filter_mode: bool = "classFilterMode";
        /// Java hash codes of the tags.
        code_set: Vec<i32> = "codeSet";
        /// [`EXPRESSION_TAG`] or [`EXPRESSION_SQL92`].
        expression_type: String = "expressionType", or EXPRESSION_TAG.to_owned();
        /// The expression.
        sub_string: String = "subString";
        /// When the consumer made it, ms: newer ones replace older ones.
        sub_version: i64 = "subVersion";
        /// The tags.
        tags_set: Vec<String> = "tagsSet";
        /// Topic.
        topic: String = "topic";
    }
}

impl Eq for SubscriptionData {}

/// A tag expression has nothing between its `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("subString split error")]
pub struct TagExpressionError;

impl SubscriptionData {
    /// From an expression: `*`, empty, or tags separated by `||`; another type than TAG is taken as it is.
    ///
    /// # Errors
    /// There are separators, but no tag.
    pub fn parse(
        topic: &str,
        expression: &str,
        expression_type: Option<&str>,
        sub_version: i64,
    ) -> Result<SubscriptionData, TagExpressionError> {
        let mut subscription = SubscriptionData {
            topic: topic.to_owned(),
            sub_string: expression.to_owned(),
            sub_version,
            ..Self::default()
        };
        match expression_type {
            None | Some("" | EXPRESSION_TAG) => {}
            Some(other) => {
                subscription.expression_type = other.to_owned();
                return Ok(subscription);
            }
        }
        if expression.is_empty() || expression == SUBSCRIBE_ALL {
            subscription.sub_string = SUBSCRIBE_ALL.to_owned();
            return Ok(subscription);
        }
        for tag in expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()) {
            if !subscription.tags_set.iter().any(|known| known == tag) {
                subscription.tags_set.push(tag.to_owned());
                subscription.code_set.push(java_hash(tag));
            }
        }
        // Java's split drops empty pieces at the end only: "||" alone gives none, which is an error there
        // too.
        if expression.split("||").all(str::is_empty) { Err(TagExpressionError) } else { Ok(subscription) }
    }

    /// Whether it is a tag filter.
    pub fn is_tag_type(&self) -> bool {
        self.expression_type.is_empty() || self.expression_type == EXPRESSION_TAG
    }

    /// Whether a message with that tag hash (see [`crate::record::tags_code`]) may be wanted. The client
    /// compares the tag's text afterwards.
    pub fn matches(&self, tags_code: i64) -> bool {
        self.sub_string == SUBSCRIBE_ALL || self.code_set.contains(&(tags_code as i32))
    }
}
