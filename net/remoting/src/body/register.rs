//! Registration of a broker with a name server.

use std::collections::BTreeMap;
use std::io::Read;

use super::{BodyError, DataVersion, TopicConfig, TopicConfigWrapper};
use crate::code::version;
use crate::json::{self, FromJson, JsonError, ToJson, Value, Writer};

/// Most bytes that a compressed registration may unpack to: a hundred bytes for each of a million topics.
pub const REGISTER_BODY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Where a zlib stream starts with it, and JSON never.
const ZLIB_FIRST_BYTE: u8 = 0x78;

beans! {
    /// Body of 103.
    RegisterBrokerBody {
        /// Always empty: filter servers are gone.
        filter_server_list: Vec<String> = "filterServerList";
        /// The broker's topics.
        topics: RegisteredTopics = "topicConfigSerializeWrapper";
    }

    /// The topics in a registration, with the mappings of static topics.
    RegisteredTopics {
        /// Version of the topic table.
        data_version: DataVersion = "dataVersion";
        /// Version of the mappings.
        mapping_data_version: Option<DataVersion> = "mappingDataVersion";
        /// By name.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable";
        /// Mappings, unread.
        topic_queue_mapping_detail_map: Option<Opaque> = "topicQueueMappingDetailMap";
        /// The broker's part in static topics, by topic.
        topic_queue_mapping_info_map: Option<BTreeMap<String, Opaque>> = "topicQueueMappingInfoMap";
    }
}

/// JSON that is passed on without being looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Opaque(Value<'static>);

impl Opaque {
    /// `{}`
    pub fn empty() -> Self {
        Opaque(Value::Object(Vec::new()))
    }
}

impl FromJson for Opaque {
    fn read(value: &Value<'_>) -> Result<Self, JsonError> {
        Ok(Opaque(to_owned(value)))
    }
}

impl ToJson for Opaque {
    fn write(&self, out: &mut Writer) {
        self.0.write(out);
    }
}

fn to_owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Null => Value::Null,
        Value::Bool(flag) => Value::Bool(*flag),
        Value::Int(number) => Value::Int(*number),
        Value::Float(number) => Value::Float(*number),
        Value::Str(text) => Value::Str(text.clone().into_owned().into()),
        Value::Array(items) => Value::Array(items.iter().map(to_owned).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (to_owned(key), to_owned(value))).collect())
        }
    }
}

impl RegisterBrokerBody {
    /// Reads the body of 103 as its header and version say: plain, compressed, or the bare table of a broker
    /// before 3.0.11.
    ///
    /// Java brokers of 5.x say `compressed=false` also when it is: a zlib stream is recognised by its first
    /// byte.
    ///
    /// # Errors
    /// The body is neither.
    pub fn read(body: &[u8], compressed: bool, broker_version: i32) -> Result<RegisterBrokerBody, BodyError> {
        if body.is_empty() {
            return Ok(RegisterBrokerBody::default());
        }
        if compressed || body[0] == ZLIB_FIRST_BYTE {
            return read_compressed(body, broker_version);
        }
        if broker_version < version::V3_0_11 {
            let TopicConfigWrapper { data_version, topic_config_table } =
                TopicConfigWrapper::from_json(body)?;
            let topics = RegisteredTopics { data_version, topic_config_table, ..RegisteredTopics::default() };
            return Ok(RegisterBrokerBody { topics, ..RegisterBrokerBody::default() });
        }
        RegisterBrokerBody::from_json(body)
    }

    /// The compressed form, for name servers that take it.
    pub fn to_compressed(&self, broker_version: i32) -> Vec<u8> {
        let mut plain = Vec::new();
        put_sized(&mut plain, json::to_text(&self.topics.data_version).as_bytes());
        plain.extend_from_slice(&(self.topics.topic_config_table.len() as u32).to_be_bytes());
        for topic in self.topics.topic_config_table.values() {
            put_sized(&mut plain, topic_line(topic).as_bytes());
        }
        put_sized(&mut plain, json::to_text(&self.filter_server_list).as_bytes());
        if broker_version >= version::V5_0_0 {
            let infos = self.topics.topic_queue_mapping_info_map.iter().flat_map(BTreeMap::values);
            plain.extend_from_slice(&(infos.clone().count() as u32).to_be_bytes());
            infos.for_each(|info| put_sized(&mut plain, json::to_text(info).as_bytes()));
        }
        let mut packed = Vec::new();
        let encoder = flate2::read::ZlibEncoder::new(&plain[..], flate2::Compression::best());
        let result = { encoder }.read_to_end(&mut packed);
        result.expect("packing from memory to memory cannot fail");
        packed
    }
}

fn put_sized(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// `name readNums writeNums perm filterType [attributes]`
fn topic_line(topic: &TopicConfig) -> String {
    let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, topic_filter_type, .. } = topic;
    let mut line = format!("{topic_name} {read_queue_nums} {write_queue_nums} {perm} {topic_filter_type}");
    if !topic.attributes.is_empty() {
        line.push(' ');
        line.push_str(&json::to_text(&topic.attributes));
    }
    line
}

fn read_topic_line(line: &str) -> Option<TopicConfig> {
    let mut parts = line.splitn(6, ' ');
    Some(TopicConfig {
        topic_name: parts.next()?.to_owned(),
        read_queue_nums: parts.next()?.parse().ok()?,
        write_queue_nums: parts.next()?.parse().ok()?,
        perm: parts.next()?.parse().ok()?,
        topic_filter_type: parts.next()?.to_owned(),
        attributes: match parts.next() {
            Some(attributes) => json::parse(attributes.as_bytes())
                .and_then(|value| FromJson::read(&value))
                .unwrap_or_default(),
            None => BTreeMap::new(),
        },
        ..TopicConfig::default()
    })
}

fn read_compressed(body: &[u8], broker_version: i32) -> Result<RegisterBrokerBody, BodyError> {
    let mut plain = Vec::new();
    let unpacked =
        flate2::read::ZlibDecoder::new(body).take(REGISTER_BODY_BYTES_MAX as u64 + 1).read_to_end(&mut plain);
    let at = |position, what| BodyError::Compressed { position, what };
    unpacked.map_err(|_| at(plain.len(), "the zlib stream is broken"))?;
    if plain.len() > REGISTER_BODY_BYTES_MAX {
        return Err(at(REGISTER_BODY_BYTES_MAX, "it unpacks to too much"));
    }

    let mut reader = Plain { bytes: &plain, position: 0 };
    let mut registered = RegisterBrokerBody::default();
    registered.topics.data_version = DataVersion::from_json(reader.sized()?)?;
    for _ in 0..reader.count()? {
        let line_at = reader.position;
        let line = std::str::from_utf8(reader.sized()?).ok();
        let topic = line.and_then(read_topic_line).ok_or(at(line_at, "not a topic"))?;
        registered.topics.topic_config_table.insert(topic.topic_name.clone(), topic);
    }
    let servers = json::parse(reader.sized()?).and_then(|value| FromJson::read(&value));
    registered.filter_server_list =
        servers.map_err(|source| BodyError::Json { body: "filterServerList", source })?;
    if broker_version >= version::V5_0_0 && reader.position < plain.len() {
        let infos = &mut registered.topics.topic_queue_mapping_info_map;
        for _ in 0..reader.count()? {
            let info = json::parse(reader.sized()?)
                .map_err(|source| BodyError::Json { body: "TopicQueueMappingInfo", source })?;
            if let Some(topic) = info.get("topic").and_then(Value::as_text) {
                infos.get_or_insert_default().insert(topic.into_owned(), Opaque(to_owned(&info)));
            }
        }
    }
    Ok(registered)
}

/// Reader of the unpacked text.
struct Plain<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Plain<'a> {
    fn count(&mut self) -> Result<u32, BodyError> {
        let error = BodyError::Compressed { position: self.position, what: "it ends inside a number" };
        let bytes = self.bytes[self.position..].first_chunk().ok_or(error)?;
        self.position += 4;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn sized(&mut self) -> Result<&'a [u8], BodyError> {
        let bytes = self.count()? as usize;
        let error =
            BodyError::Compressed { position: self.position, what: "a piece is longer than the rest" };
        let piece = self.bytes[self.position..].get(..bytes).ok_or(error)?;
        self.position += bytes;
        Ok(piece)
    }
}
