//! The name server's configuration: RocketMQ's keys and defaults.

use std::path::{Path, PathBuf};

use ringmq_transport::properties_file::{Properties, SettingValue, ValueError};

use crate::route_table::RouteSettings;

/// Keys that RocketMQ's name server knows and that mean nothing here (its thread pools, Netty, the JVM): accepted, shown with
/// RocketMQ's defaults, without effect.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("productEnvName", "center"),
    ("clusterTest", "false"),
    ("clientRequestThreadPoolNums", "8"),
    ("defaultThreadPoolNums", "16"),
    ("clientRequestThreadPoolQueueCapacity", "50000"),
    ("defaultThreadPoolQueueCapacity", "10000"),
    ("unRegisterBrokerQueueCapacity", "3000"),
    ("enableControllerInNamesrv", "false"),
    ("serverWorkerThreads", "8"),
    ("serverCallbackExecutorThreads", "0"),
    ("serverSelectorThreads", "3"),
    ("serverOnewaySemaphoreValue", "256"),
    ("serverAsyncSemaphoreValue", "64"),
    ("serverSocketSndBufSize", "0"),
    ("serverSocketRcvBufSize", "0"),
    ("writeBufferHighWaterMark", "0"),
    ("writeBufferLowWaterMark", "0"),
    ("serverSocketBacklog", "1024"),
    ("serverNettyWorkerGroupEnable", "true"),
    ("serverPooledByteBufAllocatorEnable", "true"),
    ("enableShutdownGracefully", "false"),
    ("shutdownWaitTimeSeconds", "30"),
    ("useEpollNativeSelector", "false"),
];

/// Keys that request 318 must not change, whatever `configBlackList` says.
const NEVER_BY_REQUEST: &[&str] = &["configBlackList", "configStorePath", "kvConfigPath"];

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At once.
    Now,
    /// At the next start.
    Restart,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $default:expr, $key:literal, $effect:ident;)+) => {
        /// The keys that have an effect.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Settings {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl Settings {
            fn with_home(home: &Path) -> Self {
                Self { $($field: { let default: fn(&Path) -> $type = $default; default(home) },)+ }
            }

            /// Sets a key; `None`: not a key with an effect.
            fn set(&mut self, key: &str, value: &str) -> Result<Option<Effect>, ValueError> {
                match key {
                    $($key => {
                        self.$field = <$type>::read(key, value)?;
                        Ok(Some(Effect::$effect))
                    })+
                    _ => Ok(None),
                }
            }

            fn entries(&self) -> Vec<(&'static str, String)> {
                vec![$(($key, self.$field.text()),)+]
            }
        }
    };
}

settings! {
    /// Port, 0 for any that is free.
    listen_port: u16 = |_| 9876, "listenPort", Restart;
    /// Address to listen on.
    bind_address: String = |_| "0.0.0.0".to_owned(), "bindAddress", Restart;
    /// Where RocketMQ would be installed; shown only.
    rocketmq_home: String = |home| home.display().to_string(), "rocketmqHome", Restart;
    /// The kv configuration's file.
    kv_config_path: PathBuf = |home| home.join("namesrv/kvConfig.json"), "kvConfigPath", Restart;
    /// Where request 318 writes the configuration; the file given at the start, if there was one.
    config_store_path: PathBuf = |home| home.join("namesrv/namesrv.properties"), "configStorePath", Restart;
    /// Further keys that request 318 must not change, separated by `;`.
    config_black_list: String =
        |_| "configBlackList;configStorePath;kvConfigPath".to_owned(), "configBlackList", Restart;
    /// Routes carry the order configuration of their topic.
    order_message_enable: bool = |_| false, "orderMessageEnable", Now;
    /// Registrations are answered with all order configuration.
    return_order_topic_config_to_broker: bool = |_| true, "returnOrderTopicConfigToBroker", Now;
    /// Milliseconds between two searches for silent brokers.
    scan_not_active_broker_interval: u64 = |_| 5000, "scanNotActiveBrokerInterval", Now;
    /// Slaves may stand in for their master in routes.
    support_acting_master: bool = |_| false, "supportActingMaster", Now;
    /// Request 206 is answered.
    enable_all_topic_list: bool = |_| true, "enableAllTopicList", Now;
    /// Requests 224, 304, 311, 312 and 313 are answered.
    enable_topic_list: bool = |_| true, "enableTopicList", Now;
    /// Brokers are told when the smallest id of their name changes.
    notify_min_broker_id_changed: bool = |_| false, "notifyMinBrokerIdChanged", Now;
    /// Routes are only answered some time after the start, when all brokers have registered.
    need_wait_for_service: bool = |_| false, "needWaitForService", Now;
    /// That time, seconds.
    wait_seconds_for_service: u64 = |_| 45, "waitSecondsForService", Now;
    /// A registration also removes what it does not mention.
    delete_topic_with_broker_registration: bool = |_| false, "deleteTopicWithBrokerRegistration", Now;
    /// Seconds of silence after which a connection is closed.
    server_channel_max_idle_time_seconds: u64 = |_| 120, "serverChannelMaxIdleTimeSeconds", Restart;
}

/// All of it: what has an effect, what has none, and what nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub struct NamesrvConfig {
    /// The keys that have an effect.
    pub settings: Settings,
    /// What was given, in the order and words of the file; this is what is written back.
    given: Properties,
    without_effect: Properties,
}

/// Why request 318 changed nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpdateError {
    /// One of its keys is black-listed.
    #[error("Can not update config in black list.")]
    BlackListed,
    /// One of its values cannot be read.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl NamesrvConfig {
    /// RocketMQ's defaults; files lie under `home` unless told otherwise.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        let mut without_effect = Properties::default();
        for (key, value) in WITHOUT_EFFECT {
            without_effect.set(key, value);
        }
        Self { settings: Settings::with_home(home), given: Properties::default(), without_effect }
    }

    /// Takes over what a file says. Gives the keys that nobody knows: they are kept, and worth a warning.
    ///
    /// # Errors
    /// The first value that cannot be read.
    pub fn read(&mut self, properties: &Properties) -> Result<Vec<String>, ValueError> {
        let mut unknown = Vec::new();
        for (key, value) in properties.iter() {
            if self.settings.set(key, value)?.is_none() {
                if self.without_effect.get(key).is_some() {
                    self.without_effect.set(key, value);
                } else {
                    unknown.push(key.to_owned());
                }
            }
            self.given.set(key, value);
        }
        Ok(unknown)
    }

    /// Request 318: all of `properties` or nothing. Gives what will only take effect at the next start.
    ///
    /// # Errors
    /// See [`UpdateError`].
    pub fn update(&mut self, properties: &Properties) -> Result<Vec<String>, UpdateError> {
        let listed = self.settings.config_black_list.split(';').map(str::trim);
        let black: Vec<&str> = listed.chain(NEVER_BY_REQUEST.iter().copied()).collect();
        if properties.iter().any(|(key, _)| black.contains(&key)) {
            return Err(UpdateError::BlackListed);
        }
        let mut changed = self.clone();
        let mut later = Vec::new();
        for (key, value) in properties.iter() {
            let known = match changed.settings.set(key, value)? {
                Some(Effect::Now) => true,
                Some(Effect::Restart) => {
                    later.push(key.to_owned());
                    true
                }
                None => changed.without_effect.get(key).is_some(),
            };
            // As RocketMQ does: a request cannot add keys that mean nothing.
            if known {
                changed.given.set(key, value);
            }
        }
        *self = changed;
        Ok(later)
    }

    /// What the route table follows.
    #[must_use]
    pub fn route_settings(&self) -> RouteSettings {
        RouteSettings {
            delete_topics: self.settings.delete_topic_with_broker_registration,
            acting_master: self.settings.support_acting_master,
            notify_min_id: self.settings.notify_min_broker_id_changed,
        }
    }

    /// Every key with its value, as request 319 and `-p` show them.
    #[must_use]
    pub fn all(&self) -> Properties {
        let mut all = Properties::default();
        for (key, value) in self.settings.entries() {
            all.set(key, &value);
        }
        for (key, value) in self.without_effect.iter().chain(self.given.iter()) {
            if all.get(key).is_none() {
                all.set(key, value);
            }
        }
        all
    }

    /// What is written to [`Settings::config_store_path`]: what was given at the start, with what was changed since.
    #[must_use]
    pub fn file_text(&self) -> String {
        self.given.to_file_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NamesrvConfig {
        NamesrvConfig::new(Path::new("/home/mq"))
    }

    fn properties(text: &str) -> Properties {
        Properties::parse(text).expect("well-formed")
    }

    #[test]
    fn defaults_are_rocketmqs() {
        let all = config().all();
        for (key, value) in [
            ("listenPort", "9876"),
            ("bindAddress", "0.0.0.0"),
            ("kvConfigPath", "/home/mq/namesrv/kvConfig.json"),
            ("configStorePath", "/home/mq/namesrv/namesrv.properties"),
            ("scanNotActiveBrokerInterval", "5000"),
            ("returnOrderTopicConfigToBroker", "true"),
            ("orderMessageEnable", "false"),
            ("defaultThreadPoolNums", "16"),
        ] {
            assert_eq!(all.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn a_file_is_read_and_unknown_keys_are_kept_and_named() {
        let mut config = config();
        let unknown = config
            .read(&properties("listenPort=19876\nserverWorkerThreads=2\nmyKey=1"))
            .expect("readable values");
        assert_eq!(unknown, ["myKey"]);
        assert_eq!(config.settings.listen_port, 19876);
        assert_eq!(config.all().get("myKey"), Some("1"));
        assert_eq!(config.all().get("serverWorkerThreads"), Some("2"));
        assert_eq!(config.file_text(), "listenPort=19876\nserverWorkerThreads=2\nmyKey=1\n");
    }

    #[test]
    fn a_bad_value_names_its_key() {
        let error = config().read(&properties("listenPort=many")).expect_err("not a port");
        assert_eq!(error.key, "listenPort");
    }

    #[test]
    fn an_update_is_all_or_nothing() {
        let mut config = config();
        let before = config.clone();
        let error =
            config.update(&properties("orderMessageEnable=true\nlistenPort=x")).expect_err("not a port");
        assert!(matches!(error, UpdateError::Value(_)), "{error}");
        assert_eq!(config, before);
        let later = config.update(&properties("orderMessageEnable=true\nlistenPort=9877\nnonsense=1"));
        assert_eq!(later, Ok(vec!["listenPort".to_owned()]));
        assert!(config.settings.order_message_enable);
        assert_eq!(config.file_text(), "orderMessageEnable=true\nlistenPort=9877\n");
    }

    #[test]
    fn black_listed_keys_cannot_be_updated() {
        let mut config = config();
        config.read(&properties("configBlackList=listenPort; bindAddress")).expect("readable values");
        for key in ["listenPort", "bindAddress", "kvConfigPath", "configStorePath", "configBlackList"] {
            let error = config.update(&properties(&format!("{key}=1")));
            assert_eq!(error, Err(UpdateError::BlackListed), "{key}");
        }
    }
}
