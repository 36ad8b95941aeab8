//! Decoded records as text and as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use ringmq_remoting::json::{Style, ToJson, Writer};
use ringmq_remoting::record::properties::{self, name};
use ringmq_remoting::record::{RecordView, message_id};
use ringmq_store::PhysicalOffset;

use crate::admin::format::local_time;

/// How a body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BodyForm {
    /// Not at all.
    None,
    /// As text; what is not UTF-8 is replaced.
    Text,
    /// In hexadecimal.
    Hex,
    /// In base64.
    Base64,
}

impl BodyForm {
    fn apply(self, body: &[u8]) -> Option<String> {
        match self {
            Self::None => None,
            Self::Text => Some(String::from_utf8_lossy(body).into_owned()),
            Self::Hex => Some(body.iter().map(|byte| format!("{byte:02x}")).collect()),
            Self::Base64 => Some(STANDARD.encode(body)),
        }
    }
}

/// A record with the form of its body; as JSON:
///
/// | member | what |
/// |---|---|
/// | `topic`, `queueId`, `queueOffset` | its place for consumers |
/// | `physicalOffset`, `msgId` | its place in this store: `shard << 56 \| log offset`, and the offset message id made of it |
/// | `storeTimestamp`, `bornTimestamp` | ms since 1970 |
/// | `storeHost`, `bornHost` | `address:port` |
/// | `sysFlag`, `flag`, `reconsumeTimes`, `preparedTransactionOffset` | as in the record |
/// | `properties` | object of strings: TAGS, KEYS, UNIQ_KEY and all others; of duplicates the last |
/// | `bodyBytes`, `body` | size, and the body as stored (compressed bodies stay so, see `sysFlag`) |
pub(super) struct Shown<'r, 'a> {
    pub record: &'r RecordView<'a>,
    pub body: BodyForm,
}

impl ToJson for Shown<'_, '_> {
    fn write(&self, out: &mut Writer) {
        let record = self.record;
        let text = record.properties();
        let properties: BTreeMap<String, String> =
            properties::iter(&text).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        out.object(|members| {
            members.member("topic", record.topic());
            members.member("queueId", &record.queue_id());
            members.member("queueOffset", &record.queue_offset());
            members.member("physicalOffset", &record.physical_offset());
            members.member("msgId", &*message_id::encode(record.store_host(), record.physical_offset()));
            members.member("storeTimestamp", &record.store_timestamp());
            members.member("bornTimestamp", &record.born_timestamp());
            members.member("storeHost", &record.store_host().to_string());
            members.member("bornHost", &record.born_host().to_string());
            members.member("sysFlag", &record.sys_flag());
            members.member("flag", &record.flag());
            members.member("reconsumeTimes", &record.reconsume_times());
            members.member("preparedTransactionOffset", &record.prepared_transaction_offset());
            members.member("properties", &properties);
            members.member("bodyBytes", &i64::try_from(record.body().len()).unwrap_or(i64::MAX));
            members.member("body", &self.body.apply(record.body()));
        });
    }
}

impl Shown<'_, '_> {
    /// One line.
    pub fn json(&self) -> String {
        Writer::text_of(self, Style::Standard)
    }

    /// For people.
    pub fn text(&self, out: &mut impl Write) -> std::io::Result<()> {
        let record = self.record;
        let at = PhysicalOffset::from_signed(record.physical_offset())
            .map_or_else(|| record.physical_offset().to_string(), |at| at.to_string());
        let (topic, queue, offset) = (record.topic(), record.queue_id(), record.queue_offset());
        writeln!(
            out,
            "{at}  {topic} queue {queue} offset {offset}  {} bytes, body {}",
            record.total_bytes(),
            record.body().len()
        )?;
        writeln!(
            out,
            "  stored {} by {}  born {} at {}  sysFlag {:#x} flag {} reconsumed {} prepared at {}",
            local_time(record.store_timestamp(), true),
            record.store_host(),
            local_time(record.born_timestamp(), true),
            record.born_host(),
            record.sys_flag(),
            record.flag(),
            record.reconsume_times(),
            record.prepared_transaction_offset(),
        )?;
        let text = record.properties();
        let shown = |wanted| properties::get(&text, wanted).unwrap_or("-");
        writeln!(out, "  tags {}  keys {}", shown(name::TAGS), shown(name::KEYS))?;
        let others: Vec<String> = properties::iter(&text)
            .filter(|(name, _)| ![name::TAGS, name::KEYS].contains(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !others.is_empty() {
            writeln!(out, "  {}", others.join("  "))?;
        }
        match self.body.apply(record.body()) {
            Some(body) => writeln!(out, "  body {body}"),
            None => Ok(()),
        }
    }
}
