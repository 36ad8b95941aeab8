//! The kv configuration: values by namespace and key, set by operators (requests 100, 101, 102, 219).
//!
//! The only thing that survives the process: every change replaces the file, and is answered when it is on disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use ringmq_remoting::body::{self, BodyError};

use crate::limits::{KV_BYTES_MAX, KV_ENTRIES_MAX};

/// Namespace of the queue counts of ordered topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// A value does not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KvFull {
    /// See [`KV_ENTRIES_MAX`].
    #[error("the kv configuration holds {KV_ENTRIES_MAX} entries and takes no more")]
    Entries,
    /// See [`KV_BYTES_MAX`].
    #[error("the kv configuration would exceed {KV_BYTES_MAX} bytes")]
    Bytes,
}

/// Why a file is not taken over.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KvFileError {
    /// It is not `{"configTable":{…}}`.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It holds more than may be set.
    #[error(transparent)]
    Full(#[from] KvFull),
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct KvConfig {
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    entries: usize,
    bytes: usize,
}

impl KvConfig {
    /// From the content of `kvConfig.json`, in RocketMQ's own form.
    ///
    /// # Errors
    /// See [`KvFileError`].
    pub fn from_file(content: &[u8]) -> Result<Self, KvFileError> {
        let mut config = Self::default();
        for (namespace, table) in body::KvConfig::from_json(content)?.config_table {
            config.namespaces.entry(namespace.clone()).or_default();
            for (key, value) in table {
                config.put(&namespace, &key, &value)?;
            }
        }
        Ok(config)
    }

    /// The content of `kvConfig.json`.
    #[must_use]
    pub fn to_file(&self) -> Bytes {
        let file = body::KvConfig { config_table: self.namespaces.clone() };
        Bytes::from(file.to_json())
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When it does not fit; nothing is changed then.
    pub fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), KvFull> {
        let before = self.get(namespace, key).map(str::len);
        let entries = self.entries + usize::from(before.is_none());
        let grown = match before {
            Some(_) => value.len(),
            None => namespace.len() + key.len() + value.len(),
        };
        let bytes = self.bytes - before.unwrap_or(0) + grown;
        if entries > KV_ENTRIES_MAX {
            return Err(KvFull::Entries);
        }
        if bytes > KV_BYTES_MAX {
            return Err(KvFull::Bytes);
        }
        (self.entries, self.bytes) = (entries, bytes);
        let table = self.namespaces.entry(namespace.to_owned()).or_default();
        table.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// A value.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.namespaces.get(namespace)?.get(key).map(String::as_str)
    }

    /// Removes a value. The namespace stays, also when it is empty.
    pub fn delete(&mut self, namespace: &str, key: &str) {
        let removed = self.namespaces.get_mut(namespace).and_then(|table| table.remove(key));
        if let Some(value) = removed {
            self.entries -= 1;
            self.bytes -= namespace.len() + key.len() + value.len();
        }
    }

    /// All of a namespace; `None` if nothing was ever put there.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(namespace)
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_set_replaced_and_deleted() {
        let mut kv = KvConfig::default();
        assert_eq!(kv.put("n", "k", "1"), Ok(()));
        assert_eq!(kv.put("n", "k", "22"), Ok(()));
        assert_eq!((kv.get("n", "k"), kv.len(), kv.bytes), (Some("22"), 1, 4));
        kv.delete("n", "other");
        kv.delete("n", "k");
        assert_eq!((kv.get("n", "k"), kv.len(), kv.bytes), (None, 0, 0));
        assert_eq!(kv.namespace("n"), Some(&BTreeMap::new()), "an emptied namespace is known");
        assert_eq!(kv.namespace("m"), None);
    }

    #[test]
    fn the_file_has_rocketmqs_form_and_comes_back_equal() {
        let mut kv = KvConfig::default();
        kv.put(ORDER_TOPIC_CONFIG, "T", "broker-a:4;broker-b:4").expect("room");
        kv.put("n", "quote\"", "é\n").expect("room");
        let file = kv.to_file();
        assert!(
            file.starts_with(br#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4;broker-b:4"},"n":{"#)
        );
        let read = KvConfig::from_file(&file).expect("own file");
        assert_eq!((read.namespaces, read.entries, read.bytes), (kv.namespaces, kv.entries, kv.bytes));
    }

    #[test]
    fn what_is_no_such_file_is_an_error() {
        for content in [&b"{\"configTable\":{\"n\":"[..], b"[]", b"{\"configTable\":7}", b""] {
            assert!(KvConfig::from_file(content).is_err(), "{}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut kv = KvConfig::default();
        let half = "x".repeat(KV_BYTES_MAX / 2);
        assert_eq!(kv.put("n", "a", &half), Ok(()));
        assert_eq!(kv.put("n", "b", &half), Err(KvFull::Bytes));
        assert_eq!((kv.len(), kv.get("n", "b")), (1, None));
        assert_eq!(kv.put("n", "a", "1"), Ok(()), "a smaller value makes room");
        assert_eq!(kv.put("n", "b", &half), Ok(()));
        for n in kv.len()..KV_ENTRIES_MAX {
            assert_eq!(kv.put("many", &n.to_string(), ""), Ok(()));
        }
        assert_eq!(kv.put("n", "one more", ""), Err(KvFull::Entries));
    }
}
