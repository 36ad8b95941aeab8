//! Which keys a record is found by, and their hashes.
//!
//! As in RocketMQ: the unique key (`UNIQ_KEY`) and every word of `KEYS`, each together with the topic; rolled-back records by none.

use ringmq_remoting::record::{properties, sys_flag};
use twox_hash::XxHash3_64;

/// Between the keys of one record.
const KEY_SEPARATOR: char = ' ';

/// The keys of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordKeys<'a> {
    unique: Option<&'a str>,
    words: &'a str,
}

impl<'a> RecordKeys<'a> {
    pub fn of(sys_flags: i32, properties: &'a str) -> Self {
        let mut keys = Self::default();
        if sys_flags & sys_flag::TRANSACTION_MASK == sys_flag::TRANSACTION_ROLLBACK {
            return keys;
        }
        for (name, value) in properties::iter(properties) {
            match name {
                properties::name::UNIQ_KEY => keys.unique = Some(value),
                properties::name::KEYS => keys.words = value,
                _ => {}
            }
        }
        keys
    }

    pub fn unique(&self) -> Option<&'a str> {
        self.unique
    }

    /// All of them; one that is there twice comes twice.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        let words = self.words.split(KEY_SEPARATOR).filter(|word| !word.is_empty());
        self.unique.into_iter().chain(words)
    }
}

/// The hash under which a record of `topic` is found by `key`. Part of the file format: XXH3 of the key, seeded with that of the topic.
pub(crate) fn hash(topic: &str, key: &str) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(topic.as_bytes()), key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sys_flags: i32, properties: &str, expected: &[&str]) {
        let keys: Vec<_> = RecordKeys::of(sys_flags, properties).iter().collect();
        assert_eq!(keys, expected);
    }

    #[test]
    fn records_are_found_by_unique_key_and_by_every_word() {
        check(0, "KEYS\u{1} a  b \u{2}UNIQ_KEY\u{1}U\u{2}", &["U", "a", "b"]);
        check(0, "TAGS\u{1}x\u{2}", &[]);
        check(0, "KEYS\u{1}old\u{2}KEYS\u{1}new", &["new"]);
        check(sys_flag::TRANSACTION_PREPARED, "UNIQ_KEY\u{1}U\u{2}", &["U"]);
        check(sys_flag::TRANSACTION_ROLLBACK, "UNIQ_KEY\u{1}U\u{2}", &[]);
    }

    #[test]
    fn hashes_are_part_of_the_file_format() {
        assert_eq!(hash("topic", "key"), hash("topic", "key"));
        assert_ne!(hash("topic", "key"), hash("topi", "ckey"));
        assert_ne!(hash("a", "b"), hash("b", "a"));
        assert_eq!(XxHash3_64::oneshot(b""), 0x2D06_8005_38D3_94C2, "the specification's value for no bytes");
    }
}
