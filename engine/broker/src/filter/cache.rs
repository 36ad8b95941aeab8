//! Compiled expressions of consumers that send theirs with every pull.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Expression, ExpressionError};

/// Expressions that one shard remembers.
const EXPRESSIONS_MAX: usize = 128;
/// The texts of all of them, bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

struct Entry {
    expression: Arc<Expression>,
    last_use: u64,
}

/// By text; the one not asked for longest is forgotten first. One for each shard.
#[derive(Default)]
pub(crate) struct ExpressionCache {
    entries: FxHashMap<Arc<str>, Entry>,
    text_bytes: usize,
    uses: u64,
}

impl ExpressionCache {
    /// Compiles a text, or gives what was compiled before.
    pub(crate) fn compile(&mut self, text: &str) -> Result<Arc<Expression>, ExpressionError> {
        self.uses += 1;
        if let Some(entry) = self.entries.get_mut(text) {
            entry.last_use = self.uses;
            return Ok(Arc::clone(&entry.expression));
        }
        let expression = Arc::new(Expression::compile(text)?);
        while self.entries.len() >= EXPRESSIONS_MAX || self.text_bytes + text.len() > TEXT_BYTES_MAX {
            self.forget_oldest();
        }
        self.text_bytes += text.len();
        let entry = Entry { expression: Arc::clone(&expression), last_use: self.uses };
        self.entries.insert(text.into(), entry);
        Ok(expression)
    }

    /// A scan of the table for each expression compiled: a hundred entries.
    fn forget_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use);
        let oldest =
            oldest.map(|(text, _)| Arc::clone(text)).expect("one expression alone is within the limits");
        self.entries.remove(&oldest);
        self.text_bytes -= oldest.len();
    }
}
const _: () = assert!(super::EXPRESSION_BYTES_MAX <= TEXT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_expressions_are_remembered() {
        let mut cache = ExpressionCache::default();
        let first = cache.compile("a = 0").expect("an expression");
        for number in 1..EXPRESSIONS_MAX {
            cache.compile(&format!("a = {number}")).expect("an expression");
        }
        assert!(Arc::ptr_eq(&cache.compile("a = 0").expect("known"), &first));
        cache.compile("b = 1").expect("an expression");
        assert_eq!(cache.entries.len(), EXPRESSIONS_MAX);
        assert!(Arc::ptr_eq(&cache.compile("a = 0").expect("used just now"), &first));
        assert!(!cache.entries.contains_key("a = 1"));
        assert!(cache.compile("a =").is_err());
    }

    #[test]
    fn large_texts_make_room_for_each_other() {
        let mut cache = ExpressionCache::default();
        for number in 0..40 {
            let text =
                format!("a = {number} OR a = '{}'", "x".repeat(super::super::EXPRESSION_BYTES_MAX - 64));
            cache.compile(&text).expect("an expression");
            assert!(cache.text_bytes <= TEXT_BYTES_MAX);
        }
        assert!(cache.entries.len() > 10);
    }
}
