//! The name server without its connections: a request and the time go in, an answer comes out.

use std::time::Duration;

use ringmq_reactor::{ConnectionId, Monotonic};
use ringmq_remoting::code::{request, response};
use ringmq_remoting::command::Command;

use crate::answer::Answer;
use crate::config::NamesrvConfig;
use crate::kv::KvConfig;
use crate::route_table::{MinIdNotice, RouteTable};

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Their connection.
    pub connection: ConnectionId,
    /// Time of the request.
    pub now: Monotonic,
}

/// What has to happen beside the answer.
#[derive(Debug, Default)]
pub struct Effects {
    /// The kv file has to be replaced before the answer goes out.
    pub kv_changed: bool,
    /// The configuration file has to be replaced before the answer goes out.
    pub config_changed: bool,
    /// Brokers to be told of a new smallest id.
    pub notices: Vec<MinIdNotice>,
}

/// Everything a name server knows. One per process.
#[derive(Debug)]
pub struct State {
    pub(crate) config: NamesrvConfig,
    pub(crate) routes: RouteTable,
    pub(crate) kv: KvConfig,
    /// Since when requests are answered.
    pub(crate) serving_since: Monotonic,
    pub(crate) effects: Effects,
}

impl State {
    /// Knows nothing but its configuration.
    #[must_use]
    pub fn new(config: NamesrvConfig) -> Self {
        let routes = RouteTable::new(config.route_settings());
        Self {
            config,
            routes,
            kv: KvConfig::default(),
            serving_since: Monotonic::default(),
            effects: Effects::default(),
        }
    }

    /// Executes a request. What it has changed beside is then to be had from [`State::take_effects`].
    pub fn execute(&mut self, command: &Command<'_>, caller: Caller) -> Answer {
        let outcome = match command.code {
            request::PUT_KV_CONFIG => self.put_kv(command),
            request::GET_KV_CONFIG => self.get_kv(command),
            request::DELETE_KV_CONFIG => self.delete_kv(command),
            request::GET_KVLIST_BY_NAMESPACE => self.kv_namespace(command),
            request::REGISTER_BROKER => self.register_broker(command, caller),
            request::UNREGISTER_BROKER => self.unregister_broker(command),
            request::QUERY_DATA_VERSION => self.query_data_version(command, caller),
            request::BROKER_HEARTBEAT => self.broker_heartbeat(command, caller),
            request::GET_BROKER_MEMBER_GROUP => self.broker_member_group(command),
            request::GET_ROUTEINFO_BY_TOPIC => self.route(command, caller),
            request::GET_BROKER_CLUSTER_INFO => Ok(self.cluster_info()),
            request::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write(command),
            request::ADD_WRITE_PERM_OF_BROKER => self.add_write(command),
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => Ok(self.all_topics()),
            request::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(command),
            request::REGISTER_TOPIC_IN_NAMESRV => self.register_topic(command),
            request::GET_TOPICS_BY_CLUSTER
            | request::GET_SYSTEM_TOPIC_LIST_FROM_NS
            | request::GET_UNIT_TOPIC_LIST
            | request::GET_HAS_UNIT_SUB_TOPIC_LIST
            | request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => self.topic_list(command),
            request::UPDATE_NAMESRV_CONFIG => self.update_config(command),
            request::GET_NAMESRV_CONFIG => Ok(self.show_config()),
            code => Err(Answer::refused(
                response::REQUEST_CODE_NOT_SUPPORTED,
                format!(" request type {code} not supported"),
            )),
        };
        outcome.unwrap_or_else(|refusal| refusal)
    }

    /// What requests have changed since the last call.
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Whether routes are answered yet (`needWaitForService`).
    pub(crate) fn is_ready(&self, now: Monotonic) -> bool {
        let settings = &self.config.settings;
        let wait = Duration::from_secs(settings.wait_seconds_for_service);
        !settings.need_wait_for_service || now.since(self.serving_since) >= wait
    }
}
