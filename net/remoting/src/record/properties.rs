//! Message properties: `name` \u{1} `value` \u{2}, repeated, not escaped; the last \u{2} may be missing.

/// Names of properties that the broker reads or writes.
#[allow(missing_docs, reason = "the wire's own names")]
pub mod name {
    pub const KEYS: &str = "KEYS";
    pub const TAGS: &str = "TAGS";
    pub const WAIT: &str = "WAIT";
    pub const DELAY: &str = "DELAY";
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const REAL_QUEUE_ID: &str = "REAL_QID";
    pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
    pub const PRODUCER_GROUP: &str = "PGROUP";
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
    pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
    pub const MSG_REGION: &str = "MSG_REGION";
    pub const TRACE_ON: &str = "TRACE_ON";
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    pub const CLUSTER: &str = "CLUSTER";
    pub const POP_CK: &str = "POP_CK";
    pub const INNER_NUM: &str = "INNER_NUM";
    pub const INNER_BASE: &str = "INNER_BASE";
    pub const SHARDING_KEY: &str = "__SHARDINGKEY";
    pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
    pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
}

/// The value of a property; of duplicates the last one counts.
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    let _ = (properties, name);
    todo!()
}

/// All well-formed properties in the order of the text.
pub fn iter(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    let _ = properties;
    std::iter::empty()
}

/// Builds a properties text.
#[derive(Debug, Default, Clone)]
pub struct PropertiesWriter {
    text: String,
}

impl PropertiesWriter {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }
    /// Starts from a text, all of it kept except the properties named in `except`.
    pub fn from_text(properties: &str, except: &[&str]) -> Self {
        let _ = (properties, except);
        todo!()
    }
    /// Appends one property; the name must not be there yet.
    pub fn push(&mut self, name: &str, value: &str) -> &mut Self {
        let _ = (name, value);
        todo!()
    }
    /// Removes a property.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        let _ = name;
        todo!()
    }
    /// Replaces or appends a property.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.remove(name).push(name, value)
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
