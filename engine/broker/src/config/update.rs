//! Changing the configuration of a running broker (request 25).

use ringmq_transport::properties_file::Properties;

use super::error::{ConfigError, Notice};
use super::other_keys::other_key;
use super::settings::Applies;
use super::{BrokerConfig, values};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateRefused {
    /// The key is on the black list.
    #[error("Can not update config in black list: {0}")]
    BlackListed(String),
    /// A value is not acceptable.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

impl BrokerConfig {
    /// This configuration with some keys changed, and what to tell about them. All or nothing.
    ///
    /// Keys that apply only at start are changed in the result's text but keep acting as before; the second list names
    /// them.
    ///
    /// # Errors
    /// See [`UpdateRefused`].
    pub fn updated(&self, changes: &Properties) -> Result<Update, UpdateRefused> {
        const NEVER: [&str; 3] = ["brokerConfigPath", "rocketmqHome", "configBlackList"];
        let listed = self.config_black_list.split(';').map(str::trim).filter(|key| !key.is_empty());
        let black: Vec<&str> = NEVER.into_iter().chain(listed).collect();
        let mut next = self.clone();
        let mut notices = Vec::new();
        let mut at_start = Vec::new();
        for (key, value) in changes.iter() {
            let key = values::canonical_key(key);
            if black.contains(&key) {
                return Err(UpdateRefused::BlackListed(key.to_owned()));
            }
            let obeyed = Self::obeyed_keys().iter().find(|(name, _)| *name == key);
            match obeyed {
                Some((_, Applies::Live)) => {
                    next.set(key, value).map_err(ConfigError::from)?;
                    next.given.insert(key.to_owned(), value.to_owned());
                }
                Some((_, Applies::AtStart)) => {
                    let mut trial = next.clone();
                    trial.set(key, value).map_err(ConfigError::from)?;
                    trial.check()?;
                    if trial.get(key) != self.get(key) {
                        at_start.push(key.to_owned());
                    }
                    next.given.insert(key.to_owned(), value.to_owned());
                }
                None => {
                    match other_key(key) {
                        Some(other) => notices.extend(other.judge(value)?),
                        None => notices.push(Notice::Unknown { key: key.to_owned() }),
                    }
                    next.other.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        next.check()?;
        Ok(Update { config: next, at_start, notices })
    }
}

/// What [`BrokerConfig::updated`] gives.
#[derive(Debug)]
pub struct Update {
    /// The new configuration, for every shard.
    pub config: BrokerConfig,
    /// Changed keys that take effect only when the broker is started again.
    pub at_start: Vec<String>,
    /// Keys that do nothing.
    pub notices: Vec<Notice>,
}

#[cfg(test)]
mod tests {
    use super::super::HostFacts;
    use super::*;

    fn update(text: &str) -> Result<Update, UpdateRefused> {
        let (config, _) = BrokerConfig::from_text("", &[], &HostFacts::for_tests()).expect("defaults");
        config.updated(&Properties::parse(text).expect("well-formed"))
    }

    #[test]
    fn live_keys_apply_and_others_wait_for_the_next_start() {
        let update = update("longPollingEnable=false\nlistenPort=1234\nwhatever=1").expect("accepted");
        assert!(!update.config.long_polling_enable);
        assert_eq!(update.config.listen_port, 10911);
        assert_eq!(update.at_start, ["listenPort"]);
        assert_eq!(update.config.given_properties().get("listenPort"), Some("1234"));
        assert_eq!(update.notices.len(), 1);
    }

    #[test]
    fn black_listed_and_invalid_keys_change_nothing() {
        assert!(
            matches!(update("configBlackList=x"), Err(UpdateRefused::BlackListed(key)) if key == "configBlackList")
        );
        assert!(matches!(update("rocketmqHome=x"), Err(UpdateRefused::BlackListed(_))));
        let error = update("maxMessageSize=abc").expect_err("not a number").to_string();
        assert!(error.starts_with("maxMessageSize=abc: "), "{error}");
        assert!(update("brokerRole=SLAVE").is_err());
        assert!(update("maxMessageSize=999999999").is_err());
    }
}
