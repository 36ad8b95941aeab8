//! Requests of brokers: 103, 104, 322, 901, 904.

use std::time::Duration;

use ringmq_remoting::command::{Command, FieldError};

use crate::answer::{Answer, required};
use crate::bodies;
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::route_table::Registration;
use crate::state::{Caller, State};

/// Header field of a broker's zone.
const ZONE_NAME: &str = "__ZONE_NAME";

impl State {
    pub(crate) fn register_broker(
        &mut self,
        command: &Command<'_>,
        caller: Caller,
    ) -> Result<Answer, Answer> {
        check_crc(command)?;
        let body = bodies::read_registration(command).map_err(|error| Answer::error(error.to_string()))?;
        let timeout = long(command.long("heartbeatTimeoutMillis"))?;
        let acting_master = command.field("enableActingMaster").map(|text| text.eq_ignore_ascii_case("true"));
        let registration = Registration {
            cluster: required(command, "clusterName")?,
            broker: required(command, "brokerName")?,
            id: required_id(command)?,
            address: required(command, "brokerAddr")?,
            ha_address: required(command, "haServerAddr")?,
            timeout: timeout.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
            acting_master,
            zone: command.field(ZONE_NAME).map(std::borrow::Cow::into_owned),
            data_version: body.data_version,
            topics: body.topics,
            mappings: body.mappings,
            filter_servers: body.filter_servers,
        };
        let registered = self
            .routes
            .register(&registration, Some(caller.connection), caller.now)
            .map_err(|refused| Answer::error(refused.to_string()))?;
        self.effects.notices.extend(registered.notice);
        let mut answer = Answer::success();
        if let Some(address) = registered.ha_address {
            answer = answer.field("haServerAddr", address);
        }
        if let Some(address) = registered.master_address {
            answer = answer.field("masterAddr", address);
        }
        if self.config.settings.return_order_topic_config_to_broker
            && let Some(table) = self.kv.namespace(ORDER_TOPIC_CONFIG)
        {
            answer.body = bodies::kv_table(table);
        }
        Ok(answer)
    }

    pub(crate) fn unregister_broker(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let cluster = required(command, "clusterName")?;
        let broker = required(command, "brokerName")?;
        let address = required(command, "brokerAddr")?;
        let notice = self.routes.unregister(&cluster, &broker, &address);
        self.effects.notices.extend(notice);
        Ok(Answer::success())
    }

    pub(crate) fn query_data_version(
        &mut self,
        command: &Command<'_>,
        caller: Caller,
    ) -> Result<Answer, Answer> {
        let cluster = required(command, "clusterName")?;
        let address = required(command, "brokerAddr")?;
        let version =
            bodies::read_data_version(command.body).map_err(|error| Answer::error(error.to_string()))?;
        let changed = self.routes.is_changed(&cluster, &address, &version);
        self.routes.heard_from(&cluster, &address, caller.now);
        let known = self.routes.data_version(&cluster, &address);
        let answer =
            known.map_or_else(Answer::success, |known| Answer::with_body(bodies::data_version(known)));
        Ok(answer.field("changed", changed.to_string()))
    }

    pub(crate) fn broker_heartbeat(
        &mut self,
        command: &Command<'_>,
        caller: Caller,
    ) -> Result<Answer, Answer> {
        let cluster = required(command, "clusterName")?;
        let address = required(command, "brokerAddr")?;
        self.routes.heard_from(&cluster, &address, caller.now);
        Ok(Answer::success())
    }

    pub(crate) fn broker_member_group(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let cluster = required(command, "clusterName")?;
        let broker = required(command, "brokerName")?;
        Ok(Answer::with_body(bodies::member_group(&cluster, &broker, self.routes.group(&broker))))
    }
}

/// The CRC covers the body as it was sent; 0 or none means that the broker does not say.
fn check_crc(command: &Command<'_>) -> Result<(), Answer> {
    let Some(expected) = long(command.long("bodyCrc32"))?.filter(|crc| *crc != 0) else { return Ok(()) };
    let crc = i64::from(ringmq_remoting::record::body_crc(command.body));
    if crc == expected { Ok(()) } else { Err(Answer::error("crc32 not match")) }
}

fn required_id(command: &Command<'_>) -> Result<i64, Answer> {
    required(command, "brokerId")?;
    long(command.long("brokerId"))?.ok_or_else(|| Answer::error("the custom field <brokerId> is null"))
}

fn long(value: Result<Option<i64>, FieldError>) -> Result<Option<i64>, Answer> {
    value.map_err(|error| Answer::error(error.to_string()))
}
