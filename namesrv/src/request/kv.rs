//! The kv configuration: 100, 101, 102, 219.

use ringmq_remoting::code::response;
use ringmq_remoting::command::Command;

use crate::answer::{Answer, required};
use crate::bodies;
use crate::state::State;

impl State {
    pub(crate) fn put_kv(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let (namespace, key) = namespace_and_key(command)?;
        let value = required(command, "value")?;
        self.kv.put(&namespace, &key, &value).map_err(|full| Answer::error(full.to_string()))?;
        tracing::info!(%namespace, %key, %value, "kv value set");
        self.effects.kv_changed = true;
        Ok(Answer::success())
    }

    pub(crate) fn get_kv(&self, command: &Command<'_>) -> Result<Answer, Answer> {
        let (namespace, key) = namespace_and_key(command)?;
        let value = self.kv.get(&namespace, &key).ok_or_else(|| {
            let remark = format!("No config item, Namespace: {namespace} Key: {key}");
            Answer::refused(response::QUERY_NOT_FOUND, remark)
        })?;
        Ok(Answer::success().field("value", value))
    }

    pub(crate) fn delete_kv(&mut self, command: &Command<'_>) -> Result<Answer, Answer> {
        let (namespace, key) = namespace_and_key(command)?;
        self.kv.delete(&namespace, &key);
        tracing::info!(%namespace, %key, "kv value deleted");
        self.effects.kv_changed = true;
        Ok(Answer::success())
    }

    pub(crate) fn kv_namespace(&self, command: &Command<'_>) -> Result<Answer, Answer> {
        let namespace = required(command, "namespace")?;
        let table = self.kv.namespace(&namespace).ok_or_else(|| {
            Answer::refused(response::QUERY_NOT_FOUND, format!("No config item, Namespace: {namespace}"))
        })?;
        Ok(Answer::with_body(bodies::kv_table(table)))
    }
}

fn namespace_and_key(command: &Command<'_>) -> Result<(String, String), Answer> {
    let null = |_| Answer::error("namespace or key is null");
    Ok((required(command, "namespace").map_err(null)?, required(command, "key").map_err(null)?))
}
