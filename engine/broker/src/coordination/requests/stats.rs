//! Progress and counters: 202, 208, 303, 315, 317, 28.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use ringmq_remoting::body::{
    BrokerStatsData, BrokerStatsItem, ConsumeOffset, ConsumeStats, KvTable, MessageQueue, TopicOffset,
    TopicStatsTable,
};
use ringmq_remoting::code::{response, version};
use ringmq_remoting::json::{ToJson, Writer, to_text};
use ringmq_remoting::request::{BrokerStatsHeader, ConsumeStatsHeader, GroupTopicHeader, TopicHeader};

use super::{Outcome, Refusal, Request, no_such_topic, offsets};
use crate::coordination::core::{Core, Response};
use crate::coordination::runtime_info::{self, Facts};
use crate::message::{Answer, ConsumeSpan, Question, ShardRuntime, StatsItem, StatsPeriod};

/// Counter of messages stored per topic.
const TOPIC_PUT_NUMS: &str = "TOPIC_PUT_NUMS";

/// 202
pub(super) fn topic(core: &Rc<Core>, request: &Request) -> Outcome {
    let topic = match TopicHeader::from_command(&request.command()) {
        Ok(header) => header.topic.into_owned(),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let Some(queues) = core.topics.borrow().get(&topic).map(|t| t.read_queue_nums.max(t.write_queue_nums))
    else {
        return Outcome::Now(Err(no_such_topic(topic)));
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let broker_name = core.config().broker_name.clone();
        let queue =
            |queue_id| MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.clone() };
        // Queues that were never written to are not known to any shard, and empty.
        let mut offset_table: BTreeMap<MessageQueue, TopicOffset> =
            (0..queues).map(|queue_id| (queue(queue_id), TopicOffset::default())).collect();
        for answer in core.ask_all(Question::TopicStats { topic: Arc::from(topic.as_str()) }).await? {
            let Answer::TopicStats(stats) = answer else { continue };
            for stats in stats.iter().filter(|stats| (0..queues).contains(&stats.queue_id)) {
                let offset = TopicOffset {
                    last_update_timestamp: stats.last_update_ms,
                    max_offset: stats.max_offset,
                    min_offset: stats.min_offset,
                };
                offset_table.insert(queue(stats.queue_id), offset);
            }
        }
        let puts = counter_of(&core, TOPIC_PUT_NUMS, &topic).await?.unwrap_or_default();
        let body = TopicStatsTable { offset_table, topic_put_tps: per_second(&puts.minute) };
        Ok(Response::body(body.to_json()))
    })
}

/// 208
pub(super) fn consume(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let header = match ConsumeStatsHeader::from_command(&command) {
        Ok(header) => header,
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let group = header.consumer_group.into_owned();
    let listed = header.topic_list.iter().flat_map(|list| list.split(';'));
    let asked: BTreeSet<String> =
        listed.chain(header.topic.as_deref()).filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    let core = Rc::clone(core);
    Outcome::later(async move {
        let topics =
            if asked.is_empty() { offsets::topics_with_offsets(&core, &group).await? } else { asked };
        let stats = consume_stats(&core, &group, topics).await?;
        Ok(Response::body(stats.to_json()))
    })
}

/// How far a group is in some topics. Unknown topics are left out, and so are, while the group is online, those that
/// it does not subscribe to.
async fn consume_stats(core: &Core, group: &str, topics: BTreeSet<String>) -> Result<ConsumeStats, Refusal> {
    let broker_name = core.config().broker_name.clone();
    let mut stats = ConsumeStats::default();
    let mut wanted: Vec<Arc<str>> = Vec::new();
    for topic in topics {
        let Some(queues) = core.topics.borrow().get(&topic).map(|topic| topic.read_queue_nums) else {
            continue;
        };
        let clients = core.clients.borrow();
        let online = clients.consumers.get(group).filter(|online| !online.subscriptions.is_empty());
        if online.is_some_and(|online| !online.subscriptions.contains_key(&topic)) {
            continue;
        }
        wanted.push(Arc::from(topic.as_str()));
        for queue_id in 0..queues {
            let queue = MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.clone() };
            stats.offset_table.insert(queue, ConsumeOffset::default());
        }
    }
    let question = Question::ConsumeStats { group: Arc::from(group), topics: Some(wanted) };
    for answer in core.ask_all(question).await? {
        let Answer::ConsumeStats { queues, tps } = answer else { continue };
        stats.consume_tps += tps;
        for queue in queues {
            let key = MessageQueue {
                broker_name: broker_name.clone(),
                queue_id: queue.queue_id,
                topic: queue.topic.to_string(),
            };
            // Only queues that exist by configuration are shown.
            if let Some(offset) = stats.offset_table.get_mut(&key) {
                *offset = ConsumeOffset {
                    broker_offset: queue.broker_offset,
                    consumer_offset: queue.consumer_offset,
                    last_timestamp: queue.last_timestamp_ms,
                    pull_offset: queue.pull_offset,
                };
            }
        }
    }
    Ok(stats)
}

struct AllConsumeStats {
    broker_addr: String,
    groups: Vec<BTreeMap<String, Vec<ConsumeStats>>>,
    total_diff: i64,
    total_inflight_diff: i64,
}

impl ToJson for AllConsumeStats {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            object.member("brokerAddr", &self.broker_addr);
            object.member("consumeStatsList", &self.groups);
            object.member("totalDiff", &self.total_diff);
            object.member("totalInflightDiff", &self.total_inflight_diff);
        });
    }
}

/// 317: every group in every topic it has offsets in. `isOrder` asks for ordered topics only.
pub(super) fn consume_all(core: &Rc<Core>, request: &Request) -> Outcome {
    let only_ordered = match request.command().boolean("isOrder") {
        Ok(flag) => flag.unwrap_or(false),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let groups: Vec<String> = core.groups.borrow().names().map(str::to_owned).collect();
        let mut all = AllConsumeStats {
            broker_addr: core.address().to_string(),
            groups: Vec::new(),
            total_diff: 0,
            total_inflight_diff: 0,
        };
        for group in groups {
            let mut of_group = Vec::new();
            for topic in offsets::topics_with_offsets(&core, &group).await? {
                let is_ordered = core.topics.borrow().get(&topic).is_some_and(|topic| topic.order);
                if only_ordered && !is_ordered {
                    continue;
                }
                let stats = consume_stats(&core, &group, BTreeSet::from([topic])).await?;
                for offset in stats.offset_table.values() {
                    all.total_diff += offset.broker_offset - offset.consumer_offset;
                    all.total_inflight_diff += (offset.pull_offset - offset.consumer_offset).max(0);
                }
                if !stats.offset_table.is_empty() {
                    of_group.push(stats);
                }
            }
            if !of_group.is_empty() {
                all.groups.push(BTreeMap::from([(group, of_group)]));
            }
        }
        Ok(Response::body(to_text(&all)))
    })
}

struct TimeSpan {
    queue: MessageQueue,
    span: ConsumeSpan,
}

impl ToJson for TimeSpan {
    fn write(&self, out: &mut Writer) {
        out.object(|object| {
            object.member("consumeTimeStamp", &self.span.consumed_ms);
            object.member("delayTime", &self.span.delay_ms);
            object.member("maxTimeStamp", &self.span.max_ms);
            object.member("messageQueue", &self.queue);
            object.member("minTimeStamp", &self.span.min_ms);
        });
    }
}

struct TimeSpans(Vec<TimeSpan>);

impl ToJson for TimeSpans {
    fn write(&self, out: &mut Writer) {
        out.object(|object| object.member("consumeTimeSpanSet", &self.0));
    }
}

/// 303
pub(super) fn consume_spans(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let (group, topic) = match GroupTopicHeader::from_command(&command) {
        Ok(header) => (header.group.into_owned(), header.topic.into_owned()),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    if core.topics.borrow().get(&topic).is_none() {
        return Outcome::Now(Err(no_such_topic(topic)));
    }
    let core = Rc::clone(core);
    Outcome::later(async move {
        let broker_name = core.config().broker_name.clone();
        let question =
            Question::ConsumeSpans { group: Arc::from(group.as_str()), topic: Arc::from(topic.as_str()) };
        let mut spans = Vec::new();
        for answer in core.ask_all(question).await? {
            let Answer::ConsumeSpans(of_shard) = answer else { continue };
            for span in of_shard {
                let (broker_name, topic) = (broker_name.clone(), topic.clone());
                let queue = MessageQueue { broker_name, queue_id: span.queue_id, topic };
                spans.push(TimeSpan { queue, span });
            }
        }
        spans.sort_by_key(|span| span.queue.queue_id);
        Ok(Response::body(to_text(&TimeSpans(spans))))
    })
}

/// 315
pub(super) fn counter(core: &Rc<Core>, request: &Request) -> Outcome {
    let command = request.command();
    let (name, key) = match BrokerStatsHeader::from_command(&command) {
        Ok(header) => (header.stats_name.into_owned(), header.stats_key.into_owned()),
        Err(error) => return Outcome::Now(Err(error.into())),
    };
    let core = Rc::clone(core);
    Outcome::later(async move {
        let item = counter_of(&core, &name, &key).await?.ok_or_else(|| {
            Refusal::new(response::SYSTEM_ERROR, format!("The stats <{name}> <{key}> not exist"))
        })?;
        let body = BrokerStatsData {
            stats_day: period(&item.day),
            stats_hour: period(&item.hour),
            stats_minute: period(&item.minute),
        };
        Ok(Response::body(body.to_json()))
    })
}

/// A counter over all shards; `None`: counted nowhere.
async fn counter_of(core: &Core, name: &str, key: &str) -> Result<Option<StatsItem>, Refusal> {
    let answers = core.ask_all(Question::Stats { name: name.to_owned(), key: key.to_owned() }).await?;
    let items = answers.into_iter().filter_map(|answer| match answer {
        Answer::Stats(item) => item,
        _ => None,
    });
    Ok(items.reduce(|sum, item| StatsItem {
        minute: add(&sum.minute, &item.minute),
        hour: add(&sum.hour, &item.hour),
        day: add(&sum.day, &item.day),
    }))
}

fn add(one: &StatsPeriod, other: &StatsPeriod) -> StatsPeriod {
    StatsPeriod {
        sum: one.sum + other.sum,
        times: one.times + other.times,
        millis: one.millis.max(other.millis),
    }
}

#[allow(clippy::cast_precision_loss, reason = "rates for display")]
fn per_second(period: &StatsPeriod) -> f64 {
    if period.millis == 0 { 0.0 } else { period.sum as f64 * 1_000.0 / period.millis as f64 }
}

#[allow(clippy::cast_precision_loss, reason = "averages for display")]
fn period(period: &StatsPeriod) -> BrokerStatsItem {
    BrokerStatsItem {
        average: if period.times == 0 { 0.0 } else { period.sum as f64 / period.times as f64 },
        sum: i64::try_from(period.sum).unwrap_or(i64::MAX),
        tps: per_second(period),
    }
}

/// Counters and gauges of every data shard.
pub async fn shard_runtimes(core: &Core) -> Result<Vec<ShardRuntime>, Refusal> {
    let answers = core.ask_all(Question::Runtime).await?;
    let runtimes = answers.into_iter().filter_map(|answer| match answer {
        Answer::Runtime(runtime) => Some(*runtime),
        _ => None,
    });
    Ok(runtimes.collect())
}

/// 28
pub(super) fn runtime(core: &Rc<Core>) -> Outcome {
    let core = Rc::clone(core);
    Outcome::later(async move {
        let shards = shard_runtimes(&core).await?;
        let config = core.config();
        // A file system that cannot be asked is shown without its room rather than not at all.
        let space = core.io.space(&config.store_path_root_dir).await.ok();
        let mornings = core.mornings.borrow();
        let facts = Facts {
            config: &config,
            version: version::CURRENT_NAME,
            boot_ms: core.boot_ms.get(),
            now_ms: core.now_ms(),
            space,
            mornings: &mornings,
        };
        let table = runtime_info::table(&facts, &shards).into_iter().collect();
        Ok(Response::body(KvTable { table }.to_json()))
    })
}
