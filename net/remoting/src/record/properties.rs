//! Message properties: `name` \u{1} `value` \u{2}, repeated, not escaped; the last \u{2} may be missing.
//!
//! Reading rules of the reference: a segment shorter than 3 characters, or without a \u{1} that is neither
//! its first nor its last character, is skipped; only the first \u{1} separates; of duplicates the last one
//! counts.

/// Between name and value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Behind each value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';

/// Names of properties that the broker reads or writes.
pub mod name;

/// The value of a property; of duplicates the last one counts.
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    iter(properties).filter(|(key, _)| *key == name).last().map(|(_, value)| value)
}

/// All well-formed properties in the order of the text.
pub fn iter(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    properties.split(PROPERTY_SEPARATOR).filter_map(parse)
}

/// Name and value of a segment, if it is well-formed.
fn parse(segment: &str) -> Option<(&str, &str)> {
    let (name, value) = segment.split_once(NAME_VALUE_SEPARATOR)?;
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Whether a name or value can be carried: it has neither separator in it and is not empty.
pub fn is_carriable(text: &str) -> bool {
    !text.is_empty() && !text.contains([NAME_VALUE_SEPARATOR, PROPERTY_SEPARATOR])
}

/// Builds a properties text.
///
/// What [`PropertiesWriter::from_text`] keeps, it keeps as it came, order and ill-formed segments included:
/// the producer's text is the producer's.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PropertiesWriter {
    text: String,
}

impl PropertiesWriter {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from a text, all of it kept except the properties named in `except`. Room for
    /// `additional_bytes` more is made at once.
    pub fn from_text(properties: &str, except: &[&str], additional_bytes: usize) -> Self {
        let mut text = String::with_capacity(properties.len() + 1 + additional_bytes);
        for segment in properties.split_terminator(PROPERTY_SEPARATOR) {
            if parse(segment).is_none_or(|(name, _)| !except.contains(&name)) {
                text.push_str(segment);
                text.push(PROPERTY_SEPARATOR);
            }
        }
        PropertiesWriter { text }
    }

    /// Appends one property. A name that is there already is not looked for: the new value counts for
    /// readers.
    ///
    /// A name or value that cannot be carried ([`is_carriable`]) is left out, as the reference's own text
    /// would lose it.
    pub fn push(&mut self, name: &str, value: &str) -> &mut Self {
        if is_carriable(name) && is_carriable(value) {
            self.text.push_str(name);
            self.text.push(NAME_VALUE_SEPARATOR);
            self.text.push_str(value);
            self.text.push(PROPERTY_SEPARATOR);
        }
        self
    }

    /// Removes a property.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if self.get(name).is_some() {
            *self = Self::from_text(&self.text, &[name], 0);
        }
        self
    }

    /// Replaces or appends a property.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.remove(name).push(name, value)
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        get(&self.text, name)
    }

    /// The text, with a closing \u{2}.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, with a closing \u{2}.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        assert_eq!(iter(text).collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn reads_as_the_reference_does() {
        check("", &[]);
        check("a\u{1}1\u{2}b\u{1}2\u{2}", &[("a", "1"), ("b", "2")]);
        check("a\u{1}1\u{2}b\u{1}2", &[("a", "1"), ("b", "2")]);
        check("ab\u{2}\u{1}x\u{2}x\u{1}\u{2}\u{2}k\u{1}v", &[("k", "v")]);
        check("k\u{1}v\u{1}w\u{2}", &[("k", "v\u{1}w")]);
        assert_eq!(get("k\u{1}1\u{2}k\u{1}2\u{2}", "k"), Some("2"));
        assert_eq!(get("kk\u{1}1\u{2}", "k"), None);
    }

    #[test]
    fn edits_keep_the_rest_as_it_came() {
        let mut writer =
            PropertiesWriter::from_text("b\u{1}2\u{2}POP_CK\u{1}x\u{2}junk\u{2}a\u{1}1", &["POP_CK"], 32);
        writer.push("UNIQ_KEY", "AA").set("b", "3").push("empty", "").push("bad", "x\u{2}y");
        assert_eq!(writer.as_str(), "junk\u{2}a\u{1}1\u{2}UNIQ_KEY\u{1}AA\u{2}b\u{1}3\u{2}");
        assert_eq!(writer.remove("none").remove("a").get("a"), None);
    }
}
