//! The broker's configuration: 26, 25.

use std::rc::Rc;

use bytes::Bytes;
use ringmq_reactor::task::Backup;
use ringmq_remoting::code::response;
use ringmq_transport::properties_file::Properties;
use tracing::{error, info, warn};

use super::{Answer, Outcome, Refusal, Request};
use crate::config::UpdateRefused;
use crate::coordination::core::{Core, Response};
use crate::coordination::registration::Registration;

/// 26
pub(super) fn get(core: &Core) -> Answer {
    let text = core.config().to_properties().to_plain_text();
    Ok(Response::body(text).field("version", core.config_version.get().to_json()))
}

/// 25: all or nothing. Keys that act only at start are written to the file and named in the answer's remark.
pub(super) fn update(core: &Rc<Core>, request: &Request) -> Outcome {
    let properties = match Properties::from_bytes(request.command().body) {
        Ok(properties) => properties,
        Err(error) => return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, error.to_string()))),
    };
    let before = core.config();
    let update = match before.updated(&properties) {
        Ok(update) => update,
        Err(refused @ UpdateRefused::BlackListed(_)) => {
            return Outcome::Now(Err(Refusal::new(response::NO_PERMISSION, refused.to_string())));
        }
        Err(refused) => return Outcome::Now(Err(Refusal::new(response::SYSTEM_ERROR, refused.to_string()))),
    };
    for notice in &update.notices {
        warn!(%notice, "configuration update");
    }
    let changed: Vec<&str> = properties.iter().map(|(key, _)| key).collect();
    info!(peer = %request.origin.peer, ?changed, at_start = ?update.at_start, "configuration updated");
    let after = update.config;
    if after.name_servers != before.name_servers {
        Registration::set_servers(core, &after.name_servers.resolved());
    }
    let must_register = after.broker_permission != before.broker_permission;
    core.set_config(after);
    core.config_version.set(core.config_version.get().next(i64::try_from(core.now_ms()).unwrap_or(i64::MAX)));
    if must_register {
        core.registration.changed();
    }
    let mut answer = Response::success();
    if !update.at_start.is_empty() {
        answer.remark = Some(format!("effective after a restart: {}", update.at_start.join(", ")));
    }
    let core = Rc::clone(core);
    Outcome::later(async move {
        write_file(&core).await?;
        Ok(answer)
    })
}

async fn write_file(core: &Core) -> Result<(), Refusal> {
    let config = core.config();
    let Some(path) = &config.file else { return Ok(()) };
    let text = config.given_properties().to_file_text();
    core.io.replace_file(path, Bytes::from(text), Backup::Keep).await.map_err(|cause| {
        error!(file = %path.display(), %cause, "the configuration file cannot be written");
        let text = format!("in effect, but {} cannot be written: {cause}", path.display());
        Refusal::new(response::SYSTEM_ERROR, text)
    })
}
