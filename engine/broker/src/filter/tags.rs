//! Which messages of a queue a consumer wants, as far as the queue index can tell: by tag hash.
//!
//! Different tags may share a hash; the client compares the texts again.

use ringmq_remoting::record::tags_code;

/// A tag filter. Lives as long as a pull.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TagFilter {
    /// Wanted tag hashes; empty: every message.
    codes: Box<[i32]>,
}

impl TagFilter {
    pub(crate) fn new(codes: Box<[i32]>) -> Self {
        Self { codes }
    }

    /// From `TagA || TagB`, `*`, or nothing (all messages). Parts that are blank do not count; an expression of nothing but
    /// separators selects nothing and is an error of the client.
    pub(crate) fn parse(expression: &str) -> Option<Self> {
        if expression.is_empty() || expression == "*" {
            return Some(Self::default());
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        let codes: Box<[i32]> = tags.map(|tag| low_bits(tags_code(tag))).collect();
        (!codes.is_empty()).then_some(Self { codes })
    }

    /// Whether a message with this index tag may be wanted.
    pub(crate) fn matches(&self, code: i64) -> bool {
        self.codes.is_empty() || self.codes.contains(&low_bits(code))
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "tag hashes are 32-bit numbers, sign-extended in the index"
)]
fn low_bits(code: i64) -> i32 {
    code as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, tag: &str, expected: bool) {
        let filter = TagFilter::parse(expression).expect("an expression with tags");
        let code = if tag.is_empty() { 0 } else { tags_code(tag) };
        assert_eq!(filter.matches(code), expected, "{expression:?} against {tag:?}");
    }

    #[test]
    fn tags_match_by_hash() {
        check("*", "TagA", true);
        check("", "", true);
        check("TagA || TagB", "TagB", true);
        check("TagA||TagB", "TagC", false);
        check("TagA", "", false);
        check("订单", "订单", true);
        assert_eq!(TagFilter::parse(" || "), None);
    }
}
