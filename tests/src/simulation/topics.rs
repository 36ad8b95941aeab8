//! The oracle of topics: a change that was confirmed outlives every crash, at any flush level.

use std::collections::{BTreeMap, BTreeSet};

/// What was promised about topics.
#[derive(Debug, Default)]
pub struct Topics(BTreeMap<String, Promise>);

#[derive(Debug, Default)]
struct Promise {
    /// Number of queues as last confirmed.
    confirmed: Option<i32>,
    /// Asked for since then, with an unknown fate: may hold or not.
    open: BTreeSet<i32>,
}

impl Topics {
    /// A change is tried. One at a time for each topic.
    pub fn tried(&mut self, name: &str, queues: i32) {
        self.0.entry(name.to_owned()).or_default().open.insert(queues);
    }

    /// The change tried last was confirmed.
    pub fn confirmed(&mut self, name: &str, queues: i32) {
        let promise = self.0.entry(name.to_owned()).or_default();
        promise.confirmed = Some(queues);
        promise.open.clear();
    }

    /// Topics that were ever tried.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// Whether a topic may be like this; `None`: it does not exist.
    ///
    /// # Errors
    /// What is wrong.
    pub fn compare(&self, name: &str, queues: Option<i32>) -> Result<(), String> {
        let Some(promise) = self.0.get(name) else { return Ok(()) };
        let may_be =
            queues == promise.confirmed || queues.is_some_and(|queues| promise.open.contains(&queues));
        if may_be {
            return Ok(());
        }
        Err(format!("topic {name} has {queues:?} queues, promised was {promise:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirmed_changes_count_and_others_may() {
        let mut topics = Topics::default();
        topics.tried("T", 3);
        assert!(topics.compare("T", None).is_ok() && topics.compare("T", Some(3)).is_ok());
        topics.confirmed("T", 3);
        assert!(topics.compare("T", None).is_err() && topics.compare("T", Some(4)).is_err());
        topics.tried("T", 4);
        assert!(topics.compare("T", Some(4)).is_ok() && topics.compare("T", Some(3)).is_ok());
        topics.confirmed("T", 4);
        assert!(topics.compare("T", Some(3)).is_err());
    }
}
