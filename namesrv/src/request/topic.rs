//! Topic lists and what operators do to topics: 205, 206, 216, 217, 224, 304, 311, 312, 313, 327.

use ringmq_remoting::code::request;
use ringmq_remoting::command::Command;

use crate::answer::{Answer, required};
use crate::bodies;
use crate::state::State;

/// What RocketMQ answers when a list is switched off.
const DISABLED: &str = "disable";

impl State {
    pub(crate) fn all_topics(&self) -> Answer {
        if !self.config.settings.enable_all_topic_list {
            return Answer::error(DISABLED);
        }
        Answer::with_body(bodies::topic_list(self.routes.topics(), None))
    }

    pub(crate) fn topic_list(&self, command: &Command<'_>) -> Result<Answer, Answer> {
        if !self.config.settings.enable_topic_list {
            return Err(Answer::error(DISABLED));
        }
        let routes = &self.routes;
        let body = match command.code {
            request::GET_TOPICS_BY_CLUSTER => {
                let cluster = required(command, "cluster")?;
                bodies::topic_list(routes.topics_of_cluster(&cluster), None)
            }
            request::GET_UNIT_TOPIC_LIST => bodies::topic_list(routes.unit_topics(), None),
            request::GET_HAS_UNIT_SUB_TOPIC_LIST => bodies::topic_list(routes.unit_sub_topics(), None),
            request::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                bodies::topic_list(routes.unit_sub_ununit_topics(), None)
            }
            _ => {
                let (names, address) = routes.system_topics();
                bodies::topic_list(names.iter().map(String::as_str), address.as_deref())
            }
        };
        Ok(Answer::with_body(body))
    }

    pub(crate) fn wipe_write(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let broker = required(command, "brokerName")?;
        let count = self.routes.wipe_write(&broker);
        tracing::info!(%broker, topics = count, "write permission wiped");
        Ok(Answer::success().field("wipeTopicCount", count.to_string()))
    }

    pub(crate) fn add_write(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let broker = required(command, "brokerName")?;
        let count = self.routes.add_write(&broker);
        tracing::info!(%broker, topics = count, "write permission added");
        Ok(Answer::success().field("addTopicCount", count.to_string()))
    }

    pub(crate) fn delete_topic(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let topic = required(command, "topic")?;
        let cluster = command.field("clusterName").filter(|cluster| !cluster.is_empty());
        tracing::info!(%topic, cluster = cluster.as_deref(), "topic deleted");
        self.routes.delete_topic(&topic, cluster.as_deref());
        Ok(Answer::success())
    }

    pub(crate) fn register_topic(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let topic = required(command, "topic")?;
        let queues = bodies::read_queues(command.body).map_err(|error| Answer::error(error.to_string()))?;
        if !queues.is_empty() && !self.routes.register_topic(&topic, &queues) {
            tracing::warn!(%topic, "ignoring a topic: a broker of it is unknown, or there is no room");
        }
        Ok(Answer::success())
    }
}
