//! A first start on a folder that has metadata of another making: `<storePathRootDir>/config/*.json` of an Apache broker (4.9, 5.x), of a
//! RingMQ before it had a metadata store, or exported by one whose store was lost.
//!
//! Each file, or its `.bak` where the file is missing or damaged, is taken over with its version. Afterwards it is kept beside as
//! `.taken-over`, since exports will take its name. Members that RingMQ does not know, and files that it has no use for, are named
//! in the log: they are what a broker loses by the move.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ringmq_reactor::TaskIo;
use ringmq_reactor::task::Backup;
use ringmq_remoting::body::{
    ConsumerOffsetTable, DataVersion, MessageRequestModes, SubscriptionGroupWrapper, TopicConfigWrapper,
};
use ringmq_remoting::json::{self, Value};
use tracing::{error, info, warn};

use super::delay_progress::DelayProgress;
use super::export::{FILES, MARK};
use super::offsets::SEPARATOR;
use crate::metadata::{Change, Sink, Table};

/// Appended to the names of files that were taken over.
const TAKEN_OVER: &str = ".taken-over";

/// Files of an Apache broker that are not taken over, and what was in them.
const LEFT_BEHIND: [(&str, &str); 6] = [
    ("consumerFilter.json", "compiled SQL filters: clients bring them again"),
    ("consumerOrderInfo.json", "orderly pop in progress"),
    ("topicQueueMapping.json", "static topics"),
    ("lmqConsumerOffset.json", "offsets of light message queues"),
    ("timercheck", "progress of timed messages"),
    ("transactionMetrics", "open transactions per topic"),
];

/// Metadata that exists but cannot be used. Starting with nothing instead would forget topics or offsets.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The disk failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is to be kept beside, and cannot be.
    #[error("cannot keep a copy of {}", path.display())]
    Keep {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither the file nor its backup makes sense.
    #[error(
        "{} is damaged ({cause}) and so is, or is missing, its backup ({backup_cause}); repair it, or remove both to start \
         without what they held",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// What is wrong with the backup.
        backup_cause: String,
    },
}

/// Takes over what is in `dir`. True: there was something.
///
/// # Errors
/// See [`TakeOverError`]; what the sink has is then worth nothing.
pub async fn take_over(io: &TaskIo, dir: &Path, sink: &mut dyn Sink) -> Result<bool, TakeOverError> {
    let mut found = false;
    for (table, name) in FILES {
        let path = dir.join(name);
        let Some(file) = load(io, &path, table).await? else { continue };
        found = true;
        info!(file = %file.path.display(), entries = file.changes.len() - 1, "taken over");
        for (member, count) in &file.unknown {
            warn!(file = %file.path.display(), member, count, "not taken over: RingMQ does not know this member");
        }
        file.changes.into_iter().for_each(|change| sink.apply(change));
        let kept = PathBuf::from(format!("{}{TAKEN_OVER}", path.display()));
        let copied = io.replace_file(&kept, file.bytes, Backup::None).await;
        copied.map_err(|source| TakeOverError::Keep { path, source })?;
    }
    report_left_behind(io, dir).await;
    Ok(found)
}

async fn report_left_behind(io: &TaskIo, dir: &Path) {
    // Only for the log: what matters has been read.
    let Ok(entries) = io.list(dir).await else { return };
    for entry in entries {
        if let Some((name, what)) = LEFT_BEHIND.iter().find(|(name, _)| *name == entry.name) {
            warn!(file = name, what, "not taken over");
        }
    }
}

/// A file that makes sense.
struct Loaded {
    /// It, or its backup.
    path: PathBuf,
    bytes: Bytes,
    /// The version first.
    changes: Vec<Change>,
    /// Members that were passed over, and how often.
    unknown: BTreeMap<String, usize>,
}

/// Reads a file, or its backup when it is missing or damaged. `None`: neither exists.
async fn load(io: &TaskIo, path: &Path, table: Table) -> Result<Option<Loaded>, TakeOverError> {
    let read = async |path: &Path| match io.read_file(path).await {
        // Damaged, too, is a file that a crash cut to nothing.
        Ok(bytes) => Ok(Some(parse(path, bytes, table))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TakeOverError::Read { path: path.to_owned(), source }),
    };
    let cause = match read(path).await? {
        Some(Ok(loaded)) => return Ok(Some(loaded)),
        Some(Err(cause)) => Some(cause),
        None => None,
    };
    let backup = PathBuf::from(format!("{}.bak", path.display()));
    match (cause, read(&backup).await?) {
        (cause, Some(Ok(loaded))) => {
            error!(
                file = %path.display(), backup = %backup.display(), cause = cause.as_deref().unwrap_or("missing"),
                "METADATA FILE UNUSABLE: its backup is taken over; the last change may be lost"
            );
            Ok(Some(loaded))
        }
        (None, None) => Ok(None),
        (None, Some(Err(backup_cause))) => {
            // As after a crash before the first rename: there never was a file.
            warn!(backup = %backup.display(), cause = backup_cause, "a backup without its file, and damaged: ignored");
            Ok(None)
        }
        (Some(cause), backup) => {
            let missing = || "missing".to_owned();
            let backup_cause = backup.and_then(Result::err).unwrap_or_else(missing);
            Err(TakeOverError::Damaged { path: path.to_owned(), cause, backup_cause })
        }
    }
}

fn parse(path: &Path, bytes: Bytes, table: Table) -> Result<Loaded, String> {
    let value = json::parse(&bytes).map_err(|error| error.to_string())?;
    if !matches!(value, Value::Object(_)) {
        return Err("not an object".to_owned());
    }
    let (changes, understood) = match table {
        Table::Topics => topics(&bytes)?,
        Table::Groups => groups(&bytes)?,
        Table::Offsets => offsets(&bytes)?,
        Table::Delay => delay(&bytes)?,
        Table::RequestModes => request_modes(&bytes)?,
    };
    let understood = json::parse(understood.as_bytes()).map_err(|error| error.to_string())?;
    let mut unknown = BTreeMap::new();
    note_unknown(&value, &understood, "", &mut unknown);
    drop((value, understood));
    Ok(Loaded { path: path.to_owned(), bytes, changes, unknown })
}

/// What a text says, and what it says when it is written by us: what is missing there was not understood.
type Read = Result<(Vec<Change>, String), String>;

fn topics(text: &[u8]) -> Read {
    let wrapper = TopicConfigWrapper::from_json(text).map_err(|error| error.to_string())?;
    let understood = wrapper.to_json();
    let mut changes = vec![Change::Version(Table::Topics, wrapper.data_version)];
    changes.extend(wrapper.topic_config_table.into_iter().map(|(name, mut config)| {
        config.topic_name.clone_from(&name);
        Change::Topic { name, config: Some(Arc::new(config)) }
    }));
    Ok((changes, understood))
}

fn groups(text: &[u8]) -> Read {
    let wrapper = SubscriptionGroupWrapper::from_json(text).map_err(|error| error.to_string())?;
    let understood = wrapper.to_json();
    let mut changes = vec![Change::Version(Table::Groups, wrapper.data_version)];
    changes.extend(wrapper.subscription_group_table.into_iter().map(|(name, mut config)| {
        config.group_name.clone_from(&name);
        Change::Group { name, config: Some(Arc::new(config)) }
    }));
    let forbidden = wrapper.forbidden_table.into_iter().filter(|(_, topics)| !topics.is_empty());
    changes.extend(forbidden.map(|(group, topics)| Change::Forbidden { group, topics: Arc::new(topics) }));
    Ok((changes, understood))
}

fn offsets(text: &[u8]) -> Read {
    let table = ConsumerOffsetTable::from_json(text).map_err(|error| error.to_string())?;
    let understood = table.to_json();
    let mut changes = vec![Change::Version(Table::Offsets, table.data_version)];
    for (key, queues) in table.offset_table {
        match key.split_once(SEPARATOR) {
            Some((topic, group)) => changes.push(Change::Offsets {
                topic: Arc::from(topic),
                group: Arc::from(group),
                queues: queues.into_iter().collect(),
            }),
            None => warn!(key, "an offset of neither topic nor group is left out"),
        }
    }
    Ok((changes, understood))
}

fn delay(text: &[u8]) -> Read {
    let progress = DelayProgress::from_json(text).map_err(|error| error.to_string())?;
    let understood = json::to_text(&progress);
    let mut changes = vec![Change::Version(Table::Delay, progress.data_version)];
    for (shard, levels) in progress.shards {
        let shard = u16::try_from(shard).map_err(|_| format!("shard {shard}"))?;
        changes.push(Change::Delay { shard, levels: levels.into_iter().collect() });
    }
    Ok((changes, understood))
}

fn request_modes(text: &[u8]) -> Read {
    let modes = MessageRequestModes::from_json(text).map_err(|error| error.to_string())?;
    let understood = modes.to_json();
    let table = modes.message_request_mode_map.into_iter().filter(|(_, modes)| !modes.is_empty());
    let change = |(topic, modes)| Change::RequestModes { topic, modes: Arc::new(modes) };
    let version = Change::Version(Table::RequestModes, DataVersion::default());
    Ok((std::iter::once(version).chain(table.map(change)).collect(), understood))
}

/// Tables whose members are entries, named by people.
const TABLE_MEMBERS: [&str; 5] =
    ["topicConfigTable", "subscriptionGroupTable", "offsetTable", "forbiddenTable", "messageRequestModeMap"];

/// Notes paths of members of `original` that are missing in `understood`.
fn note_unknown(
    original: &Value<'_>,
    understood: &Value<'_>,
    path: &str,
    unknown: &mut BTreeMap<String, usize>,
) {
    let (Value::Object(members), Value::Object(known)) = (original, understood) else { return };
    let known: BTreeMap<String, &Value<'_>> =
        known.iter().filter_map(|(key, value)| Some((key.as_text()?.into_owned(), value))).collect();
    let is_table = TABLE_MEMBERS.contains(&path);
    for (key, value) in members {
        let Some(name) = key.as_text().filter(|_| *value != Value::Null) else { continue };
        let shown = if is_table { "*" } else { &*name };
        let path = if path.is_empty() { shown.to_owned() } else { format!("{path}.{shown}") };
        match known.get(&*name) {
            Some(known) => note_unknown(value, known, &path, unknown),
            None if path == MARK.0 => {}
            None => *unknown.entry(path).or_default() += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(table: Table, text: &str) -> Result<Loaded, String> {
        parse(Path::new("f"), Bytes::copy_from_slice(text.as_bytes()), table)
    }

    #[test]
    fn what_is_not_known_is_named() {
        let text = "{\"dataVersion\":{\"counter\":7},\"topicConfigTable\":{\"T\":{\"readQueueNums\":3,\"colour\":\"red\"},\
            \"U\":{\"colour\":\"blue\",\"gone\":null}},\"extra\":1}";
        let loaded = parsed(Table::Topics, text).expect("readable");
        let expected = [("extra", 1), ("topicConfigTable.*.colour", 2)];
        assert_eq!(loaded.unknown, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(loaded.changes.len(), 3);
        let Change::Topic { name, config: Some(config) } = &loaded.changes[1] else { panic!("a topic") };
        assert_eq!((name.as_str(), config.topic_name.as_str(), config.read_queue_nums), ("T", "T", 3));
    }

    #[test]
    fn an_export_is_wholly_understood() {
        let text = format!("{{\"{}\":\"{}\",\"offsetTable\":{{\"T@g\":{{0:1}}}}}}", MARK.0, MARK.1);
        assert!(parsed(Table::Offsets, &text).expect("readable").unknown.is_empty());
    }

    #[test]
    fn nonsense_is_damage() {
        for text in ["", "null", "[]", "{\"offsetTable\":{\"T@g\":{0:", "{\"offsetTable\":7}"] {
            assert!(parsed(Table::Offsets, text).is_err(), "{text}");
        }
    }
}
