//! The name server's own configuration: 318, 319.

use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;
use ringmq_transport::properties_file::Properties;

use crate::answer::Answer;
use crate::config::UpdateError;
use crate::state::State;

impl State {
    pub(crate) fn update_config(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        if command.body.is_empty() {
            return Ok(Answer::success());
        }
        let properties =
            Properties::from_bytes(command.body).map_err(|error| Answer::error(error.to_string()))?;
        let later = self.config.update(&properties).map_err(|error| match error {
            UpdateError::BlackListed => Answer::refused(response::NO_PERMISSION, error.to_string()),
            UpdateError::Value(_) => Answer::error(error.to_string()),
        })?;
        tracing::info!(keys = ?properties.iter().map(|(key, _)| key).collect::<Vec<_>>(), "configuration updated");
        if !later.is_empty() {
            tracing::warn!(keys = ?later, "these take effect at the next start");
        }
        self.routes.set_settings(self.config.route_settings());
        self.effects.config_changed = true;
        Ok(Answer::success())
    }

    pub(crate) fn show_config(&self) -> Answer {
        Answer::with_body(self.config.all().to_plain_text())
    }
}
