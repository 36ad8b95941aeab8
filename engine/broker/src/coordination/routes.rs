//! Where topics lie in the whole cluster, as the name servers say: needed to share out queues (400). Kept for a while.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmq_remoting::body::{MessageQueue, TopicRouteData};

use super::core::Core;
use super::registration::Registration;
use crate::message::Perm;

/// Name servers are asked again after this, ms: the reference's broker looks every 30 s.
const LIFE_MS: u64 = 10_000;
/// Topics that are remembered; when it is reached everything is forgotten.
const ROUTES_MAX: usize = 10_000;

/// Routes that were asked for. Lives on the coordination shard.
#[derive(Debug, Default)]
pub struct Routes {
    /// By topic; with the time until which they are believed.
    known: BTreeMap<String, (u64, Rc<[MessageQueue]>)>,
}

/// All queues of a topic that consumers may read, sorted; `None`: nobody knows the topic. Without a name server that answers, those of
/// this broker.
pub async fn readable_queues(core: &Rc<Core>, topic: &str) -> Option<Rc<[MessageQueue]>> {
    let now_ms = core.now_ms();
    if let Some((until, queues)) = core.routes.borrow().known.get(topic)
        && now_ms < *until
    {
        return Some(Rc::clone(queues));
    }
    let Some(route) = Registration::route(core, topic).await else { return own_queues(core, topic) };
    let queues = queues_of(&route, topic);
    let known = &mut core.routes.borrow_mut().known;
    if known.len() >= ROUTES_MAX {
        known.clear();
    }
    known.insert(topic.to_owned(), (now_ms + LIFE_MS, Rc::clone(&queues)));
    Some(queues)
}

fn queues_of(route: &TopicRouteData, topic: &str) -> Rc<[MessageQueue]> {
    let readable = route.queue_datas.iter().filter(|data| Perm(data.perm).readable());
    let mut queues: Vec<_> = readable
        .flat_map(|data| (0..data.read_queue_nums).map(|queue_id| queue(topic, &data.broker_name, queue_id)))
        .collect();
    queues.sort();
    queues.into()
}

fn own_queues(core: &Core, topic: &str) -> Option<Rc<[MessageQueue]>> {
    let topics = core.topics.borrow();
    let config = topics.get(topic).filter(|config| Perm(config.perm).readable())?;
    let broker_name = &core.config().broker_name;
    Some((0..config.read_queue_nums).map(|queue_id| queue(topic, broker_name, queue_id)).collect())
}

fn queue(topic: &str, broker_name: &str, queue_id: i32) -> MessageQueue {
    MessageQueue { topic: topic.to_owned(), broker_name: broker_name.to_owned(), queue_id }
}
