//! Requests of clients: 105, 106.

use ringmq_remoting::code::response;
use ringmq_remoting::code::version::V4_9_4;
use ringmq_remoting::command::Command;

use crate::answer::Answer;
use crate::bodies::{self, JsonForm};
use crate::kv::ORDER_TOPIC_CONFIG;
use crate::state::{Caller, State};

impl State {
    pub(crate) fn route(&mut self, command: &Command<'_>, caller: Caller) -> Result<Answer, Answer> {
        if !self.is_ready(caller.now) {
            return Err(Answer::error("name server not ready"));
        }
        // Without a topic RocketMQ looks for one named null, and does not find it.
        let topic = command.field("topic").unwrap_or("null".into());
        let Some(route) = self.routes.route(&topic) else {
            return Err(Answer::refused(
                response::TOPIC_NOT_EXIST,
                format!(
                    "No topic route info in name server for the topic: {topic}\n\
                     See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
                ),
            ));
        };
        let order =
            self.config.settings.order_message_enable.then(|| self.kv.get(ORDER_TOPIC_CONFIG, &topic));
        let standard_only =
            command.field("acceptStandardJsonOnly").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let form =
            if command.version >= V4_9_4 || standard_only { JsonForm::Standard } else { JsonForm::Fastjson };
        Ok(Answer::with_body(bodies::route(&route, order.flatten(), form)))
    }

    pub(crate) fn cluster_info(&self) -> Answer {
        Answer::with_body(bodies::cluster_info(&self.routes))
    }
}
